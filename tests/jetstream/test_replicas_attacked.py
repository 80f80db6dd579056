"""P21: what somebody with one replica's rights, or a machine that was set back, must not bring about: a second history, a checkpoint that
nobody can verify, replicas that no longer answer, or sound ones that halt."""

from __future__ import annotations

import base64
import json
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from rig.broker import Peer
from rig.cluster import Cluster
from rig.trio import Eye, Trio, cosigned_by, keys_document

from support import cli, event, until
from test_members import change, newcomer
from test_replica_keys import give, make, rotate
from test_replicas import REGISTER, Forger

SET_BACK = ("data", "keys", "guard")
REGISTER_STREAM = "COUNTERSIGN_REGISTER"
#: How long a replica is watched that must do nothing. Before the mend it took 10 s at most.
WATCHED = 20.0


def peer(cluster: Cluster) -> Peer:
    """Somebody with rights at NATS."""
    return Peer(next(node for node in cluster.nodes.values() if node.process is not None))


def value(nats: Peer) -> str:
    """What the register holds."""
    return base64.b64decode(nats.api(f"STREAM.MSG.GET.{REGISTER_STREAM}", {"last_by_subj": REGISTER})["message"]["data"]).decode()


def size_of(note: str) -> int:
    """Its tree size."""
    return int(note.splitlines()[1])


def rotated(trio: Trio) -> None:
    """A log key takes over, as the page says."""
    file = make(trio, "log")
    for name in ("b", "c"):
        give(trio, file, name)
    rotate(trio, "log").ok()


def watched(seconds: float, look: Callable[[], Any]) -> None:
    """Looks all the time at something that must not happen."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        look()
        time.sleep(0.2)


def posted(nats: Peer, trio: Trio, topic: str, body: dict[str, Any], last: int = 0) -> None:
    """A message of the system that a server appended just before it crashed."""
    journal = Forger.read(next((trio["a"].root / "keys" / "acme").glob("journal-*.key")))
    what = json.dumps(body, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()
    signature = base64.urlsafe_b64encode(journal.sign(f"countersign-journal-v1\nacme\n1\n{topic}\n{last}\n".encode() + what)).rstrip(b"=").decode()
    salt = base64.urlsafe_b64encode(os.urandom(16)).rstrip(b"=").decode()
    told = nats.request(f"countersign.acme.{topic}", what, {"Countersign-Salt": salt, "Countersign-Signature": f"{last}.{signature}"})
    assert "seq" in told, told


def members(of: dict[str, str]) -> list[dict[str, str]]:
    """As an entry names them."""
    return [{"name": name, "vkey": vkey} for name, vkey in sorted(of.items())]


def test_p21_machines_that_are_set_back_behind_a_rotation_sign_no_second_history(trio: Trio, cluster: Cluster, tmp_path: Path) -> None:
    """a is lost; b and c, with their keys and guards, and the journal are set back to before the log key rotated. The register alone knows
    what a majority cosigned, signed by a key that b and c do not have: they put nothing in its place and cosign nothing smaller."""
    trio.reach(trio.post("a") + 1)
    trio.stop()
    group = cluster.info()["cluster"]["raft_group"]
    for node in cluster.nodes.values():
        node.stop()
    for name, node in cluster.nodes.items():
        node.copy_store(tmp_path / f"store-{name}")
    for name in ("b", "c"):
        for folder in SET_BACK:
            shutil.copytree(trio[name].root / folder, tmp_path / f"{name}-{folder}")
    for node in cluster.nodes.values():
        node.start()
    cluster.mend()
    trio.start()
    rotated(trio)
    for _ in range(6):
        last = trio.post("a")
    trio.reach(last + 1)
    trio.stop()
    trio.servers.pop("a").__exit__()
    with peer(cluster) as nats:
        before = value(nats)
    assert size_of(before) > last
    for node in cluster.nodes.values():
        node.stop()
    for name, node in cluster.nodes.items():
        for part in ("jetstream/$G/streams/COUNTERSIGN_acme", f"jetstream/$SYS/_js_/{group}"):
            shutil.rmtree(node.store / part)
            shutil.copytree(tmp_path / f"store-{name}" / part, node.store / part)
    for node in cluster.nodes.values():
        node.start()
    cluster.mend()
    for name in ("b", "c"):
        for folder in SET_BACK:
            shutil.rmtree(trio[name].root / folder)
            shutil.copytree(tmp_path / f"{name}-{folder}", trio[name].root / folder)
        trio[name].start(ready=False)
    both = [trio["b"], trio["c"]]
    until("both to answer", lambda: trio.listens("b") and trio.listens("c"), 120)

    def knows() -> bool:
        return any(str(size_of(before)) in json.dumps(trio.troubles(server.root.name)) for server in both)

    until("one of them to say how far the others were", knows, 120)
    for _ in range(20):
        client = trio["b"].as_("publisher")
        answer = client.http.post(f"{client.t}/events", json=event(), timeout=10)
        assert answer.status_code == 503, answer.text
    with peer(cluster) as nats:
        assert size_of(value(nats)) == size_of(before), "the register went back"


def test_p21_one_machine_that_is_set_back_behind_a_rotation_follows(trio: Trio, cluster: Cluster, tmp_path: Path) -> None:
    """It learns from the journal what it could not judge, and is a replica as before; the register never goes back."""
    trio.reach(trio.post("a") + 1)
    trio["b"].stop()
    for folder in SET_BACK:
        shutil.copytree(trio["b"].root / folder, tmp_path / folder)
    trio["b"].start(ready=False)
    trio["b"].wait_ready(120)
    rotated(trio)
    trio.reach(trio.post("a") + 1)
    trio.stop()
    with peer(cluster) as nats:
        before = size_of(value(nats))
    kept = next((trio["b"].keys_dir / "acme").glob("log-2.key"))
    shutil.copy2(kept, tmp_path / kept.name)
    for folder in SET_BACK:
        shutil.rmtree(trio["b"].root / folder)
        shutil.copytree(tmp_path / folder, trio["b"].root / folder)
    trio["b"].start(ready=False)
    until("b to know how far the others were", lambda: trio.listens("b") and trio.status("b")["members"])

    def no_step_back() -> None:
        with peer(cluster) as nats:
            assert size_of(value(nats)) >= before

    watched(5, no_step_back)
    # The operator gives it the file of the key again.
    shutil.copy2(tmp_path / kept.name, trio["b"].keys_dir / "acme" / kept.name)
    for name in ("a", "c"):
        trio[name].start(ready=False)
    for server in trio.servers.values():
        server.wait_ready(120)
    no_step_back()
    trio.reach(trio.post("b") + 1)


def test_p22_the_scrub_halts_no_replica_that_waits_for_the_others(trio: Trio, cluster: Cluster) -> None:
    """A crash between the append of a change and its checkpoint: the first replica that starts has posted what it may not show yet. It waits
    as long as it takes, and the three are one service afterwards."""
    trio.reach(trio.post("a") + 1)
    vkey = newcomer(trio, "d", "a")
    trio.stop()
    new = {name: trio.vkeys[name] for name in ("a", "b")} | {"d": vkey}
    body = {"v": 1, "version": 1, "members": members(new), "before": {"version": 0, "members": members(trio.vkeys)},
            "by": {"operator": "0" * 16}, "reason": None}  # fmt: skip
    with peer(cluster) as nats:
        posted(nats, trio, "system.members", body)
    trio["a"].start(ready=False)
    until("a to wait for the others", lambda: trio.listens("a") and "no_quorum" in trio.troubles("a"))
    watched(WATCHED, lambda: trio.troubles("a").get("log_halted") and (_ for _ in ()).throw(AssertionError(trio.troubles("a"))))
    for name in ("b", "d"):
        trio[name].start(ready=False)
    for name in ("a", "b", "d"):
        trio[name].wait_ready(120)
    trio.reach(trio.post("a") + 1, "a", "b", "d")


def test_p21_a_first_change_that_names_others_before_it_halts(trio: Trio, cluster: Cluster, tmp_path: Path) -> None:
    """Somebody with one machine's journal key says that other replicas were there first: the ones that were are never asked. They show
    nothing of it, and say why."""
    eye = Eye(trio)
    eye.start()
    trio.reach(trio.post("a") + 1)
    made = {name: cli("replica", "key", "--config", trio["a"].config, "--name", name, tmp_path / name).ok().out.strip() for name in "wxyz"}
    before, after = ({name: made[name] for name in names} for names in ("xyz", "wxy"))
    body = {"v": 1, "version": 1, "members": members(after), "before": {"version": 0, "members": members(before)},
            "by": {"operator": "0" * 16}, "reason": None}  # fmt: skip
    with peer(cluster) as nats:
        posted(nats, trio, "system.members", body)
    for name in trio.servers:
        trio.halted(name, "begins with other replicas")
    assert all(len(cosigned_by(note, trio.vkeys)) >= 2 for note in eye.stop())


def test_p21_a_foreign_line_in_the_register_is_shown_to_nobody(trio: Trio, cluster: Cluster, tmp_path: Path) -> None:
    """A wrong signature in the name of the key that signed before: replicas ignore it, and whoever knows that key would refuse the note."""
    trio.reach(trio.post("a") + 1)
    rotated(trio)
    index = trio.post("a")
    trio.reach(index + 1)
    name, key_hash, _ = trio.vkey.split("+", 2)
    line = f"\u2014 {name} {base64.b64encode(bytes.fromhex(key_hash) + bytes([1]) * 64).decode()}\n"
    trio.stop()
    with peer(cluster) as nats:
        nats.request(REGISTER, (value(nats) + line).encode(), {"Countersign-By": "c"})
    trio.start()
    (keys := tmp_path / "keys.json").write_text(json.dumps(keys_document(trio["b"])))
    given = ["verify", "--key", trio.vkey, "--keys", keys, "--policy", trio.policy]
    for server in trio.servers.values():
        (note := tmp_path / "shown.note").write_text(server.admin.checkpoint())
        (receipt := tmp_path / "one.tlog-proof").write_text(server.admin.receipt(index))
        cli(*given, "--checkpoint", note).ok()
        cli(*given, receipt).ok()


def test_p22_proposals_that_nobody_signed_keep_no_replica_from_answering(trio: Trio, cluster: Cluster) -> None:
    """Ten a second to each, of a size that will never be posted: events are acknowledged as before."""
    trio.reach(trio.post("a") + 1)
    ended = threading.Event()

    def flood() -> None:
        with peer(cluster) as nats:
            while not ended.wait(0.1):
                for name in trio.servers:
                    nats.push(b"x\n999999999\n", f"countersign-replica.acme.{name}", reply="nowhere")

    thread = threading.Thread(target=flood, daemon=True)
    thread.start()
    try:
        told = 0
        end = time.monotonic() + 15
        while time.monotonic() < end:
            told += trio.post("a", 10) > 0
    finally:
        ended.set()
        thread.join(30)
    # Before the mend: none.
    assert told > 15
    assert all("no_quorum" not in trio.troubles(name) for name in trio.servers)


def test_p21_a_replica_without_its_section_signs_nothing(trio: Trio) -> None:
    """A configuration of before: the log is halted there, and the others do not hear of it."""
    trio.reach(trio.post("a") + 1)
    size = trio["c"].admin.size()
    trio["c"].stop()
    table = trio["c"].sections.pop("replica")
    trio["c"].write_config()
    trio["c"].start(ready=False)
    trio.halted("c", "[replica] is missing")
    trio.reach(trio.post("a") + 1, "a", "b")
    headers = {"Authorization": f"Bearer {trio['c'].admin_key.text}"}
    shown = httpx.get(f"{trio['c'].url}/v1/tenants/acme/logs/1/checkpoint", headers=headers, timeout=30, trust_env=False)
    assert shown.status_code != 200 or (size_of(shown.text) <= size and len(cosigned_by(shown.text, trio.vkeys)) >= 2), shown.text
    assert all(entry["kind"] != "signer" for entry in trio["a"].admin.entries()[size:])
    trio["c"].stop()
    trio["c"].sections["replica"] = table
    trio["c"].write_config()
    trio["c"].start(ready=False)
    trio["c"].wait_ready(120)
    trio.reach(trio.post("c") + 1)


def test_p21_no_key_becomes_a_member_that_no_replica_has(trio: Trio, tmp_path: Path) -> None:
    """The operator mistakes a key: nothing would ever be cosigned with it. A newcomer that lacks the newest key of the log could sign
    nothing: it is refused until it has the file."""
    trio.reach(trio.post("a") + 1)
    vkey = newcomer(trio, "d", "a")
    trio["d"].start(ready=False)
    until("d to be there", lambda: trio.listens("d") and "not_a_member" in trio.troubles("d"))
    wrong = cli("replica", "key", "--config", trio["a"].config, "--name", "d", tmp_path / "other.key").ok().out.strip()
    refused = change(trio["a"], {"add": [{"name": "d", "vkey": wrong}]})
    assert refused.status_code == 409 and "must say with its own key" in refused.json()["detail"], refused.text
    rotated(trio)
    trio.reach(trio.post("a") + 1, "a", "b", "c")
    refused = change(trio["a"], {"add": [{"name": "d", "vkey": vkey}]})
    assert refused.status_code == 409 and "it has no file of the key" in refused.json()["detail"], refused.text
    assert trio["a"].admin.entries(kind="members") == []
    give(trio, trio["a"].keys_dir / "acme" / "log-2.key", "d")
    change(trio["a"], {"add": [{"name": "d", "vkey": vkey}]}).raise_for_status()
    trio["d"].wait_ready(120)
    trio.reach(trio.post("d") + 1)
