# SPDX-License-Identifier: BSD-2-Clause
"""Measures byre, restic and borg on the same disks, in turn, and prints the tables; see bench.sh.

Each round begins with the disks of the first day in a folder `vm`, and new repositories. The tools take turns at
being first. The page cache is warm: all files are read just before. What a restore or a copy takes includes
`sync -f` of its target."""

import argparse, json, os, shutil, signal, statistics, subprocess, sys, tempfile

from bench_tools import IMAGES, TOOLS, Byre, Measure, run, timed

# work: what is done, and at least how many times faster than the best peer byre is to be (of the last ones: what
# share of the limit); None where nothing is aimed at
ROWS = {
    "first": ("first backup of base, web and db", 2.0),
    "again": ("again, nothing changed *", 20.0),
    "touched": ("again, times moved, no bitmap", 6.0),
    "full-read": ("again, all is read", 2.0),
    "db": ("db after load, no bitmap", 2.5),
    "bitmap": ("db after load, bitmap", 3.5),
    "restore": ("restore of the chain", 3.0),
    "check": ("check of all data", None),
    "prune": ("all but the newest pruned", None),
    "size1": ("repository after the first", 1.05),
    "size2": ("repository after day two", 1.05),
    "size3": ("repository after the prune", None),
    "copy": ("restore, of cp --sparse=always", 0.6),
    "limit": ("first backup, of its primitives", 0.85),
}
SIZES = "size1", "size2", "size3"
SHARES = "copy", "limit"
MEMORY_AIM = 256 << 10  # KiB of resident memory
TICK = 0.02  # seconds that cannot be told from none


def put(source, target):
    """The bytes of a file into another, which stays the same file."""
    subprocess.run(["cp", "--sparse=always", source, target], check=True)


def allocated(*paths):
    return sum(os.stat(p).st_blocks * 512 for p in paths)


def warm(paths):
    for path in paths:
        with open(path, "rb") as f:
            while f.read(1 << 22):
                pass


def resident(paths):
    """What share of the files is in the page cache; 1 where that cannot be told."""
    if not shutil.which("fincore"):
        return 1.0
    out = subprocess.run(["fincore", "--bytes", "--noheadings", "--output", "RES,SIZE", *paths], check=True,
                         stdout=subprocess.PIPE, text=True).stdout
    rows = [list(map(int, line.split())) for line in out.splitlines()]
    return sum(r[0] for r in rows) / max(sum(r[1] for r in rows), 1)


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
    def __init__(self, args, work):
        self.args, self.work = args, work
        self.rows = args.rows or list(ROWS)
        self.results = {}  # row -> tool -> a Measure a round; of sizes and shares a number
        self.opening, self.derivation = {}, {}  # tool -> seconds, a number a round
        self.versions = {}
        self.warm = 1.0

    def wants(self, *rows):
        return any(r in self.rows for r in rows)

    def note(self, row, tool, value):
        if self.wants(row):
            self.results.setdefault(row, {}).setdefault(tool, []).append(value)

    def each(self, row, tools, do):
        for t in tools:
            if self.wants(row):
                warm(self.images)
                self.warm = min(self.warm, resident(self.images))
            self.note(row, t.name, do(t))

    def round(self, number):
        vm = os.path.join(self.work, "vm")
        day = self.args.disks + "/day1/"
        os.makedirs(vm)
        self.images = [f"{vm}/{name}" for name in IMAGES]
        for name in IMAGES:
            put(day + name, f"{vm}/{name}")
        os.sync()
        tools = [TOOLS[name](f"{self.work}/{name}", vm) for name in self.args.tools]
        self.versions = {t.name: t.version() for t in tools}
        turn = number % len(tools)
        tools = tools[turn:] + tools[:turn]
        self.each("first", tools, lambda t: t.backup())
        for t in tools:
            self.note("size1", t.name, t.size())
        if self.wants("again"):
            for t in tools:
                self.opening.setdefault(t.name, []).append(t.opening())
                self.derivation.setdefault(t.name, []).append(t.derivation())
            self.each("again", tools, lambda t: t.backup())
        if self.wants("touched"):
            for t in tools:
                subprocess.run(["touch", *self.images], check=True)
                self.each("touched", [t], lambda t: t.backup())
        if self.wants("full-read"):
            self.each("full-read", tools, lambda t: t.backup(full=True))
        if self.wants("db", "bitmap", "restore", "copy", "prune", "size2", "size3"):
            self.next_day(tools, vm)
        if self.wants("restore", "copy"):
            self.restore(tools, vm)
        if self.wants("check"):
            for t in tools:
                self.note("check", t.name, t.check())
        if self.wants("prune", "size3"):
            for t in tools:
                self.note("prune", t.name, t.free())
                self.note("size3", t.name, t.size())
        if self.wants("limit"):
            warm(self.images)
            text = run([Byre.program, "benchmark", "--json", "--dir", self.work, vm + "/base.qcow2"]).text
            self.note("limit", "byre", json.loads(text.splitlines()[-1])["share"])
        for name in os.listdir(self.work):
            shutil.rmtree(f"{self.work}/{name}")

    def next_day(self, tools, vm):
        if self.wants("bitmap"):
            with_bitmap = Byre(self.work + "/bitmap", vm)
            with_bitmap.backup(bitmap=True)
            for t in tools:
                t.backup()  # the bitmap was put in
        write_load(self.args.disks, vm + "/db.qcow2")
        self.each("db", tools, lambda t: t.backup())
        if self.wants("bitmap"):
            self.each("bitmap", [with_bitmap], lambda t: t.backup(bitmap=True))
            shutil.rmtree(with_bitmap.folder)
        put(f"{self.args.disks}/day2/web.qcow2", f"{vm}/web.qcow2")
        subprocess.run(["qemu-img", "rebase", "-u", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", vm + "/web.qcow2"], check=True)
        for t in tools:
            t.backup()
            self.note("size2", t.name, t.size())

    def restore(self, tools, vm):
        target = self.work + "/target"

        def to_target(do):
            shutil.rmtree(target, ignore_errors=True)
            os.sync()
            m = do()
            return m._replace(seconds=m.seconds + timed(lambda: subprocess.run(["sync", "-f", self.work], check=True)))

        def copy():
            os.makedirs(target)
            return run(["cp", "--sparse=always", *self.images, target])

        for t in tools:
            m = to_target(lambda: t.restore(target))
            self.note("restore", t.name, m)
            if t.name == "byre":
                self.note("copy", "byre", m)
            for name in "web.qcow2", "db.qcow2":
                same(f"{vm}/{name}", f"{target}/{name}")
        warm(self.images)
        self.note("copy", "cp", to_target(copy))
        shutil.rmtree(target)

    def median(self, row, tool, field="seconds"):
        """None where it was not measured."""
        values = self.results.get(row, {}).get(tool)
        if row == "bitmap" and tool != "byre":  # they know of none
            values = self.results.get("db", {}).get(tool)
        if not values:
            return None
        return statistics.median(getattr(v, field) if isinstance(v, Measure) else v for v in values)

    def peers(self):
        return [name for name in self.args.tools if name != "byre"]

    def again(self, less):
        """Seconds of the row `again` without what ${less} (tool -> a number a round) has."""
        return {t: max(self.median("again", t) - statistics.median(less.get(t, [0])), TICK) for t in self.args.tools}

    def ratio(self, row):
        """How many times faster, or smaller, byre is than the best peer; of a share, the share; None without peer."""
        if row == "limit":
            return self.median(row, "byre")
        if row == "copy":
            return self.median(row, "cp") / self.median(row, "byre")
        values = {t: self.median(row, t) for t in self.args.tools}
        if row == "again":
            values = self.again(self.derivation)
        others = [values[t] for t in self.peers() if values[t] is not None]
        return min(others) / values["byre"] if others else None

    def measured(self):
        return [r for r in ROWS if self.median(r, "byre") is not None]

    def missed(self):
        rows = [r for r in self.measured() if ROWS[r][1] and (self.ratio(r) or ROWS[r][1]) < ROWS[r][1]]
        return rows + (["memory"] if self.peak("byre") > MEMORY_AIM else [])

    def peak(self, tool):
        return max((v.peak for tools in self.results.values() for v in tools.get(tool, []) if isinstance(v, Measure)), default=0)


def number(value):
    if value is None:
        return f"{'':>10}"
    return f"{value:10.3f}" if value < 10 else f"{value:10.1f}"


def report(bench):
    tools, rows, missed = bench.args.tools, bench.measured(), bench.missed()
    head = lambda what, *more: print(f"\n{what:<34}" + "".join(f"{name:>10}" for name in [*tools, *more]))
    head("wall seconds; sizes in MiB", "ratio", "aim")
    for row in rows:
        what, aim = ROWS[row]
        values = {t: bench.median(row, t) for t in tools}
        if row in SIZES:
            values = {t: v and v / (1 << 20) for t, v in values.items()}
        elif row == "copy":
            values = {"byre": values["byre"], (bench.peers() or [""])[0]: bench.median(row, "cp")}
        elif row == "limit":
            values = {}
        ratio = bench.ratio(row)
        print(f"{what:<34}" + "".join(number(values.get(t)) for t in tools) +
              (f"{ratio:10.2f}" if ratio else f"{'':>10}") + (f"{aim:10.2f}" if aim else f"{'':>10}") +
              ("  MISSED" if row in missed else ""))
    print(f"medians of {bench.args.rounds} rounds; of restore and copy with sync; in the row of cp, the second figure is cp's")
    if bench.warm < 0.98:
        print(f"only {bench.warm:.0%} of the disks were in the page cache: reading them is in all figures")
    if "again" in rows:
        head("* in parts", "ratio")
        median = lambda d: {t: statistics.median(d[t]) for t in tools}
        byre = {"byre": bench.again(bench.derivation)["byre"]}
        for what, values, held in (("as it is", bench.again({}), ""),
                                   ("of that, opening", median(bench.opening), None),
                                   ("of that, deriving the key", median(bench.derivation), None),
                                   ("each without deriving", bench.again(bench.derivation), "  held against the aim"),
                                   ("only byre without deriving", bench.again({}) | byre, "  at most"),
                                   ("and others without all opening", bench.again(bench.opening) | byre, "  at least")):
            best = min((values[t] for t in bench.peers()), default=None)
            print(f"{what:<34}" + "".join(number(values[t]) for t in tools) +
                  (f"{best / values['byre']:10.2f}{held}" if best and held is not None else ""))
        print("opening: what listing the archives takes; deriving: byre's by a key file's help, others' by OpenSSL at their parameters")
    for what, field, scale in ("CPU seconds", "cpu", 1), ("peak memory in MiB", "peak", 1024):
        head(what)
        for row in rows:
            if row not in SIZES + SHARES:
                values = {t: bench.median(row, t, field) for t in tools}
                print(f"{ROWS[row][0].rstrip(' *'):<34}" + "".join(number(v and v / scale) for v in values.values()))
    print()
    for name in tools:
        print(bench.versions[name])
    if missed:
        print("bench: MISSED:", " ".join(missed))


def as_json(bench):
    plain = lambda v: {"seconds": v.seconds, "cpu_seconds": v.cpu, "peak_bytes": v.peak << 10} if isinstance(v, Measure) else v
    return {
        "cores": len(os.sched_getaffinity(0)),
        "rounds": bench.args.rounds,
        "versions": bench.versions,
        "bytes_disks": allocated(*[f"{bench.args.disks}/day1/{name}" for name in IMAGES]),
        "page_cache": bench.warm,
        "opening": bench.opening,
        "derivation": bench.derivation,
        "rows": {row: {"what": ROWS[row][0].rstrip(" *"), "aim": ROWS[row][1], "ratio": bench.ratio(row),
                       "rounds": {t: [plain(v) for v in values] for t, values in bench.results[row].items()}}
                 for row in bench.measured()},
        "missed": bench.missed(),
    }


def look_around(args):
    """Says what would make the figures worthless, before hours have gone by."""
    disks = [f"{args.disks}/{name}" for name in ("day1/base.qcow2", "day1/web.qcow2", "day1/db.qcow2", "day2/web.qcow2", "load/data")]
    for path in disks:
        if not os.path.exists(path):
            sys.exit(f"bench: {path} is missing: make-disks.sh makes it")
    size = allocated(*disks[:3])
    # the disks and a restored copy of them; what changes; four repositories of up to 40 % of them
    need = 2 * size + allocated(*disks[3:]) + 4 * size * 2 // 5
    free = shutil.disk_usage(args.work).free
    if need > free:
        sys.exit(f"bench: {args.work}: {need / 2**30:.1f} GiB are needed and {free / 2**30:.1f} GiB free; --work DIR names another place")
    with open("/proc/meminfo") as f:
        available = next(int(line.split()[1]) for line in f if line.startswith("MemAvailable:")) << 10
    if size + (1 << 30) > available:
        print(f"bench: {available / 2**30:.1f} GiB of memory are available: the disks, {size / 2**30:.1f} GiB, may not stay in the "
              "page cache, and what is measured is this machine's disk", file=sys.stderr)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--byre", required=True, type=os.path.realpath)
    p.add_argument("--disks", required=True, type=os.path.realpath)
    p.add_argument("--work", required=True, type=os.path.realpath)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--tools", type=lambda text: text.split(","), default=list(TOOLS))
    p.add_argument("--json")
    p.add_argument("rows", nargs="*", choices=[*ROWS, []])
    args = p.parse_args()
    if "byre" not in args.tools or not set(args.tools) <= set(TOOLS) or args.rounds < 1:
        p.error("--tools: byre, and any of " + ", ".join(TOOLS))
    for n in signal.SIGTERM, signal.SIGHUP, signal.SIGINT:
        signal.signal(n, lambda number, _: sys.exit(128 + number))
    Byre.program = args.byre
    look_around(args)
    work = tempfile.mkdtemp(prefix="byre-bench.", dir=args.work)
    try:
        bench = Bench(args, work)
        for number in range(args.rounds):
            print(f"bench: round {number + 1} of {args.rounds}", file=sys.stderr)
            bench.round(number)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    report(bench)
    if args.json:
        with open(args.json, "w") as f:
            json.dump(as_json(bench), f, indent=1)
            f.write("\n")
    return 1 if bench.missed() else 0


sys.exit(main())
