"""Counts the evidence of a period again, from the folder alone, by the texts of `proto/formats` and RFC 6962: no code of ours is
imported, and no table or figure of the folder is read."""

from __future__ import annotations

import base64
import json
from bisect import bisect_left
from collections import Counter
from pathlib import Path
from typing import Any

from .rfc6962 import Checkpoint, Receipt, Vkey, leaf_hash, node_hash, open_checkpoint, split_bundle

SYSTEM = {"genesis", "journal_gap", "erasure", "access", "key", "rules", "journal", "clock", "policy", "trim", "signer", "sources", "retention", "members", "delivery", "freeze", "agent", "prune", "alert", "incident"}
#: The state that an event leads to, where it leads to one.
STATES = {
    "requested": "pending", "granted": "granted", "denied": "denied", "expired": "expired", "cancelled": "cancelled",
    "superseded": "superseded", "token_minted": "minted", "token_lapsed": "granted", "redeemed": "redeemed", "revoked": "revoked",
    "lapsed": "lapsed", "report_missed": "unknown",
}  # fmt: skip
OUTCOMES = {"succeeded": "completed", "failed": "failed", "not_started": "failed", "unknown": "unknown"}


b64 = lambda data: base64.b64encode(data).decode()  # noqa: E731


def is_probe(entry: dict[str, Any]) -> bool:
    """Whether a decision is a probe of the server itself."""
    return entry["producer"] == "countersign" and entry["event"]["data"]["tool"]["action"] == "probe"


def number_of(path: Path) -> int:
    """The number of a tile from its path below its level: `x001/234.p/5` is 1234."""
    whole = path.parent if path.parent.suffix == ".p" else path
    return int("".join(part.removeprefix("x").removesuffix(".p") for part in whole.parts))


class Counted:
    """The proven entries of a folder. Raises `AssertionError` where the folder proves nothing."""

    def __init__(self, folder: Path, vkey: str) -> None:
        self.proof = folder / "proof"
        asked = json.loads((folder / "manifest.json").read_bytes())
        self.begin, self.end, self.since, self.until = (asked[name] for name in ("begin", "end", "from", "to"))
        note = (self.proof / "checkpoint").read_text()
        self.key = next(key for key in self.keys(vkey) if f"\u2014 {key.name} {b64(key.id)[:5]}" in note)
        self.signed: Checkpoint = open_checkpoint(note, self.key)
        self.leaves: dict[int, bytes] = {}
        #: Hash of the full subtree of this height with this number.
        self.known: dict[tuple[int, int], bytes] = {}
        for level in (self.proof / "tile").iterdir():
            for path in level.rglob("*"):
                if path.is_file():
                    self.read(level.name, number_of(path.relative_to(level)), path.read_bytes())
        self.places = sorted(self.leaves)
        assert self.hash_of(0, self.signed.size) == self.signed.root, "the bundles do not lead to the signed root"
        self.entries: dict[int, Any] = {index: json.loads(leaf) for index, leaf in self.leaves.items()}
        self.system = self.walk()
        self.prove_range()
        self.period = {n: self.entries[n] for n in range(self.begin, self.end) if self.since <= self.time(n) < self.until}

    def keys(self, first: str) -> list[Vkey]:
        """The newest key first: each key but the first is handed over in a receipt that the key before it signed."""
        listed = json.loads((self.proof / "keys.json").read_bytes())["keys"]
        found = [Vkey.parse(first)]
        assert listed[0]["vkey"] == first, "the log began with another key"
        for one in listed[1:]:
            receipt = Receipt.parse(one["receipt"])
            receipt.verify(found[0])
            said = json.loads(receipt.entry)
            assert said["kind"] == "key" and said["event"]["vkey"] == one["vkey"], said
            found.insert(0, Vkey.parse(one["vkey"]))
        return found

    def read(self, level: str, number: int, data: bytes) -> None:
        """One bundle or tile."""
        if level == "entries":
            self.leaves |= {256 * number + n: leaf for n, leaf in enumerate(split_bundle(data))}
        else:
            self.known |= {(8 * int(level), 256 * number + n): data[32 * n : 32 * n + 32] for n in range(len(data) // 32)}

    def hash_of(self, begin: int, end: int) -> bytes:
        """RFC 6962 §2.1 over a part of the leaves. A hash from a tile is taken only where no bundle lies below it."""
        height, at = (end - begin - 1).bit_length(), bisect_left(self.places, begin)
        has_leaves = at < len(self.places) and self.places[at] < end
        if not has_leaves and end - begin == 1 << height and begin % (end - begin) == 0 and (height, begin >> height) in self.known:
            return self.known[height, begin >> height]
        if end - begin == 1:
            return leaf_hash(self.leaves[begin])
        middle = begin + (1 << height - 1)
        return node_hash(self.hash_of(begin, middle), self.hash_of(middle, end))

    def walk(self) -> list[int]:
        """Every system entry, from the last leaf to the genesis along `prior.system`; oldest first."""
        found, at = [], self.signed.size - 1
        while entry := self.entries[at]:
            if entry["kind"] in SYSTEM:
                found.append(at)
            assert at in found or at == self.signed.size - 1, f"{at} is no system entry"
            before = entry["prior"].get("system")
            if before is None:
                assert at == 0 and entry["kind"] == "genesis", "the chain does not lead to the genesis"
                return found[::-1]
            assert before < at
            at = before

    def time(self, index: int) -> str:
        """`journal.time`; nine decimals, so the order of texts is that of moments."""
        return self.entries[index]["journal"]["time"]

    def prove_range(self) -> None:
        """*Period* 3: between two `clock` entries time only grows, so the entries beside the range show that nothing is cut off."""
        assert set(range(self.begin, self.end)) <= set(self.entries), "an entry of the range is not here"
        clocks = [index for index in self.system if self.entries[index]["kind"] == "clock"]
        for first, last in zip([0, *clocks], [*clocks, self.signed.size], strict=True):
            before, after = min(last, self.begin) - 1, max(first, self.end)
            assert before < first or self.time(before) < self.since, f"{before} belongs to the period"
            assert after >= last or self.time(after) >= self.until, f"{after} belongs to the period"
        self.is_over = self.end < self.signed.size
        system = approval = None
        for index in range(self.begin, self.end):
            prior, kind = self.entries[index]["prior"], self.entries[index]["kind"]
            assert system is None or prior["system"] == system, f"{index} names another system entry"
            assert approval is None or prior["approval"] == approval, f"{index} names another approval entry"
            system = index if kind in SYSTEM else prior.get("system")
            approval = index if kind == "approval" else prior.get("approval")

    def verdicts(self) -> Counter[str]:
        """Decisions of the period by verdict."""
        found = (e for e in self.period.values() if e["kind"] == "decision" and not is_probe(e))
        return Counter(entry["event"]["data"]["verdict"] for entry in found)

    def probes(self) -> Counter[tuple[str, str]]:
        """Probes of the period by minute and server."""
        found = (e for e in self.period.values() if e["kind"] == "decision" and is_probe(e))
        return Counter((e["journal"]["time"][:16], e["event"]["data"]["agent"]["run"]) for e in found)

    def acts(self) -> Counter[tuple[str, str]]:
        """What administrators, and people by approvals, did in the period, by kind and `op`; who signed in or read payload is none of it."""
        found = ((e["kind"], e["event"].get("op", "")) for n, e in self.period.items() if n in self.system)
        return Counter(act for act in found if act not in (("access", "read"), ("access", "signed_in")))

    def lists(self) -> dict[str, int]:
        """Versions of lists at the end of the period, by their entries. Each decision of ours of the period must rest on those at its place."""
        versions: dict[str, int] = {}
        for index in (n for n in self.places if n < self.end):
            event = self.entries[index]["event"]
            if self.entries[index]["kind"] == "policy" and event["op"] == "change":
                assert event["version"] == versions.get(event["name"], 0) + 1, f"{index} leaves out a version"
                versions[event["name"]] = event["version"]
            elif index in self.period and self.entries[index]["kind"] == "decision":
                for name, version in event["data"].get("lists", {}).items():
                    assert version == versions.get(name, 0), f"{index} rests on version {version} of {name}"
        return versions

    def retention(self) -> dict[str, Any]:
        """What `retention` entries say at the end of the period."""
        says: dict[str, Any] = {"payload_days": None, "floor_days": 0, "journal_days": None, "expired_below": 0, "holds": {}, "set": None, "deleted": None}
        for index in (n for n in self.system if n < self.end and self.entries[n]["kind"] == "retention"):
            match self.entries[index]["event"]:
                case {"op": "set", **days}:
                    says |= {"set": index} | {name: days.get(name) for name in ("payload_days", "journal_days")} | {"floor_days": days.get("floor_days") or 0}
                case {"op": "hold", "hold": hold}:
                    says["holds"][hold] = index
                case {"op": "release", "hold": hold}:
                    del says["holds"][hold]
                case {"op": "expire", "below": below}:
                    says["expired_below"] = below
                case {"op": "delete"}:
                    says["deleted"] = index
        return says

    def approvals(self) -> tuple[Counter[str], set[int]]:
        """Of the approvals with a message in the period: how many stand how, and the decisions whose token was redeemed."""
        stands, opening, redeemed = {}, {}, set()
        touched = {entry["event"]["approval_id"] for entry in self.period.values() if entry["kind"] == "approval"}
        for index in (n for n in self.places if n < self.end and self.entries[n]["kind"] == "approval"):
            message = self.entries[index]["event"]
            for event in message["events"]:
                opening |= {message["approval_id"]: event["opening"]["index"]} if event["type"] == "requested" else {}
                state = OUTCOMES.get(event.get("outcome")) or STATES.get(event["type"]) or stands[message["approval_id"]]
                stands[message["approval_id"]] = state
                redeemed |= {opening[message["approval_id"]]} if event["type"] == "redeemed" else set()
        return Counter(stands[approval] for approval in touched), redeemed

    def without_approval(self) -> set[int]:
        """Decisions that needed people and that a gateway reported as executed, though nobody redeemed an approval for them."""
        _, redeemed = self.approvals()
        reports = [e for e in self.period.values() if e["kind"] == "event" and e["event"]["type"] == "dev.countersign.execution.v1"]
        named = [(e["producer"], e["event"].get("data", {}).get("decision")) for e in reports]
        leaf = lambda index: b64(leaf_hash(self.leaves[index]))  # noqa: E731
        found = {d["index"] for who, d in named if d and self.entries[d["index"]]["producer"] == who and leaf(d["index"]) == d["leaf_hash"]}
        data = {index: self.entries[index]["event"]["data"] for index in found - redeemed if self.entries[index]["kind"] == "decision"}
        return {index for index, of in data.items() if of["verdict"] == "approval_needed" and of.get("mode") != "shadow"}
