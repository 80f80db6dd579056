"""The judge of every test of approvals: reads a log's entries alone, and says what could not have happened (L1–L4, L9, P7, P9, P10).

Written from `proto/formats/approval.md`, sharing nothing with the code.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

ENDS = {"denied", "expired", "cancelled", "superseded", "revoked", "lapsed"}
#: event → phases in which it may come
FOLLOWS = {
    "requested": {"none"}, "reviewed": {"pending"}, "review_rejected": {"pending"}, "asked": {"pending"}, "answered": {"pending"}, "reminded": {"pending"},
    "escalated": {"pending"}, "granted": {"pending"}, "denied": {"pending"}, "expired": {"pending"}, "superseded": {"pending"},
    "cancelled": {"pending", "granted", "minted"}, "token_minted": {"granted"}, "token_lapsed": {"minted"}, "redeemed": {"minted"},
    "redeem_rejected": {"granted", "minted", "redeemed"}, "revoked": {"granted", "minted"}, "lapsed": {"granted", "minted"},
    "clock_reset": {"pending", "granted", "minted", "redeemed"}, "report_missed": {"redeemed"}, "execution_reported": {"redeemed", "unknown"},
}  # fmt: skip
#: event → phase after it
LEADS = {"requested": "pending", "granted": "granted", "token_minted": "minted", "token_lapsed": "granted", "redeemed": "redeemed",
         "report_missed": "unknown", "execution_reported": "reported"} | {end: end for end in ENDS}
MINTS_MAX, REFUSALS_MAX = 3, 20

Message = tuple[str, dict[str, Any]]


def approvals(feed: Iterable[tuple[int, bytes]]) -> dict[str, list[Message]]:
    """approval id → its messages, each with its journal time; the chain of each is followed by `judge`."""
    found: dict[str, list[Message]] = defaultdict(list)
    for _, leaf in feed:
        entry = json.loads(leaf)
        if entry["kind"] == "approval":
            found[entry["event"]["approval_id"]].append((entry["journal"]["time"], entry["event"]))
    return found


def judge(feed: Iterable[tuple[int, bytes]]) -> None:
    """Every approval of a log is one that could have happened."""
    leaves = [leaf for _, leaf in feed]
    hashes = {leaf: base64.b64encode(hashlib.sha256(b"\0" + leaf).digest()).decode() for leaf in leaves}
    chains: dict[str, list[str]] = defaultdict(list)
    for leaf in leaves:
        entry = json.loads(leaf)
        if entry["kind"] == "approval":
            chains[entry["event"]["approval_id"]].append(hashes[leaf])
    for id, messages in approvals(enumerate(leaves)).items():
        opening = hashes[leaves[messages[0][1]["events"][0]["opening"]["index"]]]
        try:
            assert [message["n"] for _, message in messages] == [n + 1 for n in range(len(messages))], "P8: compare-and-swap"
            assert [message["prev"] for _, message in messages] == [opening, *chains[id]][:-1], "the chain is broken"
            Life().live(messages)
        except AssertionError as wrong:
            raise AssertionError(f"{id}: {wrong}\n{json.dumps(messages, indent=1)}") from wrong


class Life:
    """One approval, event by event."""

    def __init__(self) -> None:
        self.phase = "none"
        self.count: dict[str, int] = defaultdict(int)
        self.answers: dict[str, str] = {}
        self.questions: list[tuple[str, bool]] = []
        self.token = ""
        self.deadline = ""

    def live(self, messages: list[Message]) -> None:
        """All of its messages."""
        for at, message in messages:
            for event in message["events"]:
                if self.overtaken(event["type"], at):
                    break
                self.happen(event, at)

    def overtaken(self, kind: str, at: str) -> bool:
        """Whether time came first: then a message is void, whatever it says."""
        if self.phase == "pending" and at >= self.expiry and kind != "expired":
            self.phase = "expired"
        elif self.phase in ("granted", "minted") and at >= self.deadline and kind != "lapsed":
            self.phase = "lapsed"
        elif kind == "redeemed" and self.phase == "minted" and at >= self.exp:
            self.phase = "granted"
        else:
            return False
        return True

    def happen(self, event: dict[str, Any], at: str) -> None:
        """One event may follow, and only then."""
        kind = event["type"]
        assert self.phase in FOLLOWS[kind], f"{kind} in {self.phase}"
        self.count[kind] += 1
        getattr(self, f"_{kind}", lambda *_: None)(event, at)
        self.phase = LEADS.get(kind, self.phase)
        once = (*ENDS, "requested", "granted", "redeemed", "reminded", "escalated", "report_missed", "execution_reported")
        assert all(self.count[name] <= 1 for name in once), f"L1: {kind} twice"
        assert self.count["token_minted"] <= MINTS_MAX
        assert self.count["review_rejected"] + self.count["redeem_rejected"] <= REFUSALS_MAX

    def _requested(self, event: dict[str, Any], _: str) -> None:
        self.asked, self.expiry, self.clock = event, event["approval_deadline"], event["opening"]["index"]
        assert event["requested_at"] < event["approval_deadline"]

    def _clock_reset(self, event: dict[str, Any], at: str) -> None:
        assert event["clock"] > self.clock, "time began anew before it was asked for, or twice"
        self.clock = event["clock"]
        rule = self.asked["rule"]
        self.expiry, self.deadline = plus(at, rule["approve_within"]), plus(at, rule["execute_within"])
        if self.phase == "minted":
            self.phase = "granted"

    def _reviewed(self, event: dict[str, Any], _: str) -> None:
        assert event["by"] not in self.asked["owners"], "P10: an owner answered"
        shown, digest = event["displayed_dig"], self.asked["call"]["digest"]
        assert len(shown) >= 8 and digest.startswith(shown), "P7: another call was shown"
        before = self.answers.get(event["by"])
        assert before is None or (before, event["decision"]) == ("approve", "deny"), "a second answer"
        assert "reason" not in event or event["decision"] == "deny"
        self.answers[event["by"]] = event["decision"]

    def _asked(self, event: dict[str, Any], _: str) -> None:
        assert event["question"] == len(self.questions) + 1 <= 5, "a question too many, or a hole"
        assert event["by"] not in self.asked["owners"] and (event["by"], False) not in self.questions
        self.questions.append((event["by"], False))

    def _answered(self, event: dict[str, Any], _: str) -> None:
        by, done = self.questions[event["question"] - 1]
        assert not done and event["by"] != by, "answered twice, or by who asked"
        assert event["by"] == "producer:" + self.asked["opening"]["producer"] or not event["by"].startswith("producer:")
        self.questions[event["question"] - 1] = by, True

    def _granted(self, event: dict[str, Any], _: str) -> None:
        people = event["by"]
        assert people == sorted(set(people)), "P10: not distinct"
        assert all(self.answers.get(person) == "approve" for person in people), "L3: somebody did not say yes"
        assert len(people) >= least(self.asked["rule"]["quorum"]), "L3: too few"
        self.deadline = event["execution_deadline"]

    def _denied(self, event: dict[str, Any], _: str) -> None:
        assert event["by"] == sorted(person for person, answer in self.answers.items() if answer == "deny")
        assert len(event["by"]) >= self.asked["rule"]["deny"]

    def _token_minted(self, event: dict[str, Any], _: str) -> None:
        assert event["enforcer"] == self.asked["opening"]["producer"] and event["jti"] != self.token
        assert event["iat"] < event["exp"] <= self.deadline
        self.token, self.exp = event["jti"], event["exp"]

    def _redeemed(self, event: dict[str, Any], _: str) -> None:
        assert event["jti"] == self.token and event["enforcer"] == self.asked["opening"]["producer"]


def plus(time: str, seconds: int) -> str:
    """So many seconds later."""
    return (datetime.fromisoformat(time[:19]) + timedelta(seconds=seconds)).isoformat() + time[19:]


def least(quorum: dict[str, Any]) -> int:
    """The fewest people who can meet a quorum."""
    if "all" in quorum:
        return sum(map(least, quorum["all"]))
    if "any" in quorum:
        return min(map(least, quorum["any"]))
    return quorum["at_least"]
