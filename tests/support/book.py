"""What a server has promised, compared with what it holds: nothing lost (P1), nothing twice (P2)."""

from __future__ import annotations

import json
from typing import Any

from .events import event
from .server import Server

POSTED = {"decision", "event"}


class Book:
    """Publishes through a server and remembers every answer; `check` compares them with the log itself."""

    def __init__(self, server: Server) -> None:
        self.server = server
        #: (producer, source, id) → leaf index of every event that was answered `posted` or `duplicate`
        self.posted: dict[tuple[str, str, str], int] = {}
        #: leaf index → reason of every answer `rejected`
        self.rejected: dict[int, str] = {}
        #: leaf index → `first` of every answer `conflict`
        self.conflicts: dict[int, int] = {}

    def publish(self, *events: Any, producer: str = "gw-1", **options: Any) -> list[dict[str, Any]]:
        """Publishes events (dicts, or bytes as they are) as a producer, and remembers the results."""
        role = "publisher" if producer == "gw-1" else f"publisher of {producer}"
        if role not in self.server.keys:
            self.server.keys[role] = self.server.add_key(["publisher"], producer)
        results = self.server.as_(role).publish(*events, **options)
        self.note(events, results, producer)
        return results

    def note(self, events: Any, results: list[dict[str, Any]], producer: str = "gw-1") -> None:
        """Remembers results."""
        for sent, result in zip(events, results, strict=True):
            if result["status"] == "rejected":
                self.rejected[result["index"]] = result["reason"]
                continue
            sent = json.loads(sent) if isinstance(sent, bytes) else sent
            assert result["id"] == sent["id"]
            if result["status"] == "conflict":
                self.conflicts[result["index"]] = result["first"]
            else:
                known = self.posted.setdefault((producer, sent["source"], sent["id"]), result["index"])
                assert known == result["index"], f"{result} but first answered {known}"

    def one(self, sent: Any, **options: Any) -> dict[str, Any]:
        """Publishes one event; its result."""
        return self.publish(sent, **options)[0]

    def check(self) -> None:
        """A good event is posted still, the feed has no holes, and holds every answered event exactly once."""
        assert self.one(event())["status"] == "posted"
        found: dict[tuple[str, str, str], list[int]] = {}
        rejected, conflicts, count = {}, {}, 0
        for index, leaf in self.server.admin.feed():
            assert index == count
            count += 1
            entry = json.loads(leaf)
            if entry["kind"] in POSTED:
                key = (entry["producer"], entry["event"]["source"], entry["event"]["id"])
                found.setdefault(key, []).append(index)
            elif entry["kind"] == "rejected":
                rejected[index] = entry["event"]["reason"]
            elif entry["kind"] == "duplicate_conflict":
                conflicts[index] = entry["event"]["first"]
        assert count == self.server.admin.size()
        twice = {key: at for key, at in found.items() if len(at) > 1}
        assert not twice, f"P2: posted more than once: {twice}"
        lost = {key: at for key, at in self.posted.items() if found.get(key) != [at]}
        assert not lost, f"P1: not where the answer said: {lost}"
        assert self.rejected.items() <= rejected.items(), "P3: a rejected entry is not where the answer said"
        assert self.conflicts.items() <= conflicts.items(), "P2: a conflict entry is not where the answer said"
