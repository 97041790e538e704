# SPDX-License-Identifier: BSD-2-Clause
"""A qcow2 reader of its own for the recipes, to hold a restored layer against its source without the
key, and a way to poke fields. Nothing in here comes from the program under test."""
import os
import struct
import zlib
from collections import Counter

MASK = 0x00FFFFFFFFFFFE00
BITMAPS, LUKS, DATA_FILE, BACKING_FORMAT = 0x23852875, 0x0537BE77, 0x44415441, 0xE2792ACA


def up(value, to):
    return (value + to - 1) // to * to


class Image:
    def __init__(self, path, mode="rb"):
        self.path, self.f = path, open(path, mode)
        self.size_of_file = os.fstat(self.f.fileno()).st_size
        (self.magic, self.version, self.backing_offset, self.backing_size, self.cluster_bits, self.size,
         self.crypt, self.l1_size, self.l1_offset, self.rt_offset, self.rt_clusters, self.nb_snapshots,
         self.snapshots_offset) = struct.unpack(">4sIQIIQIIQQIIQ", self.at(0, 72))
        self.incompatible = self.compatible = self.autoclear = 0
        self.refcount_order, self.header_length = 4, 72
        if self.version >= 3:
            (self.incompatible, self.compatible, self.autoclear, self.refcount_order,
             self.header_length) = struct.unpack(">QQQII", self.at(72, 32))
        self.cs = 1 << self.cluster_bits
        self.extended = bool(self.incompatible & 16)
        self.entry = 16 if self.extended else 8
        self.l2n = self.cs // self.entry
        self.backing = self.at(self.backing_offset, self.backing_size) if self.backing_offset else None

    def at(self, offset, length):
        self.f.seek(offset)
        data = self.f.read(length)
        return data + bytes(length - len(data))

    def get(self, offset, fmt="Q"):
        return struct.unpack(">" + fmt, self.at(offset, struct.calcsize(">" + fmt)))[0]

    def put(self, offset, fmt, *values):
        self.f.seek(offset)
        self.f.write(struct.pack(">" + fmt, *values))
        self.f.flush()

    def raw(self, offset, data):
        self.f.seek(offset)
        self.f.write(data)
        self.f.flush()

    # -- header extensions -------------------------------------------------------------------------
    def extensions(self):
        """[(type, data, offset of the data)]"""
        out, offset = [], self.header_length
        end = self.backing_offset or self.cs
        while offset + 8 <= end:
            kind, length = struct.unpack(">II", self.at(offset, 8))
            if kind == 0:
                break
            out.append((kind, self.at(offset + 8, length), offset + 8))
            offset += 8 + up(length, 8)
        return out

    def extension(self, kind):
        for k, data, offset in self.extensions():
            if k == kind:
                return data, offset
        return None, None

    def write_extensions(self, extensions, header_length=None, header_tail=b""):
        """Lays the header out again, the backing name behind the extensions."""
        backing, length = self.backing, header_length or self.header_length
        keep = self.at(104, max(0, self.header_length - 104))
        data = b"".join(struct.pack(">II", k, len(d)) + d.ljust(up(len(d), 8), b"\0") for k, d in extensions)
        data += bytes(8)
        end = length + len(data) + len(backing or b"")
        assert end <= self.cs, "no room"
        if self.version >= 3:
            tail = (keep + bytes(length))[:length - 104]
            if header_tail:
                tail = tail[:length - 104 - len(header_tail)] + header_tail
            self.put(100, "I", length)
            self.raw(104, tail)
        self.raw(length, data)
        if backing is not None:
            self.put(8, "Q", length + len(data))
            self.raw(length + len(data), backing)
        self.__init__(self.path, "r+b")

    def set_backing(self, name):
        self.backing = name
        self.put(16, "I", len(name))
        extensions = [(k, d) for k, d, _ in self.extensions()]
        self.write_extensions(extensions)

    # -- snapshots and views -----------------------------------------------------------------------
    def snapshots(self):
        out, offset = [], self.snapshots_offset
        for _ in range(self.nb_snapshots):
            start = offset
            (l1, n, idl, namel, sec, nsec, clock, vm, extra_length) = struct.unpack(">QIHHIIQII", self.at(offset, 40))
            offset += 40
            extra = self.at(offset, extra_length)
            offset += extra_length
            snap = dict(at=start, extra_at=start + 40, l1=l1, l1_size=n, sec=sec, nsec=nsec, clock=clock, vm32=vm,
                        extra=extra, id=self.at(offset, idl), name=self.at(offset + idl, namel))
            offset = up(offset + idl + namel, 8)
            snap["end"] = offset
            snap["vm"] = struct.unpack(">Q", extra[:8])[0] if extra_length >= 8 else vm
            snap["size"] = struct.unpack(">Q", extra[8:16])[0] if extra_length >= 16 else self.size
            snap["icount"] = struct.unpack(">Q", extra[16:24])[0] if extra_length >= 24 else (1 << 64) - 1
            snap["tail"] = extra[24:]
            out.append(snap)
        return out

    def rewrite_snapshots(self, change):
        """The snapshot table at the end of the file, after change(snap) on each."""
        table = b""
        for s in self.snapshots():
            change(s)
            table += struct.pack(">QIHHIIQII", s["l1"], s["l1_size"], len(s["id"]), len(s["name"]), s["sec"],
                                 s["nsec"], s["clock"], s["vm32"], len(s["extra"]))
            table += s["extra"] + s["id"] + s["name"]
            table = table.ljust(up(len(table), 8), b"\0")
        at = self.append(table)
        self.put(64, "Q", at)
        self.__init__(self.path, "r+b")

    def append(self, data):
        """Clusters of their own at the end of the file. Their refcounts are for qemu-img check -r."""
        at = up(os.stat(self.path).st_size, self.cs)
        self.raw(at, data.ljust(up(len(data) or 1, self.cs), b"\0"))
        return at

    def l1(self, offset, count):
        return struct.unpack(f">{count}Q", self.at(offset, 8 * count)) if count else ()

    def l2(self, offset):
        """[(index, word, bitmap)] of what is not zero."""
        data = self.at(offset, self.cs)
        words = struct.unpack(f">{self.cs // 8}Q", data)
        if self.extended:
            return [(i // 2, words[i], words[i + 1]) for i in range(0, len(words), 2) if words[i] or words[i + 1]]
        return [(i, w, 0) for i, w in enumerate(words) if w]

    def l2_address(self, guest, l1_offset=None):
        """Where the L2 entry of a guest offset is in the file."""
        index = guest >> self.cluster_bits
        table = self.get((l1_offset or self.l1_offset) + 8 * (index // self.l2n)) & MASK
        assert table, "no L2 table"
        return table + self.entry * (index % self.l2n)

    def compressed(self, word):
        x = 62 - (self.cluster_bits - 8)
        offset = word & ((1 << x) - 1)
        sectors = (word >> x) & ((1 << (62 - x)) - 1)
        return offset, (sectors + 1) * 512 - offset % 512

    def has_data_file(self):
        return bool(self.incompatible & 4)

    def classify(self, word, bitmap):
        """(class, host offset or None, bitmap)"""
        if word >> 62 & 1:
            return "compressed", None, 0
        offset = word & MASK
        if self.extended:
            if offset or (self.has_data_file() and word >> 63):
                return "sub", offset, bitmap
            return ("sub-none", None, bitmap) if bitmap else ("none", None, 0)
        if word & 1:
            return ("zero-alloc", offset, 0) if offset or (self.has_data_file() and word >> 63) else ("zero", None, 0)
        if offset or (self.has_data_file() and word >> 63):
            return "data", offset, 0
        return "none", None, 0

    def views(self):
        out = [("active", self.l1_offset, self.l1_size)]
        return out + [(f"snapshot {i}", s["l1"], s["l1_size"]) for i, s in enumerate(self.snapshots())]

    def entries(self, l1_offset, l1_size):
        for i, e in enumerate(self.l1(l1_offset, l1_size)):
            if e & MASK:
                for j, word, bitmap in self.l2(e & MASK):
                    yield i * self.l2n + j, word, bitmap

    # -- bitmaps -----------------------------------------------------------------------------------
    def bitmaps(self):
        data, _ = self.extension(BITMAPS)
        if data is None:
            return []
        count, _, size, offset = struct.unpack(">IIQQ", data)
        out = []
        for _ in range(count):
            table, n, flags, kind, bits, namel, extral = struct.unpack(">QIIBBHI", self.at(offset, 24))
            name = self.at(offset + 24 + extral, namel)
            out.append(dict(at=offset, table=table, n=n, flags=flags, type=kind, bits=bits, name=name))
            offset += up(24 + extral + namel, 8)
        return out

    def bitmap_bits(self, bitmap):
        out = []
        for e in self.l1(bitmap["table"], bitmap["n"]):
            out.append(self.at(e & MASK, self.cs) if e & MASK else (b"\xff" if e & 1 else b"\0") * self.cs)
        need = up(-(-self.size // (1 << bitmap["bits"])), 8) // 8
        bits = bytearray(b"".join(out)[:need])
        extra = -(-self.size // (1 << bitmap["bits"])) % 8
        if bits and extra:
            bits[-1] &= (1 << extra) - 1
        return bytes(bits)

    # -- refcounts ---------------------------------------------------------------------------------
    def stored_refcounts(self):
        per = self.cs * 8 >> self.refcount_order
        width, out = 1 << self.refcount_order, {}
        for i, e in enumerate(self.l1(self.rt_offset, self.rt_clusters * self.cs // 8)):
            if not e & MASK:
                continue
            data = self.at(e & MASK, self.cs)
            if not any(data):
                continue
            for j in range(per):
                if width >= 8:
                    v = int.from_bytes(data[j * width // 8:(j + 1) * width // 8], "big")
                else:
                    v = data[j * width // 8] >> (j * width % 8) & ((1 << width) - 1)
                if v:
                    out[i * per + j] = v
        return out

    def counted_refcounts(self):
        c = Counter()

        def span(offset, length):
            for k in range(offset // self.cs, (offset + length + self.cs - 1) // self.cs):
                c[k] += 1

        span(0, self.cs)
        span(self.rt_offset, self.rt_clusters * self.cs)
        for e in self.l1(self.rt_offset, self.rt_clusters * self.cs // 8):
            if e & MASK:
                span(e & MASK, self.cs)
        for _, offset, n in self.views():
            if n:
                span(offset, n * 8)
            for e in self.l1(offset, n):
                if not e & MASK:
                    continue
                span(e & MASK, self.cs)
                for _, word, _bitmap in self.l2(e & MASK):
                    if word >> 62 & 1:
                        o, n2 = self.compressed(word)
                        span(o, n2)
                    elif word & MASK and not self.has_data_file():
                        span(word & MASK, self.cs)
        if self.nb_snapshots:
            snaps = self.snapshots()
            span(self.snapshots_offset, snaps[-1]["end"] - self.snapshots_offset)
        data, _ = self.extension(LUKS)
        if data:
            span(*struct.unpack(">QQ", data))
        data, _ = self.extension(BITMAPS)
        if data:
            _, _, size, offset = struct.unpack(">IIQQ", data)
            span(offset, size)
            for b in self.bitmaps():
                span(b["table"], b["n"] * 8)
                for e in self.l1(b["table"], b["n"]):
                    if e & MASK:
                        span(e & MASK, self.cs)
        return dict(c)


def inflate(image, word):
    offset, length = image.compressed(word)
    d = zlib.decompressobj(-15)
    return d.decompress(image.at(offset, length), image.cs)


def holes_or_zero(image, offset):
    return not any(image.at(offset, image.cs))


def differences(a, b, bitmaps_dropped=False, ignore=None):
    """What a restored layer b lacks of its source a, as messages. Bitmaps whose names begin with ${ignore} may differ."""
    out = []

    def same(what, x, y):
        if x != y:
            out.append(f"{what}: {x!r} became {y!r}")

    for field in ("version", "cluster_bits", "size", "crypt", "refcount_order", "header_length", "compatible",
                  "nb_snapshots", "l1_size"):
        same(field, getattr(a, field), getattr(b, field))
    same("incompatible", a.incompatible & ~1, b.incompatible)
    valid = a.autoclear & 3
    if bitmaps_dropped or a.extension(BITMAPS)[0] is None:
        valid &= ~1
    same("autoclear", valid, b.autoclear)
    if a.version >= 3:
        same("header bytes", a.at(104, a.header_length - 104), b.at(104, b.header_length - 104))
    # What the program may move or rename.
    moved = (BITMAPS, LUKS, DATA_FILE, BACKING_FORMAT)
    same("extensions", [(k, d) for k, d, _ in a.extensions() if k not in moved],
         [(k, d) for k, d, _ in b.extensions() if k not in moved])
    luks_a, luks_b = a.extension(LUKS)[0], b.extension(LUKS)[0]
    same("LUKS extension", bool(luks_a), bool(luks_b))
    if luks_a and luks_b:
        (oa, na), (ob, nb) = struct.unpack(">QQ", luks_a), struct.unpack(">QQ", luks_b)
        same("LUKS header length", na, nb)
        if a.at(oa, na) != b.at(ob, nb):
            out.append("LUKS header differs")

    for x, y in zip(a.snapshots(), b.snapshots()):
        for field in ("id", "name", "sec", "nsec", "clock", "vm", "size", "icount", "tail", "l1_size"):
            same(f"snapshot {x['id']!r} {field}", x[field], y[field])
        if len(y["extra"]) < len(x["extra"]) or (b.version >= 3 and len(y["extra"]) < 16):
            out.append(f"snapshot {x['id']!r}: {len(y['extra'])} bytes of extra data")

    stale = {}
    used = set()
    for (name, oa, na), (_, ob, nb) in zip(a.views(), b.views()):
        ea = {k: (w, m) for k, w, m in a.entries(oa, na) if a.classify(w, m)[0] != "none"}
        eb = {k: (w, m) for k, w, m in b.entries(ob, nb) if b.classify(w, m)[0] != "none"}
        for k in sorted(ea.keys() ^ eb.keys())[:3]:
            out.append(f"{name}, cluster {k}: {'lost' if k in ea else 'appeared'}")
        for k in ea.keys() & eb.keys():
            ca, cb = a.classify(*ea[k]), b.classify(*eb[k])
            if ca != cb:
                out.append(f"{name}, cluster {k}: {ca} became {cb}")
                continue
            if ca[0] == "compressed" and not a.incompatible & 8:
                if inflate(a, ea[k][0]) != inflate(b, eb[k][0]):
                    out.append(f"{name}, cluster {k}: its stream differs")
            elif ca[0] == "data" and not a.has_data_file():
                used.add(ca[1])
                if a.at(ca[1], a.cs) != b.at(ca[1], b.cs):
                    out.append(f"{name}, cluster {k}: its bytes differ")
            elif ca[0] == "sub" and not a.has_data_file():
                sub = a.cs // 32
                for i in range(32):
                    if ca[2] >> i & 1:
                        used.add(ca[1] + i * sub)
                        if a.at(ca[1] + i * sub, sub) != b.at(ca[1] + i * sub, sub):
                            out.append(f"{name}, cluster {k}, subcluster {i}: its bytes differ")
                    else:
                        stale[ca[1] + i * sub] = sub
            elif ca[0] == "zero-alloc" and not a.has_data_file():
                stale[ca[1]] = a.cs
            if len(out) > 20:
                return out
    for offset, length in stale.items():
        if offset not in used and any(b.at(offset, length)):
            out.append(f"stale bytes came back at {offset}")

    counted, stored = b.counted_refcounts(), b.stored_refcounts()
    if counted != stored:
        wrong = sorted(k for k in counted.keys() | stored.keys() if counted.get(k) != stored.get(k))
        out += [f"cluster at {k * b.cs}: refcount {stored.get(k, 0)}, not {counted.get(k, 0)}" for k in wrong[:5]]
    for name, offset, n in b.views():
        for e in b.l1(offset, n):
            if e & MASK:
                want = name == "active" and counted.get((e & MASK) // b.cs) == 1
                if bool(e >> 63) != want:
                    out.append(f"{name}: COPIED of L2 at {e & MASK} is {e >> 63}")
                if name == "active":
                    for _, w, m in b.l2(e & MASK):
                        if w >> 62 & 1:
                            if w >> 63:
                                out.append("a compressed cluster is COPIED")
                        elif w & MASK and not b.has_data_file() and bool(w >> 63) != (counted[(w & MASK) // b.cs] == 1):
                            out.append(f"COPIED of the cluster at {w & MASK} is {w >> 63}")
        if len(out) > 20:
            return out
    end = up(b.size_of_file, b.cs) // b.cs
    if end < 1 << 17:
        for k in range(end):
            if k not in counted and not holes_or_zero(b, k * b.cs):
                out.append(f"nothing refers to the bytes at {k * b.cs}")
                break
    if b.size_of_file % b.cs:
        out.append("the file ends within a cluster")

    if bitmaps_dropped:
        if b.extension(BITMAPS)[0] is not None:
            out.append("bitmaps came back")
    elif a.autoclear & 1:
        ba, bb = ([x for x in y.bitmaps() if not ignore or not x["name"].startswith(ignore)] for y in (a, b))
        same("bitmaps", [(x["name"], x["flags"], x["type"], x["bits"]) for x in ba],
             [(x["name"], x["flags"], x["type"], x["bits"]) for x in bb])
        for x, y in zip(ba, bb):
            if a.bitmap_bits(x) != b.bitmap_bits(y):
                out.append(f"bitmap {x['name']!r}: its bits differ")
    return out
