"""A server with every part that has a metric, and the traffic that makes each of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .asking import policy_folder
from .deciding import RULES, Deciding, question
from .events import EXECUTION, event, new_id
from .fakeslack import FakeSlack
from .server import Server
from .slack_office import connection
from .waits import until

#: A channel that is told of alerts.
SECURITY = "C0000000SEC"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
#: Transfers up to 1,000.00 are allowed and larger ones need people; lists are told early; a stolen one is denied; a clause in shadow would deny more.
POLICY = """language: 1
policy: pay
clauses:
  - {id: small, agents: ["@finance-bots"], tool: payments, actions: [transfer], when: {amount: {minor: /amount, currency: /currency, at_most: {EUR: 100000}}}, then: allow}
  - {id: large, agents: ["@finance-bots"], tool: payments, actions: [transfer], when: {amount: {minor: /amount, currency: /currency, over: {EUR: 100000}}}, then: approval_needed}
  - {id: thief, agents: ["@finance-bots"], tool: payments, actions: [transfer], when: {params: {/reference: {one_of: [steal]}}}, then: deny}
  - {id: watched, agents: ["@finance-bots"], tool: payments, actions: [transfer], when: {params: {/reference: {one_of: [odd]}}}, then: deny, enforcement: {shadow: true}}
  - {id: reads, agents: ["@finance-bots"], tool: payments, actions: [list], then: allow, record: later}
budgets:
  - {id: month, agents: ["@finance-bots"], tool: payments, actions: [transfer], sum: calls, per: agent, window: month, zone: UTC, max: 1000, at_cap: deny}
"""
PAY: dict[str, Any] = {"amount": 50000, "currency": "EUR", "reference": "INV-1"}


@contextmanager
def observed(root: Path) -> Iterator[Deciding]:
    """The server: policies, people, probes, a spool, a sink, a witness, a declared source, a channel for alerts, a key for metrics."""
    (root / "records").mkdir(parents=True)
    key = root / "metrics.key"
    key.write_text("m" * 40 + "\n")
    key.chmod(0o600)
    with FakeSlack() as slack, Server(root / "server", spool_dir=root / "spool", metrics_key_file=key) as server:
        slack.channel(SECURITY)
        server.sections["slack.acme-slack"] = connection(root, slack)
        server.sections["sink.files"] = {"tenant": "acme", "kind": "file", "dir": root / "records"}
        # A witness that nobody reaches: it has figures all the same.
        cosigner = json.loads((Path(__file__).parents[2] / "proto/vectors/cosignature.json").read_text())["cases"][0]["cosigners"][0]
        server.sections["witness.w"] = {"vkey": cosigner, "url": "http://127.0.0.1:1"}
        desk = Deciding(server, f'[channels.security]\nconnection = "acme-slack"\nto = "{SECURITY}"\n{RULES}')
        (server.root / "approvals" / "acme" / "watch.toml").write_text('channels = ["security"]\n')
        server.sections["approvals"] |= {"probe": True}
        server.write_config()
        server.restart()
        desk.gateway = server.client(desk.gateway.key)
        desk.activate(policy_folder(root / "policies", POLICY))
        declared = {"producer": "gw-1", "source": "/numbered", "title": "t", "owner": "o", "silent_after": 3600}
        answer = server.admin.http.post(f"{server.admin.t}/sources", json={"sources": [declared], "reason": "r"})
        assert answer.status_code == 200, answer.text
        yield desk


def traffic(desk: Deciding, first: int = 1) -> None:
    """A bit of everything."""
    server = desk.server
    publisher = server.as_("publisher")
    publisher.publish(*[event(source="/numbered", sequence=str(number)) for number in (first, first + 1)], receipts=True)
    publisher.publish(event(), event(data={"verdict": "allow"}), event(data={"mode": "shadow"}), event(data={"verdict": "approval_needed"}, payload={}))
    cost = {"amount": "0.50", "currency": "USD"}
    allowed = desk.told(params=PAY, cost=cost, traceparent=f"00-{TRACE}-00f067aa0ba902b7-01")
    assert allowed["verdict"] == "allow", allowed
    assert desk.told(params=PAY | {"reference": "steal"})["verdict"] == "deny"
    assert "shadow" in desk.told(params=PAY | {"reference": "odd"})
    assert desk.told(tool={"name": "payments", "action": "list"}, params={})["recorded"] is False
    paused = desk.told(params=PAY | {"amount": 200000})
    assert paused["verdict"] == "approval_needed", paused
    assert desk.review(paused["approval"]["id"], "p-bob").status_code == 200
    assert desk.told(params=PAY | {"amount": 300000})["verdict"] == "approval_needed", "it waits"
    executed = event(id=new_id("x"), type=EXECUTION, data=...)
    executed["data"] = {"agent": {"id": "a"}, "decision": {name: allowed["decision"][name] for name in ("index", "leaf_hash")}}
    publisher.publish(executed)
    until("a probe", lambda: 'countersign_availability_ratio{tenant="acme",day="today"}' in text(desk), seconds=150)


def once(desk: Deciding) -> None:
    """What is done once: a freeze of nobody's agent, and a backup."""
    server = desk.server
    responder = server.client(server.add_key(["responder"], person="p-carla"))
    freeze = {"scope": "agent", "id": "nobody", "reason": "a test"}
    answer = responder.http.post(f"{responder.t}/freezes", json=freeze)
    assert answer.status_code in (200, 201), answer.text
    server.client(server.operator_key).http.post("/v1/backup", json={"name": "one"}).raise_for_status()


def text(desk: Deciding, accept: str = "application/openmetrics-text") -> str:
    """The metrics, as the key for metrics reads them."""
    answer = desk.server.client(desk.server.operator_key).http.get("/metrics", headers={"Accept": accept})
    assert answer.status_code == 200, answer.text
    return answer.text
