"""What makes a warm root colder: collection as users ask for it, and losses that nobody asked for."""

import glob
import os
import shutil


def some(machine, random):
    """Evicts by a random rule; says which."""
    kind = random.choice(["prune", "prune", "prune", "clear", "layers"])
    if kind == "prune":
        rule = random.choice([["--max-used-space", f"{random.randrange(1, 4000)}KB"], ["--all", "--max-used-space", "1MB"],
                              ["--filter", "type=exec.cachemount"], ["--filter", "type=regular"],
                              ["--keep-duration", "1s"], ["--all"]])
        machine.run("prune", "-f", *rule)
        return "prune " + " ".join(rule)
    if kind == "clear":
        if random.randrange(3) == 0:
            machine.run("clear", "-f")
        return kind
    for layer in glob.glob(f"{machine.root}/layers/*"):
        if random.randrange(4) == 0:
            os.rename(layer, machine.folder + "/lost")  # as a whole: a layer is there or is not
            shutil.rmtree(machine.folder + "/lost")
    return kind
