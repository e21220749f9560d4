"""A second clone of a commit, elsewhere, hits everything.

Another path, umask, owner, order of the files on the disk, and times.
"""

import os
import shutil
import subprocess

from .machine import Machine, Wrong
from .project import Project


def git(*words, umask=0o022):
    subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "safe.directory=*", *words],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, umask=umask)


def case(run, random, folder):
    project = Project(random)
    for _ in range(random.randrange(4)):
        project.edit()
    # What git does not keep: modes other than the executable bits.
    project.files = {p: (m if m is None else (0o755 if m & 0o100 else 0o644), t)
                     for p, (m, t) in project.files.items()}
    machine = Machine(folder, run.varve, run.bases)
    first, second = folder + "/first", folder + "/elsewhere/second"
    project.write(first)
    git("init", "-q", first)
    git("-C", first, "add", "-A", "-f")
    git("-C", first, "commit", "-qm", "all")
    built = machine.build(project, first)
    os.makedirs(folder + "/elsewhere")
    git("clone", "-q", first, second, umask=random.choice([0o077, 0o027, 0o002]))
    uid = random.choice([0, 1234])
    entries = [os.path.join(parent, name) for parent, folders, names in os.walk(second)
               for name in folders + names if ".git" not in parent.split("/") and name != ".git"]
    random.shuffle(entries)
    for path in entries:  # other inodes in another order, other times
        if os.path.isfile(path) and not os.path.islink(path):
            shutil.copy2(path, path + ".copy")
            os.rename(path + ".copy", path)
        when = random.randrange(2**31)
        os.utime(path, (when, when), follow_symlinks=False)
        os.lchown(path, uid, uid)
    again = machine.build(project, second)
    if built.code != again.code:
        raise Wrong(f"exit codes {built.code} and {again.code}:\n{built.error}\n{again.error}")
    run.count(clones=1, hits=sum(s["status"] == "hit" for s in again.steps), steps_run=len(again.ran()))
    if again.ran():
        raise Wrong("the second clone ran " + "; ".join(f"{s['name']} ({s.get('why')})" for s in again.ran()))
