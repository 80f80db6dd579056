"""Attacks on what the database says of retention: payload is hidden, or goes, though nobody let it, or a legal hold is forgotten."""

from __future__ import annotations

import json

from .attacks import row
from .database import LOG, Database
from .sound import World


@row("25", "payload is kept for a day, by the commit record alone", "fsck serve")
def _(db: Database, world: World) -> None:
    db.move(retention=db.position["retention"] | {"payload_days": 1})


@row("25h", "a legal hold in the commit record that nobody set", "fsck serve")
def _(db: Database, world: World) -> None:
    db.move(retention=db.position["retention"] | {"holds": {"case-1": world.sound.deny}})


@row("25x", "the commit record says that payload expired", "fsck serve")
def _(db: Database, world: World) -> None:
    db.move(retention=db.position["retention"] | {"expired": world.sound.deny})


@row("26", "all payload hidden, as if it had expired", "fsck")
def _(db: Database, world: World) -> None:
    db.put("meta", b"expired" + LOG, json.dumps({"below": db.size, "all": False}).encode())


@row("26a", "all payload hidden, as if the tenant were deleted", "fsck")
def _(db: Database, world: World) -> None:
    db.put("meta", b"expired" + LOG, json.dumps({"below": db.size, "all": True}).encode())


@row("27", "payload marked to go from the files, though no entry let it expire", "fsck")
def _(db: Database, world: World) -> None:
    db.put("meta", b"expiring" + LOG, json.dumps({"from": 0, "below": db.size}).encode())
