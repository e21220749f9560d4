#!/usr/bin/env python3
"""Checks every #include under src/ against the module table in ARCHITECTURE.md, and the link lists of the
modules' CMakeLists.txt as well. A layering that nothing checks decays.

usage: check_layers.py [SOURCE_DIR]
"""
import pathlib
import re
import sys


def read_table(text):
    """module -> set of modules it may use."""
    table = {}
    for line in text.splitlines():
        row = re.match(r"\| `([a-z_]+)` \|.*\| ([^|]+) \|$", line)
        if not row:
            continue
        uses = row.group(2).strip()
        if uses == "–":
            table[row.group(1)] = set()
        elif uses.startswith("all above"):
            left_out = uses.removeprefix("all above").removeprefix(" but ")
            table[row.group(1)] = set(table) - {name.strip() for name in left_out.split(",")}
        else:
            table[row.group(1)] = {name.strip() for name in uses.split(",")}
    return table


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent)
    table = read_table((root / "ARCHITECTURE.md").read_text())
    if len(table) < 5:
        sys.exit("ARCHITECTURE.md has no module table")
    problems, checked = [], 0
    for directory in sorted(p for p in (root / "src").iterdir() if p.is_dir()):
        module = directory.name
        if module not in table:
            problems.append(f"src/{module} is not in ARCHITECTURE.md's table")
            continue
        allowed = table[module] | {module}
        for file in sorted(directory.rglob("*")):
            if file.suffix not in (".h", ".cc"):
                continue
            for number, line in enumerate(file.read_text().splitlines(), 1):
                include = re.match(r'\s*#include "([a-z_]+)/', line)
                if include and include.group(1) in table:
                    checked += 1
                    if include.group(1) not in allowed:
                        problems.append(f"{file.relative_to(root)}:{number}: {module} may not use "
                                        f"{include.group(1)}")
        lists = directory / "CMakeLists.txt"
        depends = re.search(r"\bDEPENDS((?:\s+[a-z_]+)+)", lists.read_text()) if lists.exists() else None
        for name in depends.group(1).split() if depends else []:
            if name in table and name not in allowed:
                problems.append(f"src/{module}/CMakeLists.txt links {name}, which {module} may not use")
    for problem in problems:
        print(problem)
    print(f"{checked} includes of {len(table)} modules checked, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
