"""Parses a .test file into statements. The language is described in tests/e2e/README.md."""

import dataclasses
import re


class ScriptError(Exception):
    pass


@dataclasses.dataclass
class Statement:
    line: int
    word: str
    rest: str
    body: str | None = None

    def __str__(self):
        return f"{self.word} {self.rest}".rstrip()


@dataclasses.dataclass
class Script:
    path: str
    statements: list
    needs: list
    timeout: int


DEFAULT_TIMEOUT = 120
# A body starts after `<<WORD` or, with expansion of $NAMES left to the statement, the same for all.
HEREDOC = re.compile(r"\s<<([A-Z][A-Z0-9_]*)$")
WITH_BODY = {"file", "dockerfile", "sh", "expect-content"}


def parse(path):
    with open(path, encoding="utf-8") as file:
        lines = file.read().split("\n")
    statements, needs, timeout = [], [], DEFAULT_TIMEOUT
    number = 0
    while number < len(lines):
        text = lines[number].strip()
        number += 1
        if not text or text.startswith("#"):
            continue
        first = number
        while text.endswith("\\") and number < len(lines):
            text = text[:-1].rstrip() + " " + lines[number].strip()
            number += 1
        word, _, rest = text.partition(" ")
        rest = rest.strip()
        body = None
        found = HEREDOC.search(" " + rest) if word in WITH_BODY else None
        if found:
            rest = rest[:len(rest) - len(found.group(0).lstrip())].rstrip()
            body_lines = []
            while number < len(lines) and lines[number] != found.group(1):
                body_lines.append(lines[number])
                number += 1
            if number == len(lines):
                raise ScriptError(f"{path}:{first}: no line '{found.group(1)}' ends the text")
            number += 1
            body = "".join(line + "\n" for line in body_lines)
        if word == "needs":
            needs += rest.split()
        elif word == "timeout":
            timeout = int(rest)
        else:
            statements.append(Statement(first, word, rest, body))
    return Script(path, statements, needs, timeout)
