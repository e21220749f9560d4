"""Makes the packages that the scenarios' projects install, out of Debian's, for machines without PyPI and Maven Central.

    wheels/     the folder of a PEP 503 index: wheels of python3-* packages, and one large made-up wheel
    maven2/     Maven's layout, as Debian's Java packages have it under /usr/share/maven-repo

They are made once, in <fixture cache>/scenarios. A wheel has no Requires-Dist: the projects pin everything, as
pip-compile writes it, and Debian has relaxed some of the bounds.
"""

import base64
import email
import glob
import hashlib
import os
import random
import re
import shutil
import subprocess
import tempfile
import zipfile

PYTHON = ["anyio", "asgiref", "blinker", "certifi", "chardet", "click", "fastapi", "flask", "greenlet", "gunicorn", "h11",
          "idna", "itsdangerous", "jinja2", "markupsafe", "pydantic", "redis", "requests", "sniffio", "sqlalchemy", "starlette",
          "typing-extensions", "urllib3", "uvicorn", "werkzeug", "yaml"]
JAVA = ["libgoogle-gson-java", "libslf4j-java"]
LARGE = ("bigtensor", "2.1.0")  # stands for a CUDA run time: large files that hardly compress
EPOCH = (2023, 11, 14, 0, 0, 0)


def download(packages, folder):
    """Debian packages into a folder; those that are there are not asked for again."""
    os.makedirs(folder, exist_ok=True)
    missing = [name for name in packages if not glob.glob(f"{glob.escape(folder)}/{name}_*.deb")]
    if not missing:
        return
    command = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", *missing]
    if subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode != 0:
        subprocess.run(["apt-get", "-qq", "update"], capture_output=True, check=False)
        subprocess.run(command, cwd=folder, check=True)


def unpack(package, folder, target):
    deb, = glob.glob(f"{glob.escape(folder)}/{package}_*.deb")
    subprocess.run(["dpkg-deb", "-x", deb, target], check=True)


def write_wheel(path, entries, name, version, tag, metadata):
    """PEP 427: files, then NAME-VERSION.dist-info with METADATA, WHEEL and RECORD. Same input, same bytes."""
    info = f"{name}-{version}.dist-info"
    entries = dict(entries)
    entries[f"{info}/METADATA"] = metadata
    entries[f"{info}/WHEEL"] = f"Wheel-Version: 1.0\nGenerator: varve\nRoot-Is-Purelib: {str(tag.endswith('any')).lower()}\nTag: {tag}\n".encode()
    record = ""
    for entry, data in sorted(entries.items()):
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        record += f"{entry},sha256={digest},{len(data)}\n"
    entries[f"{info}/RECORD"] = (record + f"{info}/RECORD,,\n").encode()
    with zipfile.ZipFile(path + ".new", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as wheel:
        for entry, data in sorted(entries.items()):
            item = zipfile.ZipInfo(entry, EPOCH)
            item.external_attr = 0o644 << 16
            item.compress_type = zipfile.ZIP_STORED if len(data) > 1 << 20 else zipfile.ZIP_DEFLATED
            wheel.writestr(item, data)
    os.replace(path + ".new", path)


def wheel_of_debian(tree, wheels):
    """The Python distribution in an unpacked Debian package, as a wheel."""
    site = f"{tree}/usr/lib/python3/dist-packages"
    info, = [name for name in os.listdir(site) if name.endswith((".egg-info", ".dist-info"))]
    inside = f"{site}/{info}"
    if os.path.isdir(inside):
        inside += "/PKG-INFO" if info.endswith(".egg-info") else "/METADATA"
    with open(inside, encoding="utf-8") as file:
        fields = email.message_from_file(file)
    name = re.sub(r"[-_.]+", "_", fields["Name"]).lower()
    entries, native = {}, False
    for folder, _, names in os.walk(site):
        for file_name in names:
            path = f"{folder}/{file_name}"
            about = path == f"{site}/{info}" or path.startswith(f"{site}/{info}/")
            if os.path.isfile(path) and not about:  # some are links into another package
                native |= file_name.endswith(".so")
                with open(path, "rb") as file:
                    entries[os.path.relpath(path, site)] = file.read()
    scripts = f"{site}/{info}/entry_points.txt"
    version = fields["Version"]
    if os.path.exists(scripts):
        with open(scripts, "rb") as file:
            entries[f"{name}-{version}.dist-info/entry_points.txt"] = file.read()
    tag = "cp311-cp311-linux_x86_64" if native else "py3-none-any"
    metadata = f"Metadata-Version: 2.1\nName: {fields['Name']}\nVersion: {version}\nSummary: {fields['Summary']}\n"
    write_wheel(f"{wheels}/{name}-{version}-{tag}.whl", entries, name, version, tag, metadata.encode())


def large_wheel(wheels, megabytes):
    name, version = LARGE
    numbers = random.Random(name)
    entries = {"bigtensor/__init__.py": (
        b'"""Large files, and one function that reads of them."""\nimport os\n\n\ndef kernels():\n'
        b"    folder = os.path.join(os.path.dirname(__file__), 'kernels')\n    return sorted(os.listdir(folder))\n")}
    for number in range(max(1, megabytes // 16)):
        entries[f"bigtensor/kernels/sm_{number}.bin"] = numbers.randbytes(12 << 20) + b"\x90" * (4 << 20)
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode()
    write_wheel(f"{wheels}/{name}-{version}-py3-none-any.whl", entries, name, version, "py3-none-any", metadata)


def make(cache, large_megabytes=0):
    """Fills CACHE/wheels and CACHE/maven2 with what is not there yet."""
    debs, wheels, maven = f"{cache}/debs", f"{cache}/wheels", f"{cache}/maven2"
    os.makedirs(wheels, exist_ok=True)
    if not os.path.isdir(maven):
        download(JAVA, debs)
        with tempfile.TemporaryDirectory(dir=cache) as tree:
            for package in JAVA:
                unpack(package, debs, tree)
            # The jars there are links to /usr/share/java.
            shutil.copytree(f"{tree}/usr/share/maven-repo", f"{tree}/maven2")
            os.rename(f"{tree}/maven2", maven)
    stamp = f"{wheels}/.made"
    wanted = " ".join(PYTHON)
    if not os.path.exists(stamp) or open(stamp).read() != wanted:
        download([f"python3-{name}" for name in PYTHON], debs)
        for name in PYTHON:
            with tempfile.TemporaryDirectory(dir=cache) as tree:
                unpack(f"python3-{name}", debs, tree)
                wheel_of_debian(tree, wheels)
        with open(stamp, "w") as file:
            file.write(wanted)
    if large_megabytes:
        folder = f"{cache}/large-{large_megabytes}"
        if not os.path.isdir(folder):
            os.makedirs(folder + ".new", exist_ok=True)
            large_wheel(folder + ".new", large_megabytes)
            os.rename(folder + ".new", folder)
        return [wheels, folder]
    return [wheels]
