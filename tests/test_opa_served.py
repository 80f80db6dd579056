"""The bundle for OPA: its bytes, its signature, and a running OPA that loads it from a server."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from support import Server, cli, free_port
from support.asking import bounded
from support.deciding import CALL, Deciding
from support.manual import ROOT
from support.opa import exported, opa, opa_bin
from support.waits import until


def verified(bundle: Path, key: Path, *more: str, ok: bool = True) -> subprocess.CompletedProcess[str]:
    """OPA reads the bundle, and verifies its signature."""
    out = bundle.parent / "built.tar.gz"
    return opa("build", "--bundle", bundle, "--verification-key", key, "--verification-key-id", "prod-1", "--signing-alg", "ES256", "--output", out, *more, ok=ok)


def test_p15_the_same_policies_give_the_same_bytes(tmp_path: Path) -> None:
    folder = ROOT / "docs/policies/payments"
    first = exported(folder, tmp_path / "a").read_bytes()
    cli("policy", "export-opa", "--key", tmp_path / "a/opa.key", "--key-id", "prod-1", "--out", tmp_path / "again.tar.gz", folder).ok()
    assert (tmp_path / "again.tar.gz").read_bytes() == first
    with tarfile.open(tmp_path / "again.tar.gz") as archive:
        members = archive.getmembers()
    assert [member.name for member in members] == sorted(member.name for member in members)
    assert {(member.mtime, member.uid, member.gid, member.uname, member.mode) for member in members} == {(0, 0, 0, "", 0o644)}
    assert exported(folder, tmp_path / "b").read_bytes() != first, "another key"
    again = cli("policy", "export-opa", "--new-key", "--key", tmp_path / "a/opa.key", folder)
    assert again.code == 1 and (tmp_path / "a/opa.key").stat().st_mode & 0o777 == 0o600, "a key is never overwritten"
    assert cli("policy", "export-opa", "--key", tmp_path / "none", folder).code == 3
    assert cli("policy", "export-opa", "--key", tmp_path / "a/opa.key.pub", folder).code == 3, "the public key signs nothing"


def test_opa_verifies_the_signature_and_refuses_every_change(tmp_path: Path) -> None:
    bundle = exported(ROOT / "docs/policies/payments", tmp_path / "out", "--scope", "acme")
    key = tmp_path / "out/opa.key.pub"
    verified(bundle, key, "--scope", "acme")
    assert "scope mismatch" in verified(bundle, key, "--scope", "other", ok=False).stdout
    exported(ROOT / "docs/policies/payments", tmp_path / "foreign")
    assert verified(bundle, tmp_path / "foreign/opa.key.pub", "--scope", "acme", ok=False).returncode != 0
    with tarfile.open(bundle) as archive:
        parts = {member.name: archive.extractfile(member).read() for member in archive.getmembers()}  # type: ignore[union-attr]
    changes = {
        "data.json": (b"100000", b"100001"), "countersign/policies.rego": (b"minor <= 100000", b"minor <= 100001"),
        "countersign/verdict.rego": (b"default allow := false", b"default allow := true "), ".manifest": (b"\"language\":1", b"\"language\":2"),
    }  # fmt: skip
    for name, (old, new) in changes.items():
        if old not in parts[name]:
            old, new = b"payments", b"pavments"
        assert old in parts[name], name
        changed = tmp_path / "changed.tar.gz"
        with tarfile.open(changed, "w:gz") as archive:
            for part, content in (parts | {name: parts[name].replace(old, new, 1)}).items():
                info = tarfile.TarInfo(part)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        assert verified(changed, key, "--scope", "acme", ok=False).returncode != 0, name


def test_what_opa_cannot_judge_is_said(tmp_path: Path) -> None:
    said = cli("policy", "export-opa", "--new-key", "--key", tmp_path / "k", "--out", tmp_path / "b", "--json", ROOT / "docs/policies/health-records").ok().json()
    assert any("no-patients-in-notes" in line and "date-of-birth, medical-record" in line for line in said["denied"]), said
    assert any("tokens" in line for line in said["denied"]), said
    plain = cli("policy", "export-opa", "--key", tmp_path / "k", "--out", tmp_path / "b", "--json", ROOT / "docs/policies/payments").ok().json()
    assert plain["denied"] == []


# --- A server gives it to a running OPA.


class Running:
    """`opa run --server` that loads its bundle from our server."""

    def __init__(self, root: Path, server: Server, token: str, key: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        config = {
            "services": {"countersign": {"url": f"{server.url}/v1/tenants/acme", "credentials": {"bearer": {"token": token}}}},
            "keys": {"prod-1": {"algorithm": "ES256", "key": key.read_text()}},
            "bundles": {"policies": {
                "service": "countersign", "resource": "policies/bundle.tar.gz", "signing": {"keyid": "prod-1", "scope": "acme"},
                "polling": {"long_polling_timeout_seconds": 20},
            }},
        }  # fmt: skip
        (root / "opa.yaml").write_text(yaml.safe_dump(config))
        self.log = (root / "opa.log").open("w")
        self.process = subprocess.Popen([opa_bin(), "run", "--server", "--disable-telemetry", "--addr", f"127.0.0.1:{self.port}", "--config-file", root / "opa.yaml"], stdout=self.log, stderr=self.log)

    def asks(self, call: dict[str, Any]) -> dict[str, Any] | None:
        """The decision on a call; `None` as long as there is none."""
        try:
            answer = httpx.post(f"{self.url}/v1/data/countersign/decision", json={"input": call}, timeout=60)
        except httpx.TransportError:
            return None
        return answer.json().get("result")

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self.log.close()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Deciding]:
    """A tenant without policies, on a server that signs bundles."""
    cli("policy", "export-opa", "--new-key", "--key", tmp_path / "opa.key").ok()
    with Server(tmp_path / "server", sections={"opa": {"signing_key_file": tmp_path / "opa.key", "key_id": "prod-1"}}) as server:
        yield Deciding(server)


def payment(amount: int) -> dict[str, Any]:
    """A call for OPA."""
    return {"agent": {"id": "payments-bot"}, "tool": {"name": "payments", "action": "transfer"}, "params": CALL | {"amount": amount}, "facts": {"now": "2026-11-27T10:00:00Z"}}


def test_a_running_opa_follows_what_is_in_force_and_goes_on_without_us(desk: Deciding, tmp_path: Path) -> None:
    """It verifies and loads the bundle in force, gets the next one as it takes effect, and judges on while we are away."""
    path = f"{desk.gateway.t}/policies/bundle.tar.gz"
    assert desk.gateway.http.get(path).status_code == 404, "nothing is in force"
    desk.activate(bounded(tmp_path / "one", 100_000))
    running = Running(tmp_path, desk.server, desk.gateway.key.text, tmp_path / "opa.key.pub")
    try:
        loaded = until("OPA has the bundle", lambda: running.asks(payment(60_000)))
        assert (loaded["verdict"], loaded["policy"]) == ("allow", {"version": 1, "digest": desk.status()["in_force"]["digest"]})
        begun = time.monotonic()
        desk.activate(bounded(tmp_path / "two", 40_000))
        until("OPA has the next bundle", lambda: (running.asks(payment(60_000)) or {}).get("verdict") != "allow")
        assert time.monotonic() - begun < 15, "it waited for the news, and did not poll"
        told = desk.told(params=CALL | {"amount": 60_000})
        opa_says = running.asks(payment(60_000))
        assert opa_says and (opa_says["verdict"], opa_says["reason"]["code"]) == (told["verdict"], told["reason"]["code"])
        desk.server.stop()
        away = running.asks(payment(30_000))
        assert away and away["verdict"] == "allow" and away["policy"]["version"] == 2
    finally:
        running.stop()


def test_the_bundle_has_a_tag_and_says_who_approved_it(desk: Deciding, tmp_path: Path) -> None:
    desk.activate(bounded(tmp_path / "one", 100_000))
    http, path = desk.gateway.http, f"{desk.gateway.t}/policies/bundle.tar.gz"
    first = http.get(path)
    tag = first.headers["ETag"]
    assert first.status_code == 200 and first.headers["Content-Type"] == "application/vnd.openpolicyagent.bundles"
    assert http.get(path).content == first.content, "the same bytes"
    same = http.get(path, headers={"If-None-Match": tag})
    assert same.status_code == 304 and same.headers["ETag"] == tag and same.content == b""
    begun = time.monotonic()
    waited = http.get(path, headers={"If-None-Match": tag, "Prefer": "modes=snapshot,delta;wait=2"}, timeout=60)
    assert waited.status_code == 304 and time.monotonic() - begun >= 2
    (tmp_path / "got.tar.gz").write_bytes(first.content)
    verified(tmp_path / "got.tar.gz", tmp_path / "opa.key.pub", "--scope", "acme")
    with tarfile.open(tmp_path / "got.tar.gz") as archive:
        manifest = json.loads(archive.extractfile(".manifest").read())  # type: ignore[union-attr]
    said = manifest["metadata"]
    assert (said["version"], said["tenant"], said["comment"]) == (1, "acme", "For the test.")
    assert said["digest"] == desk.status()["in_force"]["digest"] and said["approval"].startswith("apr-")
    assert [review["by"] for review in said["reviews"]] == ["p-bob"] and manifest["roots"] == ["countersign"]


def test_without_a_key_there_is_no_bundle(tmp_path: Path) -> None:
    with Server(tmp_path / "server") as server:
        desk = Deciding(server)
        desk.activate(bounded(tmp_path / "one", 100_000))
        answer = desk.gateway.http.get(f"{desk.gateway.t}/policies/bundle.tar.gz")
        assert answer.status_code == 404 and "[opa]" in answer.json()["detail"]
