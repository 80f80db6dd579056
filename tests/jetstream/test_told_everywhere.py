"""P22: what one of three replicas has told, each of them knows: a key that was just made works everywhere, one that was just removed
nowhere. A gateway hears of each change of an approval once."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import httpx
from rig.broker import Peer
from rig.cluster import Cluster
from rig.trio import Trio

from support import Key, Server, until
from support.edges import RULES, people
from support.house import House

HINTS = "countersign-out.acme.gw-1.approvals"


def status(server: Server, key: Key) -> int:
    """What a replica answers to who holds the key."""
    headers = {"Authorization": f"Bearer {key.text}"}
    return httpx.get(f"{server.url}/v1/tenants/acme/keys", headers=headers, timeout=30, trust_env=False).status_code


def test_p22_a_key_works_everywhere_or_nowhere(trio: Trio) -> None:
    """Made at one, used at another one at once; removed at one, refused by another one at once. The answer waits for a replica that
    lags, and for none that is gone."""
    names = list(trio.servers)
    with ThreadPoolExecutor(1) as pool:

        def while_it_lags(lags: Server, act: Callable[[], Any]) -> Any:
            """What `act` gives at a time at which one replica stands still, and then goes on."""
            assert lags.process is not None
            os.kill(lags.process.pid, signal.SIGSTOP)
            try:
                acting = pool.submit(act)
                assert not wait([acting], timeout=1).done, "the answer came before the others know"
            finally:
                os.kill(lags.process.pid, signal.SIGCONT)
            return acting.result()

        for turn in range(3):
            here, lags = trio[names[turn]], trio[names[(turn + 1) % 3]]
            key = while_it_lags(lags, lambda here=here: here.admin.add_key(["admin"]))
            assert status(lags, key) == 200
            path = f"/v1/tenants/acme/keys/{key.text.split('_')[1]}"
            gone = while_it_lags(lags, lambda here=here, path=path: here.admin.http.delete(path))
            assert gone.status_code == 204, gone.text
            assert status(lags, key) == 401
    trio["c"].stop()
    assert status(trio["b"], trio["a"].admin.add_key(["admin"])) == 200


def test_p22_a_gateway_hears_of_a_change_once(cluster: Cluster, tmp_path: Path) -> None:
    """Three workers see each change; the replica that leads sends the hint."""
    sections = {"approvals": {"dir": tmp_path / "approvals"}}
    with Trio(tmp_path / "replicas", cluster.url, sections=sections) as trio, Peer(next(iter(cluster.nodes.values()))) as nats:
        houses = House.at_each(trio.servers, trio.start, RULES, people())
        nats.listen(HINTS)
        told: Counter[tuple[str, int]] = Counter()
        for turn in range(6):
            here, there = houses[turn % 3], houses[(turn + 1) % 3]
            made = here.pause()
            assert there.review(made, "p-ana", version=there.state(made)["version"]).status_code == 200
            until("all to know it", lambda made=made: len({house.state(made)["version"] for house in houses}) == 1)
        least = until("hints", lambda: len(nats.heard(1)) >= 6 and nats.heard(1))
        for _, body in least:
            hint = json.loads(body)
            told[hint["id"], hint["version"]] += 1
        assert set(told.values()) == {1}, told
        assert len({id for id, _ in told}) >= 5, "work is told"
