"""Random projects: a Dockerfile of several stages with its context, edits of it, and what each step declares.

Steps are deterministic: what they write depends on what they are given and on nothing else. `declared()`
names each step by everything that it declares, worked out here without varve: equal names mean that
nothing changed that the step could have been told of.
"""

import copy
import fnmatch
import hashlib
import io
import os
import tarfile


def digest(*parts):
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()


def archive(text):
    """A small tar, the same for the same text."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in ("t/one", "t/two"):
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    return out.getvalue().decode("latin-1")


# RUN fragments: flags, shell. {k} is a small number, {stage} an earlier stage.
FRAGMENTS = [
    ("", "echo {k} $V0 $V1 >> /p/w{k}"),
    ("", "cat /p/w* /p/from*/* > /p/all{k} 2>/dev/null || true"),
    ("", "all=$(ls -A /p /src 2>/dev/null | sort); echo \"$all\" > /p/ls{k}"),
    ("", "find /src -type f 2>/dev/null | sort | xargs -r cat 2>/dev/null | md5sum > /p/sum{k}"),
    ("", "rm -rf /p/w{k} /p/d{k}"),
    ("", "rm -rf /src/a 2>/dev/null || true"),
    ("", "mkdir -p /p/d{k}/e && ln -sfn ../w{k} /p/d{k}/l && chmod 75{k} /p/d{k}/e"),
    ("", "mv /p/w{k} /p/moved{k} 2>/dev/null || true"),
    ("", "rm -rf /p/d{k}; mkdir /p/d{k}; echo again > /p/d{k}/f"),
    ("", "ln -f /p/w{k} /p/hard{k} 2>/dev/null || true"),
    ("", "find /src -type f 2>/dev/null | sort | xargs -r stat -c '%a %u %g %n' > /p/stat{k} 2>/dev/null || true"),
    ("", "id -u > /p/id{k}; pwd >> /p/id{k}; echo $V0 >> /p/id{k}"),
    ("--mount=type=bind,source=a,target=/m ", "find /m -type f | sort | xargs -r md5sum > /p/bound{k}"),
    ("--mount=type=bind,from={stage},source=/p,target=/m ", "ls -A /m | sort > /p/seen{k}"),
    ("--mount=type=bind,from={stage},source=/p,target=/m,rw ", "echo x > /m/gone; cat /m/w* > /p/rw{k} 2>/dev/null || true"),
    ("--mount=type=cache,target=/c,id=c{k},mode=777 ", "echo x >> /c/f; echo cached > /p/cache{k}"),
    ("--mount=type=tmpfs,target=/t ", "echo x > /t/f 2>/dev/null; ls /t | wc -l > /p/tmp{k}"),
]
COPIES = ["a /src/a/", "a b.txt /src/", ". /src/", "*.txt /src/txt/", "a/x.txt b.txt /src/", "--exclude=*.md . /src/e/",
          "a/* /p/c/", "--chmod=640 b.txt /src/modes/", "--chown=5:6 a /src/owned/", "--link a /src/linked/",
          "--parents a/d /src/parents/"]
IGNORES = ["", "*.md\n", "a/d\n", "**/*.log\n!a/k.log\n", "b.txt\n!b.txt\n"]


class Project:
    def __init__(self, random):
        self.random = random
        self.files = {  # path: (mode, text), a link has mode None
            "a/x.txt": (0o644, "x"), "a/y.md": (0o644, "y"), "a/d/z.txt": (0o755, "z"), "a/k.log": (0o644, "k"),
            "b.txt": (0o644, "b"), "c.md": (0o644, "c"), "a/link": (None, "x.txt"), "ar.tar": (0o644, archive("0"))}
        self.ignore = ""
        self.args = {"V0": "0", "V1": "0"}
        self.base = 0  # which of the two base images "base" means
        self.stages = [self._stage(i) for i in range(random.randint(1, 4))]

    def clone(self):
        return copy.deepcopy(self)

    # --- Making ---------------------------------------------------------------------------------------

    def _stage(self, index):
        parents = ["busybox", "base"] + [f"s{i}" for i in range(index)]
        base = self.random.choice(parents)
        lines = [] if base.startswith("s") else [("RUN", "", "mkdir -p -m 777 /p /src", "")]
        return [base, lines + [self._line(index) for _ in range(self.random.randint(1, 6))]]

    def _line(self, index):
        """(instruction, flags, text, stage that it reads)"""
        random = self.random
        stage = f"s{random.randrange(index)}" if index else ""
        kind = random.choice(["RUN"] * 6 + ["COPY"] * 4 + ["FROM"] * 2 + ["ENV", "ARG", "USER", "WORKDIR", "ADD",
                                                                          "LABEL", "ONBUILD"])
        k = random.randrange(4)
        if kind == "RUN":
            flags, text = random.choice(FRAGMENTS)
            reads = stage if "{stage}" in flags else ""
            if "{stage}" in flags and not stage:
                flags = ""
            return ("RUN", flags.format(k=k, stage=stage), text.format(k=k), reads)
        if kind == "COPY":
            return ("COPY", "", random.choice(COPIES), "")
        if kind == "FROM":
            if not stage or random.randrange(6) == 0:
                return ("COPY", "--from=busybox ", f"/bin/busybox /bb{k}", "")
            what = random.choice([f"/p /p/from{k}/", f"/p/w* /p/from{k}/", f"/src /from{k}"])
            return ("COPY", f"--from={stage} " + random.choice(["", "--link "]), what, stage)
        return {"ENV": ("ENV", "", f"V{k % 2}=e{k}", ""), "ARG": ("ARG", "", f"V{k % 2}", ""),
                "USER": ("USER", "", random.choice(["1000:1000", "root"]), ""),
                "WORKDIR": ("WORKDIR", "", f"/work{k % 2}", ""), "ADD": ("ADD", "", "ar.tar /ar/", ""),
                "LABEL": ("LABEL", "", f"k={k}", ""),
                "ONBUILD": ("ONBUILD", "", f"RUN echo {k} >> /p/onbuild", "")}[kind]

    def edit(self):
        """Changes something, or only touches it; says what."""
        random = self.random
        index = random.randrange(len(self.stages))
        lines = self.stages[index][1]
        at = random.randint(1 if lines[:1] and "mkdir -p -m" in lines[0][2] else 0, len(lines))
        regular = sorted(p for p, (mode, _) in self.files.items() if mode is not None and p != "ar.tar")
        path = random.choice(regular)
        what = random.choice(["content", "content", "mode", "rename", "add", "link", "archive", "arg", "ignore", "base",
                              "insert", "remove", "replace", "nothing"])
        if what == "content":
            self.files[path] = (self.files[path][0], str(random.randrange(3)))
        elif what == "mode":
            self.files[path] = (random.choice([0o644, 0o755, 0o600]), self.files[path][1])
        elif what == "rename":
            self.files[os.path.dirname(path) + f"/n{random.randrange(3)}.txt" if "/" in path
                       else f"n{random.randrange(3)}.txt"] = self.files[path]
            if path not in ("a/x.txt", "b.txt", "a/d/z.txt"):
                del self.files[path]
        elif what == "add":
            self.files[f"a/new{random.randrange(3)}"] = (0o644, "new")
        elif what == "link":
            self.files["a/link"] = (None, random.choice(["x.txt", "y.md", "d"]))
        elif what == "archive":
            self.files["ar.tar"] = (0o644, archive(str(random.randrange(2))))
        elif what == "arg":
            self.args[random.choice(["V0", "V1"])] = str(random.randrange(3))
        elif what == "ignore":
            self.ignore = random.choice(IGNORES)
        elif what == "base":
            self.base = 1 - self.base
        elif what == "insert":
            lines.insert(at, self._line(index))
        elif what == "remove" and at < len(lines):
            del lines[at]
        elif what == "replace" and at < len(lines):
            lines[at] = self._line(index)
        return what

    # --- Writing --------------------------------------------------------------------------------------

    def dockerfile(self):
        out = []
        for index, (base, lines) in enumerate(self.stages):
            out.append(f"FROM {base} AS s{index}")
            out += [f"{word} {flags}{text}" for word, flags, text, _ in lines]
        return "# syntax=docker/dockerfile:1-labs\n" + "\n".join(out) + "\n"

    def write(self, folder, order=None):
        """Writes the context; files that are right already stay as they are, with their times."""
        paths = sorted(self.files)
        if order:
            order.shuffle(paths)
        os.makedirs(folder, exist_ok=True)
        os.chmod(folder, 0o755)
        wanted = dict(self.files)
        wanted["Dockerfile"] = (0o644, self.dockerfile())
        wanted[".dockerignore"] = (0o644, self.ignore)
        for parent, _, names in os.walk(folder, topdown=False):
            for name in names:
                if os.path.relpath(os.path.join(parent, name), folder) not in wanted:
                    os.unlink(os.path.join(parent, name))
        for path in paths + ["Dockerfile", ".dockerignore"]:
            mode, text = wanted[path]
            full = os.path.join(folder, path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            if mode is None:
                if not os.path.islink(full) or os.readlink(full) != text:
                    if os.path.lexists(full):
                        os.unlink(full)
                    os.symlink(text, full)
                continue
            data = text.encode("latin-1")
            if not os.path.isfile(full) or open(full, "rb").read() != data:
                with open(full, "wb") as file:
                    file.write(data)
            os.chmod(full, mode)
        for parent, folders, _ in os.walk(folder):
            for name in folders:
                os.chmod(os.path.join(parent, name), 0o755)

    # --- Judging --------------------------------------------------------------------------------------

    def ignored(self, path):
        """Of the patterns in IGNORES."""
        out = False
        for line in self.ignore.split():
            pattern = line.lstrip("!")
            parts = path.split("/")
            prefixes = ["/".join(parts[:n]) for n in range(1, len(parts) + 1)]
            if pattern.startswith("**/"):
                hit = any(fnmatch.fnmatchcase(part, pattern[3:]) for part in parts)
            else:
                hit = any(fnmatch.fnmatchcase(p, pattern) and p.count("/") == pattern.count("/") for p in prefixes)
            if hit:
                out = not line.startswith("!")
        return out

    def _selected(self, source):
        """Names, modes and contents of what a COPY source may reach, perhaps more than it does."""
        source = source.strip("/")
        found = []
        for path in sorted(self.files):
            if self.ignored(path):
                continue
            parts, wanted = path.split("/"), source.split("/")
            if source == "." or (len(parts) >= len(wanted) and all(
                    fnmatch.fnmatchcase(p, w) for p, w in zip(parts, wanted))):
                found.append((path, self.files[path]))
        if source == ".":
            found += [self.dockerfile(), self.ignore]
        # A link that is followed reaches what it names; taking all of its folder in errs on the safe side.
        if "link" in source or source == "a/*":
            found += sorted(self.files.items())
        return found

    def declared(self):
        """{stage: digests of all that its steps declare, in their order}"""
        result, final, onbuild, environment = {}, {}, {}, {}
        for index, (base, lines) in enumerate(self.stages):
            name = f"s{index}"
            below = final.get(base) or digest(base, self.base if base == "base" else "")
            # The environment, arguments, user and folder of a stage go on in those that begin with it.
            scope = dict(environment.get(base, {}))
            mine = []
            for word, flags, text, reads in [
                    ("RUN", "", t.removeprefix("RUN "), "") for t in onbuild.get(base, [])] + lines:
                if word == "ONBUILD":
                    mine.append(text)
                elif word in ("ENV", "USER"):
                    scope[word + text.split("=")[0] if word == "ENV" else word] = text
                elif word == "ARG":
                    scope["ARG" + text] = self.args[text]
                elif word in ("RUN", "COPY", "ADD", "WORKDIR"):
                    seen = [below, word, flags, text, final.get(reads, "")]
                    if word == "RUN":
                        seen += sorted(scope.items())
                        if "source=a," in flags:
                            seen += self._selected("a")
                    if word in ("COPY", "ADD") and "--from" not in flags:
                        words = [w for w in text.split() if not w.startswith("--")]
                        for source in words[:-1]:
                            seen += self._selected(source)
                    if word in ("WORKDIR", "COPY", "ADD"):
                        seen.append(scope.get("USER", "") if word == "WORKDIR" else "")
                    if word == "WORKDIR":
                        scope["WORKDIR"] = text
                    below = digest(*seen)
                    result.setdefault(name, []).append(below)
            final[name] = below
            onbuild[name] = mine
            environment[name] = scope
        return result
