#!/usr/bin/env python3
"""Checks that doc/dockerfile-support.md names tests that exist.

Every item is `- [x] what: `test` `test`` or `- [ ] what: what happens instead`. A test is `Suite.Name`
(a gtest in src), `e2e/NAME` (tests/e2e/NAME.test) or `golden/PATH` (tests/golden/PATH). Anything else
between backticks is text.

    tools/check_docs.py [SOURCE_DIRECTORY]
"""

import pathlib
import re
import sys

TEST = re.compile(r"^TEST(?:_F|_P)?\(\s*(\w+),\s*(\w+)", re.M)
# The last name of a suite begins with a capital, and has no blank, slash or dot in it.
UNIT = re.compile(r"^[A-Z]\w+\.[A-Z]\w+$")


def unit_tests(root):
    names = set()
    for path in root.glob("src/*/*_test.cc"):
        names.update(f"{suite}.{name}" for suite, name in TEST.findall(path.read_text()))
    return names


def missing(reference, root, units):
    """Why a reference is wrong; None for what is right, "" for what is no reference."""
    if reference.startswith("e2e/"):
        return None if (root / "tests" / (reference + ".test")).is_file() else "no such script"
    if reference.startswith("golden/"):
        return None if (root / "tests" / reference).exists() else "no such golden file"
    if UNIT.match(reference):
        return None if reference in units else "no such unit test"
    return ""


def check(page, root):
    units = unit_tests(root)
    problems, items, references = [], 0, 0
    for number, line in enumerate(page.read_text().splitlines(), 1):
        found = 0
        for reference in re.findall(r"`([^`]+)`", line):
            why = missing(reference, root, units)
            if why is None:
                found += 1
            elif why:
                problems.append(f"{page.name}:{number}: {reference}: {why}")
        references += found
        item = re.match(r"- \[(.)\] (.*)", line)
        if not item:
            continue
        items += 1
        if item[1] == "x" and not found and not re.search(r"section \d", item[2]):
            problems.append(f"{page.name}:{number}: ticked without a test")
        if item[1] == " " and ": " not in item[2]:
            problems.append(f"{page.name}:{number}: does not say what happens instead")
        if item[1] not in "x ":
            problems.append(f"{page.name}:{number}: neither ticked nor not")
    if items < 150:
        problems.append(f"{page.name}: only {items} items")
    return problems, items, references


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent)
    problems, items, references = check(root / "doc" / "dockerfile-support.md", root)
    for problem in problems:
        print(problem)
    print(f"{items} items, {references} references to tests, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
