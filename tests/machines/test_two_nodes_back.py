"""P4, P22: the streams of two of three nodes of NATS go back to an old copy together, and what was acknowledged since is gone from the
journal. Nothing repairs that; no replica signs on as if it had not been."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
from rig import audit
from rig.trio import Eye
from several.site import Site

from support import event, until

HALTED_SECONDS = 180.0


def test_p4_p22_two_nodes_set_back_halt_every_replica(namespaces: None, tmp_path: Path) -> None:
    """All halt and say so; what was shown still is, and is of one history; nothing is acknowledged any more."""
    with Site(tmp_path / "site") as site:
        site.start()
        eye = Eye(site, every=0.2)
        eye.start()
        site.reach(site.post("a") + 1)
        copies = {}
        for name in ("b", "c"):
            node = site.nodes[name]
            node.kill9()
            node.copy_store(copies.setdefault(name, tmp_path / f"copy-{name}"))
            node.start()
            site.nats_is_whole()
        told = [site.post(name, 120) for name in ("a", "b", "c") for _ in range(3)]
        site.reach(max(told) + 1)
        for node in site.nodes.values():
            node.kill9()
        for name, copy in copies.items():
            site.nodes[name].restore_store(copy)
            site.nodes[name].start()
        acknowledged = 0

        def all_halted() -> bool:
            nonlocal acknowledged
            for server in site.servers.values():
                try:
                    answer = httpx.post(
                        f"{server.url}/v1/tenants/acme/events", timeout=3, trust_env=False, content=json.dumps(event()),
                        headers={"Authorization": f"Bearer {server.as_('publisher').key.text}", "Content-Type": "application/cloudevents+json"},
                    )  # fmt: skip
                    acknowledged += answer.status_code == 200
                except httpx.HTTPError:
                    continue
            return all("log_halted" in codes for codes in site.reports().values())

        until("every replica to be halted", all_halted, HALTED_SECONDS)
        assert acknowledged == 0
        for name in site.servers:
            print(name, site.troubles(name)["log_halted"])
        site.nodes["a"].start()
        for server in site.servers.values():
            entries = audit.leaves(server.admin)
            assert len(entries) > max(told), "what was shown is still served"
        site.judge(eye.stop(), tmp_path, "a")
