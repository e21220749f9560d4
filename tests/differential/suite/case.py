"""A case on disk, and the context that it becomes."""

import fnmatch
import os
import shlex
import shutil
import stat
import string
import subprocess

# Every file of a context is this old, so that a time in an image tells whether it came from the context.
CONTEXT_TIME = 1_000_000_000

# What in the folder of a case is about the case and is no part of its context.
ANSWER, FLAGS, SETUP, WWW = "answer.json", "flags", "setup", "www"


class CaseError(Exception):
    pass


class Case:
    def __init__(self, top, name):
        self.name = name
        self.folder = os.path.join(top, name)
        self.answer_path = os.path.join(self.folder, ANSWER)

    def context(self, target, served):
        """Copies the files, runs `setup` among them, and sets modes, owners and times that git does not keep.

        `served` becomes what the http server offers to the case: the files of www, and what setup puts in $WWW.
        """
        shutil.copytree(self.folder, target, symlinks=True,
                        ignore=lambda folder, names: {ANSWER, FLAGS, SETUP, WWW} & set(names)
                        if folder == self.folder else ())
        if os.path.isdir(os.path.join(self.folder, WWW)):
            shutil.copytree(os.path.join(self.folder, WWW), served, symlinks=True)
        else:
            os.makedirs(served)
        settle(target, modes=True)
        settle(served, modes=True)
        script = os.path.join(self.folder, SETUP)
        if os.path.exists(script):
            done = subprocess.run(["bash", "-euo", "pipefail", script], cwd=target, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                  env=dict(os.environ, WWW=served), umask=0o022)
            if done.returncode != 0:
                raise CaseError(f"setup failed:\n{done.stdout}")
        settle(target, modes=False)
        settle(served, modes=False)

    def flags(self, variables):
        path = os.path.join(self.folder, FLAGS)
        if not os.path.exists(path):
            return []
        with open(path, encoding="utf-8") as file:
            words = shlex.split(file.read(), comments=True)
        return [string.Template(word).safe_substitute(variables) for word in words]


def settle(top, modes):
    """Old times for all that is newer; with `modes`, also those modes that a checkout may differ in."""
    for folder, folders, names in os.walk(top, topdown=False):
        for name in names + folders:
            path = os.path.join(folder, name)
            status = os.lstat(path)
            if modes and not stat.S_ISLNK(status.st_mode):
                executable = stat.S_ISDIR(status.st_mode) or status.st_mode & 0o100
                os.chmod(path, 0o755 if executable else 0o644)
                os.chown(path, 0, 0)
            if status.st_mtime > CONTEXT_TIME:
                os.utime(path, (CONTEXT_TIME, CONTEXT_TIME), follow_symlinks=False)
    if modes:
        os.chmod(top, 0o755)
    os.utime(top, (CONTEXT_TIME, CONTEXT_TIME))


def find(top, patterns):
    """The cases whose name matches one of the patterns; all without a pattern."""
    names = sorted(os.path.relpath(folder, top) for folder, _, files in os.walk(top)
                   if "Dockerfile" in files and os.path.relpath(folder, top).count("/") == 1)
    if patterns:
        for pattern in patterns:
            if not fnmatch.filter(names, pattern):
                raise CaseError(f"no case is called '{pattern}'")
        names = [name for name in names if any(fnmatch.fnmatch(name, p) for p in patterns)]
    return [Case(top, name) for name in names]
