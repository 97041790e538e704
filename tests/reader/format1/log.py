"""The log and the state that it folds to (§7.2)."""
import json
import os
import re
import struct
from dataclasses import dataclass, field

from .keys import APPEND, BACKUP, FULL, KINDS, ROLES
from .wire import VERSION, Cursor, Damage, Refused, check_signature, hash32, need, read_file, sub, unseal

KEY, PUBLISH, ARCHIVE, REPLACE, CHECKPOINT = range(1, 6)
RIGHTS = {APPEND: {2, 3, 4, 5}, BACKUP: {2, 3, 4, 5, 6, 7, 8, 9, 10}, FULL: range(1 << 16)}
ENTRY_MAX = 256 << 20


@dataclass
class Key:
    role: int
    kind: int
    x25519: bytes
    ed25519: bytes
    label: bytes
    added: int
    removed: int = 0
    last_epoch: int = 0  # the current one when it was removed


class Archive:
    def __init__(self, c, entry, time):
        self.entry, self.time, begin = entry, time, c.at
        self.stored, self.name, self.host = c.u64(), c.str16(), c.str16()
        self.tags, summary = c.list16(c.str16), c.take(c.u32())
        self.body = c.data[begin:c.at]
        try:
            self.summary = json.loads(summary.decode())
        except (ValueError, RecursionError):
            raise Damage(f"{c.what}: the summary is not JSON") from None


@dataclass
class State:
    keys: dict = field(default_factory=dict)
    epochs: list = field(default_factory=list)        # data public keys
    packs: dict = field(default_factory=dict)         # id: (size, class)
    segments: dict = field(default_factory=dict)      # id: (size, entries)
    archives: dict = field(default_factory=dict)

    def sections(self):
        """The one body that a checkpoint of this state has."""
        keys = [slot + bytes([k.role, k.kind, k.removed]) + struct.pack("<H", k.last_epoch) + k.x25519 + k.ed25519 + struct.pack("<H", len(k.label)) + k.label
                + struct.pack("<q", k.added) for slot, k in self.keys.items()]
        packs = [id_ + struct.pack("<QB", *pack) for id_, pack in self.packs.items()]
        segments = [id_ + struct.pack("<QQ", *segment) for id_, segment in self.segments.items()]
        archives = [id_ + struct.pack("<Qq", a.entry, a.time) + a.body for id_, a in self.archives.items()]
        lists = ("<H", keys), ("<H", self.epochs), ("<I", packs), ("<I", segments), ("<I", archives)
        bodies = [struct.pack(count, len(items)) + b"".join(items) for count, items in lists]
        return struct.pack("<I", 5) + b"".join(struct.pack("<HI", *head) + body for *head, body in
                                               ((type_, len(body), body) for type_, body in enumerate(bodies, 1)))


class Log:
    def __init__(self, root, repository_id, keys):
        self.state, self.begun = State(), {}                         # begun: pack or segment: epochs when it was added
        self.void, self.checkpoints = [], [0]                        # numbers; 0 is none
        self.repository_id, self.keys = repository_id, keys
        before, self.start = bytes(32), None
        paths = self.paths(root)
        self.count = len(paths)
        for number, path in enumerate(paths):
            data = read_file(path, f"log entry {number}", ENTRY_MAX)
            self.read(number, data, before)
            before = hash32(data)
            self.start = self.start or before

    @staticmethod
    def paths(root):
        """The entries' files; their numbers must be 0, 1, 2 and so on."""
        log = os.path.join(root, "log")
        folders = sorted(name for name in os.listdir(log) if re.fullmatch("[0-9a-f]{13}", name))
        names = [(folder, name) for folder in folders for name in sorted(os.listdir(os.path.join(log, folder)))
                 if re.fullmatch("[0-9a-f]{3}", name)]
        need(names, "log: empty")
        for number, (folder, name) in enumerate(names):
            need(int(folder + name, 16) == number, f"log entry {number}: missing")
        return [os.path.join(log, *name) for name in names]

    def read(self, number, data, before):
        state, what = self.state, f"log entry {number}"
        c = Cursor(data, what)
        c.const(b"byre-log", "magic")
        c.const(VERSION, "version")
        epoch, length = c.u16(), c.u32()
        c.need(epoch == max(len(state.epochs) - 1, 0), "sealed in another epoch than the current one")
        c.need(c.u64() == number, "number is not that of the name")
        c.const(before, "hash of the entry before")
        c.need(c.u64() == self.checkpoints[-1], "names another newest checkpoint")
        signer_id, sealed, signature = c.take(16), c.take(length), c.take(64)
        c.end()

        def check(signer):
            need(signer, f"{what}: signed by a slot that the log does not know")
            check_signature(signer.ed25519, "byre log", self.repository_id + data[:-64], signature, what)

        signer = state.keys.get(signer_id)
        if number:
            check(signer)
        self.keys.need_epoch(epoch, state)
        key = sub(self.keys.metadata(epoch), "byre log")
        c = Cursor(unseal(key, self.repository_id + data[:80], sealed, what), what)
        if number and signer.removed:
            self.void.append(number)
            return
        type_, flags, time = c.u16(), c.u16(), c.i64()
        if number and type_ not in RIGHTS[signer.role]:
            self.void.append(number)
            return
        c.need(flags < 2, "reserved flags are set")
        self.apply(number, type_, flags, time, c)
        if not number:                                               # it says itself who signed it; the slot pins its hash
            founder = state.keys.get(signer_id)
            check(founder)
            two = len(state.keys) == len(state.epochs) == 1 and not founder.removed and founder.role == FULL
            need(two and type_ == KEY, f"{what}: does not just add its signer with role full, and name epoch 0")

    def apply(self, number, type_, flags, time, c):
        if type_ == KEY:
            c.list16(lambda: self.change(c, time))
        elif type_ == PUBLISH:
            self.add(c)
        elif type_ == ARCHIVE:
            self.add(c)
            insert(self.state.archives, c.take(32), Archive(c, number, time), c.what)
        elif type_ == REPLACE:
            for _ in range(c.u32()):
                self.state.segments.pop(c.take(16), None)
            self.add(c)
        elif type_ == CHECKPOINT:
            c.need(c.take(len(c.data) - c.at) == self.state.sections(), "the checkpoint is not the state before it")
            self.checkpoints.append(number)
        elif flags:
            return
        else:
            raise Refused(f"{c.what}: unknown type {type_}")
        c.end()

    def change(self, c, time):
        operation = c.u8()
        if operation == 1:
            slot, key = c.take(16), Key(c.u8(), c.u8(), c.take(32), c.take(32), c.str16(), time)
            c.need(key.role in ROLES and key.kind in KINDS, "unknown role or kind")
            insert(self.state.keys, slot, key, c.what)
        elif operation == 2:
            key = self.state.keys.get(c.take(16))
            c.need(key, "removes a key that was never added")
            if not key.removed:
                key.removed, key.last_epoch = 1, max(len(self.state.epochs) - 1, 0)
        else:
            c.need(operation == 3, "unknown operation")
            c.need(c.u16() == len(self.state.epochs), "not the next epoch")
            self.state.epochs.append(c.take(32))

    def add(self, c):
        for _ in range(c.u32()):
            id_, pack = c.take(16), (c.u64(), c.u8())
            c.need(pack[1] in (1, 2), "unknown class of pack")
            insert(self.state.packs, id_, pack, c.what)
            self.begun[id_] = len(self.state.epochs)
        for _ in range(c.u32()):
            id_ = c.take(16)
            insert(self.state.segments, id_, (c.u64(), c.u64()), c.what)
            self.begun[id_] = len(self.state.epochs)


def insert(table, id_, value, what):
    need(id_ not in table, f"{what}: {id_.hex()} is added, but it is there already")
    table[id_] = value
