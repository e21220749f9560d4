"""SIGKILL at random moments, with evictions between: what is built next is right and nothing is left.

One case is one root on which five builds are killed.
"""

import signal
import time

from . import evict
from .differential import fresh_build
from .machine import Machine, Wrong, must_equal
from .project import Project

KILLS = 5


def no_leftovers(machine):
    """What a killed process held goes with it within moments."""
    for _ in range(50):
        found = [f for f in machine.leftovers() if not f.startswith("file ")]
        if not found:
            break
        time.sleep(0.1)
    found = machine.leftovers()
    if found:
        raise Wrong("left behind:\n" + "\n".join(found))


def case(run, random, folder):
    project = Project(random)
    machine = Machine(folder, run.varve, run.bases)
    context = folder + "/ctx"
    seconds = 1.0
    for number in range(KILLS):
        project.write(context)
        process = machine.start(project, context)
        time.sleep(random.random() * seconds)
        process.send_signal(signal.SIGKILL)
        killed = machine.finish(process)
        run.count(killed=int(killed.code == -9), too_late=int(killed.code != -9))
        if random.randrange(2):
            evict.some(machine, random)
        if random.randrange(2):
            project.edit()
            project.write(context)
        built = machine.build(project, context)
        seconds = 0.2 + built.seconds
        must_equal(built, fresh_build(run, project, f"{folder}/fresh{number}"))
        machine.run("fsck")
        no_leftovers(machine)
        project.edit()
