"""A bit of a file of the root flips between two builds; README.md's table says what is guaranteed.

The build after it is right: but for the contents of a layer's files, which are not read again at each
use. Afterwards fsck has nothing to say, or --repair mends it.
"""

import glob
import os

from .differential import fresh_build
from .machine import Machine, Wrong, must_equal
from .project import Project

KINDS = {"record": "records/*/*.json", "blob": "blobs/**", "index": "index.db*", "trees": "trees.db*",
         "layer index": "layers/*/index", "layer size": "layers/*/size", "layer meta": "layers/*/meta",
         "layer implicit": "layers/*/implicit", "stat cache": "contexts/**", "layer file": "layers/*/fs/**"}


def flip_a_bit(machine, random, kind):
    paths = sorted(p for p in glob.glob(f"{machine.root}/{KINDS[kind]}", recursive=True)
                   if os.path.isfile(p) and not os.path.islink(p) and os.path.getsize(p) and not p.endswith("-shm"))
    if not paths:
        return None
    path = random.choice(paths)
    status = os.stat(path)
    at = random.randrange(status.st_size)
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ (1 << random.randrange(8))]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # as a disk does: nothing tells
    return f"{os.path.relpath(path, machine.root)}, byte {at} of {status.st_size}"


def case(run, random, folder):
    kinds = list(KINDS)
    project = Project(random)
    machine = Machine(folder, run.varve, run.bases)
    context = folder + "/ctx"
    project.write(context)
    fresh = fresh_build(run, project, f"{folder}/fresh")
    must_equal(machine.build(project, context), fresh)
    for kind in random.sample(kinds, 4):
        flipped = flip_a_bit(machine, random, kind)
        if flipped is None:
            continue
        noticed = machine.run("fsck", check=False).returncode != 0
        run.count(**{f"in_{kind.replace(' ', '_')}": 1, "seen_by_fsck": int(noticed)})
        try:
            if kind == "layer file":
                if not noticed:
                    raise Wrong("fsck does not see it")
                machine.run("fsck", "--repair", check=False)  # 1: it found something
            if random.randrange(2):
                project.edit()
                project.write(context)
                fresh = fresh_build(run, project, f"{folder}/fresh")
            built = machine.build(project, context)
            must_equal(built, fresh)
            machine.run("fsck", "--repair", check=False)
            machine.run("fsck")
            must_equal(machine.build(project, context), fresh)
        except Wrong as wrong:
            raise Wrong(f"a bit of {flipped} flipped (fsck: {noticed}): {wrong}") from None
