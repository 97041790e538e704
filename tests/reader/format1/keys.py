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
        features = c.u64()
        if features & ~1:
            raise Refused("config: features that this reader does not know")
        c.take(8)                                                    # features for writers: not a reader's business
        self.sha256_ids = bool(features & 1)
        self.id = c.take(32)
        c.i64()                                                      # time of creation
        self.region, block, smallest, largest = sizes = [c.u32() for _ in range(4)]
        threshold, zero_blocks = c.u64(), c.u32()
        c.zero(4)
        c.const(hash32(data[:104]), "hash")
        c.end()
        c.need(all(size and size & (size - 1) == 0 for size in sizes), "a size is not a power of two")
        c.need(512 <= block <= smallest < largest <= min(self.region, 1 << 20), "sizes out of order")
        c.need(2 << 20 <= self.region <= 16 << 20 and threshold and zero_blocks, "parameter out of bounds")
        self.hash = hash32(data)


def parse_recovery_code(text):
    """The 16 bytes that a recovery code stands for (§4.1); None if this is none."""
    digits = text.decode("latin-1").translate(str.maketrans("OoIiLl", "001111", "- ")).upper()
    if len(digits) != 28 or not set(digits) <= set(CROCKFORD):
        return None
    value = 0
    for digit in digits:
        value = value << 5 | CROCKFORD.index(digit)
    code = (value >> 4).to_bytes(17, "big")
    return None if value & 15 or hash32(code[:16])[0] != code[16] else code[:16]


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

    def check_listed(self, state):
        key = state.keys[self.id]
        need((key.x25519, key.ed25519) == (self.x25519, self.ed25519), f"{self.what}: its public keys are not those in the log")


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
        need(not issuer.removed or self.epoch <= issuer.last_epoch, f"{self.what}: its issuer was removed before the epoch")
        check_signature(issuer.ed25519, "byre keyring", self.config.id + self.data[:376], self.signature, self.what)


def read_slots(root):
    names = sorted(name for name in os.listdir(os.path.join(root, "keys")) if re.fullmatch("[0-9a-f]{32}", name))
    return [Slot(os.path.join(root, "keys", name), name) for name in names]


class Keys:
    """All that a slot opens: the keyrings that are for it. Which there are, the log says."""

    def __init__(self, root, config, slot):
        self.root, self.config, self.slot, self.rings = root, config, slot, {}
        first = self.secrets(slot.epoch)
        self.id_key, self.role, self.life_long = first.id_key, first.role, first.life_long

    def keyring(self, slot_id, epoch):
        name = f"{slot_id.hex()}.{epoch:04x}"
        return Keyring(os.path.join(self.root, "keys", name), name, self.config)

    def secrets(self, epoch):
        if epoch not in self.rings:
            ring = self.keyring(self.slot.id, epoch)
            ring.open(self.slot)
            self.rings[epoch] = ring
        return self.rings[epoch].secrets

    def metadata(self, epoch):
        return self.secrets(epoch).metadata

    def need_epoch(self, epoch, state):
        """A removed slot is not given the epochs that begin later: that is no damage."""
        own = state.keys.get(self.slot.id)
        if own and own.removed and not os.path.exists(os.path.join(self.root, self.slot.what + f".{epoch:04x}")):
            raise Refused(f"this key was removed, and has no keyring of epoch {epoch}")

    def check(self, state, log_start):
        """All that could not be checked before the log was read."""
        slot, own = self.slot, state.keys[self.slot.id]
        need(slot.log_start == log_start, f"{slot.what}: pins another log entry 0")
        need(slot.epoch < len(state.epochs) and state.epochs[slot.epoch] == slot.data_public,
             f"{slot.what}: pins another data public key")
        slot.check_listed(state)
        for epoch in self.rings if own.removed else range(len(state.epochs)):
            secrets, ring = self.secrets(epoch), self.rings[epoch]
            ring.check_issuer(state)
            need(secrets.role == own.role, f"{ring.what}: another role than in the log")
            need(secrets.data_public == state.epochs[epoch], f"{ring.what}: not the log's data public key")
            need(secrets.life_long == self.life_long, f"{ring.what}: other life-long keys")

    def check_all(self, state):
        """The slots and keyrings that the log knows. Returns how many there are of each, removed ones left out."""
        live = [slot for slot in state.keys if not state.keys[slot].removed]
        for slot in live:
            name = slot.hex()
            Slot(os.path.join(self.root, "keys", name), name).check_listed(state)
            for epoch in range(len(state.epochs)):
                self.keyring(slot, epoch).check_issuer(state)
        return len(live), len(live) * len(state.epochs)
