"""The frame of a scenario: a work folder, a registry, a package index, the builders, a report, an exit status.

    from lib import scenario
    def play(place): …
    if __name__ == "__main__":
        scenario.main(__file__, "what the team has", play)
"""

import argparse
import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile

from lib import builders, index, packages, report

TOP = builders.TOP
SCARCE = 20 << 30


class Skipped(Exception):
    """What a scenario needs is not here."""


class Place:
    """What a scenario has: `work` (a folder), `project` (a copy of its project), builders, servers and the report."""

    def __init__(self, arguments, folder, name, title):
        self.quick, self.folder = arguments.quick, folder
        self.report = report.Report(name, title, judge_time=not arguments.quick)
        self.chosen = arguments.builders.split(",")
        self.large_megabytes, self.line = 0, 0  # a large wheel, and megabytes a second of what it comes over
        self.closing = contextlib.ExitStack()
        self.work = arguments.work and os.path.abspath(arguments.work) or tempfile.mkdtemp(prefix=f"varve-{name}-")
        os.makedirs(self.work, exist_ok=True)
        if not arguments.keep:
            self.closing.callback(shutil.rmtree, self.work, ignore_errors=True)
        self.environment = {name: value for name, value in os.environ.items()
                            if not name.startswith(("VARVE_", "ACTIONS_", "GITHUB_", "DOCKER_", "COMPOSE_"))}
        self.proxy_flags = []

    def say(self, text):
        print(f"{self.report.name}: {text}", file=sys.stderr, flush=True)

    def open(self, *images):
        """The fixtures: images behind a registry, packages behind an index. Then the builders."""
        subprocess.run([f"{TOP}/fixtures/make-images", "busybox", *images], check=True)
        lines = subprocess.check_output(
            [f"{TOP}/fixtures/registry", "start", "--dir", f"{self.work}/registry", "--parent", str(os.getpid())], text=True)
        self.closing.callback(subprocess.run, [f"{TOP}/fixtures/registry", "stop", "--dir", f"{self.work}/registry"], check=False)
        settings = dict(line.removeprefix("export ").split("=", 1) for line in lines.splitlines())
        self.registry = settings["VARVE_FIXTURE_REGISTRY"]
        cache = subprocess.check_output([f"{TOP}/fixtures/make-images", "--where"], text=True).strip() + "/scenarios"
        os.makedirs(cache, exist_ok=True)
        with open(f"{cache}/lock", "w") as lock:  # several scenarios may begin at once
            fcntl.flock(lock, fcntl.LOCK_EX)
            wheels = packages.make(cache, self.large_megabytes)
        self.index = self.closing.enter_context(index.Index(cache, wheels, self.line))
        # For apt; npm and pip reach their registries by TLS or on loopback.
        self.proxy_flags = ["--build-arg", f"http_proxy={self.index.url}"]
        self.environment.update(VARVE_REGISTRIES=settings["VARVE_REGISTRIES"], DOCKER_CONFIG=f"{self.work}/docker-config",
                                CONTAINERS_REGISTRIES_CONF=f"{self.work}/registries.conf")
        os.makedirs(f"{self.work}/docker-config")
        with open(f"{self.work}/docker-config/config.json", "w") as file:
            file.write("{}\n")
        with open(f"{self.work}/registries.conf", "w") as file:
            file.write('unqualified-search-registries = ["docker.io"]\n\n'
                       f'[[registry]]\nprefix = "docker.io"\nlocation = "{self.registry}"\ninsecure = true\n')
        self.project = f"{self.work}/project"
        shutil.copytree(f"{self.folder}/project", self.project)  # links too: workflows are those of examples/ci
        self._open_builders()

    def _open_builders(self):
        self.builders = {}
        for name in self.chosen:
            if name not in builders.ALL:
                raise SystemExit(f"no builder {name}; there are {', '.join(builders.ALL)}")
            why = builders.ALL[name].available()
            if not why:
                builder = builders.ALL[name](self)
                self.closing.callback(builder.close)
                why = None if name == "varve" else builder.probe()
            if why and name == "varve":
                raise SystemExit(why)
            if why:
                self.report.not_checked(f"beside {name}", why)
            else:
                self.builders[name] = builder
                if name != "varve":
                    self.report.note(f"{name} is {builder.version()}")

    @property
    def varve(self):
        return self.builders["varve"]

    def machine(self, name, **how):
        """A machine of that builder with an empty disk; None where it is not here."""
        return self.builders[name].machine(**how) if name in self.builders else None

    def discard(self, machine):
        """A runner's disk goes with the job, when this machine's is nearly full. Otherwise at the very end: ext4 without a
        journal passes over freed inodes one by one for minutes, and whoever builds next would pay for that."""
        machine.close()
        status = os.statvfs(self.work)
        if status.f_bavail * status.f_frsize < SCARCE:
            machine.remove()

    def push(self, name):
        """Applies a push of the history: the files in pushes/NAME replace those of the project."""
        shutil.copytree(f"{self.folder}/pushes/{name}", self.project, dirs_exist_ok=True)

    def edit(self, path, old, new):
        """One line of the project changes."""
        with open(f"{self.project}/{path}") as file:
            text = file.read()
        if old not in text:
            raise ValueError(f"{path} does not contain {old!r}")
        with open(f"{self.project}/{path}", "w") as file:
            file.write(text.replace(old, new, 1))

    def new_base(self, image):
        """The registry gets another image under a name of Docker Hub's: the base image was updated."""
        context = tempfile.mkdtemp(dir=self.work)
        with open(f"{context}/Dockerfile", "w") as file:
            file.write(f"FROM {image}\nRUN echo 'security update' >> /etc/motd\n")
        self.varve.machine().build(context, "--push", "-t", f"{self.registry}/library/{image}")


def main(script, title, play):
    """Plays a scenario and ends the process: 0, 1 when a target was missed, 77 when it cannot be played here."""
    folder = os.path.dirname(os.path.abspath(script))
    name = os.path.basename(folder)
    parser = argparse.ArgumentParser(prog=f"scenarios/{name}/run", description=title)
    parser.add_argument("--builders", default="varve,buildah,docker", help="which to play it through (default: %(default)s)")
    parser.add_argument("--json", metavar="FILE", help="write the figures as JSON")
    parser.add_argument("--quick", action="store_true", help="varve alone, the cached history; judge by what ran, not by time")
    parser.add_argument("--work", metavar="DIR", help="folder for images, caches and logs (default: a temporary one)")
    parser.add_argument("--keep", action="store_true", help="leave that folder")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.builders = "varve"
    # A kill ends servers and mounts as an interrupt does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    place = Place(arguments, folder, name, title)
    with place.closing:
        try:
            play(place)
        except Skipped as reason:
            print(f"{name}: skipped: {reason}", file=sys.stderr)
            sys.exit(77)
        except builders.BuildFailed as failure:
            print(f"{name}: {failure}", file=sys.stderr)
            sys.exit(1)
        if not arguments.quick:
            place.report.first_of_all()
        print(place.report.text())
        if arguments.json:
            report.save(place.report, arguments.json)
    sys.exit(1 if place.report.missed else 0)
