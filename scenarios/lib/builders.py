"""The builders that a scenario plays its history through: varve, and beside it buildah and docker where they are.

A Machine is a builder with a disk of its own: `builder.machine()` has an empty one. Its builds return a Build.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# Steps as users count them: `[stage 2/5] RUN make`. Loading and exporting have names of their own.
NUMBERED = re.compile(r"^\[[^\]]*\d+/\d+\] (?!FROM )")


class BuildFailed(Exception):
    pass


class Build:
    """What one command did: its wall time, what it printed, and of varve what happened to each step."""

    def __init__(self, seconds, log, stats=None):
        self.seconds, self.log = seconds, log
        self.counters = (stats or {}).get("counters", {})
        self.steps = [step for step in (stats or {}).get("steps", []) if NUMBERED.match(step["name"])]

    def names(self, *statuses):
        return [step["name"] for step in self.steps if step["status"] in statuses]

    @property
    def ran(self):
        return self.names("run")

    @property
    def cached(self):
        """Those that hit, and those that nobody asked for since a later one hit."""
        return self.names("hit", "not-needed")

    @property
    def hit_ratio(self):
        done = len(self.ran) + len(self.cached)
        return len(self.cached) / done if done else 1.0

    def only_ran(self, *words):
        """Whether each step that ran has one of these words in its name."""
        return all(any(word in name for word in words) for name in self.ran)

    def why(self, word):
        return "; ".join(step.get("why", "") for step in self.steps if word in step["name"] and step["status"] == "run")


def joined(builds):
    """Several commands as one."""
    whole = Build(sum(build.seconds for build in builds), "".join(build.log for build in builds))
    whole.steps = [step for build in builds for step in build.steps]
    return whole


def run(words, environment, folder=None, log_file=None, timeout=1800):
    """Runs a command: seconds and what it printed. A failure is an exception that ends with its last lines."""
    with tempfile.TemporaryFile() as output:
        started = time.perf_counter()
        code = subprocess.call(words, env=environment, cwd=folder, stdin=subprocess.DEVNULL, stdout=output,
                               stderr=output, timeout=timeout)
        seconds = time.perf_counter() - started
        output.seek(0)
        text = output.read().decode(errors="replace")
    if log_file:
        with open(log_file, "a") as file:
            file.write(f"$ {' '.join(words)}\n{text}[{seconds:.2f} s, exit {code}]\n\n")
    if code != 0:
        raise BuildFailed(f"exit {code}: {' '.join(words)}\n{text[-3000:]}")
    return seconds, text


class Builder:
    def __init__(self, place):
        self.place = place
        self.machines = []

    def machine(self):
        made = self.machine_type(self, f"{self.place.work}/{self.name}-{len(self.machines) + 1}")
        self.machines.append(made)
        return made

    def close(self):
        for machine in self.machines:
            machine.close()


class Machine:
    def __init__(self, builder, root):
        self.builder, self.place, self.root = builder, builder.place, root
        os.makedirs(root)

    @property
    def name(self):
        return self.builder.name

    def environment(self, extra=None):
        return {**self.place.environment, **(extra or {})}

    def close(self):
        pass

    def remove(self):
        self.close()
        shutil.rmtree(self.root, ignore_errors=True)
        os.makedirs(self.root)


class VarveMachine(Machine):
    def run(self, words, folder=None, extra=None):
        """Any command of varve."""
        return self._run([self.builder.binary, *words], folder, extra)

    def run_program(self, program, **variables):
        """A program that calls varve."""
        return self._run([program], None, variables)

    def _run(self, words, folder, extra):
        stats = f"{self.root}/stats.json"
        environment = self.environment({"VARVE_ROOT": f"{self.root}/root", "VARVE_STATS_FILE": stats, **(extra or {})})
        seconds, log = run(words, environment, folder, f"{self.place.work}/varve.log")
        if not os.path.exists(stats):
            return Build(seconds, log)
        with open(stats) as file:
            document = json.load(file)
        os.remove(stats)
        return Build(seconds, log, document)

    def build(self, context, *flags, extra=None):
        return self.run(["build", "--progress", "plain", *self.place.proxy_flags, *flags, context], extra=extra)


class Varve(Builder):
    name = "varve"
    machine_type = VarveMachine
    binary = os.path.abspath(os.environ.get("VARVE") or f"{TOP}/build/release/varve")

    @classmethod
    def available(cls):
        return None if os.access(cls.binary, os.X_OK) else f"{cls.binary} is not built"


class BuildahMachine(Machine):
    def words(self):
        return [self.builder.program, "--root", f"{self.root}/graph", "--runroot", f"{self.root}/run"]

    def build(self, context, *flags, extra=None):
        words = [*self.words(), "bud", "--tls-verify=false", "--layers", "--network", "host", *self.builder.isolation,
                 *self.place.proxy_flags, *flags, context]
        seconds, log = run(words, self.environment(extra), None, f"{self.place.work}/buildah.log")
        return Build(seconds, log)

    def command(self, *words):
        return run([*self.words(), *words], self.environment(), None, f"{self.place.work}/buildah.log")

    def close(self):
        subprocess.run(["umount", "-R", f"{self.root}/graph/overlay"], stderr=subprocess.DEVNULL, check=False)


class Buildah(Builder):
    """$BUILDAH is another one than that in PATH: a newer one, or a script that starts it."""
    name = "buildah"
    machine_type = BuildahMachine
    isolation = []
    program = os.environ.get("BUILDAH") or "buildah"

    @classmethod
    def available(cls):
        return None if shutil.which(cls.program) else f"{cls.program} is not installed"

    @classmethod
    def version(cls):
        """`buildah version 1.28.2 (image-spec …)` as 1.28.2."""
        words = subprocess.run([cls.program, "--version"], capture_output=True, text=True, check=False).stdout.split()
        return words[2] if len(words) > 2 else "of an unknown version"

    def probe(self):
        """Finds an isolation that works here: crun refuses hybrid cgroups, some machines have no runc."""
        context = f"{self.place.work}/buildah-probe"
        os.makedirs(context)
        with open(f"{context}/Dockerfile", "w") as file:
            file.write("FROM busybox\nRUN true\n")
        for isolation in ([], ["--runtime", "runc"], ["--isolation", "chroot"]):
            self.isolation = isolation
            try:
                self.machine().build(context)
                return None
            except BuildFailed as failure:
                last = failure
        return f"buildah does not run a step here: {str(last)[-200:]}"


class DockerMachine(Machine):
    """A docker engine cannot be given another disk: --no-cache of a first build stands for an empty one."""

    def build(self, context, *flags, extra=None):
        words = ["docker", "build", "--network", "host", *self.place.proxy_flags, *flags, context]
        seconds, log = run(words, self.environment({"DOCKER_BUILDKIT": "1", **(extra or {})}), None,
                           f"{self.place.work}/docker.log")
        return Build(seconds, log)


class Docker(Builder):
    name = "docker"
    machine_type = DockerMachine

    @classmethod
    def available(cls):
        if not shutil.which("docker"):
            return "docker is not installed"
        done = subprocess.run(["docker", "info"], capture_output=True, check=False)
        return None if done.returncode == 0 else "no docker engine answers"


ALL = {"varve": Varve, "buildah": Buildah, "docker": Docker}
