"""Attacks on what the commit record says of policies: they decide by which bundle calls are judged."""

from __future__ import annotations

import hashlib

from .attacks import row
from .database import Database, url64
from .sound import World


@row("11p", "a bundle that nobody proposed put in force in the commit record", "fsck serve", probe=lambda world: _judged(world))
def _(db: Database, world: World) -> None:
    index = world.sound.deny
    policies = db.position["policies"]
    assert policies["in_force"] is None, policies
    in_force = {"index": index, "bundle": index, "version": 1, "digest": url64(hashlib.sha256(b"theirs").digest())}
    db.move(policies={"versions": 1, "last": index, "in_force": in_force})


@row("11v", "the count of proposed bundles moved on, so that a version is left out", "fsck serve")
def _(db: Database, world: World) -> None:
    db.move(policies=db.position["policies"] | {"versions": 7})


@row("11l", "a version of a list that nobody approved put in force in the commit record", "fsck serve")
def _(db: Database, world: World) -> None:
    index = world.sound.deny
    lists = {"payees": {"index": index, "list": index, "part": index, "version": 1, "first": index}}
    db.move(policies=db.position["policies"] | {"lists": lists})


def _judged(world: World) -> str:
    asked = {"id": "q-1", "source": "/gateways/gw-1", "nonce": "AAECAwQFBgcICQoLDA0ODw", "agent": {"id": "a"}, "tool": {"name": "t", "action": "x"}, "params": {}}
    gateway = world.house.gateway()
    answer = gateway.http.post(f"{gateway.t}/decisions", json=asked)
    told = answer.json() if answer.status_code == 200 else {}
    return f"a call is judged by a bundle that nobody proposed: {told}" if told.get("policy", {}).get("digest") else ""
