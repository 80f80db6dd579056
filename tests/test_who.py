"""Who did it, and why: every administrative entry says so (P5), and the words of a reason can be erased (P11)."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import Client, Key, Server, cli, event
from test_rules import examples, with_files  # noqa: F401

ACTS = ("genesis", "access", "key", "rules", "erasure", "journal")


def leaf_hash(leaf: bytes) -> str:
    """RFC 6962, in base64."""
    return base64.b64encode(hashlib.sha256(b"\0" + leaf).digest()).decode()


def words(client: Client, index: int) -> dict[str, Any]:
    """What is left of an entry's payload, by name."""
    lines = map(json.loads, client.disclosures(index).splitlines())
    return {name: value for _, name, value in lines}


def last(server: Server, kind: str) -> int:
    """Index of the last entry of a kind."""
    return [index for index, _ in server.admin.feed(kind=kind)][-1]


def reason_of(server: Server, index: int) -> dict[str, Any]:
    """The words of an act's reason, after its place was compared as an auditor does."""
    at = server.admin.entry(index)["event"]["reason"]
    leaf = server.admin.get(f"/entries/{at['index']}").content
    assert leaf_hash(leaf) == at["leaf_hash"], "an act names its reason by what that entry holds"
    assert at["index"] < index, "the reason comes first"
    entry = json.loads(leaf)
    assert (entry["kind"], entry["event"]) == ("evidence", {"approval_id": None})
    return words(server.as_("discloser"), at["index"])


def everybody_is_named(server: Server) -> list[dict[str, Any]]:
    """Each administrative entry has exactly one closed form of `by`. Returns those entries."""
    acts = [entry for entry in server.admin.entries() if entry["kind"] in ACTS]
    for entry in acts:
        by = entry["event"]["by"]
        assert set(by) in ({"key"}, {"key", "person"}, {"operator"}, {"command"}, {"server"}), entry
    return acts


@pytest.fixture
def ruled(make_server: Callable[..., Server], tmp_path: Path, examples: Path) -> Server:  # noqa: F811
    """A running server whose tenant has the example files, not applied yet."""
    return make_server(sections=with_files(tmp_path, examples))


def test_p5_every_act_over_http_names_its_key_and_its_reason(ruled: Server) -> None:
    """Keys, rotation, erasure: by the caller's key; the words are evidence before the act, and stand nowhere in it."""
    server, admin = ruled, ruled.admin
    me = {"key": server.admin_key.id}
    index = server.as_("publisher").publish(event())[0]["index"]
    key = server.add_key(["auditor"])
    said = {
        "access": ("POST", "/keys", {"roles": ["exporter"]}),
        "key": ("POST", "/keys/rotate", {"use": "token"}),
        "erasure": ("POST", "/erasures", {"indexes": [index]}),
        "removal": ("DELETE", f"/keys/{key.id}", {}),
    }
    for act, (method, path, body) in said.items():
        why = f"because of {act}\nand no other"
        answer = admin.http.request(method, f"{admin.t}{path}", json=body | {"reason": why})
        assert answer.status_code < 300, answer.text
        kind = "access" if act == "removal" else act
        at = last(server, kind)
        assert admin.entry(at)["event"]["by"] == me
        assert why.split("\n")[0] not in admin.get(f"/entries/{at}").text, "the act itself stays for ever"
        assert reason_of(server, at) == {"act": kind, "reason": why}
        # Without a reason the act is done all the same, and says that there is none.
    removed = server.add_key(["auditor"])
    assert admin.http.delete(f"{admin.t}/keys/{removed.id}").status_code == 204
    event_of = admin.entry(last(server, "access"))["event"]
    assert (event_of["op"], event_of["by"], event_of["reason"]) == ("remove", me, None)
    everybody_is_named(server)
    server.stop()
    server.fsck().ok()


def test_p11_a_reason_is_erased_and_its_act_stays(server: Server) -> None:
    """The words go like any payload; the act, its place and every proof stay."""
    admin = server.admin
    name = "Kim Example asked by telephone"
    answer = admin.http.post(f"{admin.t}/keys", json={"roles": ["auditor"], "reason": name})
    assert answer.status_code == 201, answer.text
    act = last(server, "access")
    reason = admin.entry(act)["event"]["reason"]["index"]
    assert reason_of(server, act)["reason"] == name
    before = admin.get(f"/entries/{act}").content
    assert admin.erase(reason)["status"] == "complete"
    assert admin.get(f"/entries/{act}").content == before
    assert words(server.as_("discloser"), reason) == {}
    assert admin.receipt(act) and admin.receipt(reason)
    server.stop()
    server.fsck().ok()


def test_p13_a_reason_is_bounded_and_refused_before_anything_is_written(server: Server) -> None:
    """2,000 characters of any script; no control characters but line breaks and tabs; not empty. Nothing is done otherwise."""
    admin = server.admin
    fits = {"roles": ["auditor"], "reason": "\N{EURO SIGN}" * 2000}
    assert admin.http.post(f"{admin.t}/keys", json=fits).status_code == 201
    size = admin.size()
    for wrong in ("", " \n", "x" * 2001, "red \x1b[31m", "a\rb", 7, ["x"], {"index": 1}):
        for path, body in (("/keys", {"roles": ["auditor"]}), ("/keys/rotate", {"use": "token"}), ("/erasures", {"indexes": [0]})):
            answer = admin.http.post(f"{admin.t}{path}", json=body | {"reason": wrong})
            assert (answer.status_code, answer.json()["code"]) == (400, "bad_request"), (wrong, answer.text)
    answer = admin.http.request("DELETE", f"{admin.t}/keys/{server.admin_key.id}", json={"reason": ""})
    assert answer.status_code == 400, answer.text
    assert admin.size() == size, "nothing was written"


def test_p5_a_key_may_name_its_person(server: Server) -> None:
    """Acts with such a key name the person too. A producer's key has none."""
    admin = server.admin
    dan = server.add_key(["admin"], person="p-dan")
    server.client(dan).add_key(["exporter"])
    assert admin.entry(last(server, "access"))["event"]["by"] == {"key": dan.id, "person": "p-dan"}
    wrong = {"roles": ["publisher"], "producer": "gw-1", "person": "p-dan"}
    assert admin.http.post(f"{admin.t}/keys", json=wrong).status_code == 400


def test_p5_init_and_the_operator_are_named(server: Server) -> None:
    """`init` is a command; a tenant made over HTTP names the operator's key; a further admin key names `init` and why."""
    acts = everybody_is_named(server)
    assert [entry["event"]["by"] for entry in acts[:2]] == [{"command": "init"}] * 2
    operator = server.client(server.operator_key)
    answer = operator.http.post("/v1/tenants", json={"tenant": "globex", "reason": "contract 17"})
    assert answer.status_code == 201, answer.text
    globex = server.client(Key(answer.json()["key"]), tenant="globex")
    entries = globex.entries()
    assert [entry["kind"] for entry in entries] == ["genesis", "evidence", "access"]
    assert [entries[n]["event"]["by"] for n in (0, 2)] == [{"operator": server.operator_key.id}] * 2
    assert entries[2]["event"]["reason"]["index"] == 1
    server.stop()
    server.run("init", "--tenant", "acme", "--new-admin-key", "--reason", "the first one was lost").ok()
    server.start()
    at = last(server, "access")
    assert server.admin.entry(at)["event"]["by"] == {"command": "init"}
    assert reason_of(server, at) == {"act": "access", "reason": "the first one was lost"}


def test_p5_commands_take_a_reason(ruled: Server) -> None:
    """`--reason` of `rules apply`, `key` and `erase` arrives; without one, `erase` says that it is missing."""
    server, tenant = ruled, ("--tenant", "acme")
    config = ("--config", server.config)
    index = server.as_("publisher").publish(event())[0]["index"]
    key = server.add_key(["auditor"])
    for kind, command, *args in (
        ("rules", "rules apply", *tenant, *config),
        ("access", "key add", *tenant, "--role", "exporter"),
        ("access", "key remove", *tenant, key.id),
        ("key", "key rotate", *tenant, "--use", "journal"),
        ("erasure", "erase", *tenant, index),
    ):
        server.remote(command, *args, "--reason", f"ticket of {command}").ok()
        told = reason_of(server, last(server, kind))
        told.pop("people_salt", None)
        assert told == {"act": kind, "reason": f"ticket of {command}"}
    done = server.remote("erase", *tenant, last(server, "evidence")).ok()
    assert "--reason" in done.err, "who erases without a reason is told"
    assert server.remote("erase", *tenant, index, "--reason", "x" * 2001).code == 2
    acts = everybody_is_named(server)
    assert {entry["kind"] for entry in acts} == set(ACTS) - {"journal"}


def test_p4_a_new_guard_is_recorded_with_its_reason(server: Server) -> None:
    """No entry of its own kind, but words in the log that it is about: by which command, and why."""
    server.stop()
    server.guard_path.unlink()
    done = server.run("recover", "--tenant", "acme", "--new-guard", "--reason", "INC-32").ok()
    assert "recorded in entry" in done.out
    server.start()
    at = last(server, "evidence")
    told = {"act": "new_guard", "by": {"command": "recover"}, "reason": "INC-32"}
    assert words(server.as_("discloser"), at) == told


# Reading payload


def reads(server: Server) -> list[tuple[str, int, int]]:
    """Which key read which range, as the log says it."""
    said = [entry["event"] for entry in server.admin.entries(kind="access")]
    return [(event["by"]["key"], event["from"], event["to"]) for event in said if event["op"] == "read"]


def test_p11_reading_payload_is_an_entry_before_it_leaves(server: Server) -> None:
    """One entry for what a person reads, however often; none for what holds no payload; nobody else's reading is covered."""
    publisher = server.as_("publisher")
    indexes = [result["index"] for result in publisher.publish(*(event(payload={"params": n}) for n in range(6)))]
    reader, other = server.add_key(["discloser"]), server.add_key(["discloser"])
    for index in (indexes[1], indexes[4], indexes[1], indexes[4]):
        assert server.client(reader).disclosures(index)
    assert reads(server) == [(reader.id, index, index + 1) for index in (indexes[1], indexes[4])]
    assert server.client(reader).disclosures(0) == "", "the genesis has no payload"
    assert server.client(reader).get("/entries/999999/disclosures").status_code == 404
    server.admin.erase(indexes[2])
    assert server.client(reader).disclosures(indexes[2]) == ""
    assert len(reads(server)) == 2
    assert server.client(other).disclosures(indexes[1])
    assert reads(server)[2:] == [(other.id, indexes[1], indexes[1] + 1)]
    # The process ends without notice: what was read is in the log, and is asked for anew.
    server.restart(kill=True)
    assert len(reads(server)) == 3
    assert server.client(reader).disclosures(indexes[1])
    assert reads(server)[3:] == [(reader.id, indexes[1], indexes[1] + 1)]
    server.stop()
    server.fsck().ok()


def test_p11_an_announced_range_is_one_entry(server: Server, tmp_path: Path) -> None:
    """`?through=` and the export say beforehand what they read."""
    publisher = server.as_("publisher")
    results = publisher.publish(*(event(payload={"params": n}) for n in range(40)))
    first, end = results[0]["index"], results[-1]["index"]
    reader = server.add_key(["discloser"])
    client = server.client(reader)
    assert client.get(f"/entries/{first}/disclosures", through=end).status_code == 200
    for index in range(first, end + 1):
        assert client.disclosures(index)
    assert reads(server) == [(reader.id, first, end + 1)]
    exporter = server.add_key(["auditor", "discloser"])
    size = server.admin.size()
    server.remote("export", "--tenant", "acme", "--disclosures", tmp_path / "export", key=exporter).ok()
    assert [read for read in reads(server) if read[0] == exporter.id] == [(exporter.id, first, size)]
    for wrong in ("-1", "x", "1.5"):
        assert client.get(f"/entries/{first}/disclosures", through=wrong).status_code == 400


def test_p13_a_reader_of_everything_costs_few_entries(server: Server) -> None:
    """Entry after entry without announcing it: ranges grow; every read is covered, also while it is not one reader alone."""
    publisher = server.as_("publisher")
    indexes = [result["index"] for result in publisher.publish(*(event(payload={"params": n}) for n in range(300)))]
    reader = server.add_key(["discloser"])
    client = server.client(reader)
    for index in indexes:
        assert client.disclosures(index)
    ranges = [range(begin, end) for _, begin, end in reads(server)]
    assert len(ranges) < 30, ranges
    assert all(any(index in covered for covered in ranges) for index in indexes)


# Executions and their decision


def test_p5_an_execution_names_its_decision(server: Server) -> None:
    """An auditor joins executions to decisions by index and leaf hash, from plain entries; a wrong form is rejected."""
    publisher = server.as_("publisher")
    index = publisher.publish(event())[0]["index"]
    receipt = publisher.receipt(index).splitlines()
    assert receipt[2] == f"index {index}"
    link = {"index": index, "leaf_hash": leaf_hash(base64.b64decode(receipt[1].removeprefix("extra ")))}
    report = event(type="dev.countersign.execution.v1", data={"decision": link, "status": "completed"}, payload={"result": {"ok": True}})
    done = publisher.publish(report)[0]
    plain = server.admin.entry(done["index"])["event"]["data"]
    assert plain["decision"] == link
    assert leaf_hash(server.admin.get(f"/entries/{link['index']}").content) == link["leaf_hash"]
    for wrong in (index, {"index": index}, link | {"index": str(index)}, link | {"leaf_hash": link["leaf_hash"][:-1]}):
        result = publisher.publish(event(type="dev.countersign.execution.v1", data={"decision": wrong}))[0]
        assert (result["status"], result["reason"]) == ("rejected", "data"), wrong
    decision = publisher.publish(event(data={"decision": link}))[0]
    assert "decision" not in server.admin.entry(decision["index"])["event"]["data"], "payload elsewhere"


# The files that were applied


def recipe(page: Path) -> str:
    """The block of the page that an auditor runs."""
    return page.read_text().split("```python\n", 1)[1].split("```", 1)[0]


def test_p11_an_auditor_who_is_given_the_files_checks_them(ruled: Server, repository: Path, tmp_path: Path) -> None:
    """By our command and by the page's own lines; with the salt that can be erased. Other files, or another salt, differ."""
    server = ruled
    server.remote("rules apply", "--tenant", "acme", "--config", server.config).ok()
    first = server.admin.entry(last(server, "rules"))["event"]
    folder = server.sections["approvals"]["dir"] / "acme"
    files = (folder / "rules.toml", folder / "people.toml")
    salt = reason_of(server, last(server, "rules"))["people_salt"]
    args = ("--salt", salt, "--expect-rules", first["rules_digest"], "--expect-people", first["people_digest"])
    done = cli("rules", "digest", *args, "--json", *files).ok()
    assert done.json() == {"rules_digest": first["rules_digest"], "people_digest": first["people_digest"]}
    code = recipe(repository / "proto" / "formats" / "rules.md").replace("SALT", repr(salt))
    lines = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    assert lines.stdout.strip() == first["people_digest"]

    people = files[1].read_text()
    files[1].write_text(people.replace("Bob Ito", "Rob Ito"))
    changed = cli("rules", "digest", *args, *files)
    assert changed.code == 1 and "people" in changed.err
    assert cli("rules", "digest", "--salt", salt[::-1], "--expect-people", first["people_digest"], *files).code == 1
    # Each version has a salt of its own: the first one tells nothing of the second.
    server.remote("rules apply", "--tenant", "acme", "--config", server.config).ok()
    files[1].write_text(people)
    server.remote("rules apply", "--tenant", "acme", "--config", server.config).ok()
    third = server.admin.entry(last(server, "rules"))["event"]
    assert third["people_digest"] != first["people_digest"], "the same people again, and nobody sees that"
    assert reason_of(server, last(server, "rules"))["people_salt"] != salt
    # Erased, the server itself still knows its files; nobody else does.
    server.admin.erase(third["reason"]["index"])
    assert "people_salt" not in words(server.as_("discloser"), third["reason"]["index"])
    server.restart()
    shown = server.remote("rules show", "--tenant", "acme").ok().out
    assert "The server's files are the ones in force." in shown and server.admin_key.id in shown
