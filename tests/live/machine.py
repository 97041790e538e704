# SPDX-License-Identifier: BSD-2-Clause
"""A machine with two disks, a qcow2 overlay and a raw file, whose guest writes all the time, and what both disks must
hold. The guest is a process with an NBD connection: it numbers what it writes, and goes on with the next only once
that is acknowledged, so that the disks of any moment are those after the first so many writes."""
import multiprocessing
import os
import random
import signal
import struct
import subprocess
import time

import nbd
from qmp import Qmp

BLOCK, SIZE, PACE = 4096, 8 << 20, 0.001
DISKS = ("one", "two")
RECORD = struct.Struct("<cQBIxxd")  # B(egun) or E(nded), number, disk, offset, when


def content(number, offset):
    """Of a block that write ${number} is for; each 16th makes zeros."""
    return bytes(BLOCK) if number % 16 == 0 else struct.pack("<QQ", number, offset) * (BLOCK // 16)


def guest(socket, log, number, seed, durable, pause, paused, stop):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    draw = random.Random(f"{seed} {number}")
    fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    disks = []
    for name in DISKS:
        disks.append(nbd.NBD())
        disks[-1].set_export_name(name)
        disks[-1].connect_unix(socket)
    flags = nbd.CMD_FLAG_FUA if durable else 0
    while not stop.is_set():
        if pause.is_set():
            paused.set()
            time.sleep(PACE)
            continue
        paused.clear()
        number += 1
        disk, offset = draw.randrange(len(DISKS)), draw.randrange(SIZE // BLOCK) * BLOCK
        os.write(fd, RECORD.pack(b"B", number, disk, offset, time.monotonic()))
        try:
            if number % 16:
                disks[disk].pwrite(content(number, offset), offset, flags)
            else:
                disks[disk].zero(BLOCK, offset, flags)
        except nbd.Error:
            return  # the machine is dead
        os.write(fd, RECORD.pack(b"E", number, disk, offset, time.monotonic()))
        time.sleep(PACE)


class Machine:
    """${system}: with devices, in qemu-system; else in qemu-storage-daemon. ${secret}: the file that the first disk is
    encrypted with, or None."""
    def __init__(self, folder, seed, system, secret):
        self.folder, self.seed, self.system, self.secret = folder, seed, system, secret
        self.draw = random.Random(f"disks {seed}")
        self.qmp, self.nbd, self.log = (os.path.join(folder, name) for name in ("qmp.sock", "nbd.sock", "guest.log"))
        self.paths = [os.path.join(folder, "one.qcow2"), os.path.join(folder, "two.img")]
        self.process = self.writer = None
        self.number, self.longest = 0, 0.0
        self.make_disks()

    def make_disks(self):
        """Their first content, and ${self.start}, a copy of it."""
        base, raw = os.path.join(self.folder, "base.qcow2"), os.path.join(self.folder, "plain")
        with open(raw, "wb") as file:
            file.write(self.draw.randbytes(SIZE // 2) + bytes(SIZE // 2))
        qemu_img("convert", "-f", "raw", "-O", "qcow2", raw, base)
        luks = ("--object", f"secret,id=secret,file={self.secret}", "-o",
                "encrypt.format=luks,encrypt.iter-time=10,encrypt.key-secret=secret") if self.secret else ()
        qemu_img("create", "-q", "-f", "qcow2", *luks, "-b", base, "-F", "qcow2", self.paths[0])
        os.rename(raw, self.paths[1])
        with open(self.paths[1], "rb") as file:
            first = file.read()
        self.state = [bytearray(first), bytearray(first)]
        self.history = []  # (number, disk, offset) since ${self.state}

    # -- the machine ------------------------------------------------------------------------------
    def begin(self):
        nodes = [f"driver=qcow2,node-name=one,file.driver=file,file.filename={self.paths[0]}" +
                 (",encrypt.format=luks,encrypt.key-secret=secret" if self.secret else ""),
                 f"driver=raw,node-name=two,file.driver=file,file.filename={self.paths[1]}"]
        dash = "-" if self.system else "--"
        command = ["qemu-system-x86_64", "-accel", "tcg", "-machine", "q35", "-m", "64", "-display", "none",
                   "-nodefaults", "-S"] if self.system else ["qemu-storage-daemon"]
        if self.secret:
            command += [dash + "object", f"secret,id=secret,file={self.secret}"]
        for node in nodes:
            command += [dash + "blockdev", node + ",discard=unmap,file.discard=unmap"]
        for name in DISKS if self.system else ():
            command += ["-device", f"virtio-blk-pci,id=disk-{name},drive={name},share-rw=on"]
        command += [dash + "chardev", f"socket,id=m,path={self.qmp},server=on,wait=off"]
        command += ["-mon", "chardev=m,mode=control"] if self.system else ["--monitor", "chardev=m"]
        for path in (self.qmp, self.nbd):
            if os.path.exists(path):
                os.unlink(path)
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        until(lambda: os.path.exists(self.qmp) and connects(self.qmp), "the machine does not begin")
        with Qmp(self.qmp) as qmp:
            qmp("nbd-server-start", addr={"type": "unix", "data": {"path": self.nbd}})
            for name in DISKS:
                qmp("block-export-add", type="nbd", id="e-" + name, node_name=name, name=name, writable=True)
        self.nodes = self.look()

    def look(self):
        """Which node has which file, and which are what clients write to."""
        with Qmp(self.qmp) as qmp:
            nodes = sorted((n["file"], n["drv"], n["ro"]) for n in qmp("query-named-block-nodes"))
            exports = sorted((e["id"], e["node-name"]) for e in qmp("query-block-exports"))
            return nodes, exports, [job["id"] for job in qmp("query-jobs")]

    def bitmaps(self):
        with Qmp(self.qmp) as qmp:
            return {n["node-name"]: [b["name"] for b in n.get("dirty-bitmaps", [])]
                    for n in qmp("query-named-block-nodes")}

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        self.process.kill()
        self.process.wait()

    def end(self):
        self.stop_guest()
        if self.alive():
            with Qmp(self.qmp) as qmp:
                qmp("quit")
            self.process.wait()

    # -- the guest --------------------------------------------------------------------------------
    def start_guest(self, durable):
        events = [multiprocessing.Event() for _ in range(3)]
        self.pause, self.paused, self.stopping = events
        self.writer = multiprocessing.Process(
            target=guest, args=(self.nbd, self.log, self.number, self.seed, durable, *events))
        self.writer.start()

    def stop_guest(self):
        """Ends it, and learns what it wrote. Returns the write of which nobody knows, or None."""
        if self.writer is None:
            return None
        self.stopping.set()
        self.writer.join()
        self.writer = None
        return self.learn()

    def rest(self):
        """Has it wait, and learns what it wrote."""
        self.pause.set()
        self.paused.clear()
        until(lambda: self.paused.is_set() or not self.writer.is_alive(), "the guest's writes hang")
        return self.learn()

    def go_on(self):
        self.pause.clear()

    def check_progress(self):
        """Its writes are not being held back."""
        size = os.path.getsize(self.log)
        until(lambda: os.path.getsize(self.log) > size + 2 * RECORD.size, "the guest's writes hang", 5)

    def learn(self):
        open_write = None
        with open(self.log, "rb") as file:
            data = file.read()
        for kind, number, disk, offset, when in RECORD.iter_unpack(data):
            if kind == b"B":
                open_write, begun = (number, disk, offset), when
            else:
                self.longest = max(self.longest, when - begun)
                self.history.append(open_write)
                self.number, open_write = number, None
        if open_write:
            self.number = open_write[0]
        os.truncate(self.log, 0)
        return open_write

    # -- what the disks must hold -----------------------------------------------------------------
    def settle(self, open_write):
        """The write that nobody acknowledged is there, or not."""
        if open_write and not self.alive():
            number, disk, offset = open_write
            if self.read(disk)[offset:offset + BLOCK] == content(number, offset):
                self.history.append(open_write)

    def after(self, number):
        """Both disks after write ${number}."""
        state = [bytearray(s) for s in self.state]
        for n, disk, offset in self.history:
            if n <= number:
                state[disk][offset:offset + BLOCK] = content(n, offset)
        return state

    def forget_history(self):
        self.state, self.history = self.after(self.number), []

    def read(self, disk):
        """As a guest sees it now."""
        if not self.alive():
            return self.convert(self.paths[disk], disk)
        client = nbd.NBD()
        client.set_export_name(DISKS[disk])
        client.connect_unix(self.nbd)
        data = bytes(client.pread(SIZE, 0))
        client.shutdown()
        return data

    def source(self, path, disk):
        """How qemu-img is told to open the file ${path}, which is like disk ${disk}."""
        if self.secret and disk == 0:
            return ("--object", f"secret,id=secret,file={self.secret}", "--image-opts",
                    f"driver=qcow2,file.filename={path},encrypt.key-secret=secret")
        return ("-f", ("qcow2", "raw")[disk], path)

    def convert(self, path, disk):
        """All of the disk in that file."""
        raw = path + ".raw"
        qemu_img("convert", "-O", "raw", *self.source(path, disk), raw)
        with open(raw, "rb") as file:
            data = file.read()
        os.unlink(raw)
        return data

    def moment_of(self, disks, first, last):
        """The write after which both disks were ${disks}, if it is from ${first} to ${last}; else None."""
        newest = 0
        for data in disks:
            for offset in range(0, SIZE, BLOCK):
                number, its = struct.unpack_from("<QQ", data, offset)
                if its == offset and number <= last:
                    newest = max(newest, number)
        for number in range(max(newest, first), min(newest + 8, last) + 1):
            if self.after(number) == list(disks):
                return number
        return None


def qemu_img(*args, good=(0,)):
    """A lock goes away by itself, for its holder was killed a moment ago; and QEMU may not find the time that
    LUKS wants to measure."""
    for _ in range(100):
        done = subprocess.run(("qemu-img", *args), capture_output=True, text=True, check=False)
        if "Failed to get" not in done.stderr and "CPU usage" not in done.stderr:
            break
        time.sleep(0.05)
    if done.returncode not in good:
        raise RuntimeError(f"qemu-img {' '.join(args)}: {done.returncode} {done.stderr or done.stdout}")


def connects(path):
    try:
        Qmp(path).socket.close()
        return True
    except OSError:
        return False


def until(true, otherwise, seconds=30):
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise RuntimeError(otherwise)
        time.sleep(0.01)
