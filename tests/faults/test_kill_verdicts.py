"""P14, P15, P17: kill -9 at random moments while gateways ask and policies are activated."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from rig.life import until_told
from support import Server, until
from support.asking import Asking, bounded, everything, policy_folder
from support.deciding import CALL, RULES, Deciding
from support.waits import LOOK_EVERY

THREADS = 6


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Deciding]:
    """A tenant without policies."""
    with Server(tmp_path / "server") as server:
        yield Deciding(server)


class Changing:
    """A thread that has bundles activated in turn, by an author and a reviewer who repeat what was not answered."""

    def __init__(self, desk: Deciding, root: Path) -> None:
        self.desk, self.root, self.done, self.wrong = desk, root, 0, ""
        self._author, self._reviewer = (desk.server.add_key([role], person=p) for role, p in [("author", "p-ana"), ("reviewer", "p-bob")])
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> "Changing":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(200)

    def finish(self) -> None:
        """Lets the last activation end."""
        self.__exit__()
        assert not self._thread.is_alive() and not self.wrong, self.wrong

    def _work(self) -> None:
        try:
            while not self._stop.is_set():
                # Wide and narrow in turn, and never the same twice.
                self._activate(bounded(self.root / f"{self.done}", (100_000, 40_000)[self.done % 2] + self.done))
                self.done += 1
        except Exception as error:  # noqa: BLE001: must reach the test
            self.wrong = repr(error)

    def _activate(self, folder: Path) -> None:
        files = [{"path": str(p.relative_to(folder)), "content": p.read_text()} for p in sorted(folder.rglob("*.yaml"))]
        proposed = self._post(self._author.text, "/policies", {"files": files, "comment": "In turn."})
        id = proposed["approval"]["id"]
        shown = self._get(self._reviewer.text, f"/approvals/{id}")
        review = {"decision": "approve", "digest": shown["call"]["digest"], "version": shown["version"]}
        self._post(self._reviewer.text, f"/approvals/{id}/reviews", review)
        deadline = 90.0
        while deadline > 0 and not self._stop.is_set():
            in_force = self._get(self._author.text, "/policies")["in_force"]
            if in_force and in_force["version"] == proposed["version"]:
                return
            self._stop.wait(LOOK_EVERY)
            deadline -= LOOK_EVERY
        assert self._stop.is_set(), f"version {proposed['version']} is approved, and never in force"

    def _post(self, key: str, path: str, body: object) -> dict:
        return self._told(lambda http: http.post(self._url(path), json=body, headers={"Authorization": f"Bearer {key}"}))

    def _get(self, key: str, path: str) -> dict:
        return self._told(lambda http: http.get(self._url(path), headers={"Authorization": f"Bearer {key}"}))

    def _url(self, path: str) -> str:
        return f"{self.desk.server.url}/v1/tenants/acme{path}"

    def _told(self, send) -> dict:  # noqa: ANN001
        def asked(http: httpx.Client) -> httpx.Response:
            answer = send(http)
            # While it starts it may say 404: `test_start_verdicts.py` is about that alone.
            return httpx.Response(503) if answer.status_code == 404 else answer

        with httpx.Client(timeout=30.0, trust_env=False) as http:
            answer = until_told(lambda: asked(http))
        said = "no answer" if answer is None else f"{answer.request.method} {answer.request.url.path}: {answer.status_code} {answer.text}"
        assert answer is not None and answer.status_code in (200, 201), said
        return dict(answer.json())


def test_p14_p15_p17_kill_9_at_random_moments(desk: Deciding, rng: random.Random, rounds: int, tmp_path: Path) -> None:
    """Every told verdict is in the log as it was told, each question has one, policies change only by approval, the database is
    sound, and replay says the same of all."""
    moments, rounds = threading.Event(), max(rounds // 2, 10)
    with Asking(desk.server, desk.gateway.key, THREADS, rng) as asking, Changing(desk, tmp_path) as changing:
        for _ in range(rounds):
            # The moment: after some answers, and a random part of a few commits later.
            asking.wait_for_more(rng.randint(1, 60))
            moments.wait(rng.random() * 0.02)
            desk.server.kill9()
            desk.server.start()
        asking.wait_for_more(50)
        until("activations between kills", lambda: changing.done >= 3 or changing.wrong, 90)
        changing.finish()
        asking.wait_for_more(50)
        told = asking.finish()
    print(f"{rounds} kills: {len(told)} answers, {asking.verdicts}, {changing.done} activations, again: {asking.again}")
    # The test met what it is about.
    assert sum(asking.again.values()) >= rounds and asking.verdicts["allow"] > 50 and asking.verdicts["deny"] > 50
    assert any(answer["repeated"] for answer in told)
    counted = everything(desk, told, tmp_path / "export")
    assert counted["activations"] >= changing.done >= 3 and counted["told"] > 100, counted


def test_p17_kill_9_between_approval_and_activation(desk: Deciding, rng: random.Random, rounds: int, tmp_path: Path) -> None:
    """Killed at a random moment after the last person approved: after the restart the bundle takes effect once, without anybody
    doing anything more, and nothing else does."""
    folders = [bounded(tmp_path / "wide", 100_000), bounded(tmp_path / "narrow", 40_000)]
    moments, caught = threading.Event(), 0
    for nth in range(max(rounds // 4, 8)):
        proposed = desk.propose(folders[nth % 2]).json()
        id = proposed["approval"]["id"]
        desk.reviewer("p-bob")
        reviewing = threading.Thread(target=lambda id=id: review(desk, id), daemon=True)
        reviewing.start()
        moments.wait(rng.random() * 0.04)
        desk.server.kill9()
        reviewing.join(30)
        desk.server.start()
        before = desk.approval(id)["state"]
        caught += before in ("granted", "minted", "redeemed")
        if before == "pending":
            assert (desk.status()["in_force"] or {}).get("version") != proposed["version"]
            assert desk.review(id, "p-bob").status_code == 200
        until("the bundle to be in force", lambda: (desk.status()["in_force"] or {}).get("version") == proposed["version"])
        until("the approval to be over", lambda id=id: desk.approval(id)["over"])
        assert desk.approval(id)["state"] == "completed", desk.approval(id)
        assert desk.told()["policy"]["version"] == proposed["version"]
    activations = [e["event"]["version"] for e in desk.server.admin.entries(kind="policy") if e["event"]["op"] == "activate"]
    assert activations == sorted(set(activations)) and len(activations) == max(rounds // 4, 8)
    print(f"{caught} of {len(activations)} were granted when the server was killed")
    desk.server.stop()
    desk.server.fsck().ok()


def test_p17_kill_9_between_the_grant_and_the_change_of_a_list(tmp_path: Path, rng: random.Random, rounds: int) -> None:
    """As above, for items: after the restart the version takes effect once, without anybody doing anything more, and verdicts name it. Each version
    has one entry, the database is sound, and replay says the same of all."""
    policy = """language: 1
policy: pay
clauses:
  - {id: known, agents: ["@finance-bots"], tool: payments, actions: [transfer], when: {params: {/reference: {in_list: known}}}, then: allow}
"""
    folder, moments, caught, count = policy_folder(tmp_path / "policies", policy), threading.Event(), 0, max(rounds // 4, 8)
    (folder / "lists").mkdir()
    (folder / "lists" / "known.yaml").write_text("language: 1\nitems: [INV-0]\n")
    with Server(tmp_path / "server") as server:
        desk = Deciding(server, RULES.replace('action = "policy.activate"', 'action = ["policy.activate", "list.change"]'))
        desk.activate(folder)
        desk.reviewer("p-bob")
        for nth in range(1, count + 1):
            author = desk.author()
            asked = author.http.post(f"{author.t}/lists/known", json={"add": [f"INV-{nth}"], "comment": "One more."}).json()
            id = asked["approval"]["id"]
            reviewing = threading.Thread(target=lambda id=id: review(desk, id), daemon=True)
            reviewing.start()
            moments.wait(rng.random() * 0.04)
            server.kill9()
            reviewing.join(30)
            server.start()
            before = desk.approval(id)["state"]
            caught += before in ("granted", "minted", "redeemed")
            if before == "pending":
                assert desk.author().get("/lists/known").json()["version"] == nth - 1
                assert desk.review(id, "p-bob").status_code == 200
            until("the version to be in force", lambda nth=nth: desk.author().get("/lists/known").json()["version"] == nth)
            until("the approval to be over", lambda id=id: desk.approval(id)["over"])
            assert desk.approval(id)["state"] == "completed", desk.approval(id)
            told = desk.told(params=CALL | {"reference": f"INV-{nth}"})
            assert (told["verdict"], told["policy"]["lists"]) == ("allow", {"known": nth}), told
        changes = [e["event"]["version"] for e in server.admin.entries(kind="policy") if e["event"]["op"] == "change"]
        assert changes == list(range(1, count + 1))
        print(f"{caught} of {count} were granted when the server was killed")
        again = desk.replayed(desk.export(tmp_path / "export"))
        assert (again["different"], again["not_replayable"], again["same"]) == ({}, {}, count), again
        server.stop()
        server.fsck().ok()


def review(desk: Deciding, id: str) -> None:
    """Bob approves; the server may be gone before it answers."""
    try:
        desk.review(id, "p-bob")
    except (httpx.TransportError, KeyError):
        pass
