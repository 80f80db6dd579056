"""RFC 6962, C2SP signed notes, checkpoints and receipts; written from the specifications, knows no code of ours."""

from __future__ import annotations

import base64
import functools
import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

EMPTY = hashlib.sha256(b"").digest()


class Refused(AssertionError):
    """A proof does not hold."""


def leaf_hash(entry: bytes) -> bytes:
    """SHA-256(0x00 ‖ entry)."""
    return hashlib.sha256(b"\0" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 ‖ left ‖ right)."""
    return hashlib.sha256(b"\1" + left + right).digest()


class Tree:
    """A growing tree that can tell the root of every size it had."""

    def __init__(self) -> None:
        #: For each level, the hashes of its complete subtrees.
        self.levels: list[list[bytes]] = [[]]

    @property
    def size(self) -> int:
        """Number of leaves."""
        return len(self.levels[0])

    def append(self, entry: bytes) -> None:
        """Adds a leaf."""
        hash_, level = leaf_hash(entry), 0
        while True:
            if level == len(self.levels):
                self.levels.append([])
            self.levels[level].append(hash_)
            if len(self.levels[level]) % 2:
                return
            hash_ = node_hash(*self.levels[level][-2:])
            level += 1

    def root(self, size: int) -> bytes:
        """The root over the first `size` leaves."""
        if size > self.size:
            raise Refused(f"size {size} of a tree of {self.size}")
        if size == 0:
            return EMPTY
        parts = []
        for level in reversed(range(size.bit_length())):
            if size >> level & 1:
                parts.append(self.levels[level][(size >> level) - 1])
        root = parts.pop()
        while parts:
            root = node_hash(parts.pop(), root)
        return root


def check_hashes(*hashes: bytes) -> None:
    """Each is a SHA-256."""
    if any(len(hash_) != 32 for hash_ in hashes):
        raise Refused("not a hash")


def check_consistency(old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: list[bytes]) -> None:
    """RFC 9162 §2.1.4.2."""
    check_hashes(old_root, new_root, *proof)
    if old_size == 0:
        raise Refused("nothing is proven about an empty tree")
    if old_size == new_size:
        if proof or old_root != new_root:
            raise Refused(f"two roots for size {old_size}")
        return
    if not 0 < old_size < new_size or not proof:
        raise Refused("no such proof")
    path = list(proof)
    if old_size & (old_size - 1) == 0:
        path.insert(0, old_root)
    fn, sn = old_size - 1, new_size - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = path[0]
    for hash_ in path[1:]:
        if sn == 0:
            raise Refused("proof too long")
        if fn & 1 or fn == sn:
            fr, sr = node_hash(hash_, fr), node_hash(hash_, sr)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node_hash(sr, hash_)
        fn, sn = fn >> 1, sn >> 1
    if sn or fr != old_root or sr != new_root:
        raise Refused(f"{old_size} is not a prefix of {new_size}")


def check_inclusion(leaf: bytes, index: int, size: int, proof: list[bytes], root: bytes) -> None:
    """RFC 9162 §2.1.3.2."""
    check_hashes(leaf, root, *proof)
    if not 0 <= index < size:
        raise Refused(f"index {index} of {size}")
    fn, sn, hash_ = index, size - 1, leaf
    for other in proof:
        if sn == 0:
            raise Refused("proof too long")
        if fn & 1 or fn == sn:
            hash_ = node_hash(other, hash_)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            hash_ = node_hash(hash_, other)
        fn, sn = fn >> 1, sn >> 1
    if sn or hash_ != root:
        raise Refused(f"entry {index} is not in the tree of {size}")


@dataclass(frozen=True)
class Checkpoint:
    """A tree head whose signature was checked."""

    origin: str
    size: int
    root: bytes


@functools.lru_cache(maxsize=65536)
def open_checkpoint(note: str, vkey: str) -> Checkpoint:
    """Checks the signature of `vkey` on a checkpoint, and reads it."""
    name, key_hash, key = vkey.split("+", 2)
    raw = base64.b64decode(key, validate=True)
    if raw[0] != 1 or hashlib.sha256(name.encode() + b"\n" + raw).hexdigest()[:8] != key_hash:
        raise Refused("not an Ed25519 vkey")
    text, found, signatures = note.partition("\n\n")
    if not found or not signatures.endswith("\n"):
        raise Refused("not a signed note")
    signed = (text + "\n").encode()
    for line in signatures[:-1].split("\n"):
        dash, signer, blob = line.split(" ")
        data = base64.b64decode(blob, validate=True)
        if dash == "—" and signer == name and data[:4].hex() == key_hash:
            try:
                Ed25519PublicKey.from_public_bytes(raw[1:]).verify(data[4:], signed)
            except InvalidSignature as error:
                raise Refused("wrong signature") from error
            origin, size, root = text.split("\n")
            if origin != name or str(int(size)) != size:
                raise Refused("not this log's checkpoint")
            return Checkpoint(origin, int(size), base64.b64decode(root, validate=True))
    raise Refused("not signed by this key")


@dataclass(frozen=True)
class Receipt:
    """A receipt that was checked."""

    entry: bytes
    index: int
    checkpoint: Checkpoint


def open_receipt(text: str, vkey: str) -> Receipt:
    """Checks a receipt with the log's public key alone."""
    head, _, note = text.partition("\n\n")
    first, extra, index, *path = head.split("\n")
    if first != "c2sp.org/tlog-proof@v1" or not extra.startswith("extra ") or not index.startswith("index "):
        raise Refused("not a receipt")
    entry = base64.b64decode(extra[6:], validate=True)
    checkpoint = open_checkpoint(note, vkey)
    proof = [base64.b64decode(line, validate=True) for line in path]
    check_inclusion(leaf_hash(entry), int(index[6:]), checkpoint.size, proof, checkpoint.root)
    return Receipt(entry, int(index[6:]), checkpoint)
