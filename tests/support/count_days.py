"""Counts what the entries of an export say, by UTC day, as `proto/formats/counts.md` says. A program of its own: it imports nothing
of ours and nothing but the standard library, and is started with `python -I`.

    python -I count_days.py EXPORT

Writes `{"size", "days": {"2026-11-20": {name: {"values": {…}, "other": n}}}, "all": {…}}`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
from datetime import datetime
from pathlib import Path

VALUES_MAX, CALLS_MAX = 100, 500
LATENCY_MS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 20000, 60000]


def leaves(export: Path, size: int) -> list[bytes]:
    """The entries of the bundles: each is two bytes of length, and the entry."""
    found = []
    for number in range((size + 255) // 256):
        name = f"{number % 1000:03}"
        rest = number // 1000
        while rest:
            name, rest = f"x{rest % 1000:03}/{name}", rest // 1000
        width = min(256, size - number * 256)
        data = (export / "tile" / "entries" / (name if width == 256 else f"{name}.p/{width}")).read_bytes()
        while data:
            length = int.from_bytes(data[:2], "big")
            found.append(data[2 : 2 + length])
            data = data[2 + length :]
    return found


def nanos(text: str) -> int:
    """Nanoseconds since 1970 of any RFC 3339 time."""
    whole, fraction, zone = re.fullmatch(r"(.{19})(?:\.(\d+))?(.+)", text).groups()
    seconds = int(datetime.fromisoformat(whole + ("+00:00" if zone in "Zz" else zone)).timestamp())
    return seconds * 10**9 + int(((fraction or "") + "0" * 9)[:9])


def facts(entry: dict, before: list[bytes]) -> list[tuple[str, str]]:
    """What one entry adds: name and value."""
    found = [("kind", entry["kind"])]
    event = entry["event"]
    if entry["kind"] == "approval":
        return found + [("approval", one["type"]) for one in event["events"]]
    if entry["kind"] not in ("decision", "event"):
        return found
    data = event.get("data") or {}
    if event["type"] == "dev.countersign.execution.v1":
        named, verdict = data.get("decision"), "none"
        if named and named["index"] < len(before):
            leaf = before[named["index"]]
            decision = json.loads(leaf)
            hashed = base64.b64encode(hashlib.sha256(b"\0" + leaf).digest()).decode()
            if hashed == named["leaf_hash"] and decision["kind"] == "decision":
                verdict = decision["event"]["data"]["verdict"]
        return found + [("execution", verdict)]
    if event["type"] != "dev.countersign.decision.v1":
        return found
    ours = "as_of" in data
    server = ours and entry["producer"] == "countersign"
    if server and data["tool"]["action"] == "probe":
        return found + [("probe", data["agent"].get("run", ""))]
    found += [
        ("verdict", data["verdict"]), ("mode", data.get("mode", "enforce")), ("tool", data["tool"]["name"]), ("producer", entry["producer"]),
        ("by", "server" if server else "ours" if ours else "told"),
    ]
    call = [
        data["tool"]["name"], data["verdict"], data.get("mode") != "shadow", data.get("shadow", {}).get("verdict", ""), data.get("reason", {}).get("code", ""),
    ]
    found.append(("call", json.dumps(call, ensure_ascii=False, separators=(",", ":"))))
    if not server:
        found.append(("policy", "with" if {"id", "version"} <= set(data.get("policy", {})) else "without"))
    if data["verdict"] == "deny":
        found += [("denied", data.get("reason", {}).get("code", "none")), ("denied_agent", data["agent"]["id"])]
    if ours and not server:
        took = max(0, nanos(entry["journal"]["time"]) - nanos(event["time"]))
        bounds = [bound for bound in LATENCY_MS if took <= bound * 10**6]
        found.append(("latency", str(bounds[0]) if bounds else "more"))
    return found


def add(day: dict, name: str, value: str) -> None:
    """One more."""
    counts = day.setdefault(name, {"values": {}, "other": 0})
    if value in counts["values"] or len(counts["values"]) < (CALLS_MAX if name == "call" else VALUES_MAX):
        counts["values"][value] = counts["values"].get(value, 0) + 1
    else:
        counts["other"] += 1


def main(export: Path) -> dict:
    """Counts."""
    size = int((export / "checkpoint").read_text().split("\n")[1])
    days: dict = {}
    everything: dict = {}
    all_leaves = leaves(export, size)
    for index, leaf in enumerate(all_leaves):
        entry = json.loads(leaf)
        before = all_leaves[:index] if entry["kind"] == "event" else []
        for name, value in facts(entry, before):
            add(days.setdefault(entry["journal"]["time"][:10], {}), name, value)
            add(everything, name, value)
    return {"size": size, "days": days, "all": everything}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
