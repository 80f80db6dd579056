"""P20, P21: a tenant is made and deleted while replicas run. It is made only when every one of them has said, signed, that it has the
keys, begins with the replicas in force, and one that lacked it takes it up by itself. It is deleted when every one says that it is."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from rig.broker import Peer
from rig.cluster import Cluster
from rig.trio import Trio, cosigned_by
from test_erase import places, secret
from test_members import newcomer, replica

from support import Client, Key, Server, cli, event, until

NEW = "globex"


@pytest.fixture
def trio(cluster: Cluster, tmp_path: Path) -> Iterator[Trio]:
    """Three replicas that compress nothing, so that a search of their files finds what is there."""
    with Trio(tmp_path / "replicas", cluster.url, compression="none") as trio:
        yield trio.start()


def make_keys(server: Server) -> Path:
    """`tenant make-keys`; the folder."""
    return Path(cli("tenant", "make-keys", "--config", server.config, NEW).ok().out.splitlines()[0])


def give(trio: Trio, folder: Path, *names: str) -> None:
    """The operator copies it."""
    for name in names:
        shutil.copytree(folder, trio[name].keys_dir / NEW)


def create(server: Server, *arguments: object) -> Any:
    """`tenant create`."""
    return server.remote("tenant create", *arguments, "--json", NEW, key=server.operator_key)


def made(trio: Trio, names: list[str], *arguments: object) -> dict[str, Any]:
    """The keys are on all, and the tenant is made at the last of them."""
    give(trio, make_keys(trio[names[0]]), *names[1:])
    done = create(trio[names[-1]], *arguments).ok().json()
    assert "missing" not in done, done
    return dict(done)


def at(server: Server, key: str) -> Client:
    """That tenant at a server."""
    return server.client(Key(key), NEW)


def post(server: Server, key: str, payload: dict[str, Any] | None = None) -> int:
    """Posts an event of that tenant; its index."""
    publisher = server.client(at(server, key).add_key(["publisher"], "gw-1"), NEW)
    return int(publisher.publish(event(payload=payload or {}))[0]["index"])


def tenants(server: Server) -> set[str]:
    """The tenants that it has."""
    headers = {"Authorization": f"Bearer {server.operator_key.text}"}
    document = httpx.get(f"{server.url}/healthz", headers=headers, timeout=30, trust_env=False).json()
    return {one["tenant"] for one in document["tenants"]}


def troubles(server: Server) -> dict[str, str]:
    """What health says of every tenant."""
    headers = {"Authorization": f"Bearer {server.operator_key.text}"}
    document = httpx.get(f"{server.url}/healthz", headers=headers, timeout=30, trust_env=False).json()
    assert "tenants" in document, document
    return {f"{one['tenant']} {t['code']}": t["detail"] for one in document["tenants"] for t in one["troubles"]}


def test_p21_a_tenant_is_made_on_every_replica(trio: Trio, tmp_path: Path) -> None:
    """No keys here, none there, other keys there, one that is away: refused each time, with who, and nothing is made. Then it is there on
    all three, takes events at each of them, and verifies with the policy that was printed."""

    def refused(name: str, *words: str) -> None:
        done = create(trio[name])
        assert done.code == 1 and all(word in done.err for word in words), done.err
        assert all(NEW not in tenants(server) for server in trio.servers.values() if server.alive())

    refused("a", "There are no key files of the tenant globex on this replica")
    folder = make_keys(trio["a"])
    again = cli("tenant", "make-keys", "--config", trio["a"].config, NEW)
    assert again.code == 1 and "already" in again.err, again.err
    refused("a", "b: it has no key files of the tenant globex; c: it has no key files")
    give(trio, folder, "b")
    others = make_keys(trio["c"])
    refused("b", "c: its key files of the tenant globex hold other keys")
    shutil.rmtree(others)
    trio["c"].kill9()
    give(trio, folder, "c")
    refused("b", "c: ", "it is not there")
    trio["c"].start(ready=False)
    trio["c"].wait_ready(120)
    done = create(trio["b"], "--policy", tmp_path / "policy").ok().json()
    assert "missing" not in done and done["policy"] == (tmp_path / "policy").read_text(), done
    assert all(vkey in done["policy"] for vkey in trio.vkeys.values())
    twice = create(trio["c"])
    assert twice.code == 1 and "exists already" in twice.err, twice.err
    indexes = [post(trio[name], done["key"]) for name in trio.servers]
    assert len(set(indexes)) == 3
    for name, server in trio.servers.items():
        client = at(server, done["key"])
        until(f"{name} to show all", lambda client=client: client.size() > max(indexes))
        assert troubles(server) == {}, name
        (receipt := tmp_path / "one.tlog-proof").write_text(client.receipt(indexes[0]))
        verified = cli("verify", "--key", done["vkey"], "--policy", tmp_path / "policy", receipt).ok()
        assert "grade: cosigned" in verified.out, verified.out
    leaves = {name: [leaf for _, leaf in at(server, done["key"]).feed()] for name, server in trio.servers.items()}
    assert leaves["a"] == leaves["b"] == leaves["c"]
    trio.stop()
    trio.fsck()
    trio.start()
    post(trio["c"], done["key"])


def test_p21_a_new_tenant_begins_with_the_replicas_in_force(trio: Trio, tmp_path: Path) -> None:
    """c was replaced by d, and is lost: the new tenant's genesis names a, b and d, nobody needs c, and the configuration, which names the
    first three, is no fault. Then a is begun anew without that tenant, and takes it up by itself."""
    vkey = newcomer(trio, "d", "b")
    trio["d"].start(ready=False)
    until("d to say that it is no member", lambda: trio.listens("d") and "not_a_member" in trio.troubles("d"))
    replica(trio["a"], "replace", "c", "d", vkey).ok()
    trio["d"].wait_ready(120)
    trio["c"].kill9()
    lost = trio.servers.pop("c")
    done = made(trio, ["b", "a", "d"])
    genesis = json.loads(at(trio["d"], done["key"]).get("/entries/0").content)["event"]
    in_force = {"a": trio.vkeys["a"], "b": trio.vkeys["b"], "d": vkey}
    assert {one["name"]: one["vkey"] for one in genesis["members"]} == in_force
    index = post(trio["d"], done["key"])
    note = at(trio["a"], done["key"]).checkpoint()
    assert len(cosigned_by(note, in_force)) >= 2
    (policy := tmp_path / "policy").write_text(done["policy"])
    (receipt := tmp_path / "one.tlog-proof").write_text(at(trio["b"], done["key"]).receipt(index))
    cli("verify", "--key", done["vkey"], "--policy", policy, receipt).ok()
    for name, server in trio.servers.items():
        assert troubles(server) == {}, name
    a = trio["a"]
    a.stop()
    shutil.rmtree(a.data_dir)
    shutil.rmtree(a.guard_path.parent)
    a.guard_path.parent.mkdir()
    a.run("init", "--adopt", "--tenant", "acme").ok()
    a.start(ready=False)
    until("a to take it up", lambda: trio.listens("a") and at(a, done["key"]).http.get(f"/v1/tenants/{NEW}/entries/{index}").status_code == 200, 120)
    assert "a new tenant is taken up" in a.log
    a.wait_ready(120)
    size = post(a, done["key"]) + 1
    for server in trio.servers.values():
        until("all to show it", lambda server=server: at(server, done["key"]).size() >= size)
    # a has no operator key any more: `init --adopt` makes none.
    for name in ("b", "d"):
        assert troubles(trio[name]) == {}, name
    lost.__exit__()


def test_p20_p21_a_tenant_is_deleted_on_every_replica(trio: Trio, cluster: Cluster, rng: random.Random) -> None:
    """One is away: pending, by name; payload and keys are gone on the other two, and the journal stays for it. Back again, it deletes them
    too, and only then the journal goes and the deletion is complete. Other tenants go on, and the name can't be used again."""
    done = made(trio, ["a", "b", "c"])
    word = secret(rng)
    index = post(trio["a"], done["key"], {"params": word})
    for name, server in trio.servers.items():
        until(f"{name} to show it", lambda server=server: at(server, done["key"]).size() > index)
        assert places([server.data_dir], word), name
    auditor = at(trio["a"], done["key"]).add_key(["auditor"]).text
    until("c to know the auditor", lambda: at(trio["c"], auditor).http.get(f"/v1/tenants/{NEW}/retention").status_code == 200)
    trio["c"].kill9()

    def stream() -> bool:
        with Peer(next(iter(cluster.nodes.values()))) as peer:
            answer = json.loads(peer._do(peer.client.request(f"$JS.API.STREAM.INFO.COUNTERSIGN_{NEW}", b"", timeout=30)).data)
            return "error" not in answer

    def deletion(name: str) -> dict[str, Any]:
        return dict(at(trio[name], auditor).get("/retention").json()["deletion"])

    def keys(name: str) -> list[str]:
        return [path.name for path in (trio[name].keys_dir / NEW).glob("*.key")]

    key = Key(done["key"])
    deleted = trio["b"].remote("tenant delete", "--reason", "The contract ended.", NEW, key=key).ok()
    assert "not all gone yet" in deleted.out and "not yet c: " in deleted.out and "it is not there" in deleted.out, deleted.out
    until("a to delete it too", lambda: "a" not in {one["replica"] for one in deletion("b").get("missing", [])}, 120)
    assert deletion("b")["status"] == "pending" and [one["replica"] for one in deletion("b")["missing"]] == ["c"]
    for name in ("a", "b"):
        assert keys(name) == [] and places([trio[name].data_dir], word) == [], name
    assert stream() and len(keys("c")) == 4 and places([trio["c"].data_dir], word)
    trio["c"].start(ready=False)
    trio["c"].wait_ready(120)
    until("the deletion to be complete", lambda: deletion("a") == {"status": "complete"}, 120)
    assert not stream() and keys("c") == [] and places([trio["c"].data_dir], word) == []
    assert {name: deletion(name)["status"] for name in trio.servers} == dict.fromkeys(trio.servers, "complete")
    size = trio.post("c") + 1
    trio.reach(size)
    again = create(trio["a"])
    assert again.code == 1 and "exists already" in again.err, again.err
    trio.stop()
    trio.fsck()
    trio.start()
    for server in trio.servers.values():
        assert troubles(server) == {}
        assert at(server, auditor).get("/retention").json()["deletion"] == {"status": "complete"}
