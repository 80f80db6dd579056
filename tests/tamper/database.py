"""A stopped server's database in the hands of somebody with a database tool and no keys: the PyPI package `rocksdict`."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import rfc8785
from rocksdict import DBCompressionType, Options, Rdict
from support import rfc6962

#: Number of the only log.
LOG = struct.pack(">I", 1)
ALL = b"\xff\xff\xff\xff"


def u64(number: int) -> bytes:
    """Eight bytes, big-endian."""
    return struct.pack(">Q", number)


def b64(raw: bytes) -> str:
    """Base64, as hashes are written."""
    return base64.b64encode(raw).decode()


def url64(raw: bytes) -> str:
    """Base64url without padding, as digests are written."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def digest(text: bytes) -> str:
    """What stands in a leaf for a disclosure."""
    return url64(hashlib.sha256(text).digest())


def plain() -> Options:
    """Keys and values as they are, and no compression that the server does not read."""
    options = Options(raw_mode=True)
    options.set_compression_type(DBCompressionType.none())
    return options


class Database:
    """All families of one data directory (layout: `crates/ledger/src/store.rs`)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        families = {name: plain() for name in Rdict.list_cf(str(path))}
        self._db = Rdict(str(path), plain(), column_families=families)
        self._families = {name: self._db.get_column_family(name) for name in families}

    def __enter__(self) -> "Database":
        return self

    def __exit__(self, *_: object) -> None:
        for family in self._families.values():
            family.close()
        self._db.close()
        (self.path / "rocksdict-config.json").unlink(missing_ok=True)

    # rows

    def get(self, family: str, key: bytes) -> bytes | None:
        """One value."""
        return self._families[family].get(key)

    def put(self, family: str, key: bytes, value: bytes) -> None:
        """Writes one value."""
        self._families[family][key] = value

    def delete(self, family: str, key: bytes) -> None:
        """Deletes one row, which must be there."""
        assert self.get(family, key) is not None, (family, key)
        del self._families[family][key]

    def rows(self, family: str, prefix: bytes = LOG) -> Iterator[tuple[bytes, bytes]]:
        """Rows whose keys begin with `prefix`, in order; they may be changed meanwhile."""
        found = []
        for key, value in self._families[family].items(from_key=prefix):
            if not key.startswith(prefix):
                break
            found.append((bytes(key), bytes(value)))
        return iter(found)

    # meta

    def meta(self, name: str) -> Any:
        """A JSON value of the log in `meta`."""
        value = self.get("meta", name.encode() + LOG)
        assert value is not None, name
        return json.loads(value.split(b"\n")[0])

    def set_meta(self, name: str, value: Any) -> None:
        """Writes one; a seal that stands behind the old value is left there, for there is no key to make another."""
        self.put_sealed(name.encode() + LOG, json.dumps(value).encode())

    def put_sealed(self, key: bytes, value: bytes) -> None:
        """Replaces a value of `meta` before its seal."""
        _, line_end, seal = (self.get("meta", key) or b"").partition(b"\n")
        self.put("meta", key, value + line_end + seal)

    @property
    def position(self) -> dict[str, Any]:
        """The commit record."""
        return self.meta("position")

    def move(self, **members: Any) -> None:
        """Changes members of the commit record."""
        self.set_meta("position", self.position | members)

    @property
    def size(self) -> int:
        """Number of entries, by the commit record."""
        return self.position["size"]

    # entries and tiles

    def entry(self, index: int) -> bytes:
        """A leaf's bytes."""
        value = self.get("entries", LOG + u64(index))
        assert value is not None, index
        return value

    def decoded(self, index: int) -> dict[str, Any]:
        """A leaf, decoded."""
        return json.loads(self.entry(index))

    def set_entry(self, index: int, entry: bytes | dict[str, Any]) -> None:
        """Replaces a leaf."""
        self.put("entries", LOG + u64(index), entry if isinstance(entry, bytes) else rfc8785.dumps(entry))

    def leaves(self) -> list[bytes]:
        """Every leaf's bytes."""
        return [value for _, value in self.rows("entries")]

    def find(self, **wanted: Any) -> list[int]:
        """Leaf indexes of entries with these members, e.g. `kind="approval"`."""
        return [index for index, leaf in enumerate(self.leaves()) if wanted.items() <= json.loads(leaf).items()]

    def of_approval(self, approval: str, event: str | None = None) -> list[int]:
        """Leaf indexes of an approval's messages; with `event`: of those that hold an event of this type."""
        found = []
        for index in self.find(kind="approval"):
            message = self.decoded(index)["event"]
            types = [made["type"] for made in message["events"]]
            if message["approval_id"] == approval and (event is None or event in types):
                found.append(index)
        return found

    def retile(self, *, root: bool = False) -> None:
        """Computes every full tile anew; with `root`, the commit record's root and size too."""
        level, hashes = 0, [rfc6962.leaf_hash(leaf) for leaf in self.leaves()]
        if root:
            self.move(size=len(hashes), root=b64(rfc6962.root(hashes)))
        for key, _ in self.rows("tiles"):
            self.delete("tiles", key)
        while len(hashes) >= 256:
            full = len(hashes) // 256
            for number in range(full):
                self.put("tiles", LOG + bytes([level]) + u64(number), b"".join(hashes[number * 256 : (number + 1) * 256]))
            hashes = [rfc6962.root(hashes[number * 256 : (number + 1) * 256]) for number in range(full)]
            level += 1

    # payload

    def payload(self, index: int) -> tuple[str, list[bytes]]:
        """The salt of `commit` ("" if it is gone) and the disclosures that are left."""
        value = self.get("payload", LOG + u64(index))
        assert value is not None and value[0] == 1
        (length,) = struct.unpack(">H", value[1:3])
        salt, rest, texts = value[3 : 3 + length].decode(), value[3 + length :], []
        while rest:
            (length,) = struct.unpack(">I", rest[:4])
            texts.append(rest[4 : 4 + length])
            rest = rest[4 + length :]
        return salt, texts

    def set_payload(self, index: int, salt: str, texts: list[bytes]) -> None:
        """Replaces it."""
        packed = b"".join(struct.pack(">I", len(text)) + text for text in texts)
        self.put("payload", LOG + u64(index), b"\1" + struct.pack(">H", len(salt)) + salt.encode() + packed)

    # the embedded journal

    def message(self, seq: int) -> bytes:
        """A message of the embedded journal, as stored."""
        value = self.get("journal", LOG + u64(1) + u64(seq))
        assert value is not None, seq
        return value

    def append_message(self, subject: str, body: bytes, signature: str) -> int:
        """Adds a message to the embedded journal, with its index; returns its sequence."""
        seq = int.from_bytes(self.get("meta", b"journal" + LOG + u64(1)) or b"", "big") + 1
        salt = url64(bytes(16)).encode()
        time = self.position["time"] + 1
        parts = [struct.pack(">H", len(part)) + part for part in (salt, signature.encode(), subject.encode())]
        self.put("journal", LOG + u64(1) + u64(seq), u64(time) + b"\3" + b"".join(parts) + body)
        self.put("meta", b"journal" + LOG + u64(1), u64(seq))
        self.put("subject_index", LOG + u64(1) + subject.encode() + b"\0" + u64(seq), b"")
        return seq

    # forging

    def append(self, kind: str, event: dict[str, Any], *, subject: str, seq: int | None = None) -> int:
        """A forged entry with everything that follows from it but tiles, root and checkpoint; returns its index."""
        index, position = len(self.leaves()), self.position
        seq = position["posted"] + 1 if seq is None else seq
        salt = url64(hashlib.sha256(subject.encode()).digest())
        last = self.decoded(index - 1)
        commit = digest(rfc8785.dumps([salt, "", event]))
        entry = last | {"kind": kind, "event": event, "producer": None, "payload": [], "commit": commit,
                        "journal": last["journal"] | {"seq": seq}}  # fmt: skip
        entry = {name: value for name, value in entry.items() if name not in ("salt", "sequence")}
        entry["prior"] = prior(self, index)
        self.set_entry(index, entry)
        self.set_payload(index, salt, [])
        family, _, topic = subject.partition(".")
        if family == "system":
            self.move(topics=position["topics"] | {topic: seq})
        self.put("subjects", LOG + u64(1) + subject.encode(), u64(seq))
        if kind == "approval":
            self.put("approvals", LOG + subject.split(".")[1].encode() + b"\0" + u64(index), b"a")
        if kind == "access":
            key = {name: value for name, value in event.items() if name != "op"}
            self.put("access", LOG + key["key_id"].encode(), json.dumps(key).encode())
            self.put("access", ALL + key["key_id"].encode(), LOG)
        self.move(posted=seq, size=index + 1)
        return index


def prior(db: Database, index: int) -> dict[str, int]:
    """What an entry at `index` must say of the approval and system entries before it."""
    system = {"genesis", "journal_gap", "access", "erasure", "key", "rules", "journal"}
    said: dict[str, int] = {}
    for at in range(index - 1, -1, -1):
        kind = db.decoded(at)["kind"]
        name = "approval" if kind == "approval" else "system" if kind in system else None
        if name:
            said.setdefault(name, at)
        if len(said) == 2:
            break
    return said
