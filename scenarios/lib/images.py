"""Images as a smoke test needs them: sizes from the manifest, files of the last stage, a container that runs."""

import json
import os
import shutil
import subprocess
import tarfile

from lib import builders


class Layout:
    """An OCI layout, as `-o type=oci,dest=FOLDER,tar=false` writes it."""

    def __init__(self, path):
        self.path = path
        with open(f"{path}/index.json") as file:
            document = json.load(file)
        while "layers" not in document:  # an index, perhaps of an index, of one image
            self.digest = document["manifests"][0]["digest"]
            document = json.loads(self.blob(self.digest))
        self.manifest = document
        self.config = json.loads(self.blob(document["config"]["digest"]))

    def blob(self, digest):
        with open(f"{self.path}/blobs/{digest.replace(':', '/')}", "rb") as file:
            return file.read()

    @property
    def size(self):
        return sum(layer["size"] for layer in self.manifest["layers"])

    @property
    def diff_ids(self):
        return self.config["rootfs"]["diff_ids"]

    def files(self):
        """Paths in the merged file tree."""
        found = set()
        for layer in self.manifest["layers"]:
            with tarfile.open(f"{self.path}/blobs/{layer['digest'].replace(':', '/')}") as tar:
                for entry in tar:
                    path = entry.name.removeprefix("./").strip("/")
                    folder, name = os.path.split(path)
                    if name == ".wh..wh..opq":
                        found = {kept for kept in found if not kept.startswith(folder + "/")}
                    elif name.startswith(".wh."):
                        gone = os.path.join(folder, name[4:])
                        found = {kept for kept in found if kept != gone and not kept.startswith(gone + "/")}
                    else:
                        found.add(path)
        return found


class Podman:
    """Runs images in a store of its own. runc and plain limits: works on hybrid cgroups, without CNI, in small VMs."""

    def __init__(self, place):
        self.place = place
        folder = f"{place.work}/podman"
        os.makedirs(folder, exist_ok=True)
        runtime = ["--runtime", "runc"] if shutil.which("runc") else []
        self.words = ["podman", "--root", f"{folder}/graph", "--runroot", f"{folder}/run", "--storage-driver", "overlay",
                      "--events-backend=file", "--cgroup-manager=cgroupfs", *runtime]
        place.closing.callback(subprocess.run, ["umount", "-R", f"{folder}/graph/overlay"], stderr=subprocess.DEVNULL, check=False)

    @staticmethod
    def available():
        return shutil.which("podman") is not None

    def run(self, layout, words=(), flags=(), text=None):
        """What a container of the image prints on standard output; it fails as the container does."""
        name = f"scenario-{os.path.basename(layout.path)}"
        log = f"{self.place.work}/podman.log"
        builders.run(["skopeo", "copy", "-q", f"oci:{layout.path}",
                      f"containers-storage:[overlay@{self.place.work}/podman/graph+{self.place.work}/podman/run]localhost/{name}"],
                     self.place.environment, log_file=log)
        done = subprocess.run([*self.words, "run", "--rm", "-i", "--network", "host", "--ulimit", "nofile=1024:1024",
                               "--ulimit", "nproc=4096:4096", "--no-healthcheck", *flags, f"localhost/{name}", *words],
                              input=text, capture_output=True, text=True, env=self.place.environment, timeout=120, check=False)
        with open(log, "a") as file:
            file.write(f"$ run {' '.join(words)}\n{done.stdout}{done.stderr}\n")
        if done.returncode != 0:
            raise builders.BuildFailed(f"the image of {name} ends with {done.returncode}:\n{done.stderr[-2000:]}")
        return done.stdout
