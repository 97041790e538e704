# SPDX-License-Identifier: BSD-2-Clause
"""The dirty bits of a bitmap, as qemu-nbd shows them (qemu:dirty-bitmap:NAME)."""
import os
import socket
import struct
import subprocess
import tempfile
import time


def take(s, n):
    data = b""
    while len(data) < n:
        more = s.recv(n - len(data))
        if not more:
            raise OSError("the server hung up")
        data += more
    return data


def option(s, kind, data):
    s.sendall(struct.pack(">8sII", b"IHAVEOPT", kind, len(data)) + data)
    out = []
    while True:
        _, _, reply, n = struct.unpack(">QIII", take(s, 20))
        data = take(s, n)
        if reply == 1:
            return out
        if reply >> 31:
            raise OSError(f"option {kind}: {data!r}")
        out.append((reply, data))


def extents(s, name):
    take(s, 18)
    s.sendall(struct.pack(">I", 3))
    option(s, 8, b"")
    context = b"qemu:dirty-bitmap:" + name
    (reply,) = option(s, 10, struct.pack(">III", 0, 1, len(context)) + context)
    number = struct.unpack(">I", reply[1][:4])[0]
    size = None
    for _, data in option(s, 7, struct.pack(">IH", 0, 0)):
        if struct.unpack(">H", data[:2])[0] == 0:
            size = struct.unpack(">Q", data[2:10])[0]
    out, at = [], 0
    while at < size:
        ask = min(size - at, 1 << 30)
        s.sendall(struct.pack(">IHHQQI", 0x25609513, 0, 7, 1, at, ask))
        done = False
        while not done:
            _, flags, kind, _, n = struct.unpack(">IHHQI", take(s, 20))
            data = take(s, n)
            done = flags & 1
            if kind >> 15:
                raise OSError(f"block status: {data!r}")
            if kind != 5:
                continue
            assert struct.unpack(">I", data[:4])[0] == number
            for o in range(4, len(data), 8):
                length, state = struct.unpack(">II", data[o:o + 8])
                if out and out[-1][1] == state:
                    out[-1][0] += length
                else:
                    out.append([length, state])
                at += length
    s.sendall(struct.pack(">IHHQQI", 0x25609513, 0, 2, 0, 0, 0))
    return size, out


def dump(options, objects, name):
    """[size, [[length, dirty]...]] of a bitmap of an image, given by its --image-opts."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "s")
        server = subprocess.Popen(["qemu-nbd", "-r", "-k", path, "-B", name.decode(), *objects, "--image-opts", options],
                                  stderr=subprocess.PIPE)
        try:
            for _ in range(500):
                if server.poll() is not None:
                    raise OSError(server.stderr.read().decode().strip())
                s = socket.socket(socket.AF_UNIX)
                try:
                    s.connect(path)
                    break
                except OSError:
                    s.close()
                    time.sleep(0.01)
            with s:
                return extents(s, name)
        finally:
            server.terminate()
            server.wait()
            server.stderr.close()
