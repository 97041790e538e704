#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Stands between byre and the QMP socket of a machine: qmp_proxy.py FROM TO COMMAND INSTEAD FILE...
COMMAND of the client's becomes INSTEAD, with the same arguments. The files are kept open, as the
machine has them."""
import json
import os
import socket
import sys
import threading

source, target, command, instead = sys.argv[1:5]
files = [open(name, "rb") for name in sys.argv[5:]]


def forward(from_file, to_socket, change):
    for line in from_file:
        message = json.loads(line)
        if change and message.get("execute") == command:
            message["execute"] = instead
        try:
            to_socket.sendall(json.dumps(message).encode() + b"\r\n")
        except OSError:
            break
    to_socket.shutdown(socket.SHUT_RDWR)


listener = socket.socket(socket.AF_UNIX)
listener.bind(source + ".new")
listener.listen(1)
os.rename(source + ".new", source)
while True:
    client, _ = listener.accept()
    machine = socket.socket(socket.AF_UNIX)
    try:
        machine.connect(target)
    except OSError:
        sys.exit(0)
    threading.Thread(target=forward, args=(machine.makefile("rb"), client, False), daemon=True).start()
    try:
        forward(client.makefile("rb"), machine, True)
    except OSError:
        pass
