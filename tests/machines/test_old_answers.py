"""P8, P22: the node of NATS that leads the journal is parted from the others. For some seconds it still answers, with what it had; no
replica believes it when it says that something is not there."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import httpx
from several.board import Board
from several.clients import Caller
from several.network import ROUTES_PORT
from several.site import NATS, Site

from support import Key, until
from support.deciding import PEOPLE, RULES
from support.desk import Desk, approval_id, paused

#: A parted node holds itself for the leader for up to 10 s.
SECONDS = 20.0
UNKNOWN = "apr-" + "a" * 26


def asked(url: str, key: Key, path: str, body: Any = None) -> int:
    """Status of one try; 0 without an answer."""
    try:
        headers = {"Authorization": f"Bearer {key.text}"}
        method = "GET" if body is None else "POST"
        return httpx.request(method, f"{url}/v1/tenants/acme{path}", headers=headers, json=body, timeout=12, trust_env=False).status_code
    except httpx.HTTPError:
        return 0


def test_p8_p22_a_parted_leader_of_the_journal_denies_nothing_that_was_told(namespaces: None, tmp_path: Path) -> None:
    """An approval that one replica has shown is never "not found" at another one, neither to who reads it nor to who answers it; nor is a list,
    which others may have."""
    with Site(tmp_path / "site") as site:
        site.start()
        desk = Desk(site["a"])
        desk.write(RULES, PEOPLE)
        desk.apply()
        for server in site.servers.values():
            server.wait_ready()
        gateway = site["a"].admin.add_key(["publisher", "enforcer"], "gw-1")
        reviewer = site["a"].admin.add_key(["reviewer"], person="p-bob")
        admin = site["a"].admin.add_key(["admin"])
        leader = site.stream_leader()
        parted, others = site.servers[leader], [name for name in site.servers if name != leader]
        # Only its own node is left to this replica.
        site.network.part(leader, others, NATS)
        until("the replica to work by its own node", lambda: asked(parted.url, gateway, f"/approvals/{UNKNOWN}") == 404, 60)
        caller, told = Caller(site.servers[others[0]].url, Board()), []
        site.network.part(leader, others, ROUTES_PORT)
        end, opened = time.monotonic() + SECONDS, 0
        while time.monotonic() < end:
            made = paused("acme", data={"agent": {"id": "bot-1", "run": "r"}, "tool": {"name": "payments", "action": "one"}})
            answer = caller.send(gateway, "POST", "/approvals", made)
            assert answer is not None and answer.status_code == 201, answer
            opened += 1
            id, digest = approval_id("acme", "gw-1", made), made["data"]["call"]["digest"]
            told.append(asked(parted.url, gateway, f"/approvals/{id}"))
            told.append(asked(parted.url, reviewer, f"/approvals/{id}/reviews", {"decision": "approve", "digest": digest, "version": 1}))
            told += [asked(parted.url, admin, path) for path in ("/lists/blocked", "/lists/blocked/1")]
        print(f"{opened} opened; {sorted(told)}")
        assert opened and 404 not in told
        site.network.heal()
        until("the parted replica to know it", lambda: asked(parted.url, gateway, f"/approvals/{id}") == 200, 60)
        assert asked(parted.url, gateway, f"/approvals/{UNKNOWN}") == 404, "what is not there is not found again"
        assert asked(parted.url, admin, "/lists/blocked/1") == 404
