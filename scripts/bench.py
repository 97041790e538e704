# SPDX-License-Identifier: BSD-2-Clause
"""Measures byre, restic and borg on the same disks, in turn, and prints the table; see bench.sh.

Each round begins with the disks of the first day in a folder `vm`, and new repositories. The tools take turns at
being first. The page cache is warm: all files are read just before. What a restore or a copy takes includes
`sync -f` of its target. CPU seconds and the peak of resident memory are the kernel's (wait4)."""

import argparse, json, os, re, shutil, statistics, subprocess, sys, tempfile, time

IMAGES = ["base.qcow2", "web.qcow2", "db.qcow2"]
SECRET = "correct horse battery staple"
# work: what is done, at least how many times faster than the best peer (or what share of the limit)
ROWS = {
    "first": ("first backup of base, web and db", 2.0),
    "again": ("again, nothing changed", 20.0),
    "touched": ("again, times moved, no bitmap", 6.0),
    "full-read": ("again, all is read", 2.0),
    "db": ("db after load, no bitmap", 2.5),
    "bitmap": ("db after load, bitmap", 3.5),
    "restore": ("restore of the chain", 3.0),
    "size1": ("repository after the first", 1.05),
    "size2": ("repository after day two", 1.05),
    "copy": ("restore, of cp --sparse=always", 0.6),
}


def run(args, env=None, cwd=None, ok=(0,)):
    """Runs a program; gives wall seconds, CPU seconds, peak KiB and its output."""
    with tempfile.TemporaryFile() as out:
        start = time.monotonic()
        child = subprocess.Popen(args, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        wall = time.monotonic() - start
        out.seek(0)
        text = out.read().decode(errors="replace")
    if child.returncode not in ok:
        sys.exit(f"bench: exit {child.returncode}: {' '.join(map(str, args))}\n{text[-2000:]}")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss, text


class Tool:
    def __init__(self, name, folder, vm):
        self.name, self.folder, self.vm = name, os.path.join(folder, name), vm
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder)
        self.repo = os.path.join(self.folder, "repo")
        self.env = {"PATH": os.environ["PATH"], "HOME": self.folder, "LC_ALL": "C"}
        self.peak = self.cpu = 0

    def do(self, args, cwd=None, ok=(0,)):
        wall, cpu, peak, text = run(args, self.env, cwd or self.vm, ok)
        self.peak, self.cpu = max(self.peak, peak), cpu
        return wall, text

    def size(self):
        return sum(os.lstat(os.path.join(d, f)).st_size for d, _, fs in os.walk(self.repo) for f in fs)


class Byre(Tool):
    def __init__(self, name, folder, vm, program):
        super().__init__(name, folder, vm)
        self.program = program
        self.env |= {"BYRE_REPOSITORY": self.repo, "BYRE_PASSWORD": SECRET, "BYRE_CACHE_DIR": self.folder + "/cache",
                     "BYRE_STATE_DIR": self.folder + "/state"}
        self.do([program, "init", "-q", "--reserve", "0"])

    def backup(self, *options):
        if "full-read" in options:
            options = ("--full-read",)
        wall, text = self.do([self.program, "backup", "--json", *options, "web.qcow2", "db.qcow2"], ok=(0, 3))
        self.summary = json.loads(text.splitlines()[-1])
        return wall

    def opening(self):
        return statistics.median(self.do([self.program, "list"])[0] for _ in range(5))

    def restore(self, target):
        return self.do([self.program, "restore", "-q", "latest", "--to", target])[0]


class Restic(Tool):
    def __init__(self, name, folder, vm):
        super().__init__(name, folder, vm)
        self.env |= {"RESTIC_REPOSITORY": self.repo, "RESTIC_PASSWORD": SECRET, "RESTIC_CACHE_DIR": self.folder + "/cache"}
        self.do(["restic", "init", "-q", "--repository-version", "2"])

    def backup(self, *options):
        force = ["--force"] if "full-read" in options else []
        return self.do(["restic", "backup", "-q", "--compression", "auto", *force, *IMAGES])[0]

    def opening(self):
        return statistics.median(self.do(["restic", "snapshots", "-q"])[0] for _ in range(3))

    def restore(self, target):
        return self.do(["restic", "restore", "-q", "latest", "--target", target])[0]


class Borg(Tool):
    def __init__(self, name, folder, vm):
        super().__init__(name, folder, vm)
        self.env |= {"BORG_REPO": self.repo, "BORG_PASSPHRASE": SECRET, "BORG_BASE_DIR": self.folder}
        self.do(["borg", "init", "-e", "repokey-blake2"])
        self.count = 0

    def backup(self, *options):
        self.count += 1
        force = ["--files-cache", "disabled"] if "full-read" in options else []
        return self.do(["borg", "create", "--compression", "zstd,3", *force, f"::a{self.count}", *IMAGES])[0]

    def opening(self):
        return statistics.median(self.do(["borg", "list"])[0] for _ in range(3))

    def restore(self, target):
        os.makedirs(target)
        return self.do(["borg", "extract", "--sparse", f"::a{self.count}"], cwd=target)[0]


def put(source, target):
    """The bytes of a file into another, which stays the same file."""
    subprocess.run(["cp", "--sparse=always", source, target], check=True)


def warm(vm):
    for name in IMAGES:
        with open(os.path.join(vm, name), "rb") as f:
            while f.read(1 << 22):
                pass


def write_load(disks, image):
    """What a database has changed, written by QEMU, so that bitmaps are told."""
    commands = []
    with open(disks + "/load/commands") as f, open(disks + "/load/data", "rb") as data, tempfile.TemporaryDirectory() as scratch:
        for n, line in enumerate(f):
            at, begin, length = map(int, line.split())
            data.seek(begin)
            piece = f"{scratch}/{n}"
            with open(piece, "wb") as out:
                out.write(data.read(length))
            commands.append(f"write -q -s {piece} {at} {length}\n")
        subprocess.run(["qemu-io", "-f", "qcow2", image], input="".join(commands), text=True, check=True,
                       stdout=subprocess.DEVNULL)


def same(a, b):
    subprocess.run(["qemu-img", "compare", "-q", "-f", "qcow2", "-F", "qcow2", a, b], check=True)


class Bench:
    def __init__(self, args):
        self.args = args
        self.rows = args.rows or list(ROWS)
        self.times = {}  # row -> tool -> list
        self.opening, self.peak, self.cpu = {}, {}, {}

    def note(self, row, tool, value):
        self.times.setdefault(row, {}).setdefault(tool, []).append(value)

    def timed(self, row, tools, do):
        if not self.wants(row):
            for t in tools:
                do(t)
            return
        for t in tools:
            warm(self.vm)
            self.note(row, t.name, do(t))
            self.cpu.setdefault(row, {}).setdefault(t.name, []).append(t.cpu)

    def wants(self, *rows):
        return any(r in self.rows for r in rows)

    def round(self, number):
        a, work = self.args, os.path.join(self.args.work, "bench")
        shutil.rmtree(work, ignore_errors=True)
        self.vm = vm = os.path.join(work, "vm")
        os.makedirs(vm)
        for name in IMAGES:
            put(f"{a.disks}/day1/{name}", f"{vm}/{name}")
        os.sync()
        byre = Byre("byre", work, vm, a.byre)
        tools = [byre, Restic("restic", work, vm), Borg("borg", work, vm)]
        tools = tools[number % 3:] + tools[:number % 3]
        self.timed("first", tools, lambda t: t.backup())
        for t in tools:
            self.note("size1", t.name, t.size())
            self.opening.setdefault(t.name, []).append(t.opening())
        if self.wants("again"):
            self.timed("again", tools, lambda t: t.backup())
        if self.wants("touched"):
            for t in tools:
                subprocess.run(["touch", *[f"{vm}/{n}" for n in IMAGES]], check=True)
                self.timed("touched", [t], lambda t: t.backup())
        if self.wants("full-read"):
            self.timed("full-read", tools, lambda t: t.backup("full-read"))
        if self.wants("db", "bitmap", "restore", "copy", "size2"):
            with_bitmap = Byre("byre-bitmap", work, vm, a.byre)
            with_bitmap.backup("--bitmap")
            for t in tools:
                t.backup()  # the bitmap was put in
            write_load(a.disks, vm + "/db.qcow2")
            self.timed("db", tools, lambda t: t.backup())
            if self.wants("bitmap"):
                warm(vm)
                self.note("bitmap", "byre", with_bitmap.backup("--bitmap"))
                for peer in "restic", "borg":
                    self.note("bitmap", peer, self.times["db"][peer][-1])
            put(f"{a.disks}/day2/web.qcow2", f"{vm}/web.qcow2")
            subprocess.run(["qemu-img", "rebase", "-u", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", vm + "/web.qcow2"], check=True)
            for t in tools:
                t.backup()
                self.note("size2", t.name, t.size())
        if self.wants("restore", "copy"):
            self.restore(tools, work)
        for t in tools:
            self.peak[t.name] = max(self.peak.get(t.name, 0), t.peak)
        shutil.rmtree(work)

    def restore(self, tools, work):
        target = work + "/target"
        def timed(do):
            shutil.rmtree(target, ignore_errors=True)
            os.sync()
            wall = do()
            start = time.monotonic()
            subprocess.run(["sync", "-f", work], check=True)
            return wall + time.monotonic() - start
        for t in tools:
            self.note("restore", t.name, timed(lambda: t.restore(target)))
            self.cpu.setdefault("restore", {}).setdefault(t.name, []).append(t.cpu)
            for name in "web.qcow2", "db.qcow2":
                same(f"{self.vm}/{name}", f"{target}/{name}")
        os.makedirs(target, exist_ok=True)
        def copy():
            os.makedirs(target)
            return run(["cp", "--sparse=always", *[f"{self.vm}/{n}" for n in IMAGES], target])[0]
        self.note("copy", "cp", timed(copy))
        self.note("copy", "byre", self.times["restore"]["byre"][-1])
        shutil.rmtree(target)

    def table(self):
        missed = []
        median = lambda row, tool: statistics.median(self.times[row][tool])
        opening = {name: statistics.median(times) for name, times in self.opening.items()}
        print(f"{'work':<34}{'byre':>10}{'restic':>10}{'borg':>10}{'ratio':>8}{'aim':>7}")
        for row in self.rows:
            if row not in self.times or "byre" not in self.times[row]:
                continue
            what, aim = ROWS[row]
            if row == "copy":
                ratio = median(row, "cp") / median(row, "byre")
                cells = [f"{median(row, 'byre'):10.2f}", f"{'cp':>6} {median(row, 'cp'):3.1f}", " " * 10]
            else:
                scale = 1 << 20 if row.startswith("size") else 1
                values = [median(row, t) / scale for t in ("byre", "restic", "borg")]
                if row == "again":  # each without opening its repository; less than 20 ms cannot be told
                    values = [max(v - opening[t], 0.02) for v, t in zip(values, ("byre", "restic", "borg"))]
                ratio = min(values[1:]) / values[0]
                cells = [f"{v:10.3f}" if v < 10 else f"{v:10.1f}" for v in values]
            verdict = "" if ratio >= aim else "  MISSED"
            missed += [row] if verdict else []
            print(f"{what:<34}{''.join(cells)}{ratio:8.2f}{aim:7.2f}{verdict}")
        print("seconds; sizes in MiB; medians of", len(self.times["size1"]["byre"]), "rounds")
        for name in "byre", "restic", "borg":
            cpu = ", ".join(f"{r} {statistics.median(v[name]):.1f}" for r, v in self.cpu.items() if name in v)
            print(f"{name}: opening {statistics.median(self.opening[name]):.2f} s; peak {self.peak[name] / 1024:.0f} MiB; CPU seconds: {cpu}")
        if self.peak["byre"] > 256 << 10:
            missed.append("memory")
        if missed:
            print("bench: MISSED:", " ".join(missed))
        return 1 if missed else 0


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--byre", required=True)
    p.add_argument("--disks", required=True)
    p.add_argument("--work", required=True)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("rows", nargs="*", choices=[*ROWS, []])
    bench = Bench(p.parse_args())
    for number in range(bench.args.rounds):
        bench.round(number)
    return bench.table()


sys.exit(main())
