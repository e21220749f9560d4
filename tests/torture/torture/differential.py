"""Edits, evictions and builds of one project: each equals a build of a copy of it on an empty root.

One case is one project with six states. Beside the results, keys are compared: a step has the same key on
both roots and whenever it declares the same, and a step whose record and layers are here does not run.
"""

import os
import random as randoms
import re
import shutil

from . import evict
from .machine import Machine, Wrong, must_equal
from .project import Project

STATES = 6
STEP = re.compile(r"^\[(?:\S+ )?s(\d+) (\d+)/\d+\] (LINK )?")


def fresh_build(run, project, folder):
    """A build on an empty root, of a copy in another place: written in another order, at other times."""
    order = randoms.Random(folder)
    project.write(folder + "-ctx", order)
    for parent, _, names in os.walk(folder + "-ctx"):
        for name in names:
            when = order.randrange(10**9)
            os.utime(os.path.join(parent, name), (when, when), follow_symlinks=False)
    machine = Machine(folder, run.varve, run.bases)
    built = machine.build(project, folder + "-ctx")
    machine.remove()
    shutil.rmtree(folder + "-ctx")
    return built


class Judge:
    """Knows what has been built on a root, and what must not be built again."""

    def __init__(self, run, machine):
        self.run, self.machine, self.keys, self.usable = run, machine, {}, set()

    def before(self):
        self.usable = self.machine.usable_keys()

    def after(self, project, cached, fresh):
        must_equal(cached, fresh)
        if cached.code != 0:
            return
        theirs = {step["name"]: step.get("key") for step in fresh.steps}
        declared = project.declared()
        for step in cached.steps:
            key, where = step.get("key"), STEP.match(step["name"])
            if key and theirs.get(step["name"], key) != key:
                raise Wrong(f"{step['name']} has the key {key} here and {theirs[step['name']]} on an empty root")
            if not where or not key:
                continue
            base = project.stages[int(where[1])][0]
            number = int(where[2]) - (2 if base == "busybox" else 1)  # its FROM is a step, with a number
            says = declared[f"s{where[1]}"][number] + (where[3] or "")
            if self.keys.setdefault(says, key) != key:
                raise Wrong(f"{step['name']} declares what it declared before, and has another key")
        ran = [step["key"].split(":")[1] for step in cached.ran()]
        needless = [s["name"] for s in cached.ran() if s["key"].split(":")[1] in self.usable]
        if len(set(ran)) != len(ran):
            raise Wrong(f"a step ran twice in one build: {sorted(s['name'] for s in cached.ran())}")
        self.run.count(ran_needlessly=len(needless))
        if needless:
            raise Wrong("ran though nothing that they declare had changed, and record and layers were there: "
                        + "; ".join(f"{s['name']} ({s.get('why')})" for s in cached.ran() if s["name"] in needless))


def case(run, random, folder):
    project = Project(random)
    machine = Machine(folder, run.varve, run.bases)
    judge = Judge(run, machine)
    context = folder + "/ctx"
    for state in range(STATES):
        project.write(context)
        judge.before()
        cached = machine.build(project, context)
        fresh = fresh_build(run, project, f"{folder}/fresh{state}")
        try:
            judge.after(project, cached, fresh)
        except Wrong as wrong:
            raise Wrong(f"state {state}: {wrong}\n{project.dockerfile()}") from None
        run.count(builds=1, failing=int(cached.code != 0), steps_run=len(cached.ran()),
                  hits=sum(s["status"] == "hit" for s in cached.steps))
        for _ in range(random.randrange(4)):
            project.edit()
        if random.randrange(3) == 0:
            evict.some(machine, random)
