"""Runs the cases in parallel, compares, records, counts."""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(1, f"{TOP}/tests/e2e")
from harness import servers  # noqa: E402
from harness.runner import find_binary  # noqa: E402

from . import answers, builders, case as cases, compare, image  # noqa: E402

CASES = f"{HERE}/cases"
BASES = (("busybox", "latest"),)


class Missing(Exception):
    """What the machine lacks for any case."""


class Place:
    """What the cases of a run share: folders, the registry of the fixture images, an http server, the builders."""

    def __init__(self):
        if os.geteuid() != 0:
            raise Missing("contexts with owners and devices need root")
        self.folder = tempfile.mkdtemp(prefix="varve-differential-")
        self.www = f"{self.folder}/www"
        os.makedirs(self.www)
        self.server = servers.FileServer(self.www)
        self.reference = self.buildah = None
        made = subprocess.run([f"{TOP}/fixtures/make-images", *(name for name, _ in BASES)], stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if made.returncode != 0:
            raise Missing(f"the fixture images cannot be made: {made.stderr[-500:]}")
        started = subprocess.run([f"{TOP}/fixtures/registry", "start", "--dir", self.folder + "/registry", "--parent",
                                  str(os.getpid())], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        variables = dict(line.removeprefix("export ").split("=", 1) for line in started.stdout.splitlines())
        if started.returncode != 0:
            raise Missing("the fixture registry does not start")
        self.registry = variables["VARVE_FIXTURE_REGISTRY"]
        self.registries = variables["VARVE_REGISTRIES"]
        self.bases = [image.Base()] + [image.read_base(self.registry, *base) for base in BASES]
        self.varve = builders.Varve(find_binary() or sys.exit("run: there is no varve; build it or set VARVE"),
                                    f"{self.folder}/root", self.registries)

    def close(self):
        if self.reference:
            self.reference.stop()
        subprocess.run([f"{TOP}/fixtures/registry", "stop", "--dir", self.folder + "/registry"], check=False)
        remove(self.folder)


def remove(folder):
    """With rm, which takes what a case made: names that are no text, folders without permission."""
    subprocess.run(["rm", "-rf", "--one-file-system", folder], check=False)


class Prepared:
    """One case with its context on disk, ready for either builder."""

    def __init__(self, case, place):
        self.case, self.place = case, place
        self.folder = os.path.join(place.folder, "cases", case.name)
        os.makedirs(self.folder)
        # The reference keeps what it was sent under the last part of the context's path, and asks for a file
        # again only when its size or time is another; so no two contexts may have one name.
        unique = f"{os.path.basename(place.folder)}-{case.name.replace('/', '-')}"
        self.context = f"{self.folder}/{unique}"
        case.context(self.context, f"{place.www}/{case.name}")

    def ask_reference(self):
        answer = self.ask(self.place.reference)[0]
        if not answer.get("error", "").endswith(builders.Buildah.FOR):
            return {"by": self.place.reference.by, **answer}
        answer, outcome = self.ask(self.place.buildah)
        if outcome.code != 0:
            raise RuntimeError(f"buildah: {outcome.text[-500:]}")
        return {"by": self.place.buildah.by, **builders.Buildah.part(answer)}

    def ask(self, builder):
        """The answer document of a builder."""
        context, out = self.context, f"{self.folder}/{type(builder).__name__}"
        http = f"http://{self.place.server.address}/{self.case.name}"
        flags = self.case.flags({"CTX": builder.path(context), "HTTP": http, "REGISTRY": self.place.registry})
        replaced = ((http, "HTTP"), (self.place.server.address, "SERVER"), (self.place.registry, "REGISTRY"),
                    (builder.path(context), "CTX"), (context, "CTX"))
        outcome = builder.build(context, flags, out, replaced)
        answer = outcome.answer()
        if outcome.code == 0:
            answer.update(replace(image.read_image(out, self.place.bases), replaced))
        return answer, outcome


def replace(value, replaced):
    if isinstance(value, str):
        for old, new in replaced:
            value = value.replace(old, new)
        return value
    if isinstance(value, list):
        return [replace(item, replaced) for item in value]
    if isinstance(value, dict):
        return {key: replace(item, replaced) for key, item in value.items()}
    return value


class Run:
    def __init__(self, arguments, place, ledger):
        self.arguments, self.place, self.ledger = arguments, place, ledger
        self.lock = threading.Lock()
        self.counts = {"passed": 0, "failed": 0, "skipped": 0}
        self.accepted = 0
        self.failures = []

    def report(self, outcome, name, seconds, text=""):
        with self.lock:
            self.counts[outcome] += 1
            if outcome == "failed":
                self.failures.append(name)
            if outcome != "passed" or not self.arguments.quiet:
                print(f"{outcome:8} {name}  {seconds:.1f} s" + (f"\n{text.rstrip()}" if text else ""), flush=True)

    def one(self, case):
        started = time.monotonic()
        try:
            outcome, text = self.judge(case)
        except Exception as error:  # a case that cannot be run has failed; the others go on
            outcome, text = "failed", f"{type(error).__name__}: {error}"
        self.report(outcome, case.name, time.monotonic() - started, text)

    def judge(self, case):
        prepared = Prepared(case, self.place)
        try:
            if self.arguments.record:
                return self.record(prepared)
            recorded = answers.read(case.answer_path)
            if self.arguments.live:
                recorded = prepared.ask_reference()
            if recorded is None:
                return "failed", f"no answer is recorded: tests/differential/run --record {case.name}"
            answer, outcome = prepared.ask(self.place.varve)
            if recorded["by"].startswith("buildah") and "error" not in answer:
                answer = builders.Buildah.part(answer)
            return self.compare(case, recorded, answer, outcome)
        finally:
            if not self.arguments.keep:
                remove(prepared.folder)

    def record(self, prepared):
        answer = prepared.ask_reference()
        old = answers.read(prepared.case.answer_path)
        answers.write(prepared.case.answer_path, answer)
        if old is None:
            return "passed", answer.get("error", "")
        return "passed", "\n".join(str(d) for d in compare.differences(old, answer))

    def compare(self, case, recorded, answer, outcome):
        left = []
        for difference in compare.differences(recorded, answer):
            reason = self.ledger.reason(case.name, difference)
            if reason is None:
                left.append(difference)
            else:
                with self.lock:
                    self.accepted += 1
        if not left:
            return "passed", ""
        text = "\n".join(f"  {difference}" for difference in left)
        if "error" in answer and "error" not in recorded:
            text += "\n" + outcome.text[-1500:]
        return "failed", text


def run_all(run, chosen):
    queue = list(reversed(chosen))

    def work():
        while True:
            with run.lock:
                if not queue:
                    return
                case = queue.pop()
            run.one(case)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(run.arguments.jobs, len(chosen)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main(words, description):
    parser = argparse.ArgumentParser(prog="tests/differential/run", description=description,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("patterns", nargs="*", metavar="CASE")
    parser.add_argument("--record", action="store_true", help="write the answers of the reference builder")
    parser.add_argument("--live", action="store_true", help="compare with the reference builder, not with its record")
    parser.add_argument("-j", "--jobs", type=int, default=max(2, os.cpu_count() or 2))
    parser.add_argument("-q", "--quiet", action="store_true", help="failures and the count only")
    parser.add_argument("-k", "--keep", action="store_true", help="keep the folders")
    parser.add_argument("--summary", help="write the counts to this file")
    arguments = parser.parse_args(words)
    try:
        chosen = cases.find(CASES, arguments.patterns)
    except cases.CaseError as error:
        raise SystemExit(f"run: {error}") from None
    if (arguments.record or arguments.live) and not builders.installed():
        raise SystemExit("run: there is no reference builder here: tests/differential/reference install")
    try:
        place = Place()
    except Missing as reason:
        return total({"passed": 0, "failed": 0, "skipped": len(chosen)}, arguments, f"skipped: {reason}")
    try:
        if arguments.record or arguments.live:
            place.reference = builders.Reference(place.registry)
            place.buildah = builders.Buildah(f"{place.folder}/buildah")
        run = Run(arguments, place, compare.Ledger(f"{HERE}/ledger.json"))
        run_all(run, chosen)
    finally:
        if arguments.keep:
            print(f"kept: {place.folder}/cases")
        else:
            place.close()
    return conclude(run, chosen, arguments)


def conclude(run, chosen, arguments):
    if not arguments.record and not arguments.patterns:
        for entry in run.ledger.unused([case.name for case in chosen]):
            run.report("failed", "ledger", 0, f"  accepts nothing any more: {entry}")
    if run.failures:
        print("failed: " + " ".join(sorted(run.failures)))
    if run.accepted:
        print(f"accepted differences: {run.accepted}, see tests/differential/ledger.json")
    return total(run.counts, arguments)


def total(counts, arguments, before=None):
    line = ", ".join(f"{number} {outcome}" for outcome, number in counts.items())
    if before:
        print(before)
    if arguments.summary:
        with open(arguments.summary, "w", encoding="utf-8") as file:
            file.write(line + "\n")
    print(line)
    return 1 if counts["failed"] else 0
