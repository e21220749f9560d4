"""Differences of two answer documents, and the ledger of those that are accepted."""

import fnmatch
import json
import re

NOT_COMPARED = ("by",)


def flatten(value, path=""):
    """A document as path → leaf; the paths are what the ledger speaks of."""
    if isinstance(value, dict) and value:
        found = {}
        for key, item in value.items():
            found.update(flatten(item, f"{path}.{key}" if path else key))
        return found
    if isinstance(value, list) and value and isinstance(value[0], (dict, list)):
        found = {}
        for number, item in enumerate(value):
            found.update(flatten(item, f"{path}.{number}"))
        return found
    return {path: value}


class Difference:
    def __init__(self, what, reference, varve):
        self.what, self.reference, self.varve = what, reference, varve

    def __str__(self):
        return f"{self.what}\n    reference: {show(self.reference)}\n    varve:     {show(self.varve)}"


def show(value):
    return "(nothing)" if value is None else json.dumps(value, ensure_ascii=True)


def differences(reference, varve):
    if ("error" in reference) != ("error" in varve):  # one image and none: nothing else can be compared
        return [Difference("error", reference.get("error"), varve.get("error"))]
    left = flatten({k: v for k, v in reference.items() if k not in NOT_COMPARED})
    right = flatten({k: v for k, v in varve.items() if k not in NOT_COMPARED})
    return [Difference(what, left.get(what), right.get(what))
            for what in sorted(set(left) | set(right)) if left.get(what) != right.get(what)]


class Ledger:
    """Accepted differences. An entry that accepts nothing any more is an error: it would hide the next one."""

    def __init__(self, path):
        with open(path, encoding="utf-8") as file:
            self.entries = json.load(file)
        self.used = set()
        for entry in self.entries:
            if not {"cases", "what", "reason"} <= set(entry) <= {"cases", "what", "reason", "varve", "reference"}:
                raise SystemExit(f"{path}: an entry has cases, what, reason, and may have varve, reference: {entry}")

    def reason(self, case, difference):
        for number, entry in enumerate(self.entries):
            if any(fnmatch.fnmatchcase(case, pattern) for pattern in entry["cases"]) and \
                    fnmatch.fnmatchcase(difference.what, entry["what"]) and \
                    self._says(entry, "varve", difference.varve) and \
                    self._says(entry, "reference", difference.reference):
                self.used.add((number, case))
                return entry["reason"]
        return None

    @staticmethod
    def _says(entry, side, value):
        return side not in entry or re.search(entry[side], value if isinstance(value, str) else show(value), re.S)

    def unused(self, cases):
        """Entries that name only cases which have run, and were not needed for one of them."""
        found = []
        for number, entry in enumerate(self.entries):
            for pattern in entry["cases"]:
                matching = [case for case in cases if fnmatch.fnmatchcase(case, pattern)]
                if not any((number, case) in self.used for case in matching):
                    found.append(f"{pattern} {entry['what']}: {entry['reason']}")
        return found
