"""config (§3), key slots, recovery codes and keyrings (§4)."""
import os
import re
from dataclasses import dataclass

import nacl.bindings
import nacl.signing

from .wire import Cursor, Refused, check_signature, dh, hash32, keyed, need, read_file, sub, unseal

FULL, BACKUP, APPEND = ROLES = (1, 2, 3)
PASSPHRASE, KEY_FILE, RECOVERY = KINDS = (1, 2, 3)
CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class Config:
    def __init__(self, path):
        data = read_file(path, "config", 136)
        c = Cursor(data, "config")
        c.const(b"byreconf", "magic")
        if c.u16() != 1:
            raise Refused("config: another format version")
        c.zero(6)
        if c.u64():
            raise Refused("config: features that this reader does not know")
        c.take(8)                                                    # features for writers: not a reader's business
        self.id = c.take(32)
        self.created = c.i64()
        self.region, block, smallest, self.largest = sizes = [c.u32() for _ in range(4)]
        threshold, zero_blocks = c.u64(), c.u32()
        c.zero(4)
        c.const(hash32(data[:104]), "hash")
        c.end()
        c.need(all(size and size & (size - 1) == 0 for size in sizes), "a size is not a power of two")
        c.need(block <= smallest <= self.largest <= min(self.region, 1 << 20), "sizes out of order")
        c.need(1 << 20 <= self.region <= 16 << 20 and threshold and zero_blocks, "parameter out of bounds")
        self.hash = hash32(data)


def parse_recovery_code(text):
    """The 16 bytes that a recovery code stands for (§4.1)."""
    digits = "".join(text.split()).replace("-", "").upper().translate(str.maketrans("OIL", "011"))
    if len(digits) != 28 or not set(digits) <= set(CROCKFORD):
        raise Refused("not a recovery code: it has 28 digits and letters")
    value = 0
    for digit in digits:
        value = value << 5 | CROCKFORD.index(digit)
    code = (value >> 4).to_bytes(17, "big")
    if value & 15 or hash32(code[:16])[0] != code[16]:
        raise Refused("recovery code: mistyped, its check digits do not fit")
    return code[:16]


class Slot:
    """A key slot's public part, checked; open() gives the private one."""

    def __init__(self, path, name):
        self.name, self.what = name, f"keys/{name}"
        self.data = data = read_file(path, self.what, 448)
        c = Cursor(data, self.what)
        c.const(b"byreslot", "magic")
        c.const(b"\1\0", "version")
        self.kind = c.u8()
        c.zero(1)
        self.id = c.take(16)
        self.passes, self.memory = c.u32(), c.u32()
        self.salt, self.x25519, self.ed25519 = c.take(16), c.take(32), c.take(32)
        self.commitment, self.sealed, signature = c.take(32), c.take(236), c.take(64)
        c.end()
        c.need(self.kind in KINDS, "unknown kind")
        c.need(self.id.hex() == name, "slot id is not the name")
        if self.kind == PASSPHRASE:
            c.need(1 <= self.passes <= 64 and 8 <= self.memory <= 1 << 20, "Argon2id parameters out of bounds")
        else:
            c.need(self.passes == self.memory == 0, "Argon2id parameters where there is no passphrase")
        check_signature(self.ed25519, "byre slot", data[:384], signature, self.what)

    def wrapping_key(self, secret):
        if self.kind == PASSPHRASE:
            return nacl.bindings.crypto_pwhash_alg(32, secret, self.salt, self.passes, self.memory * 1024,
                                                   nacl.bindings.crypto_pwhash_ALG_ARGON2ID13)
        return keyed(self.salt + bytes(16), "byre key file" if self.kind == KEY_FILE else "byre recovery", secret)

    def open(self, secret, config):
        """False if this is not the secret; what is pinned from the log is checked later, by check_pins."""
        key = self.wrapping_key(secret)
        if sub(key, "byre commit") != self.commitment:
            return False
        c = Cursor(unseal(sub(key, "byre slot seal"), self.data[:148], self.sealed, self.what), self.what + " payload")
        self.private, seed = c.take(32), c.take(32)
        c.need(nacl.bindings.crypto_scalarmult_base(self.private) == self.x25519, "X25519 pair does not belong together")
        c.need(bytes(nacl.signing.SigningKey(seed).verify_key) == self.ed25519, "Ed25519 pair does not belong together")
        c.const(config.id, "repository id")
        c.const(config.hash, "HASH(config)")
        self.log_start, self.data_public = c.take(32), c.take(32)
        c.const(b"\1\0", "format version")
        self.epoch = c.u16()
        c.end()
        return True

    def check_pins(self, state, log_start):
        need(self.log_start == log_start, f"{self.what}: pins another log entry 0")
        need(self.epoch < len(state.epochs) and state.epochs[self.epoch] == self.data_public,
             f"{self.what}: pins another data public key")
        need(self.id in state.keys, f"{self.what}: the log does not know this slot")
        self.check_listed(state)

    def check_listed(self, state):
        """Whether the log knows the slot. A slot whose log entry was never written is none of a reader's business."""
        known = state.keys.get(self.id)
        need(known is None or (known.x25519, known.ed25519) == (self.x25519, self.ed25519),
             f"{self.what}: its public keys are not those in the log")
        return known is not None


@dataclass
class Secrets:
    """The payload of a keyring."""
    role: int
    id_key: bytes
    life_long: tuple
    metadata: bytes
    data_secret: bytes
    data_public: bytes
    data_private: bytes


class Keyring:
    def __init__(self, path, name, config):
        self.what, self.config = f"keys/{name}", config
        self.data = data = read_file(path, self.what, 440)
        c = Cursor(data, self.what)
        c.const(b"byrering", "magic")
        c.const(b"\1\0", "version")
        self.epoch, self.slot_id, self.issuer, self.ephemeral = c.u16(), c.take(16), c.take(16), c.take(32)
        self.sealed, self.signature = c.take(300), c.take(64)
        c.end()
        c.need(name == f"{self.slot_id.hex()}.{self.epoch:04x}", "slot or epoch is not that of the name")

    def open(self, slot):
        shared = dh(slot.private, self.ephemeral, self.what)
        key = keyed(shared, "byre keyring", self.ephemeral + slot.x25519 + self.config.id)
        c = Cursor(unseal(key, self.data[:76], self.sealed, self.what), self.what + " payload")
        role = c.u8()
        c.need(role in ROLES, "unknown role")
        c.zero(1)
        c.need(c.u16() == self.epoch, "another epoch")
        c.const(self.config.id, "repository id")
        id_key, chunker, fingerprint, metadata, data_secret, public, private = [c.take(32) for _ in range(7)]
        c.end()
        own = nacl.bindings.crypto_scalarmult_base(private) == public if role == FULL else private == bytes(32)
        c.need(own, "wrong data private key")
        self.secrets = Secrets(role, id_key, (id_key, chunker, fingerprint), metadata, data_secret, public, private)
        return self.secrets

    def check_issuer(self, state):
        issuer = state.keys.get(self.issuer)
        need(issuer and issuer.role == FULL, f"{self.what}: its issuer was never given the role full")
        check_signature(issuer.ed25519, "byre keyring", self.config.id + self.data[:376], self.signature, self.what)


class Keys:
    """All that one secret opens: its slot and the keyrings of that."""

    def __init__(self, root, config, kind, secret):
        self.root, self.config, self.rings = root, config, {}
        self.epochs = 1 << 16                                        # until the log has said how many there are
        if kind == KEY_FILE and not 32 <= len(secret) <= 8192:
            raise Refused("a key file has 32 to 8192 bytes")
        slots = (self.read_slot(name) for name in self.names("[0-9a-f]{32}"))
        self.slot = next((slot for slot in slots if slot.kind == kind and slot.open(secret, config)), None)
        if self.slot is None:
            raise Refused("no slot opens with this secret")
        for name in self.names(rf"{self.slot.name}\.[0-9a-f]{{4}}"):
            ring = self.read_keyring(name)
            ring.open(self.slot)
            self.rings[ring.epoch] = ring
        if not self.rings:
            raise Refused(f"{self.slot.what}: has no keyring")
        first = next(iter(self.rings.values())).secrets
        self.id_key, self.role = first.id_key, first.role
        for ring in self.rings.values():
            need(ring.secrets.life_long == first.life_long, f"{ring.what}: other life-long keys than in the first")

    def names(self, pattern):
        return sorted(name for name in os.listdir(os.path.join(self.root, "keys")) if re.fullmatch(pattern, name))

    def read_slot(self, name):
        return Slot(os.path.join(self.root, "keys", name), name)

    def read_keyring(self, name):
        return Keyring(os.path.join(self.root, "keys", name), name, self.config)

    def secrets(self, epoch, what):
        need(epoch < self.epochs, f"{what}: of an epoch that the log does not name")
        if epoch not in self.rings:
            raise Refused(f"{what}: this key has no keyring of epoch {epoch}")
        return self.rings[epoch].secrets

    def metadata(self, epoch, what):
        return self.secrets(epoch, what).metadata

    def check(self, state, log_start):
        """All that could not be checked before the log was read."""
        self.slot.check_pins(state, log_start)
        self.epochs = len(state.epochs)
        for epoch, ring in list(self.rings.items()):
            ring.check_issuer(state)
            need(ring.secrets.role == state.keys[self.slot.id].role, f"{ring.what}: another role than in the log")
            if epoch < len(state.epochs):
                need(ring.secrets.data_public == state.epochs[epoch], f"{ring.what}: not the log's data public key")
            else:
                del self.rings[epoch]                                # its epoch was never begun

    def check_all(self, state):
        """Every slot and keyring that is there. Returns how many, and how many of the slots the log knows."""
        slots = [self.read_slot(name) for name in self.names("[0-9a-f]{32}")]
        listed = sum(slot.check_listed(state) for slot in slots)
        rings = [self.read_keyring(name) for name in self.names(r"[0-9a-f]{32}\.[0-9a-f]{4}")]
        for ring in rings:
            ring.check_issuer(state)
        return len(slots), len(rings), listed
