#!/usr/bin/env python3
"""Turns the history of git repositories into histories of builds for bench/retention.

    from_git.py [--since 2026-01-01] [--until …] REPOSITORY… > history.jsonl

Each commit that was made, on whatever branch is stored, is one build at its committer's time. Which steps a
commit changes is read from its tree: the lock files (go.sum, package-lock.json, Cargo.lock, …) decide the
dependencies, Dockerfiles the system packages, everything together the code. What git does not know is
assumed, per repository, the same for all policies: seconds and sizes of the five steps, and a base image that moves
every three weeks.
"""

import argparse
import datetime
import hashlib
import json
import random
import subprocess

LOCKS = {"go.mod", "go.sum", "package.json", "package-lock.json", "yarn.lock", "pnpm-lock.yaml", "Cargo.toml",
         "Cargo.lock", "requirements.txt", "poetry.lock", "Gemfile.lock", "pom.xml", "composer.lock",
         "vendor/modules.txt"}


def git(repository, *words):
    return subprocess.run(["git", "-C", repository, *words], check=True, capture_output=True, text=True).stdout


def digest(lines):
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:16]


def commits(repository, since, until):
    words = ["log", "--all", "--no-merges", "--format=%ct %H %T"]
    words += [f"--since={since}"] * bool(since) + [f"--until={until}"] * bool(until)
    for line in git(repository, *words).splitlines():
        time, commit, tree = line.split()
        yield int(time), commit, tree


def parts(repository, commit):
    locks, dockerfiles = [], []
    for line in git(repository, "ls-tree", "-r", commit).splitlines():
        meta, path = line.split("\t", 1)
        name = path.rsplit("/", 1)[-1]
        if "/" not in path and name in LOCKS:
            locks.append(meta + path)
        elif name.startswith("Dockerfile") and "testdata" not in path:
            dockerfiles.append(meta + path)
    return digest(locks), digest(dockerfiles)


def build(name, time, tree, locks, dockerfiles, costs):
    base = f"base {name} {time // (21 * 86400)}"
    keys = {"base": base}
    keys["system"] = f"system {base} {dockerfiles}"
    keys["dependencies"] = f"dependencies {keys['system']} {locks}"
    keys["code"] = f"code {keys['dependencies']} {tree}"
    keys["compile"] = f"compile {keys['code']}"
    keys["runtime"] = f"runtime {base} {dockerfiles}"
    keys["copy"] = f"copy {keys['runtime']} {keys['compile']}"
    parents = {"base": -1, "system": 0, "dependencies": 1, "code": 2, "compile": 3, "runtime": 0, "copy": 5}
    steps = []
    for step, key in keys.items():
        seconds, size = costs[step]
        steps.append({"key": key, "slot": f"{name} {step}", "parent": parents[step],
                      "inputs": [4] if step == "copy" else [], "seconds": seconds, "bytes": size})
    return {"time": time, "steps": steps}


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--since")
    arguments.add_argument("--until")
    arguments.add_argument("repositories", nargs="+")
    options = arguments.parse_args()
    builds = []
    for number, repository in enumerate(options.repositories):
        chance = random.Random(number)
        scale = chance.lognormvariate(0, 0.5)
        typical = {"base": (10, 300e6), "system": (25, 180e6), "dependencies": (40, 300e6), "code": (0.3, 20e6),
                   "compile": (60, 80e6), "runtime": (10, 50e6), "copy": (0.1, 40e6)}
        costs = {step: (seconds * scale, int(size * scale)) for step, (seconds, size) in typical.items()}
        for time, commit, tree in commits(repository, options.since, options.until):
            builds.append(build(f"r{number}", time, tree, *parts(repository, commit), costs))
    builds.sort(key=lambda b: b["time"])
    for item in builds:
        print(json.dumps(item))
    if builds:
        first, last = (datetime.date.fromtimestamp(builds[i]["time"]) for i in (0, -1))
        print(f"{len(builds)} builds from {first} to {last}", file=__import__("sys").stderr)


if __name__ == "__main__":
    main()
