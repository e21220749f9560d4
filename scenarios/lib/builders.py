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

    def machine(self, **how):
        made = self.machine_type(self, f"{self.place.work}/{self.name}-{len(self.machines) + 1}", **how)
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


def _probe_context(place):
    context = f"{place.work}/probe"
    os.makedirs(context, exist_ok=True)
    with open(f"{context}/Dockerfile", "w") as file:
        file.write("FROM busybox\nRUN true\n")
    return context


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
        context = _probe_context(self.place)
        for isolation in ([], ["--runtime", "runc"], ["--isolation", "chroot"]):
            self.isolation = isolation
            try:
                self.machine().build(context)
                return None
            except BuildFailed as failure:
                last = failure
        return f"buildah does not run a step here: {str(last)[-200:]}"


class DockerMachine(Machine):
    """An engine of its own, on a unix socket. `store`: overlay2, docker's usual one, or containerd, whose caches can go elsewhere."""

    def __init__(self, builder, root, store="overlay2"):
        super().__init__(builder, root)
        settings = {
            "data-root": f"{root}/data", "exec-root": f"{root}/exec", "pidfile": f"{root}/engine.pid",
            "hosts": [f"unix://{root}/engine.sock"], "bridge": "none", "iptables": False, "ip6tables": False,
            "registry-mirrors": [f"http://{self.place.registry}"], "insecure-registries": ["127.0.0.0/8"],
            "exec-opts": ["native.cgroupdriver=cgroupfs"], "features": {"containerd-snapshotter": store == "containerd"},
            **({"storage-driver": "overlay2"} if store == "overlay2" else {})}
        with open(f"{root}/engine.json", "w") as file:
            json.dump(settings, file)
        with open(f"{root}/engine.log", "w") as log:
            # It would use the containerd of this machine if it saw its socket.
            self.process = subprocess.Popen(
                ["unshare", "--mount", "sh", "-c", '[ ! -d /run/containerd ] || mount -t tmpfs tmpfs /run/containerd; exec "$0" "$@"',
                 self.builder.engine, "--config-file", f"{root}/engine.json"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while self.process.poll() is None and time.monotonic() < deadline:
            if subprocess.run(["docker", "version"], capture_output=True, env=self.environment(), check=False).returncode == 0:
                return
            time.sleep(0.1)
        self.close()
        with open(f"{root}/engine.log") as log:
            raise BuildFailed(f"dockerd does not start: {log.read()[-1000:]}")

    def environment(self, extra=None):
        return super().environment({"DOCKER_HOST": f"unix://{self.root}/engine.sock", **(extra or {})})

    def run(self, words, folder=None, extra=None):
        """Any command of docker's; paths in the project are those of a copy without `# syntax=` lines.

        The frontend that such a line names would have to be asked for on Docker Hub for each build."""
        here, copy = self.place.project, f"{self.root}/project"
        if any(here in word for word in [*words, folder or ""]):
            self._copy(here, copy)
        words = [word.replace(here, copy) for word in words]
        return Build(*run(words, self.environment(extra), folder and folder.replace(here, copy), f"{self.place.work}/docker.log"))

    def build(self, context, *flags, extra=None):
        return self.run(["docker", "buildx", "build", "--progress", "plain", "--network", "host", *self.place.proxy_flags,
                         *flags, context], extra=extra)

    @staticmethod
    def _copy(source, target):
        """Writes what differs, so that a file that did not change is not sent again."""
        wanted = {os.path.relpath(f"{folder}/{name}", source) for folder, _, names in os.walk(source) for name in names}
        there = {os.path.relpath(f"{folder}/{name}", target) for folder, _, names in os.walk(target) for name in names}
        for path in there - wanted - {"compose.override.yaml"}:
            os.remove(f"{target}/{path}")
        for path in wanted:
            with open(f"{source}/{path}", "rb") as file:
                data = re.sub(rb"\A# syntax=.*\n", b"", file.read())
            os.makedirs(os.path.dirname(f"{target}/{path}"), exist_ok=True)
            if path in there:
                with open(f"{target}/{path}", "rb") as file:
                    if file.read() == data:
                        continue
            with open(f"{target}/{path}", "wb") as file:
                file.write(data)
            shutil.copymode(f"{source}/{path}", f"{target}/{path}")

    def compose(self, services, network="host"):
        """A Compose file beside the project's: its engine has no bridge."""
        os.makedirs(f"{self.root}/project", exist_ok=True)
        with open(f"{self.root}/project/compose.override.yaml", "w") as file:
            json.dump({"services": {name: {"build": {"network": network}} for name in services}}, file)

    def close(self):
        self.process.terminate()
        self.process.wait()


class Docker(Builder):
    """$DOCKERD is another engine than that in PATH, as $BUILDAH is another Buildah; the client is `docker`."""
    name = "docker"
    machine_type = DockerMachine
    engine = os.environ.get("DOCKERD") or "dockerd"

    @classmethod
    def available(cls):
        missing = [program for program in ("docker", cls.engine) if not shutil.which(program)]
        return f"{missing[0]} is not installed" if missing else None if os.geteuid() == 0 else "dockerd needs root"

    @classmethod
    def version(cls):
        """`Docker version 28.5.2+dfsg4, build 3ef3c07` as 28.5.2+dfsg4."""
        words = subprocess.run([cls.engine, "--version"], capture_output=True, text=True, check=False).stdout.split()
        return words[2].rstrip(",") if len(words) > 2 else "of an unknown version"

    def probe(self):
        """Whether an engine starts here and runs a step."""
        try:
            machine = self.machine()
            machine.build(_probe_context(self.place))
            machine.close()
            return None
        except BuildFailed as failure:
            return f"docker does not build here: {str(failure)[-200:]}"


ALL = {"varve": Varve, "buildah": Buildah, "docker": Docker}
