"""Runs one parsed test in this process; see README.md for what each statement means."""

import ctypes
import json
import os
import re
import shlex
import shutil
import signal
import string
import subprocess
import tempfile
import time

from . import servers, steps, trees

PR_SET_CHILD_SUBREAPER = 36
SECONDS_TO_WAIT_FOR = 60
EXIT_CODE_OF_A_BUG = 70
OBJECT_SERVERS = os.path.join(os.path.dirname(__file__), "../../../fixtures/object-servers")
SECONDS_FOR_LEFTOVERS = 3


class Failure(Exception):
    pass


class Result:
    """One finished command."""

    def __init__(self, text, code, out, err):
        self.text, self.code, self.out, self.err = text, code, out, err
        self.steps, self.counters = [], {}


class Running:
    """One command in the background."""

    def __init__(self, text, process, out_path, err_path, statistics):
        self.text, self.process = text, process
        self.out_path, self.err_path, self.statistics = out_path, err_path, statistics

    def output(self):
        return _read(self.out_path), _read(self.err_path)


def _read(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


class Test:
    def __init__(self, script, folder, registry, transcript):
        self.script, self.folder, self.registry = script, folder, registry
        self.transcript = transcript
        self.context = f"{folder}/ctx"
        self.root = f"{folder}/root"
        self.result = None
        self.running = {}
        self.commands = 0
        self.proxy = None
        self.object_servers = False
        self.environment = self._environment()

    def _environment(self):
        for name in ("ctx", "root", "home", "docker", "tmp", "logs"):
            os.makedirs(f"{self.folder}/{name}")
        keep = ("LANG", "TERM", "http_proxy", "https_proxy", "no_proxy", "VARVE_FIXTURES",
                "XDG_CACHE_HOME", "NODE_EXTRA_CA_CERTS", "DOCKER_HOST", "ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS")
        environment = {name: os.environ[name] for name in keep if name in os.environ}
        # Some of the tools that tests call refuse a folder without this file.
        with open(f"{self.folder}/docker/config.json", "w", encoding="utf-8") as file:
            file.write("{}")
        varve = os.environ.get("VARVE", "")
        environment |= {
            "PATH": (os.path.dirname(varve) + ":" if varve else "") + os.environ["PATH"],
            "DIR": self.folder, "CTX": self.context, "ROOT": self.root, "VARVE_ROOT": self.root,
            "HOME": f"{self.folder}/home", "DOCKER_CONFIG": f"{self.folder}/docker",
            "TMPDIR": f"{self.folder}/tmp", "XDG_CONFIG_HOME": f"{self.folder}/home/.config",
            "XDG_DATA_HOME": f"{self.folder}/home/.local/share",
            "GIT_CONFIG_NOSYSTEM": "1", "GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@example.com",
            "GIT_COMMITTER_NAME": "t", "GIT_COMMITTER_EMAIL": "t@example.com",
            "LC_ALL": "C.UTF-8", "NO_COLOR": "1", "VARVE": varve,
            "HARNESS": os.path.dirname(os.path.abspath(__file__)),
        }
        if self.registry:
            environment["REGISTRY"] = self.registry
            environment["VARVE_REGISTRIES"] = f"{self.folder}/registries.json"
            self._write_mirrors(f"{self.folder}/registries.json", self.registry)
        return environment

    def _write_mirrors(self, path, address):
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"registries": {"docker.io": {"mirrors": [f"http://{address}"]}}}, file)

    # -- running -----------------------------------------------------------------------------------

    def run(self):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
        statements = self.script.statements
        try:
            for position, statement in enumerate(statements):
                self.say(f"{statement.line:4} | {statement}")
                follower = statements[position + 1].word if position + 1 < len(statements) else ""
                try:
                    self.execute(statement, follower)
                except Failure as failure:
                    raise Failure(f"line {statement.line}: {statement}\n{failure}") from None
                except (trees.TreeError, OSError, ValueError, KeyError, IndexError) as error:
                    raise Failure(f"line {statement.line}: {statement}\n"
                                  f"{type(error).__name__}: {error}") from None
            if self.running:
                raise Failure(f"the test ends without join {', '.join(self.running)}")
            self.stop_object_servers()
            self.check_leftovers()
        finally:
            self.stop_object_servers()
            self.stop_everything()

    def say(self, text):
        self.transcript.write(text + "\n")
        self.transcript.flush()

    def execute(self, statement, follower):
        method = getattr(self, "do_" + statement.word.replace("-", "_"), None)
        if method is None:
            raise Failure("there is no such statement")
        method(statement)
        if statement.word in ("varve", "sh", "with-binfmt", "join") and follower not in ("expect-exit", "expect-fail"):
            if self.result.code != 0:
                raise Failure(f"exit code {self.result.code}")

    def expand(self, text):
        return string.Template(text).safe_substitute(self.environment)

    def words(self, statement):
        """The words of a statement; quotes group them, and a backslash stays for regular expressions."""
        lexer = shlex.shlex(statement.rest, posix=True, punctuation_chars=False)
        lexer.whitespace_split, lexer.escape, lexer.commenters = True, "", ""
        return [self.expand(word) for word in lexer]

    def new_command(self):
        self.commands += 1
        base = f"{self.folder}/logs/{self.commands}"
        environment = dict(self.environment, VARVE_STATS_FILE=f"{base}.json")
        return f"{base}.out", f"{base}.err", f"{base}.json", environment

    def spawn(self, text):
        out_path, err_path, statistics, environment = self.new_command()
        with open(out_path, "wb") as out, open(err_path, "wb") as err:
            process = subprocess.Popen(["bash", "-euo", "pipefail", "-c", text], cwd=self.context,
                                       env=environment, stdin=subprocess.DEVNULL, stdout=out,
                                       stderr=err, start_new_session=True)
        return Running(text, process, out_path, err_path, statistics)

    def finish(self, running, timeout=None):
        try:
            code = running.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise Failure(f"still running after {timeout} s:\n{running.output()[1][-2000:]}") from None
        out, err = running.output()
        self.result = Result(running.text, code, out, err)
        found = steps.from_statistics(running.statistics)
        if found:
            self.result.steps, self.result.counters = found
        else:
            self.result.steps = steps.from_plain(err)
        for name, text in (("out", out), ("err", err)):
            for line in text.rstrip("\n").split("\n") if text else []:
                self.say(f"       {name}> {line}")
        if code != 0:
            self.say(f"       exit {code}")

    def do_varve(self, statement):
        self.finish(self.spawn(f"varve {statement.rest}"))

    def do_sh(self, statement):
        self.finish(self.spawn(statement.body if statement.body is not None else statement.rest))

    def do_with_binfmt(self, statement):
        self.finish(self.spawn(f"{os.path.dirname(__file__)}/with_binfmt {statement.rest}"))

    def do_start(self, statement):
        name, _, command = statement.rest.partition(" ")
        if name in self.running:
            raise Failure(f"{name} is running already")
        self.running[name] = self.spawn(f"exec {command.strip()}")

    def do_signal(self, statement):
        name, number = statement.rest.split()
        os.kill(self.running[name].process.pid, getattr(signal, "SIG" + number))

    def do_join(self, statement):
        name, *seconds = statement.rest.split()
        self.finish(self.running.pop(name), int(seconds[0]) if seconds else None)

    def do_wait_for(self, statement):
        """wait-for NAME REGEX: until the background command has printed it."""
        name, _, pattern = statement.rest.partition(" ")
        running = self.running[name]
        deadline = time.monotonic() + SECONDS_TO_WAIT_FOR
        while True:
            ended = running.process.poll() is not None
            text = "\n".join(running.output())
            if re.search(self.expand(pattern), text, re.M):
                return
            if ended or time.monotonic() > deadline:
                raise Failure(("it ended" if ended else "it runs on") +
                              f" without printing that:\n{text[-3000:]}")
            time.sleep(0.02)

    def do_file(self, statement):
        path, *mode = self.words(statement)
        full = os.path.join(self.context, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as file:
            file.write(statement.body or "")
        if mode:
            os.chmod(full, int(mode[0], 8))

    def do_dockerfile(self, statement):
        statement.rest = statement.rest or "Dockerfile"
        self.do_file(statement)

    def do_set(self, statement):
        name, _, command = statement.rest.partition(" ")
        output = subprocess.check_output(["bash", "-euo", "pipefail", "-c", command], text=True,
                                         cwd=self.context, env=self.environment)
        self.environment[name] = output.strip()
        self.say(f"       {name}={output.strip()}")

    def do_export(self, statement):
        name, _, value = statement.rest.partition("=")
        self.environment[name] = self.expand(value)

    def do_http_server(self, statement):
        folder = self.words(statement)[0] if statement.rest else f"{self.folder}/www"
        os.makedirs(folder, exist_ok=True)
        self.proxy = servers.FileServer(folder)
        self.environment["HTTP"] = f"http://{self.proxy.address}"
        self.environment["WWW"] = folder

    def do_object_servers(self, statement):
        """object-servers: an S3 server, $S3, and nginx that takes PUT, $WEB, with its user's name."""
        done = subprocess.run([OBJECT_SERVERS, "start", "--dir", f"{self.folder}/objects"],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        self.object_servers = True
        found = dict(re.findall(r"^export VARVE_TEST_(S3|HTTP)=(.*)$", done.stdout, re.M))
        if len(found) != 2:
            raise Failure(f"they do not start: {done.stderr[-2000:]}")
        self.environment["S3"] = found["S3"]
        self.environment["WEB"] = found["HTTP"].replace("http://", "http://varve:pass%20word@")

    def stop_object_servers(self):
        if self.object_servers:
            subprocess.run([OBJECT_SERVERS, "stop", "--dir", f"{self.folder}/objects"], check=False)
            self.object_servers = False

    def do_rootless(self, statement):
        """rootless N: from here on varve runs as a user with N subordinate ids, seen by nobody else."""
        count, user = int(statement.rest), 4242
        etc = f"{self.folder}/etc"
        os.makedirs(etc)
        os.makedirs(f"{self.folder}/bin")
        with open("/etc/passwd", encoding="utf-8") as passwd:
            known = passwd.read()
        ranges = f"builder:300000:{count}\n" if count else ""
        for name, text in (("passwd", f"{known}builder:x:{user}:{user}::{self.folder}/home:/bin/sh\n"),
                           ("subuid", ranges), ("subgid", ranges)):
            with open(f"{etc}/{name}", "w", encoding="utf-8") as file:
                file.write(text)
        # The checkout may be where other users cannot look.
        shutil.copy(shutil.which("varve", path=self.environment["PATH"]), f"{self.folder}/bin/varve.real")
        with open(f"{self.folder}/bin/varve", "w", encoding="utf-8") as file:
            file.write("#!/bin/sh\n"
                       "exec unshare --mount --propagation private sh -c '\n"
                       "for name in passwd subuid subgid; do\n"
                       f"  mount --bind {etc}/$name /etc/$name\n"
                       "done\n"
                       f"exec setpriv --reuid {user} --regid {user} --clear-groups"
                       f" {self.folder}/bin/varve.real \"$@\"' varve \"$@\"\n")
        os.chmod(f"{self.folder}/bin/varve", 0o755)
        subprocess.run(["chown", "-R", f"{user}:{user}", self.folder], check=True)
        folder = self.folder
        while folder != os.path.dirname(folder) and folder != tempfile.gettempdir():
            os.chmod(folder, os.stat(folder).st_mode | 0o711)
            folder = os.path.dirname(folder)
        self.environment["PATH"] = f"{self.folder}/bin:" + self.environment["PATH"]

    def do_faulty_registry(self, statement):
        """faulty-registry FAULT; FAULT; …: Docker Hub now resolves to a proxy with these faults."""
        faults = [servers.Fault(self.expand(part).split())
                  for part in statement.rest.split(";") if part.strip()]
        self.proxy = servers.FaultyRegistry(self.registry, faults)
        self.environment["PROXY"] = self.proxy.address
        self._write_mirrors(f"{self.folder}/registries.json", self.proxy.address)

    # -- expectations ------------------------------------------------------------------------------

    def do_expect_exit(self, statement):
        if self.result.code != int(statement.rest):
            raise Failure(f"exit code {self.result.code}")

    def do_expect_fail(self, statement):
        """expect-fail [REGEX]: the command failed by itself, and standard error says this."""
        if self.result.code == 0:
            raise Failure("it succeeded")
        if self.result.code == EXIT_CODE_OF_A_BUG:
            raise Failure("varve calls it a bug of its own")
        if self.result.code < 0 or self.result.code >= 128 + 4 and self.result.code != 130:
            raise Failure(f"it was ended by a signal, exit code {self.result.code}")
        if statement.rest:
            self._search(self.result.err, statement.rest, True, "standard error")

    def _search(self, text, pattern, wanted, name):
        found = re.search(self.expand(pattern), text, re.M)
        if bool(found) != wanted:
            raise Failure(f"{name} {'has' if found else 'does not have'} it:\n{text[-3000:]}")

    def do_expect_out(self, statement):
        self._search(self.result.out, statement.rest, True, "standard output")

    def do_expect_no_out(self, statement):
        self._search(self.result.out, statement.rest, False, "standard output")

    def do_expect_err(self, statement):
        self._search(self.result.err, statement.rest, True, "standard error")

    def do_expect_no_err(self, statement):
        self._search(self.result.err, statement.rest, False, "standard error")

    def _listing(self):
        return "steps:\n" + "\n".join(f"  {s.status:6} {s.name}" + (f"  ({s.why})" if s.why else "")
                                      for s in self.result.steps)

    def _steps(self, pattern):
        return [s for s in self.result.steps if re.search(self.expand(pattern), s.name)]

    def _expect_status(self, statement, *good):
        found = self._steps(statement.rest)
        if not found:
            raise Failure(f"no step has such a name; {self._listing()}")
        if any(step.status not in good for step in found):
            raise Failure(self._listing())

    def do_expect_hit(self, statement):
        # not-needed: a hit after it made it superfluous, so it neither ran nor was looked at closely.
        self._expect_status(statement, "hit", "not-needed")

    def do_expect_run(self, statement):
        self._expect_status(statement, "run")

    def do_expect_why(self, statement):
        """expect-why STEP-REGEX => REASON-REGEX"""
        name, _, reason = statement.rest.partition(" => ")
        found = self._steps(name)
        if not any(re.search(reason, step.why, re.I) for step in found):
            raise Failure(self._listing())

    def do_expect_absent(self, statement):
        """expect-absent STEP-REGEX: such a step neither ran nor hit."""
        if any(step.status in ("run", "hit", "failed") for step in self._steps(statement.rest)):
            raise Failure(self._listing())

    def do_expect_all_hit(self, _):
        counted = [s for s in self.result.steps if steps.is_user_step(s)]
        if not counted or any(s.status in ("run", "failed") for s in counted):
            raise Failure(self._listing())

    def do_expect_only_ran(self, statement):
        """expect-only-ran STEP-REGEX: these steps ran, all of them, and nothing else did."""
        ran = [s for s in self.result.steps if steps.is_user_step(s) and s.status == "run"]
        wanted = [s for s in self._steps(statement.rest) if steps.is_user_step(s)]
        if not wanted or ran != wanted:
            raise Failure(self._listing())

    def do_expect_counter(self, statement):
        name, operator, number = statement.rest.split()
        value = self.result.counters.get(name)
        if value is None:
            raise Failure(f"no such counter; there are {', '.join(sorted(self.result.counters))}")
        self._compare(value, operator, int(number), name)

    def do_expect_requests(self, statement):
        """expect-requests OP N REGEX: so many requests reached the server of this test."""
        operator, number, *pattern = statement.rest.split(" ", 2)
        lines = [line for line in self.proxy.requests if re.search(" ".join(pattern), line)]
        self._compare(len(lines), operator, int(number), "requests\n" + "\n".join(lines))

    def _compare(self, value, operator, number, name):
        compare = {"==": value == number, "!=": value != number, "<": value < number,
                   "<=": value <= number, ">": value > number, ">=": value >= number}
        if not compare[operator]:
            raise Failure(f"it is {value}: {name}")

    def do_expect_file(self, statement):
        """expect-file PATH in SOURCE [absent | content T | matches R | mode M | owner U:G | type K | target T |
        same-inode PATH | size N | xattr NAME | mtime N]…"""
        path, joint, source, *conditions = self.words(statement)
        if joint != "in":
            raise Failure("expect-file PATH in SOURCE …")
        tree = trees.read(source)
        entry = tree.get(path.strip("/"))
        if conditions == ["absent"]:
            if entry:
                raise Failure("it is there")
            return
        if entry is None:
            near = [name for name in sorted(tree)
                    if name.startswith(os.path.dirname(path.strip("/")))]
            raise Failure("it is not there; there are " + ", ".join(near[:40]))
        for kind, value in zip(conditions[::2], conditions[1::2]):
            self._check_entry(tree, entry, kind, value)

    def _check_entry(self, tree, entry, kind, value):
        text = (entry.content or b"").decode("utf-8", "replace")
        if kind == "content":
            actual, good = text, text.rstrip("\n") == value
        elif kind == "matches":
            actual, good = text[:2000], bool(re.search(value, text, re.M))
        elif kind == "lacks":
            actual, good = text[:2000], not re.search(value, text, re.M)
        elif kind == "mode":
            actual, good = oct(entry.mode), entry.mode == int(value, 8)
        elif kind == "owner":
            actual = f"{entry.uid}:{entry.gid}"
            good = actual == value
        elif kind == "type":
            actual, good = entry.kind, entry.kind == value
        elif kind == "target":
            actual, good = entry.target, entry.target == value
        elif kind == "size":
            actual, good = len(entry.content or b""), len(entry.content or b"") == int(value)
        elif kind == "mtime":
            actual, good = entry.mtime, entry.mtime == int(value)
        elif kind == "xattr":
            actual, good = list(entry.xattrs), value in entry.xattrs
        elif kind == "same-inode":
            actual, good = "another file", tree.get(value.strip("/")) is entry
        else:
            raise Failure(f"unknown condition '{kind}'")
        if not good:
            raise Failure(f"{kind} is {actual!r}")

    def do_expect_config(self, statement):
        """expect-config DOTTED.PATH in SOURCE is JSON | has WORD | lacks WORD"""
        path, _, source, relation, value = self.expand(statement.rest).split(" ", 4)
        found = trees.Image(source).config
        for part in path.split("."):
            if isinstance(found, list):
                found = found[int(part)]
            else:
                found = (found or {}).get(part)
        if relation == "is":
            good = found == json.loads(value)
        elif relation in ("has", "lacks"):
            good = (found is not None and value in found) == (relation == "has")
        else:
            raise Failure("expect-config PATH in SOURCE is|has|lacks VALUE")
        if not good:
            raise Failure(f"it is {json.dumps(found)}")

    def do_expect_layers(self, statement):
        """expect-layers SOURCE OP N"""
        source, operator, number = self.words(statement)
        self._compare(len(trees.Image(source).layers), operator, int(number), "layers")

    def do_expect_no_bytes(self, statement):
        """expect-no-bytes TEXT in SOURCE: in no file below it, and in no layer."""
        text, _, source = self.words(statement)
        for name, data in trees.all_bytes(source):
            if text.encode() in data:
                raise Failure(f"{name} has it")

    def do_expect_same(self, statement):
        left, right = self.words(statement)
        with open(left, "rb") as a, open(right, "rb") as b:
            if a.read() != b.read():
                raise Failure("they differ")

    def do_expect_same_tree(self, statement):
        left, right = self.words(statement)
        found = trees.difference(trees.read(left), trees.read(right))
        if found:
            raise Failure("\n".join(found[:20]))

    # -- leftovers ---------------------------------------------------------------------------------

    def _descendants(self):
        children = {}
        for name in os.listdir("/proc"):
            if name.isdigit():
                try:
                    fields = _read(f"/proc/{name}/stat").rsplit(")", 1)[1].split()
                except OSError:
                    continue
                if fields[0] != "Z":
                    children.setdefault(int(fields[1]), []).append(int(name))
        found, pending = [], [os.getpid()]
        while pending:
            more = children.get(pending.pop(), [])
            found += more
            pending += more
        return found

    def _mounts(self):
        text = _read("/proc/self/mountinfo")
        return [line.split()[4] for line in text.split("\n") if f" {self.folder}/" in line]

    def do_expect_clean(self, _):
        self.check_leftovers()

    def check_leftovers(self):
        """Nothing that the commands of this test started or mounted may outlive them."""
        deadline = time.monotonic() + SECONDS_FOR_LEFTOVERS
        known = {running.process.pid for running in self.running.values()}
        while (left := [p for p in self._descendants() if p not in known]) and not known:
            if time.monotonic() > deadline:
                names = [_read(f"/proc/{p}/cmdline").replace("\0", " ") for p in left
                         if os.path.exists(f"/proc/{p}")]
                raise Failure("processes are left: " + "; ".join(names))
            time.sleep(0.05)
        mounts = self._mounts()
        if mounts:
            raise Failure("mounts are left: " + ", ".join(mounts))

    def stop_everything(self):
        for pid in self._descendants():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        for running in self.running.values():
            running.process.wait()
        for point in reversed(self._mounts()):
            subprocess.run(["umount", "-l", point], stderr=subprocess.DEVNULL, check=False)


def remove(folder):
    subprocess.run(["chattr", "-R", "-i", folder], stderr=subprocess.DEVNULL, check=False)
    shutil.rmtree(folder, ignore_errors=True)
