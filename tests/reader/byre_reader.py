#!/usr/bin/python3
"""Reads a byre repository by chunkstore/FORMAT.md alone: a second opinion for the tests. Strict, slow, and read-only."""
import argparse
import datetime
import json
import sys

from format1.keys import KEY_FILE, PASSPHRASE, RECOVERY, parse_recovery_code
from format1.records import LayerRecord, verify_archives
from format1.repository import Repository
from format1.store import verify_packs
from format1.wire import Damage, Refused, as_json


def read_secrets(args):
    """The kinds of slot that the secret may open, and the secret of each."""
    with open(args.key_file or args.passphrase_file, "rb") as file:
        secret = file.read(1 << 20)
    if args.key_file:
        if not 32 <= len(secret) <= 8192:
            raise Refused("a key file has 32 to 8192 bytes")
        return {KEY_FILE: secret}
    line, newline, _ = secret.partition(b"\n")
    if newline:
        line = line.removesuffix(b"\r")
    code = parse_recovery_code(line)
    return {PASSPHRASE: line} | ({RECOVERY: code} if code else {})


def utc(seconds):
    try:
        return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError):
        return f"@{seconds}"


def printable(data):
    """Bytes as one line of text."""
    text = data.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def print_json(value):
    print(json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True))


def command_list(repository, args):
    archives = repository.state.archives.items()
    if args.json:
        print_json([{"id": id_.hex(), "name": as_json(a.name), "time": utc(a.time), "host": as_json(a.host),
                     "entry": a.entry, "bytes_stored": str(a.stored), "tags": [as_json(tag) for tag in a.tags],
                     "summary": a.summary} for id_, a in archives])
    else:
        for id_, a in archives:
            print(id_.hex(), printable(a.name), utc(a.time), printable(a.host), sep="  ")


def command_show(repository, args):
    archive = repository.archive(args.archive)
    print_json({"archive": archive.json, "layers": [LayerRecord(repository.store, id_, repository.config).json for id_ in archive.layers]})


def command_extract(repository, args):
    repository.extract(repository.chain(repository.archive(args.archive), args.image, args.layer, args.snapshot), args.output)


def command_verify(repository, _):
    log = repository.log
    slots, rings = repository.keys.check_all(repository.state)
    print(f"config\nkeys: {slots} slots, {rings} keyrings")
    print(f"log: {log.count} entries, {len(log.void)} of them void, {len(log.checkpoints) - len(log.resets) - 1} checkpoints, {len(log.resets)} resets")
    for what, counted in (("segments", {"segments": len(repository.state.segments), "ids": len(repository.store.index.places)}),
                          ("packs", verify_packs(repository.store)),
                          ("archives", verify_archives(repository.store, repository.config))):
        print(f"{what}:", ", ".join(f"{count} {name}" for name, count in counted.items()))


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("repository")
    secret = parser.add_mutually_exclusive_group(required=True)
    secret.add_argument("--passphrase-file", "--recovery-code-file", help="its first line")
    secret.add_argument("--key-file")
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("list", help="the archives, from the log alone")
    command.add_argument("--json", action="store_true")
    command.set_defaults(run=command_list)
    command = commands.add_parser("show", help="the records of an archive")
    command.add_argument("archive", help="`latest`, a name, or the first hex digits of an id")
    command.set_defaults(run=command_show)
    command = commands.add_parser("extract", help="an image as its guest sees it, as a raw file")
    command.add_argument("archive")
    command.add_argument("--image", required=True)
    command.add_argument("-o", "--output", required=True)
    command.add_argument("--layer", type=int, default=0, help="begin this far below the top")
    command.add_argument("--snapshot", help="that layer as in the internal snapshot of this id")
    command.set_defaults(run=command_extract)
    command = commands.add_parser("verify", help="check everything")
    command.set_defaults(run=command_verify)
    args = parser.parse_args()
    if getattr(args, "layer", 0) < 0:
        parser.error("--layer counts from 0")
    return args


def main():
    args = parse_arguments()
    try:
        args.run(Repository(args.repository, read_secrets(args)), args)
    except Damage as damage:
        sys.exit(f"damage: {damage}")                                # status 1
    except (Refused, OSError) as error:
        print(f"byre_reader: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
