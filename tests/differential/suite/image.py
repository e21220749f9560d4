"""Reads an image in an OCI layout as the document that answers are compared and stored in.

The tree and the layers leave out what the base image has: the fixture images are made on each machine, and
only what a build adds to them is the same everywhere.
"""

import base64
import dataclasses
import datetime
import gzip
import hashlib
import io
import json
import os
import tarfile
import urllib.error
import urllib.request

# A time after this one is the time of the build, and is not compared.
NOW = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc).timestamp()
KINDS = {tarfile.DIRTYPE: "dir", tarfile.SYMTYPE: "link", tarfile.CHRTYPE: "char", tarfile.BLKTYPE: "block",
         tarfile.FIFOTYPE: "fifo"}
INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
MANIFESTS = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")


class Layout:
    """Blobs of an OCI layout in a folder."""

    def __init__(self, folder):
        self.folder = folder

    def top(self):
        with open(os.path.join(self.folder, "index.json"), "rb") as file:
            return json.load(file)

    def blob(self, digest):
        with open(os.path.join(self.folder, "blobs", *digest.split(":")), "rb") as file:
            return file.read()


class Repository:
    """Blobs and manifests of one tag of a registry."""

    def __init__(self, address, name, tag):
        self.url, self.tag = f"http://{address}/v2/{name}", tag

    def _get(self, path):
        request = urllib.request.Request(self.url + path, headers={"Accept": ", ".join(INDEXES + MANIFESTS)})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read()

    def top(self):
        return json.loads(self._get(f"/manifests/{self.tag}"))

    def blob(self, digest):
        try:
            return self._get(f"/blobs/{digest}")
        except urllib.error.HTTPError:
            return self._get(f"/manifests/{digest}")


def read_manifest(store):
    document = store.top()
    while "manifests" in document:
        images = [m for m in document["manifests"] if m.get("platform", {}).get("os") != "unknown"]
        document = json.loads(store.blob(images[0]["digest"]))
    return document


@dataclasses.dataclass
class Base:
    """What of an image comes from a fixture image; the empty Base is that of `FROM scratch`."""
    name: str = "scratch"
    diff_ids: list = dataclasses.field(default_factory=list)
    history: list = dataclasses.field(default_factory=list)
    tree: dict = dataclasses.field(default_factory=dict)


def read_base(address, repository, tag):
    store = Repository(address, f"library/{repository}", tag)
    manifest = read_manifest(store)
    config = json.loads(store.blob(manifest["config"]["digest"]))
    tree = {}
    for layer in manifest["layers"]:
        apply(tree, store.blob(layer["digest"]))
    return Base(f"{repository}:{tag}", config["rootfs"]["diff_ids"], config.get("history") or [], tree)


def clean(name):
    return "/" + name.strip("/").removeprefix("./")


def apply(tree, blob):
    """Applies one layer to a tree of path → node; names of one inode share a node. Returns the layer's names."""
    archive = tarfile.open(fileobj=io.BytesIO(gzip.decompress(blob) if blob[:2] == b"\x1f\x8b" else blob))
    members = [(clean(member.name), member) for member in archive.getmembers()]
    for path, _ in members:
        folder, name = os.path.split(path)
        if name == ".wh..wh..opq":
            drop(tree, folder, itself=False)
        elif name.startswith(".wh."):
            drop(tree, os.path.join(folder, name[4:]), itself=True)
    for path, member in members:
        if os.path.basename(path).startswith(".wh.") or path == "/":
            continue
        if member.islnk():
            node = tree[clean(member.linkname)]
        else:
            node = read_node(archive, member)
        if path in tree and (tree[path]["type"] == "dir") != (node["type"] == "dir"):
            drop(tree, path, itself=True)
        tree[path] = node
    return [path + ("/" if member.isdir() else "") for path, member in members]


def drop(tree, path, itself):
    for name in [n for n in tree if n.startswith(path.rstrip("/") + "/") or (itself and n == path)]:
        del tree[name]


def read_node(archive, member):
    node = {"type": "file" if member.isreg() else KINDS.get(member.type, f"type {member.type!r}")}
    if node["type"] != "link":
        node["mode"] = f"{member.mode:04o}"
    node["owner"] = f"{member.uid}:{member.gid}"
    if member.isreg():
        data = archive.extractfile(member).read()
        node["size"] = len(data)
        node.update(content_of(data))
    elif member.issym():
        node["target"] = member.linkname
    elif node["type"] in ("char", "block"):
        node["device"] = f"{member.devmajor}:{member.devminor}"
    if member.mtime < NOW:
        node["time"] = int(member.mtime)
    for name, value in sorted(member.pax_headers.items()):
        if name.startswith("SCHILY.xattr."):
            raw = value.encode("utf-8", "surrogateescape")
            node["xattr " + name.removeprefix("SCHILY.xattr.")] = base64.b64encode(raw).decode()
    return node


def content_of(data):
    """Short texts as they are, so that answers can be read; else a digest."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = None
    if text is not None and len(data) <= 200 and (text.isprintable() or set(text) <= PRINTABLE):
        return {"text": text}
    return {"sha256": hashlib.sha256(data).hexdigest()}


PRINTABLE = {chr(code) for code in range(32, 127)} | {"\n", "\t"}


def links_of(tree):
    """path → the first name of the same inode, for all names but the first."""
    first, links = {}, {}
    for path in sorted(tree):
        name = first.setdefault(id(tree[path]), path)
        if name != path:
            links[path] = name
    return links


def read_image(folder, bases):
    """The answer document of the image in the OCI layout `folder`."""
    store = Layout(folder)
    manifest = read_manifest(store)
    config = json.loads(store.blob(manifest["config"]["digest"]))
    diff_ids = config["rootfs"].get("diff_ids") or []
    base = max((b for b in bases if diff_ids[:len(b.diff_ids)] == b.diff_ids), key=lambda b: len(b.diff_ids))
    blobs = [layer["digest"] for layer in manifest["layers"] or []]
    if len(diff_ids) != len(blobs):
        raise ValueError(f"{len(diff_ids)} diff ids, {len(blobs)} layers")
    tree, layers = dict(base.tree), []
    for blob in blobs[len(base.diff_ids):]:
        layers.append(apply(tree, store.blob(blob)))
    answer = {"base": base.name, "config": read_config(config), "history": read_history(config, base), "layers": layers,
              "tree": {path: node for path, node in sorted(added(tree, base.tree).items())}}
    gone = sorted(path for path in base.tree if path not in tree and os.path.dirname(path) in tree)
    if gone:
        answer["removed"] = gone
    return answer


def added(tree, base):
    links, base_links = links_of(tree), links_of(base)
    contents = {node["sha256"]: path for path, node in sorted(base.items(), reverse=True) if "sha256" in node}
    found = {}
    for path, node in tree.items():
        if path in base and base[path] == node and links.get(path) == base_links.get(path):
            continue
        node = dict(node)
        if node.get("sha256") in contents:  # a program of the base, which is another on another machine
            node["content of"] = contents[node.pop("sha256")]
            del node["size"]
        if path in links:
            node["link to"] = links[path]
        found[path] = node
    return found


def read_config(document):
    found = {key: value for key, value in document.items() if key not in ("rootfs", "history", "created")}
    found["config"] = {key: value for key, value in sorted((document.get("config") or {}).items())
                       if value not in (None, "", [], {}, False)}
    if is_old(document.get("created")):
        found["created"] = document["created"]
    return found


def read_history(document, base):
    history = document.get("history") or []
    if history[:len(base.history)] != base.history:
        raise ValueError("the history does not begin with the base image's")
    return [history_of(entry) for entry in history[len(base.history):]]


def history_of(entry):
    found = {key: value for key, value in entry.items() if key != "created"}
    if is_old(entry.get("created")):
        found["created"] = entry["created"]
    return found


def is_old(time):
    return time is not None and time[:4] < "2020"
