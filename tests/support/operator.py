"""Whoever holds a log's private key: signs any entries as that log. Written from the formats' pages, with no code of ours."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from .rfc6962 import leaf_hash, root, split_bundle

b64 = lambda data: base64.b64encode(data).decode()  # noqa: E731


def tile_path(prefix: str, number: int, width: int) -> str:
    """`tile/…` of a log with fewer than 256,000 entries."""
    return f"tile/{prefix}/{number:03}" + ("" if width == 256 else f".p/{width}")


class Operator:
    """A log's entries, as an export has them, and the key that signs them. `entries` may be changed at will."""

    def __init__(self, exported: Path, key_file: Path) -> None:
        self.exported = exported
        self.size = int((exported / "checkpoint").read_text().split("\n")[1])
        bundles = [tile_path("entries", n, min(256, self.size - 256 * n)) for n in range((self.size + 255) // 256)]
        leaves = [leaf for path in bundles for leaf in split_bundle((exported / path).read_bytes())]
        self.entries: list[dict[str, Any]] = [json.loads(leaf) for leaf in leaves]
        assert [rfc8785.dumps(entry) for entry in self.entries] == leaves
        text = key_file.read_text().strip().removeprefix("PRIVATE+KEY+")
        self.origin, self.key_id, seed = text.split("+", 2)
        self.key = Ed25519PrivateKey.from_private_bytes(base64.b64decode(seed)[1:])

    def copy(self) -> "Operator":
        """Another branch."""
        branch = copy.copy(self)
        branch.entries = copy.deepcopy(self.entries)
        return branch

    # changing

    def of_approval(self, approval: str) -> list[int]:
        """Indexes of an approval's messages."""
        return [n for n, e in enumerate(self.entries) if e["kind"] == "approval" and e["event"]["approval_id"] == approval]

    def append(self, entry: dict[str, Any], **members: Any) -> int:
        """Appends a copy of an entry as the next journal message; returns its index."""
        made = copy.deepcopy(entry) | members
        last = self.entries[-1]["journal"]
        made["journal"] = {"epoch": last["epoch"], "seq": last["seq"] + 1, "time": last["time"]}
        self.entries.append(made)
        return len(self.entries) - 1

    def chain(self) -> None:
        """Makes `prev` of every approval message, and `prior` of every entry, right again."""
        last: dict[str, int] = {}
        approval = system = None
        for index, entry in enumerate(self.entries):
            if "prior" in entry:
                entry["prior"] = {k: v for k, v in (("approval", approval), ("system", system)) if v is not None}
            if entry["kind"] == "approval":
                message = entry["event"]
                first = message["events"][0] if message["events"] else {}
                before = first["opening"]["index"] if first.get("type") == "requested" and message["n"] == 1 else last.get(message["approval_id"])
                if before is not None and before < len(self.entries):
                    message["prev"] = b64(leaf_hash(rfc8785.dumps(self.entries[before])))
                last[message["approval_id"]] = approval = index
            elif entry["kind"] in SYSTEM_KINDS:
                system = index

    # signing

    def leaves(self, size: int | None = None) -> list[bytes]:
        """The entries' bytes."""
        return [rfc8785.dumps(entry) for entry in self.entries[:size]]

    def hashes(self, size: int | None = None) -> list[bytes]:
        """Their leaf hashes."""
        return [leaf_hash(leaf) for leaf in self.leaves(size)]

    def checkpoint(self, size: int | None = None, text: str | None = None) -> str:
        """A signed checkpoint of the first entries."""
        hashes = self.hashes(size)
        body = text or f"{self.origin}\n{len(hashes)}\n{b64(root(hashes))}\n"
        signature = bytes.fromhex(self.key_id) + self.key.sign(body.encode())
        return f"{body}\n\u2014 {self.origin} {b64(signature)}\n"

    def receipt(self, index: int, size: int | None = None) -> str:
        """A receipt of one entry."""
        hashes = self.hashes(size)
        lines = ["c2sp.org/tlog-proof@v1", f"extra {b64(self.leaves(size)[index])}", f"index {index}"]
        return "\n".join([*lines, *map(b64, path(hashes, index))]) + "\n\n" + self.checkpoint(size)

    def proof(self, first: int, to: int) -> str:
        """A consistency proof as the server answers it."""
        return json.dumps({"from": first, "to": to, "proof": [b64(h) for h in consistency(self.hashes(to), first)]})

    def export(self, folder: Path, size: int | None = None) -> Path:
        """Writes an export; keys document and disclosures are those of the real one."""
        leaves, hashes = self.leaves(size), self.hashes(size)
        folder.mkdir(parents=True)
        for name in ("keys.json", "README.txt"):
            shutil.copy(self.exported / name, folder / name)
        if (self.exported / "disclosures").exists():
            shutil.copytree(self.exported / "disclosures", folder / "disclosures")
            for path in (folder / "disclosures").iterdir():
                if int(path.stem) >= len(leaves):
                    path.unlink()
        for n in range(0, len(leaves), 256):
            part = leaves[n : n + 256]
            write(folder / tile_path("entries", n // 256, len(part)), b"".join(len(x).to_bytes(2, "big") + x for x in part))
        level, row = 0, hashes
        while row:
            for n in range(0, len(row), 256):
                write(folder / tile_path(str(level), n // 256, len(row[n : n + 256])), b"".join(row[n : n + 256]))
            row = [root(row[n : n + 256]) for n in range(0, len(row) - 255, 256)]
            level += 1
        (folder / "checkpoint").write_text(self.checkpoint(size))
        return folder

    def history(self, folder: Path, approval: str, size: int | None = None, count: int | None = None) -> Path:
        """Writes the history of an approval: its first messages, under a checkpoint of the first `size` entries."""
        folder.mkdir(parents=True)
        indexes = [n for n in self.of_approval(approval) if size is None or n < size][:count]
        opening = self.entries[indexes[0]]["event"]["events"][0]["opening"]["index"]
        for name, index in [("opening", opening), *((str(n), index) for n, index in enumerate(indexes, 1))]:
            (folder / f"{name}.tlog-proof").write_text(self.receipt(index, size))
        shutil.copy(self.exported / "keys.json", folder / "keys.json")
        (folder / "checkpoint").write_text(self.checkpoint(size))
        return folder


#: Kinds that administer a log.
SYSTEM_KINDS = {"genesis", "journal_gap", "erasure", "access", "key", "rules", "journal", "clock", "sources", "trim", "retention", "members", "delivery", "alert", "incident", "freeze"}


def write(path: Path, data: bytes) -> None:
    """Writes a file, and its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def split(count: int) -> int:
    """The largest power of two below `count`."""
    return 1 << (count - 1).bit_length() - 1


def path(hashes: list[bytes], index: int) -> list[bytes]:
    """RFC 6962 §2.1.1."""
    if len(hashes) == 1:
        return []
    middle = split(len(hashes))
    left, right = hashes[:middle], hashes[middle:]
    return [*path(left, index), root(right)] if index < middle else [*path(right, index - middle), root(left)]


def consistency(hashes: list[bytes], first: int, whole: bool = True) -> list[bytes]:
    """RFC 6962 §2.1.2."""
    if first == len(hashes):
        return [] if whole else [root(hashes)]
    middle = split(len(hashes))
    if first <= middle:
        return [*consistency(hashes[:middle], first, whole), root(hashes[middle:])]
    return [*consistency(hashes[middle:], first - middle, False), root(hashes[:middle])]


def digest(disclosure: str) -> str:
    """What stands in an entry's payload for a line of a disclosures file."""
    return base64.urlsafe_b64encode(hashlib.sha256(disclosure.encode()).digest()).rstrip(b"=").decode()
