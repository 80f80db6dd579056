"""The attacks: what somebody with a database tool and no keys does to a stopped server's directory, and what they hope for."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
from support import event

from .database import ALL, LOG, Database, b64, url64, u64
from .judges import start_again
from .sound import OLDER, World, numbered

Attack = Callable[[Database, World], None]
FORGED = "cs_0123456789abcdef_" + "A" * 43


@dataclass(frozen=True)
class Row:
    """One line of the matrix."""

    name: str
    what: str
    attack: Attack
    #: Who must notice: `fsck`, `serve` (at the start or when it is asked), `scrub`, `verify`, `third`.
    caught: frozenset[str]
    #: What the attacker hopes for; "" if it was refused.
    probe: Callable[[World], str] | None = None
    #: The sentence of SECURITY.md that admits that somebody of these does not notice, or that something was got.
    admitted: str = ""
    #: Why it fails today.
    waits: str = ""


ROWS: list[Row] = []


def row(name: str, what: str, caught: str, **options: Any) -> Callable[[Attack], Attack]:
    """Puts an attack into the matrix."""
    def add(attack: Attack) -> Attack:
        ROWS.append(Row(name, what, attack, frozenset(caught.split()), **options))
        return attack

    return add


def changed(db: Database, index: int, old: bytes, new: bytes) -> None:
    """Replaces text in one entry."""
    entry = db.entry(index)
    assert old in entry, entry
    db.set_entry(index, entry.replace(old, new))


# hopes


def redeemed(world: World, approval: Any, token: str | None = None, redemption: str = "forged") -> str:
    """Whether a call can be spent."""
    house = world.house
    if token is None:
        minted = house.token(approval)
        if minted.status_code != 200:
            return ""
        token = minted.json()["token"]
    answer = house.redeem(approval, token, redemption)
    return f"redeemed {approval.id}" if answer.status_code == 200 else ""


def key_works(world: World, key: str, path: str = "/entries?limit=1") -> str:
    """Whether an API key opens something."""
    url = f"{world.server.url}/v1/tenants/{world.server.tenant}{path}"
    answer = httpx.get(url, headers={"Authorization": f"Bearer {key}"}, timeout=30, trust_env=False)
    return "an API key works that nobody may have" if answer.status_code == 200 else ""


def answered(world: World, sent: dict[str, Any], status: str) -> str:
    """Whether an event is answered so."""
    answer = world.server.as_("publisher").post_events(json.dumps(sent).encode())
    results = answer.json().get("results") or [{}]
    return f"an event is answered {results[0].get('status')}" if results[0].get("status") == status else ""


def message_gone(seq: int) -> Callable[[World], str]:
    """Whether a journal message of somebody else was deleted; looked at after the end of the server."""
    def look(world: World) -> str:
        world.server.stop()
        with Database(world.database) as db:
            gone = db.get("journal", LOG + u64(1) + u64(seq)) is None
        start_again(world.server)
        return f"journal message {seq} was deleted" if gone else ""

    return look


# 1 to 5: entries


@row("0", "control: opened and closed with the same tool", "")
def _(db: Database, world: World) -> None:
    assert db.size > 512 and len(db.leaves()) == db.size, db.size


@row("1a", "verdict deny to allow in one entry of a full tile", "fsck scrub verify third")
def _(db: Database, world: World) -> None:
    changed(db, world.sound.deny, b'"verdict":"deny"', b'"verdict":"allow"')


@row("1b", "1a and its tile", "fsck serve")
def _(db: Database, world: World) -> None:
    changed(db, world.sound.deny, b'"verdict":"deny"', b'"verdict":"allow"')
    db.retile()


@row("1c", "1b and the root", "fsck serve")
def _(db: Database, world: World) -> None:
    changed(db, world.sound.deny, b'"verdict":"deny"', b'"verdict":"allow"')
    db.retile(root=True)


@row("1d", "verdict deny to allow on the right edge", "fsck serve")
def _(db: Database, world: World) -> None:
    changed(db, world.sound.edge, b'"verdict":"deny"', b'"verdict":"allow"')


@row("2a", "a value in a disclosure", "fsck scrub verify third")
def _(db: Database, world: World) -> None:
    salt, texts = db.payload(world.sound.deny)
    db.set_payload(world.sound.deny, salt, [text.replace(b'{"n":', b'{"n":7') for text in texts])


@row("2b", "disclosure of params deleted, prompt put twice", "fsck scrub verify")
def _(db: Database, world: World) -> None:
    salt, texts = db.payload(world.sound.deny)
    (prompt,) = [text for text in texts if b'"prompt"' in text]
    db.set_payload(world.sound.deny, salt, [prompt, prompt])


@row("2c", "a disclosure deleted", "fsck scrub")
def _(db: Database, world: World) -> None:
    salt, texts = db.payload(world.sound.deny)
    db.set_payload(world.sound.deny, salt, texts[1:])


@row("2d", "the salt of `commit`", "fsck scrub", probe=lambda world: _deny_again(world, "conflict"),
     admitted="make the repetition of an event look like a conflict until the scrub finds it")  # fmt: skip
def _(db: Database, world: World) -> None:
    _, texts = db.payload(world.sound.deny)
    db.set_payload(world.sound.deny, url64(hashlib.sha256(b"other").digest()), texts)


def _deny_again(world: World, status: str) -> str:
    entry = json.loads(world.server.admin.get(f"/entries/{world.sound.deny}").content)
    return answered(world, numbered(int(entry["event"]["sequence"])), status)


@row("2e", "a payload row deleted", "fsck scrub")
def _(db: Database, world: World) -> None:
    db.delete("payload", LOG + u64(world.sound.deny))


@row("2f", "the amount of a call that waits, as people see it", "fsck scrub", probe=lambda world: _sees(world, b"77777777"))
def _(db: Database, world: World) -> None:
    (first,) = db.of_approval(world.sound.waiting.id, "requested")
    opening = db.decoded(first)["event"]["events"][0]["opening"]["index"]
    salt, texts = db.payload(opening)
    db.set_payload(opening, salt, [text.replace(b"99999999", b"77777777") for text in texts])


def _sees(world: World, text: bytes) -> str:
    answer = world.house.person("p-bob").get(f"/approvals/{world.sound.waiting.id}")
    return "a person is shown another amount" if text in answer.content else ""


@row("3a", "an entry deleted", "fsck scrub")
def _(db: Database, world: World) -> None:
    db.delete("entries", LOG + u64(world.sound.deny))


@row("3b", "an entry deleted, the others moved up, tiles and size", "fsck serve")
def _(db: Database, world: World) -> None:
    leaves = db.leaves()
    del leaves[world.sound.deny]
    db.delete("entries", LOG + u64(len(leaves)))
    for index, leaf in enumerate(leaves):
        db.set_entry(index, leaf)
    db.retile(root=True)


def cut(db: Database, count: int, *, records: bool) -> None:
    """Removes the newest entries; with `records`, as if they had never been."""
    size = db.size - count
    before = db.decoded(size - 1)["journal"]
    for index in range(size, size + count):
        db.delete("entries", LOG + u64(index))
        if records:
            db.delete("payload", LOG + u64(index))
    if not records:
        return
    for key, value in [*db.rows("keys"), *db.rows("approvals")]:
        index = int.from_bytes(value if len(key) == 36 else key[-8:], "big")
        if index >= size:
            db.delete("keys" if len(key) == 36 and len(value) == 8 else "approvals", key)
    for key, _ in db.rows("journal"):
        if int.from_bytes(key[-8:], "big") > before["seq"]:
            db.delete("journal", key)
    for key, _ in db.rows("subject_index"):
        if int.from_bytes(key[-8:], "big") > before["seq"]:
            db.delete("subject_index", key)
    for key, value in db.rows("subjects"):
        if int.from_bytes(value, "big") > before["seq"]:
            db.delete("subjects", key)
    db.put("meta", b"journal" + LOG + u64(1), u64(before["seq"]))
    db.move(posted=before["seq"], tail=None)
    for key, value in db.rows("checkpoints"):
        if int(value.split(b"\n")[1]) > size:
            db.delete("checkpoints", key)
    db.retile(root=True)


@row("4a", "the newest 20 entries", "fsck serve")
def _(db: Database, world: World) -> None:
    cut(db, 20, records=False)


@row("4b", "the newest 20 entries and every record of them", "fsck serve")
def _(db: Database, world: World) -> None:
    cut(db, 20, records=True)


@row("4c", "4b and the guard", "fsck serve")
def _(db: Database, world: World) -> None:
    cut(db, 20, records=True)
    world.server.guard_path.unlink()


@row("5", "two entries swapped", "fsck scrub verify third")
def _(db: Database, world: World) -> None:
    one, other = db.entry(world.sound.deny), db.entry(world.sound.deny + 1)
    db.set_entry(world.sound.deny, other)
    db.set_entry(world.sound.deny + 1, one)


@row("5b", "5 and its tile", "fsck serve")
def _(db: Database, world: World) -> None:
    one, other = db.entry(world.sound.deny), db.entry(world.sound.deny + 1)
    db.set_entry(world.sound.deny, other)
    db.set_entry(world.sound.deny + 1, one)
    db.retile()


# 6: an older copy (the tool is not needed: the directory is put back once it is closed)


@row("6a", "an older copy of the database", "fsck serve")
def _(db: Database, world: World) -> None:
    world.older = ("data",)


def _goes_on(world: World) -> str:
    world.server.wait_ready()
    for _ in range(8):
        world.server.as_("publisher").publish(event())
    return "the server signs another continuation"


@row("6b", "older copies of the database and of the guard, other events", "verify third", probe=_goes_on,
     admitted="put both back to an older state and let the server sign another continuation: **a fork**")  # fmt: skip
def _(db: Database, world: World) -> None:
    world.older = ("data", "guard")


# 7 and 8: forging


@row("7", "an old signed grant as the newest journal message", "fsck", probe=lambda world: redeemed(world, world.sound.waiting))
def _(db: Database, world: World) -> None:
    (granted,) = db.of_approval(world.sound.done.id, "granted")
    old = db.message(db.decoded(granted)["journal"]["seq"])
    seq = db.position["posted"] + 1
    db.put("journal", LOG + u64(1) + u64(seq), old)
    db.put("meta", b"journal" + LOG + u64(1), u64(seq))


def forge_grant(db: Database, world: World, *, messages: bool) -> None:
    """The rest of a grant: a review of p-bob, who never answered, and the grant."""
    id = world.sound.waiting.id
    at = db.of_approval(id)
    (like,) = db.of_approval(world.sound.done.id, "granted")
    granted = [made for made in db.decoded(like)["event"]["events"] if made["type"] == "granted"][0]
    review = [made for made in db.decoded(at[-1])["event"]["events"] if made["type"] == "reviewed"][0] | {"by": "p-bob"}
    leaf = b64(hashlib.sha256(b"\0" + db.entry(at[-1])).digest())
    body = {"approval_id": id, "n": len(at) + 1, "prev": leaf, "events": [review, granted | {"by": ["p-ana", "p-bob"]}]}
    subject = f"approvals.{id}"
    seq = None
    if messages:
        last = db.decoded(at[-1])["journal"]["seq"]
        seq = db.append_message(subject, json.dumps(body).encode(), f"{last}.{url64(bytes(range(64)))}")
    db.append("approval", body, subject=subject, seq=seq)


def forge_key(db: Database, *, message: bool = False) -> None:
    """An admin key that nobody issued."""
    sha256 = url64(hashlib.sha256(FORGED.encode()).digest())
    body = {"op": "add", "key_id": FORGED.split("_")[1], "sha256": sha256, "roles": ["admin", "auditor"], "producer": None,
            "person": None, "name": "forged"}  # fmt: skip
    known = db.decoded(db.find(kind="access")[0])["event"]
    body |= {name: known[name] for name in known.keys() - body.keys()}
    seq = db.append_message("system.access", json.dumps(body).encode(), f"1.{url64(bytes(64))}") if message else None
    db.append("access", body, subject="system.access", seq=seq)


def _grant_or_key(world: World) -> str:
    return redeemed(world, world.sound.waiting) or key_works(world, FORGED)


@row("8", "a forged grant and a forged admin key, tiles, root, indexes", "fsck serve", probe=_grant_or_key)
def _(db: Database, world: World) -> None:
    forge_grant(db, world, messages=False)
    forge_key(db)
    db.retile(root=True)


@row("8m", "8 and journal messages with invented signatures", "fsck serve", probe=_grant_or_key)
def _(db: Database, world: World) -> None:
    forge_grant(db, world, messages=True)
    forge_key(db, message=True)
    db.retile(root=True)


@row("8t", "8 and every journal message deleted but the last: as if trimmed", "fsck serve", probe=_grant_or_key)
def _(db: Database, world: World) -> None:
    forge_grant(db, world, messages=True)
    forge_key(db, message=True)
    db.retile(root=True)
    for family in ("journal", "subject_index"):
        for key, _ in db.rows(family):
            if int.from_bytes(key[-8:], "big") < db.position["posted"]:
                db.delete(family, key)


@row("8c", "a forged admin key put over journal message 20", "fsck serve", probe=lambda world: key_works(world, FORGED))
def _(db: Database, world: World) -> None:
    forge_key(db)
    db.retile(root=True)
    db.delete("journal", LOG + u64(1) + u64(20))


@row("8k", "an admin key in the index alone", "fsck serve", probe=lambda world: key_works(world, FORGED))
def _(db: Database, world: World) -> None:
    body = {"key_id": FORGED.split("_")[1], "sha256": url64(hashlib.sha256(FORGED.encode()).digest()), "roles": ["admin", "auditor"],
            "producer": None, "person": None, "name": "forged"}  # fmt: skip
    db.put("access", LOG + body["key_id"].encode(), json.dumps(body).encode())
    db.put("access", ALL + body["key_id"].encode(), LOG)


def _makes_tenants(world: World) -> str:
    answer = httpx.post(f"{world.server.url}/v1/tenants", json={"tenant": "theirs"}, headers={"Authorization": f"Bearer {FORGED}"},
                        timeout=60, trust_env=False)  # fmt: skip
    return "an operator key of theirs makes tenants" if answer.status_code == 201 else ""


@row("8d", "the operator key replaced", "fsck", probe=_makes_tenants)
def _(db: Database, world: World) -> None:
    world.server.keys["operator"] = type(world.server.operator_key)(FORGED)
    db.put_sealed(b"operator", url64(hashlib.sha256(FORGED.encode()).digest()).encode())


@row("8f", "every stored checkpoint deleted", "fsck serve")
def _(db: Database, world: World) -> None:
    db.delete("meta", b"checkpoint" + LOG)
    for key, _ in db.rows("checkpoints"):
        db.delete("checkpoints", key)


@row("8o", "the newest checkpoint replaced by the smallest", "fsck serve")
def _(db: Database, world: World) -> None:
    db.put("meta", b"checkpoint" + LOG, min((note for _, note in db.rows("checkpoints")), key=lambda note: int(note.split(b"\n")[1])))


@row("8r", "the checkpoint deleted that proves a rotated log key", "fsck")
def _(db: Database, world: World) -> None:
    for key, _ in db.rows("rotations"):
        db.delete("rotations", key)


# approvals


@row("8e", "the owner taken out of one entry of a call that waits, in a full tile", "fsck scrub verify third",
     probe=lambda world: _by_owner(world))  # fmt: skip
def _(db: Database, world: World) -> None:
    (first,) = db.of_approval(world.sound.owned.id, "requested")
    assert first < 256
    changed(db, first, b'"owners":["p-bob"]', b'"owners":[]')


def _by_owner(world: World) -> str:
    answer = world.house.review(world.sound.owned, "p-bob")
    return redeemed(world, world.sound.owned) if answer.status_code == 200 else ""


@row("8q", "the only review of a call that waits ascribed to somebody else", "fsck scrub verify third",
     probe=lambda world: _alone(world, world.sound.waiting))  # fmt: skip
def _(db: Database, world: World) -> None:
    (review,) = db.of_approval(world.sound.waiting.id, "reviewed")
    changed(db, review, b'"p-ana"', b'"p-cem"')


def _alone(world: World, approval: Any) -> str:
    """Whether one person can grant what takes two."""
    world.house.review(approval, "p-ana")
    return redeemed(world, approval)


@row("9", "p-ana becomes p-cem in a review, with tile and root", "fsck serve")
def _(db: Database, world: World) -> None:
    index = db.of_approval(world.sound.done.id, "reviewed")[0]
    changed(db, index, b'"p-ana"', b'"p-cem"')
    db.retile(root=True)


@row("9a", "p-ana becomes p-cem in a review", "fsck scrub verify third")
def _(db: Database, world: World) -> None:
    changed(db, db.of_approval(world.sound.done.id, "reviewed")[0], b'"p-ana"', b'"p-cem"')


def hide(db: Database, approval: str, event: str) -> None:
    """Deletes index rows of an approval's messages, from the one that holds `event` on."""
    (first,) = db.of_approval(approval, event)
    for index in db.of_approval(approval):
        if index >= first:
            db.delete("approvals", LOG + approval.encode() + b"\0" + u64(index))


@row("9b", "index rows of a redemption and its report deleted", "fsck serve",
     probe=lambda world: redeemed(world, world.sound.done, world.sound.token, "second"))  # fmt: skip
def _(db: Database, world: World) -> None:
    hide(db, world.sound.done.id, "redeemed")


@row("9c", "index rows of a revocation deleted", "fsck serve",
     probe=lambda world: redeemed(world, world.sound.revoked, world.sound.revoked_token))  # fmt: skip
def _(db: Database, world: World) -> None:
    hide(db, world.sound.revoked.id, "revoked")


def _denied_is_granted(world: World) -> str:
    for person in ("p-bob", "p-cem"):
        world.house.review(world.sound.denied, person)
    return redeemed(world, world.sound.denied)


@row("9d", "index rows of a denial deleted, and the last sequence on its subject put back", "fsck serve", probe=_denied_is_granted)
def _(db: Database, world: World) -> None:
    id = world.sound.denied.id
    hide(db, id, "denied")
    first = db.decoded(db.of_approval(id)[0])["journal"]["seq"]
    db.put("subjects", LOG + u64(1) + f"approvals.{id}".encode(), u64(first))


# indexes


@row("10", "a removed API key put back", "fsck serve",
     probe=lambda world: key_works(world, world.sound.removed.text))  # fmt: skip
def _(db: Database, world: World) -> None:
    adds = [db.decoded(index)["event"] for index in db.find(kind="access")]
    (key,) = [made for made in adds if made["op"] == "add" and made["key_id"] == world.sound.removed.id]
    key = {name: value for name, value in key.items() if name != "op"}
    db.put("access", LOG + key["key_id"].encode(), json.dumps(key).encode())
    db.put("access", ALL + key["key_id"].encode(), LOG)


@row("11", "older rules in force, and their file", "fsck serve",
     probe=lambda world: _alone(world, world.house.pause(action="two")))  # fmt: skip
def _(db: Database, world: World) -> None:
    older = db.find(kind="rules")[0]
    db.move(rules=older)
    (world.root / "approvals" / world.server.tenant / "rules.toml").write_text(OLDER)


@row("12", "the last sequence on an approval's subject put back", "fsck scrub")
def _(db: Database, world: World) -> None:
    id = world.sound.waiting.id
    db.put("subjects", LOG + u64(1) + f"approvals.{id}".encode(), u64(db.decoded(db.of_approval(id)[0])["journal"]["seq"]))


@row("13", "an event that is yet to come marked as known", "fsck serve", probe=lambda world: answered(world, numbered(3000), "duplicate"))
def _(db: Database, world: World) -> None:
    key = hashlib.sha256(json.dumps(["gw-1", "/gateways/counting", "n-3000"], separators=(",", ":")).encode()).digest()
    db.put("keys", LOG + key, u64(world.sound.erased))


@row("14", "a journal message of another event marked for erasure", "fsck serve", probe=lambda world: message_gone(world.seq)(world))
def _(db: Database, world: World) -> None:
    seq = db.decoded(world.sound.deny)["journal"]["seq"]
    world.seq = seq
    row = {"index": world.sound.erased, "epoch": 1, "seq": seq}
    db.put("meta", b"erasing" + LOG + u64(1) + u64(seq), json.dumps(row).encode())


@row("15", "a journal message of another event noted as a repetition", "fsck serve", probe=lambda world: _erased_with(world))
def _(db: Database, world: World) -> None:
    seq = db.decoded(world.sound.deny)["journal"]["seq"]
    world.seq = seq
    db.put("repeats", LOG + u64(world.sound.twice) + u64(1) + u64(seq), b"")


def _erased_with(world: World) -> str:
    world.server.admin.http.post(f"{world.server.admin.t}/erasures", json={"indexes": [world.sound.twice]})
    return message_gone(world.seq)(world)


@row("16", "the journal key of the commit replaced by another", "fsck serve")
def _(db: Database, world: World) -> None:
    keys = db.meta("keys")
    keys["journal"] = keys["token"]
    db.set_meta("keys", keys)


@row("17", "the numbers of a source moved on, so that a gap is not seen", "fsck", admitted="hide a gap in the numbers of a source",
     probe=lambda world: "" if _gap_seen(world) else "a gap is not seen")  # fmt: skip
def _(db: Database, world: World) -> None:
    for key, value in db.rows("sources"):
        db.put("sources", key, json.dumps(json.loads(value) | {"last": 2500}).encode())


def _gap_seen(world: World) -> bool:
    answer = world.server.as_("publisher").post_events(json.dumps(numbered(2501)).encode())
    return answer.status_code != 200 or any(entry["kind"] == "gap_opened" and entry["event"]["to"] == 2500 for entry in world.server.admin.entries())


@row("18", "`posted` moved on over messages to come", "fsck serve")
def _(db: Database, world: World) -> None:
    db.move(posted=db.position["posted"] + 3, tail=None)


# the guard


@row("19", "the guard deleted", "fsck serve")
def _(db: Database, world: World) -> None:
    world.server.guard_path.unlink()


@row("20", "the guard emptied", "fsck serve")
def _(db: Database, world: World) -> None:
    world.server.guard_path.write_bytes(b"")


@row("21", "the guard of another history", "fsck serve")
def _(db: Database, world: World) -> None:
    slots = bytearray(world.server.guard_path.read_bytes())
    for at in range(0, len(slots), 512):
        slots[at + 24] ^= 1
        slots[at + 480 : at + 512] = hashlib.sha256(slots[at : at + 480]).digest()
    world.server.guard_path.write_bytes(slots)


def finish(world: World) -> None:
    """What is done with the tool closed."""
    for name in world.older:
        shutil.rmtree(world.server.root / name)
        shutil.copytree(world.sound.root / "older" / "server" / name, world.server.root / name)
