#!/usr/bin/env python3
"""Checks contrib/: alert rules by promtool, with their made-up series; the dashboard's queries too; and that
both ask for metrics that varve has.

    tools/check_contrib.py [SOURCE_DIRECTORY]

Exits with 77, ctest's "skipped", where promtool (Debian: prometheus) is not installed.
"""

import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile


def known_metrics(root):
    """Names in the golden file of metrics, with those that a histogram's samples have."""
    names = set()
    for line in (root / "tests/golden/report/metrics.prom").read_text().splitlines():
        kind = re.match(r"# TYPE (\S+) (\S+)", line)
        if kind:
            names.add(kind[1])
            if kind[2] == "histogram":
                names.update(kind[1] + suffix for suffix in ("_bucket", "_sum", "_count"))
    return names


def dashboard_queries(root):
    dashboard = json.loads((root / "contrib/grafana/varve-builds.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            # What Grafana fills in.
            text = target["expr"].replace("$__rate_interval", "5m").replace("$project", ".*")
            yield panel["title"], text


def promtool(*arguments):
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    return [] if done.returncode == 0 else [f"promtool {' '.join(arguments)}:\n{done.stdout}{done.stderr}"]


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent)
    if not shutil.which("promtool"):
        print("promtool is not installed")
        return 77
    problems = []
    rules = root / "contrib/prometheus"
    problems += promtool("check", "rules", str(rules / "varve.rules.yml"))
    problems += promtool("test", "rules", str(rules / "varve.rules.test.yml"))
    queries = list(dashboard_queries(root))
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
        json.dump({"groups": [{"name": "dashboard", "rules": [
            {"record": f"query:{i}", "expr": text} for i, (_, text) in enumerate(queries)]}]}, file)
        file.flush()
        problems += promtool("check", "rules", file.name)
    known = known_metrics(root)
    texts = queries + [("varve.rules.yml", (rules / "varve.rules.yml").read_text())]
    for where, text in texts:
        for name in re.findall(r"\bvarve_[a-z_]+", text):
            if name not in known:
                problems.append(f"{where}: varve has no metric {name}")
    for problem in problems:
        print(problem)
    print(f"{len(queries)} queries of the dashboard, {len(problems)} problems")
    return 1 if problems or not queries else 0


if __name__ == "__main__":
    sys.exit(main())
