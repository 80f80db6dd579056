"""P19: channels of chats that `watch.toml` names are told of each alert once, and of its close in the same thread, whatever crashes; a storm makes few messages."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support import Server
from support.asking import policy_folder
from support.deciding import CALL, RULES, Deciding
from support.fakebot import FakeBot
from support.fakeslack import FakeSlack, Json
from support.slack_office import connection
from support.waits import until

POLICY = """language: 1
policy: pay
clauses:
  - {id: all, tool: payments, actions: [transfer], then: allow}
  - id: thief
    tool: payments
    when: {params: {/reference: {one_of: [steal]}}}
    then: deny
    alert: theft
"""
SLACK = "C0000000SEC"
TEAMS = "19:security@thread.tacv2"


class Told(Deciding):
    """A tenant whose channel is told of alerts."""

    def __init__(self, root: Path, sections: dict[str, Any], channel: tuple[str, str], watch: str = 'channels = ["security"]\n') -> None:
        server = Server(root / "server")
        server.sections |= sections
        name, to = channel
        super().__init__(server, f'[channels.security]\nconnection = "{name}"\nto = "{to}"\n{RULES}')
        self.activate(policy_folder(root / "policies", POLICY))
        self.watch = server.root / "approvals" / "acme" / "watch.toml"
        self.watch.write_text(watch)
        self.restart()
        self.carla = self._client("responder", "p-carla")

    def restart(self, kill: bool = False) -> None:
        """Starts the server again."""
        self.server.restart(kill=kill)
        self.gateway = self.server.client(self.gateway.key)

    def steals(self, count: int = 1) -> list[int]:
        """Calls that raise an alert each. Returns the alerts, once they are in the log."""
        before = self.open()
        for _ in range(count):
            self.told(params=CALL | {"reference": "steal"})
        until("the alerts", lambda: len(self.open()) == len(before) + count)
        return self.open()[len(before) :]

    def health(self) -> Json:
        """What health says to the operator."""
        return self._operator("healthz").json()

    def messages(self) -> dict[str, float]:
        """Messages to the channel, by what came of them, and whether it refuses."""
        lines = self._operator("metrics").text.splitlines()
        found = {line.split('result="')[1].split('"')[0]: float(line.split()[-1]) for line in lines if line.startswith("countersign_alert_messages_total{")}
        (refuses,) = (line for line in lines if line.startswith("countersign_alert_channel_refuses{"))
        assert 'tenant="acme",channel="security"' in refuses
        return found | {"refuses": float(refuses.split()[-1])}

    def _operator(self, path: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.server.operator_key.text}"}
        return httpx.get(f"{self.server.url}/{path}", headers=headers, timeout=60, trust_env=False)

    def open(self) -> list[int]:
        """Indexes of the open alerts."""
        return [alert["index"] for alert in self.server.admin.get("/alerts").json()["alerts"]]

    def close(self, alert: int) -> None:
        """Carla closes it."""
        carla = self.server.client(self.carla.key)
        carla.http.post(f"{carla.t}/alerts/{alert}/close", json={"reason": "Seen."}).raise_for_status()


def texts(message: Json) -> str:
    """Everything that a message in Slack shows."""
    return json.dumps(message["blocks"])


def begun(slack: FakeSlack) -> list[Json]:
    """Messages in the channel that are no replies."""
    return [message for message in slack.cards(SLACK) if "thread_ts" not in message]


def replies(slack: FakeSlack) -> list[Json]:
    """Replies in the channel."""
    return [message for message in slack.cards(SLACK) if "thread_ts" in message]


@pytest.fixture
def slack() -> Iterator[FakeSlack]:
    """A strict Slack, which found nothing to forgive at the end."""
    with FakeSlack() as slack:
        slack.channel(SLACK)
        yield slack
        assert slack.violations == []


@pytest.fixture
def desk(slack: FakeSlack, tmp_path: Path) -> Iterator[Told]:
    """The channel is in Slack."""
    desk = Told(tmp_path, {"slack.acme-slack": connection(tmp_path, slack)}, ("acme-slack", SLACK))
    yield desk
    desk.server.__exit__()


def test_p19_a_channel_is_told_once_and_a_close_is_a_reply(desk: Told, slack: FakeSlack) -> None:
    """One message for an alert, whatever restarts come; its close is in its thread. After that work goes on."""
    (alert,) = desk.steals()
    until("a message", lambda: begun(slack))
    desk.restart(kill=True)
    desk.restart()
    (message,) = begun(slack)
    shown = texts(message)
    assert f"{alert}: theft, agent payments-bot of gw-1" in shown and "alert list" in shown and "verdict deny" in shown
    assert not any(block["type"] == "actions" for block in message["blocks"]), "nothing to click"
    desk.close(alert)
    (reply,) = until("a reply", lambda: replies(slack))
    assert reply["thread_ts"] == message["ts"] and f"{alert}, by p-carla" in texts(reply)
    desk.restart(kill=True)
    # Nothing is doubled, and the next alert has a message of its own.
    (second,) = desk.steals()
    until("a second message", lambda: len(begun(slack)) == 2)
    assert f"{second}: theft" in texts(begun(slack)[1]) and len(replies(slack)) == 1
    desk.server.stop()
    desk.server.fsck().ok()


def test_p19_a_storm_of_alerts_makes_few_messages(desk: Told, slack: FakeSlack) -> None:
    """40 alerts are told in a few messages, each alert once; that they are closed is told in a few replies."""
    began = time.monotonic()
    alerts = desk.steals(40)

    def counted() -> int:
        titles = [message["text"] for message in begun(slack)]
        return sum(1 if title == "An alert" else int(title.split()[0]) for title in titles)

    until("all are told", lambda: counted() == 40, 120)
    assert len(begun(slack)) <= 2 + (time.monotonic() - began) / 30
    for alert in alerts:
        desk.close(alert)

    def closed() -> int:
        return sum(int((re.findall(r"^\d+", reply["text"]) or ["1"])[0]) for reply in replies(slack))

    until("all closes are told", lambda: closed() == 40, 120)
    assert len(replies(slack)) <= 2 * len(begun(slack)) + (time.monotonic() - began) / 2
    assert counted() == 40


@pytest.mark.parametrize("trouble", [("lost", {"seconds": 30}), ("status", {"code": 503}), ("ratelimited", {"retry_after": 1})])
def test_p19_a_message_without_an_answer_is_found_again(desk: Told, slack: FakeSlack, trouble: tuple[str, dict[str, Any]]) -> None:
    """Slack takes a message and never answers, and the server is killed then; or it is away. One message comes."""
    kind, options = trouble
    slack.trouble("chat.postMessage", kind, **options)
    (alert,) = desk.steals()
    until("it was asked", lambda: slack.called("chat.postMessage"))
    if kind == "lost":
        until("it was posted", lambda: begun(slack))
        desk.restart(kill=True)
    desk.close(alert)
    (reply,) = until("the close is told, so the message is known", lambda: replies(slack), 120)
    (message,) = begun(slack)
    assert reply["thread_ts"] == message["ts"]


def test_p19_a_channel_that_refuses_is_red_and_counted(desk: Told, slack: FakeSlack) -> None:
    """The app is not in the channel: health and metrics say so, with Slack's words, until it takes a message."""
    assert desk.messages() == {"accepted": 0, "refused": 0, "failed": 0, "refuses": 0}
    slack.channel(SLACK, member=False)
    (alert,) = desk.steals()
    until("the refusal to be counted", lambda: desk.messages() == {"accepted": 0, "refused": 1, "failed": 0, "refuses": 1})
    health = desk.health()
    assert health["status"] == "red" and health["channels_refusing"] == 1
    (trouble,) = (one for tenant in health["tenants"] for one in tenant["troubles"] if one["code"] == "channel_refuses")
    assert "security is not told of alerts since" in trouble["detail"] and "not_in_channel" in trouble["detail"]
    slack.channel(SLACK)
    desk.restart()  # it would try again in a minute
    until("it is told", lambda: desk.messages() == {"accepted": 1, "refused": 0, "failed": 0, "refuses": 0})
    assert desk.health()["channels_refusing"] == 0 and len(begun(slack)) == 1
    # Nobody answers: that is counted, and no alarm yet.
    slack.trouble("chat.postMessage", "status", code=503)
    desk.close(alert)
    until("the failure to be counted", lambda: desk.messages()["failed"] == 1)
    assert desk.health()["channels_refusing"] == 0


def test_p19_in_teams_a_close_is_in_the_thread(tmp_path: Path) -> None:
    """A message in a channel begins a thread, and the close is in it."""
    with FakeBot() as bot:
        (tmp_path / "password").write_text(next(iter(bot.passwords)))
        desk = Told(tmp_path, {"teams.acme-teams": bot.section("acme", [tmp_path / "password"])}, ("acme-teams", TEAMS))
        with desk.server:
            (alert,) = desk.steals()
            (first,) = until("a message", bot.posted)
            assert first[0].startswith(f"{TEAMS};messageid=") and f"{alert}: theft, agent payments-bot" in json.dumps(bot.card(first))
            desk.close(alert)
            until("a reply", lambda: len(bot.posted()) == 2)
            second = bot.posted()[1]
            assert second[0] == first[0] and f"{alert}, by p-carla" in json.dumps(bot.card(second))
            assert bot.wrong == []


def test_a_channel_that_the_rules_do_not_have_is_a_mistake(desk: Told) -> None:
    """`check-config` names it; the server goes on without it, and says so."""
    desk.server.run("check-config").ok()
    desk.watch.write_text('channels = ["nowhere"]\n')
    checked = desk.server.run("check-config")
    assert checked.code != 0 and "channels.nowhere" in checked.err
    desk.restart()
    desk.steals()
    until("it says so", lambda: "watch.toml names a channel" in desk.server.log)
    assert "channel_refuses" in json.dumps(desk.health()) and "no such channel" in json.dumps(desk.health())
    desk.watch.write_text(f"channels = {['x'] * 9}\n")
    desk.server.stop()
    ended = desk.server.run("serve")
    assert ended.code != 0 and "channels" in ended.err + desk.server.log
