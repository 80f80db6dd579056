"""More rows of the matrix: what is kept beside the entries, as sums over them."""

from __future__ import annotations

import json

from support import until

from .attacks import row
from .database import Database
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
