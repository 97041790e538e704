"""The log and the state that it folds to (§7.2)."""
import copy
import json
import os
import re
import struct
from dataclasses import dataclass, field

from .keys import APPEND, BACKUP, FULL, KINDS, ROLES
from .wire import VERSION, Cursor, Damage, Refused, check_signature, hash32, need, read_file, sub, unseal

KEY, PUBLISH, ARCHIVE, REPLACE, CHECKPOINT, FORGET, CONDEMN, TAG, HOLD, LOST, RESET = range(1, 12)
MAY_APPEND = {PUBLISH, ARCHIVE, REPLACE, CHECKPOINT}
RIGHTS = {APPEND: MAY_APPEND, BACKUP: MAY_APPEND | {FORGET, CONDEMN, TAG, HOLD, LOST}, FULL: range(1 << 16)}
PACK, SEGMENT = range(2)
ENTRY_MAX = 256 << 20
RESET_BIT = 1 << 63                                                    # in the field of the newest checkpoint


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
        self.entry, self.time = entry, time
        self.stored, self.name, self.host = c.u64(), c.str16(), c.str16()
        self.tags, summary = c.list16(c.str16), c.take(c.u32())
        self.summary_bytes = summary

    def body(self):
        """As a checkpoint has it, behind id, number and time."""
        texts = b"".join(str16(text) for text in (self.name, self.host))
        tags = struct.pack("<H", len(self.tags)) + b"".join(map(str16, self.tags))
        return struct.pack("<Q", self.stored) + texts + tags + struct.pack("<I", len(self.summary_bytes)) + self.summary_bytes

    @property
    def summary(self):
        try:
            return json.loads(self.summary_bytes.decode())
        except (ValueError, RecursionError):
            raise Damage(f"entry {self.entry}: the summary is not JSON") from None


@dataclass
class State:
    keys: dict = field(default_factory=dict)
    epochs: list = field(default_factory=list)        # data public keys
    packs: dict = field(default_factory=dict)         # id: (size, class)
    published: dict = field(default_factory=dict)     # pack: time, where a publish entry added it
    segments: dict = field(default_factory=dict)      # id: (size, entries)
    archives: dict = field(default_factory=dict)
    condemned: dict = field(default_factory=dict)     # (kind, id): nothing
    lost: dict = field(default_factory=dict)          # (pack, object id): nothing

    def sections(self):
        """The one body that a checkpoint of this state has."""
        keys = [slot + bytes([k.role, k.kind, k.removed]) + struct.pack("<H", k.last_epoch) + k.x25519 + k.ed25519 + struct.pack("<H", len(k.label)) + k.label
                + struct.pack("<q", k.added) for slot, k in self.keys.items()]
        packs = [id_ + struct.pack("<QBq", *pack, self.published.get(id_, 0)) for id_, pack in self.packs.items()]
        segments = [id_ + struct.pack("<QQ", *segment) for id_, segment in self.segments.items()]
        archives = [id_ + struct.pack("<Qq", a.entry, a.time) + a.body() for id_, a in self.archives.items()]
        condemned = [bytes([kind]) + id_ for kind, id_ in self.condemned]
        lost = [pack + id_ for pack, id_ in self.lost]
        lists = (("<H", keys), ("<H", self.epochs), ("<I", packs), ("<I", segments), ("<I", archives), ("<I", condemned), ("<I", lost))
        bodies = [struct.pack(count, len(items)) + b"".join(items) for count, items in lists]
        return struct.pack("<I", len(lists)) + b"".join(struct.pack("<HI", *head) + body for *head, body in
                                               ((type_, len(body), body) for type_, body in enumerate(bodies, 1)))

    @classmethod
    def parse(cls, c):
        """The state that sections say."""
        state, item = cls(), lambda form: struct.unpack("<" + form, c.take(struct.calcsize("<" + form)))
        c.need(c.u32() == 7, "another number of sections")

        def section(type_, count, add):
            c.need(c.u16() == type_, "sections out of order")
            end = c.u32() + c.at
            for _ in range(count()):
                add()
            c.need(c.at == end, "a section of another length")

        def add_key():
            slot, role, kind, removed, last_epoch = c.take(16), *item("BBBH")
            key = Key(role, kind, c.take(32), c.take(32), c.str16(), c.i64(), removed, last_epoch)
            c.need(role in ROLES and kind in KINDS and removed < 2, "unknown role or kind")
            insert(state.keys, slot, key, c.what)

        def add_pack():
            id_, (size, class_, published) = c.take(16), item("QBq")
            c.need(class_ in (1, 2), "unknown class of pack")
            insert(state.packs, id_, (size, class_), c.what)
            state.published.update({id_: published} if published else {})

        def add_archive():
            id_, (entry, time) = c.take(32), item("Qq")
            insert(state.archives, id_, Archive(c, entry, time), c.what)

        section(1, c.u16, add_key)
        section(2, c.u16, lambda: state.epochs.append(c.take(32)))
        section(3, c.u32, add_pack)
        section(4, c.u32, lambda: insert(state.segments, c.take(16), item("QQ"), c.what))
        section(5, c.u32, add_archive)
        condemned, lost = [], []
        section(6, c.u32, lambda: condemned.append((c.u8(), c.take(16))))
        section(7, c.u32, lambda: lost.append((c.take(16), c.take(32))))
        c.end()
        state.condemned, state.lost = dict.fromkeys(condemned), dict.fromkeys(lost)
        c.need(len(state.condemned) == len(condemned) and all(kind < 2 for kind, _ in condemned), "a condemned name is there twice, or is no file")
        c.need(state.epochs and all(pack in state.packs for pack, _ in state.lost), "no epochs, or lost objects of unknown packs")
        return state


class Log:
    def __init__(self, root, repository_id, keys):
        self.repository_id, self.keys, self.paths = repository_id, keys, self.find_paths(root)
        head = max(self.paths)
        try:
            self.fold(head, self.find_resets(head, False))
        except Damage:
            if not self.at_head:
                raise
            self.fold(head, self.find_resets(head, True))            # the newest entry is a reset that does not count

    def fold(self, head, resets):
        """resets: {from: number}."""
        self.state, self.begun = State(), {}                         # begun: pack or segment: epochs when it was added
        self.void, self.checkpoints, self.resets = [], [0], []       # numbers; 0 is none
        self.count, self.at_head = head + 1, False
        before, number = bytes(32), 0
        while number <= head:
            self.at_head = resets.get(number) == head
            if number in resets:
                from_, number = number, resets[number]
                data = self.data(number)
                self.reset(from_, number, data, before)
            else:
                data = self.data(number)
                self.read(number, data, before)
            before = hash32(data)
            if number == 0:
                self.start = before
            number += 1

    def data(self, number):
        need(number in self.paths, f"log entry {number}: missing")
        return read_file(self.paths[number], f"log entry {number}", ENTRY_MAX)

    @staticmethod
    def find_paths(root):
        """The entries' files by their numbers."""
        log = os.path.join(root, "log")
        folders = [name for name in os.listdir(log) if re.fullmatch("[0-9a-f]{13}", name)]
        paths = {int(folder + name, 16): os.path.join(log, folder, name) for folder in folders
                 for name in os.listdir(os.path.join(log, folder)) if re.fullmatch("[0-9a-f]{3}", name)}
        need(paths, "log: empty")
        return paths

    def find_resets(self, head, plain):
        """{from: number} of those on the way back from the newest entry; plain: that one is none, whatever it says."""
        resets, at, lowest = {}, head, head + 1
        while True:
            data = self.data(at)
            need(len(data) >= 80, f"log entry {at}: too short")
            link, = struct.unpack("<Q", data[56:64])
            if link & RESET_BIT and not (plain and at == head):
                c = self.open(at, data)[0]
                if at < lowest and c.u16() == RESET:
                    c.take(10)
                    lowest = c.u64()
                    resets[lowest] = at
            link &= RESET_BIT - 1
            if not link:
                return resets
            need(link < at, f"log entry {at}: names a later checkpoint")
            at = link

    def open(self, number, data):
        """The payload, epoch, signer and link of an entry, whose place and signature are still to be checked."""
        what = f"log entry {number}"
        c = Cursor(data, what)
        c.const(b"byre-log", "magic")
        c.const(VERSION, "version")
        epoch, length = c.u16(), c.u32()
        c.need(c.u64() == number, "number is not that of the name")
        before, link, signer, sealed = c.take(32), c.u64(), c.take(16), c.take(length)
        c.take(64)
        c.end()
        key = sub(self.keys.metadata(epoch), "byre log")
        return Cursor(unseal(key, self.repository_id + data[:80], sealed, what), what), epoch, signer, link, before

    def check(self, signer, number, data):
        check_signature(signer.ed25519, "byre log", self.repository_id + data[:-64], data[-64:], f"log entry {number}")

    def reset(self, from_, number, data, before):
        """What takes the place of the entries from_ to number - 1."""
        c, epoch, signer, link, previous = self.open(number, data)
        key = self.state.keys.get(signer)
        need(key and key.role == FULL and not key.removed, f"{c.what}: a reset by a key that may not")
        self.check(key, number, data)
        c.need(previous == before and link == self.checkpoints[-1] | RESET_BIT, "does not go on where it says")
        c.need(c.u16() == RESET and c.u16() == 0, "another type, or flags")
        c.i64()
        c.need(c.u64() == from_ and 1 <= from_ < number, "from is out of place")
        need(not self.follow_keys(from_, number).keys[signer].removed, f"{c.what}: a reset by a key that was removed")
        self.state = State.parse(c)
        c.need(epoch == len(self.state.epochs) - 1, "sealed in another epoch than its last")
        self.begun = {id_: len(self.state.epochs) for id_ in (*self.state.packs, *self.state.segments)}
        self.checkpoints.append(number)
        self.resets.append(number)

    def follow_keys(self, from_, end):
        """The state before, with those changes of keys that can be read."""
        state = copy.deepcopy(self.state)
        for number in range(from_, end):
            try:
                data = self.data(number)
                c, _, signer, _, _ = self.open(number, data)
                key = state.keys.get(signer)
                if not key or key.role != FULL or key.removed or c.u16() != KEY:
                    continue
                self.check(key, number, data)
                c.u16()
                time, trial = c.i64(), copy.deepcopy(state)
                c.list16(lambda: self.change(trial, c, time))
                c.end()
                state = trial
            except Damage:
                pass
        return state

    def read(self, number, data, before):
        state, what = self.state, f"log entry {number}"
        c = Cursor(data, what)
        c.const(b"byre-log", "magic")
        c.const(VERSION, "version")
        epoch, length = c.u16(), c.u32()
        c.need(epoch == max(len(state.epochs) - 1, 0), "sealed in another epoch than the current one")
        c.need(c.u64() == number, "number is not that of the name")
        c.const(before, "hash of the entry before")
        link = c.u64()
        c.need(link & ~RESET_BIT == self.checkpoints[-1], "names another newest checkpoint")
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
        try:
            c.need(flags < 2, "reserved flags are set")
            c.need(not link & RESET_BIT and type_ != RESET, "a reset, or its header, out of place")
            change = self.parse(number, type_, flags, time, c)
        except Damage:
            if not number or signer.role == FULL:
                raise
            self.void.append(number)
            return
        except CheckpointDamage as damage:
            raise Damage(str(damage)) from None
        change()
        if not number:                                               # it says itself who signed it; the slot pins its hash
            founder = state.keys.get(signer_id)
            check(founder)
            two = len(state.keys) == len(state.epochs) == 1 and not founder.removed and founder.role == FULL
            need(two and type_ == KEY, f"{what}: does not just add its signer with role full, and name epoch 0")

    def parse(self, number, type_, flags, time, c):
        """What the entry changes, as a function. Nothing is changed before all of it is found good."""
        state = self.state
        if type_ == KEY:
            trial = copy.deepcopy(state)                             # its changes build on each other
            c.list16(lambda: self.change(trial, c, time))
            c.end()

            def change():
                state.keys, state.epochs = trial.keys, trial.epochs
        elif type_ in (PUBLISH, ARCHIVE, REPLACE, CONDEMN):
            removed = [self.names(c) if type_ == CONDEMN else [], self.names(c) if type_ in (CONDEMN, REPLACE) else []]
            gone = [self.names(c), self.names(c)] if type_ == CONDEMN else [[], []]
            packs, segments = self.added(c, removed)
            archive = (c.take(32), Archive(c, number, time)) if type_ == ARCHIVE else None
            c.end()
            if archive:
                need(archive[0] not in state.archives, f"{c.what}: adds an archive that is there already")

            def change():
                for kind in (PACK, SEGMENT):
                    for id_ in gone[kind]:
                        state.condemned.pop((kind, id_), None)
                for kind, live in (PACK, state.packs), (SEGMENT, state.segments):
                    for id_ in removed[kind]:
                        if id_ in live or type_ == CONDEMN:
                            state.condemned.setdefault((kind, id_))
                        if live.pop(id_, None) and kind == PACK:
                            state.published.pop(id_, None)
                state.lost = {lost: None for lost in state.lost if lost[0] in state.packs}
                state.packs.update(packs)
                state.segments.update(segments)
                state.published.update({id_: time for id_ in packs if type_ == PUBLISH})
                state.archives.update([archive] if archive else [])
                self.begun.update({id_: len(state.epochs) for id_ in (*packs, *segments)})
        elif type_ == FORGET:
            ids = [c.take(32) for _ in range(c.u32())]
            c.end()

            def change():
                for id_ in ids:
                    state.archives.pop(id_, None)
        elif type_ == TAG:
            archive, removed, added = state.archives.get(c.take(32)), c.list16(c.str16), c.list16(c.str16)
            c.end()
            c.need(len(removed) + len(added) <= 1024, "too many tags")
            c.need(not archive or len(archive.tags) + len(added) <= 65535, "the archive would have too many tags")

            def change():
                if archive:
                    archive.tags = [tag for tag in archive.tags if tag not in removed]
                    for tag in added:
                        archive.tags += [tag] if tag not in archive.tags else []
        elif type_ == LOST:
            lost = [(c.take(16), c.take(32)) for _ in range(c.u32())]
            c.end()

            def change():
                for pack, id_ in lost:
                    if pack in state.packs:
                        state.lost.setdefault((pack, id_))
        elif type_ == CHECKPOINT:
            if c.take(len(c.data) - c.at) != state.sections():
                raise CheckpointDamage(f"{c.what}: the checkpoint is not the state before it")

            def change():
                self.checkpoints.append(number)
        elif flags:
            def change():
                pass
        else:
            raise Refused(f"{c.what}: unknown type {type_}")
        return change

    @staticmethod
    def names(c):
        return [c.take(16) for _ in range(c.u32())]

    @staticmethod
    def change(state, c, time):
        operation = c.u8()
        if operation == 1:
            slot, key = c.take(16), Key(c.u8(), c.u8(), c.take(32), c.take(32), c.str16(), time)
            c.need(key.role in ROLES and key.kind in KINDS, "unknown role or kind")
            insert(state.keys, slot, key, c.what)
        elif operation == 2:
            key = state.keys.get(c.take(16))
            c.need(key, "removes a key that was never added")
            if not key.removed:
                key.removed, key.last_epoch = 1, max(len(state.epochs) - 1, 0)
        else:
            c.need(operation == 3, "unknown operation")
            c.need(c.u16() == len(state.epochs), "not the next epoch")
            state.epochs.append(c.take(32))

    def added(self, c, removed):
        """The packs and segments that an entry adds."""
        state, fresh = self.state, ({}, {})
        for kind, live, parse in ((PACK, state.packs, lambda: (c.u64(), c.u8())), (SEGMENT, state.segments, lambda: (c.u64(), c.u64()))):
            for _ in range(c.u32()):
                id_, value = c.take(16), parse()
                c.need(kind == SEGMENT or value[1] in (1, 2), "unknown class of pack")
                need(id_ not in live and (kind, id_) not in state.condemned and id_ not in removed[kind],
                     f"{c.what}: {id_.hex()} is added, but it is live, condemned, or removed")
                insert(fresh[kind], id_, value, c.what)
        return fresh


class CheckpointDamage(Exception):
    """To be told from an entry that cannot be parsed: that one may be void."""


def str16(text):
    return struct.pack("<H", len(text)) + text


def insert(table, id_, value, what):
    need(id_ not in table, f"{what}: {id_.hex()} is added, but it is there already")
    table[id_] = value
