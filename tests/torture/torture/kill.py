"""SIGKILL at random moments, with evictions between: what is built next is right and nothing is left.

One case is one root on which five builds are killed. A build that ended before the signal came is no kill:
the project is edited and the next build aimed at again.
"""

import signal
import time

from . import evict
from .differential import fresh_build
from .machine import Machine, Wrong, must_equal
from .project import Project

KILLS = 5
TRIES = 40


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


class Aim:
    """When to kill a build, by what the one before did: both of its measures are of this root, this project
    and this load of the machine."""

    def __init__(self, random):
        self.random = random
        self.seconds, self.lines = 0.1, 4

    def learn(self, built):
        self.seconds, self.lines = built.seconds, built.lines

    def wait(self, process):
        """Until a line of the build's progress has come, or, for what happens between lines, for a time."""
        if self.random.randrange(2):
            time.sleep(self.random.random() * self.seconds)
            return
        wanted = self.random.randrange(1, max(2, self.lines))
        while process.poll() is None and lines_of(process) < wanted:
            time.sleep(0.001)


def lines_of(process):
    with open(process.out + ".log", "rb") as file:
        return file.read().count(b"\n")


def kill_a_build(run, random, machine, project, context, aim):
    for _ in range(TRIES):
        project.write(context)
        process = machine.start(project, context)
        aim.wait(process)
        process.send_signal(signal.SIGKILL)
        ended = machine.finish(process)
        if ended.code == -9:
            run.count(killed_in_time=1)
            return
        run.count(aimed_too_late=1)
        aim.learn(ended)
        project.edit()
    raise Wrong(f"{TRIES} builds ended before they could be killed")


def case(run, random, folder):
    project = Project(random)
    machine = Machine(folder, run.varve, run.bases)
    context = folder + "/ctx"
    aim = Aim(random)
    for number in range(KILLS):
        kill_a_build(run, random, machine, project, context, aim)
        if random.randrange(2):
            evict.some(machine, random)
        if random.randrange(2):
            project.edit()
            project.write(context)
        built = machine.build(project, context)
        aim.learn(built)
        must_equal(built, fresh_build(run, project, f"{folder}/fresh{number}"))
        machine.run("fsck")
        no_leftovers(machine)
        project.edit()
