#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Holds the manual pages against the table of commands, as byre help --json has it.

usage: manual.py PAGES BYRE   PAGES: the folder of byre.1, byre-COMMAND.1 and byre.conf.5

Each command has a page byre-COMMAND.1 with the name and a synopsis for itself, or for each command
of the next word. The options and operands of a synopsis are those of the table, in any order, with
values of the same names; so are the options that are explained (.It Fl): below "OPTIONS", or below
the section "COMMAND WORD" where there is a next word. byre.1 explains the global options and the
variables, and names all pages.
"""
import json
import pathlib
import re
import subprocess
import sys

wrong = []


def lines_of(page):
    return [line for line in page.read_text().splitlines() if not line.startswith('.\\"')]


def options_of(line, letters):
    """(name, value or None) of each option that a macro line tells of; short ones by LETTERS."""
    found = []
    for part in re.split(r"\bFl ", line)[1:]:
        name, *words = [w for w in part.split() if w not in ("Ns", "=", "Op", "Oo", "Oc", ",")]
        value = "".join(w for w in words if w not in ("Ar", "Cm")).rstrip("|")
        if name.startswith("-"):
            found.append((name[1:], value or None))
        elif name in letters:
            found.append((letters[name], value or None))
    return found


def sections_of(lines, macro):
    """{heading: lines} of the sections that MACRO begins."""
    found, name = {}, None
    for line in lines:
        if line.startswith(macro + " "):
            name = line[len(macro) + 1 :].strip('"')
            found[name] = []
        elif name is not None:
            found[name].append(line)
    return found


def of_table(options):
    return {(o["name"], (o["value"] or "").lower() or None) for o in options}


def compare(where, have, want):
    for name, value in sorted(have - want, key=str):
        wrong.append(f"{where} has --{name} {value or ''}, the table has not")
    for name, value in sorted(want - have, key=str):
        wrong.append(f"{where} has no --{name} {value or ''}, the table has")


def operands_of_usage(usage):
    """As a synopsis has them, without the options that have to be given."""
    usage = re.split(r"(?:^| )-", usage)[0]
    return " ".join(re.sub(r"([A-Za-z|-])\.\.\.", r"\1 ...", usage.lower()).split())


def operands_of_synopsis(lines):
    found = []
    for line in lines:
        words = line[1:].split()
        optional = words[0] == "Op"
        if optional:
            words = words[1:]
        if "Fl" in words:
            continue
        text = " ".join(w for w in words if w not in ("Ar", "Cm")).replace(" | ", "|")
        found.append(f"[{text.replace(' ...', '...')}]" if optional else text)
    return " ".join(" ".join(found).replace("...", " ...").split())


def check_synopsis(page, words, blocks, command):
    where = f"{page.name}, the synopsis of {words}"
    starts = [b for b in blocks if b[:2] == [".Op Ar option ...", f".Cm {words}"]]
    if len(starts) != 1:
        wrong.append(f"{page.name}: there are {len(starts)} synopses of {words}, not 1")
        return
    letters = {o["letter"]: o["name"] for o in command["options"]}
    have = {option for line in starts[0][2:] for option in options_of(line, letters)}
    compare(where, have, of_table(command["options"]))
    operands = operands_of_synopsis(starts[0][2:])
    usage = operands_of_usage(command["usage"])
    if operands != usage:
        wrong.append(f'{where} has the operands "{operands}", help has "{usage}"')


def explained(lines):
    """By their long names."""
    return {o for line in lines if line.startswith(".It ") for o in options_of(line, {})}


def check_page(page, command):
    lines = lines_of(page)
    name = f"byre-{command['name']}"
    sections = sections_of(lines, ".Sh")
    for line in (f".Dt {name.upper()} 1", f".Nm {name}"):
        if line not in lines:
            wrong.append(f"{page.name} has no line {line}")
    synopsis = "\n".join(sections["SYNOPSIS"])
    blocks = [block.strip().split("\n") for block in synopsis.split(".Nm byre\n")[1:]]
    subcommands = command["commands"]
    if any(re.match(r"\.Nm *([,.;:]|$)", line) for line in lines):
        wrong.append(f"{page.name}: .Nm alone stands for {name} there, not for byre")
    if sections["OPTIONS"][:2] != ["The options of all commands are in", ".Xr byre 1 ."]:
        wrong.append(f"{page.name}: OPTIONS does not begin by saying where the others are")
    if not subcommands:
        check_synopsis(page, command["name"], blocks, command)
        compare(page.name, explained(lines), of_table(command["options"]))
        return
    if len(blocks) != len(subcommands):
        wrong.append(f"{page.name} has {len(blocks)} synopses, not {len(subcommands)}")
    parts = sections_of(lines, ".Ss")
    for sub in subcommands:
        words = f"{command['name']} {sub['name']}"
        check_synopsis(page, words, blocks, sub)
        if words not in parts:
            wrong.append(f"{page.name} has no section {words}")
        else:
            compare(f"{page.name}, {words}", explained(parts[words]), of_table(sub["options"]))


def check_overview(page, table):
    lines = lines_of(page)
    parts = sections_of(lines, ".Ss")
    sections = sections_of(lines, ".Sh")
    compare(page.name, explained(parts["Options of all commands"]), of_table(table["options"]))
    variables = {w for line in sections["ENVIRONMENT"] for w in re.findall(r"[A-Z][A-Z_]+", line)}
    for option in table["options"]:
        if option["environment"] and option["environment"] not in variables:
            wrong.append(f"{page.name}: ENVIRONMENT has no {option['environment']}")
    listed = [line.split()[2] for line in parts["Commands"] if line.startswith(".It Xr ")]
    names = [f"byre-{c['name']}" for c in table["commands"]]
    if listed != names:
        wrong.append(f"{page.name}: Commands lists {listed}, the table has {names}")


def check_references(pages):
    """What byre's own pages refer to is there."""
    there = {(p.stem, p.suffix[1:]) for p in pages}
    for page in pages:
        for name, number in re.findall(r"\bXr (byre\S*) (\d)", page.read_text()):
            if (name, number) not in there:
                wrong.append(f"{page.name} refers to {name}({number}), which there is not")


def main():
    folder = pathlib.Path(sys.argv[1])
    byre = subprocess.run([sys.argv[2], "help", "--json"], check=True, capture_output=True)
    table = json.loads(byre.stdout)
    pages = sorted(folder.glob("byre*.[1-9]"))
    wanted = {f"byre-{c['name']}.1": c for c in table["commands"]}
    for page in pages:
        if page.name.startswith("byre-") and page.name not in wanted:
            wrong.append(f"{page.name} is of no command")
    for name, command in wanted.items():
        if not (folder / name).exists():
            wrong.append(f"there is no {name}")
        else:
            check_page(folder / name, command)
    check_overview(folder / "byre.1", table)
    check_references(pages)
    for line in wrong:
        print(line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
