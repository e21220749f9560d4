"""A state root and the builds on it."""

import dataclasses
import glob
import json
import os
import re
import shutil
import subprocess
import time

from harness import trees


class Wrong(Exception):
    """What must not be."""


@dataclasses.dataclass
class Built:
    code: int
    steps: list        # of varve's statistics
    error: str
    tree: dict = None
    config: dict = None
    seconds: float = 0
    lines: int = 0     # of progress

    def ran(self):
        return [s for s in self.steps if s["status"] == "run"]


class Machine:
    def __init__(self, folder, varve, bases):
        self.folder, self.varve, self.bases = folder, varve, bases
        self.root = os.path.join(folder, "root")
        self.serial = 0
        os.makedirs(folder, exist_ok=True)

    def command(self, project, context, out):
        words = [self.varve, "build", "--root", self.root, "--progress", "plain", "--build-context",
                 f"base=docker-image://{self.bases[project.base]}"]
        for name, value in sorted(project.args.items()):
            words += ["--build-arg", f"{name}={value}"]
        for kind in ("oci", "tar"):
            words += ["-o", f"type={kind},dest={out}.{kind}"]
        return words + [context]

    def environment(self, stats):
        return dict(os.environ, VARVE_STATS_FILE=stats, TMPDIR=self.folder)

    def start(self, project, context):
        """A process that builds; see finish()."""
        self.serial += 1
        out = os.path.join(self.folder, f"out{self.serial}")
        log = open(out + ".log", "wb")
        process = subprocess.Popen(self.command(project, context, out), stdin=subprocess.DEVNULL, stdout=log,
                                   stderr=subprocess.STDOUT, env=self.environment(out + ".json"))
        log.close()
        process.out = out
        process.began = time.monotonic()
        return process

    def finish(self, process, timeout=300):
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise Wrong(f"a build did not end in {timeout} s") from None
        built = Built(code, [], "", seconds=time.monotonic() - process.began)
        out = process.out
        with open(out + ".log", encoding="utf-8", errors="replace") as file:
            log = file.read()
            built.error, built.lines = log[-3000:], log.count("\n")
        if os.path.exists(out + ".json"):
            with open(out + ".json", encoding="utf-8") as file:
                built.steps = json.load(file)["steps"]
        if code == 0:
            built.tree = trees.read(out + ".tar")
            built.config = trees.Image(out + ".oci").config
            of_layers = trees.read(out + ".oci")
            for path in [p for p in built.tree if p not in of_layers]:
                del built.tree[path]  # mount points and the like that only a merged tree has
        elif code < 0 and code != -9:
            raise Wrong(f"varve ended by signal {-code}:\n{built.error}")
        for path in glob.glob(out + ".*"):
            os.unlink(path)
        return built

    def build(self, project, context):
        return self.finish(self.start(project, context))

    def run(self, *words, check=True):
        done = subprocess.run([self.varve, *words, "--root", self.root], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, check=False)
        if check and done.returncode != 0:
            raise Wrong(f"varve {' '.join(words)}: exit code {done.returncode}\n{done.stdout[-2000:]}")
        return done

    # --- What is there --------------------------------------------------------------------------------

    def usable_keys(self):
        """Hex of the keys whose records, with all their layers, are here."""
        layers = set(os.listdir(self.root + "/layers")) if os.path.isdir(self.root + "/layers") else set()
        found = set()
        for path in glob.glob(self.root + "/records/*/*.json"):
            try:
                with open(path, encoding="utf-8") as file:
                    named = set(re.findall(r'sha256:([0-9a-f]{64})', json.dumps(layers_of(json.load(file)))))
            except ValueError:
                continue
            if named <= layers:
                found.add(os.path.basename(path)[:-5])
        return found

    def leftovers(self):
        """Mounts, processes and temporary files of builds that are over."""
        found = []
        with open("/proc/self/mountinfo", encoding="utf-8") as file:
            found += [f"mount {line.split()[4]}" for line in file if self.root in line]
        for entry in os.listdir("/proc"):
            if entry.isdigit() and int(entry) != os.getpid():
                try:
                    with open(f"/proc/{entry}/cmdline", "rb") as file:
                        words = file.read().replace(b"\0", b" ").decode(errors="replace")
                    if self.root in words or os.readlink(f"/proc/{entry}/cwd").startswith(self.root):
                        found.append(f"process {entry}: {words[:200]}")
                except OSError:
                    pass
        for name in ("staging", "locks", "jobs"):
            for path in glob.glob(f"{self.root}/{name}/*"):
                if os.path.basename(path) in ("collect.lock", "lazy.lock"):  # one file, which stays, for all
                    continue
                found.append(f"file {path}")
        return found

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)


def layers_of(record):
    """The layer lists in a record's JSON, wherever they are."""
    if isinstance(record, dict):
        return [v if k == "layers" else layers_of(v) for k, v in record.items() if k != "preimage"]
    if isinstance(record, list):
        return [layers_of(v) for v in record]
    return None


def config_of(config):
    """What of an image's configuration must be equal: all but times and what follows from them."""
    kept = {k: v for k, v in config.items() if k not in ("created", "rootfs")}
    kept["history"] = [{k: v for k, v in h.items() if k != "created"} for h in config.get("history", [])]
    kept["layers"] = len(config["rootfs"]["diff_ids"])
    return kept


def must_equal(cached, fresh):
    if (cached.code == 0) != (fresh.code == 0):
        raise Wrong(f"exit code {cached.code} with the cache, {fresh.code} without:\n{cached.error}\n{fresh.error}")
    if cached.code != 0:
        return
    different = trees.difference(cached.tree, fresh.tree)
    if different:
        raise Wrong("the tree with the cache (first) and without differ:\n" + "\n".join(different[:20]))
    if config_of(cached.config) != config_of(fresh.config):
        raise Wrong(f"the image configurations differ:\n{config_of(cached.config)}\n{config_of(fresh.config)}")
