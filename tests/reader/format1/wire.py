"""Conventions and primitives (§1), the canonical JSON (§9), and reading files whole."""
import base64
import ctypes
import ctypes.util
import hashlib
import hmac
import json
import re
import struct

import nacl.bindings
import nacl.exceptions
import nacl.signing
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

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


def object_id(id_key, sha256_ids, class_, type_, data):
    if sha256_ids:
        return hmac.digest(sub(id_key, "byre object key", 256 * class_ + type_), data, "sha256")
    person = b"byre object" + bytes(3) + bytes([class_, type_])
    return hashlib.blake2b(data, digest_size=32, key=id_key, person=person).digest()


def fingerprint(key, chunk):
    return AESGCM(key).encrypt(bytes(12), b"", chunk)


class Xxh128(ctypes.Structure):
    _fields_ = [("low", ctypes.c_uint64), ("high", ctypes.c_uint64)]


xxhash = ctypes.CDLL(ctypes.util.find_library("xxhash") or "libxxhash.so.0").XXH3_128bits
xxhash.argtypes, xxhash.restype = (ctypes.c_char_p, ctypes.c_size_t), Xxh128


def xxh128(data):
    value = xxhash(data, len(data))
    return struct.pack(">QQ", value.high, value.low)


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

def is_text(data):
    try:
        return "\0" not in data.decode()
    except UnicodeDecodeError:
        return False


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
        text = self.take(self.u16())
        self.need(b"\0" not in text, "a str16 with a zero byte")
        return text

    def list16(self, item):
        return [item() for _ in range(self.u16())]

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


# -- JSON -----------------------------------------------------------------------------------------------------------------

def canonical_json(data, what):
    """Its numbers and strings are checked by take_apart."""
    def upper(escape):
        return escape[0] if escape[0] == "\\\\" else "\\u" + escape[0][2:].upper()

    try:
        value = json.loads(data.decode())
        again = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        again = re.sub(r"\\\\|\\u[0-9a-f]{4}", upper, again).encode()
    except (ValueError, RecursionError) as error:
        raise Damage(f"{what}: {error}") from None
    need(again == data, f"{what}: JSON is not in canonical form")     # also finds a key that is there twice
    return value


def take_apart(value, form, what):
    """A JSON value of this form: {name: form}, [form] for a list, (form, ...) for a list of that length, or a function."""
    if isinstance(form, dict):
        need(isinstance(value, dict), f"{what}: not an object")
        for name in sorted(set(form) ^ set(value)):
            raise Damage(f"{what}: {'unknown' if name in value else 'missing'} member {name!r}")
        return {name: take_apart(value[name], form[name], f"{what}: {name}") for name in form}
    if isinstance(form, (list, tuple)):
        need(isinstance(value, list), f"{what}: not a list")
        forms = form if isinstance(form, tuple) else form * len(value)
        need(len(value) == len(forms), f"{what}: wrong length")
        return [take_apart(*pair, what) for pair in zip(value, forms)]
    return form(value, what)


def in_base64(data):
    return {"b64": base64.b64encode(data).decode()}


def as_json(data):
    return data.decode() if is_text(data) else in_base64(data)


def octets(value, what, form=in_base64):
    """Bytes that are written as {"b64": ...} whatever they are."""
    data = None
    try:
        data = value.encode() if isinstance(value, str) else base64.b64decode(value["b64"])
    except (TypeError, KeyError, ValueError):
        pass
    need(data is not None and form(data) == value, f"{what}: not a byte string")
    return data


def text(value, what):
    return octets(value, what, as_json)


def integer(value, what):
    need(type(value) is int and 0 <= value < 1 << 53, f"{what}: not an integer")
    return value


def boolean(value, what):
    need(type(value) is bool, f"{what}: not true or false")
    return value


def dec(value, what, low=0, high=(1 << 64) - 1):
    need(isinstance(value, str) and re.fullmatch("0|-?[1-9][0-9]{0,19}", value, re.ASCII), f"{what}: not a decimal string")
    need(low <= int(value) <= high, f"{what}: out of bounds")
    return int(value)


def signed_dec(value, what):
    return dec(value, what, -1 << 63, (1 << 63) - 1)


def hex_id(value, what, length=32):
    need(isinstance(value, str) and re.fullmatch(f"[0-9a-f]{{{2 * length}}}", value), f"{what}: not {2 * length} hex digits")
    return bytes.fromhex(value)


def or_null(form):
    return lambda value, what: None if value is None else take_apart(value, form, what)
