"""Clients behind the balancer: they post events, ask for decisions with a budget, have calls approved and redeem them, and change the
policies. Each repeats what was not answered, as every client must, and tells the board what it was told."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from support import Key, event, until
from support.deciding import PEOPLE, RULES, question
from support.desk import Desk, approval_id, paused

from .board import Board
from .site import Site

#: How long one request waits, and how long it is repeated, in seconds. A service that answers no more in that time never does.
ONE_WAIT, GIVE_UP = 5.0, 120.0
#: Calls that a run may make.
CAP = 6
TENANT = "/v1/tenants/acme"
FILES = {
    "tools.yaml": "language: 1\ntools:\n  - {name: llm, actions: [{name: ask, effect: write}]}\n",
    "policies/p.yaml": (
        'language: 1\npolicy: p\nclauses:\n  - {id: all, agents: ["@bots"], tool: llm, actions: [ask], then: allow}\n'
        "budgets: [{id: calls, tool: llm, sum: calls, per: run, window: month, zone: ZONE, max: %d, at_cap: deny}]\n" % CAP
    ),
}


def zone() -> str:
    """One in which no month ends while a test runs: a new month is a new budget."""
    return "UTC" if time.gmtime().tm_mon == time.gmtime(time.time() + 10 * 3600).tm_mon else "Pacific/Honolulu"


def files(version: int) -> list[dict[str, str]]:
    """The policies; each version knows one more agent."""
    agents = ["llm-agent", *(f"agent-{n}" for n in range(version))]
    listed = "".join(f"  - {{id: {id}, groups: [bots], owners: [p-ana]}}\n" for id in agents)
    texts = FILES | {"agents.yaml": f"language: 1\nagents:\n{listed}"}
    return [{"path": path, "content": text.replace("ZONE", zone())} for path, text in sorted(texts.items())]


class Caller:
    """One client's connection to the balancer."""

    def __init__(self, url: str, board: Board) -> None:
        self.url, self.board = url, board
        self.http = self._connect()

    def _connect(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=ONE_WAIT, trust_env=False)

    def send(self, key: Key, method: str, path: str, body: Any = None) -> httpx.Response | None:
        """Until there is an answer that says something; `None` if there is none for too long."""
        end = time.monotonic() + GIVE_UP
        headers = {"Authorization": f"Bearer {key.text}"}
        while time.monotonic() < end:
            try:
                answer = self.http.request(method, TENANT + path, json=body, headers=headers)
            except httpx.HTTPError as error:
                self.board.refuse(type(error).__name__)
                self.http.close()
                self.http = self._connect()
                continue
            if answer.status_code < 500:
                return answer
            self.board.refuse(code_of(answer))
            # Not a wait for anything: as many tries a second as a well-behaved client makes.
            time.sleep(0.05)
        return None


def code_of(answer: httpx.Response) -> str:
    """Code of a problem; what the balancer itself says has none."""
    try:
        return str(answer.json()["code"])
    except (ValueError, KeyError, TypeError):
        return f"balancer {answer.status_code}"


class Clients:
    """All of them, on a site whose replicas run. `with`: they work."""

    def __init__(self, site: Site, events: int = 3, pause: float = 0.02) -> None:
        self.site, self.board, self.pause = site, Board(), pause
        self._stop, self._number = threading.Event(), itertools.count()
        self._run = 0
        desk = Desk(site["a"])
        desk.write(RULES, PEOPLE)
        desk.apply()
        for server in site.servers.values():
            server.wait_ready()
        admin = site["a"].admin
        self.gateway = admin.add_key(["publisher", "enforcer"], "gw-1")
        self.author, self.reviewer = admin.add_key(["author"], person="p-ana"), admin.add_key(["reviewer"], person="p-bob")
        self.version = self.first = 0
        self.first = self._change(Caller(site.url, self.board))
        self.board = Board()
        works = [self._posts] * events + [self._asks] * 3 + [self._approves] * 2 + [self._changes]
        self._threads = [threading.Thread(target=self._work, args=(work, n), daemon=True) for n, work in enumerate(works)]

    def _work(self, work: Callable[[Caller, int], None], client: int) -> None:
        caller = Caller(self.site.url, self.board)
        try:
            while not self._stop.is_set():
                work(caller, client)
                # So that nine clients, three brokers and three servers share two cores with others.
                self._stop.wait(self.pause)
        except Exception as error:  # noqa: BLE001: must reach the test
            self.board.blame(f"{work.__name__} {client}: {error!r}")

    def __enter__(self) -> "Clients":
        for thread in self._threads:
            thread.start()
        until("clients to be answered", lambda: len(self.board.acknowledged) > 10, GIVE_UP)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(GIVE_UP + 60)
            if thread.is_alive():
                self.board.blame("a client hangs")

    def work_for(self, seconds: float) -> None:
        """Lets them work: how long a failure lasts, and no wait for anything."""
        self._stop.wait(seconds)

    # events

    def _posts(self, caller: Caller, client: int) -> None:
        made = event(source=f"/load/{client}", payload={"note": "x" * (next(self._number) % 300)})
        full = "?receipts=full" if next(self._number) % 5 == 0 else ""
        answer = caller.send(self.gateway, "POST", f"/events{full}", made)
        if answer is None:
            self.board.blame(f"nobody acknowledged {made['id']}")
        elif answer.status_code != 200 or answer.json()["results"][0]["status"] not in ("posted", "duplicate"):
            self.board.blame(f"{made['id']}: {answer.status_code} {answer.text}")
        else:
            (result,) = answer.json()["results"]
            self.board.acknowledge(made["id"], result["index"], result.get("receipt"))

    # decisions and budgets

    def _asks(self, caller: Caller, client: int) -> None:
        now = self._run
        run = f"run-{now}"
        asked = question(agent={"id": "llm-agent", "run": run}, tool={"name": "llm", "action": "ask"}, params={"n": next(self._number)})
        call = time.monotonic_ns()
        answer = caller.send(self.gateway, "POST", "/decisions", asked)
        if answer is None:
            self.board.note("budget", run, client, call, "", "unknown")
            return
        if answer.status_code != 200:
            # What it did to the budget is unknown to this client, and part of the history all the same. A verdict that a client could not
            # fetch for a minute no longer counts: two replicas of three may be away for longer.
            self.board.note("budget", run, client, call, "", "unknown")
            if code_of(answer) != "decision_stale":
                self.board.blame(f"question: {answer.status_code} {answer.text}")
            return
        told = answer.json()
        outcome = {("allow", "allowed"): "allow", ("deny", "budget_exceeded"): "deny", ("deny", "contended"): "contended"}.get(
            (told["verdict"], told["reason"]["code"])
        )
        if outcome is None:
            self.board.blame(f"question: {json.dumps(told)}")
            return
        self.board.note("budget", run, client, call, "", outcome)
        if told["policy"]["version"] is not None:
            self.board.note("policy", "in force", client, call, "", str(told["policy"]["version"]))
        if outcome == "deny" and self._run == now:
            self._run = now + 1

    # approvals

    def _approves(self, caller: Caller, client: int) -> None:
        made = paused("acme", data={"agent": {"id": f"bot-{client}", "run": "r"}, "tool": {"name": "payments", "action": "one"}})
        id = approval_id("acme", "gw-1", made)
        opened = caller.send(self.gateway, "POST", "/approvals", made)
        if opened is None or opened.status_code not in (200, 201):
            self.board.leave(f"opening: {opened and code_of(opened)}")
            return
        if not self._reviewed(caller, id, made["data"]["call"]["digest"]):
            return
        token = caller.send(self.gateway, "POST", f"/approvals/{id}/token")
        if token is None or token.status_code != 200:
            self.board.leave(f"token: {token and code_of(token)}")
            return
        payload = made["data"]["payload"]
        call = {"nonce": payload["nonce"], "agent": f"bot-{client}", "run": "r", "tool": "payments", "action": "one", "params": payload["params"]}
        # Two at once, by two gateways of one key that each believe it is theirs.
        with ThreadPoolExecutor(2) as pool:
            for n in range(2):
                pool.submit(self._redeems, id, token.json()["token"], call, client * 10 + n)

    def _reviewed(self, caller: Caller, id: str, digest: str) -> bool:
        while True:
            seen = caller.send(self.gateway, "GET", f"/approvals/{id}")
            if seen is None:
                self.board.leave("reading an approval")
                return False
            if seen.status_code != 200:
                self.board.blame(f"{id} was opened and acknowledged, and now: {seen.status_code} {seen.text}")
                return False
            body = {"decision": "approve", "digest": digest, "version": seen.json()["version"]}
            answer = caller.send(self.reviewer, "POST", f"/approvals/{id}/reviews", body)
            if answer is not None and answer.status_code == 200:
                return True
            if answer is None or code_of(answer) != "stale":
                self.board.leave(f"review: {answer and code_of(answer)}")
                return False

    def _redeems(self, id: str, token: str, call: dict[str, Any], client: int) -> None:
        caller, name = Caller(self.site.url, self.board), f"r-{client}"
        begun = time.monotonic_ns()
        answer = caller.send(self.gateway, "POST", "/tokens/redeem", {"token": token, "redemption_id": name, "call": call})
        if answer is None:
            outcome = "unknown"
        elif answer.status_code == 200:
            outcome = "redeemed"
        else:
            outcome = code_of(answer) if code_of(answer) == "already_redeemed" else "refused"
        self.board.note("redemption", id, client, begun, name, outcome)

    # policies

    def _changes(self, caller: Caller, client: int) -> None:
        self._change(caller, client)
        self._stop.wait(3)

    def _change(self, caller: Caller, client: int = 0) -> int:
        """The next version, from its proposal until it is in force; 0 if it came to nothing."""
        self.version += 1
        proposed = caller.send(self.author, "POST", "/policies", {"files": files(self.version), "comment": "For the test."})
        if proposed is None or proposed.status_code != 201:
            self.board.leave(f"proposal: {proposed and code_of(proposed)}")
            return 0
        version, approval = proposed.json()["version"], proposed.json()["approval"]["id"]
        # Only an admin or somebody who is asked sees it.
        seen = caller.send(self.reviewer, "GET", f"/approvals/{approval}")
        if seen is None or seen.status_code != 200:
            self.board.leave(f"reading a proposal: {seen and code_of(seen)}")
            return 0
        call = time.monotonic_ns()
        body = {"decision": "approve", "digest": seen.json()["call"]["digest"], "version": seen.json()["version"]}
        answer = caller.send(self.reviewer, "POST", f"/approvals/{approval}/reviews", body)
        end = time.monotonic() + GIVE_UP
        while answer is not None and time.monotonic() < end:
            now = caller.send(self.author, "GET", "/policies")
            if now is not None and now.status_code == 200 and (now.json()["in_force"] or {}).get("version") == version:
                self.board.note("policy", "in force", client, call, str(version), "activated")
                return int(version)
            time.sleep(0.05)
        self.board.note("policy", "in force", client, call, str(version), "unknown")
        return 0


def keep_receipts(board: Board, folder: Path, most: int) -> list[Path]:
    """A sample of the receipts, as files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for n, text in enumerate(board.receipts[:: max(1, len(board.receipts) // most)]):
        paths.append(folder / f"{n}.tlog-proof")
        paths[-1].write_text(text)
    return paths
