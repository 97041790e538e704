#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Backups of a running machine, killed: byre at its system calls and at any moment, and the machine below it. After
each the status must be true, recover must bring the machine back as it was, and every write that the guest was told
of must be there; and each archive must be both disks at one moment of the backup.
usage: kill.py [--seed N] [--points M] [--machine-points M] [--system] [--luks] [--by-hand]   BYRE: the program"""
import argparse
import collections
import glob
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from qmp import Agent, Qmp

try:
    from machine import Machine, qemu_img, until
except ImportError as missing:
    print(f"SKIPPED: {missing} (the package python3-libnbd has it)")
    sys.exit(0)

CALLS = ("sendto,connect,socketpair,clone,clone3,vfork,wait4,waitid,poll,write,pwrite64,fsync,fdatasync,rename,"
         "renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,flock")
PAUSE = 2.0  # seconds that a guest's write may take


class Failure(Exception):
    """What the test is there to find."""


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(word) for word in file.read().split()]


def has_ended(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def has_guard(calls):
    """Whether one is at work after these: it begins with a socketpair, and is waited for at its end."""
    names = [name for name, _ in calls]
    return "socketpair" in names and "wait4" not in names[len(names) - names[::-1].index("socketpair"):]


class Trial:
    def __init__(self, byre, folder, seed, system, luks, by_hand, loud):
        self.byre, self.folder, self.by_hand, self.loud = byre, folder, by_hand, loud
        self.duration = 0.0
        self.draw = random.Random(seed)
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("BYRE_")}
        key = self.path("key")
        with open(os.open(key, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as file:
            file.write("k" * 64)
        self.env |= {"BYRE_REPOSITORY": self.path("repo"), "BYRE_CACHE_DIR": self.path("cache"),
                     "BYRE_STATE_DIR": self.path("state"), "BYRE_KEY_FILE": key, "LC_ALL": "C"}
        if "ASAN_OPTIONS" in self.env:
            self.env["ASAN_OPTIONS"] += ":detect_leaks=0"  # cannot work below a tracer
        self.count = collections.Counter()
        self.run(0, "init", "--reserve", "0", "--key-file", key)
        self.machine = Machine(folder, seed, system, key if luks else None)
        self.recover_args = ["live", "recover"] + (["--secret-file", key] if luks else [])
        self.agent = Agent(self.path("agent.sock"))
        self.archives = set()

    def path(self, name):
        return os.path.join(self.folder, name)

    def say(self, text):
        if self.loud:
            print(text, flush=True)

    # -- byre -------------------------------------------------------------------------------------
    def command(self, *args):
        return [self.byre, *args]

    def run(self, good, *args):
        done = subprocess.run(self.command(*args), env=self.env, capture_output=True, text=True, check=False)
        if good is not None and done.returncode not in (good if isinstance(good, tuple) else (good,)):
            raise Failure(f"exit {done.returncode}: byre {' '.join(args)}: {done.stderr}{done.stdout}")
        return done

    def backup_args(self, quiesce=None):
        args = ["backup", "--threads", "1", "--qmp", self.machine.qmp, "--name", "live"]
        if quiesce is None:
            quiesce = self.draw.random() < 0.5
        return args + (["--quiesce", "--agent", self.agent.path] if quiesce else [])

    def traced(self, args, *options):
        """Its calls, by name, in their order."""
        log = self.path("calls")
        done = subprocess.run(["strace", "-qq", "-e", f"trace={CALLS}", *options, "-o", log, *self.command(*args)],
                              env=self.env, capture_output=True, text=True, check=False)
        with open(log, encoding="ascii", errors="replace") as file:
            calls = re.findall(r"^([a-z0-9]+)\(", file.read(), re.M)
        return done, calls

    def kill_at(self, args, call, which, everywhere):
        """Kills it at its call number ${which} of that name; ${everywhere}: or whatever it has started."""
        follow = ["-f"] if everywhere else []
        return self.traced(args, *follow, "-e", f"inject={call}:signal=SIGKILL:when={which}")[0]

    def kill_after(self, args, seconds):
        process = subprocess.Popen(self.command(*args), env=self.env, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
        return subprocess.CompletedProcess(args, process.returncode, out, err)

    def stop_at(self, args, call, which):
        """Stops it there. Its strace, and byre; that is None where it has ended before."""
        log = self.path("stops")
        if os.path.exists(log):
            os.unlink(log)
        process = subprocess.Popen(["strace", "-qq", "-e", f"trace={call}", "-e",
                                    f"inject={call}:signal=SIGSTOP:when={which}", "-o", log, *self.command(*args)],
                                   env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        while process.poll() is None:
            time.sleep(0.005)
            if not os.path.exists(log):
                continue
            with open(log, encoding="ascii", errors="replace") as file:
                if "stopped by SIGSTOP" in file.read():
                    return process, children(process.pid)[0]
        return process, None

    def points(self, args):
        """All calls of an undisturbed run: (name, which of that name)."""
        done, calls = self.traced(args)
        if done.returncode != 0:
            raise Failure(f"exit {done.returncode} below strace: {done.stderr}")
        seen = collections.Counter()
        out = []
        for call in calls:
            seen[call] += 1
            out.append((call, seen[call]))
        return out

    # -- what must be true ------------------------------------------------------------------------
    def leftovers(self):
        return (glob.glob(self.path("*.byre-live")) + glob.glob(self.path("state/live/*.json")) +
                glob.glob(self.path("state/live/*.key")))

    def status(self):
        done = self.run((0, 3), "live", "status", "--json")
        report = json.loads(done.stdout.splitlines()[-1])
        if (done.returncode == 3) != (report["broken"] > 0):
            raise Failure(f"exit {done.returncode} and {report}")
        return report

    def wait_for_guard(self, guarded=True):
        """Its lock is free when it has ended; ${guarded}: and it has done all that cannot wait."""
        until(lambda: not any(m["running"] for m in self.status()["machines"]), "a guard never ends")
        if guarded:
            until(lambda: not self.agent.frozen, "the guest stays frozen")
            if self.machine.alive() and not self.machine.pause.is_set():
                self.machine.check_progress()

    def overlays_in_use(self):
        """The overlays that the machine writes to."""
        if not self.machine.alive():
            return set()
        with Qmp(self.machine.qmp) as qmp:
            files = {n["node-name"]: n["file"] for n in qmp("query-named-block-nodes")}
            used = {files[e["node-name"]] for e in qmp("query-block-exports")}
        return {m[0] for m in (re.search(r'[^"]*\.byre-live', f) for f in used) if m}

    def check_status(self):
        """It is what the machine and the files tell, and looking has changed nothing."""
        before = self.machine.look() if self.machine.alive() else None
        in_use, left = self.overlays_in_use(), self.leftovers()
        report = self.status()
        if before and before != self.machine.look():
            raise Failure("looking at the status has changed the machine")
        if not report["broken"] and (in_use or left):
            raise Failure(f"the status says that all is well, but there are {in_use or left}")
        if self.agent.frozen and not any(m["guest_frozen"] for m in report["machines"]):
            raise Failure("the status does not say that the guest is frozen")
        for machine in report["machines"]:
            if machine["alive"] != self.machine.alive():
                raise Failure(f"the machine's life is not what the status says: {machine}")
            for disk in machine["disks"]:
                writes = disk["state"].startswith("the machine writes to the overlay")
                if writes != (disk["overlay"] in in_use):
                    raise Failure(f"in use are {in_use}, but the status says: {disk}")
                if disk["overlay"] in in_use and not disk["commands"]:
                    raise Failure(f"no command for {disk}")
                if "split" in disk["state"]:
                    raise Failure(f"nobody has split it: {disk}")
        self.count["broken" if report["broken"] else "whole"] += 1
        return report["broken"] > 0

    def check_back(self):
        """The machine, or its files, are as before."""
        if self.leftovers():
            raise Failure(f"left behind: {self.leftovers()}")
        if self.status()["machines"]:
            raise Failure("the status does not say that all is well")
        if self.machine.alive() and self.machine.look() != self.machine.nodes:
            raise Failure(f"the machine is not as it was: {self.machine.nodes} became {self.machine.look()}")

    def check_disks(self):
        """Every acknowledged write is there, and nothing else."""
        machine = self.machine
        if machine.alive():
            open_write = machine.rest()
        else:
            open_write = machine.stop_guest()
            # A machine that was killed may have leaked clusters; nothing else.
            qemu_img("check", "-q", *machine.source(machine.paths[0], 0), good=(0, 3))
        machine.settle(open_write)
        want = machine.after(machine.number)
        for disk in (0, 1):
            if machine.read(disk) != bytes(want[disk]):
                data = machine.read(disk)
                bad = [i for i in range(0, len(data), 4096) if data[i:i + 4096] != want[disk][i:i + 4096]]
                raise Failure(f"disk {disk}: {len(bad)} blocks are wrong, the first at {bad[0]}")
        if machine.longest > PAUSE:
            raise Failure(f"a write of the guest's took {machine.longest:.1f} s")

    def check_archives(self, first):
        """A new one is the disks of one moment since write ${first}. How many there are."""
        new = {a["id"] for a in json.loads(self.run(0, "list", "--json").stdout)} - self.archives
        for archive in new:
            back = self.path("back")
            self.run(0, "restore", archive, "--to", back)
            disks = [bytearray(self.machine.convert(os.path.join(back, os.path.basename(path)), disk))
                     for disk, path in enumerate(self.machine.paths)]
            if self.machine.moment_of(disks, first, self.machine.number) is None:
                raise Failure(f"archive {archive} is the disks of no moment since write {first}")
            shutil.rmtree(back)
        self.archives |= new
        return len(new)

    # -- what happens -----------------------------------------------------------------------------
    def begin(self, durable):
        if not self.machine.alive():
            self.machine.begin()
        if self.machine.writer is None:
            self.machine.start_guest(durable)
        else:
            self.machine.go_on()

    def recover(self, points, guarded):
        """Puts it right; now and then killed halfway, then once more."""
        while points and self.draw.random() < 0.25:
            call, which = self.draw.choice(points)
            done = self.kill_at(self.recover_args, call, which, False)
            self.count["recover killed"] += done.returncode == -signal.SIGKILL
            self.wait_for_guard(guarded)
            self.check_status()
        if not self.by_hand or self.draw.random() < 0.5:
            self.run(0, *self.recover_args)
            return
        for machine in self.status()["machines"]:
            for command in [c for disk in machine["disks"] for c in disk["commands"]] + [f"rm {machine['journal']}"]:
                done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
                # A job may be further than the first of several commands asks for.
                if done.returncode != 0 or "error" in done.stdout and "cannot accept command verb" not in done.stdout:
                    raise Failure(f"{command}: {done.returncode} {done.stderr}{done.stdout}")
            self.count["put right by hand"] += 1

    def judge(self, first, points, guarded=True):
        self.wait_for_guard(guarded)
        if self.machine.alive() and self.draw.random() < 0.25:
            self.kill_guest()
            self.count["machine killed after"] += 1
        broken = self.check_status()
        if broken:
            self.recover(points, guarded)
        self.check_back()
        if self.agent.frozen:
            raise Failure("the guest is still frozen")
        self.check_disks()
        self.count["archives"] += self.check_archives(first)
        self.machine.forget_history()

    def whole(self):
        """Undisturbed."""
        self.begin(True)
        first = self.machine.number
        self.run(0, *self.backup_args())
        self.check_back()
        self.check_disks()
        if self.check_archives(first) != 1:
            raise Failure("not one archive of a backup")
        bitmaps = {k: v for k, v in self.machine.bitmaps().items() if v}
        if list(bitmaps) != ["one"] or len(bitmaps["one"]) != 1:
            raise Failure(f"not one bitmap in the qcow2 disk: {bitmaps}")
        self.machine.forget_history()

    def kill_byre(self, points, where):
        self.begin(True)
        first = self.machine.number
        args = self.backup_args()
        if where is None:
            done = self.kill_after(args, self.draw.random() * self.duration)
            self.say("killed at some moment")
        else:
            everywhere = self.draw.random() < 0.2
            done = self.kill_at(args, *points[where], everywhere)
            self.say(f"killed at {points[where]}{' anywhere' if everywhere else ''}: {done.returncode}")
        self.count["byre killed"] += done.returncode in (-signal.SIGKILL, 137)
        self.judge(first, points)

    def kill_guard(self, points, where):
        """With byre, as a whole group of processes is."""
        self.begin(True)
        first = self.machine.number
        process, byre = self.stop_at(self.backup_args(quiesce=True), *points[where])
        if byre:
            guards = children(byre)
            for pid in guards:
                os.kill(pid, signal.SIGKILL)
            os.kill(byre, signal.SIGKILL)
            until(lambda: all(has_ended(pid) for pid in guards), "what was killed lives on")
            self.count["byre killed"] += 1
            self.count["guard killed"] += len(guards)
        process.communicate()
        self.say(f"killed at {points[where]} with all its children")
        self.judge(first, points, guarded=False)

    def kill_guest(self):
        self.machine.kill()
        self.agent.frozen = False  # nobody is left to be thawed

    def kill_machine(self, which):
        """When byre is about to send its word number ${which}."""
        self.begin(True)
        first = self.machine.number
        process, byre = self.stop_at(self.backup_args(), "sendto", which)
        self.kill_guest()
        if byre:
            os.kill(byre, signal.SIGCONT)
        err = process.communicate()[1]
        self.say(f"machine killed at word {which}: {process.returncode} {err.strip()[-300:]}")
        if process.returncode not in (0, 1, 3):
            raise Failure(f"exit {process.returncode} where the machine died: {err}")
        self.count["machine killed"] += byre is not None
        self.judge(first, [])

    def all(self, points, machine_points):
        self.begin(True)
        started = time.monotonic()
        self.whole()
        self.duration = time.monotonic() - started
        self.begin(True)
        calls = self.points(self.backup_args(quiesce=True))
        guarded = [i for i, call in enumerate(calls) if call[0] != "poll" and has_guard(calls[:i])]
        self.check_disks()
        self.check_archives(0)
        self.say(f"{len(calls)} calls")
        for i in range(points):
            where = int((i + self.draw.random()) * len(calls) / points)
            if i % 5 == 3:
                self.kill_guard(calls, self.draw.choice(guarded))
            else:
                self.kill_byre(calls, None if i % 6 == 5 else where)
            if i % 5 == 4:
                self.whole()
        words = sum(call == "sendto" for call, _ in calls)
        for i in range(machine_points):
            self.kill_machine(1 + int((i + self.draw.random()) * words / machine_points))
            if i % 5 == 4:
                self.whole()
        self.whole()
        self.machine.end()
        self.check_disks()
        self.run(0, "check", "--read-data")

    def show(self):
        print(f"kills: {dict(self.count)}; {self.agent.freezes} freezes; the longest write of the guest's took "
              f"{self.machine.longest * 1000:.0f} ms")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--points", type=int, default=100)
    parser.add_argument("--machine-points", type=int, default=20)
    parser.add_argument("--system", action="store_true")
    parser.add_argument("--luks", action="store_true")
    parser.add_argument("--by-hand", action="store_true", help="half of them put right by the status's commands")
    parser.add_argument("--quiet", action="store_true")
    given = parser.parse_args()
    for program in ("strace", "qemu-system-x86_64" if given.system else "qemu-storage-daemon", "qemu-img"):
        if shutil.which(program) is None:
            print(f"SKIPPED: {program} is not installed")
            return 0
    byre = os.path.realpath(os.environ["BYRE"])
    folder = os.path.realpath(tempfile.mkdtemp(prefix="byre-live."))
    trial = Trial(byre, folder, given.seed, given.system, given.luks, given.by_hand, not given.quiet)
    good = False
    try:
        trial.all(given.points, given.machine_points)
        good = True
    except (Failure, RuntimeError) as failure:
        print(f"FAILED: {failure}\nas it is: {folder}", file=sys.stderr)
    finally:
        if trial.machine.writer:
            trial.machine.writer.kill()
        if trial.machine.alive():
            trial.machine.kill()
    trial.show()
    if good:
        shutil.rmtree(folder)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
