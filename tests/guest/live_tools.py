#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""What live.sh asks of its machine. usage:
live_tools.py acks SOCKET FILE       writes down what the guest acknowledges, a line each: seconds of this host's clock,
                                     number, and the microseconds since the one before as the guest has them
live_tools.py gaps FILE FROM TO      the longest time between two of them in that time: as the guest has it, and as we do
live_tools.py qmp SOCKET COMMAND     does one command (JSON), and prints what it returned
live_tools.py track SOCKET           counts from now on what is written to the disks, with bitmaps that QEMU keeps
live_tools.py written SOCKET         prints how many bytes that were, and begins anew
live_tools.py disks SOCKET           the files that the machine's disks are, a line each"""
import json
import socket
import sys
import time

BITMAP = "written"  # not persistent, and none of byre's


def connect(path):
    s = socket.socket(socket.AF_UNIX)
    s.connect(path)
    return s


class Monitor:
    def __init__(self, path):
        self.file = connect(path).makefile("rw")
        self.file.readline()
        self.do("qmp_capabilities")

    def do(self, command, **arguments):
        self.file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.file.flush()
        while True:
            answer = json.loads(self.file.readline())
            if "error" in answer:
                sys.exit(f"{command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]

    def disks(self):
        return [b["inserted"] for b in self.do("query-block") if "inserted" in b]


def record(path, output):
    with open(output, "w", buffering=1) as out:
        for line in connect(path).makefile():
            out.write(f"{time.monotonic():.3f} {line}")


def gaps(path, begin, end):
    rows = [(float(t), int(gap) / 1e6) for t, _, gap in (line.split() for line in open(path))]
    ours = [b[0] - a[0] for a, b in zip(rows, rows[1:]) if b[0] >= begin and a[0] <= end]
    guests = [b[1] for a, b in zip(rows, rows[1:]) if b[0] >= begin and a[0] <= end]
    print(f"{max(guests, default=0):.2f} {max(ours, default=0):.2f}")


def main(what, path, *rest):
    if what == "acks":
        record(path, *rest)
    elif what == "gaps":
        gaps(path, *map(float, rest))
    elif what == "qmp":
        command = json.loads(rest[0])
        print(json.dumps(Monitor(path).do(command["execute"], **command.get("arguments", {}))))
    elif what == "track":
        monitor = Monitor(path)
        for disk in monitor.disks():
            monitor.do("block-dirty-bitmap-add", node=disk["node-name"], name=BITMAP)
    elif what == "written":
        monitor, total = Monitor(path), 0
        for disk in monitor.disks():
            total += sum(b["count"] for b in disk.get("dirty-bitmaps", []) if b.get("name") == BITMAP)
            monitor.do("block-dirty-bitmap-clear", node=disk["node-name"], name=BITMAP)
        print(total)
    elif what == "disks":
        for disk in Monitor(path).disks():
            image, chain = disk["image"], []
            while image:
                chain.append(f"{image['filename']} ({image['format']})")
                image = image.get("backing-image")
            print(disk["node-name"], *chain)


main(*sys.argv[1:])
