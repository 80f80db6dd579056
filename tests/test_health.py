"""Does it run, is it ready, must a person look: three questions, for the server and for each tenant (P4 P12)."""

from __future__ import annotations

import re
import shutil
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest
from support import Key, Server, ServerExited, event, until
from support.client import Client


def ask(server: Server, path: str, key: Key | None = None) -> httpx.Response:
    """One request on a connection of its own."""
    headers = {"Authorization": f"Bearer {key.text}"} if key else {}
    return httpx.get(server.url + path, headers=headers, timeout=60, trust_env=False)


def codes(answer: httpx.Response) -> list[str]:
    return [reason["code"] for reason in answer.json()["reasons"]]


def value(text: str, name: str) -> float:
    """A sample of the metrics."""
    lines = [line for line in text.splitlines() if line.startswith(name + " ")]
    assert len(lines) == 1, f"{name}: {lines}"
    return float(lines[0].rsplit(" ", 1)[1])


def with_second(server: Server) -> tuple[Client, Client]:
    """A second tenant: its admin and a gateway."""
    admin = server.client(Key(server.add_tenant("globex")["key"]), tenant="globex")
    return admin, server.client(admin.add_key(["publisher"], "gw-1"), tenant="globex")


def test_p12_all_is_well(server: Server) -> None:
    server.as_("publisher").publish(event())
    assert ask(server, "/livez").json() == {"live": True}
    assert ask(server, "/readyz").json() == {"ready": True, "reasons": []}
    for role in ("publisher", "auditor", "admin", "operator"):
        key = server.keys.get(role) or server.as_(role).key
        answer = ask(server, "/v1/tenants/acme/readyz", key)
        assert answer.status_code == 200 and answer.json() == {"ready": True, "reasons": []}, role
    assert ask(server, "/v1/tenants/acme/readyz").status_code == 401
    assert ask(server, "/v1/tenants/nobody/readyz", server.admin_key).status_code == 404
    assert ask(server, "/v1/tenants/nobody/readyz", server.operator_key).status_code == 404
    assert ask(server, "/healthz").json()["guard_in_place"] is True


@pytest.mark.parametrize("name", ["salt.key", "log-1.key", "journal-1.key", "*"])
def test_p12_key_files_of_one_tenant_that_are_gone_stop_that_tenant_alone(server: Server, name: str) -> None:
    """The others are served; it says which file, serves what it published, and works again once they are back."""
    server.as_("publisher").publish(event())
    admin, gateway = with_second(server)
    gateway.publish(event())
    index = admin.size() - 1
    keys = {"globex": admin.key, "gateway": gateway.key}
    server.stop()
    folder = server.keys_dir / "globex"
    shutil.copytree(folder, server.root / "aside")
    for path in folder.glob(name):
        path.unlink()
    server.start()
    assert server.as_("publisher").publish(event())[0]["status"] == "posted"
    gateway = server.client(keys["gateway"], tenant="globex")
    answer = ask(server, "/v1/tenants/globex/readyz", keys["globex"])
    if name == "journal-1.key":
        # It is needed to sign a message, not to post what comes.
        assert gateway.publish(event())[0]["status"] == "posted"
        return
    assert answer.status_code == 503 and codes(answer) == ["log_halted"], answer.text
    assert "key" in answer.json()["reasons"][0]["detail"]
    assert "detail" not in ask(server, "/v1/tenants/globex/readyz", keys["gateway"]).json()["reasons"][0]
    assert ask(server, "/readyz").status_code == 200
    refused = gateway.http.post("/v1/tenants/globex/events", json=event(), headers={"Content-Type": "application/cloudevents+json"})
    assert refused.status_code == 503 and refused.json()["code"] == "log_halted"
    health = ask(server, "/healthz", server.operator_key).json()
    assert health["status"] == "red" and health["halted_logs"] == 1 and health["halted"][0]["tenant"] == "globex"
    assert server.client(keys["globex"], tenant="globex").receipt(index=index)
    metrics = ask(server, "/metrics", server.operator_key).text
    assert value(metrics, 'countersign_ready{tenant="globex"}') == 0 and value(metrics, 'countersign_ready{tenant="acme"}') == 1
    server.stop()
    shutil.rmtree(folder)
    shutil.copytree(server.root / "aside", folder)
    server.start()
    again = server.client(keys["gateway"], tenant="globex")
    assert again.publish(event())[0]["status"] == "posted"
    assert ask(server, "/healthz").json()["status"] == "green"
    server.stop()
    server.fsck().ok()


def test_p12_no_tenant_with_keys_is_no_server(server: Server) -> None:
    server.stop()
    shutil.rmtree(server.keys_dir / "acme")
    with pytest.raises(ServerExited) as ended:
        server.start()
    assert ended.value.code == 1 and "salt.key" in server.log


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_p4_a_guard_that_goes_under_a_running_server_is_noticed(server: Server, how: str) -> None:
    """Nothing more is signed: what it holds would not be found at the next start. Put back, the log goes on."""
    server.as_("publisher").publish(event())
    size = server.admin.size()
    pid = server.process.pid if server.process else 0
    copy = server.guard_path.read_bytes()
    server.guard_path.unlink()
    if how == "replaced":
        server.guard_path.write_bytes(copy)
    health = ask(server, "/healthz", server.operator_key)
    assert health.status_code == 503 and health.json()["guard_in_place"] is False
    text = health.json()["guard"]
    answer = server.as_("publisher").post_events(b'{"specversion":"1.0","id":"1","source":"/a","type":"a.b"}')
    assert answer.status_code == 503 and answer.json()["code"] == "log_halted", answer.text
    assert server.admin.size() == size and server.admin.receipt(index=size - 1), "what was signed is still served"
    assert value(ask(server, "/metrics", server.operator_key).text, "countersign_guard_in_place") == 0
    descriptor = re.search(rf"/proc/{pid}/fd/(\d+)", text)
    assert descriptor, text
    kept = Path(descriptor[0]).read_bytes()
    server.kill9()
    server.guard_path.write_bytes(kept)
    server.guard_path.chmod(0o600)
    server.start()
    assert ask(server, "/healthz").json()["status"] == "green"
    assert server.as_("publisher").publish(event())[0]["status"] == "posted"
    server.stop()
    server.fsck().ok()


def test_p4_a_log_that_was_never_signed_answers_no_receipt_without_checkpoint(server: Server) -> None:
    """A halted log gives what was published before, and nothing that looks like it."""
    server.as_("publisher").publish(event())
    server.stop()
    server.guard_path.unlink()
    server.start(ready=False)
    until("an answer", lambda: answers(server))
    answer = server.admin.get("/receipts", index=0)
    assert answer.status_code == 503 or answer.text.rstrip("\n").split("\n\n", 1)[1], answer.text
    assert codes(ask(server, "/v1/tenants/acme/readyz", server.admin_key)) == ["log_halted"]


def answers(server: Server) -> bool:
    try:
        return ask(server, "/livez").status_code == 200
    except httpx.TransportError:
        return False


def test_p12_the_metrics_key_reads_metrics_and_nothing_else(make_server: Any, tmp_path: Path) -> None:
    path = tmp_path / "metrics.key"
    path.write_text("a" * 40 + "\n")
    server = make_server(metrics_key_file=path)
    key, other = Key("a" * 40), Key("b" * 40)
    assert "countersign_build_info{" in ask(server, "/metrics", key).text
    assert ask(server, "/metrics", server.operator_key).status_code == 200
    for wrong in (None, other, server.admin_key, Key("a" * 39), Key("a" * 41)):
        assert ask(server, "/metrics", wrong).status_code == 401
    bearer = {"Authorization": f"Bearer {key.text}"}
    with httpx.Client(base_url=server.url, headers=bearer, trust_env=False) as http:
        assert http.post("/v1/tenants", json={"tenant": "x"}).status_code == 401
        assert http.post("/v1/backup", json={"name": "x"}).status_code == 401
        assert http.get("/v1/tenants/acme/entries").status_code == 401
        assert http.get("/v1/tenants/acme/readyz").status_code == 401
        assert "tenants" not in http.get("/healthz").json()
    path.write_text("b" * 40 + "\n")
    server.process.send_signal(signal.SIGHUP)
    until("the new key", lambda: ask(server, "/metrics", other).status_code == 200)
    assert ask(server, "/metrics", key).status_code == 401
    path.write_text("short\n")
    server.process.send_signal(signal.SIGHUP)
    until("the mistake to be told", lambda: "metrics_key_file" in server.log)
    assert ask(server, "/metrics", other).status_code == 200, "what was read before stays"
    assert "b" * 40 not in server.log
    server.stop()
    with pytest.raises(ServerExited):
        server.start()


def test_metrics_measure_what_was_done(server: Server) -> None:
    """Histograms count each commit, fsync, receipt and request; backups, disks, build and process have their figures."""
    assert ask(server, "/metrics", server.operator_key).text.count("countersign_backup_timestamp_seconds 0") == 1
    server.as_("publisher").publish(event())
    before = ask(server, "/metrics", server.operator_key).text
    for _ in range(5):
        server.as_("publisher").publish(event(), receipts=True)
    server.client(server.operator_key).http.post("/v1/backup", json={"name": "one"}).raise_for_status()
    after = ask(server, "/metrics", server.operator_key).text

    def more(name: str) -> float:
        return value(after, name) - value(before, name)

    for name in ("commit", "fsync", "guard_fsync", "queue_wait", "receipt"):
        assert more(f"countersign_{name}_seconds_count") >= 5, name
        assert more(f'countersign_{name}_seconds_bucket{{le="+Inf"}}') == more(f"countersign_{name}_seconds_count")
    route = '{route="/v1/tenants/{tenant}/events",status="2xx"}'
    assert more(f"countersign_request_seconds_count{route}") == 5
    assert value(after, "countersign_backup_timestamp_seconds") > 1e9
    for name in ("process_resident_memory_bytes", "process_open_fds", "process_max_fds", "process_start_time_seconds",
                 'countersign_disk_free_bytes{place="data"}', 'countersign_disk_free_bytes{place="guard"}'):
        assert value(after, name) > 0, name
    assert value(after, "process_cpu_seconds_total") >= 0
    assert re.search(r'^countersign_build_info\{version="[0-9.]+"\} 1$', after, re.MULTILINE)
    assert value(after, 'countersign_journal_lag{tenant="acme"}') == 0


def test_the_last_admin_key_is_not_removed_by_mistake(server: Server) -> None:
    admin = server.admin
    path = f"/v1/tenants/acme/keys/{server.admin_key.id}"
    answer = admin.http.delete(path)
    assert answer.status_code == 409 and "last admin key" in answer.json()["detail"]
    second = server.add_key(["admin"])
    other = server.client(second)
    assert other.http.delete(path).status_code == 204, "there is another one now"
    assert other.http.delete(f"/v1/tenants/acme/keys/{second.id}", params={"last_admin": "false"}).status_code == 409
    refused = server.remote("key remove", "--tenant", "acme", second.id, key=second)
    assert refused.code == 1 and "--last-admin" in refused.err
    server.remote("key remove", "--tenant", "acme", "--last-admin", second.id, key=second).ok()
    assert other.http.get("/v1/tenants/acme/keys").status_code == 401
    server.stop()
    made = server.run("init", "--tenant", "acme", "--new-admin-key", "--json").ok().json()
    assert made["admin_key"].startswith("cs_")
