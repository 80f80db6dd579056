"""A deleted tenant: keys destroyed, payload gone, what must stay stays, an entry says so (P20)."""

from __future__ import annotations

import json
import random
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from support import Key, NatsServer, Server, cli, event, until
from test_erase import bare, places, secret  # noqa: F401  `bare` is a fixture
from test_retention import hold, release


def ask(server: Server, name: str = "acme", **over: Any) -> httpx.Response:
    """`POST T/deletion`"""
    body = {"tenant": name, "reason": "the contract ended"} | over
    return server.admin.http.post(f"{server.admin.t}/deletion", json=body)


def health(server: Server) -> dict[str, Any]:
    """`/healthz` as the operator sees it."""
    headers = {"Authorization": f"Bearer {server.operator_key.text}"}
    return dict(httpx.get(f"{server.url}/healthz", headers=headers, timeout=20, trust_env=False).json())


def is_gone(server: Server, word: str) -> bool:
    """Whether neither payload nor keys of the tenant are on the disk."""
    return not places([server.data_dir], word) and not list((server.keys_dir / "acme").glob("*.key"))


def test_p20_a_deleted_tenant_leaves_its_proofs(bare: Server, rng: random.Random, tmp_path: Path) -> None:  # noqa: F811
    """Payload, journal and keys are nowhere; every proof verifies, before and after a restart; nothing can be posted; keys that only
    read stay; another tenant is as it was; the name is never used again."""
    word = secret(rng)
    publisher = bare.as_("publisher")
    index = publisher.publish(event(payload={"prompt": word}))[0]["index"]
    publisher.publish(*(event() for _ in range(300)))
    other = bare.add_tenant("globex")
    theirs = bare.client(Key(other["key"]), "globex")
    their_key = theirs.add_key(["publisher"], "gw-1")
    auditor, exporter = bare.add_key(["auditor"]), bare.add_key(["exporter", "auditor"])
    discloser = bare.add_key(["discloser"])
    receipt = tmp_path / "r.tlog-proof"
    receipt.write_text(bare.admin.receipt(index=index))
    salt = (bare.keys_dir / "acme" / "salt.key").read_text().strip()
    assert ask(bare, "globex").status_code == 400 and ask(bare, reason=" ").status_code == 400
    assert hold(bare, "case-17").status_code == 200
    refused = bare.remote("tenant delete", "--reason", "the contract ended", "acme")
    assert refused.code == 1 and "case-17" in refused.err
    assert bare.admin.size() and publisher.publish(event())[0]["status"] == "posted"
    assert release(bare, "case-17").status_code == 200
    publisher.publish(event())
    end, second = json.loads(list(bare.admin.feed())[-1][1])["journal"]["time"], int(time.time())
    until("another second, of which another checkpoint is kept", lambda: int(time.time()) > second)
    done = bare.remote("tenant delete", "--reason", "the contract ended", "acme").ok()
    assert "is deleted" in done.out and "not all gone" not in done.out
    assert is_gone(bare, word) and not places([bare.root], salt)

    def stays() -> None:
        reads = bare.client(auditor)
        last = json.loads(list(reads.feed())[-1][1])
        assert last["kind"] == "retention" and last["event"]["op"] == "delete" and last["event"]["why"] == "the contract ended"
        assert last["event"]["by"] == {"key": bare.admin_key.id} and reads.size() == len(list(reads.feed()))
        for key in (bare.admin_key, discloser, bare.keys["publisher"]):
            answer = bare.client(key).http.get(f"/v1/tenants/acme/logs/1/checkpoint")
            assert answer.status_code == 401, answer.text
        refused = bare.client(bare.keys["publisher"]).post_events(json.dumps(event()).encode())
        assert refused.status_code == 401, refused.text
        (tmp_path / "later").write_text(reads.receipt(index=index))
        for path in (receipt, tmp_path / "later"):
            assert cli("verify", "--key", bare.vkey, path).code == 0
        assert bare.client(Key(other["key"]), "globex").size() > 0
        assert bare.client(their_key, "globex").publish(event())[0]["status"] == "posted"
        assert bare.client(bare.operator_key).http.post("/v1/tenants", json={"tenant": "acme"}).status_code == 409
        assert health(bare)["status"] == "green", health(bare)
        shown = reads.get("/retention").json()
        assert shown["deleted"] == reads.size() - 1

    stays()
    folder = tmp_path / "export"
    bare.remote("export", "--tenant", "acme", folder, key=exporter).ok()
    verified = cli("verify", "--key", bare.vkey, "--export", folder)
    assert verified.code == 0, verified
    made = bare.remote("evidence", "--tenant", "acme", "--from", "2020-01-01", "--to", "2040-01-01", "--partial", "-o", tmp_path / "evidence", key=auditor)
    assert made.code in (0, 4), made
    assert "tenant deleted" in (tmp_path / "evidence" / "policies" / "changes.csv").read_text()
    assert cli("verify", "--key", bare.vkey, "--evidence", tmp_path / "evidence").code == made.code
    # No key may ask for payload any more, and none is needed: the receipt of the deletion explains all of it.
    bare.remote("evidence", "--tenant", "acme", "--to", end, "--disclose", "all", "-o", tmp_path / "before", key=auditor).ok()
    assert cli("verify", "--key", bare.vkey, "--evidence", tmp_path / "before").code == 0
    assert (tmp_path / "before" / "proof" / "expired" / "all.tlog-proof").exists()
    assert not (tmp_path / "before" / "proof" / "disclosures").exists()
    (tmp_path / "before" / "proof" / "expired" / "all.tlog-proof").unlink()
    assert cli("verify", "--key", bare.vkey, "--evidence", tmp_path / "before").code == 1
    for kill in (False, True):
        bare.restart(kill=kill)
        stays()
    assert is_gone(bare, word)
    bare.stop()
    report = bare.fsck()
    assert report.code == 0, report


def test_p20_kill_9_while_a_tenant_is_deleted(bare: Server, make_server: Any, rng: random.Random) -> None:  # noqa: F811
    """Killed at random moments: the deletion is there or not; if it is, it is completed after the start by itself."""
    for round in range(6):
        server = make_server(f"killed-{round}", compression="none")
        word = secret(rng)
        server.as_("publisher").publish(*(event(payload={"prompt": word}) for _ in range(200)))
        auditor = server.add_key(["auditor"])

        def delete(server: Server = server) -> None:
            try:
                ask(server)
            except Exception:  # noqa: BLE001  the server dies under it
                pass

        thread = threading.Thread(target=delete)
        thread.start()
        thread.join(rng.uniform(0, 0.12))
        server.kill9()
        thread.join()
        server.start()
        if server.client(auditor).get("/retention").json()["deleted"] is None:
            assert places([server.data_dir], word)
            assert ask(server).json()["status"] == "complete"
        until("the deletion to be completed", lambda server=server, word=word: is_gone(server, word), 120)
        deletions = [e for e in server.client(auditor).entries(kind="retention") if e["event"]["op"] == "delete"]
        assert len(deletions) == 1
        server.stop()
        assert server.fsck().code == 0


def test_p20_a_deletion_takes_the_stream(nats: NatsServer, make_server: Any, rng: random.Random) -> None:
    """With JetStream as the journal the stream goes too, and nobody publishes into it any more."""
    server = make_server(nats=nats.url, compression="none")
    word = secret(rng)
    server.as_("publisher").publish(event(payload={"prompt": word}))
    auditor = server.add_key(["auditor"])
    assert places([nats.store], word)
    done = ask(server)
    assert done.json()["status"] == "complete", done.text
    assert is_gone(server, word) and not places([nats.store], word)
    server.restart(kill=True)
    assert server.client(auditor).size() > 0
    health_ = health(server)
    assert health_["status"] == "green", health_
    server.stop()
    report = server.fsck()
    assert report.code == 0, report
