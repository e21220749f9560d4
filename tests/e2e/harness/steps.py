"""What happened to each step of the last build, from varve's statistics file or its plain progress."""

import dataclasses
import json
import re


@dataclasses.dataclass
class Step:
    name: str
    status: str  # hit, run, failed, other
    why: str = ""


# Steps as users count them: `[stage 2/5] RUN make`. Loading and exporting have names of their own.
NUMBERED = re.compile(r"^\[[^\]]*\d+/\d+\] ")


def is_user_step(step):
    return bool(NUMBERED.match(step.name)) and not re.match(r"^\[[^\]]*\] FROM ", step.name)


def from_statistics(path):
    """Returns (steps, counters), or None when the build left no file."""
    try:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
    except FileNotFoundError:
        return None
    steps = [Step(s["name"], s["status"], s.get("why", "")) for s in document.get("steps", [])]
    return steps, document.get("counters", {})


def from_plain(text):
    names, status, why = {}, {}, {}
    for line in text.split("\n"):
        found = re.match(r"^#(\d+) (.*)$", line)
        if not found:
            continue
        number, rest = found.groups()
        if number not in names:
            names[number] = rest
        elif rest == "CACHED":
            status[number] = "hit"
        elif rest.startswith("DONE "):
            status.setdefault(number, "run")
        elif rest.startswith("ERROR: "):
            status[number] = "failed"
        elif rest.lower().startswith(("why: ", "miss: ")):
            why[number] = rest.split(": ", 1)[1]
    return [Step(name, status.get(number, "other"), why.get(number, ""))
            for number, name in names.items()]
