"""One sound server directory that every attack gets a copy of, and what an auditor kept of it before."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support import Key, Server, cli, event, until
from support.edges import CATCH_ALL, FINANCE, TWO, people, rule
from support.house import House, Paused

#: The rules in force. Whoever writes the disk may put the older ones back, where one person is enough for `two`.
RULES = "\n".join([rule("two", TWO, token_life="15m"), rule("owned", FINANCE, owner="known", token_life="15m"), CATCH_ALL])
OLDER = "\n".join([rule("two", FINANCE, token_life="15m"), rule("owned", FINANCE, owner="known", token_life="15m"), CATCH_ALL])
AMOUNT = {"amount": 99999999, "currency": "EUR", "to": "DE02120300000000202051"}


@dataclass
class Evidence:
    """What somebody outside kept: files, and what they said."""

    folder: Path
    checkpoint: str = ""
    size: int = 0
    receipts: dict[int, str] = field(default_factory=dict)


@dataclass
class Sound:
    """The directory, and what lies in it."""

    root: Path
    evidence: Evidence
    vkey: str = ""
    origin: str = ""
    keys: dict[str, Key] = field(default_factory=dict)
    #: An API key that was removed.
    removed: Key | None = None
    #: Leaf index of a decision `deny` in a full tile, and of one on the right edge.
    deny: int = 0
    edge: int = 0
    #: An event that came twice, one that was erased whole, and one that lost a field.
    twice: int = 0
    erased: int = 0
    less: int = 0
    #: Approvals: finished, revoked, denied, and two that wait: for two people, and for somebody who is not the owner.
    done: Paused | None = None
    token: str = ""
    revoked: Paused | None = None
    revoked_token: str = ""
    denied: Paused | None = None
    waiting: Paused | None = None
    owned: Paused | None = None


def numbered(number: int) -> dict[str, Any]:
    """A decision with a number of its source."""
    return event(id=f"n-{number}", source="/gateways/counting", sequence=str(number), payload={"params": {"n": number}, "prompt": f"p {number}"})


def make(root: Path) -> Sound:
    """Makes it: about a minute's work of a tenant, an older copy of it, and the evidence."""
    sound = Sound(root, Evidence(root / "evidence"))
    sound.evidence.folder.mkdir(parents=True)
    house = House.ready(root / "world", OLDER, people())
    server = house.server
    try:
        house.change(RULES)
        server.admin.rotate("log", overlap=1)
        sound.removed = server.add_key(["admin", "auditor"])
        server.remote("key remove", "--tenant", server.tenant, sound.removed.id).ok()
        _approvals(sound, house)
        _events(sound, house)
        server.stop()
        shutil.copytree(root / "world", root / "older")
        server.start()
        house.pause(action="one")
        # A checkpoint is kept of each second: an attack puts an older one in place of the newest.
        second = int(time.time())
        until("the next second", lambda: int(time.time()) > second)
        sound.edge = server.as_("publisher").publish(numbered(2001))[0]["index"]
        keep(sound, server)
        sound.vkey, sound.origin, sound.keys = server.vkey, server.origin, server.keys
        server.stop()
        server.fsck().ok()
    finally:
        server.__exit__()
    return sound


def _approvals(sound: Sound, house: House) -> None:
    sound.done = house.grant("p-ana", "p-bob", action="two", params=AMOUNT)
    sound.token = house.mint(sound.done)
    assert house.redeem(sound.done, sound.token).status_code == 200
    assert house.report(sound.done).status_code == 200
    sound.revoked = house.grant("p-ana", "p-bob", action="two", params=AMOUNT)
    sound.revoked_token = house.mint(sound.revoked)
    assert house.revoke(sound.revoked, house.server.admin).status_code == 200
    sound.denied = house.pause(action="two", params=AMOUNT)
    assert house.review(sound.denied, "p-ana", "deny").status_code == 200
    assert house.state(sound.denied)["state"] == "denied"
    sound.waiting = house.pause(action="two", params=AMOUNT)
    assert house.review(sound.waiting, "p-ana").status_code == 200
    sound.owned = house.pause(action="owned", params=AMOUNT, owner="p-bob")
    assert house.review(sound.owned, "p-bob").status_code >= 400, "P10: the owner"


def _events(sound: Sound, house: House) -> None:
    publisher = house.server.as_("publisher")
    results = []
    for first in range(1, 561, 140):
        results += publisher.publish(*(numbered(number + (number > 500)) for number in range(first, first + 140)))
    assert {result["status"] for result in results} == {"posted"}
    sound.deny, sound.twice = results[150]["index"], results[60]["index"]
    sound.erased, sound.less = results[200]["index"], results[201]["index"]
    again = publisher.publish(numbered(61))[0]
    assert (again["status"], again["index"]) == ("duplicate", sound.twice)
    house.server.admin.erase(sound.erased)
    house.server.admin.erase(sound.less, "prompt")


def keep(sound: Sound, server: Server) -> None:
    kept, admin = sound.evidence, server.admin
    kept.checkpoint = admin.checkpoint()
    kept.size = int(kept.checkpoint.split("\n")[1])
    (kept.folder / "old.checkpoint").write_text(kept.checkpoint)
    for index in {0, sound.deny, sound.twice, sound.erased, sound.edge, kept.size - 1}:
        kept.receipts[index] = admin.receipt(index)
        (kept.folder / f"{index}.tlog-proof").write_text(kept.receipts[index])
    server.keys.setdefault("discloser", server.add_key(["discloser", "auditor"]))
    server.remote("export", "--tenant", server.tenant, "--disclosures", kept.folder / "export", key=server.keys["discloser"]).ok()
    (kept.folder / "keys.json").write_text(json.dumps(admin.keys_document()))
    cli("verify", "--key", server.vkey, "--export", kept.folder / "export").ok()
    until("the export's checkpoint", lambda: (kept.folder / "export" / "checkpoint").read_text() or None)


@dataclass
class World:
    """A copy that is attacked."""

    root: Path
    sound: Sound
    house: House
    #: Copies to put back once the tool is closed.
    older: tuple[str, ...] = ()
    #: A journal message that an attack is about.
    seq: int = 0
    #: On JetStream: a granted call, its token, and the last sequence of the broker, which is its revocation.
    granted: Paused | None = None
    token: str = ""
    last: int = 0
    #: Further leaf indexes to ask receipts for.
    touched: tuple[int, ...] = ()

    @property
    def server(self) -> Server:
        """Its server."""
        return self.house.server

    @property
    def database(self) -> Path:
        """Its data directory."""
        return self.server.data_dir


def copy(sound: Sound, root: Path) -> World:
    """A world of its own, on a port of its own."""
    shutil.copytree(sound.root / "world", root)
    server = Server(root / "server", sections={"approvals": {"dir": root / "approvals"}})
    server.vkey, server.origin, server.keys = sound.vkey, sound.origin, dict(sound.keys)
    house = House(server, RULES, people())
    house.patient = False
    return World(root, sound, house)
