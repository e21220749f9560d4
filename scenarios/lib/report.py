"""What a scenario found out: a table of its history, figures, and targets with whether they are met."""

import datetime
import json
import os
import platform
import re


class Row:
    """One push of the history: seconds of each builder, and what varve ran of how many steps."""

    def __init__(self, title, seconds, uncached=None, steps=""):
        self.title, self.seconds, self.uncached, self.steps = title, seconds, uncached, steps


class Target:
    def __init__(self, name, wanted, measured, met, by_time):
        self.name, self.wanted, self.measured, self.met, self.by_time = name, wanted, measured, met, by_time


class Report:
    """`judge_time=False` is for machines of which nothing is known: figures of seconds are shown, and miss nothing."""

    def __init__(self, name, title, judge_time):
        self.name, self.title, self.judge_time = name, title, judge_time
        self.rows, self.figures, self.targets, self.unchecked, self.notes = [], [], [], [], []

    def row(self, title, builds, uncached=None):
        """`builds`: builder's name → Build, or None where it has no such thing."""
        ours = builds["varve"]
        steps = f"{len(ours.ran)} of {len(ours.ran) + len(ours.cached)}" if ours.steps else ""
        self.rows.append(Row(title, {name: build.seconds for name, build in builds.items() if build},
                             uncached.seconds if uncached else None, steps))

    def figure(self, name, value):
        self.figures.append((name, value))

    def note(self, text):
        self.notes.append(text)

    def check(self, name, wanted, met, measured=""):
        """A target that does not hang on how fast the machine is."""
        self.targets.append(Target(name, wanted, str(measured), bool(met), False))

    def faster(self, name, seconds, uncached, percent):
        """Wanted: at least so many percent less time."""
        saved = 100 * (1 - seconds / uncached)
        self.targets.append(Target(name, f"≥ {percent} % less time",
                                   f"{saved:.0f} % ({seconds:.1f} s instead of {uncached:.1f} s)", saved >= percent, True))

    def slower(self, name, seconds, uncached, percent):
        """Wanted: at most so many percent more time."""
        more = 100 * (seconds / uncached - 1)
        self.targets.append(Target(name, f"≤ {percent} % more time",
                                   f"{more:+.0f} % ({seconds:.1f} s, {uncached:.1f} s without)", more <= percent, True))

    def not_checked(self, name, why):
        self.unchecked.append((name, why))

    def first_of_all(self):
        """Wanted of every row: that varve took the least time."""
        peers = sorted({name for row in self.rows for name in row.seconds} - {"varve"})
        for peer in peers:
            pairs = [(row.title, row.seconds["varve"], row.seconds[peer]) for row in self.rows if peer in row.seconds]
            slower = [title for title, ours, theirs in pairs if ours > theirs]
            ratio = min(theirs / ours for _, ours, theirs in pairs)
            self.targets.append(Target(f"faster than {peer} in every row", f"{len(pairs)} of {len(pairs)}",
                                       "; ".join(slower) + " slower" if slower else f"{len(pairs)} of {len(pairs)}, at least {ratio:.1f}×",
                                       not slower, True))

    def counts(self, target):
        return self.judge_time or not target.by_time

    @property
    def missed(self):
        return [target for target in self.targets if not target.met and self.counts(target)]

    def builders(self):
        return ["varve"] + sorted({name for row in self.rows for name in row.seconds} - {"varve"})

    def cells(self):
        """Header and rows of the history's table."""
        uncached = any(row.uncached is not None for row in self.rows)
        steps = any(row.steps for row in self.rows)
        names = self.builders()
        header = ["history", "varve"] + ["without a cache"] * uncached + names[1:] + ["steps that ran"] * steps
        table = []
        for row in self.rows:
            seconds = [f"{row.seconds[name]:.2f} s" if name in row.seconds else "–" for name in names]
            line = [row.title, seconds[0]]
            if uncached:
                line.append("–" if row.uncached is None else f"{row.uncached:.2f} s")
            table.append(line + seconds[1:] + [row.steps] * steps)
        return header, table

    def text(self):
        lines = [f"{self.name.upper()}  {self.title}", ""]
        header, table = self.cells()
        widths = [max(len(line[column]) for line in [header, *table]) for column in range(len(header))]
        for line in [header, *table]:
            lines.append("  " + line[0].ljust(widths[0]) + "".join("  " + cell.rjust(width) for cell, width in zip(line[1:], widths[1:])))
        lines.append("")
        lines += [f"  {name}: {value}" for name, value in self.figures]
        lines += [""] * bool(self.figures)
        for target in self.targets:
            mark = "met   " if target.met else "MISSED" if self.counts(target) else "slow  "
            lines.append(f"  {mark}  {target.name}: {target.measured}" + (f"  (wanted: {target.wanted})" if target.wanted else ""))
        lines += [f"  –       {name}: not checked, {why}" for name, why in self.unchecked]
        lines += [f"  note: {note}" for note in self.notes]
        counted = [target for target in self.targets if self.counts(target)]
        lines += ["", f"  {len(counted) - len(self.missed)} of {len(counted)} targets met"
                  + (f", {len(self.unchecked)} not checked" if self.unchecked else "")]
        return "\n".join(lines)

    def document(self):
        return {"scenario": self.name, "title": self.title,
                "history": [{"push": row.title, "seconds": row.seconds, "uncached": row.uncached, "ran": row.steps} for row in self.rows],
                "figures": dict(self.figures),
                "targets": [{"name": target.name, "wanted": target.wanted, "measured": target.measured, "met": target.met,
                             "seconds": target.by_time, "judged": self.counts(target)} for target in self.targets],
                "not_checked": dict(self.unchecked), "notes": self.notes, "met": not self.missed}


def _mark(target):
    return "met" if target["met"] else "**missed**"


def _met(document):
    return f"{sum(target['met'] for target in document['targets'])} of {len(document['targets'])}"


def summary(documents):
    """The table of the project's README: the targets of seconds, and how many of all are met."""
    lines = ["| team | wanted | measured | | all targets met |", "|---|---|---|---|---|"]
    for document in documents:
        title, met = f"[{document['scenario']}](scenarios/{document['scenario']}): {document['title']}", _met(document)
        for target in document["targets"]:
            if target["seconds"]:
                lines.append(f"| {title} | {target['name']}: {target['wanted']} | {target['measured']} | {_mark(target)} | {met} |")
                title = met = ""
    lines += ["", "All rows and targets: [scenarios/RESULTS.md](scenarios/RESULTS.md)."]
    return "\n".join(lines)


def machine():
    """What this machine is: "4 cores of AMD EPYC, 24 GB of memory, ext4, Linux 6.18.5"."""
    def found(path, pattern):
        with open(path) as file:
            match = re.search(pattern, file.read(), re.M)
        return match.group(1).strip() if match else "?"

    memory = int(found("/proc/meminfo", r"^MemTotal: *(\d+)")) * 1024
    system = found("/proc/mounts", r"^\S+ / (\S+)")
    return (f"{os.cpu_count()} cores of {found('/proc/cpuinfo', '^model name.*: (.*)$')}, {memory / 1e9:.0f} GB of memory, {system}, "
            f"Linux {platform.release()}")


def markdown(documents):
    """All figures of the reports that `document` gives, for scenarios/RESULTS.md."""
    lines = ["# What the scenarios measured", "",
             f"Written by `scenarios/run-all --markdown` on {datetime.date.today():%d %B %Y}: {machine()}. What is compared with what, and how:",
             "[README.md](README.md).", ""]
    for document in documents:
        names = ["varve"] + sorted({name for row in document["history"] for name in row["seconds"]} - {"varve"})
        bare = any(row["uncached"] is not None for row in document["history"])
        lines += [f"## {document['scenario'].upper()}: {document['title']}", ""]
        lines += ["| history | varve | " + "without a cache | " * bare + "".join(f"{name} | " for name in names[1:]) + "steps that ran |",
                  "|---" * (len(names) + 2 + bare) + "|"]
        for row in document["history"]:
            cells = [f"{row['seconds'][name]:.2f} s" if name in row["seconds"] else "–" for name in names]
            if bare:
                cells.insert(1, "–" if row["uncached"] is None else f"{row['uncached']:.2f} s")
            lines.append(f"| {row['push']} | " + " | ".join(cells) + f" | {row['ran']} |")
        lines += ["", "| target | wanted | measured | |", "|---|---|---|---|"]
        lines += [f"| {target['name']} | {target['wanted']} | {target['measured']} | {_mark(target)} |" for target in document["targets"]]
        lines += [f"| {name} | | {why} | not checked |" for name, why in document["not_checked"].items()]
        lines += [""] + [f"- {name}: {value}" for name, value in document["figures"].items()]
        lines += [f"- {note}" for note in document["notes"]] + [""]
    return "\n".join(lines)


def save(report, path):
    with open(path, "w") as file:
        json.dump(report.document(), file, indent=2, ensure_ascii=False)
        file.write("\n")
