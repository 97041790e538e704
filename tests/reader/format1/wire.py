"""Conventions and primitives (§1), the canonical JSON (§9), and reading files whole."""
import base64
import binascii
import hashlib
import json
import re
import struct

import nacl.bindings
import nacl.exceptions
import nacl.signing

SEAL_OVERHEAD = 24 + 16
VERSION = struct.pack("<H", 1)


class Damage(Exception):
    """Something is not as the document demands."""


class Refused(Exception):
    """Nothing is broken, but this reader, key or argument cannot do it."""


def need(condition, message):
    if not condition:
        raise Damage(message)


# -- primitives --------------------------------------------------------------------------------------------------------

def label(text):
    return text.encode("ascii").ljust(16, b"\0")


def hash32(data):
    return hashlib.blake2b(data, digest_size=32, person=label("byre hash")).digest()


def keyed(key, text, data):
    return hashlib.blake2b(data, digest_size=32, key=key, person=label(text)).digest()


def sub(key, text, n=0):
    return keyed(key, text, struct.pack("<Q", n))


def object_id(id_key, class_, type_, data):
    person = b"byre object" + bytes(3) + bytes([class_, type_])
    return hashlib.blake2b(data, digest_size=32, key=id_key, person=person).digest()


def unseal(key, ad, sealed, what):
    need(len(sealed) >= SEAL_OVERHEAD, f"{what}: too short to be sealed")
    try:
        return nacl.bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(sealed[24:], ad, sealed[:24], key)
    except nacl.exceptions.CryptoError:
        raise Damage(f"{what}: does not decrypt") from None


def check_signature(public, text, data, signature, what):
    try:
        nacl.signing.VerifyKey(public).verify(label(text) + data, signature)
    except nacl.exceptions.CryptoError:
        raise Damage(f"{what}: bad signature") from None


def dh(private, public, what):
    try:
        return nacl.bindings.crypto_scalarmult(private, public)
    except nacl.exceptions.CryptoError:
        raise Damage(f"{what}: no valid X25519 key") from None


# -- structures --------------------------------------------------------------------------------------------------------

class Cursor:
    """Reads a structure from its beginning; whoever uses it calls end()."""

    def __init__(self, data, what):
        self.data, self.at, self.what = data, 0, what

    def need(self, condition, message):
        need(condition, f"{self.what}: {message}")

    def take(self, length):
        self.need(length <= len(self.data) - self.at, "ends too early")
        self.at += length
        return self.data[self.at - length:self.at]

    def end(self):
        self.need(self.at == len(self.data), "bytes left over")

    def const(self, expected, name):
        self.need(self.take(len(expected)) == expected, f"wrong {name}")

    def zero(self, length):
        self.const(bytes(length), "reserved bytes: not zero")

    def number(self, form):
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))[0]

    def u8(self):
        return self.number("B")

    def u16(self):
        return self.number("H")

    def u32(self):
        return self.number("I")

    def u64(self):
        return self.number("Q")

    def i64(self):
        return self.number("q")

    def str16(self):
        return self.take(self.u16())

    def blob32(self):
        return self.take(self.u32())

    def list16(self, item):
        return [item() for _ in range(self.u16())]

    def list32(self, item):
        return [item() for _ in range(self.u32())]

    def varint(self):
        value = 0
        for shift in range(0, 70, 7):
            byte = self.u8()
            value |= (byte & 127) << shift
            if byte < 128:
                self.need(value < 1 << 64 and (byte or not shift), "varint too large or not the shortest")
                return value
        raise Damage(f"{self.what}: varint too long")

    def svarint(self):
        value = self.varint()
        return value >> 1 ^ -(value & 1)


def read_file(path, what, largest):
    try:
        with open(path, "rb") as file:
            data = file.read(largest + 1)
    except FileNotFoundError:
        raise Damage(f"{what}: missing") from None
    need(len(data) <= largest, f"{what}: too large")
    return data


# -- JSON --------------------------------------------------------------------------------------------------------------

def byte_string(value, what):
    """The bytes of a JSON string, or of {"b64": ...}, which is only for bytes that no string can hold."""
    if isinstance(value, str):
        need("\0" not in value, f"{what}: zero byte in a string")
        return value.encode()
    need(isinstance(value, dict) and set(value) == {"b64"} and isinstance(value["b64"], str), f"{what}: not a byte string")
    try:
        data = base64.b64decode(value["b64"], validate=True)
    except (binascii.Error, ValueError):
        raise Damage(f"{what}: bad base64") from None
    need(base64.b64encode(data).decode() == value["b64"], f"{what}: base64 is not canonical")
    need(isinstance(as_json(data), dict), f"{what}: base64 where a string would do")
    return data


def as_json(data):
    """The other way."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = "\0"
    return {"b64": base64.b64encode(data).decode()} if "\0" in text else text


def canonical_json(data, what):
    def check(value):
        if isinstance(value, int) and not isinstance(value, bool):
            need(abs(value) < 1 << 53, f"{what}: number too large")
        elif isinstance(value, str) or isinstance(value, dict) and set(value) == {"b64"}:
            byte_string(value, what)
        elif isinstance(value, dict):
            for name in value:
                check(name)
            check(list(value.values()))
        elif isinstance(value, list):
            for item in value:
                check(item)
        else:
            need(not isinstance(value, float), f"{what}: number is not an integer")

    try:
        value = json.loads(data.decode())
        check(value)
        again = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    except (ValueError, RecursionError) as error:
        raise Damage(f"{what}: {error}") from None
    need(again == data, f"{what}: JSON is not in canonical form")     # also finds a key that is there twice
    return value


def fields(value, names, what):
    """An object with exactly these keys."""
    need(isinstance(value, dict), f"{what}: not an object")
    for name in sorted(set(names) ^ set(value)):
        raise Damage(f"{what}: {'unknown' if name in value else 'missing'} field {name!r}")
    return value


def array(value, what):
    need(isinstance(value, list), f"{what}: not a list")
    return value


def natural(value, what):
    """A number, or the decimal string that a 64-bit value is written as."""
    if isinstance(value, str) and re.fullmatch("0|[1-9][0-9]{0,19}", value, re.ASCII):
        value = int(value)
    need(type(value) is int and 0 <= value < 1 << 64, f"{what}: not a number")
    return value


def hex_bytes(value, length, what):
    need(isinstance(value, str) and re.fullmatch(f"[0-9a-f]{{{2 * length}}}", value), f"{what}: not {2 * length} hex digits")
    return bytes.fromhex(value)
