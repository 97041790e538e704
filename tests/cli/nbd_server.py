# SPDX-License-Identifier: BSD-2-Clause
"""An NBD server that answers one client as it is told: nbd_server.py SOCKET FILE MODE.

MODE: honest; tiny (extents of 512 bytes); plain (no structured replies, no contexts); old (knows no NBD_OPT_INFO); blocks (takes only some requests); or what no server
may do: dies (in the middle of the reads), empty, beyond, short, mute (as to extents), resized, silent. Says "ready"."""
import os
import socket
import struct
import sys

PATH, FILE, MODE = sys.argv[1:]
DATA = open(FILE, "rb").read()
SIZE, GRAIN = len(DATA), 65536
OPT_GO, OPT_INFO, OPT_STRUCTURED, OPT_SET_META, OPT_LIST_META, OPT_ABORT = 7, 6, 8, 10, 9, 2
ACK, INFO, META, UNSUPPORTED = 1, 3, 4, 0x80000001
FLAGS = 1 | 2 | 1 << 7                                               # of the export: flags, read-only, DF
reads = 0


def receive(count):
    data = b""
    while len(data) < count:
        more = client.recv(count - len(data))
        if not more:
            sys.exit()
        data += more
    return data


def option_reply(option, kind, data=b""):
    client.sendall(struct.pack(">QIII", 0x3E889045565A9, option, kind, len(data)) + data)


def negotiate():
    client.sendall(b"NBDMAGICIHAVEOPT" + struct.pack(">H", 3))
    receive(4)
    asked = 0
    while True:
        _, option, length = struct.unpack(">QII", receive(16))
        data = receive(length)
        if option == OPT_STRUCTURED and MODE != "plain":
            option_reply(option, ACK)
        elif option == OPT_SET_META and MODE != "plain":
            option_reply(option, META, struct.pack(">I", 1) + b"base:allocation")
            option_reply(option, ACK)
        elif option in (OPT_GO, OPT_INFO) and not (option == OPT_INFO and MODE == "old"):
            asked += 1
            size = SIZE + 512 if MODE == "resized" and asked > 1 else SIZE
            option_reply(option, INFO, struct.pack(">HQH", 0, size, FLAGS))
            block = (512, 4096, 65536) if MODE == "blocks" else (1, 4096, 1 << 20)
            option_reply(option, INFO, struct.pack(">HIII", 3, *block))
            option_reply(option, ACK)
            if option == OPT_GO:
                return
        elif option == OPT_ABORT:
            sys.exit()
        else:
            option_reply(option, UNSUPPORTED)


def chunk(cookie, kind, data, flags=1):
    client.sendall(struct.pack(">IHHQI", 0x668E33EF, flags, kind, cookie, len(data)) + data)


def extents(offset, length):
    out, at, end = [], offset, min(SIZE, offset + length)
    grain = 512 if MODE == "tiny" else GRAIN
    while at < end and len(out) < 4096:
        stop = min(end, at // grain * grain + grain)
        zero = not any(DATA[at:stop])
        if out and out[-1][1] == 3 * zero and MODE != "tiny":
            out[-1][0] += stop - at
        else:
            out.append([stop - at, 3 * zero])
        at = stop
    if MODE == "empty":
        out.insert(0, [0, 0])
    if MODE == "beyond":
        out[-1][0] = 0xFFFFFE00
    if MODE == "short":
        out = [[0, 0]]
    return struct.pack(">I", 1) + b"".join(struct.pack(">II", *e) for e in out)


def serve():
    global reads
    while True:
        _, _, kind, cookie, offset, length = struct.unpack(">IHHQQI", receive(28))
        if kind == 2:
            sys.exit()
        if MODE == "silent":
            with open("asked", "w") as asked:
                print("asked", file=asked)
            receive(1)
        if kind == 7 and MODE == "mute":
            chunk(cookie, 0, b"")
        elif kind == 7:
            chunk(cookie, 5, extents(offset, length))
        elif kind == 0:
            reads += 1
            if MODE == "dies" and reads > 2:
                os._exit(1)
            if MODE == "blocks" and (offset % 512 or length % 512 or length > 65536):
                os._exit(1)
            data = DATA[offset:offset + length]
            if MODE == "plain":
                client.sendall(struct.pack(">IIQ", 0x67446698, 0, cookie) + data)
            else:
                chunk(cookie, 1, struct.pack(">Q", offset) + data)


listener = socket.socket(socket.AF_UNIX)
listener.bind(PATH)
listener.listen()
print("ready", flush=True)
client, _ = listener.accept()
try:
    negotiate()
    serve()
except OSError:
    pass
