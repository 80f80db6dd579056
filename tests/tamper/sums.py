"""More rows of the matrix: what is kept beside the entries, as sums over them."""

from __future__ import annotations

import json
from datetime import date, timedelta

from support import until

from .attacks import row
from .database import Database, u64
from .sound import World


def _silence_seen(world: World) -> str:
    """Whether the server notices that nothing came from a source, which is declared now."""
    admin = world.server.admin
    other = admin.get("/sources").json()["undeclared"]["sources"][0]
    declared = {name: other[name] for name in ("producer", "source")} | {"title": "t", "owner": "o", "silent_after": 1}
    assert admin.http.post(f"{admin.t}/sources", json={"sources": [declared], "reason": "r"}).status_code == 200

    def state() -> str | None:
        found = admin.get("/sources").json()["declared"][0]
        ahead = found["last"]["time"].startswith("2100")
        return found["state"] if ahead or found["state"] == "silent" else None

    return "a silent source is not seen" if until("a judgement", state) != "silent" else ""


@row("22", "the last report of each source moved on, so that its silence is not seen", "fsck",
     admitted="make a silent source look as if it reported", probe=_silence_seen)  # fmt: skip
def _(db: Database, world: World) -> None:
    for key, value in db.rows("reports"):
        db.put("reports", key, json.dumps(json.loads(value) | {"time": "2100-01-01T00:00:00.000000000Z"}).encode())


def _denials_seen(world: World) -> str:
    """Whether the denials of the log are still counted."""
    text = world.server.admin.get("/counts", **{"from": "2020-01-01", "to": "2021-02-01"}).text
    assert '"days":{}' in text, text
    day = json.loads(world.server.admin.get("/entries/1").content)["journal"]["time"][:10]
    begin = date.fromisoformat(day)
    query = {"from": str(begin), "to": str(begin + timedelta(days=300))}
    days = world.server.admin.get("/counts", **query).json()["days"]
    counted = sum(names["verdict"]["values"].get("deny", 0) for names in days.values() if "verdict" in names)
    return "" if counted else "denials are not counted"


@row("23", "the count of denials set to nothing", "fsck", admitted="change the counts that metrics show", probe=_denials_seen)
def _(db: Database, world: World) -> None:
    rows = [key for key, _ in db.rows("counts") if key.endswith(b"verdict\0deny")]
    assert rows
    for key in rows:
        db.put("counts", key, bytes(8))


@row("24", "a row of the counts deleted, and one that no entry gives", "fsck")
def _(db: Database, world: World) -> None:
    key = next(key for key, _ in db.rows("counts") if b"tool\0" in key)
    db.delete("counts", key)
    db.put("counts", key + b"-2", u64(1))


@row("24p", "a minute in which the server is said to have probed itself", "fsck")
def _(db: Database, world: World) -> None:
    key = next(key for key, _ in db.rows("counts") if b"tool\0" in key)
    db.put("counts", key.partition(b"tool\0")[0] + b"probe\0r1", u64(1))
