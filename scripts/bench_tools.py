# SPDX-License-Identifier: BSD-2-Clause
"""The programs that bench.py measures: each with a repository of its own, all driven in the same way."""

import base64, collections, hashlib, json, os, re, statistics, subprocess, sys, tempfile, time

IMAGES = ["base.qcow2", "web.qcow2", "db.qcow2"]
SECRET = "correct horse battery staple"

# Wall seconds, CPU seconds and the peak of resident KiB, as the kernel counts them (wait4).
Measure = collections.namedtuple("Measure", "seconds cpu peak text")


def run(args, env=None, cwd=None, ok=(0,)):
    with tempfile.TemporaryFile() as out:
        start = time.monotonic()
        child = subprocess.Popen(args, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        try:
            _, status, usage = os.wait4(child.pid, 0)
        except BaseException:  # a signal: it must not go on in a folder that is removed
            child.kill()
            child.wait()
            raise
        child.returncode = os.waitstatus_to_exitcode(status)
        wall = time.monotonic() - start
        out.seek(0)
        text = out.read().decode(errors="replace")
    if child.returncode not in ok:
        sys.exit(f"bench: exit {child.returncode}: {' '.join(map(str, args))}\n{text[-2000:]}")
    return Measure(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss, text)


def both(a, b):
    """One thing that is done by two commands."""
    return Measure(a.seconds + b.seconds, a.cpu + b.cpu, max(a.peak, b.peak), b.text)


def median_of(n, do):
    return statistics.median(do() for _ in range(n))


def timed(do):
    start = time.monotonic()
    do()
    return time.monotonic() - start


class Tool:
    """What each can do: backup (full: trusting nothing of before), restore, check (all data is read), free (all
    archives but the newest are forgotten, and all space that can be
    is freed); opening, what the smallest command takes; and
    derivation, what of that makes a key from the passphrase."""

    def __init__(self, folder, vm):
        self.folder, self.vm = folder, vm
        self.repo = os.path.join(folder, "repo")
        os.makedirs(folder)
        self.env = {"PATH": os.environ["PATH"], "HOME": folder, "LC_ALL": "C"}

    def do(self, *args, cwd=None, ok=(0,)):
        return run(args, self.env, cwd or self.vm, ok)

    def size(self):
        return sum(os.lstat(os.path.join(d, f)).st_size for d, _, fs in os.walk(self.repo) for f in fs)


class Byre(Tool):
    name = "byre"
    program = "byre"

    def __init__(self, folder, vm):
        super().__init__(folder, vm)
        self.env |= {"BYRE_REPOSITORY": self.repo, "BYRE_PASSWORD": SECRET, "BYRE_CACHE_DIR": folder + "/cache",
                     "BYRE_STATE_DIR": folder + "/state"}
        self.do(self.program, "init", "-q", "--reserve", "0")

    def version(self):
        return self.do(self.program, "version").text.split("\n")[0]

    def backup(self, full=False, bitmap=False):
        options = ["--full-read"] * full + ["--bitmap"] * bitmap
        return self.do(self.program, "backup", "-q", *options, "web.qcow2", "db.qcow2", ok=(0, 3))

    def restore(self, target):
        return self.do(self.program, "restore", "-q", "latest", "--to", target)

    def check(self):
        return self.do(self.program, "check", "-q", "--read-data")

    def free(self):
        archives = json.loads(self.do(self.program, "list", "--json").text)
        return both(self.do(self.program, "forget", "-q", *[a["id"] for a in archives[:-1]]),
                    self.do(self.program, "prune", "-q", "--max-unused", "0"))

    def opening(self):
        return median_of(5, lambda: self.do(self.program, "list").seconds)

    def derivation(self):
        """With a key file nothing is derived; all else is the same."""
        key = self.folder + "/key"
        if not os.path.exists(key):
            with open(os.open(key, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as f:
                f.write(os.urandom(64))
            self.do(self.program, "key", "add", "-q", "--new-key-file", key)
        env = {k: v for k, v in self.env.items() if k != "BYRE_PASSWORD"} | {"BYRE_KEY_FILE": key}
        without = median_of(5, lambda: run([self.program, "list"], env, self.vm).seconds)
        return max(self.opening() - without, 0)


class Restic(Tool):
    name = "restic"

    def __init__(self, folder, vm):
        super().__init__(folder, vm)
        self.env |= {"RESTIC_REPOSITORY": self.repo, "RESTIC_PASSWORD": SECRET, "RESTIC_CACHE_DIR": folder + "/cache"}
        self.do("restic", "init", "-q", "--repository-version", "2")

    def version(self):
        return self.do("restic", "version").text.split("\n")[0]

    def backup(self, full=False):
        return self.do("restic", "backup", "-q", "--compression", "auto", *["--force"] * full, *IMAGES)

    def restore(self, target):
        return self.do("restic", "restore", "-q", "latest", "--target", target)

    def check(self):
        return self.do("restic", "check", "-q", "--read-data")

    def free(self):
        snapshots = json.loads(self.do("restic", "snapshots", "-q", "--json").text)
        return both(self.do("restic", "forget", "-q", *[s["id"] for s in snapshots[:-1]]),
                    self.do("restic", "prune", "-q", "--max-unused", "0"))

    def opening(self):
        return median_of(3, lambda: self.do("restic", "snapshots", "-q").seconds)

    def derivation(self):
        """Its key file tells the parameters; OpenSSL's scrypt then takes about as long as its own."""
        with open(os.path.join(self.repo, "keys", os.listdir(self.repo + "/keys")[0])) as f:
            key = json.load(f)
        return median_of(3, lambda: timed(lambda: hashlib.scrypt(
            SECRET.encode(), salt=base64.b64decode(key["salt"]), n=key["N"], r=key["r"], p=key["p"], dklen=64,
            maxmem=256 * key["N"] * key["r"])))


class Borg(Tool):
    name = "borg"

    def __init__(self, folder, vm):
        super().__init__(folder, vm)
        self.env |= {"BORG_REPO": self.repo, "BORG_PASSPHRASE": SECRET, "BORG_BASE_DIR": folder}
        self.do("borg", "init", "-e", "repokey-blake2")
        self.count = 0

    def version(self):
        return self.do("borg", "--version").text.split("\n")[0]

    def backup(self, full=False):
        self.count += 1
        force = ["--files-cache", "disabled"] if full else []
        return self.do("borg", "create", "--compression", "zstd,3", *force, f"::a{self.count}", *IMAGES)

    def restore(self, target):
        os.makedirs(target)
        return self.do("borg", "extract", "--sparse", f"::a{self.count}", cwd=target)

    def check(self):
        return self.do("borg", "check", "--verify-data")

    def free(self):
        names = [f"a{n + 1}" for n in range(self.count - 1)]
        return both(self.do("borg", "delete", "::", *names), self.do("borg", "compact", "--threshold", "0"))

    def opening(self):
        return median_of(3, lambda: self.do("borg", "list").seconds)

    def derivation(self):
        """The key in its configuration is msgpack with the number of PBKDF2's iterations."""
        with open(self.repo + "/config") as f:
            key = base64.b64decode(re.search(r"^key = (.*(\n\t.*)*)", f.read(), re.M)[1])
        count = int.from_bytes(re.search(rb"iterations\xce(.{4})", key, re.S)[1], "big")
        return median_of(3, lambda: timed(lambda: hashlib.pbkdf2_hmac("sha256", SECRET.encode(), bytes(32), count, 32)))


TOOLS = {tool.name: tool for tool in (Byre, Restic, Borg)}
