"""Chooses the tests, gives them their base images, seeds and folders, counts."""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback

from harness import runner as e2e

from . import clone, differential, flip, kill, parallel
from .machine import Wrong

# Name, module, cases of the short version, of the long one, how many at once.
TESTS = [("differential", differential, 20, 200, 4), ("kill", kill, 5, 200, 4), ("parallel", parallel, 1, 5, 1),
         ("flip", flip, 12, 300, 4), ("clone", clone, 5, 50, 4)]


class Run:
    def __init__(self, arguments, varve, bases, folder):
        self.arguments, self.varve, self.bases, self.folder = arguments, varve, bases, folder
        self.lock = threading.Lock()
        self.passed = self.failed = 0
        self.facts = {}
        self.seeds = []
        self.interrupted = False

    def count(self, **facts):
        with self.lock:
            for name, number in facts.items():
                self.facts[name] = self.facts.get(name, 0) + number

    def case(self, name, module, seed):
        folder = os.path.join(self.folder, f"{name}-{seed}")
        try:
            module.case(self, random.Random(f"{name} {seed}"), folder)
            outcome = ""
        except Wrong as wrong:
            outcome = str(wrong)
        except Exception:  # pylint: disable=broad-except
            outcome = traceback.format_exc()
        with self.lock:
            if outcome:
                self.failed += 1
                print(f"\n===== {name}, seed {seed}: failed\n{outcome.rstrip()}\n"
                      f"===== again: tests/torture/run --seed {seed} --cases 1 {name}", flush=True)
            else:
                self.passed += 1
        if not (outcome and self.arguments.keep):
            shutil.rmtree(folder, ignore_errors=True)

    def test(self, name, module, cases, at_once):
        if self.interrupted:
            return
        began, self.facts, done = time.monotonic(), {}, self.passed + self.failed
        self.seeds = list(range(self.arguments.seed, self.arguments.seed + cases))
        threads = [threading.Thread(target=self._work, args=(name, module)) for _ in range(at_once)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        told = ", ".join(f"{number} {fact.replace('_', ' ')}" for fact, number in self.facts.items())
        last = self.arguments.seed + self.passed + self.failed - done - 1
        print(f"{name}: seeds {self.arguments.seed}..{last}: {told} ({time.monotonic() - began:.0f} s)", flush=True)

    def _work(self, name, module):
        while True:
            with self.lock:
                if not self.seeds:
                    return
                seed = self.seeds.pop(0)
            self.case(name, module, seed)

    def interrupt(self, *_):
        """Ctrl-C: the cases that are under way are the last, and the counts are of what was done."""
        self.interrupted = True
        self.seeds = []


def make_bases(varve, folder, registry):
    """Two images in the registry, for a base that moves."""
    made = []
    for number in range(2):
        context = f"{folder}/base{number}"
        os.makedirs(context)
        with open(f"{context}/Dockerfile", "w", encoding="utf-8") as file:
            file.write(f"FROM busybox\nRUN echo {number} > /base && mkdir /etc/base{number}\n")
        name = f"{registry}/torture/base:{number}"
        subprocess.run([varve, "build", "--root", f"{folder}/root-of-bases", "-q", "-t", name, "--push", context],
                       check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        made.append(name)
    return made


def finish(arguments, passed, failed, skipped):
    line = f"{passed} passed, {failed} failed, {skipped} skipped"
    if arguments.summary:
        with open(arguments.summary, "w", encoding="utf-8") as file:
            file.write(line + "\n")
    print(line)
    return 1 if failed else 0


def main(words, text):
    parser = argparse.ArgumentParser(prog="tests/torture/run", description=text,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tests", nargs="*", metavar="TEST")
    parser.add_argument("--seed", type=int, default=1, help="of the first case")
    parser.add_argument("--cases", type=int, help="of each test")
    parser.add_argument("--soak", action="store_true", help="the long versions")
    parser.add_argument("-j", "--jobs", type=int, default=os.cpu_count() or 2)
    parser.add_argument("-k", "--keep", action="store_true", help="keep the folders of failed cases")
    parser.add_argument("--summary", help="write the counts to this file")
    arguments = parser.parse_args(words)
    unknown = set(arguments.tests) - {name for name, *_ in TESTS}
    if unknown:
        raise SystemExit(f"run: no test is called {', '.join(sorted(unknown))}")
    varve = e2e.find_binary()
    if not varve:
        print("run: there is no varve; build it (cmake --build --preset dev) or set VARVE", file=sys.stderr)
        return 2
    needs = e2e.Needs()
    chosen = [test for test in TESTS if not arguments.tests or test[0] in arguments.tests]
    for need in ("root", "registry", "busybox"):
        reason = needs.reason(need)
        if reason:
            print(f"skipped: {reason}")
            return finish(arguments, 0, 0, len(chosen))
    folder = tempfile.mkdtemp(prefix="varve-torture-")
    needs.start_registry()
    try:
        os.environ["VARVE_REGISTRIES"] = f"{needs.folder}/r/registries.json"
        run = Run(arguments, varve, make_bases(varve, folder, needs.address), folder)
        signal.signal(signal.SIGINT, run.interrupt)
        for name, module, short, long, at_once in chosen:
            cases = arguments.cases or (long if arguments.soak else short)
            run.test(name, module, cases, min(at_once, arguments.jobs))
        return finish(arguments, run.passed, run.failed, 0)
    finally:
        needs.stop_registry()
        if not arguments.keep:
            shutil.rmtree(folder, ignore_errors=True)
