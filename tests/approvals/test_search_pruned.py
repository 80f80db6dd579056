"""The search keeps nothing of a call that was pruned, and nothing at any time that an erasure must reach."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from tamper.database import LOG, Database
from test_erase import places, secret
from test_prune import exported, filled, prune

from support import Server, until
from support.pages import Office, Visitor

ROWS = LOG + b"\x01"


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """On a server that compresses nothing, so that its files show what is in them."""
    with Server(tmp_path / "server", compression="none") as server:
        yield Office.open(server)


def found(visitor: Visitor, agent: str) -> str:
    """The page of a search that read everything."""
    page = visitor.get(f"/?show=decided&search=1&agent={agent}")
    assert page.status_code == 200 and "read everything that you may read" in page.text, page.text
    return page.text


def rows(server: Server) -> list[bytes]:
    """What is in the rows of a stopped server, under what keys."""
    with Database(server.data_dir) as db:
        return [key + b" " + value for key, value in db.rows("search") if key.startswith(ROWS)]


def form_of(agent: str) -> str:
    """How a row names the agent. Nothing else in the database has this form: what is watched names agents too, not calls."""
    return f'"agent":"{agent}","tool":"mail","owners"'


def test_p20_a_pruned_call_is_not_found_and_its_rows_are_gone(office: Office, tmp_path: Path, rng: random.Random) -> None:
    """Neither by the search, nor in the rows, nor in the files. One across the border is found as before."""
    server, maria = office.server, office.visitor("p-maria")
    words = {name: secret(rng).lower() for name in ("old", "across", "young")}
    pause = lambda name: office.listed(office.pause({"amount": 1}, tool="mail", action="send", agent=words[name]))  # noqa: E731
    # Keys are made when they are first used, and the bundles of their entries stay.
    first = office.listed(office.pause({"amount": 1}, tool="mail", action="send"))
    assert maria.review(first, "deny").status_code == 303
    exported(server, tmp_path / "first")
    filled(server, 300)
    old = pause("old")
    assert maria.review(old, "deny").status_code == 303
    filled(server, 300)
    across = pause("across")
    filled(server, 300)
    border = server.admin.size() // 256 * 256
    filled(server, 10)
    for call in (across, pause("young")):
        assert maria.review(call, "deny").status_code == 303
    filled(server, 300)
    folder = exported(server, tmp_path / "export")
    for name in words:
        until(f"{name} is found", lambda name=name: "1 found" in found(maria, words[name]))
    server.stop()
    assert {name for name in words for row in rows(server) if words[name].encode() in row} == set(words)
    assert places([server.data_dir], form_of(words["old"]))
    server.start()
    assert prune(server, border, folder).ok().json()["status"] == "pruned"
    until("the rows are gone from the files", lambda: not places([server.data_dir], form_of(words["old"])))
    maria = office.visitor("p-maria")
    until("the search goes on", lambda: f"/approvals/{across.id}" in found(maria, words["across"]))
    assert "No call that you may read fits" in found(maria, words["old"])
    assert old.id not in found(maria, "") and "1 found" in found(maria, words["young"])
    server.stop()
    kept = rows(server)
    assert not [row for row in kept if words["old"].encode() in row or old.id.encode() in row]
    assert {name for name in words for row in kept if words[name].encode() in row} == {"across", "young"}
    assert not places([server.data_dir], form_of(words["old"]))
    server.fsck().ok()
    # Written again from the entries that are left, they are the same.
    with Database(server.data_dir) as db:
        for key, _ in db.rows("search"):
            db.delete("search", key)
    server.fsck().ok()
    server.start()
    maria = office.visitor("p-maria")
    until("they are written again", lambda: "1 found" in found(maria, words["young"]))
    assert "1 found" in found(maria, words["across"]) and old.id not in found(maria, "")
    server.stop()
    assert rows(server) == kept
    server.fsck().ok()


def test_p11_the_rows_hold_nothing_that_can_be_erased(office: Office, rng: random.Random) -> None:
    """They have what is plain in entries. What was in the payload is found nowhere after its erasure, and by no search before it."""
    server, maria = office.server, office.visitor("p-maria")
    param, reason, comment, agent = (secret(rng).lower() for _ in range(4))
    call = office.listed(office.pause({"amount": 1, "to": param}, tool="mail", action="send", agent=agent, reason=reason))
    assert maria.review(call, "deny", comment=comment).status_code == 303
    until("it is found", lambda: "1 found" in found(maria, agent))
    for word in (param, reason, comment):
        assert call.id not in found(maria, word)
    about = [n for n, entry in enumerate(server.admin.entries()) if entry.get("payload") and entry["kind"] in ("decision", "evidence")]
    assert places([server.data_dir], param) and places([server.data_dir], comment)
    assert server.admin.erase(about)["status"] == "complete"
    assert not places([server.data_dir], param) and not places([server.data_dir], reason)
    assert call.id in found(maria, agent), "that a call was answered stays"
    server.stop()
    kept = rows(server)
    assert len([row for row in kept if json.loads(row[row.index(b"{") :])["agent"] == agent]) == 2
    assert not [row for row in kept for word in (param, reason, comment) if word.encode() in row]
    server.fsck().ok()
