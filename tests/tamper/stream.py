"""The same with a journal on JetStream: a sound directory and broker, and the attacks that only work there."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from support import NatsServer, Server
from support.edges import people
from support.house import House, Paused

from .attacks import FORGED, Row, forge_grant, forge_key, key_works, redeemed
from .database import LOG, Database, b64, u64
from .judges import Verdicts, judge, start_again
from .sound import AMOUNT, RULES, Evidence, Sound, World, keep, numbered


@dataclass
class Stream:
    """A server that stopped before it had posted a revocation that its broker holds."""

    root: Path
    sound: Sound
    granted: Paused
    token: str
    #: Last sequence of the journal: the revocation.
    last: int


def make(root: Path) -> Stream:
    """Makes server and broker; both are stopped."""
    sound = Sound(root, Evidence(root / "evidence"))
    sound.evidence.folder.mkdir(parents=True)
    with NatsServer(root / "nats") as broker:
        house = House.ready(root / "world", RULES, people(), nats=broker.url)
        server = house.server
        try:
            sound.waiting = house.pause(action="two", params=AMOUNT)
            assert house.review(sound.waiting, "p-ana").status_code == 200
            sound.done = house.grant("p-ana", "p-bob", action="two", params=AMOUNT)
            results = server.as_("publisher").publish(*(numbered(number) for number in range(1, 20)))
            sound.deny, sound.edge = results[3]["index"], results[-1]["index"]
            granted = house.grant("p-ana", "p-bob", action="two", params=AMOUNT)
            token = house.mint(granted)
            keep(sound, server)
            server.stop()
            server.fsck().ok()
            shutil.copytree(root / "world", root / "before")
            server.start()
            assert house.revoke(granted, server.admin).status_code == 200
            sound.vkey, sound.origin, sound.keys = server.vkey, server.origin, server.keys
            server.stop()
        finally:
            server.__exit__()
        broker.stop()
    with Database(server.data_dir) as db:
        last = db.position["posted"]
    return Stream(root, sound, granted, token, last)


def run(made: Stream, row: Row, root: Path) -> Verdicts:
    """One attack on a copy of server and broker."""
    shutil.copytree(made.root / "before", root / "world")
    shutil.copytree(made.root / "nats" / "store", root / "nats" / "store")
    with NatsServer(root / "nats") as broker:
        sections = {"approvals": {"dir": root / "world" / "approvals"}}
        server = Server(root / "world" / "server", nats=broker.url, sections=sections)
        server.vkey, server.origin, server.keys = made.sound.vkey, made.sound.origin, dict(made.sound.keys)
        house = House(server, RULES, people())
        house.patient = False
        world = World(root / "world", made.sound, house)
        world.granted, world.token, world.last = made.granted, made.token, made.last
        with Database(world.database) as db:
            row.attack(db, world)
        return judge(world, row.probe)


def forged(db: Database, world: World) -> None:
    """A grant and a key that the journal knows nothing of: their entries say the last sequence that was posted."""
    position = db.position
    forge_grant(db, world, messages=False)
    forge_key(db)
    for index in range(position["size"], len(db.leaves())):
        entry = db.decoded(index)
        entry["journal"]["seq"] = position["posted"]
        db.set_entry(index, entry)
    _chain(db, position["size"])
    db.retile(root=True)
    db.move(posted=position["posted"], tail=position["tail"])


def _chain(db: Database, index: int) -> None:
    """The forged message still names the entry before it."""
    message = db.decoded(index)["event"]
    before = [at for at in db.of_approval(message["approval_id"]) if at < index][-1]
    assert message["prev"] == b64(hashlib.sha256(b"\0" + db.entry(before)).digest())


def posted_on(db: Database, world: World) -> None:
    """`posted` stands at the revocation, as if it had been posted."""
    db.move(posted=world.last, tail=None)


def erasing(db: Database, world: World) -> None:
    """A row that has the server delete a message that no erasure names."""
    seq = db.decoded(world.sound.deny)["journal"]["seq"]
    mark = {"index": world.sound.edge, "epoch": 1, "seq": seq}
    db.put("meta", b"erasing" + LOG + u64(1) + u64(seq), json.dumps(mark).encode())


def spent(world: World) -> str:
    """Whether the revoked call can be spent."""
    return redeemed(world, world.granted, world.token)


def message_deleted(world: World) -> str:
    """Whether the replay from the broker fails: the message is gone."""
    world.server.stop()
    done = world.server.run("fsck", "--json")
    start_again(world.server)
    return "a broker's message was deleted" if "is missing, and no entry says why" in done.out else ""


ROWS = [
    Row("8n", "JetStream: a forged grant and key, the journal untouched", forged, frozenset({"fsck", "serve"}),
        probe=lambda world: redeemed(world, world.sound.waiting) or key_works(world, FORGED)),
    Row("n2", "JetStream: `posted` moved on over a revocation", posted_on, frozenset({"fsck", "serve"}), probe=spent),
    Row("n3", "JetStream: a row that has a broker's message deleted", erasing, frozenset({"fsck", "serve"}), probe=message_deleted),
]  # fmt: skip
