"""P21, P22: the members of a log change by entries. The checkpoint that first holds a change has majorities of both sets; a machine
that is lost for ever is replaced under load; whoever has the first policy follows, and a false or missing step is refused."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from rig.broker import Peer
from rig.cluster import Cluster
from rig.joining import beside, join
from rig.trio import Eye, Trio, cosigned_by, keys_document, timed

from support import Server, cli, until
from test_any_one_may_die import Balancer, Load
from test_replicas import Forger


def remote(server: Server) -> list[Any]:
    """Where the operator asks."""
    return ["--server", server.url, "--api-key-file", server.key_file(server.operator_key)]


def replica(server: Server, *arguments: Any) -> Any:
    """`replica …` at that server."""
    return cli("replica", *arguments, *remote(server), "--reason", "For the test.", "--json")


def change(server: Server, body: dict[str, Any]) -> httpx.Response:
    """The same by the API."""
    headers = {"Authorization": f"Bearer {server.operator_key.text}"}
    return httpx.post(f"{server.url}/v1/replicas/members", json=body, headers=headers, timeout=60, trust_env=False)


def newcomer(trio: Trio, name: str, of: str) -> str:
    """A fourth replica, which joined with what another one has, with a key of its own; its public key."""
    server, vkey = beside(trio, name, of)
    join(server, trio[of].url).ok()
    return vkey


def verify(trio: Trio, folder: Path, receipt: str, keys: dict[str, Any] | None = None) -> Any:
    """`verify --policy` of a receipt, with the first policy."""
    (path := folder / "one.tlog-proof").write_text(receipt)
    more: list[Any] = []
    if keys is not None:
        (document := folder / "keys.json").write_text(json.dumps(keys))
        more = ["--keys", document]
    return cli("verify", "--key", trio.vkey, "--policy", trio.policy, path, *more)


def test_p22_a_machine_that_is_lost_is_replaced_under_load(trio: Trio, tmp_path: Path) -> None:
    """c is lost for ever, d takes its place with a key of its own, then a is lost: the service goes on, and every receipt from before
    and after verifies with the first policy."""
    old = dict(trio.vkeys)
    balancer = Balancer(trio)
    eye = Eye(trio)
    eye.start()
    early = trio.post("a")
    receipts = {early: trio["a"].admin.receipt(early)}
    with Load(balancer) as load:
        until("load", lambda: len(load.told) > 20)
        trio["c"].kill9()
        lost = trio.servers.pop("c")
        balancer.clients = [server.as_("publisher") for server in trio.servers.values()]
        before = len(load.told)
        until("work without c", lambda: len(load.told) > before + 20)
        vkey = timed("a backup, and a replica from it", lambda: newcomer(trio, "d", "b"))
        trio["d"].start(ready=False)
        until("d to say that it is no member", lambda: trio.listens("d") and "not_a_member" in trio.troubles("d"))
        assert "is not one of the replicas yet" in trio.troubles("d")["not_a_member"]
        done = timed("the change", lambda: replica(trio["a"], "replace", "c", "d", vkey))
        (log,) = json.loads(done.ok().out)["logs"]
        assert (log["status"], log["version"], log["members"]) == ("applied", 1, ["a", "b", "d"]), log
        again = json.loads(replica(trio["b"], "replace", "c", "d", vkey).ok().out)["logs"][0]
        assert (again["status"], again["version"]) == ("unchanged", 1), "a repetition changes nothing"
        trio["d"].wait_ready(120)
        before = len(load.told)
        until("work with d", lambda: len(load.told) > before + 20)
        trio["a"].kill9()
        gone = trio.servers.pop("a")
        balancer.clients = [server.as_("publisher") for server in trio.servers.values()]
        before = len(load.told)
        until("work without a and c", lambda: len(load.told) > before + 20, 120)
    seen = eye.stop()
    late = load.told[-1][1]
    trio.reach(late + 1)
    # Every acknowledged event is in the log, once.
    indexes = [index for _, index in load.told]
    assert len(set(indexes)) == len(indexes)
    leaves = {name: [leaf for _, leaf in server.admin.feed()] for name, server in trio.servers.items()}
    assert leaves["b"] == leaves["d"]
    # The first checkpoint that holds the change has majorities of both sets; those after it one of the new set alone.
    new = {name: key for name, key in old.items() if name != "c"} | {"d": vkey}
    sizes = {int(note.splitlines()[1]): note for note in seen}
    covering = [sizes[size] for size in sorted(sizes) if size > log["index"]]
    assert covering and all(len(cosigned_by(note, new)) >= 2 for note in covering)
    assert all(len(cosigned_by(sizes[size], old)) >= 2 for size in sizes if size <= log["index"])
    # With the first policy: the early receipt alone, and all of them with the keys document, from either of those that are left.
    verify(trio, tmp_path, receipts[early]).ok()
    for name in trio.servers:
        keys = keys_document(trio[name])
        assert [step["version"] for step in keys["members"]] == [1], name
        joint = keys["members"][0]["receipt"].split("\n\n", 1)[1]
        assert len(cosigned_by(joint, old)) >= 2 and len(cosigned_by(joint, new)) >= 2
        for index in [early, *indexes[:: max(1, len(indexes) // 10)], late]:
            done = verify(trio, tmp_path, trio[name].admin.receipt(index), keys).ok()
            assert "policy followed: replicas changed" in done.out and "grade: cosigned" in done.out, done.out
    keys = keys_document(trio["b"])
    receipt = trio["b"].admin.receipt(late)
    # Without the step, or with a forged one, it is refused, in words.
    alone = verify(trio, tmp_path, receipt)
    if len(cosigned_by(receipt.split("\n\n", 1)[1], old)) < 2:
        assert alone.code == 1 and "the newest keys document" in alone.out, alone.out
    forged = copy.deepcopy(keys)
    text = forged["members"][0]["receipt"].splitlines(keepends=True)
    lines = [line for line in text if "/replicas/" not in line or "/replicas/b " in line]
    forged["members"][0]["receipt"] = "".join(lines)
    refused = verify(trio, tmp_path, receipt, forged)
    assert refused.code == 1 and "too few have agreed to the change" in refused.out, refused.out
    skipped = copy.deepcopy(keys)
    skipped["members"][0]["version"] = 2
    refused = verify(trio, tmp_path, receipt, skipped)
    assert refused.code == 1 and "it is missing" in refused.out, refused.out
    # An export carries the changes; the policy in force is printed.
    out = tmp_path / "export"
    key_file = trio["b"].key_file(trio["b"].admin_key)
    cli("export", "--server", trio["b"].url, "--tenant", "acme", "--api-key-file", key_file, out).ok()
    done = cli("verify", "--key", trio.vkey, "--policy", trio.policy, "--export", out).ok()
    assert "policy followed" in done.out, done.out
    (path := tmp_path / "now.json").write_text(json.dumps(keys))
    printed = cli("log", "policy", "--config", trio["b"].config, "--key", trio.vkey, "--keys", path).ok().out
    assert vkey in printed and old["c"] not in printed
    trio.stop()
    trio.fsck()
    for server in (lost, gone):
        server.__exit__()


def test_p21_one_of_two_concurrent_changes_wins(trio: Trio) -> None:
    """Two operators change the same set at once, at two replicas: one is in force, the other is refused, and work goes on. One that is
    removed says so and cosigns nothing."""
    d, e = (newcomer(trio, name, "a") for name in ("d", "e"))
    for name in ("d", "e"):
        trio[name].start(ready=False)
    for name in ("d", "e"):
        until(f"{name} to be there", lambda name=name: trio.listens(name) and "not_a_member" in trio.troubles(name))
    wanted = [("a", {"name": "d", "vkey": d}), ("b", {"name": "e", "vkey": e})]
    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(lambda one: change(trio[one[0]], {"add": [one[1]]}), wanted))
    versions = [answer.json()["logs"][0]["version"] for answer in answers if answer.status_code == 200]
    # Either one was refused, or the second was made from what the first had put in force.
    assert sorted(versions) in ([1], [1, 2]), [answer.text for answer in answers]
    changes = trio["a"].admin.entries(kind="members")
    assert [entry["event"]["version"] for entry in changes] == list(range(1, len(versions) + 1))
    for name, member in wanted:
        change(trio[name], {"add": [member]}).raise_for_status()
    for name in ("d", "e"):
        trio[name].wait_ready(120)
    trio.reach(trio.post("e") + 1)
    assert trio.status("e")["majority"] == 3
    replica(trio["b"], "remove", "a").ok()
    until("a to say that it was removed", lambda: "was removed" in trio.troubles("a").get("not_a_member", ""))
    ready = httpx.get(f"{trio['a'].url}/readyz", timeout=30, trust_env=False)
    assert ready.status_code == 503
    size = trio.post("c") + 1
    trio.reach(size)
    note = trio["b"].admin.checkpoint()
    vkeys = trio.vkeys | {"d": d, "e": e}
    assert "a" not in cosigned_by(note, vkeys) and len(cosigned_by(note, vkeys)) >= 3


def test_p21_keys_of_replicas_that_left_count_for_nothing(trio: Trio, cluster: Cluster, tmp_path: Path) -> None:
    """Two of three are replaced at once: the first checkpoint has both majorities. Whoever then has the keys of those that left, and the
    log's, puts nothing into the register that anybody shows, and no client that follows accepts it. The log goes on."""
    old = dict(trio.vkeys)
    eye = Eye(trio)
    eye.start()
    new = {name: newcomer(trio, name, "a") for name in ("d", "e")}
    for name in new:
        trio[name].start(ready=False)
    for name in new:
        until(f"{name} to be there", lambda name=name: trio.listens(name) and "not_a_member" in trio.troubles(name))
    body = {"remove": ["b", "c"], "add": [{"name": name, "vkey": vkey} for name, vkey in new.items()]}
    change(trio["a"], body).raise_for_status()
    for name in new:
        trio[name].wait_ready(120)
    new["a"] = old["a"]
    keys = keys_document(trio["d"])
    joint = keys["members"][0]["receipt"].split("\n\n", 1)[1]
    assert len(cosigned_by(joint, old)) >= 2 and len(cosigned_by(joint, new)) >= 2, joint
    for name in ("b", "c"):
        until(f"{name} to say that it was removed", lambda name=name: "was removed" in trio.troubles(name).get("not_a_member", ""))
        trio[name].stop()
    size = trio.post("d") + 40
    root = hashlib.sha256(b"false").digest()
    thieves = [Forger(trio, name) for name in ("b", "c")]
    for name in ("b", "c"):
        trio.servers.pop(name).__exit__()
    false = thieves[0].note(size, root) + thieves[1].note(size, root).splitlines(keepends=True)[-1]
    assert cosigned_by(false, old) == {"b", "c"}
    (path := tmp_path / "false.note").write_text(false)
    (document := tmp_path / "keys.json").write_text(json.dumps(keys))
    given = ["verify", "--key", trio.vkey, "--policy", trio.policy, "--checkpoint", path]
    cli(*given).ok()  # who does not follow can't know: the page says so
    refused = cli(*given, "--keys", document)
    assert refused.code == 1 and "is not met" in refused.out, refused.out
    with Peer(next(iter(cluster.nodes.values()))) as peer:
        peer.request("countersign-register.acme.value", false.encode())
        for name in trio.servers:
            until(f"{name} to be told", lambda name=name: trio.status(name)["ignored"] >= 1)
        # A false step is as little worth: it names a set that nobody put in force.
        peer.request("countersign-register.acme.change.2", keys["members"][0]["receipt"].encode())
    index = trio.post("e")
    trio.reach(index + 1)
    seen = eye.stop()
    assert false not in seen and all(len(cosigned_by(note, new)) >= 2 or len(cosigned_by(note, old)) >= 2 for note in seen)
    # The next change is not stopped by what lies in its place.
    f = newcomer(trio, "f", "d")
    trio["f"].start(ready=False)
    until("f to be there", lambda: trio.listens("f") and "not_a_member" in trio.troubles("f"))
    replica(trio["e"], "add", "f", f).ok()
    trio["f"].wait_ready(120)
    assert [step["version"] for step in keys_document(trio["f"])["members"]] == [1, 2]
    trio.reach(trio.post("f") + 1)


def of_log(trio: Trio) -> str:
    """The public key of the log itself, as that of a replica d."""
    public = bytes([4]) + base64.b64decode(trio.vkey.split("+", 2)[2])[1:]
    name = trio.vkeys["a"].split("+")[0].removesuffix("/a") + "/d"
    id = hashlib.sha256(name.encode() + b"\n" + public).hexdigest()[:8]
    return f"{name}+{id}+{base64.b64encode(public).decode()}"


def test_p21_what_can_be_no_set_is_refused(trio: Trio, tmp_path: Path) -> None:
    """Too few, a key twice, the log's key, another log's key, a name that is nobody's, a set of which no majority answers: nothing is written, and work goes on."""
    elsewhere = "other.example/replicas/d+" + trio.vkeys["c"].split("+", 1)[1]
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"remove": ["c"]}, "3 to 7 are needed"),
        ({"add": [{"name": "d", "vkey": trio.vkeys["c"]}]}, "must be named"),
        ({"add": [{"name": "d", "vkey": "nonsense"}]}, "`countersign replica key` prints a key"),
        ({"add": [{"name": "d", "vkey": elsewhere}]}, "add: d"),
        ({}, "Nothing to change"),
        ({"remove": ["zz"]}, "zz is no replica. There are: a, b, c."),
        ({"add": [{"name": "d", "vkey": of_log(trio)}]}, "has the public key of the log of acme"),
    ]
    for body, words in wrong:
        answer = change(trio["a"], body)
        assert answer.status_code == 400 and words in answer.json()["detail"], answer.text
    make = ["replica", "key", "--config", trio["a"].config, "--name"]
    new = {name: cli(*make, name, tmp_path / f"{name}.key").ok().out.strip() for name in ("d", "e")}
    body = {"remove": ["b", "c"], "add": [{"name": name, "vkey": vkey} for name, vkey in new.items()]}
    answer = change(trio["a"], body)
    assert answer.status_code == 409 and "must say with its own key" in answer.json()["detail"], answer.text
    assert trio["a"].admin.entries(kind="members") == []
    assert trio.status("a")["version"] == 0
    trio.reach(trio.post("a") + 1)
