"""P21: three real servers on three real nats-servers show one history, each checkpoint cosigned by a majority of them; with
one gone they go on, with two gone nothing new is shown; whoever has the log's key and another journal is accepted by nobody."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import os
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from rig.broker import Peer
from rig.cluster import Cluster
from rig.trio import CHECKPOINT, Eye, Trio, cosigned_by, timed
from support import NatsServer, Server, cli, event, until, witnesses
from tamper.database import LOG, Database, u64

REGISTER = "countersign-register.acme.value"


def shown(server: Server) -> str:
    """The checkpoint that it shows now."""
    return server.admin.checkpoint()


def leader(trio: Trio) -> str:
    """Who proposes first."""
    return until("somebody to lead", lambda: next((n for n in trio.servers if trio.status(n)["leads"]), None))


class Forger:
    """Has the log's key, and one replica's, and writes what it likes."""

    def __init__(self, trio: Trio, replica: str) -> None:
        self.origin = trio.origin
        self.log = self.read(trio[replica].root / "keys" / "acme" / "log-1.key")
        self.replica = self.read(trio.key_file(replica))
        self.replica_name = trio.vkeys[replica].split("+", 1)[0]

    @staticmethod
    def read(path: Path) -> Ed25519PrivateKey:
        """The key in a file."""
        raw = base64.b64decode(path.read_text().strip().split("+", 4)[4])
        return Ed25519PrivateKey.from_private_bytes(raw[1:])

    @staticmethod
    def line(name: str, kind: int, key: Ed25519PrivateKey, signature: bytes) -> str:
        """A signature line."""
        public = bytes([kind]) + key.public_key().public_bytes_raw()
        made = hashlib.sha256(name.encode() + b"\n" + public).digest()[:4]
        return f"\u2014 {name} {base64.b64encode(made + signature).decode()}\n"

    def note(self, size: int, root: bytes, *, cosigned: bool = True) -> str:
        """A checkpoint that the log's key has signed, and the replica's."""
        text = f"{self.origin}\n{size}\n{base64.b64encode(root).decode()}\n"
        made = f"{text}\n" + self.line(self.origin, 1, self.log, self.log.sign(text.encode()))
        if cosigned:
            moment = (1_800_000_000).to_bytes(8, "big")
            message = f"cosignature/v1\ntime 1800000000\n{text}".encode()
            made += self.line(self.replica_name, 4, self.replica, moment + self.replica.sign(message))
        return made


def test_p21_three_replicas_show_one_history(trio: Trio, tmp_path: Path) -> None:
    """The same events at all three, at once: every checkpoint that anybody was ever shown is of one history and has a majority."""
    eye = Eye(trio)
    eye.start()
    same = [event() for _ in range(20)]

    def post(name: str) -> list[tuple[str, int]]:
        client = trio[name].as_("publisher")
        told = []
        for one in same:
            answer = client.post_events(json.dumps(one).encode())
            assert answer.status_code == 200, answer.text
            told.append((answer.json()["results"][0]["status"], answer.json()["results"][0]["index"]))
        return told

    with ThreadPoolExecutor() as pool:
        told = list(pool.map(post, trio.servers))
    # Each event is in the log once, at one index, whoever was asked.
    assert [index for _, index in told[0]] == [index for _, index in told[1]] == [index for _, index in told[2]]
    assert len({index for _, index in told[0]}) == len(same)
    assert sorted(status for each in told for status, _ in each).count("posted") == len(same)
    alone = {name: trio.post(name) for name in trio.servers}
    trio.reach(max(alone.values()) + 1)
    seen = eye.stop()
    assert len(seen) > 3
    trio.judge(seen, tmp_path, "b")
    # The receipt of each verifies with the policy, wherever it is asked for.
    for name, index in alone.items():
        for other in trio.servers:
            path = tmp_path / f"{name}-{other}.tlog-proof"
            path.write_text(trio[other].admin.receipt(index))
            item = cli("verify", "--key", trio.vkey, "--policy", trio.policy, path, "--json").ok().json()["items"][0]
            assert item["grade"] == "cosigned" and len(item["policy"]["by"]) >= 2, item
    # One of them leads, and each knows the others.
    until("one to lead", lambda: [trio.status(name)["leads"] for name in trio.servers].count(True) == 1)
    for name in trio.servers:
        assert trio.troubles(name) == {}
        until("all to be heard", lambda name=name: all(
            member["heard_seconds"] is not None and member["posted"] == trio[name].admin.size() for member in trio.status(name)["members"]
        ))
    # All have posted the same leaves, and each directory is sound.
    leaves = {name: [leaf for _, leaf in server.admin.feed()] for name, server in trio.servers.items()}
    assert leaves["a"] == leaves["b"] == leaves["c"]
    trio.stop()
    trio.fsck()


def test_p21_one_is_killed_and_the_others_go_on(trio: Trio, tmp_path: Path) -> None:
    """Whoever is killed, also the one that leads, comes back and catches up; nothing that was told is lost."""
    eye = Eye(trio)
    eye.start()
    told = [trio.post(name) for name in trio.servers]
    for _ in range(2):
        gone = leader(trio)
        trio[gone].kill9()
        others = [name for name in trio.servers if name != gone]
        for name in others:
            told.append(timed(f"an event at {name} after the kill of the one that led ({gone})", lambda name=name: trio.post(name)))
        trio.reach(max(told) + 1, *others)
        trio[gone].start(ready=False)
        trio[gone].wait_ready(120)
        trio.reach(max(told) + 1)
        told.append(trio.post(gone))
    trio.reach(max(told) + 1)
    seen = eye.stop()
    trio.judge(seen, tmp_path, "a")
    assert len(set(told)) == len(told)
    for index in told:
        assert {trio[name].admin.entry(index)["kind"] for name in trio.servers} == {"decision"}


def test_p21_two_are_gone_and_nothing_new_is_shown(trio: Trio, tmp_path: Path) -> None:
    """The last one shows what it showed, says why, and takes nothing that it could tell nobody about."""
    eye = Eye(trio)
    eye.start()
    last = trio.post("c")
    trio.reach(last + 1)
    trio["a"].kill9()
    trio["b"].kill9()
    until("it to say so", lambda: "no_quorum" in trio.troubles("c"))
    before = shown(trio["c"])
    answer = trio["c"].as_("publisher").post_events(json.dumps(event()).encode())
    assert (answer.status_code, answer.json()["code"]) == (503, "no_quorum"), answer.text
    assert shown(trio["c"]) == before
    assert trio["c"].admin.entry(last)["kind"] == "decision", "what was shown is still served"
    assert httpx.get(f"{trio['c'].url}/v1/tenants/acme/readyz", headers=trio.auditor, timeout=30, trust_env=False).status_code == 503
    assert trio.status("c")["stopped"]
    # A start alone shows nothing that was not cosigned, and what was cosigned again.
    trio["c"].kill9()
    trio["c"].start(ready=False)
    until("it to say so again", lambda: listens(trio["c"]) and "no_quorum" in trio.troubles("c"))
    note = shown(trio["c"])
    assert len(cosigned_by(note, trio.vkeys)) >= 2
    trio["b"].start(ready=False)
    for name in ("b", "c"):
        trio[name].wait_ready(120)
    index = timed("an event after the second one is back", lambda: trio.post("c"))
    trio.reach(index + 1, "b", "c")
    trio.judge(eye.stop(), tmp_path, "c")


def listens(server: Server) -> bool:
    try:
        return httpx.get(f"{server.url}/livez", timeout=5, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def test_p21_tampered_tiles_are_not_cosigned(trio: Trio, tmp_path: Path) -> None:
    """One replica's tiles are changed on its disk: it cosigns nothing, says so, and the others go on without it."""
    for _ in range(3):
        trio["a"].as_("publisher").publish(*[event() for _ in range(100)])
    trio.reach(trio["a"].admin.size())
    trio["c"].stop()
    with Database(trio["c"].data_dir) as db:
        tile = db.get("tiles", LOG + bytes([0]) + u64(0))
        db.put("tiles", LOG + bytes([0]) + u64(0), tile[:32] + hashlib.sha256(b"false").digest() + tile[64:])
    eye = Eye(trio)
    eye.start()
    trio["c"].start(ready=False)
    until("it to be halted", lambda: listens(trio["c"]) and "log_halted" in trio.troubles("c"))
    index = trio.post("a")
    trio.reach(index + 1, "a", "b")
    seen = eye.stop()
    assert all("c" not in cosigned_by(note, trio.vkeys) for note in seen if int(note.splitlines()[1]) > index)
    trio.judge({note for note in seen}, tmp_path, "a")


def test_p21_a_stolen_log_key_and_a_forked_journal_are_accepted_by_nobody(trio: Trio, cluster: Cluster, tmp_path: Path) -> None:
    """The replica c is in an attacker's hands, with the log's key: no second root gets a majority, or is served by a or b, and no
    client with the policy accepts one."""
    eye = Eye(trio)
    eye.start()
    size = trio.post("a") + 1
    trio.reach(size)
    # A server of the attacker's own, with the stolen keys and another journal that begins as ours did.
    trio["c"].stop()
    with NatsServer(tmp_path / "elsewhere") as elsewhere:
        forger = Forger(trio, "c")
        fork = Server(tmp_path / "fork", sections={"journal": {"kind": "jetstream", "url": elsewhere.url}})
        shutil.copytree(trio["c"].root / "keys", fork.root / "keys")
        made = fork.run("init", "--tenant", "acme", "--json").ok().json()
        assert made["vkey"] == trio.vkey, "the same key, the same origin"
        fork.keys["admin"] = type(trio["c"].admin_key)(made["admin_key"])
        fork.start()
        while fork.admin.size() < size + 3:
            fork.as_("publisher").publish(event())
        signed = fork.admin.checkpoint()
        fork.stop()
    false_size, false_root = int(signed.splitlines()[1]), base64.b64decode(signed.splitlines()[2])
    # 1. Nobody with the policy accepts it, with the attacker's cosignature or without, nor with that one twice.
    mine = forger.note(false_size, false_root)
    # Tessera reads no witness without a URL, which the format leaves open; nobody is asked there.
    lines = [f"{line} https://replica.invalid/" if line.startswith("witness ") else line for line in trio.policy.read_text().splitlines()]
    (theirs := tmp_path / "tessera-policy").write_text("\n".join(lines) + "\n")
    for number, note in enumerate([signed, mine, forger.note(size, hashlib.sha256(b"x").digest())]):
        (path := tmp_path / f"false-{number}").write_text(note)
        cli("verify", "--key", trio.vkey, "--checkpoint", path).ok()  # the key alone does not show it
        refused = cli("verify", "--key", trio.vkey, "--policy", trio.policy, "--checkpoint", path)
        assert refused.code == 1 and "is not met" in refused.out, refused.out
        # Nor does Tessera, by the same policy.
        witnesses.judge("policy", theirs, path, code=1)
    (path := tmp_path / "true").write_text(shown(trio["a"]))
    witnesses.judge("policy", theirs, path)
    # 2. The others cosign none of it: not the size that is shown, not one to come.
    node = next(iter(cluster.nodes.values()))
    with Peer(node) as peer:
        for name in ("a", "b"):
            for note in [forger.note(size, hashlib.sha256(b"x").digest(), cosigned=False), mine, signed]:
                said = peer.request(f"countersign-replica.acme.{name}", note.encode())
                assert "line" not in said and said["refused"], said
            assert "replicas_differ" in trio.troubles(name)
        # 3. The register: what has no majority is ignored and replaced, and a person is told.
        before = shown(trio["a"])
        for note in [mine, "nonsense"]:
            # The register keeps one value: whoever is later than the one that mends it sees nothing of it.
            told = {name: trio.status(name)["ignored"] for name in ("a", "b")}
            peer.request(REGISTER, note.encode())
            until("a person to be told", lambda told=told: any(trio.status(name)["ignored"] > told[name] for name in told))
        assert any("register_ignored" in trio.troubles(name) for name in ("a", "b"))
        until("the register to be mended", lambda: len(cosigned_by(register(peer), trio.vkeys)) >= 2)
        # An old value, put there again, is as false.
        old = next(note for note in sorted(eye.seen, key=lambda note: int(note.splitlines()[1])))
        peer.request(REGISTER, old.encode())
        until("it to be mended again", lambda: int(register(peer).splitlines()[1]) >= int(before.splitlines()[1]))
    # 4. The log goes on without the attacker.
    index = trio.post("b")
    trio.reach(index + 1, "a", "b")
    seen = eye.stop()
    assert not any(note.splitlines()[1:3] == mine.splitlines()[1:3] for note in seen)
    trio.judge(seen, tmp_path, "a")


def register(peer: Peer) -> str:
    """The value that is in the register."""
    message = peer.api("STREAM.MSG.GET.COUNTERSIGN_REGISTER", {"last_by_subj": REGISTER})["message"]
    return base64.b64decode(message["data"]).decode()


def test_p21_a_replica_that_was_paused_cosigns_what_is_true(trio: Trio, tmp_path: Path) -> None:
    """The one that leads stands still for a while: the others go on, and it follows them when it wakes."""
    eye = Eye(trio)
    eye.start()
    trio.post("a")
    paused = leader(trio)
    process = trio[paused].process
    assert process is not None
    os.killpg(process.pid, signal.SIGSTOP)
    others = [name for name in trio.servers if name != paused]
    told = [timed(f"an event at {name} while {paused} stands still", lambda name=name: trio.post(name)) for name in others]
    os.killpg(process.pid, signal.SIGCONT)
    told.append(trio.post(paused))
    trio.reach(max(told) + 1)
    trio.judge(eye.stop(), tmp_path, others[0])


def test_p21_what_is_refused_at_the_start(cluster: Cluster, tmp_path: Path) -> None:
    """Too few members, a copied key, another's key, one copy of the journal, an embedded journal; a second process of one name."""
    with Trio(tmp_path / "replicas", cluster.url) as trio:
        server = trio["a"]
        right = copy.deepcopy(server.sections)

        def refused(why: str, **changes: object) -> None:
            server.sections = copy.deepcopy(right)
            server.sections["replica"] |= {k: v for k, v in changes.items() if k in ("name", "members", "key_file")}
            if "journal" in changes:
                server.sections["journal"] = changes["journal"]
            server.write_config()
            done = server.run("check-config")
            if done.code == 0:
                done = cli("serve", "--config", server.config)
            assert done.code != 0 and why in done.err, done

        for key in ("name", "key_file", "members"):
            server.sections = copy.deepcopy(right)
            del server.sections["replica"][key]
            server.write_config()
            assert key in server.run("check-config").err, f"replica.{key} is not required"
        two = {name: trio.vkeys[name] for name in ("a", "b")}
        refused("3 to 7", members=two)
        refused("each replica has its own", members=trio.vkeys | {"c": trio.vkeys["b"]})
        refused("a key is never copied", name="d")
        refused("a key is never copied", key_file=trio.key_file("b"))
        refused("at least 3 with [replica]", journal=right["journal"] | {"replicas": 1})
        refused("one journal that all of them reach", journal={"kind": "embedded"})
        server.sections = right
        server.write_config()
        trio.start()
        # b's key and name on another machine: what comes second is halted.
        second = Server(tmp_path / "second", sections=copy.deepcopy(trio["b"].sections))
        for folder in ("keys", "guard"):
            shutil.copytree(trio["b"].root / folder, second.root / folder)
        trio["b"].stop()
        shutil.copytree(trio["b"].root / "data", second.root / "data")
        trio["b"].start()
        second.keys, second.vkey, second.origin = dict(trio["b"].keys), trio.vkey, trio.origin
        try:
            second.start(ready=False)
            until("it to be halted", lambda: listens(second) and "another process cosigns as the replica b" in health(second))
        finally:
            second.__exit__()
        index = trio.post("b")
        trio.reach(index + 1)


def health(server: Server) -> str:
    """As the operator sees it."""
    headers = {"Authorization": f"Bearer {server.operator_key.text}"}
    return httpx.get(f"{server.url}/healthz", headers=headers, timeout=30, trust_env=False).text
