"""Builders beside varve for bench/tiers: BuildKit, whose machines are each a buildkitd with a root of its own, and
Buildah.

A peer has no counters, so the places tell: what is written is what the directory or the registry's storage grew by;
what is read and asked for is in the registry's log, or for a directory what a machine's content store grew by. A base
image's manifest and layer are in these figures.
"""

import os
import re
import resource
import shutil
import subprocess
import time


class Unable(Exception):
    pass


def size(folder):
    """Bytes of all files below, each once."""
    files = {}
    for below, _, names in os.walk(folder):
        for name in names:
            try:
                status = os.lstat(f"{below}/{name}")
            except FileNotFoundError:
                continue
            files[status.st_ino] = status.st_size
    return sum(files.values())


def directory_of(flags):
    """The directory of the cache among a build's flags, if it is one."""
    for name, value in zip(flags[::2], flags[1::2]):
        if name.startswith("--cache-") and value.startswith("type=local"):
            return re.search(r"(?:src|dest)=([^,]+)", value).group(1)
    return None


def cpu_of_children():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Registry:
    """What the fixture registry of this shell has stored and answered."""

    def __init__(self):
        folder = os.path.dirname(os.environ.get("VARVE_REGISTRIES", ""))
        self.storage, self.log = f"{folder}/storage", f"{folder}/log"

    def answered(self):
        """Requests, and the bytes of all answers."""
        with open(self.log, errors="replace") as log:
            written = re.findall(r'msg="response completed".* http\.response\.written=(\d+)', log.read())
        return len(written), sum(map(int, written))


class Peer:
    def __init__(self, work, registry):
        self.work, self.registry, self.answers = work, registry, Registry()
        self.machines = {}

    def content(self, root):
        return None

    def cpu(self, root):
        return cpu_of_children()

    def build(self, root, context, *flags):
        """As varve's: seconds, CPU seconds, and the counters that the table shows; None for what cannot be known."""
        words = self.words(root, context, flags)
        place = directory_of(flags)
        stored = size(place or self.answers.storage)
        requests, answered = self.answers.answered()
        content = self.content(root) if place and "--cache-from" in flags else None  # an export makes blobs there, too
        before = self.cpu(root)
        started = time.perf_counter()
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - started
        cpu = self.cpu(root) - before
        if done.returncode != 0:
            raise Unable(f"{' '.join(words)}\n{done.stderr[-2000:]}")
        asked, read = (number - earlier for number, earlier in zip(self.answers.answered(), (requests, answered)))
        return seconds, cpu, {
            "tier.bytes_written": size(place or self.answers.storage) - stored,
            "tier.bytes_read": read if not place else self.content(root) - content if content is not None else None,
            "tier.requests": None if place else asked}

    def close(self):
        pass


class BuildKit(Peer):
    """buildkitd and buildctl of PATH, or $BUILDKITD and $BUILDCTL."""
    name, tiers = "buildkit", ("local", "registry")
    daemon = os.environ.get("BUILDKITD") or "buildkitd"
    client = os.environ.get("BUILDCTL") or "buildctl"

    @classmethod
    def available(cls):
        return bool(shutil.which(cls.daemon) and shutil.which(cls.client))

    def machine(self, root):
        if root in self.machines:
            return self.machines[root]
        os.makedirs(root)
        with open(f"{root}/buildkitd.toml", "w") as file:
            file.write(f'[registry."docker.io"]\nmirrors = ["{self.registry}"]\n'
                       f'[registry."{self.registry}"]\nhttp = true\n[worker.containerd]\nenabled = false\n')
        words = [self.daemon, "--root", f"{root}/root", "--addr", f"unix://{root}/socket", "--config",
                 f"{root}/buildkitd.toml"]
        with open(f"{root}/log", "w") as log:
            process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.machines[root] = process
        words = [self.client, "--addr", f"unix://{root}/socket", "debug", "workers"]
        for _ in range(200):
            if subprocess.run(words, capture_output=True, check=False).returncode == 0:
                return process
            time.sleep(0.1)
        raise Unable(f"buildkitd does not start, see {root}/log")

    def words(self, root, context, flags):
        self.machine(root)
        names = {"--cache-to": "--export-cache", "--cache-from": "--import-cache", "-o": "--output"}
        return [self.client, "--addr", f"unix://{root}/socket", "build", "--progress=plain",
                "--frontend", "dockerfile.v0", "--local", f"context={context}", "--local", f"dockerfile={context}",
                *(names.get(flag, flag) for flag in flags)]

    def content(self, root):
        return size(f"{root}/root/runc-overlayfs/content/blobs")

    def cpu(self, root):
        """The client's, and the daemon's with the steps that it waited for."""
        with open(f"/proc/{self.machine(root).pid}/stat") as file:
            ticks = file.read().rsplit(")", 1)[1].split()[11:15]
        return cpu_of_children() + sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")

    def close(self):
        for process in self.machines.values():
            process.terminate()
        for process in self.machines.values():
            process.wait()


class Buildah(Peer):
    """Buildah of PATH, or $BUILDAH. Its caches are in registries only."""
    name, tiers = "buildah", ("registry",)
    program = os.environ.get("BUILDAH") or "buildah"
    isolation = None

    @classmethod
    def available(cls):
        return bool(shutil.which(cls.program))

    def words(self, root, context, flags):
        if self.isolation is None:
            self.probe()
        self.machines[root] = None
        cache = []
        for name, value in zip(flags[::2], flags[1::2]):
            reference = re.search(r"ref=([^,]+)", value)
            cache += [name, reference.group(1).rsplit(":", 1)[0] if reference else value]
        # Its users write the registry's name; docker.io would be the real one.
        dockerfile = f"{root}.Dockerfile"
        with open(f"{context}/Dockerfile") as source, open(dockerfile, "w") as file:
            file.write(source.read().replace("FROM busybox", f"FROM {self.registry}/library/busybox"))
        return [self.program, "--root", f"{root}/graph", "--runroot", f"{root}/run", "bud", "--tls-verify=false",
                "--layers", "--network", "host", *self.isolation, "-f", dockerfile, *cache, context]

    def probe(self):
        """crun refuses hybrid cgroups, some machines have no runc."""
        context = f"{self.work}/buildah-probe"
        os.makedirs(context)
        with open(f"{context}/Dockerfile", "w") as file:
            file.write("FROM busybox\nRUN true\n")
        for number, isolation in enumerate(([], ["--runtime", "runc"], ["--isolation", "chroot"])):
            self.isolation = isolation
            try:
                self.build(f"{self.work}/buildah-probe-{number}", context)
                return
            except Unable as failure:
                last = failure
        raise last

    def close(self):
        for root in self.machines:
            subprocess.run(["umount", "-R", f"{root}/graph/overlay"], stderr=subprocess.DEVNULL, check=False)


ALL = {"buildkit": BuildKit, "buildah": Buildah}
