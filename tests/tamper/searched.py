"""Attacks on the rows by which the pages find approvals: one is hidden from whoever may read it, or offered to somebody who may not."""

from __future__ import annotations

import hashlib
import json

from support.house import Paused
from support.pages import Visitor

from .attacks import row
from .database import LOG, Database
from .sound import World


def _rows(db: Database, approval: Paused) -> list[tuple[bytes, bytes]]:
    """Those of one approval. The first row of all says how far the others are."""
    found = [(key, value) for key, value in db.rows("search", LOG + b"\1") if json.loads(value)["id"] == approval.id]
    assert len(found) == 2, "one of the group that is asked, and one of who answered"
    return found


def _found(world: World, person: str, approval: Paused) -> bool:
    """Whether somebody finds it, among all that is over."""
    client = world.house.person(person)
    visitor = Visitor(world.server)
    signed_in = visitor.sign_in(person, world.server.keys[f"person {person} "].text)
    assert signed_in.status_code == 303 and client, signed_in.text
    # The public address begins with https, so the cookie is one that is sent over TLS alone.
    visitor.http.headers["Cookie"] = signed_in.headers["set-cookie"].partition(";")[0]
    page = visitor.get("/?show=decided&search=1")
    assert page.status_code == 200 and "read everything" in page.text, page.text
    assert world.sound.revoked and (f"/approvals/{world.sound.revoked.id}" in page.text) == (person != "p-lea"), "the search works"
    return f"/approvals/{approval.id}" in page.text


def _hidden(world: World) -> str:
    assert world.sound.denied
    return "" if _found(world, "p-ana", world.sound.denied) else "the search does not find a call"


def _offered(world: World) -> str:
    assert world.sound.denied
    return "the search shows a call to somebody who may not see it" if _found(world, "p-lea", world.sound.denied) else ""


@row("28", "the rows by which a call is found deleted", "fsck", admitted="hide a call from the search of the pages", probe=_hidden)
def _(db: Database, world: World) -> None:
    assert world.sound.denied
    for key, _ in _rows(db, world.sound.denied):
        db.delete("search", key)


@row("28o", "a row by which a call is offered to a group that is not asked", "fsck", probe=_offered)
def _(db: Database, world: World) -> None:
    assert world.sound.denied
    term = lambda group: LOG + b"\1" + hashlib.sha256(b"group\0" + group).digest()[:16]  # noqa: E731
    (asked,) = [(key, value) for key, value in _rows(db, world.sound.denied) if key.startswith(term(b"finance"))]
    db.put("search", term(b"legal") + asked[0].removeprefix(term(b"finance")), asked[1])


@row("28f", "a row that says of a call that another agent made it", "fsck")
def _(db: Database, world: World) -> None:
    assert world.sound.denied
    for key, value in _rows(db, world.sound.denied):
        db.put("search", key, json.dumps(json.loads(value) | {"agent": "another"}).encode())


@row("28p", "the search is said to have read further than the log goes", "fsck")
def _(db: Database, world: World) -> None:
    progress = json.loads(db.get("search", LOG + b"\0") or b"")
    db.put("search", LOG + b"\0", json.dumps(progress | {"to": db.size + 9}).encode())
