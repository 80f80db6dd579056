"""Payload goes by age, never below the floor, never under a legal hold; entries and proofs stay (P11, P20)."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest
from support import Key, Server, cli, event, until
from support.faketime import Clock
from support.operator import Operator
from test_erase import bare, places, secret  # noqa: F401  `bare` is a fixture

HOUR = 3600
DAY = 24 * HOUR
#: The server searches for old payload at its start and once a minute.
HOUSE_SECONDS = 180.0


def keep(server: Server, payload: int | None = None, floor: int | None = None, client: Any = None, **over: Any) -> httpx.Response:
    """`POST T/retention`"""
    client = client or server.admin
    body = {"payload_days": payload, "floor_days": floor, "reason": "records policy 7"} | over
    return client.http.post(f"{client.t}/retention", json=body)


def hold(server: Server, name: str, client: Any = None) -> httpx.Response:
    """`POST T/holds`"""
    client = client or server.admin
    return client.http.post(f"{client.t}/holds", json={"hold": name, "reason": "letter of the court"})


def release(server: Server, name: str) -> httpx.Response:
    """`POST T/holds/{name}/release`"""
    return server.admin.http.post(f"{server.admin.t}/holds/{name}/release", json={"reason": "the case is closed"})


def shown(client: Any) -> dict[str, Any]:
    """`GET T/retention`"""
    answer = client.get("/retention")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def steps(client: Any) -> list[dict[str, Any]]:
    """What expired, step by step; the steps follow each other."""
    found = [entry for entry in client.entries(kind="retention") if entry["event"]["op"] == "expire"]
    begin = 0
    for entry in found:
        assert entry["event"]["from"] == begin < entry["event"]["below"], found
        assert entry["event"]["by"] == {"server": "retention"}
        begin = entry["event"]["below"]
    return found


def filled(server: Server, rng: random.Random, count: int = 30) -> str:
    """Publishes events of which one holds a secret word."""
    word = secret(rng)
    server.as_("publisher").publish(*(event(payload={"prompt": word if n == count // 2 else f"prompt {n}"}) for n in range(count)))
    return word


def at(server: Server, clock: Clock, ahead: int) -> None:
    """Starts the server again, so many seconds later."""
    if server.process is not None:
        server.stop()
    clock.set(ahead)
    server.start(env=clock.env)


def is_sound(server: Server) -> None:
    """`fsck` finds nothing."""
    server.stop()
    report = server.fsck()
    assert report.code == 0, report


def exported(server: Server, folder: Path) -> Path:
    """An export with everything that is disclosed."""
    server.remote("export", "--tenant", server.tenant, "--disclosures", folder, key=server.add_key(["auditor", "discloser"])).ok()
    return folder


def test_p20_a_floor_is_raised_and_never_lowered(server: Server) -> None:
    """Whoever has the right: days may rise and fall above the floor; the floor only rises. Each change says who and why."""
    assert shown(server.admin) == {
        "payload_days": None, "floor_days": 0, "journal_days": 30, "set": None, "holds": [], "expired_below": 0, "pruned": None, "deleted": None, "oldest": shown(server.admin)["oldest"],
    }  # fmt: skip
    done = server.remote("tenant retention", "--tenant", "acme", "--payload-days", 400, "--floor-days", 365, "--journal-days", 7, "--reason", "policy 7")
    assert "applied" in done.ok().out
    (entry,) = server.admin.entries(kind="retention")
    said = entry["event"]
    assert (said["op"], said["payload_days"], said["floor_days"], said["journal_days"]) == ("set", 400, 365, 7)
    assert said["by"] == {"key": server.admin_key.id}
    assert '"policy 7"' in server.as_("discloser").get(f"/entries/{said['reason']['index']}/disclosures").text
    other = server.client(server.add_key(["admin"]))
    for payload, floor in [(364, None), (400, 364), (1, 0), (400, 401)]:
        refused = keep(server, payload, floor, client=other)
        assert refused.status_code == 409 and "floor" in refused.json()["detail"], refused.text
    for wrong in ({"payload": 0}, {"payload": 36526}, {"payload": 400, "floor": 40000}, {"payload": 400, "journal_days": 0}, {"payload": -1}):
        assert keep(server, client=other, **wrong).status_code == 400, wrong
    assert keep(server, 400, reason="  ").status_code == 400
    assert keep(server, 400, journal_days=7).json()["status"] == "unchanged"
    assert keep(server, 500, client=other).json()["status"] == "applied"
    assert keep(server, None, client=other).json()["status"] == "applied", "for ever is longer than any floor"
    assert keep(server, 370, 370).json()["status"] == "applied"
    assert keep(server, 369).status_code == 409
    now = shown(server.as_("auditor"))
    assert (now["payload_days"], now["floor_days"], now["journal_days"]) == (370, 370, 30)
    told = server.remote("tenant retention", "--tenant", "acme").ok().out
    assert "370 days" in told and "no legal hold" in told
    for arguments in (["--payload-days", 5], ["--floor-days", 5, "--reason", "x"]):
        assert server.remote("tenant retention", "--tenant", "acme", *arguments).code == 2
    is_sound(server)


def test_p20_what_is_old_expires_and_every_proof_stays(bare: Server, rng: random.Random, tmp_path: Path) -> None:  # noqa: F811
    """Found on disk before; nowhere afterwards, the journal and repetitions included. Younger payload stays. An entry says so; receipts,
    export, evidence and `fsck` agree; an event that comes again is `duplicate`."""
    clock, word, young = Clock(tmp_path), secret(rng), secret(rng)
    sent = event(payload={"prompt": word})
    old = bare.as_("publisher").publish(sent, *(event() for _ in range(20)))[0]["index"]
    assert keep(bare, 2).status_code == 200
    receipt = bare.admin.receipt(index=old)
    at(bare, clock, DAY)
    assert bare.as_("publisher").publish(sent)[0]["status"] == "duplicate"
    fresh = bare.as_("publisher").publish(event(payload={"prompt": young}))[0]["index"]
    assert places([bare.data_dir], word) and not steps(bare.admin)
    at(bare, clock, 2 * DAY + HOUR)
    (step,) = until("old payload to expire", lambda: steps(bare.admin), HOUSE_SECONDS)
    until("the bytes to go, those of repetitions too", lambda: not places([bare.data_dir], word), HOUSE_SECONDS)
    assert old < step["event"]["below"] <= fresh and len(steps(bare.admin)) == 1
    assert places([bare.data_dir], young) and young in bare.as_("discloser").disclosures(fresh)
    assert bare.as_("discloser").disclosures(old) == ""
    assert bare.admin.receipt(index=old).split("\n\n")[0].split("\n")[:3] == receipt.split("\n\n")[0].split("\n")[:3]
    before = shown(bare.admin)
    assert before["expired_below"] == step["event"]["below"] and before["oldest"] is not None
    # It comes again, with the word: it is the same event, and its bytes go too.
    assert bare.as_("publisher").publish(sent)[0]["status"] == "duplicate"
    until("the bytes to go again", lambda: not places([bare.data_dir], word), HOUSE_SECONDS)
    folder = exported(bare, tmp_path / "export")
    verified = cli("verify", "--key", bare.vkey, "--export", folder)
    assert verified.code == 0, verified
    made = cli("evidence", "--export", folder, "--from", "2020-01-01", "--to", "2040-01-01", "-o", tmp_path / "evidence", "--partial", "--disclose", "all")
    assert made.code in (0, 4), made
    checked = cli("verify", "--key", bare.vkey, "--evidence", tmp_path / "evidence")
    assert checked.code == made.code, checked
    retention = json.loads((tmp_path / "evidence" / "privacy" / "retention.json").read_text())
    assert retention["payload_days"] == 2 and retention["expired_below"] == step["event"]["below"]
    assert "payload expired" in (tmp_path / "evidence" / "policies" / "changes.csv").read_text()
    # A copy from before still has what expired: it says so.
    kept = folder / "disclosures" / f"{old}.disclosures"
    assert not kept.exists()
    is_sound(bare)


@pytest.mark.parametrize("running", [True, False], ids=["while it runs", "at a start"])
def test_p20_a_clock_that_jumps_drops_nothing_at_once(running: bool, bare: Server, rng: random.Random, tmp_path: Path) -> None:  # noqa: F811
    """A year ahead: nothing goes while nobody confirms the clock. Even if an admin confirms it, a step is a day of payload."""
    clock, words = Clock(tmp_path), []
    assert keep(bare, 30).status_code == 200
    for day in (0, 1, 2, 3):
        at(bare, clock, day * DAY + HOUR)
        words.append(filled(bare, rng, 4))
    year = 365 * DAY
    if running:
        clock.set(year)
    else:
        at(bare, clock, year)
    health = lambda: httpx.get(f"{bare.url}/healthz", headers={"Authorization": f"Bearer {bare.operator_key.text}"}, timeout=20, trust_env=False).json()  # noqa: E731
    until("the clock to be called wrong", lambda: health()["wrong_clocks"] == 1)
    assert bare.as_("publisher").publish(event())[0]["status"] == "posted"
    bare.remote("clock reset", "--tenant", "acme", "--reason", "I believe it").ok()
    assert not steps(bare.admin), "nothing went before somebody confirmed it"
    at(bare, clock, year + 1)
    (step,) = until("the first day to go", lambda: steps(bare.admin), HOUSE_SECONDS)
    until("its bytes to go", lambda: not places([bare.data_dir], words[0]), HOUSE_SECONDS)
    assert all(places([bare.data_dir], word) for word in words[2:]), "no more than a day"
    at(bare, clock, year + 60)
    assert len(steps(bare.admin)) == 1, "nor by a restart"
    at(bare, clock, year + HOUR + 120)
    until("the next day to go", lambda: len(steps(bare.admin)) == 2, HOUSE_SECONDS)
    assert places([bare.data_dir], words[3])
    is_sound(bare)


def test_p20_nothing_goes_under_a_hold(bare: Server, rng: random.Random, tmp_path: Path) -> None:  # noqa: F811
    """Neither by age nor by request; another tenant's hold is not ours; released, it goes. Two holds are two."""
    clock, word = Clock(tmp_path), filled(bare, rng)
    index = bare.as_("publisher").publish(event(payload={"prompt": "to erase"}))[0]["index"]
    assert keep(bare, 2).status_code == 200
    made = bare.add_tenant("globex")
    other = bare.client(Key(made["key"]), "globex")
    assert keep(bare, 2, client=other).status_code == 200
    theirs = secret(rng)
    key = other.add_key(["publisher"], "gw-1")
    bare.client(key, "globex").publish(event(payload={"prompt": theirs}))
    done = bare.remote("tenant hold", "--tenant", "acme", "--reason", "letter of 2026-05-04", "case-17")
    assert "applied" in done.ok().out
    assert hold(bare, "case-17").json()["status"] == "unchanged" and hold(bare, "case-18").json()["status"] == "applied"
    assert hold(bare, "Dan Roth").status_code == 400
    refused = bare.remote("erase", "--tenant", "acme", "--reason", "request 117", index)
    assert refused.code == 1 and "legal hold case-17" in refused.err, refused.err
    asked = bare.admin.http.post(f"{bare.admin.t}/erasures", json={"indexes": [index]})
    assert (asked.status_code, asked.json()["code"]) == (409, "legal_hold")
    assert not bare.admin.entries(kind="erasure")
    at(bare, clock, 3 * DAY)
    # The other tenant's payload goes, so the server searched.
    other = bare.client(Key(made["key"]), "globex")
    until("the other tenant's payload to go", lambda: not places([bare.data_dir], theirs), HOUSE_SECONDS)
    assert steps(other) and not steps(bare.admin) and places([bare.data_dir], word)
    assert not bare.admin.entries(kind="trim"), "nor the journal"
    assert [one["hold"] for one in shown(bare.admin)["holds"]] == ["case-17", "case-18"]
    assert "case-17" in bare.remote("tenant retention", "--tenant", "acme").ok().out
    assert release(bare, "case-19").status_code == 404
    assert release(bare, "case-17").status_code == 200
    assert bare.admin.http.post(f"{bare.admin.t}/erasures", json={"indexes": [index]}).status_code == 409, "one is left"
    assert "applied" in bare.remote("tenant release", "--tenant", "acme", "--reason", "closed", "case-18").ok().out
    until("it to go after the release", lambda: not places([bare.data_dir], word), HOUSE_SECONDS)
    assert bare.admin.erase(index)["status"] == "complete"
    assert cli("verify", "--key", bare.vkey, "--export", exported(bare, tmp_path / "export")).code == 0
    is_sound(bare)


def test_p20_kill_9_while_payload_expires(bare: Server, rng: random.Random, tmp_path: Path) -> None:  # noqa: F811
    """Killed at random moments of a step: it goes on with it, nothing is doubled, and everything old is gone in the end."""
    clock, word = Clock(tmp_path), ""
    publisher = bare.as_("publisher")
    for _ in range(20):
        word = filled(bare, rng, 100)
    assert keep(bare, 2).status_code == 200
    bare.stop()
    clock.set(3 * DAY)
    for _ in range(6):
        bare.start(env=clock.env, ready=False)
        try:
            bare.wait_exit(rng.uniform(0.05, 1.2))
        except Exception:  # noqa: BLE001  it runs still
            bare.kill9()
    bare.start(env=clock.env)
    (step,) = until("old payload to expire", lambda: steps(bare.admin), HOUSE_SECONDS)
    until("the bytes to go", lambda: not places([bare.data_dir], word), HOUSE_SECONDS)
    assert step["event"]["below"] > 2000 and len(steps(bare.admin)) == 1
    assert publisher
    is_sound(bare)


def test_p20_a_hold_while_payload_expires(bare: Server, rng: random.Random, tmp_path: Path) -> None:  # noqa: F811
    """A hold comes while the server drops payload: nothing expires by an entry after it, and what is not gone yet stays on disk."""
    clock = Clock(tmp_path)
    for _ in range(10):
        filled(bare, rng, 100)
    assert keep(bare, 2).status_code == 200
    bare.stop()
    saved = tmp_path / "saved"
    for round in range(4):
        if round:
            shutil.rmtree(bare.root)
            shutil.copytree(saved, bare.root)
        else:
            shutil.copytree(bare.root, saved)
        clock.set(3 * DAY)
        bare.start(env=clock.env)
        begun = hold(bare, "case-17")
        assert begun.status_code == 200, begun.text
        index = begun.json()["index"]
        for entry_index, leaf in bare.admin.feed(kind="retention"):
            assert entry_index <= index or json.loads(leaf)["event"]["op"] != "expire"
        assert cli("verify", "--key", bare.vkey, "--export", exported(bare, tmp_path / f"export-{round}")).code == 0
        is_sound(bare)


def test_p20_a_forged_step_is_refused(bare: Server, rng: random.Random, tmp_path: Path) -> None:  # noqa: F811
    """Whoever holds the log's key writes a log in which payload went too soon, under a hold, or below the floor: `verify` refuses it."""
    clock = Clock(tmp_path)
    filled(bare, rng)
    assert keep(bare, 2, 2).status_code == 200
    assert hold(bare, "case-17").status_code == 200 and release(bare, "case-17").status_code == 200
    at(bare, clock, 3 * DAY)
    until("old payload to expire", lambda: steps(bare.admin), HOUSE_SECONDS)
    index = bare.as_("publisher").publish(event(payload={"prompt": "x"}))[0]["index"]
    bare.admin.erase(index)
    folder = tmp_path / "export"
    bare.remote("export", "--tenant", "acme", folder, key=bare.add_key(["auditor"])).ok()
    whole = Operator(folder, bare.keys_dir / "acme" / "log-1.key")
    place = {}
    for at_, entry in enumerate(whole.entries):
        if entry["kind"] == "retention":
            place[entry["event"]["op"]] = at_
        elif entry["kind"] == "erasure":
            place["erasure"] = at_

    def refused(name: str, change: Any, said: str) -> None:
        branch = whole.copy()
        change(branch.entries)
        branch.chain()
        done = cli("verify", "--key", bare.vkey, "--export", branch.export(tmp_path / name))
        assert done.code == 1 and said in done.err + done.out, (name, done)

    def of(entries: list[dict[str, Any]], op: str) -> dict[str, Any]:
        return entries[place[op]]["event"]

    branch = whole.copy()
    branch.chain()
    assert cli("verify", "--key", bare.vkey, "--export", branch.export(tmp_path / "same")).code == 0
    refused("soon", lambda e: of(e, "set").update(payload_days=400), "not old enough")
    refused("never", lambda e: of(e, "set").update(payload_days=None), "not old enough")
    refused("floor", lambda e: of(e, "set").update(floor_days=3), "fewer days than the floor")
    refused("from", lambda e: of(e, "expire").update({"from": 1}), "does not follow")
    refused("later", lambda e: of(e, "expire").update(below=place["expire"]), "not old enough")
    refused("released", lambda e: of(e, "release").update(hold="case-18"), "no hold of this name")
    held = lambda e: e[place["release"]].update(kind="clock", event={"at": e[place["release"]]["journal"]["time"], "by": {"command": "init"}})  # noqa: E731
    refused("held", held, "under a legal hold")
