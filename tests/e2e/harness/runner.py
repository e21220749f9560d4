"""Finds the tests, meets their needs, runs them in parallel, counts."""

import argparse
import ctypes
import fnmatch
import glob
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

from . import executor, script

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TOP = os.path.dirname(os.path.dirname(HERE))
IMAGES = ("busybox", "debian", "node", "python", "java", "platforms")
TOOLS = ("podman", "skopeo", "umoci", "git", "jq", "curl", "zstd", "xz", "bzip2", "strace", "ssh-agent",
         "setfattr", "mkfs.ext4", "buildah", "npm", "qemu-aarch64-static", "qemu-arm-static", "chromium",
         "promtool", "prometheus-pushgateway", "docker-buildx", "systemd-analyze", "systemd-socket-activate")
FAILED, SKIPPED = 1, 77
PR_SET_PDEATHSIG = 1


def find_binary():
    candidates = [os.environ["VARVE"]] if os.environ.get("VARVE") else [
        f"{TOP}/build/dev/varve", f"{TOP}/build/release/varve"]
    for path in candidates:
        if os.access(path, os.X_OK) and os.path.isfile(path):
            return os.path.abspath(path)
    return None


class Needs:
    """Answers whether a need is met, and why not. Asked once per need."""

    def __init__(self):
        self.reasons = {}
        self.folder = None
        self.address = ""

    def reason(self, need):
        """None when met, else why not."""
        if need not in self.reasons:
            self.reasons[need] = self._find_out(need)
        return self.reasons[need]

    def _find_out(self, need):
        if need in IMAGES:
            done = subprocess.run([f"{TOP}/fixtures/make-images", need], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            if done.returncode != 0:
                last = (done.stderr.strip().split("\n") or [""])[-1]
                return f"the fixture image {need} cannot be made: {last}"
            return None
        if need == "object-servers":
            return self._object_servers()
        if need == "registry":
            return None if shutil.which("docker-registry") else "docker-registry is not installed"
        if need == "root":
            return None if os.geteuid() == 0 else "not running as root"
        if need == "rootless":
            return self._rootless()
        if need == "list-frontend":
            found = os.access(f"{os.path.dirname(os.path.realpath(find_binary()))}/list_frontend", os.X_OK)
            return None if found else "list_frontend is not built"
        if need == "network":
            return self._network()
        if need == "binfmt":
            return self._binfmt()
        if need == "docker-engine":
            return self._docker_engine()
        if need == "podman-run":
            return self.reason("podman")
        if need in TOOLS:
            return None if shutil.which(need) else f"{need} is not installed"
        return f"'{need}' is no need that the harness knows"

    def _object_servers(self):
        for tool in ("node", "npm", "nginx"):
            if not shutil.which(tool):
                return f"{tool} is not installed"
        done = subprocess.run([f"{TOP}/fixtures/object-servers", "install"], check=False,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True)
        return None if done.returncode == 0 else \
            "the S3 server cannot be installed: " + done.stderr.strip()[-300:]

    def _network(self):
        done = subprocess.run(["curl", "-sfI", "-m", "10", "-o", "/dev/null",
                               "https://registry.npmjs.org/"], check=False)
        return None if done.returncode == 0 else "the npm registry cannot be reached"

    def _docker_engine(self):
        if not shutil.which("docker"):
            return "docker is not installed"
        done = subprocess.run(["docker", "version", "--format", "{{.Server.Version}}"], check=False,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True)
        return None if done.returncode == 0 else "no docker engine answers"

    def _binfmt(self):
        done = subprocess.run(["unshare", "--mount", "--propagation", "private", "mount", "-t",
                               "binfmt_misc", "none", "/proc/sys/fs/binfmt_misc"],
                              stderr=subprocess.PIPE, text=True, check=False)
        return None if done.returncode == 0 else \
            "binfmt_misc cannot be mounted here: " + done.stderr.strip()

    def _rootless(self):
        if os.geteuid() != 0:
            return "not running as root, which makes the unprivileged user"
        for tool in ("unshare", "setpriv", "newuidmap", "newgidmap"):
            if not shutil.which(tool):
                return f"{tool} is not installed"
        done = subprocess.run(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
                               "unshare", "--user", "true"], capture_output=True, check=False)
        return None if done.returncode == 0 else "the kernel forbids user namespaces to users"

    def start_registry(self):
        self.folder = tempfile.mkdtemp(prefix="varve-e2e-registry-")
        done = subprocess.run([f"{TOP}/fixtures/registry", "start", "--dir", self.folder + "/r",
                               "--parent", str(os.getpid())], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for line in done.stdout.split("\n"):
            if line.startswith("export VARVE_FIXTURE_REGISTRY="):
                self.address = line.split("=", 1)[1]
        if not self.address:
            for image in IMAGES + ("registry",):
                self.reasons[image] = "the fixture registry does not start: " + done.stderr[-300:]

    def stop_registry(self):
        if self.folder:
            subprocess.run([f"{TOP}/fixtures/registry", "stop", "--dir", self.folder + "/r"],
                           stdout=subprocess.DEVNULL, check=False)
            shutil.rmtree(self.folder, ignore_errors=True)


def run_one(path, folder, registry):
    """The body of a worker process: one test, transcript on standard output."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(FAILED))
    parsed = script.parse(path)
    test = executor.Test(parsed, folder, registry, sys.stdout)
    try:
        test.run()
    except executor.Failure as failure:
        print(f"FAILED at {os.path.basename(path)} {failure}", flush=True)
        return FAILED
    return 0


class Run:
    def __init__(self, arguments):
        self.arguments = arguments
        self.lock = threading.Lock()
        self.counts = {"passed": 0, "failed": 0, "skipped": 0}
        self.failures = []
        self.skips = {}

    def report(self, outcome, name, seconds, text=""):
        with self.lock:
            self.counts[outcome] += 1
            if outcome == "skipped":
                self.skips.setdefault(text, []).append(name)
            if outcome == "failed":
                self.failures.append(name)
                print(f"\n===== {name}: failed\n{text.rstrip()}\n=====", flush=True)
            elif outcome == "passed" and self.arguments.verbose:
                print(f"\n===== {name}: passed\n{text.rstrip()}\n=====", flush=True)
            elif not self.arguments.quiet:
                print(f"{outcome:8} {name}" + (f"  {seconds:.1f} s" if seconds else "") +
                      (f"  ({text})" if outcome == "skipped" else ""), flush=True)

    def one(self, parsed, needs):
        name = os.path.basename(parsed.path)[:-len(".test")]
        for need in parsed.needs:
            reason = needs.reason(need)
            if reason:
                self.report("skipped", name, 0, reason)
                return
        folder = tempfile.mkdtemp(prefix=f"varve-e2e-{name}-", dir=self.arguments.tmp)
        started = time.monotonic()
        worker = subprocess.Popen(
            [sys.executable, f"{HERE}/run", "--worker", parsed.path, folder, needs.address],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace", env=dict(os.environ, PYTHONDONTWRITEBYTECODE="1"))
        try:
            text, _ = worker.communicate(timeout=parsed.timeout * self.arguments.slow)
        except subprocess.TimeoutExpired:
            worker.terminate()
            try:
                text, _ = worker.communicate(timeout=20)
            except subprocess.TimeoutExpired:
                worker.kill()
                text, _ = worker.communicate()
            text += f"\nFAILED: not done after {parsed.timeout * self.arguments.slow} s\n"
        seconds = time.monotonic() - started
        if self.arguments.keep:
            text += f"kept: {folder}\n"
        else:
            executor.remove(folder)
        self.report("passed" if worker.returncode == 0 else "failed", name, seconds, text)


def choose(patterns):
    paths = sorted(glob.glob(f"{HERE}/*.test"))
    if not patterns:
        return paths
    chosen = []
    for pattern in patterns:
        pattern = os.path.basename(pattern).removesuffix(".test")
        found = [p for p in paths if fnmatch.fnmatch(os.path.basename(p)[:-5], pattern)]
        if not found:
            raise SystemExit(f"run: no test is called '{pattern}'")
        chosen += [p for p in found if p not in chosen]
    return chosen


def main(words):
    if words[:1] == ["--worker"]:
        return run_one(words[1], words[2], words[3])
    parser = argparse.ArgumentParser(prog="tests/e2e/run")
    parser.add_argument("patterns", nargs="*", metavar="TEST")
    parser.add_argument("-j", "--jobs", type=int, default=max(2, os.cpu_count() or 2))
    parser.add_argument("-v", "--verbose", action="store_true", help="transcripts of passed tests too")
    parser.add_argument("-q", "--quiet", action="store_true", help="failures and the count only")
    parser.add_argument("-k", "--keep", action="store_true", help="keep the folders of the tests")
    parser.add_argument("--slow", type=int, default=1, help="factor on every timeout (sanitizers)")
    parser.add_argument("--tmp", default=None, help="where the folders go")
    parser.add_argument("--check", action="store_true", help="only parse the tests")
    parser.add_argument("--summary", help="write the counts to this file")
    arguments = parser.parse_args(words)
    try:
        tests = [script.parse(path) for path in choose(arguments.patterns)]
    except script.ScriptError as error:
        raise SystemExit(f"run: {error}") from None
    unknown = [f"{t.path}:{s.line}: no statement '{s.word}'" for t in tests for s in t.statements
               if not hasattr(executor.Test, "do_" + s.word.replace("-", "_"))]
    if unknown:
        raise SystemExit("\n".join(unknown))
    if arguments.check:
        print(f"{len(tests)} tests parsed")
        return 0
    binary = find_binary()
    if not binary:
        print("run: there is no varve; build it (cmake --build --preset dev) or set VARVE",
              file=sys.stderr)
        return 2
    # `varve` is looked up on PATH by the tests, so the folder must hold it under that name.
    bin_folder = tempfile.mkdtemp(prefix="varve-e2e-bin-")
    os.symlink(binary, f"{bin_folder}/varve")
    os.environ["VARVE"] = f"{bin_folder}/varve"

    needs = Needs()
    try:
        wanted = sorted({need for test in tests for need in test.needs})
        for need in wanted:
            needs.reason(need)
        if any(need in IMAGES + ("registry",) and not needs.reason(need) for need in wanted):
            needs.start_registry()
        return run_all(tests, needs, arguments)
    finally:
        needs.stop_registry()
        shutil.rmtree(bin_folder, ignore_errors=True)


def run_all(tests, needs, arguments):
    run = Run(arguments)
    queue = list(reversed(tests))

    def work():
        while True:
            with run.lock:
                if not queue:
                    return
                test = queue.pop()
            run.one(test, needs)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(arguments.jobs, len(tests)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for reason, names in run.skips.items():
        print(f"skipped {len(names)}: {reason}")
    if run.failures:
        print("failed: " + " ".join(sorted(run.failures)))
    counts = run.counts
    line = f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped"
    if arguments.summary:
        with open(arguments.summary, "w", encoding="utf-8") as file:
            file.write(line + "\n")
    print(line)
    return 1 if counts["failed"] else 0
