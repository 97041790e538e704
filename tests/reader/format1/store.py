"""Objects (§5), packs (§6) and the index (§7.1)."""
import os
import struct
from dataclasses import dataclass
from functools import lru_cache

import zstandard

from .keys import FULL
from .wire import (SEAL_OVERHEAD, VERSION, Cursor, Damage, Refused, dh, fingerprint, keyed, label, need, object_id, sub,
                   unseal, xxh128)

DATA, METADATA = 1, 2
CHUNK, CONTENT_LEAF, CONTENT_NODE, PLACEMENT_LEAF, PLACEMENT_NODE, LAYER, ARCHIVE, PIECE, LIST = 1, 1, 2, 3, 4, 5, 6, 7, 128
TYPES = {DATA: {CHUNK}, METADATA: {*range(CONTENT_LEAF, PIECE + 1), *range(LIST + CONTENT_LEAF, LIST + ARCHIVE + 1)}}
OBJECT_MAX = {DATA: 1 << 20, METADATA: 1 << 17}
LARGE_MAX = 1 << 28
FRAME_MAX = 1 << 21
BLOCK = 1 << 20
OBJECT = struct.Struct("<32sBI")


def read_at(path, offset, length, what):
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            data = file.read(length)
    except FileNotFoundError:
        raise Damage(f"{what}: missing") from None
    need(len(data) == length, f"{what}: ends too early")
    return data


def check_size(path, size, what):
    try:
        need(os.stat(path).st_size == size, f"{what}: size is not that in the log")
    except FileNotFoundError:
        raise Damage(f"{what}: missing") from None


def decompress(stored, plain, what):
    """Exactly one zstd frame; in small bites, so that a bomb is noticed before it fills the memory."""
    stream, parts, total = zstandard.ZstdDecompressor().decompressobj(), [], 0
    try:
        for at in range(0, len(stored), 4096):
            parts.append(stream.decompress(stored[at:at + 4096]))
            total += len(parts[-1])
            need(total <= plain, f"{what}: longer than its plain length")
            if stream.eof:
                need(not stream.unused_data and at + 4096 >= len(stored), f"{what}: bytes behind the zstd frame")
    except zstandard.ZstdError as error:
        raise Damage(f"{what}: {error}") from None
    need(stream.eof, f"{what}: zstd frame ends too early")
    return b"".join(parts)


@dataclass
class Frame:
    offset: int
    stored: int
    plain: int
    codec: int
    origin: int
    number: int       # in the origin
    count: int        # of objects
    xxh128: bytes
    first: int = 0    # object, in the pack


class Pack:
    """Header, footer and trailer of a pack; the frames are read one by one."""

    def __init__(self, root, id_, size, class_, begun, config, keys):
        self.id, self.class_, self.begun, self.config, self.keys = id_, class_, begun, config, keys
        self.what = what = f"packs/{id_.hex()}"
        self.path = os.path.join(root, "packs", id_.hex())
        check_size(self.path, size, what)
        need(size >= 64 + 56, f"{what}: too short")
        header, footer = read_at(self.path, 0, 64, what), read_at(self.path, size - 56, 56, what)
        epoch, public = self.read_header(Cursor(header, what + " header"))
        need(epoch < begun, f"{what}: its epoch had not begun")
        c = Cursor(footer, what + " footer")
        c.const(b"byretail", "magic")
        offset, length = c.u64(), c.u32()
        c.need(c.u16() == epoch, "another epoch than in the header")
        c.zero(2)
        c.const(id_, "pack id")
        c.need(offset >= 64 and offset + length + 56 == size, "the trailer is not just before the footer")
        ad = label("byre trailer") + VERSION + struct.pack("<H", epoch) + config.id + id_ + struct.pack("<QI", offset, length)
        sealed = read_at(self.path, offset, length, what)
        c.const(xxh128(header + sealed + footer[:40]), "XXH128")
        c.end()
        trailer = unseal(sub(keys.metadata(epoch), "byre trailer"), ad, sealed, what + " trailer")
        self.read_trailer(Cursor(trailer, what + " trailer"), offset)
        need(self.origins[0] == (id_, public, epoch), f"{what}: its first origin is not itself")

    def read_header(self, c):
        c.const(b"byrepack", "magic")
        c.const(VERSION, "version")
        c.need(c.u8() == self.class_, "class is not that in the log")
        c.zero(1)
        epoch = c.u16()
        c.zero(2)
        c.const(self.id, "pack id")
        public = c.take(32)
        c.end()
        return epoch, public

    def read_trailer(self, c, end):
        self.origins = c.list16(lambda: (c.take(16), c.take(32), c.u16()))
        c.need(self.origins, "no origin")
        for _, public, epoch in self.origins:
            c.need(self.class_ == DATA or public == bytes(32), "a metadata pack with a public key")
            c.need(epoch < self.begun, "an origin of an epoch that had not begun")
        self.frames = c.list16(lambda: self.read_frame_entry(c))
        c.need(self.frames, "no frame")
        count = c.u32()
        self.objects = c.take(OBJECT.size * count)
        c.end()
        at, first = 64, 0
        for number, frame in enumerate(self.frames):
            c.need(frame.offset == at, f"a gap before frame {number}")
            c.need(frame.origin or frame.number == number, f"frame {number}: not its number")
            at, frame.first = at + frame.stored, first
            first += frame.count
            c.need(frame.count and first <= count, "a frame without objects, or more objects in frames than there are")
            plain = sum(length for _, _, length in self.objects_of(frame))
            c.need(plain == frame.plain, f"frame {number}: wrong plain length")
        c.need(at == end, "a gap before the trailer")
        c.need(first == count, "objects without a frame")
        for _, type_, length in OBJECT.iter_unpack(self.objects):
            c.need(type_ in TYPES[self.class_] and 1 <= length <= OBJECT_MAX[self.class_], "object of wrong type or length")

    def read_frame_entry(self, c):
        offset, stored, plain, codec, origin, number, count = (c.u64(), c.u32(), c.u32(), c.u8(), c.u16(), c.u16(), c.u16())
        c.need(codec <= 1 and origin < len(self.origins), "unknown codec or origin")
        c.need(stored >= SEAL_OVERHEAD and plain <= FRAME_MAX, "stored or plain length out of bounds")
        fits = stored < plain + SEAL_OVERHEAD if codec else stored == plain + SEAL_OVERHEAD
        c.need(fits, "stored length does not fit the plain length")
        return Frame(offset, stored, plain, codec, origin, number, count, c.take(16))

    def objects_of(self, frame):
        return OBJECT.iter_unpack(self.objects[OBJECT.size * frame.first:OBJECT.size * (frame.first + frame.count)])

    def frame_key(self, origin):
        id_, public, epoch = origin
        secrets = self.keys.secrets(epoch)
        if self.class_ == METADATA:
            return sub(secrets.metadata, "byre meta frame")
        if secrets.role != FULL:
            raise Refused("this key cannot read guest data: its role is not full")
        shared = dh(secrets.data_private, public, self.what)
        return keyed(secrets.data_secret, "byre data pack", shared + public + secrets.data_public + self.config.id + id_)

    def stored(self, number):
        frame = self.frames[number]
        return read_at(self.path, frame.offset, frame.stored, f"{self.what} frame {number}")

    def frame(self, number):
        """The plaintext of a frame."""
        frame, what = self.frames[number], f"{self.what} frame {number}"
        id_, _, epoch = origin = self.origins[frame.origin]
        ad = (label("byre frame") + VERSION + bytes([self.class_, frame.codec]) + struct.pack("<HH", epoch, 0)
              + self.config.id + id_ + struct.pack("<III", frame.number, frame.stored, frame.plain))
        plain = unseal(self.frame_key(origin), ad, self.stored(number), what)
        if frame.codec:
            plain = decompress(plain, frame.plain, what)
        need(len(plain) == frame.plain, f"{what}: not its plain length")
        return plain


class Index:
    """The union of the live segments: id prefix -> places in live packs (pack number << 32 | frame << 16 | object)."""

    def __init__(self, root, log, config, keys):
        self.root, self.config, self.keys = root, config, keys
        self.numbers = {pack: number for number, pack in enumerate(log.state.packs)}
        self.places = {}
        for segment, (size, entries) in log.state.segments.items():
            self.load(segment, size, entries, log.begun[segment])

    def load(self, id_, size, entries, begun):
        what = f"segments/{id_.hex()}"
        path = os.path.join(self.root, "segments", id_.hex())
        check_size(path, size, what)
        header = read_at(path, 0, 64, what)
        c = Cursor(header, what)
        c.const(b"byreindx", "magic")
        c.const(VERSION, "version")
        epoch, packs = c.u16(), c.u32()
        c.need(epoch < begun, "its epoch had not begun")
        c.need(packs and entries, "no pack or no entry")
        c.need(c.u64() == entries, "number of entries is not that in the log")
        c.const(id_, "segment id")
        blocks = c.u32()
        c.zero(20)
        c.end()
        length = 16 * packs + 24 * entries
        c.need(blocks == -(-length // BLOCK), "number of blocks does not fit")
        c.need(size == 64 + length + blocks * SEAL_OVERHEAD, "size does not fit the header")
        key = sub(self.keys.metadata(epoch), "byre segment")
        plain = []
        for number in range(blocks):
            part = min(BLOCK, length - number * BLOCK) + SEAL_OVERHEAD
            sealed = read_at(path, 64 + number * (BLOCK + SEAL_OVERHEAD), part, what)
            ad = label("byre segment") + self.config.id + header + struct.pack("<I", number)
            plain.append(unseal(key, ad, sealed, f"{what} block {number}"))
        plain = b"".join(plain)
        numbers = [self.numbers.get(plain[at:at + 16]) for at in range(0, 16 * packs, 16)]
        before = ()
        for entry in struct.iter_unpack("<16sIHH", plain[16 * packs:]):
            prefix, pack, frame, position = entry
            if not before < entry or pack >= packs:
                raise Damage(f"{what}: entries not in order, or of no pack")
            before = entry
            if numbers[pack] is not None:
                self.insert(prefix, numbers[pack] << 32 | frame << 16 | position)

    def insert(self, prefix, place):
        places = self.places.setdefault(prefix, place)               # mostly there is one: a number, not a tuple
        if places != place:
            places = places if isinstance(places, tuple) else (places,)
            self.places[prefix] = places if place in places else places + (place,)

    def find(self, id_):
        places = self.places.get(id_[:16], ())
        return places if isinstance(places, tuple) else (places,)


class Store:
    """Objects by their id."""

    def __init__(self, root, config, keys, log):
        self.config, self.keys, self.state = config, keys, log.state
        self.index = Index(root, log, config, keys)
        self.pack_ids = list(self.state.packs)
        self.fingerprints = {}                                       # of chunks that verify_packs has read
        self.pack = lru_cache(maxsize=32)(lambda id_: Pack(root, id_, *self.state.packs[id_], log.begun[id_], config, keys))
        self.frame = lru_cache(maxsize=16)(lambda id_, number: self.pack(id_).frame(number))

    def find(self, class_, types, id_):
        """Where an object is: pack, frame number, type, offset in the frame, length."""
        for place in self.index.find(id_):
            pack_id, number, position = self.pack_ids[place >> 32], place >> 16 & 0xffff, place & 0xffff
            if self.state.packs[pack_id][1] != class_:
                continue
            if (pack_id, id_) in self.state.lost:
                continue
            pack = self.pack(pack_id)
            there = number < len(pack.frames) and position < pack.frames[number].count
            need(there, f"index: names an object that {pack.what} does not have")
            at = 0
            for passed, (found, type_, length) in enumerate(pack.objects_of(pack.frames[number])):
                if passed == position:
                    break
                at += length
            if found == id_ and type_ in types:
                return pack, number, type_, at, length
        raise Damage(f"object {id_.hex()}: not in the index")

    def read(self, class_, types, id_):
        pack, number, type_, at, length = self.find(class_, types, id_)
        data = self.frame(pack.id, number)[at:at + length]
        need(object_id(self.keys.id_key, self.config.sha256_ids, class_, type_, data) == id_, f"object {id_.hex()}: not what its id says")
        return type_, data

    def chunk(self, id_):
        return self.read(DATA, {CHUNK}, id_)[1]

    def check_chunk(self, id_, length, fingerprint_=None):
        need(self.find(DATA, {CHUNK}, id_)[4] == length, f"chunk {id_.hex()}: another length than where it is used")
        need(fingerprint_ in (None, self.fingerprints.get(id_, fingerprint_)), f"chunk {id_.hex()}: another fingerprint")

    def check_piece(self, id_, length):
        need(len(self.read(METADATA, {PIECE}, id_)[1]) == length, f"piece {id_.hex()}: another length than where it is used")

    def metadata(self, type_, id_):
        """A metadata object, put together if it is a large one."""
        found, data = self.read(METADATA, {type_, LIST + type_}, id_)
        if found == type_:
            return data
        c = Cursor(data, f"object {id_.hex()}")
        total, limit = c.u64(), OBJECT_MAX[METADATA]
        c.need(limit < total <= LARGE_MAX, "a list of pieces for an object that is small, or too large")
        pieces = [c.take(32) for _ in range(-(-total // limit))]
        c.end()
        parts = [self.read(METADATA, {PIECE}, piece)[1] for piece in pieces]
        c.need(all(len(part) == limit for part in parts[:-1]) and sum(map(len, parts)) == total, "pieces of wrong length")
        return b"".join(parts)


def verify_packs(store):
    """Every object of every live pack, and that the index names these and no others. Returns what was counted."""
    counted = {"packs": 0, "frames": 0, "objects": 0, "frames not opened for want of the role full": 0}
    id_key, _, fingerprint_key = store.keys.life_long
    for number, id_ in enumerate(store.pack_ids):
        pack = store.pack(id_)
        counted["packs"] += 1
        for frame_number, frame in enumerate(pack.frames):
            what = f"{pack.what} frame {frame_number}"
            if any((id_, object_) in store.state.lost for object_, _, _ in pack.objects_of(frame)):
                counted["frames with lost objects"] = counted.get("frames with lost objects", 0) + 1
                counted["objects"] += frame.count
                continue
            need(xxh128(pack.stored(frame_number)) == frame.xxh128, f"{what}: wrong XXH128")
            counted["frames"] += 1
            counted["objects"] += frame.count
            readable = pack.class_ == METADATA or store.keys.role == FULL
            counted["frames not opened for want of the role full"] += not readable
            plain, at = pack.frame(frame_number) if readable else None, 0
            for position, (object_, type_, length) in enumerate(pack.objects_of(frame)):
                listed = (number << 32 | frame_number << 16 | position) in store.index.find(object_)
                need(listed, f"{what} object {position}: not in the index")
                if readable:
                    data, at = plain[at:at + length], at + length
                    found = object_id(id_key, store.config.sha256_ids, pack.class_, type_, data)
                    need(found == object_, f"{what} object {position}: not what its id says")
                    if pack.class_ == DATA:
                        store.fingerprints[object_] = fingerprint(fingerprint_key, data)
    places = sum(len(places) if isinstance(places, tuple) else 1 for places in store.index.places.values())
    need(places == counted["objects"], "index: names objects that are in no live pack")
    return counted
