# SPDX-License-Identifier: BSD-2-Clause
"""A monitor as plain as can be, and an agent that freezes nothing but itself."""
import json
import os
import socket
import threading


class Qmp:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        self.socket.connect(path)
        self.file = self.socket.makefile("rb")
        self.file.readline()
        self("qmp_capabilities")

    def __call__(self, command, **arguments):
        request = {"execute": command, "arguments": {k.replace("_", "-"): v for k, v in arguments.items()}}
        self.socket.sendall(json.dumps(request).encode())
        while True:
            reply = json.loads(self.file.readline())
            if "error" in reply:
                raise RuntimeError(f"{command}: {reply['error']['desc']}")
            if "return" in reply:
                return reply["return"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()


class Agent:
    """The agent of a guest that outlives its clients."""
    def __init__(self, path):
        self.frozen, self.freezes, self.thaws = False, 0, 0
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(path)
        self.server.listen(5)
        self.path = path
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            client = self.server.accept()[0]
            with client, client.makefile("rb") as file:
                try:
                    for line in file:
                        client.sendall(self.answer(json.loads(line.replace(b"\xff", b""))))
                except (OSError, ValueError):
                    pass  # killed halfway

    def answer(self, request):
        command = request["execute"]
        mark, result = b"", 0
        if command == "guest-sync-delimited":
            mark, result = b"\xff", request["arguments"]["id"]
        elif command == "guest-fsfreeze-status":
            result = "frozen" if self.frozen else "thawed"
        elif command == "guest-fsfreeze-freeze":
            self.frozen, result, self.freezes = True, 1, self.freezes + 1
        elif command == "guest-fsfreeze-thaw":
            result, self.frozen, self.thaws = int(self.frozen), False, self.thaws + 1
        return mark + json.dumps({"return": result}).encode() + b"\n"

    def close(self):
        os.unlink(self.path)
