# SPDX-License-Identifier: BSD-2-Clause
"""One process of a soak: its disks, and what it does to the repository that all share. What may be refused because of what
others do at the same time is said here, command by command."""
import hashlib
import json
import os
import random
import subprocess

DISK = 24 << 20
PATIENCE = 900  # seconds; only so that what hangs is found


class Failure(Exception):
    pass


def sha256_of(path):
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        while block := f.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def tool(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE, check=False)
    if done.returncode != 0 or b"rror" in done.stdout:  # qemu-io exits 0 where a command failed
        raise Failure(f"{' '.join(command)}: {done.stdout.decode(errors='replace')}")


class Byre:
    """The program, with secrets, and with a home, state and cache of its own."""

    def __init__(self, program, folder, who):
        self.program = program
        self.repository = os.path.join(folder, "repo")
        self.copies = os.path.join(folder, "copies")
        key = os.path.join(folder, "key")
        if not os.path.exists(key):
            with open(os.open(key, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as f:
                f.write(b"k" * 64)
        home = os.path.join(folder, f"home-{who}")
        os.mkdir(home)
        self.environment = dict(os.environ, HOME=home, BYRE_KEY_FILE=key, BYRE_FROM_KEY_FILE=key,
                                BYRE_STATE_DIR=os.path.join(home, "state"), BYRE_CACHE_DIR=os.path.join(home, "cache"))

    def run(self, *arguments, repo=None, refused=None):
        """What it printed; None where it exits 1 and its error has the text ${refused}. Any other exit is a failure."""
        command = [self.program, *arguments, "--repo", repo or self.repository]
        done = subprocess.run(command, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=PATIENCE, check=False)
        error = done.stderr.decode(errors="replace")
        if done.returncode == 0:
            return done.stdout.decode()
        if done.returncode == 1 and refused and refused in error:
            return None
        raise Failure(f"{' '.join(command)}: exit {done.returncode}: {done.stdout.decode(errors='replace')}{error}")

    def live(self, repository):
        return [archive["id"] for archive in json.loads(self.run("list", "--json", repo=repository))]


class Disk:
    """A chain of qcow2 files that grows and changes. The base of each process's first one is the same."""

    def __init__(self, folder, chance):
        self.folder = folder
        self.chance = chance
        self.count = 0
        self.begin(random.Random(1))

    def path(self, name):
        return os.path.join(self.folder, name)

    def begin(self, chance):
        for name in os.listdir(self.folder):
            os.unlink(self.path(name))
        self.depth, self.snapshots = 1, 0
        self.top = self.path("base.qcow2")
        cluster = self.chance.choice(["64k", "64k", "4k"])
        tool("qemu-img", "create", "-q", "-f", "qcow2", "-o", f"cluster_size={cluster}", self.top, str(DISK))
        self.write(chance, 4 << 20)

    def write(self, chance, length):
        with open(self.path("noise"), "wb") as f:
            f.write(chance.randbytes(length))
        at = chance.randrange(0, DISK - length, 4096)
        tool("qemu-io", "-f", "qcow2", "-c", f"write -q -s {self.path('noise')} {at} {length}", self.top)

    def change(self):
        what = self.chance.random()
        if what < 0.1 and self.depth < 4:
            below, self.top = self.top, self.path(f"overlay{self.depth}.qcow2")
            tool("qemu-img", "create", "-q", "-f", "qcow2", "-b", os.path.basename(below), "-F", "qcow2", self.top)
            self.depth, self.snapshots = self.depth + 1, 0
        elif what < 0.13:
            self.begin(self.chance)
        elif what < 0.2 and self.snapshots < 3:
            self.snapshots += 1
            tool("qemu-img", "snapshot", "-c", f"s{self.snapshots}", self.top)
        elif what < 0.3:
            at = self.chance.randrange(0, DISK - (1 << 20), 65536)
            tool("qemu-io", "-f", "qcow2", "-c", f"{self.chance.choice(['discard', 'write -z'])} {at} 1M", self.top)
        for _ in range(self.chance.randrange(1, 4)):
            self.write(self.chance, self.chance.choice([4096, 65536, 300 << 10, 1 << 20]))

    def sha256(self):
        raw = self.path("raw")
        tool("qemu-img", "convert", "-f", "qcow2", "-O", "raw", self.top, raw)
        digest = sha256_of(raw)
        os.unlink(raw)
        return digest


class Worker:
    def __init__(self, byre, folder, number, seed):
        self.chance = random.Random(seed * 1000 + number)
        self.byre = Byre(byre.program, folder, str(number))
        self.folder = os.path.join(folder, f"disks-{number}")
        os.mkdir(self.folder)
        os.mkdir(os.path.join(self.folder, "disk"))
        self.disk = Disk(os.path.join(self.folder, "disk"), self.chance)
        self.name = f"vm{number}"
        self.references, self.copies, self.counts = {}, {}, {}
        self.backup()

    def count(self, what, done=True):
        what = what if done else f"{what} refused"
        self.counts[what] = self.counts.get(what, 0) + 1

    def step(self):
        steps = {self.backup: 30, self.forget: 8, self.tag: 6, self.prune: 8, self.prune_without_grace: 8, self.check: 6,
                 self.copy: 8, self.restore: 12, self.prune_copies: 2}
        self.chance.choices(list(steps), list(steps.values()))[0]()

    def backup(self):
        self.disk.change()
        bitmap = ["--bitmap"] if self.chance.random() < 0.3 else []
        digest = self.disk.sha256()
        out = self.byre.run("backup", "--json", "--threads", str(self.chance.choice([1, 2])), "--name", self.name, *bitmap,
                            self.disk.top)
        self.references[json.loads(out.splitlines()[-1])["archive"]] = digest
        self.count("backup")

    def forget(self):
        keep = str(self.chance.randrange(2, 6))
        out = self.byre.run("forget", "--group-by", "name", "--keep-last", keep, "--json")
        self.counts["archives forgotten"] = \
            self.counts.get("archives forgotten", 0) + len(json.loads(out.splitlines()[-1])["forgotten"])
        self.count("forget")

    def prune(self, repo=None):
        done = self.byre.run("prune", repo=repo, refused="another prune is at work")
        self.count("prune", done is not None)

    def prune_without_grace(self, repo=None):
        done = self.byre.run("prune", "--no-grace", "--max-unused", "0", repo=repo, refused="another prune is at work")
        self.count("prune --no-grace", done is not None)

    def prune_copies(self):
        """Of each disk in the other repository the last two copies stay."""
        self.byre.run("forget", "--group-by", "name", "--keep-last", "2", repo=self.byre.copies)
        self.chance.choice([self.prune, self.prune_without_grace])(self.byre.copies)

    def check(self):
        self.byre.run("check", f"--read-data={self.chance.choice([20, 100])}")
        self.count("check --read-data")

    def pick(self):
        return self.chance.choice(list(self.references)[-8:])

    def unless_forgotten(self, what, archive, *arguments, **options):
        """What the command printed; None where somebody has forgotten the archive before it began or meanwhile."""
        try:
            out = self.byre.run(*arguments, **options)
        except Failure as failure:
            if archive in self.byre.live(self.byre.repository) or ": exit 1: " not in str(failure):
                raise
            out = None
        self.count(what, out is not None)
        return out

    def tag(self):
        archive = self.pick()
        self.unless_forgotten("tag", archive, "tag", archive, "--add", self.chance.choice("abc"), "--remove", "a")

    def copy(self):
        archive = self.pick()
        out = self.unless_forgotten("copy", archive, "copy", archive, "--json", "--from", self.byre.repository,
                                    repo=self.byre.copies)
        for copied in json.loads(out.splitlines()[-1])["archives"] if out else []:
            self.copies[copied["archive"]] = self.references[archive]

    def restore(self):
        archive = self.pick()
        target = os.path.join(self.folder, "restored")
        out = self.unless_forgotten("restore", archive, "restore", archive, "--format", "raw", "--to", target)
        if out is not None and sha256_of(target) != self.references[archive]:
            raise Failure(f"archive {archive} is another disk than was backed up")
        if os.path.exists(target):
            os.unlink(target)
