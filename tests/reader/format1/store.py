"""Objects (§5), packs (§6) and the index (§7.1).

Not verified, for want of the functions: the XXH128 fields of trailers and footers. They guard nothing that the seals do not."""
import os
import struct
from dataclasses import dataclass
from functools import lru_cache

import zstandard

from .keys import FULL
from .wire import SEAL_OVERHEAD, VERSION, Cursor, Damage, Refused, dh, keyed, label, need, object_id, sub, unseal

DATA, METADATA = 1, 2
CHUNK, CONTENT_LEAF, CONTENT_NODE, PLACEMENT_LEAF, PLACEMENT_NODE, LAYER, ARCHIVE, PIECE, LIST = 1, 1, 2, 3, 4, 5, 6, 7, 128
TYPES = {DATA: {CHUNK}, METADATA: {*range(CONTENT_LEAF, PIECE + 1), *range(LIST + CONTENT_LEAF, LIST + ARCHIVE + 1)}}
OBJECT_MAX = {DATA: 1 << 20, METADATA: 1 << 17}
FRAME_MAX = BLOCK = 1 << 20
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
    first: int = 0    # object, in the pack


class Pack:
    """Header, footer and trailer of a pack; the frames are read one by one."""

    def __init__(self, root, id_, size, class_, config, keys):
        self.id, self.class_, self.config, self.keys = id_, class_, config, keys
        self.what = what = f"packs/{id_.hex()}"
        self.path = os.path.join(root, "packs", id_.hex())
        check_size(self.path, size, what)
        need(size >= 64 + 56, f"{what}: too short")
        epoch, public = self.read_header()
        c = Cursor(read_at(self.path, size - 56, 56, what), what + " footer")
        c.const(b"byretail", "magic")
        offset, length = c.u64(), c.u32()
        c.need(c.u16() == epoch, "another epoch than in the header")
        c.zero(2)
        c.const(id_, "pack id")
        c.take(16)                                                   # XXH128
        c.end()
        c.need(offset >= 64 and offset + length + 56 == size, "the trailer is not just before the footer")
        ad = label("byre trailer") + VERSION + struct.pack("<H", epoch) + config.id + id_ + struct.pack("<QI", offset, length)
        key = sub(keys.metadata(epoch, what), "byre trailer")
        trailer = unseal(key, ad, read_at(self.path, offset, length, what), what + " trailer")
        self.read_trailer(Cursor(trailer, what + " trailer"), offset)
        need(self.origins[0] == (id_, public, epoch), f"{what}: its first origin is not itself")

    def read_header(self):
        c = Cursor(read_at(self.path, 0, 64, self.what), self.what + " header")
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
        for _, public, _ in self.origins:
            c.need(self.class_ == DATA or public == bytes(32), "a metadata pack with a public key")
        self.frames = c.list16(lambda: self.read_frame_entry(c))
        count = c.u32()
        self.objects = c.take(OBJECT.size * count)
        c.end()
        at, first = 64, 0
        for number, frame in enumerate(self.frames):
            c.need(frame.offset == at, f"a gap before frame {number}")
            c.need(frame.origin or frame.number == number, f"frame {number}: not its number")
            at, frame.first = at + frame.stored, first
            first += frame.count
            c.need(first <= count, "more objects in frames than there are")
            plain = sum(length for _, _, length in self.objects_of(frame))
            c.need(plain == frame.plain, f"frame {number}: wrong plain length")
        c.need(at == end, "a gap before the trailer")
        c.need(first == count, "objects without a frame")
        for _, type_, length in OBJECT.iter_unpack(self.objects):
            c.need(type_ in TYPES[self.class_] and length <= OBJECT_MAX[self.class_], "object of wrong type or length")

    def read_frame_entry(self, c):
        offset, stored, plain, codec, origin, number, count = (c.u64(), c.u32(), c.u32(), c.u8(), c.u16(), c.u16(), c.u16())
        c.take(16)                                                   # XXH128
        c.need(codec <= 1 and origin < len(self.origins), "unknown codec or origin")
        c.need(stored >= SEAL_OVERHEAD and plain <= FRAME_MAX, "stored or plain length out of bounds")
        c.need(codec or stored == plain + SEAL_OVERHEAD, "stored length does not fit the plain length")
        return Frame(offset, stored, plain, codec, origin, number, count)

    def objects_of(self, frame):
        return OBJECT.iter_unpack(self.objects[OBJECT.size * frame.first:OBJECT.size * (frame.first + frame.count)])

    def frame_key(self, origin):
        id_, public, epoch = origin
        secrets = self.keys.secrets(epoch, self.what)
        if self.class_ == METADATA:
            return sub(secrets.metadata, "byre meta frame")
        if secrets.role != FULL:
            raise Refused("this key cannot read guest data: its role is not full")
        shared = dh(secrets.data_private, public, self.what)
        return keyed(secrets.data_secret, "byre data pack", shared + public + secrets.data_public + self.config.id + id_)

    def frame(self, number):
        """The plaintext of a frame."""
        frame, what = self.frames[number], f"{self.what} frame {number}"
        id_, _, epoch = origin = self.origins[frame.origin]
        ad = (label("byre frame") + VERSION + bytes([self.class_, frame.codec]) + struct.pack("<HH", epoch, 0)
              + self.config.id + id_ + struct.pack("<III", frame.number, frame.stored, frame.plain))
        plain = unseal(self.frame_key(origin), ad, read_at(self.path, frame.offset, frame.stored, what), what)
        if frame.codec:
            plain = decompress(plain, frame.plain, what)
        need(len(plain) == frame.plain, f"{what}: not its plain length")
        return plain

    def cut(self, number, plain):
        """The objects in a frame's plaintext: id, type, bytes; each held against its id."""
        at = 0
        for position, (id_, type_, length) in enumerate(self.objects_of(self.frames[number])):
            data = plain[at:at + length]
            at += length
            if object_id(self.keys.id_key, self.class_, type_, data) != id_:
                raise Damage(f"{self.what} frame {number} object {position}: not what its id says")
            yield id_, type_, data


class Index:
    """The union of the live segments: id prefix -> places in live packs (pack number << 32 | frame << 16 | object)."""

    def __init__(self, root, state, config, keys):
        self.root, self.config, self.keys = root, config, keys
        self.numbers = {pack: number for number, pack in enumerate(state.packs)}
        self.places = {}
        for segment, (size, entries) in state.segments.items():
            self.load(segment, size, entries)

    def load(self, id_, size, entries):
        what = f"segments/{id_.hex()}"
        path = os.path.join(self.root, "segments", id_.hex())
        check_size(path, size, what)
        header = read_at(path, 0, 64, what)
        c = Cursor(header, what)
        c.const(b"byreindx", "magic")
        c.const(VERSION, "version")
        epoch, packs = c.u16(), c.u32()
        c.need(c.u64() == entries, "number of entries is not that in the log")
        c.const(id_, "segment id")
        blocks = c.u32()
        c.zero(20)
        c.end()
        length = 16 * packs + 24 * entries
        c.need(blocks == -(-length // BLOCK), "number of blocks does not fit")
        c.need(size == 64 + length + blocks * SEAL_OVERHEAD, "size does not fit the header")
        key = sub(self.keys.metadata(epoch, what), "byre segment")
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

    def __init__(self, root, config, keys, state):
        self.keys, self.state = keys, state
        self.index = Index(root, state, config, keys)
        self.pack_ids = list(state.packs)
        self.pack = lru_cache(maxsize=32)(lambda id_: Pack(root, id_, *state.packs[id_], config, keys))
        self.frame = lru_cache(maxsize=16)(lambda id_, number: self.pack(id_).frame(number))

    def find(self, class_, types, id_):
        """Where an object is: pack, frame number, type, offset in the frame, length."""
        for place in self.index.find(id_):
            pack_id, number, position = self.pack_ids[place >> 32], place >> 16 & 0xffff, place & 0xffff
            if self.state.packs[pack_id][1] != class_:
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
        need(object_id(self.keys.id_key, class_, type_, data) == id_, f"object {id_.hex()}: not what its id says")
        return type_, data

    def chunk(self, id_):
        return self.read(DATA, {CHUNK}, id_)[1]

    def check_chunk(self, id_, length):
        need(self.find(DATA, {CHUNK}, id_)[4] == length, f"chunk {id_.hex()}: another length than where it is used")

    def metadata(self, type_, id_):
        """A metadata object, put together if it is a large one."""
        found, data = self.read(METADATA, {type_, LIST + type_}, id_)
        if found == type_:
            return data
        c = Cursor(data, f"object {id_.hex()}")
        total, limit = c.u64(), OBJECT_MAX[METADATA]
        c.need(total > limit, "a list of pieces for a small object")
        pieces = [c.take(32) for _ in range(-(-total // limit))]
        c.end()
        parts = [self.read(METADATA, {PIECE}, piece)[1] for piece in pieces]
        c.need(all(len(part) == limit for part in parts[:-1]) and sum(map(len, parts)) == total, "pieces of wrong length")
        return b"".join(parts)


def verify_packs(store):
    """Every object of every live pack, and that the index names these and no others. Returns what was counted."""
    counted = {"packs": 0, "frames": 0, "objects": 0, "frames not opened for want of the role full": 0}
    for number, id_ in enumerate(store.pack_ids):
        pack = store.pack(id_)
        counted["packs"] += 1
        for frame_number, frame in enumerate(pack.frames):
            for position, (object_, _, _) in enumerate(pack.objects_of(frame)):
                if (number << 32 | frame_number << 16 | position) not in store.index.find(object_):
                    raise Damage(f"{pack.what} frame {frame_number} object {position}: not in the index")
            counted["frames"] += 1
            counted["objects"] += frame.count
            if pack.class_ == DATA and store.keys.role != FULL:
                counted["frames not opened for want of the role full"] += 1
            else:
                for _ in pack.cut(frame_number, pack.frame(frame_number)):
                    pass
    places = sum(len(places) if isinstance(places, tuple) else 1 for places in store.index.places.values())
    need(places == counted["objects"], "index: names objects that are in no live pack")
    return counted
