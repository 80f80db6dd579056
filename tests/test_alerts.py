"""P19: what clauses and the watch of the log find becomes an entry, once, whatever crashes; people close it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from support import Server, cli, event
from support.asking import policy_folder
from support.client import Client
from support.deciding import CALL, Deciding, question
from support.waits import until

#: Every transfer is allowed. One that says "watched" raises an alert, "steal" is denied and raises two, "ghost" raises one in shadow.
POLICY = """language: 1
policy: pay
clauses:
  - {id: all, tool: payments, actions: [transfer], then: allow}
  - id: watched
    tool: payments
    actions: [transfer]
    when: {params: {/reference: {one_of: [watched, both]}}}
    then: allow
    alert: watched-payee
  - id: thief
    tool: payments
    when: {params: {/reference: {one_of: [steal]}}}
    then: deny
    alert: theft
  - id: thief-again
    tool: payments
    when: {params: {/reference: {one_of: [steal]}}}
    then: deny
    alert: theft-again
  - id: ghost
    tool: payments
    when: {params: {/reference: {one_of: [ghost, both]}}}
    then: deny
    alert: ghost
    enforcement: {shadow: true}
"""


class Watched(Deciding):
    """A tenant with a policy, and Carla as its responder."""

    def pays(self, reference: str) -> int:
        """Asks about a transfer. Returns the index of its decision."""
        return int(self.told(params=CALL | {"reference": reference})["decision"]["index"])

    def open(self) -> list[dict[str, Any]]:
        """`GET T/alerts`"""
        return self.server.admin.get("/alerts").json()["alerts"]

    def raised(self) -> list[dict[str, Any]]:
        """Every alert of the log."""
        entries = [json.loads(leaf)["event"] for _, leaf in self.server.admin.feed(kind="alert")]
        return [event for event in entries if event["op"] == "raise"]

    def close(self, alert: int, by: Client, reason: Any = "A drill.") -> httpx.Response:
        """`POST T/alerts/{alert}/close`"""
        return by.http.post(f"{by.t}/alerts/{alert}/close", json={"reason": reason})


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Watched]:
    """The policy is in force."""
    with Server(tmp_path / "server") as server:
        desk = Watched(server)
        desk.activate(policy_folder(tmp_path / "policies", POLICY))
        yield desk


def shown(alerts: list[dict[str, Any]]) -> list[tuple[int, str, str]]:
    """Of each alert: the decision, the clause and the name."""
    return [(alert["at"]["index"], alert["clause"], alert["name"]) for alert in alerts]


def test_p19_a_clause_raises_an_alert_and_a_clause_in_shadow_none(desk: Watched, tmp_path: Path) -> None:
    """Each decision with such a clause has its alert; what is allowed without one, or in shadow, has none. It follows from the log alone."""
    desk.pays("plain")
    desk.pays("ghost")
    watched, stolen, both = desk.pays("watched"), desk.pays("steal"), desk.pays("both")
    expected = [
        (watched, "pay/watched", "watched-payee"), (stolen, "pay/thief", "theft"), (stolen, "pay/thief-again", "theft-again"),
        (both, "pay/watched", "watched-payee"),
    ]  # fmt: skip
    until("four alerts", lambda: len(desk.open()) == 4)
    alerts = [alert["event"] for alert in desk.open()]
    assert shown(alerts) == expected == shown(desk.raised())
    assert [alert["at"]["nth"] for alert in alerts] == [0, 0, 1, 0]
    first = alerts[1]
    assert (first["rule"], first["about"]) == ("clause", {"what": "agent", "id": "payments-bot", "producer": "gw-1"})
    assert (first["values"], first["entries"]) == ({"verdict": "deny", "tool": "payments", "action": "transfer"}, [stolen])
    data = desk.server.admin.entry(stolen)["event"]["data"]
    assert data["alerts"] == [{"clause": "pay/thief", "name": "theft"}, {"clause": "pay/thief-again", "name": "theft-again"}]
    folder = desk.export(tmp_path / "export")
    cli("verify", "--key", desk.server.vkey, "--export", folder).ok()
    replayed = desk.replayed(folder)
    assert replayed["code"] == 0, replayed
    desk.server.stop()
    desk.server.fsck().ok()


def test_p19_an_alert_of_a_clause_is_written_once_whatever_crashes(desk: Watched, tmp_path: Path) -> None:
    """kill -9 at any moment between a decision and its alert: none is lost, none is doubled, and work goes on."""
    expected, last_before, kills = [], [], []
    for count in (3, 20, 40, 60, 80, 100):
        asked = [question(params=CALL | {"reference": "watched"}) for _ in range(count)]
        decided = [answer["decision"]["index"] for answer in desk.ask(asked).json()["results"]]
        kills.append(time.time())
        desk.server.kill9()
        last_before.append(decided[-1])
        expected += [(index, "pay/watched", "watched-payee") for index in decided]
        desk.server.start()
    until("every alert", lambda: len(desk.raised()) >= len(expected))
    assert shown(desk.raised()) == expected
    told = {entry["event"]["at"]["index"]: entry["journal"]["time"] for entry in desk.server.admin.entries(kind="alert")}
    moments = [datetime.fromisoformat(told[index][:26] + "+00:00").timestamp() for index in last_before]
    # Some kills came between a decision and its alert: a later process wrote it.
    assert sum(moment > kill + 0.2 for moment, kill in zip(moments, kills, strict=True)) >= 2, (moments, kills)
    desk.pays("plain")
    expected.append((desk.pays("watched"), "pay/watched", "watched-payee"))
    until("every alert", lambda: len(desk.raised()) >= len(expected))
    assert shown(desk.raised()) == expected
    assert desk.server.admin.entries(kind="rejected") == []
    cli("verify", "--key", desk.server.vkey, "--export", desk.export(tmp_path / "export")).ok()
    desk.server.stop()
    desk.server.fsck().ok()


def test_p19_people_close_alerts(desk: Watched, tmp_path: Path) -> None:
    """A responder or an admin closes an open alert once, with a reason; health, metrics and the command line show it."""
    desk.pays("steal")
    until("two alerts", lambda: len(desk.open()) == 2)
    first, second = (alert["index"] for alert in desk.open())
    carla = desk._client("responder", "p-carla")
    assert desk.close(first, desk.gateway).status_code == 403
    assert desk.close(first, carla, "").status_code == 400
    assert desk.close(first, carla, None).status_code == 400
    assert desk.close(10**6, carla).status_code == desk.close(0, carla).status_code == 404
    closed = desk.close(first, carla)
    assert closed.status_code == 200, closed.text
    again = desk.close(first, carla)
    assert (again.status_code, again.json()["code"]) == (409, "conflict")
    entry = desk.server.admin.entry(closed.json()["index"])["event"]
    assert (entry["op"], entry["alert"], entry["by"]["person"]) == ("close", first, "p-carla") and entry["reason"]["index"]
    assert [alert["index"] for alert in desk.open()] == [second]
    assert httpx.get(f"{desk.server.url}/healthz", timeout=60, trust_env=False).json()["alerts_open"] == 1
    metrics = httpx.get(f"{desk.server.url}/metrics", headers={"Authorization": f"Bearer {desk.server.operator_key.text}"}, timeout=60, trust_env=False).text
    assert re.search(r'countersign_alerts_open\{tenant="acme"\} 1\n', metrics), metrics
    assert re.search(r'countersign_alerts_raised\{tenant="acme"\} 2\n', metrics)
    remote = ("--tenant", "acme", "--server", desk.server.url, "--api-key-file", desk.server.key_file(desk.keys["responder p-carla"]))
    assert "theft-again agent payments-bot" in cli("alert", "list", *remote).ok().out
    assert "is closed by entry" in cli("alert", "close", *remote, "--reason", "a drill", str(second)).ok().out
    assert "no alert is open" in cli("alert", "list", *remote).ok().out
    lines = [json.loads(line)["event"]["op"] for line in cli("alert", "export", *remote).ok().out.splitlines()]
    assert lines == ["raise", "raise", "close", "close"]
    page = desk.server.admin.get("/alerts?state=all&from=0").json()
    assert (page["raised"], page["open"], len(page["alerts"]), page["more"]) == (2, 0, 4, False)
    desk.server.restart(kill=True)
    assert desk.open() == [] and len(desk.raised()) == 2
    cli("verify", "--key", desk.server.vkey, "--export", desk.export(tmp_path / "export")).ok()


def test_p19_the_watch_of_the_log_finds_a_silent_source(desk: Watched) -> None:
    """A declared source is silent, and time moves with the events of others. After a restart nothing is doubled."""
    server = desk.server
    (server.root / "approvals" / "acme" / "watch.toml").write_text("source_minutes = 0\n")
    server.restart()
    publisher = server.as_("publisher")
    declared = {"producer": "gw-9", "source": "/gateways/gone", "title": "Gone", "owner": "team-x", "silent_after": 1}
    server.admin.http.post(f"{server.admin.t}/sources", json={"sources": [declared], "reason": "For the test."}).raise_for_status()

    def found() -> list[dict[str, Any]]:
        publisher.publish(event())
        return desk.open()

    alert = until("the silent source is found", found, 150)[0]["event"]
    assert (alert["rule"], alert["about"]) == ("silent_source", {"what": "source", "id": "/gateways/gone", "producer": "gw-9"})
    server.restart(kill=True)
    for _ in range(3):
        publisher.publish(event())
    assert len(desk.open()) == 1


def test_p19_a_start_goes_on_from_the_saved_state(desk: Watched, tmp_path: Path) -> None:
    """Not from the beginning; after a change of the settings, or with another log, from the beginning. Alerts are the same, and none is doubled."""
    server = desk.server

    def begun() -> list[int]:
        lines = [line for line in server.log.splitlines() if "the log is watched" in line]
        return [int(re.findall(r'from"?[=:] ?(\d+)', line)[-1]) for line in lines]

    assert begun()[-1] == 0
    first = desk.pays("watched")
    publisher = server.as_("publisher")
    publisher.publish(*(event() for _ in range(700)))
    size = max(index for index, _ in server.admin.feed())

    def restarted() -> int:
        """Kills it a while after it read on, and starts it again. Returns where it begins."""
        time.sleep(1)
        before = len(begun())
        server.restart(kill=True)
        desk.gateway = server.client(desk.gateway.key)
        until("it is watched", lambda: len(begun()) > before)
        return begun()[-1]

    until("a saved state", lambda: restarted() > 700, 120)
    assert begun()[-1] <= size + 10 and shown(desk.raised()) == [(first, "pay/watched", "watched-payee")]
    second = desk.pays("watched")
    until("the next alert", lambda: len(desk.raised()) == 2)
    (server.root / "approvals" / "acme" / "watch.toml").write_text("learn_days = 3\n")
    assert restarted() == 0
    third = desk.pays("watched")
    until("the next alert", lambda: len(desk.raised()) == 3)
    assert [index for index, _, _ in shown(desk.raised())] == [first, second, third]
    # A channel changes nothing of what is found.
    until("a saved state", lambda: restarted() > 700, 120)
    server.stop()
    server.fsck().ok()


def test_settings_of_the_watch_that_are_wrong_stop_the_start(desk: Watched) -> None:
    """A file that is there counts, or the server says what is wrong with it."""
    path = desk.server.root / "approvals" / "acme" / "watch.toml"
    desk.server.stop()
    for text, says in (
        ("ewma_limit = 1.0\n", "ewma_limit"), ("colour = 1\n", "colour"), ("off = ['mood']\n", "mood"), ("off = ['clause']\n", "clause"), ("= 1", "watch.toml"),
    ):  # fmt: skip
        path.write_text(text)
        ended = desk.server.run("serve")
        assert ended.code != 0 and says in ended.err + desk.server.log, (text, ended)
    path.write_text("learn_days = 3\noff = ['new_hour']\n")
    desk.server.start()
    desk.gateway = desk.server.client(desk.gateway.key)
    desk.pays("watched")
    until("an alert", lambda: len(desk.open()) == 1)
