"""P18: three deciders on one JetStream spend one cap, and one of them is killed among them."""

from __future__ import annotations

import copy
import random
import shutil
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
from support import NatsServer, Server, cli, until
from support.client import Client
from support.deciding import Deciding, question
from test_budgets import LLM, folder

CLIENTS, CAP = 64, 400
BUDGET = "{id: calls, tool: llm, sum: calls, per: all, window: month, zone: UTC, max: 400, at_cap: deny}"


def beside(first: Server, root: Path, nats: NatsServer) -> Server:
    """A server with a copy of another one's directory: its own database and guard, the same journal."""
    server = Server(root, nats=nats.url, sections=copy.deepcopy(first.sections))
    for name in ("data", "keys", "guard"):
        shutil.copytree(first.root / name, server.root / name)
    server.keys, server.vkey, server.origin = dict(first.keys), first.vkey, first.origin
    return server


def asks(clients: list[Client], told: list[dict[str, Any]], stop: threading.Event) -> None:
    """Asks one decider after the other, until one of them denies. A question without an answer is asked again at the next one."""
    nth = 0
    while not stop.is_set():
        asked = question(**LLM)
        while not stop.is_set():
            nth += 1
            client = clients[nth % len(clients)]
            try:
                answer = client.http.post(f"{client.t}/decisions", json=asked)
            except httpx.HTTPError:
                stop.wait(0.05)
                continue
            if answer.status_code == 200:
                told.append(answer.json())
                if answer.json()["verdict"] == "deny":
                    return
                break


def test_p18_three_deciders_on_one_journal(tmp_path: Path, faults: Path, rng: random.Random) -> None:
    """Never above the cap, all of it is spent, and at least 95 % of it before the first denial; each verdict is computed again."""
    with NatsServer(tmp_path / "nats") as nats, Server(tmp_path / "first", nats=nats.url) as first:
        desk = Deciding(first)
        desk.activate(folder(tmp_path / "p", [BUDGET]))
        first.stop()
        servers = [first, beside(first, tmp_path / "second", nats), beside(first, tmp_path / "third", nats)]
        try:
            for server in servers:
                server.signs_beside_others(faults)
                server.start()
            told: list[dict[str, Any]] = []
            stop = threading.Event()
            threads = []
            for nth in range(CLIENTS):
                clients = [server.client(desk.gateway.key) for server in servers[nth % 3 :] + servers[: nth % 3]]
                threads.append(threading.Thread(target=asks, args=(clients, told, stop), daemon=True))
            for thread in threads:
                thread.start()
            until("calls are answered", lambda: len(told) > 80 + rng.randrange(60), 240)
            servers[2].restart(kill=True)
            until("every client is denied", lambda: not any(thread.is_alive() for thread in threads), 300)
            stop.set()
            entries = [e for e in first.admin.entries(kind="decision") if "as_of" in e["event"]["data"] and e["producer"] == "gw-1"]
            verdicts = [(e["event"]["data"]["verdict"], e["event"]["data"]["reason"]["code"]) for e in entries]
            before = next(at for at, (verdict, _) in enumerate(verdicts) if verdict == "deny")
            voids = Counter(entry["event"]["reason"] for entry in first.admin.entries(kind="void"))
            print({"before the first denial": before, "codes": Counter(verdicts), "voids": dict(voids)})
            assert Counter(verdict for verdict, _ in verdicts)["allow"] == CAP
            assert before * 100 >= CAP * 95
            exported = desk.export(tmp_path / "export")
            assert cli("verify", "--key", first.vkey, "--export", exported).code == 0
            replayed = desk.replayed(exported)
            assert replayed["code"] == 0 and not replayed["different"], replayed
        finally:
            for server in servers[1:]:
                server.__exit__()
