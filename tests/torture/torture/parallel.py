"""Sixteen processes build fifty overlapping projects on one root at once.

All are right, all end, and what they share is done once: no key runs in two of them.
"""

import collections
import queue
import threading

from .differential import fresh_build
from .kill import no_leftovers
from .machine import Machine, Wrong, must_equal
from .project import Project

PROJECTS, PROCESSES = 50, 16


def case(run, random, folder):
    machine = Machine(folder, run.varve, run.bases)
    first = Project(random)
    projects = [first]
    while len(projects) < PROJECTS:
        project = random.choice(projects).clone()
        project.random = random
        if random.randrange(3):
            project.edit()
        projects.append(project)
    work, built, troubles = queue.Queue(), [None] * PROJECTS, []
    for number, project in enumerate(projects):
        project.write(f"{folder}/ctx{number}")
        work.put(number)
    starting = threading.Lock()

    def build():
        while True:
            try:
                number = work.get_nowait()
            except queue.Empty:
                return
            try:
                with starting:
                    process = machine.start(projects[number], f"{folder}/ctx{number}")
                built[number] = machine.finish(process)
            except Wrong as wrong:
                troubles.append(f"project {number}: {wrong}")

    threads = [threading.Thread(target=build) for _ in range(PROCESSES)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if troubles:
        raise Wrong("\n".join(troubles))
    ran = collections.Counter(s["key"] for b in built for s in b.ran())
    run.count(builds=PROJECTS, steps_run=sum(ran.values()), distinct_keys=len(ran),
              hits=sum(s["status"] == "hit" for b in built for s in b.steps))
    twice = {key: n for key, n in ran.items() if n > 1}
    if twice:
        names = {s["key"]: s["name"] for b in built for s in b.ran()}
        raise Wrong("ran more than once: " + "; ".join(f"{names[k]} {n} times" for k, n in twice.items()))
    judged = {}
    for number, project in enumerate(projects):
        state = (project.dockerfile(), project.ignore, str(sorted(project.files.items())), project.base,
                 str(project.args))
        if state not in judged:
            judged[state] = fresh_build(run, project, f"{folder}/fresh{number}")
        must_equal(built[number], judged[state])
    machine.run("fsck")
    no_leftovers(machine)
