#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The commands of a README, as a shell script of steps.

usage: readme.py README.md [SECTION]

A block of commands is indented by four columns or more, after an empty line. Each line of it is a
command of its own, as somebody types them; one that the shell does not find complete goes on in the
next. "# exit N" in its comment is what it has to exit with. Each becomes

    step LINE EXIT COMMAND

A block below "<!-- readme-test: syntax, for REASON -->" is only held against the shell's grammar:

    syntax LINE REASON COMMANDS

With SECTION, only that section's; without, all but that of "Disaster recovery".
"""
import re
import shlex
import subprocess
import sys

APART = "Disaster recovery"
MARK = re.compile(r"<!-- readme-test: syntax, for (.*) -->$")


def complete(text):
    done = subprocess.run(["bash", "-n", "-c", text], stderr=subprocess.PIPE, text=True, check=False)
    return done.returncode == 0 and "here-document" not in done.stderr


def blocks(lines):
    """Yields section, first line, reason or None, and the lines of each block."""
    section, reason, fenced, at = "", None, False, 0
    while at < len(lines):
        line = lines[at]
        if line.startswith("```"):
            fenced = not fenced
        if not fenced:
            if line.startswith("## "):
                section = line[3:]
            if mark := MARK.match(line):
                reason = mark[1]
            if line.startswith("    ") and not lines[at - 1].strip():
                first = at
                while at < len(lines) and (lines[at].startswith("    ") or not lines[at].strip()):
                    at += 1
                block = lines[first:at]
                indent = min(len(l) - len(l.lstrip()) for l in block if l.strip())
                yield section, first + 1, reason, [l[indent:] for l in block]
                reason = None
                continue
        at += 1


def commands(block):
    """Yields the offset of each command's first line, and the command."""
    text, first = "", 0
    for n, line in enumerate(block):
        if not text:
            first = n
        text += line + "\n"
        if not text.strip():
            text = ""
        elif complete(text):
            yield first, text.rstrip("\n")
            text = ""
    if text.strip():
        yield first, text


def main():
    name, wanted = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
    with open(name, encoding="utf-8") as file:
        lines = file.read().split("\n")
    for section, first, reason, block in blocks(lines):
        if section != wanted if wanted else section == APART:
            continue
        if reason:
            print("syntax", first, shlex.quote(reason), shlex.quote("\n".join(block)))
            continue
        for offset, command in commands(block):
            exits = re.search(r"# exit (\d+)", command)
            print("step", first + offset, exits[1] if exits else 0, shlex.quote(command))


main()
