"""Counts verdicts in an export, and compares them with what gateways were told. A program of its own: it imports nothing of ours
and nothing but the standard library, and is started with `python -I`.

    python -I count_verdicts.py EXPORT TOLD.json

Writes `{"size", "verdicts", "voids", "activations", "told", "allows", "contended", "wrong": […]}`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from pathlib import Path


def leaves(export: Path, size: int) -> list[bytes]:
    """The entries of the bundles: each is two bytes of length, and the entry."""
    found = []
    for number in range((size + 255) // 256):
        name = f"{number % 1000:03}"
        rest = number // 1000
        while rest:
            name, rest = f"x{rest % 1000:03}/{name}", rest // 1000
        width = min(256, size - number * 256)
        path = export / "tile" / "entries" / (name if width == 256 else f"{name}.p/{width}")
        data = path.read_bytes()
        while data:
            length = int.from_bytes(data[:2], "big")
            found.append(data[2 : 2 + length])
            data = data[2 + length :]
    return found


def root(hashes: list[bytes]) -> bytes:
    """RFC 6962, by its definition."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    split = 1 << (len(hashes) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + root(hashes[:split]) + root(hashes[split:])).digest()


def main(export: Path, told: list[dict]) -> dict:
    """Counts."""
    wrong: list[str] = []
    lines = (export / "checkpoint").read_text().split("\n")
    size = int(lines[1])
    entries = leaves(export, size)
    hashes = [hashlib.sha256(b"\0" + entry).digest() for entry in entries]
    if len(entries) != size or base64.b64encode(root(hashes)).decode() != lines[2]:
        wrong.append("the entries do not give the root of the checkpoint")
    decoded = [json.loads(entry) for entry in entries]

    # What is in force is a place in the log, and every verdict names what is in force at its place.
    in_force, redeemed, activations, voids, contended = None, None, 0, set(), 0
    verdicts: dict[tuple[str, str, str], int] = {}
    lists: dict[str, int] = {}
    frozen: dict[int, dict] = {}
    for index, entry in enumerate(decoded):
        event, kind = entry["event"], entry["kind"]
        if kind == "policy" and event["op"] == "activate":
            if redeemed != index - 1 or event.get("replaces") != in_force:
                wrong.append(f"entry {index} activates without a redemption, or replaces what is not in force")
            in_force, activations = event["digest"], activations + 1
        if kind == "policy" and event["op"] == "change":
            if redeemed != index - 1 or event["version"] != lists.get(event["name"], 0) + 1:
                wrong.append(f"entry {index} changes a list without a redemption, or leaves out a version")
            lists[event["name"]] = event["version"]
        if kind == "approval" and any(e["type"] == "redeemed" for e in event["events"]):
            redeemed = index
        if kind == "void":
            voids.add(index)
        if kind == "freeze" and event["op"] == "freeze":
            frozen[index] = event
        elif kind == "freeze":
            del frozen[event["freeze"]]
        data = event.get("data") or {}
        if kind != "decision" or "as_of" not in data or data["tool"]["name"] == "countersign":
            continue
        # The load freezes agents alone.
        stopped = {at for at, f in frozen.items() if f["id"] == data["agent"]["id"] and f.get("producer") in (None, entry["producer"])}
        if stopped and data["verdict"] != "deny":
            wrong.append(f"entry {index} permits what {stopped} froze")
        if data["as_of"] > index:
            wrong.append(f"entry {index} was decided from {data['as_of']} entries")
        if data["reason"]["code"] == "contended":
            contended += 1
            if data["verdict"] != "deny" or "bundle" in data:
                wrong.append(f"entry {index} is contended, and no plain denial")
        elif data["reason"]["code"] == "frozen":
            if data["verdict"] != "deny" or "bundle" in data or data.get("frozen_by") not in stopped:
                wrong.append(f"entry {index} is denied for a freeze that does not stop it")
        elif data.get("bundle") != in_force:
            wrong.append(f"entry {index} was decided by {data.get('bundle')}, in force is {in_force}")
        for name, version in data.get("lists", {}).items():
            if version != lists.get(name, 0):
                wrong.append(f"entry {index} was decided by version {version} of {name}, in force is {lists.get(name, 0)}")
        key = (entry["producer"], event["source"], event["id"])
        if key in verdicts:
            wrong.append(f"{key} has two verdicts: entries {verdicts[key]} and {index}")
        verdicts[key] = index

    # Whatever a gateway was told stands in the log, as it was told.
    answers: dict[tuple[str, str], tuple] = {}
    for answer in told:
        index, key = answer["index"], (answer["source"], answer["id"])
        said = (index, answer["verdict"], answer["bundle"], answer["call"])
        if answers.setdefault(key, said) != said:
            wrong.append(f"{key} was told {answers[key]} and {said}")
        if index in voids:
            wrong.append(f"{key} was told entry {index}, which is void")
        entry = decoded[index] if index < size else {"kind": "nothing", "event": {}}
        event = entry["event"]
        data = event.get("data") or {}
        if entry["kind"] != "decision" or (event["source"], event["id"]) != key:
            wrong.append(f"{key} was told entry {index}, which is {entry['kind']} of something else")
        elif (data["verdict"], data.get("bundle"), data["call"]["digest"]) != said[1:]:
            wrong.append(f"{key} was told {said}, entry {index} says {data['verdict']} by {data.get('bundle')}")
        elif base64.b64encode(hashes[index]).decode() != answer["leaf_hash"]:
            wrong.append(f"{key} was told another leaf hash than that of entry {index}")
    firsts = [(a["source"], a["id"]) for a in told if not a["repeated"]]
    if len(firsts) != len(set(firsts)):
        wrong.append("two answers to one question claim to be the first")
    return {
        "size": size, "verdicts": len(verdicts), "voids": len(voids), "activations": activations, "told": len(answers),
        "allows": sum(said[1] == "allow" for said in answers.values()), "contended": contended, "wrong": wrong,
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text()))))
