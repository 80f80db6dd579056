"""Rules, people and keys of power change only after people approved it, where the rules in force say so (P17)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support import Server, cli
from support.client import Client, Key
from support.deciding import EVERY_ACT, PAYMENTS, PEOPLE, Deciding
from support.waits import until

#: Policies take effect without review, and nothing else is named.
ALONE = """
[[rule]]
name = "policies"
unreviewed = true
quorum = {at_least = 1, of = "policy"}
[rule.match]
tool = "countersign"
action = "policy.activate"

[[rule]]
name = "paused by policies"
quorum = {at_least = 1, of = "finance"}
owner = "none"
[rule.match]
tool = ["payments", "archive"]

[[rule]]
name = "everything else"
quorum = {at_least = 1, of = "finance"}
owner = "none"
"""


class Reviewed(Deciding):
    """Keys are issued under rules that ask nobody; then come rules that name every act."""

    def __init__(self, server: Server) -> None:
        super().__init__(server, ALONE)
        for person in ("p-ana", "p-bob", "p-carla"):
            self.reviewer(person)
        self.carla_key: Key = server.add_key(["admin"], person="p-carla")
        self.carla: Client = server.client(self.carla_key)
        self.author("p-ana")
        self.write(EVERY_ACT, PEOPLE)
        self.apply()

    def add_key(self, client: Client, roles: list[str], **over: Any) -> httpx.Response:
        """`POST T/keys`"""
        return client.http.post(f"{client.t}/keys", json={"roles": roles, "name": "a key", "reason": "For the test."} | over)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Reviewed]:
    """A tenant whose rules name every act."""
    with Server(tmp_path / "server") as server:
        yield Reviewed(server)


def test_p17_a_key_of_power_is_issued_once_after_people_approved_exactly_it(desk: Reviewed, tmp_path: Path) -> None:
    asked = desk.add_key(desk.carla, ["reviewer"], person="p-bob")
    assert asked.status_code == 202 and "key" not in asked.json(), asked.text
    id = asked.json()["approval"]["id"]
    early = desk.add_key(desk.carla, ["reviewer"], person="p-bob", approval=id)
    assert early.status_code == 409, "nobody approved it yet"
    assert desk.review(id, "p-carla").status_code in (403, 404), "who asks for it does not review it"
    assert desk.review(id, "p-ana").status_code == 200
    other = desk.add_key(desk.carla, ["reviewer"], person="p-carla", approval=id)
    assert other.status_code == 409 and other.json()["code"] == "conflict", other.text
    issued = desk.add_key(desk.carla, ["reviewer"], person="p-bob", approval=id)
    assert issued.status_code == 201 and issued.json()["key"].startswith("cs_"), issued.text
    assert desk.add_key(desk.carla, ["reviewer"], person="p-bob", approval=id).status_code == 409, "one approval, one key"
    entry = [e for e in desk.server.admin.entries(kind="access") if e["event"].get("roles") == ["reviewer"]][-1]
    assert entry["event"]["by"]["approval"] == id and entry["event"]["by"]["person"] == "p-carla"
    until("it is reported", lambda: desk.approval(id)["state"] == "completed")
    cli("verify", "--key", desk.server.vkey, "--export", desk.export(tmp_path / "export")).ok()
    desk.server.stop()
    desk.server.fsck().ok()


def test_p17_an_admin_who_is_nobody_can_not_even_ask(desk: Reviewed) -> None:
    asked = desk.add_key(desk.server.admin, ["admin"])
    assert asked.status_code == 403 and "person" in asked.json()["detail"]
    gateway = desk.add_key(desk.server.admin, ["enforcer"], producer="gw-7")
    assert gateway.status_code == 201, "a gateway's key decides nothing"


def test_p17_rules_change_after_review(desk: Reviewed) -> None:
    before = desk.server.admin.get("/rules").json()["applied"]["index"]
    desk.write(EVERY_ACT.replace('name = "everything else"', 'name = "everything else"\napprove_within = "2h"'), PEOPLE)
    path = desk.server.key_file(desk.carla_key)
    done = cli("rules", "apply", "--config", desk.server.config, "--tenant", desk.tenant, "--api-key-file", path)
    assert done.code == 1 and "--approval apr-" in done.err, done.err
    assert desk.server.admin.get("/rules").json()["applied"]["index"] == before
    id = done.err.split("--approval ")[1].split()[0]
    shown = desk.approval(id)
    assert shown["call"]["action"] == "rules.apply"
    assert desk.review(id, "p-bob").status_code == 200
    cli("rules", "apply", "--config", desk.server.config, "--tenant", desk.tenant, "--api-key-file", path, "--approval", id).ok()
    applied = desk.server.admin.get("/rules").json()["applied"]
    assert applied["index"] > before and applied["by"]["approval"] == id
    # Other files than the approved ones are refused.
    desk.write(EVERY_ACT, PEOPLE)
    again = cli("rules", "apply", "--config", desk.server.config, "--tenant", desk.tenant, "--api-key-file", path, "--approval", id)
    assert again.code == 1 and desk.server.admin.get("/rules").json()["applied"]["index"] == applied["index"]


def test_p17_without_review_is_said_and_shown(tmp_path: Path) -> None:
    with Server(tmp_path / "server") as server:
        desk = Deciding(server, ALONE)
        proposed = desk.propose(PAYMENTS).json()
        until("it is in force", lambda: (desk.status()["in_force"] or {}).get("version") == proposed["version"])
        assert desk.told()["verdict"] == "allow"
        granted = [e for e in desk.history_of(proposed["approval"]["id"]) if e["type"] == "granted"]
        assert granted[0]["by"] == []
        health = server.client(server.operator_key).http.get("/healthz")
        document = health.json()
        # A warning stays for ever: it is visible to everybody, and hides no alarm.
        assert (health.status_code, document["status"], document["policies_unreviewed"]) == (200, "green", 1), document
        assert [trouble["code"] for tenant in document["tenants"] for trouble in tenant["troubles"]] == ["unreviewed_policies"]
        metrics = server.client(server.operator_key).http.get("/metrics").text
        series = {line.split("{")[1] for line in metrics.splitlines() if line.startswith("countersign_trouble{")}
        assert {'tenant="acme",code="unreviewed_policies"} 1', 'tenant="acme",code="policy_unreadable"} 0'} <= series, series
        cli("verify", "--key", server.vkey, "--export", desk.export(tmp_path / "export")).ok()


def test_p17_unreviewed_is_for_our_own_calls_alone(tmp_path: Path) -> None:
    rules = ALONE.replace('tool = "countersign"\naction = "policy.activate"', 'tool = "payments"')
    with Server(tmp_path / "server") as server:
        desk = Deciding(server, ALONE)
        desk.write(rules, PEOPLE)
        done = server.remote("rules apply", "--config", server.config, "--tenant", desk.tenant)
        assert done.code != 0 and "unreviewed" in done.err


def test_p20_what_is_kept_changes_after_review(desk: Reviewed, tmp_path: Path) -> None:
    """Setting retention, ending a hold and deleting the tenant wait for people, where rules name them; a hold begins at once."""
    post = lambda path, **body: desk.carla.http.post(f"{desk.carla.t}/{path}", json={"reason": "For the test."} | body)  # noqa: E731

    def after_review(path: str, **body: Any) -> httpx.Response:
        asked = post(path, **body)
        assert asked.status_code == 202, asked.text
        id = asked.json()["approval"]["id"]
        assert post(path, approval=id, **body).status_code == 409, "nobody approved it yet"
        assert desk.review(id, "p-ana").status_code == 200
        return post(path, approval=id, **body)

    assert after_review("retention", payload_days=400).json()["status"] == "applied"
    assert post("holds", hold="case-17").json()["status"] == "applied", "whoever protects asks nobody"
    assert post("deletion", tenant=desk.tenant).json()["code"] == "legal_hold", "before anybody is asked"
    assert after_review("holds/case-17/release").json()["status"] == "applied"
    acts = [e["event"] for e in desk.server.admin.entries(kind="retention")]
    assert [bool(act["by"].get("approval")) for act in acts] == [True, False, True]
    cli("verify", "--key", desk.server.vkey, "--export", desk.export(tmp_path / "export")).ok()
    auditor = desk.server.add_key(["auditor"])
    assert after_review("deletion", tenant=desk.tenant).json()["status"] == "complete"
    desk.server.remote("export", "--tenant", desk.tenant, tmp_path / "after", key=auditor).ok()
    cli("verify", "--key", desk.server.vkey, "--export", tmp_path / "after").ok()
    desk.server.stop()
    desk.server.fsck().ok()
