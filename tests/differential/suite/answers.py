"""The form of answer.json: one line for each config key, history entry, layer and file, so that diffs can be read."""

import json
import os


def read(path):
    if not os.path.exists(path):
        return None
    with open(path, encoding="ascii") as file:
        return json.load(file)


def write(path, answer):
    parts = [f"{json.dumps(key)}: {lines_of(key, value)}" for key, value in answer.items()]
    with open(path, "w", encoding="ascii") as file:
        file.write("{\n  " + ",\n  ".join(parts) + "\n}\n")


def lines_of(key, value):
    if not value or not isinstance(value, (dict, list)) or key == "lines":
        return json.dumps(value)
    if isinstance(value, list):
        return "[\n    " + ",\n    ".join(json.dumps(item) for item in value) + "\n  ]"
    return "{\n    " + ",\n    ".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in value.items()) + "\n  }"
