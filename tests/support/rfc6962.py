"""RFC 6962, C2SP notes and tlog-proofs in plain Python, written from the texts alone: an independent judge."""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def leaf_hash(leaf: bytes) -> bytes:
    """SHA-256(0x00 ‖ leaf)."""
    return hashlib.sha256(b"\0" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 ‖ left ‖ right)."""
    return hashlib.sha256(b"\1" + left + right).digest()


def root(hashes: list[bytes]) -> bytes:
    """Root over leaf hashes, by the definition of RFC 6962 §2.1."""
    if len(hashes) <= 1:
        return hashes[0] if hashes else hashlib.sha256().digest()
    split = 1 << (len(hashes) - 1).bit_length() - 1
    return node_hash(root(hashes[:split]), root(hashes[split:]))


def included(leaf: bytes, index: int, size: int, path: list[bytes], expected: bytes) -> bool:
    """RFC 9162 §2.1.3.2, with every hash of the path used."""
    if index >= size:
        return False
    fn, sn, r = index, size - 1, leaf
    for p in path:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            r = node_hash(p, r)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = node_hash(r, p)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and r == expected


@dataclass(frozen=True)
class Vkey:
    """A verifier key `name+hash+base64`."""

    name: str
    id: bytes
    public: bytes

    @classmethod
    def parse(cls, text: str) -> "Vkey":
        """Reads one; its hash must be right."""
        name, hexed, encoded = text.rsplit("+", 2) if text.count("+") == 2 else text.split("+", 2)
        key = base64.b64decode(encoded, validate=True)
        assert key[0] == 1 and len(key) == 33, "Ed25519"
        made = hashlib.sha256(name.encode() + b"\n" + key).digest()[:4]
        assert made.hex() == hexed, "key hash"
        return cls(name, made, key[1:])


@dataclass(frozen=True)
class Checkpoint:
    """What a verified checkpoint says."""

    origin: str
    size: int
    root: bytes


def open_checkpoint(text: str, key: Vkey) -> Checkpoint:
    """Verifies a signed note by one key and reads its three lines; raises if it is anything else."""
    body, _, signatures = text.partition("\n\n")
    body += "\n"
    for line in signatures.removesuffix("\n").split("\n"):
        dash, name, encoded = line.split(" ")
        raw = base64.b64decode(encoded, validate=True)
        if dash == "\u2014" and name == key.name and raw[:4] == key.id:
            Ed25519PublicKey.from_public_bytes(key.public).verify(raw[4:], body.encode())
            break
    else:
        raise InvalidSignature("no signature of this key")
    origin, size, encoded = body.removesuffix("\n").split("\n")
    assert str(int(size)) == size
    return Checkpoint(origin, int(size), base64.b64decode(encoded, validate=True))


@dataclass(frozen=True)
class Receipt:
    """A tlog-proof with its entry, read but not verified."""

    entry: bytes
    index: int
    path: list[bytes]
    checkpoint: str

    @classmethod
    def parse(cls, text: str) -> "Receipt":
        """Reads the text."""
        head, _, checkpoint = text.partition("\n\n")
        magic, extra, index, *path = head.split("\n")
        assert magic == "c2sp.org/tlog-proof@v1" and extra.startswith("extra ") and index.startswith("index ")
        return cls(
            base64.b64decode(extra[6:], validate=True),
            int(index[6:]),
            [base64.b64decode(line, validate=True) for line in path],
            checkpoint,
        )

    def verify(self, key: Vkey) -> Checkpoint:
        """Verifies signature and inclusion."""
        opened = open_checkpoint(self.checkpoint, key)
        assert included(leaf_hash(self.entry), self.index, opened.size, self.path, opened.root), "not included"
        return opened


def split_bundle(data: bytes) -> Iterator[bytes]:
    """The entries of a tlog-tiles entry bundle."""
    while data:
        (length,) = struct.unpack(">H", data[:2])
        assert len(data) >= 2 + length
        yield data[2 : 2 + length]
        data = data[2 + length :]
