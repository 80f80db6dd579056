"""P7, P9, P10: `countersign approval`, for a person with a reviewer key, on a terminal and in a script."""

from __future__ import annotations

import os
import pty
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import Server
from support.asking import policy_folder
from support.binary import Finished, countersign_bin
from support.deciding import CALL, Deciding
from support.schemas import check
from support.waits import until

ASKS = """language: 1
policy: pay
clauses:
  - {id: asked, agents: ["@finance-bots"], tool: payments, actions: [transfer], then: approval_needed}
"""
#: What an agent would send to move a terminal, or to turn a text around.
HOSTILE = "ACME\x1b[2J\u202eEMCA"


class Terminal(Deciding):
    """A tenant whose people answer by command."""

    def pause(self, **over: Any) -> str:
        """A call that people are asked about."""
        told = self.told(params=CALL | over)
        assert told["verdict"] == "approval_needed", told
        return told["approval"]["id"]

    def run(self, command: str, *args: object, person: str = "p-bob") -> Finished:
        """`countersign approval <command>` with a person's key, and without a terminal."""
        self.reviewer(person)
        return self.server.remote(f"approval {command}", "--tenant", self.tenant, *args, key=self.keys[f"reviewer {person}"])

    def typed(self, text: str, command: str, *args: object, person: str = "p-bob") -> Finished:
        """The same on a terminal, at which the person types this."""
        self.reviewer(person)
        key = self.server.key_file(self.keys[f"reviewer {person}"])
        line = [countersign_bin(), "approval", command, "--server", self.server.url, "--api-key-file", key, "--tenant", self.tenant, *args]
        ours, theirs = pty.openpty()
        try:
            os.write(ours, text.encode())
            done = subprocess.run([str(word) for word in line], stdin=theirs, capture_output=True, text=True, timeout=60, check=False)
        finally:
            os.close(ours)
            os.close(theirs)
        return Finished(done.returncode, done.stdout, done.stderr)

    def shown_to(self, id: str) -> list[tuple[str, int, str]]:
        """To whom the log says that it was shown: person, version and where."""
        told = [e["event"]["shown"] for e in self.server.admin.entries(kind="evidence") if e["event"].get("approval_id") == id and "shown" in e["event"]]
        return [(shown["to"], shown["version"], shown["via"]) for shown in told]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Terminal]:
    with Server(tmp_path / "server") as server:
        desk = Terminal(server)
        desk.activate(policy_folder(tmp_path / "policies", ASKS))
        yield desk


def test_p7_the_command_shows_what_the_page_shows(desk: Terminal) -> None:
    """The sentence, the facts and every param, of whoever is asked; the log says who saw which version. Nothing of an agent moves the terminal."""
    id = desk.pause(to=HOSTILE)
    listed = desk.run("list").ok().out
    assert id in listed and "pending" in listed and "payments · transfer by payments-bot" in listed
    assert desk.run("list", person="p-carla").ok().out.strip() == "nothing is in this list for this key"
    assert [a["id"] for a in desk.run("list", "--json").ok().json()["approvals"]] == [id]
    assert desk.run("list", "--state", "all").code == 2
    shown = desk.run("show", "--json", id).ok().json()
    check("approval", shown)
    said = desk.run("show", id).ok().out
    for fact in (
        "Approval needed", "EUR 500.00" if shown["shown"]["amount"] else "payments", "payments · transfer", "payments-bot, run r-1", "1 of finance",
        "paused by policies: 1 of finance must approve", "/amount", "50000", "/reference", '"INV-004711"', "/to", "\\u{202e}", shown["call"]["digest"], f"version       {shown['version']}",
    ):  # fmt: skip
        assert fact in said, f"{fact}: {said}"
    assert "\x1b" not in said and "\u202e" not in said
    assert {param["at"] for param in shown["shown"]["params"]} == {f"/{name}" for name in shown["frozen"]["params"]} and shown["shown"]["complete"]
    until("it is recorded who saw it", lambda: ("p-bob", shown["version"], "api") in desk.shown_to(id))
    assert desk.run("show", id, person="p-carla").code == 1, "who is not asked sees nothing"
    assert desk.run("show", "../keys").code == 2


def test_p9_nothing_is_answered_unseen_or_unconfirmed(desk: Terminal) -> None:
    """Without a terminal and without --yes nothing happens; nor without digest and version; nor if the person types something else."""
    id = desk.pause()
    for args in ((), ("--yes",), ("--yes", "--version", 1), ("--digest", "x")):
        done = desk.run("approve", *args, id)
        assert done.code == 2, (args, done)
    for text in ("no\n", "\n", "y\n", "approve it\n", "deny\n"):
        done = desk.typed(text, "approve", id)
        assert done.code == 1 and "not confirmed" in done.err and "/amount" in done.out, done
    done = desk.typed("approve\n", "approve", "--version", 77, id)
    assert done.code == 1 and "nothing is recorded" in done.err
    after = desk.approval(id)
    assert (after["state"], after["reviews"]) == ("pending", [])


def test_p7_p10_a_person_answers_on_a_terminal(desk: Terminal) -> None:
    """The answer carries the digest and version that were shown, and the comment; who is not asked gets nothing."""
    id = desk.pause()
    digest = desk.approval(id)["call"]["digest"]
    refused = desk.typed("approve\n", "approve", id, person="p-carla")
    assert refused.code == 1 and digest not in refused.out
    done = desk.typed("approve\n", "approve", "--comment", "Seen", id).ok()
    assert "recorded: approved. The approval is granted" in done.out and digest in done.out and digest[:8] in done.err
    [review] = [event for event in desk.history_of(id) if event["type"] == "reviewed"]
    assert (review["by"], review["decision"], review["via"], review["displayed_dig"]) == ("p-bob", "approve", "api", digest)
    over = desk.typed("approve\n", "approve", id)
    assert over.code == 1 and "granted: nobody is asked any more" in over.err
    denied = desk.pause()
    assert "recorded: denied. The approval is denied" in desk.typed("deny\n", "deny", denied).ok().out
    assert desk.approval(denied)["state"] == "denied"


def test_p7_a_script_answers_what_it_was_shown(desk: Terminal) -> None:
    id = desk.pause()
    shown = desk.run("show", "--json", id).ok().json()
    digest, version = shown["call"]["digest"], shown["version"]
    other = desk.pause(amount=1)
    wrong = desk.run("approve", "--yes", "--digest", desk.approval(other)["call"]["digest"], "--version", version, id)
    assert wrong.code == 1 and "digest_mismatch" in wrong.err
    stale = desk.run("approve", "--yes", "--digest", digest, "--version", version + 1, id)
    assert stale.code == 1 and "stale" in stale.err
    assert desk.approval(id)["state"] == "pending"
    done = desk.run("approve", "--json", "--yes", "--digest", digest, "--version", version, id).ok().json()
    assert (done["state"], [r["by"] for r in done["reviews"]]) == ("granted", ["p-bob"])


def test_p7_a_person_asks_a_question(desk: Terminal) -> None:
    """It is about what was shown, and decides nothing. The answer is in `show`; who is not asked asks nothing."""
    id = desk.pause()
    digest = desk.approval(id)["call"]["digest"]
    other = desk.approval(desk.pause(amount=1))["call"]["digest"]
    assert desk.run("ask", "--text", "Who?", id, person="p-carla").code == 1
    wrong = desk.run("ask", "--text", "Who?", "--digest", other, id)
    assert wrong.code == 1 and "digest_mismatch" in wrong.err
    assert desk.run("ask", id).code == 2 and desk.run("ask", "--text", "", id).code == 1
    said = desk.run("ask", "--text", f"Which invoice? {HOSTILE}", id).ok().out
    assert digest in said and "recorded: question 1" in said, "the call was shown first"
    waits = desk.run("ask", "--text", "And who?", "--digest", digest, id)
    assert waits.code == 1 and "too_many_questions" in waits.err
    shown = desk.run("show", id).ok().out
    assert "question 1" in shown and "p-bob" in shown and "Which invoice?" in shown and "none yet" in shown
    assert "\x1b" not in shown and "\u202e" not in shown
    gateway = desk.server.as_("enforcer")
    assert gateway.http.post(f"{gateway.t}/approvals/{id}/questions/1/answer", json={"text": "RE-2088"}).status_code == 200
    shown = desk.run("show", id).ok().out
    assert "not checked: RE-2088" in shown and "none yet" not in shown
    assert desk.run("ask", "--json", "--digest", digest, "--text", "And who?", id).ok().json()["asked"] == 2
    assert desk.approval(id)["state"] == "pending"


def test_a_denial_has_a_reason(desk: Terminal) -> None:
    """The log has its code; the agent's gateway reads the text."""
    id = desk.pause()
    assert desk.run("deny", "--reason", "because", id).code == 2
    assert desk.run("approve", "--reason", "duplicate", id).code == 2, "only a denial has one"
    desk.typed("deny\n", "deny", "--reason", "duplicate", "--for-agent", "Paid on Monday", id).ok()
    [review] = [event for event in desk.history_of(id) if event["type"] == "reviewed"]
    assert (review["decision"], review["reason"]) == ("deny", "duplicate")
    shown = desk.run("show", id).ok().out
    assert ", duplicate" in shown and "Paid on Monday" in shown
