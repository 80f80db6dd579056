"""P21, P22: all three machines and NATS are lost. One backup, the keys and the cosigner keys are left: the log goes on under the same
policy, says what is missing, and nothing is shown meanwhile that a majority has not cosigned."""

from __future__ import annotations

import shutil
from pathlib import Path

import httpx
from rig.cluster import Cluster
from rig.trio import Eye, Trio, cosigned_by

from support import cli, event, until


def test_p22_all_are_lost_and_one_backup_is_left(tmp_path: Path) -> None:
    """The steps of `docs/operate/several-machines.md`, and what is refused on the way."""
    with Cluster(tmp_path / "nats") as cluster, Trio(tmp_path / "replicas", cluster.url) as trio:
        trio.start()
        kept = [trio.post("abc"[nth % 3]) for nth in range(10)]
        trio.reach(kept[-1] + 1)
        receipt = trio["b"].admin.receipt(kept[0])
        headers = {"Authorization": f"Bearer {trio['b'].operator_key.text}"}
        body = {"name": "nightly"}
        httpx.post(f"{trio['b'].url}/v1/backup", json=body, headers=headers, timeout=60, trust_env=False).raise_for_status()
        backup = tmp_path / "nightly"
        shutil.copytree(trio["b"].backup_dir / "nightly", backup)
        # While the others are there, nobody begins alone.
        lost = [trio.post("a"), trio.post("c")]
        trio.reach(lost[-1] + 1)
        trio["a"].stop()
        words = ("recover", "--tenant", "acme", "--accept-journal-loss")
        alone = trio["a"].run(*words, "--reason", "x")
        assert alone.code == 1 and "would part the replicas" in alone.err, alone
        alone = trio["a"].run(*words, "--all-replicas-lost", "--reason", "x")
        assert alone.code == 1 and "not everything is lost" in alone.err, alone
        # Now they are.
        for server in trio.servers.values():
            server.stop()
            for folder in (server.data_dir, server.guard_path.parent, server.backup_dir):
                shutil.rmtree(folder, ignore_errors=True)
        for node in cluster.nodes.values():
            node.kill9()
            shutil.rmtree(node.store)
        cluster.start()
        a = trio["a"]
        shutil.copytree(backup, a.data_dir)
        for server in trio.servers.values():
            server.guard_path.parent.mkdir()
        a.run("recover", "--tenant", "acme", "--new-guard", "--reason", "All are lost.").ok()
        done = a.run(*words, "--all-replicas-lost", "--reason", "All are lost.", seconds=120).ok()
        assert "journal epoch 2 begins with entry" in done.out, done
        for name in ("b", "c"):
            server = trio[name]
            shutil.copytree(a.data_dir, server.data_dir)
            server.run("recover", "--tenant", "acme", "--new-guard", "--reason", "All are lost.").ok()
        eye = Eye(trio)
        eye.start()
        for server in trio.servers.values():
            server.start(ready=False)
        for server in trio.servers.values():
            server.wait_ready(120)
        size = trio.post("c") + 1
        trio.reach(size)
        leaves = {name: [leaf for _, leaf in server.admin.feed()] for name, server in trio.servers.items()}
        assert leaves["a"] == leaves["b"] == leaves["c"]
        (entry,) = trio["b"].admin.entries(kind="journal")
        assert entry["event"]["epoch"] == 2 and entry["event"]["by"] == {"command": "recover"}, entry
        # The old policy still counts: before, and after. What was newer than the backup is gone, and nobody says otherwise.
        (path := tmp_path / "old.tlog-proof").write_text(receipt)
        cli("verify", "--key", trio.vkey, "--policy", trio.policy, path).ok()
        path.write_text(trio["a"].admin.receipt(size - 1))
        cli("verify", "--key", trio.vkey, "--policy", trio.policy, path).ok()
        for note in eye.stop():
            assert len(cosigned_by(note, trio.vkeys)) >= 2, note
        again = event()
        for name in "abc":
            trio[name].as_("publisher").publish(again)
        # Any one may be lost again.
        trio["a"].kill9()
        size = trio.post("b") + 1
        trio.reach(size, "b", "c")
        until("a to be back", lambda: trio["a"].start(ready=False) is not None)
        trio["a"].wait_ready(120)
        trio.reach(size)
        trio.stop()
        trio.fsck()
