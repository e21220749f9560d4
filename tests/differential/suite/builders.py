"""The two builders: varve, and the reference that tests/differential/reference runs."""

import os
import re
import shlex
import shutil
import subprocess

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SECONDS = 120


class Outcome:
    """What a build said: exit code, and on standard error the message, the marked lines, the warnings."""

    def __init__(self, code, text, replaced):
        for old, new in replaced:
            text = text.replace(old, new)
        self.code, self.text = code, text

    def answer(self):
        """The part of an answer document that the command's output tells."""
        found = {}
        if self.code != 0:
            found["error"] = message_of(self.text)
            lines = {int(line) for line in re.findall(r"^ *(\d+) \| >>> ", self.text, re.M)}
            if lines:
                found["lines"] = sorted(lines)
        block = re.search(r"^ *(?:\x1b\[33m)?\d+ warnings? found.*\n((?:.*? - .*\n)+)", self.text, re.M)
        if block:
            found["warnings"] = sorted(set(re.findall(r" - (\w+: .*)$", block.group(1), re.M)))
        return found


# What surrounds the message: the commands' own framing, and the names of a daemon's snapshots.
FRAMES = (r"failed to build: ", r"Dockerfile: ", r"failed to solve: ",
          r"failed to run Build function: ", r"failed to compute cache key: ",
          r"failed to calculate checksum of ref \S+: ")


def message_of(text):
    # Where the daemon had a root mounted.
    text = re.sub(r"/var/lib/docker/(buildkit/\S*?/buildkit\d+|containerd/\S*?/snapshots/\d+/fs)", "", text)
    found = re.search(r"^ERROR: (.*?)(?:\nhint: .*)?\s*\Z", text, re.M | re.S)
    message = found.group(1) if found else text[-500:]
    for frame in FRAMES:
        message = re.sub("^" + frame, "", message)
    return message


def call(words, environment=None):
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              env=environment, timeout=SECONDS, text=True, errors="backslashreplace")
    except subprocess.TimeoutExpired as late:
        return 124, f"{late.output or ''}\nERROR: not done after {SECONDS} s"
    return done.returncode, done.stdout


class Varve:
    name = "varve"

    def __init__(self, binary, root, registries):
        self.binary, self.root = binary, root
        self.environment = dict(os.environ, VARVE_REGISTRIES=registries, DOCKER_CONFIG="/nonexistent")

    def path(self, path):
        return path

    def build(self, context, flags, out, replaced):
        words = [self.binary, "--root", self.root, "build", "--progress", "plain",
                 "-o", f"type=oci,tar=false,compression=uncompressed,dest={out}", *flags, context]
        return Outcome(*call(words, self.environment), replaced)


class Reference:
    """dockerd in its own mount namespace, where the machine's root is /host."""

    def __init__(self, registry):
        self.control([*"start".split(), registry])
        self.by = self.control(["run", "docker", "version", "--format",
                                "docker {{.Server.Version}}"]).strip() + ", " + \
            "buildx " + self.control(["run", "docker", "buildx", "version"]).split()[1]

    @staticmethod
    def control(words):
        done = subprocess.run([f"{HERE}/reference", *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            raise SystemExit(done.stderr.strip())
        return done.stdout

    def path(self, path):
        return "/host" + path

    def build(self, context, flags, out, replaced):
        # The daemon's own store would answer from an earlier case that had other times.
        words = [f"{HERE}/reference", "run", "docker", "buildx", "build", "--progress", "plain", "--no-cache",
                 "--provenance=false", "-o", f"type=oci,tar=false,compression=uncompressed,dest={self.path(out)}"]
        if not any(word.startswith("--network") for word in flags):
            words += ["--network", "host"]  # it has no bridge
        return Outcome(*call([*words, *flags, self.path(context)]), replaced)

    def stop(self):
        self.control(["stop"])


class Buildah:
    """Beside dockerd: for flags that Debian's docker lacks. Its layers, history and times are its own."""

    FOR = "unknown flag: --parents"
    KEYS = ("base", "tree")

    def __init__(self, folder):
        self.store = ["--storage-driver", "vfs", "--root", f"/host{folder}/store", "--runroot", f"/host{folder}/run"]
        self.by = Reference.control(["run", "buildah", "--version"]).split(" (")[0].replace(" version", "")

    def path(self, path):
        return "/host" + path

    def build(self, context, flags, out, replaced):
        name = "c" + re.sub("[^a-z0-9]", "", os.path.basename(context).lower())
        run = [f"{HERE}/reference", "run", "buildah", *self.store]
        code, text = call([*run, "build", "--isolation", "chroot", "-t", name, *flags, self.path(context)])
        if code == 0:
            code, text = call([*run, "push", "-q", name, f"oci:{self.path(out)}"])
        return Outcome(code, text, replaced)

    @staticmethod
    def part(answer):
        found = {key: answer[key] for key in Buildah.KEYS}
        found["tree"] = {path: {k: v for k, v in node.items() if k != "time"} for path, node in answer["tree"].items()}
        return found


def installed():
    folder = os.environ.get("VARVE_PEERS", "/var/tmp/varve-peers")
    return os.path.exists(f"{folder}/sid/.complete") and shutil.which("nsenter")
