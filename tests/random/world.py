# SPDX-License-Identifier: BSD-2-Clause
"""A few disks in one folder, and everything that may happen to them between two backups. Each step is drawn from the
seed; what a tool refuses is logged, and the world goes on: only backups have to work."""
import json
import os
import random
import shutil
import struct
import time

from archives import Archives
from tools import SECRET, Failure, qemu_img, qemu_io

KINDS = ("plain", "plain", "small", "large", "extended", "zstd", "v2", "raw-base", "luks", "lazy")
SIZES = (512, 4096, 65536, 65536, 65536, 1 << 20)


class Disk:
    def __init__(self, name, kind="qcow2", backing=None, luks=False):
        self.name, self.kind, self.backing, self.luks = name, kind, backing, luks


class World:
    def __init__(self, byre, folder, seed, kind, log):
        self.random, self.kind, self.log = random.Random(f"{seed} {kind}"), kind, log
        self.folder = os.path.join(folder, "disks")
        os.makedirs(self.folder)
        self.archives = Archives(byre, folder, log)
        self.disks, self.tops, self.serial = {}, [], 0
        self.begin()

    # -- the model --------------------------------------------------------------------------------
    def fresh(self, suffix="qcow2"):
        self.serial += 1
        return f"d{self.serial}.{suffix}"

    def path(self, name):
        return os.path.join(self.folder, name)

    def chain(self, name):
        out = []
        while name:
            out.append(name)
            name = self.disks[name].backing
        return out

    def size(self, disk):
        if disk.kind == "raw":
            return os.path.getsize(self.path(disk.name))
        with open(self.path(disk.name), "rb") as f:
            return struct.unpack(">Q", f.read(32)[24:])[0] // 512 * 512

    def cluster(self, disk):
        if disk.kind == "raw":
            return 4096
        with open(self.path(disk.name), "rb") as f:
            return 1 << struct.unpack(">I", f.read(24)[20:])[0]

    def img(self, *args):
        return qemu_img(self.log, self.folder, *args).returncode == 0

    def io(self, disk, *commands, flags=()):
        return qemu_io(self.log, self.folder, disk, *commands, flags=flags)

    def a_top(self):
        return self.disks[self.random.choice(self.tops)]

    def a_layer(self):
        """Mostly a top, but anything may be written to."""
        if self.random.random() < 0.8:
            return self.a_top()
        return self.disks[self.random.choice(self.chain(self.random.choice(self.tops)))]

    def create_options(self):
        r = self.random
        cluster = {"small": r.choice((512, 1024, 4096)), "large": r.choice((1 << 20, 2 << 20)),
                   "extended": r.choice((16384, 65536, 131072))}.get(self.kind, r.choice((4096, 16384, 65536)))
        out = [f"cluster_size={cluster}"]
        if self.kind == "extended":
            out.append("extended_l2=on")
        if self.kind == "zstd":
            out.append("compression_type=zstd")
        if self.kind == "lazy":
            out.append("lazy_refcounts=on")
        if self.kind == "v2":
            out.append("compat=0.10")
        return ",".join(out)

    def create(self, name, size=None, backing=None):
        """A new qcow2 file; LUKS takes its time, and sometimes fails for want of a clock."""
        luks = self.kind == "luks"
        args = ["create", "-q", "-f", "qcow2", "-o", self.create_options()]
        if luks:
            args[2:2] = ["--object", f"secret,id=s0,data={SECRET}"]
            args[-1] += ",encrypt.format=luks,encrypt.key-secret=s0,encrypt.iter-time=10"
        if backing:
            args += ["-b", backing, "-F", self.disks[backing].kind]
        for _ in range(40):
            if self.img(*args, name, *([str(size)] if size is not None else [])):
                break
        else:
            raise Failure(f"{name} cannot be created")
        self.disks[name] = Disk(name, backing=backing, luks=luks)

    def begin(self):
        size = self.random.randrange(4 << 20, 24 << 20, 512 if self.random.random() < 0.3 else 65536)
        if self.kind == "raw-base":
            name = self.fresh("raw")
            with open(self.path(name), "wb") as f:
                f.write(self.random.randbytes(2 << 20))
                f.truncate(size - self.random.choice((0, 0, 1, 300)))
            self.disks[name] = Disk(name, kind="raw")
        else:
            name = self.fresh()
            self.create(name, size)
        self.tops = [name]
        if self.kind != "luks":
            self.step_overlay()
        for _ in range(6):
            self.step_write()

    # -- what a guest does ------------------------------------------------------------------------
    def place(self, disk):
        size, unit = self.size(disk) // 512 * 512, self.random.choice((512, 4096, self.cluster(disk)))
        if size < 512:
            return None
        offset = self.random.randrange(size) // unit * unit // 512 * 512
        length = self.random.choice((512, 4096, self.cluster(disk), 65536, 262144, self.random.randrange(1, 64) * 512))
        return offset, max(512, min(length, size - offset) // 512 * 512)

    def guest_command(self, disk):
        where = self.place(disk)
        if not where:
            return "flush"
        offset, length = where
        what = self.random.random()
        if what < 0.4:
            with open(self.path("data"), "wb") as f:
                f.write(self.random.randbytes(length))
            return f"write -q -s data {offset} {length}"
        if what < 0.7:
            return f"write -q -P {self.random.randrange(1, 256)} {offset} {length}"
        if what < 0.8:
            return f"write -q -z {self.random.choice(('', '-u '))}{offset} {length}"
        if what < 0.95 or disk.kind == "raw":
            return f"discard -q {offset} {length}"
        unit = self.cluster(disk)
        return f"write -q -c -P {self.random.randrange(256)} {offset // unit * unit} {unit}"

    def written(self, disk, *commands, flags=()):
        """With the modification time set back now and then."""
        before = os.stat(self.path(disk.name))
        self.io(disk, *commands, flags=flags)
        if self.random.random() < 0.3:
            self.log(f"  {disk.name}: its time is set back")
            os.utime(self.path(disk.name), ns=(before.st_atime_ns, before.st_mtime_ns))

    def step_write(self):
        disk = self.a_layer()
        self.written(disk, *(self.guest_command(disk) for _ in range(self.random.randrange(1, 4))))

    def step_again(self):
        """Freed and written, in one go: the same clusters are likely to come again."""
        disk = self.a_layer()
        where = self.place(disk)
        if where and disk.kind != "raw":
            offset, length = where[0], max(where[1], self.cluster(disk))
            write = self.random.choice(("write -q", "write -q -c"))
            unit = self.cluster(disk) if "-c" in write else 512
            offset, length = offset // unit * unit, unit if "-c" in write else length
            if offset + length <= self.size(disk):
                self.written(disk, f"discard -q {offset} {length}",
                             f"{write} -P {self.random.randrange(256)} {offset} {length}")

    def step_crash(self):
        """A writer that is killed leaves its bitmaps in use."""
        disk = self.a_top()
        self.io(disk, self.guest_command(disk), "flush", "sigraise 9")

    def step_copy_on_read(self):
        disk = self.a_layer()
        where = self.place(disk)
        if where and disk.backing and not disk.luks:
            self.written(disk, f"read -q {where[0]} {where[1]}", flags=("-C",))

    # -- what its owner does ----------------------------------------------------------------------
    def step_resize(self):
        disk = self.a_layer()
        size = self.size(disk)
        new = max(65536, min(32 << 20, size + self.random.choice((-1, -1, 1, 1)) * self.random.randrange(1 << 22) // 512 * 512))
        args = ["resize", "-q", *(["--shrink"] if new < size else [])]
        if disk.luks:
            self.img(*args, "--object", f"secret,id=s0,data={SECRET}", "--image-opts",
                     f"driver=qcow2,file.filename={disk.name},encrypt.key-secret=s0", str(new))
        else:
            self.img(*args, "-f", disk.kind, disk.name, str(new))
            if new < size and self.random.random() < 0.6:
                self.img("resize", "-q", "-f", disk.kind, disk.name, str(size))

    def of_image(self, *args, disk):
        """qemu-img with its options for ${disk} behind ${args}; such subcommands take --image-opts for LUKS alone."""
        if disk.luks:
            return self.img(args[0], "--object", f"secret,id=s0,data={SECRET}", *args[1:], "--image-opts",
                            f"driver=qcow2,file.filename={disk.name},encrypt.key-secret=s0")
        return self.img(*args, disk.name)

    def step_snapshot(self):
        disk = self.a_layer()
        if disk.kind == "raw":
            return
        tag = f"s{self.random.randrange(3)}"
        what = self.random.choice(("-c", "-c", "-d", "-d", "-a", "again"))
        if what == "again":
            self.of_image("snapshot", "-d", tag, disk=disk)
            self.io(disk, self.guest_command(disk))
            self.of_image("snapshot", "-c", tag, disk=disk)
            return
        if what == "-a":
            # A bitmap forbids it.
            for name in self.bitmap_names(disk):
                self.of_bitmap("--remove", disk, name)
        self.of_image("snapshot", what, tag, disk=disk)

    def step_overlay(self):
        top = self.a_top()
        if top.luks or len(self.chain(top.name)) > 4:
            return
        name = self.fresh()
        self.create(name, backing=top.name)
        self.tops.append(name)
        # The old one seldom stays a top of its own.
        if self.random.random() < 0.8:
            self.tops.remove(top.name)

    def step_commit(self):
        disk = self.a_top()
        if not disk.backing or disk.luks:
            return
        before = os.stat(self.path(disk.backing))
        if self.img("commit", "-q", "-f", "qcow2", *(["-d"] if self.random.random() < 0.2 else []), disk.name):
            if self.random.random() < 0.2:
                os.utime(self.path(disk.backing), ns=(before.st_atime_ns, before.st_mtime_ns))
            if self.random.random() < 0.5:
                self.io(self.disks[disk.backing], self.guest_command(self.disks[disk.backing]))
                self.io(disk, *(f"read -q {i << 18} 256k" for i in range(min(6, self.size(disk) >> 18))), flags=("-C",))

    def step_drop_top(self):
        """The overlay goes, its base is used again."""
        disk = self.a_top()
        if disk.backing and disk.backing not in self.tops and not self.used(disk.name, but=disk.name):
            self.tops[self.tops.index(disk.name)] = disk.backing

    def step_rebase(self):
        disk = self.a_top()
        if not disk.backing or disk.luks:
            return
        base = self.disks[disk.backing]
        if self.random.random() < 0.5:
            # To an equal copy, without a look.
            copy = self.copied(base)
            if self.img("rebase", "-u", "-f", "qcow2", "-b", copy.name, "-F", copy.kind, disk.name):
                disk.backing = copy.name
            return
        target = self.random.choice((base.backing, base.backing, None))
        args = ["-b", target, "-F", self.disks[target].kind] if target else ["-b", ""]
        if self.img("rebase", "-f", "qcow2", *args, disk.name):
            disk.backing = target

    def bitmap_names(self, disk):
        # Listing needs no secret.

        done = qemu_img(self.log, self.folder, "info", "--output=json", "-f", "qcow2", disk.name)
        if done.returncode:
            return []
        data = json.loads(done.stdout).get("format-specific", {}).get("data", {})
        return [b["name"] for b in data.get("bitmaps", [])]

    def of_bitmap(self, what, disk, name):
        if disk.luks:
            # Here --image-opts comes before the two names.
            return self.img("bitmap", what, "--object", f"secret,id=s0,data={SECRET}", "--image-opts",
                            f"driver=qcow2,file.filename={disk.name},encrypt.key-secret=s0", name)
        return self.img("bitmap", what, "-f", "qcow2", disk.name, name)

    def step_bitmap(self):
        """Of others; and what others may do to byre's. Never the one thing that nothing could tell: to enable it again."""
        disk = self.a_layer()
        if disk.kind == "raw":
            return
        own = [name for name in self.bitmap_names(disk) if name.startswith("byre-")]
        what = self.random.choice(("--add", "--add", "--remove", "--clear", "--disable", "own"))
        if what != "own":
            self.of_bitmap(what, disk, f"other{self.random.randrange(2)}")
        elif own:
            self.of_bitmap(self.random.choice(("--disable", "--remove")), disk, self.random.choice(own))

    # -- what happens to files --------------------------------------------------------------------
    def used(self, name, but=None):
        """Whether any chain needs the file, apart from that of the top ${but}."""
        return any(name in self.chain(top) for top in self.tops if top != but)

    def copied(self, disk):
        copy = Disk(self.fresh(disk.name.rsplit(".", 1)[1]), disk.kind, disk.backing, disk.luks)
        self.log(f"  cp {disk.name} {copy.name}")
        shutil.copy2(self.path(disk.name), self.path(copy.name))
        self.disks[copy.name] = copy
        return copy

    def renamed(self, disk, name):
        self.log(f"  mv {disk.name} {name}")
        os.rename(self.path(disk.name), self.path(name))
        del self.disks[disk.name]
        self.tops = [name if top == disk.name else top for top in self.tops]
        for other in self.disks.values():
            if other.backing == disk.name:
                other.backing = name
                self.img("rebase", "-u", "-f", "qcow2", "-b", name, "-F", disk.kind, other.name)
        disk.name = name
        self.disks[name] = disk

    def step_rename(self):
        disk = self.a_layer()
        self.renamed(disk, self.fresh(disk.name.rsplit(".", 1)[1]))

    def step_copy(self):
        """A copy goes on, under its own name, over the original, or in the original's inode."""
        disk = self.a_top()
        copy = self.copied(disk)
        for one in self.random.choice(((copy,), (disk,), (copy, disk), ())):
            self.io(one, self.guest_command(one))
        what = self.random.choice(("name", "over", "inode"))
        if what == "name":
            self.tops[self.tops.index(disk.name)] = copy.name
            return
        self.log(f"  {copy.name} is put in the place of {disk.name}: {what}")
        if self.random.random() < 0.5:
            before = os.stat(self.path(disk.name))
            os.utime(self.path(copy.name), ns=(before.st_atime_ns, before.st_mtime_ns))
        if what == "over":
            os.rename(self.path(copy.name), self.path(disk.name))
        else:
            times = os.stat(self.path(copy.name))
            with open(self.path(copy.name), "rb") as source, open(self.path(disk.name), "wb") as target:
                shutil.copyfileobj(source, target)
            os.utime(self.path(disk.name), ns=(times.st_atime_ns, times.st_mtime_ns))
            os.remove(self.path(copy.name))
        del self.disks[copy.name]

    def step_old_state(self):
        """A layer is what it was at some backup."""
        if not self.archives.references:
            return
        _, copies, _ = self.random.choice(self.archives.references)
        path = self.random.choice(sorted(copies))
        disk = self.disks.get(os.path.basename(path))
        if not disk or not self.used(disk.name) or disk.luks:
            return
        # Its backing file may be gone or renamed meanwhile.
        self.log(f"  {disk.name} is again what it was in {copies[path]}")
        temporary = self.path(self.fresh("tmp"))
        shutil.copy2(copies[path], temporary)
        if self.random.random() < 0.5:
            os.rename(temporary, path)
        else:
            with open(temporary, "rb") as source, open(path, "r+b") as target:
                target.truncate(0)
                shutil.copyfileobj(source, target)
            os.remove(temporary)
        if disk.kind == "qcow2":
            base = self.disks[disk.backing] if disk.backing else None
            if not self.img("rebase", "-u", "-f", "qcow2", *(["-b", base.name, "-F", base.kind] if base else ["-b", ""]),
                            disk.name):
                raise Failure(f"{disk.name} does not take its base again")

    def step_touch(self):
        path = self.path(self.a_layer().name)
        what = self.random.randrange(3)
        self.log(f"  {('chmod', 'touch', 'touch with the same time')[what]} {os.path.basename(path)}")
        if what == 0:
            os.chmod(path, self.random.choice((0o600, 0o640, 0o644)))
        elif what == 1:
            os.utime(path)
        else:
            os.utime(path, ns=(os.stat(path).st_atime_ns, os.stat(path).st_mtime_ns))

    def step_clean(self):
        """Files that no chain needs."""
        for name in [n for n in self.disks if not self.used(n)]:
            self.log(f"  rm {name}")
            os.remove(self.path(name))
            del self.disks[name]
        if len(self.tops) > 2:
            self.log(f"  {self.tops[0]} is no machine any more")
            del self.tops[0]

    # -- backups ----------------------------------------------------------------------------------
    def settle(self):
        """A file is believed to be frozen only where it was older than 2 s when its backup began."""
        youngest = max(os.stat(self.path(name)).st_ctime for name in os.listdir(self.folder))
        while time.time() < youngest + 2.1:
            time.sleep(0.02)
        self.log("  all is settled")

    def step_backup(self, always=False):
        r = self.random
        args = ["--name", r.choice(("a", "b")), "--threads", r.choice(("1", "2"))]
        if r.random() < 0.6:
            args.append("--bitmap")
        if r.random() < 0.1:
            args.append("--full-read")
        tops = r.sample(self.tops, r.randrange(1, len(self.tops) + 1))
        if r.random() < 0.3:
            self.settle()
        if r.random() < 0.1:
            self.archives.drop_cache()
        if not always and r.random() < 0.2:
            self.archives.kill_one(self.folder, [*args, *tops], r.random(), r.random() < 0.5)
            if r.random() < 0.3:
                return None
        # Where no bitmap can be had, because of version 2, no secret or no qcow2, that is said, and the archive is whole.
        partly = "--bitmap" in args and any(self.kind in ("v2", "luks") or self.disks[top].kind == "raw" for top in tops)
        secrets = {name for name, disk in self.disks.items() if disk.luks}
        return self.archives.back_up(self.folder, args, tops, secrets, 3 if partly else 0)

    STEPS = ((step_write, 26), (step_again, 10), (step_crash, 2), (step_copy_on_read, 4), (step_resize, 4), (step_snapshot, 10),
             (step_overlay, 4), (step_commit, 5), (step_drop_top, 1), (step_rebase, 3), (step_bitmap, 4), (step_rename, 3),
             (step_copy, 4), (step_old_state, 3), (step_touch, 3), (step_clean, 3), (step_backup, 30))

    def step(self):
        """The name of the step; the number of the reference that it made, or None."""
        step = self.random.choices([s for s, _ in self.STEPS], [w for _, w in self.STEPS])[0]
        self.log(f"{step.__name__}: {' '.join(self.tops)}")
        return step.__name__, step(self)
