"""Old entries that are in a verified export are removed; every proof of what is kept, and of what is gone, stays valid (P20)."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from support import NatsServer, Server, cli, event, until
from support.edges import RULES, people
from support.house import House
from support.rfc6962 import Receipt, Vkey
from tamper.database import LOG, Database, u64
from test_erase import bare, places, secret  # noqa: F401  `bare` is a fixture
from test_retention import hold, release, shown
from test_write_once import BUCKET, Vault, vault  # noqa: F401  `vault` is a fixture



def filled(server: Server, count: int) -> None:
    """Publishes so many events, from two sources with numbers and gaps."""
    publisher = server.as_("publisher")
    begin = server.admin.size()
    for at in range(0, count, 200):
        made = []
        for n in range(at, min(at + 200, count)):
            # The number of each source jumps now and then: gaps open and stay.
            number = str((begin + n) // 2 + n // 100)
            made.append(event(source=f"/s/{n % 2}", sequence=number, payload={"prompt": f"prompt {begin + n}"}))
        publisher.publish(*made)


def exported(server: Server, folder: Path, *more: object) -> Path:
    """A whole export."""
    server.remote("export", "--tenant", server.tenant, *more, folder, key=server.keys.setdefault("exporter", server.add_key(["exporter"]))).ok()
    return folder


def prune(server: Server, until: int, folder: Path, **options: Any) -> Any:
    """`countersign prune`"""
    vkey = options.pop("vkey", server.vkey)
    return server.remote("prune", "--tenant", server.tenant, "--until", until, "--export", folder, "--key", vkey, "--reason", "records policy 9", "--json", **options)


def sound(server: Server) -> dict[str, Any]:
    """`fsck` finds nothing; what it says."""
    server.stop()
    report = server.fsck()
    assert report.code == 0, report
    return dict(report.json()["logs"][0]["log"])


def gone(answer: Any, first: int) -> dict[str, Any]:
    """The answer for what was pruned."""
    assert (answer.status_code, answer.json()["code"], answer.json()["kept_from"]) == (410, "pruned", first), answer.text
    return dict(answer.json())


def test_p20_what_is_exported_is_pruned_and_every_proof_stays(bare: Server, tmp_path: Path, rng: random.Random) -> None:  # noqa: F811
    """Bundles go from disk, tiles and roots stay; what is gone answers 410 with the first kept index; fsck begins there; work goes on."""
    server, (old_word, new_word) = bare, (secret(rng), secret(rng))
    filled(server, 300)
    sent = event(payload={"prompt": old_word})
    leaf_at = server.as_("publisher").publish(sent)[0]["index"]
    filled(server, 500)
    young = server.as_("publisher").publish(event(payload={"prompt": new_word}))[0]["index"]
    assert 256 <= leaf_at < 512 and 768 <= young
    (tmp_path / "old.tlog-proof").write_text(server.admin.receipt(leaf_at))
    (tmp_path / "old").write_text(server.admin.checkpoint())
    leaf, size = server.admin.get(f"/entries/{leaf_at}").content, server.admin.size()
    begin = server.admin.page(limit=10).next
    tiles = {n: server.admin.tile(f"0/00{n}") for n in range(3)}
    rows = before(server)
    server.start()
    folder = exported(server, tmp_path / "export")
    assert places([server.data_dir], old_word)
    done = prune(server, 800, folder).ok().json()
    assert (done["size"], done["status"]) == (768, "pruned")
    said = server.admin.entry(done["index"])["event"]
    manifest_of = json.loads((folder / "keys.json").read_bytes())["origin"]
    assert manifest_of == server.origin and said["size"] == 768 and said["export"]["size"] >= size
    assert said["by"] == {"key": server.admin_key.id} and len(said["families"]) == 10
    assert shown(server.admin)["pruned"] == {"index": done["index"], "size": 768, "status": "pruned"}
    # What is gone, and what says where it is.
    admin = server.admin
    gone(admin.get(f"/entries/{leaf_at}"), 768)
    assert str(done["index"]) in gone(admin.get("/logs/1/tile/entries/001"), 768)["detail"]
    gone(admin.get("/receipts", index=leaf_at), 768)
    gone(admin.get("/receipts", producer="gw-1", source=sent["source"], id=sent["id"]), 768)
    gone(server.as_("discloser").get(f"/entries/{leaf_at}/disclosures"), 768)
    gone(admin.get("/entries", after=begin), 768)
    gone(admin.get("/entries", since="2020-01-01T00:00:00Z"), 768)
    assert admin.get("/entries/0").status_code == 200, "the bundle of a system entry stays"
    first = gone(admin.get("/entries"), 768)["next"]
    assert admin.page(after=first, limit=3).indexes == [768, 769, 770]
    later = admin.entry(young)["journal"]["time"]
    assert admin.page(since=later, limit=1).entries[0]["journal"]["time"] >= later
    assert server.admin.http.post(f"{admin.t}/erasures", json={"indexes": [leaf_at], "reason": "x"}).status_code == 410
    # Every proof stays: of what is kept, and of what is gone, for who has its bytes.
    assert {n: admin.tile(f"0/00{n}") for n in range(3)} == tiles
    assert tiles[1][32 * (leaf_at - 256) :][:32] == hashlib.sha256(b"\0" + leaf).digest()
    filled(server, 30)
    (tmp_path / "new").write_text(admin.checkpoint())
    old_size = Receipt.parse((tmp_path / "old.tlog-proof").read_text()).verify(Vkey.parse(server.vkey)).size
    (tmp_path / "proof.json").write_text(admin.get("/proofs/consistency", **{"from": old_size, "to": admin.size()}).text)
    told = cli("verify", "--key", server.vkey, "--checkpoint", tmp_path / "old", "--checkpoint", tmp_path / "new", "--proof",
               tmp_path / "proof.json", tmp_path / "old.tlog-proof")  # fmt: skip
    assert told.ok()
    assert Receipt.parse(admin.receipt(young)).verify(Vkey.parse(server.vkey)).size == admin.size()
    # A repetition is known for ever; what it says can't be compared.
    other = sent | {"data": sent["data"] | {"payload": {"prompt": "said again"}}}
    again = server.as_("publisher").publish(other, other | {"data": other["data"] | {"verdict": "deny"}})
    assert [(one["status"], one["index"]) for one in again] == [("duplicate", leaf_at)] * 2
    assert admin.erase(young)["status"] == "complete"
    report = sound(server)
    assert report["pruned"] == 768 and report["unchecked"] == []
    after = before(server)
    assert after["entries"] < rows["entries"] and after["payload"] < rows["payload"] and not places([server.data_dir], old_word)
    server.restart() if server.process else server.start()
    filled(server, 300)
    assert prune(server, 1024, exported(server, folder)).ok().json()["size"] == 1024
    gone(server.admin.get("/entries/600"), 1024)
    assert sound(server)["pruned"] == 1024


def before(server: Server) -> dict[str, int]:
    """Rows of entries and payload of a stopped server."""
    server.stop()
    with Database(server.data_dir) as db:
        return {family: sum(1 for _ in db.rows(family)) for family in ("entries", "payload")}


def test_p20_only_a_verified_export_of_this_log(make_server: Any, tmp_path: Path) -> None:
    """An edited export, one of another log, one that is too short, a hold, a missing role, twice, back, an open end: refused, and nothing goes."""
    server, other = make_server(), make_server("other")
    filled(server, 300)
    short = exported(server, tmp_path / "short")
    filled(server, 500)
    filled(other, 850)
    folder, foreign = exported(server, tmp_path / "export"), exported(other, tmp_path / "foreign")
    size = server.admin.size()
    assert prune(server, 768, foreign).code == 1, "it does not verify under this key"
    assert prune(server, 768, foreign, vkey=other.vkey).code == 1
    refused = prune(server, 768, short)
    assert refused.code == 1 and "fewer entries" in refused.err, refused
    edited = tmp_path / "edited"
    shutil.copytree(folder, edited)
    bundle = edited / "tile/entries/001"
    bundle.write_bytes(bundle.read_bytes().replace(b'"producer":"gw-1"', b'"producer":"gw-2"', 1))
    assert prune(server, 768, edited).code == 1
    shutil.copy(folder / "tile/entries/001", bundle)
    assert prune(server, 768, tmp_path / "none").code != 0
    assert prune(server, 200, folder).code == 1, "no whole bundle"
    for role in ("auditor", "exporter", "publisher"):
        key = server.add_key([role], "gw-1" if role == "publisher" else None)
        assert prune(server, 768, folder, key=key).code == 1
    # By the route: an export that is not, and forms that are none.
    checkpoint = (folder / "checkpoint").read_text().splitlines()
    good = {"size": int(checkpoint[1]), "root": checkpoint[2], "sha256": "0" * 64}
    other_root = (foreign / "checkpoint").read_text().splitlines()[2]
    ask = lambda until_, export, reason="x": server.admin.http.post(  # noqa: E731
        f"{server.admin.t}/prunings", json={"until": until_, "export": export, "reason": reason})  # fmt: skip
    for wrong, status in [({"root": other_root}, 409), ({"size": 10**9}, 409), ({"sha256": "0" * 63}, 400), ({"sha256": "A" * 64}, 400), ({"size": -1}, 400), ({"root": "x"}, 400)]:
        answer = ask(768, good | wrong)
        assert answer.status_code == status, (wrong, answer.text)
    assert ask(768, good, " ").status_code == 400
    assert ask(good["size"] + 1, good).status_code == 409
    assert hold(server, "case-1").status_code == 200
    answer = ask(768, good)
    assert (answer.status_code, answer.json()["code"]) == (409, "legal_hold")
    assert release(server, "case-1").status_code == 200
    assert server.admin.entries(kind="prune") == [] and server.admin.get("/entries/300").status_code == 200 and server.admin.size() > size
    assert prune(server, 768, exported(server, folder)).ok().json()["size"] == 768
    for until_ in (768, 300, 800):
        answer = ask(until_, good)
        assert answer.status_code == 409 and "no whole bundle" in answer.json()["detail"].lower(), answer.text
    sound(server)


def test_p20_a_log_with_a_gap_before_every_event(server: Server, tmp_path: Path) -> None:
    """Each message gives two entries, and the border falls between them: what opened the gap goes, its event stays and can be erased."""
    server.as_("auditor")
    made = [event(sequence=str(2 * n)) for n in range(600)]
    for at in range(0, 600, 200):
        last = server.as_("publisher").publish(*made[at : at + 200])
    borders = {at: server.admin.entry(at)["kind"] for at in (767, 768)}
    assert borders == {767: "gap_opened", 768: "decision"} and last
    assert prune(server, 800, exported(server, tmp_path / "export")).ok().json()["size"] == 768
    assert server.admin.erase(768)["status"] == "complete"
    report = sound(server)
    assert report["pruned"] == 768


def test_p20_an_export_of_a_pruned_log_goes_on(server: Server, tmp_path: Path) -> None:
    """In the folder of the earlier export it is whole, and verifies; a new folder is refused, and the error names the entry."""
    filled(server, 850)
    folder = exported(server, tmp_path / "export")
    index = prune(server, 768, folder).ok().json()["index"]
    filled(server, 100)
    new = server.remote("export", "--tenant", server.tenant, tmp_path / "new", key=server.keys["exporter"])
    assert new.code == 1 and f"entry {index} names the export" in new.err, new
    exported(server, folder)
    told = cli("verify", "--key", server.vkey, "--export", folder, "--json").ok().json()
    assert told["verified"] is True
    server.remote("export", "--tenant", server.tenant, "--disclosures", folder, key=server.add_key(["exporter", "discloser"])).ok()
    assert cli("verify", "--key", server.vkey, "--export", folder).ok()
    sound(server)


def test_p20_a_hold_of_an_export_in_a_write_once_store(server: Server, vault: Vault, tmp_path: Path) -> None:  # noqa: F811
    """The digest in the entry is that of the manifest in the store; one that is not there prunes nothing."""
    filled(server, 300)
    folder, place = tmp_path / "export", f"s3://{BUCKET}/acme"
    key = server.keys.setdefault("exporter", server.add_key(["exporter"]))
    server.remote("export", "--tenant", "acme", "--into", place, "--store", vault.file, "--key", server.vkey, "--retain-days", 400, folder, key=key).ok()
    assert prune_from(server, folder, f"s3://{BUCKET}/other", vault).code != 0
    done = prune_from(server, folder, place, vault).ok().json()
    manifest = next(name for name in vault.keys() if "exports/" in name)
    said = server.admin.entry(done["index"])["event"]["export"]
    assert said["sha256"] == hashlib.sha256(vault.read(manifest)).hexdigest()


def prune_from(server: Server, folder: Path, place: str, store: Vault) -> Any:
    """With the store."""
    return server.remote("prune", "--tenant", "acme", "--until", 256, "--export", folder, "--key", server.vkey, "--from", place,
                         "--store", store.file, "--reason", "records policy 9", "--json")  # fmt: skip


@pytest.fixture
def house(tmp_path: Path) -> Any:
    """Calls are asked about."""
    made = House.ready(tmp_path / "house", RULES, people())
    yield made
    made.server.__exit__()


def whole(house: House) -> Any:
    """An approval from question to report."""
    approval = house.grant("p-ana", data={"tool": {"name": "payments", "action": "one"}})
    token = house.mint(approval)
    assert house.redeem(approval, token).status_code == 200
    assert house.report(approval).status_code == 200
    return approval


def test_p20_what_an_open_approval_needs_stays(house: House, tmp_path: Path) -> None:
    """Refused while one is open. Then: finished ones answer 410, one across the border stays whole, new ones work, after a restart too."""
    server = house.server
    # Keys are issued when they are first used, and the bundles of their entries stay.
    whole(house)
    exported(server, tmp_path / "first")
    filled(server, 300)
    old = whole(house)
    filled(server, 250)
    across = house.pause(data={"tool": {"name": "payments", "action": "one"}})
    filled(server, 500)
    folder = exported(server, tmp_path / "export")
    refused = prune(server, 768, folder)
    assert refused.code == 1 and "approval that is not over" in refused.err, refused
    assert house.review(across, "p-ana").status_code == 200
    assert house.redeem(across, house.mint(across)).status_code == 200
    assert house.report(across).status_code == 200
    filled(server, 300)
    done = prune(server, 768, exported(server, folder)).ok().json()
    assert done["size"] == 768 and done["status"] == "pruned"
    for _ in range(2):
        gateway = house.gateway()
        gone(gateway.get(f"/approvals/{old.id}"), 768)
        assert house.state(across)["state"] == "completed"
        recent = gateway.get("/approvals", state="recent")
        assert recent.status_code == 200 and across.id in {one["id"] for one in recent.json()["approvals"]}
        whole(house)
        server.restart()
    sound(server)


def test_p20_evidence_across_what_was_pruned(server: Server, tmp_path: Path) -> None:
    """Of a period behind it: made and verified. Of one inside it: refused, and the error names the entry; from the export it can be made."""
    filled(server, 780)
    second = int(time.time())
    until("another second", lambda: int(time.time()) > second)
    begin = server.as_("publisher").publish(event())[0]["index"]
    moment = server.admin.entry(begin)["journal"]["time"]
    filled(server, 300)
    folder = exported(server, tmp_path / "export")
    index = prune(server, 768, folder).ok().json()["index"]
    key = server.add_key(["auditor", "exporter"])
    make = lambda name, *arguments: server.remote("evidence", *arguments, "-o", tmp_path / name, key=key)  # noqa: E731
    make("above", "--tenant", "acme", "--from", moment).ok()
    assert cli("verify", "--key", server.vkey, "--evidence", tmp_path / "above").ok()
    inside = make("inside", "--tenant", "acme", "--to", moment)
    assert inside.code == 1 and f"entry {index} names the export" in inside.err, inside
    made = cli("evidence", "--export", folder, "--to", moment, "-o", tmp_path / "from-export")
    assert made.code == 0, made
    assert cli("verify", "--key", server.vkey, "--evidence", tmp_path / "from-export").ok()


def base_row(db: Database) -> tuple[bytes, bytes]:
    """A row of what the pruned entries gave: a source's numbers."""
    return next((key, value) for key, value in db.rows("meta", b"base" + LOG + bytes([6])))


ATTACKS = {
    "a row of the base": lambda db: db.put("meta", base_row(db)[0], base_row(db)[1] + b" "),
    "a row of the base is gone": lambda db: db.delete("meta", base_row(db)[0]),
    "the numbers of a source": lambda db: db.put("sources", (row := next(iter(db.rows("sources"))))[0], row[1].replace(b"4", b"5")),
    "the key of a pruned event": lambda db: db.delete("keys", next(key for key, value in db.rows("keys") if int.from_bytes(value, "big") in range(256, 512))),
    "an invented key of a pruned event": lambda db: db.put("keys", LOG + b"x" * 32, u64(300)),
    "a kept bundle": lambda db: db.put("entries", LOG + u64(0), b"{}"),
    "a kept entry is gone": lambda db: db.delete("entries", LOG + u64(3)),
    "an entry behind it": lambda db: db.put("entries", LOG + u64(900), db.get("entries", LOG + u64(901)) or b""),
    "a tile of what is gone": lambda db: db.put("tiles", LOG + b"\0" + u64(1), bytes(8192)),
    "the mark of the last pruning": lambda db: db.move(pruned=None),
    "a count": lambda db: db.put("counts", (row := next(iter(db.rows("counts"))))[0], u64(9)),
    "payload of a pruned entry": lambda db: db.put("payload", LOG + u64(300), b"\0"),
}  # fmt: skip


@pytest.fixture(scope="module")
def pruned(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A stopped server with a pruned log."""
    root = tmp_path_factory.mktemp("pruned")
    with Server.ready(root / "server") as server:
        filled(server, 1000)
        prune(server, 768, exported(server, root / "export")).ok()
        sound(server)
        yield server


@pytest.mark.parametrize("attack", ATTACKS)
def test_p20_fsck_finds_what_was_changed(attack: str, pruned: Server, tmp_path: Path) -> None:
    """The base is compared with the entry, and everything behind it with the base."""
    kept = tmp_path / "kept"
    shutil.copytree(pruned.data_dir, kept)
    try:
        with Database(pruned.data_dir) as db:
            ATTACKS[attack](db)
        report = pruned.fsck()
        assert report.code == 1, report
    finally:
        shutil.rmtree(pruned.data_dir)
        shutil.copytree(kept, pruned.data_dir)
    assert pruned.fsck().code == 0


def test_p20_killed_while_it_prunes(server: Server, tmp_path: Path, rng: random.Random) -> None:
    """kill -9 at any moment: the next start goes on, and nothing else is lost. Posting the entry twice is impossible."""
    filled(server, 900)
    for _ in range(6):
        folder = exported(server, tmp_path / "export")
        asking = threading.Thread(target=lambda: prune(server, server.admin.size() // 256 * 256, folder))
        asking.start()
        time.sleep(rng.uniform(0.05, 0.6))
        server.kill9()
        asking.join()
        report = server.fsck()
        assert report.code == 0, report.out
        server.start()
        until("the pruning to end", lambda: (shown(server.admin)["pruned"] or {"status": "pruned"})["status"] == "pruned", 150)
        filled(server, 100)
    sound(server)


def test_p4_a_backup_from_before_the_pruning(make_server: Any, nats: NatsServer, tmp_path: Path) -> None:
    """On JetStream a restored backup posts up to the guard, the prune entry too, and prunes by itself; its root is the same."""
    server = make_server(nats=nats.url)
    filled(server, 850)
    server.stop()
    shutil.copytree(server.data_dir, tmp_path / "backup")
    server.start()
    prune(server, 768, exported(server, tmp_path / "export")).ok()
    filled(server, 50)
    (tmp_path / "old").write_text(server.admin.checkpoint())
    size = server.admin.size()
    sound(server)
    shutil.rmtree(server.data_dir)
    shutil.copytree(tmp_path / "backup", server.data_dir)
    server.start()
    until("more than the guard's size", lambda: server.admin.size() > size)
    (tmp_path / "new").write_text(server.admin.checkpoint())
    (tmp_path / "proof").write_text(server.admin.get("/proofs/consistency", **{"from": size, "to": server.admin.size()}).text)
    assert cli("verify", "--key", server.vkey, "--checkpoint", tmp_path / "old", "--checkpoint", tmp_path / "new", "--proof", tmp_path / "proof").ok()
    until("the pruning to end", lambda: shown(server.admin)["pruned"]["status"] == "pruned", 150)
    gone(server.admin.get("/entries/300"), 768)
    filled(server, 10)
    assert sound(server)["pruned"] == 768
