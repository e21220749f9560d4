"""Prints `N passed, N failed, N skipped` over what ctest ran; reasons of skips go to standard error.

count_tests.py JUNIT FOLDER: JUNIT is ctest's own result, one entry a test program; FOLDER holds what the
GoogleTest programs wrote about their cases (GTEST_OUTPUT). A program counts by its cases where it left
them, and once more when it failed although no case did: it crashed, or ran out of time.
"""

import os
import sys
import xml.etree.ElementTree

counts = {"passed": 0, "failed": 0, "skipped": 0}


def count(outcome, name, reason=""):
    counts[outcome] += 1
    if outcome == "skipped":
        print(f"skipped {name}: {reason.strip()}", file=sys.stderr)


def count_cases(path):
    failed = 0
    for case in xml.etree.ElementTree.parse(path).getroot().iter("testcase"):
        name = f"{case.get('classname')}.{case.get('name')}"
        if case.find("failure") is not None:
            count("failed", name)
            failed += 1
        elif case.get("result") == "skipped" or case.get("status") == "notrun":
            reason = case.find("skipped")
            count("skipped", name, "" if reason is None else reason.get("message", ""))
        else:
            count("passed", name)
    return failed


def main(junit, folder):
    try:
        programs = list(xml.etree.ElementTree.parse(junit).getroot().iter("testcase"))
    except (OSError, xml.etree.ElementTree.ParseError):
        return 1
    for program in programs:
        name = program.get("name")
        failed = program.find("failure") is not None or program.get("status") == "fail"
        skipped = program.find("skipped") is not None
        try:
            cases_failed = count_cases(os.path.join(folder, f"varve_{name}_test.xml"))
        except (OSError, xml.etree.ElementTree.ParseError):
            count("failed" if failed else "skipped" if skipped else "passed", name)
            continue
        if failed and not cases_failed:
            count("failed", name)
    print(", ".join(f"{number} {outcome}" for outcome, number in counts.items()))
    return 0


sys.exit(main(sys.argv[1], sys.argv[2]))
