"""Reads what a build put out, as one merged tree: a directory, a tar, an OCI layout or archive, a docker archive."""

import dataclasses
import gzip
import io
import json
import os
import stat
import subprocess
import tarfile


class TreeError(Exception):
    pass


@dataclasses.dataclass
class Entry:
    kind: str  # file, dir, link, char, block, fifo
    mode: int
    uid: int
    gid: int
    target: str = ""
    content: bytes | None = None
    mtime: int = 0
    xattrs: dict = dataclasses.field(default_factory=dict)


def decompress(data):
    if data[:2] == b"\x1f\x8b":
        return gzip.decompress(data)
    if data[:4] == b"\x28\xb5\x2f\xfd":
        return subprocess.run(["zstd", "-dc"], input=data, stdout=subprocess.PIPE, check=True).stdout
    return data


class Image:
    """Blobs and documents of an image in an OCI layout (folder or tar) or a docker archive."""

    def __init__(self, path):
        self.files = {}
        if os.path.isdir(path):
            for folder, _, names in os.walk(path):
                for name in names:
                    full = os.path.join(folder, name)
                    with open(full, "rb") as file:
                        self.files[os.path.relpath(full, path)] = file.read()
        else:
            with open(path, "rb") as file:
                archive = tarfile.open(fileobj=io.BytesIO(decompress(file.read())))
            for member in archive.getmembers():
                if member.isreg():
                    self.files[member.name.removeprefix("./")] = archive.extractfile(member).read()
        self.annotations = {}
        if "index.json" in self.files:
            self._read_layout()
        elif "manifest.json" in self.files:
            first = json.loads(self.files["manifest.json"])[0]
            self.manifest = first
            self.config = json.loads(self.files[first["Config"]])
            self.layers = [self.files[name] for name in first["Layers"]]
        else:
            raise TreeError(f"{path} holds neither index.json nor manifest.json")

    def blob(self, digest):
        name = "blobs/" + digest.replace(":", "/")
        if name not in self.files:
            raise TreeError(f"blob {digest} is missing")
        return self.files[name]

    def _read_layout(self):
        self.index = json.loads(self.files["index.json"])
        document = self.index
        while "manifests" in document:
            images = [m for m in document["manifests"]
                      if m.get("platform", {}).get("os") != "unknown"]
            if not images:
                raise TreeError("the index names no image")
            document = json.loads(self.blob(images[0]["digest"]))
        self.manifest = document
        self.config = json.loads(self.blob(document["config"]["digest"]))
        self.layers = [self.blob(layer["digest"]) for layer in document["layers"]]


def is_image(path):
    if os.path.isdir(path):
        return os.path.exists(os.path.join(path, "oci-layout"))
    try:
        with tarfile.open(path) as archive:
            names = {name.removeprefix("./") for name in archive.getnames()}
    except (tarfile.TarError, OSError):
        return False
    return "oci-layout" in names or "manifest.json" in names


def _entry_of_member(archive, member):
    kinds = {tarfile.DIRTYPE: "dir", tarfile.SYMTYPE: "link", tarfile.CHRTYPE: "char",
             tarfile.BLKTYPE: "block", tarfile.FIFOTYPE: "fifo"}
    kind = "file" if member.isreg() else kinds.get(member.type, "other")
    content = archive.extractfile(member).read() if member.isreg() else None
    prefix = "SCHILY.xattr."
    xattrs = {name[len(prefix):]: value for name, value in member.pax_headers.items()
              if name.startswith(prefix)}
    return Entry(kind, member.mode & 0o7777, member.uid, member.gid, member.linkname, content,
                 int(member.mtime), xattrs)


def _drop(tree, path, itself):
    for name in [n for n in tree if n.startswith(path + "/") or (itself and n == path)]:
        del tree[name]


def apply_tar(tree, data):
    """Applies one layer to a tree: whiteouts first, then entries, as the image specification says."""
    archive = tarfile.open(fileobj=io.BytesIO(decompress(data)))
    members = archive.getmembers()
    for member in members:
        folder, name = os.path.split(member.name.strip("/").removeprefix("./"))
        if name == ".wh..wh..opq":
            _drop(tree, folder, False)
        elif name.startswith(".wh."):
            _drop(tree, os.path.join(folder, name[4:]), True)
    for member in members:
        path = member.name.strip("/").removeprefix("./")
        if path in ("", ".") or os.path.basename(path).startswith(".wh."):
            continue
        if member.islnk():
            linked = member.linkname.strip("/").removeprefix("./")
            if linked not in tree:
                raise TreeError(f"hard link {path} names {linked}, which is not there")
            tree[path] = tree[linked]
            continue
        entry = _entry_of_member(archive, member)
        if path in tree and (tree[path].kind == "dir") != (entry.kind == "dir"):
            _drop(tree, path, True)
        tree[path] = entry
    return tree


def read_folder(path):
    tree = {}
    for folder, folders, names in os.walk(path):
        for name in folders + names:
            full = os.path.join(folder, name)
            status = os.lstat(full)
            kind = {stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "link",
                    stat.S_IFCHR: "char", stat.S_IFBLK: "block",
                    stat.S_IFIFO: "fifo"}.get(stat.S_IFMT(status.st_mode), "other")
            entry = Entry(kind, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid,
                          mtime=int(status.st_mtime))
            if kind == "link":
                entry.target = os.readlink(full)
            elif kind == "file":
                with open(full, "rb") as file:
                    entry.content = file.read()
            if kind in ("file", "dir"):
                entry.xattrs = {name: os.getxattr(full, name) for name in os.listxattr(full)}
            tree[os.path.relpath(full, path)] = entry
    return tree


def read(path):
    """The merged tree of whatever lies at `path`."""
    if not os.path.exists(path):
        raise TreeError(f"{path} does not exist")
    if is_image(path):
        tree = {}
        for layer in Image(path).layers:
            apply_tar(tree, layer)
        return tree
    if os.path.isdir(path):
        return read_folder(path)
    with open(path, "rb") as file:
        return apply_tar({}, file.read())


def all_bytes(path):
    """(name, bytes) of everything at `path`, compressed things also decompressed."""
    if os.path.isdir(path) and not is_image(path):
        for folder, _, names in os.walk(path):
            for name in names:
                full = os.path.join(folder, name)
                if stat.S_ISREG(os.lstat(full).st_mode):
                    with open(full, "rb") as file:
                        yield full, file.read()
    elif is_image(path):
        for name, data in Image(path).files.items():
            yield name, data
            if data[:2] == b"\x1f\x8b" or data[:4] == b"\x28\xb5\x2f\xfd":
                yield name + " (decompressed)", decompress(data)
    else:
        with open(path, "rb") as file:
            yield path, decompress(file.read())


def difference(left, right):
    """The first differences of two trees, in words; modification times are not compared."""
    found = []
    for path in sorted(set(left) | set(right)):
        if path not in left or path not in right:
            found.append(f"{path}: only in the {'second' if path not in left else 'first'}")
            continue
        a, b = left[path], right[path]
        for field in ("kind", "mode", "uid", "gid", "target", "content"):
            if field == "mode" and a.kind == "link":
                continue
            if field == "target" and a.kind != "link":
                continue
            if getattr(a, field) != getattr(b, field):
                if field == "content":
                    found.append(f"{path}: content differs")
                else:
                    found.append(f"{path}: {field} {getattr(a, field)!r}, {getattr(b, field)!r}")
    return found
