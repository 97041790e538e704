"""The log and the state that it folds to (§7.2)."""
import json
import os
import re
from dataclasses import dataclass, field

from .keys import APPEND, BACKUP, FULL, KINDS, ROLES
from .wire import Cursor, Damage, Refused, check_signature, hash32, need, read_file, sub, unseal

KEY, PUBLISH, ARCHIVE, REPLACE, CHECKPOINT = range(1, 6)
RIGHTS = {APPEND: {2, 3, 4, 5}, BACKUP: {2, 3, 4, 5, 6, 7, 8, 9, 10}, FULL: range(1 << 16)}
ENTRY_MAX = 256 << 20


@dataclass
class Key:
    role: int
    kind: int
    removed: int
    x25519: bytes
    ed25519: bytes
    label: bytes
    added: int


@dataclass
class Archive:
    entry: int
    time: int
    stored: int
    name: bytes
    host: bytes
    tags: list
    summary: bytes


@dataclass
class State:
    keys: dict = field(default_factory=dict)
    epochs: list = field(default_factory=list)        # data public keys
    packs: dict = field(default_factory=dict)         # id: (size, class)
    segments: dict = field(default_factory=dict)      # id: (size, entries)
    archives: dict = field(default_factory=dict)


def insert(table, items, what):
    for id_, value in items:
        need(id_ not in table, f"{what}: {id_.hex()} is added, but it is there already")
        table[id_] = value


class Entry:
    """One entry. Made from its clear part; to be opened once its signature is known to be good."""

    def __init__(self, data, number, before):
        self.data, self.number, self.what = data, number, f"log entry {number}"
        c = Cursor(data, self.what)
        c.const(b"byre-log", "magic")
        c.const(b"\1\0", "version")
        self.epoch, length = c.u16(), c.u32()
        c.need(c.u64() == number, "number is not that of the name")
        c.const(before, "hash of the entry before")
        self.checkpoint, self.signer = c.u64(), c.take(16)
        self.sealed, self.signature = c.take(length), c.take(64)
        c.end()

    def check_signature(self, signer, repository_id):
        check_signature(signer.ed25519, "byre log", repository_id + self.data[:-64], self.signature, self.what)

    def open(self, repository_id, keys):
        key = sub(keys.metadata(self.epoch, self.what), "byre log")
        self.c = c = Cursor(unseal(key, repository_id + self.data[:80], self.sealed, self.what), self.what)
        self.type, flags, self.time = c.u16(), c.u16(), c.i64()
        c.need(flags & ~1 == 0, "reserved flags are set")
        self.may_skip, self.body = flags & 1, None
        parse = {KEY: self.parse_key, PUBLISH: self.parse_added, ARCHIVE: self.parse_archive,
                 REPLACE: self.parse_replace, CHECKPOINT: self.parse_checkpoint}.get(self.type)
        if parse:
            self.body = parse()
            c.end()

    def parse_change(self):
        c, operation = self.c, self.c.u8()
        if operation == 1:
            slot, role, kind, x25519, ed25519 = c.take(16), c.u8(), c.u8(), c.take(32), c.take(32)
            c.need(role in ROLES and kind in KINDS, "unknown role or kind")
            return operation, slot, Key(role, kind, 0, x25519, ed25519, c.str16(), self.time)
        if operation == 2:
            return operation, c.take(16), None
        c.need(operation == 3, "unknown operation")
        return operation, c.u16(), c.take(32)

    def parse_key(self):
        return self.c.list16(self.parse_change)

    def pack(self):
        id_, size, class_ = self.c.take(16), self.c.u64(), self.c.u8()
        self.c.need(class_ in (1, 2), "unknown class of pack")
        return id_, (size, class_)

    def segment(self):
        return self.c.take(16), (self.c.u64(), self.c.u64())

    def parse_added(self):
        return self.c.list32(self.pack), self.c.list32(self.segment)

    def rest_of_archive(self, entry, time):
        c = self.c
        archive = Archive(entry, time, c.u64(), c.str16(), c.str16(), c.list16(c.str16), c.blob32())
        try:
            json.loads(archive.summary.decode())
        except (ValueError, RecursionError):
            raise Damage(f"{self.what}: the summary is not JSON") from None
        return archive

    def parse_archive(self):
        return self.parse_added(), self.c.take(32), self.rest_of_archive(self.number, self.time)

    def parse_replace(self):
        return self.c.list32(lambda: self.c.take(16)), self.parse_added()

    def parse_checkpoint(self):
        """A checkpoint as a State, so that it can be compared with one."""
        sections = self.c.list32(lambda: (self.c.u16(), self.c.blob32()))
        self.c.need([section for section, _ in sections] == [1, 2, 3, 4, 5], "checkpoint with other sections than 1 to 5")
        state, outer = State(), self.c

        def key():
            c = self.c
            slot, role, kind, removed = c.take(16), c.u8(), c.u8(), c.u8()
            c.need(role in ROLES and kind in KINDS and removed <= 1, "unknown role, kind or state of a key")
            return slot, Key(role, kind, removed, c.take(32), c.take(32), c.str16(), c.i64())

        def archive():
            return self.c.take(32), self.rest_of_archive(self.c.u64(), self.c.i64())

        for section, body in sections:
            self.c = c = Cursor(body, f"{self.what} section {section}")
            if section == 2:
                state.epochs = c.list16(lambda: self.c.take(32))
            else:
                table = {1: state.keys, 3: state.packs, 4: state.segments, 5: state.archives}[section]
                insert(table, c.list16(key) if section == 1 else
                       c.list32({3: self.pack, 4: self.segment, 5: archive}[section]), c.what)
            c.end()
        self.c = outer
        return state


class Log:
    def __init__(self, root, repository_id, keys):
        self.state = State()
        self.void, self.checkpoints = [], []                         # entry numbers; (entry number, whether it was right)
        before, newest = bytes(32), 0
        self.count = 0
        for self.count, path in enumerate(self.paths(root), 1):
            number = self.count - 1
            data = read_file(path, f"log entry {number}", ENTRY_MAX)
            entry = Entry(data, number, before)
            need(entry.checkpoint == newest, f"{entry.what}: names another newest checkpoint")
            before = hash32(data)
            if number == 0:                                          # says itself who signed it; the slot pins its hash
                self.start = before
                entry.open(repository_id, keys)
                entry.check_signature(self.founder(entry), repository_id)
            else:
                signer = self.state.keys.get(entry.signer)
                need(signer, f"{entry.what}: signed by a slot that the log does not know")
                entry.check_signature(signer, repository_id)
                entry.open(repository_id, keys)
                if signer.removed or entry.type not in RIGHTS[signer.role]:
                    self.void.append(number)
                    continue
            self.apply(entry)
            need(entry.epoch < len(self.state.epochs), f"{entry.what}: its epoch has not begun")
            if entry.type == CHECKPOINT:
                newest = number

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

    @staticmethod
    def founder(entry):
        need(entry.epoch == 0 and entry.type == KEY, f"{entry.what}: not a key entry of epoch 0")
        need(any(change[:2] == (3, 0) for change in entry.body), f"{entry.what}: does not name epoch 0")
        founder = [key for operation, slot, key in entry.body if operation == 1 and slot == entry.signer]
        need(len(founder) == 1 and founder[0].role == FULL, f"{entry.what}: does not add its signer with role full")
        return founder[0]

    def apply(self, entry):
        state, body, what = self.state, entry.body, entry.what
        if entry.type == KEY:
            for operation, subject, value in body:
                if operation == 1:
                    insert(state.keys, [(subject, value)], what)
                elif operation == 2:
                    key = state.keys.get(subject)
                    need(key and not key.removed, f"{what}: removes a key that is not there")
                    key.removed = 1
                else:
                    need(subject == len(state.epochs), f"{what}: not the next epoch")
                    state.epochs.append(value)
        elif entry.type == PUBLISH:
            self.add(body, what)
        elif entry.type == ARCHIVE:
            added, id_, archive = body
            self.add(added, what)
            insert(state.archives, [(id_, archive)], what)
        elif entry.type == REPLACE:
            removed, added = body
            for segment in removed:
                need(state.segments.pop(segment, None), f"{what}: removes a segment that is not live")
            self.add(added, what)
        elif entry.type == CHECKPOINT:
            self.checkpoints.append((entry.number, body == state))
        elif not entry.may_skip:
            raise Refused(f"{what}: unknown type {entry.type}")

    def add(self, added, what):
        packs, segments = added
        insert(self.state.packs, packs, what)
        insert(self.state.segments, segments, what)
