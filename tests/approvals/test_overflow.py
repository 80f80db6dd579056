"""The overflow card: a channel takes ten new cards a minute. One card counts what the channel was not shown, names the most important
of it, and stays true (P13)."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from botbuilder.schema import Activity
from slack_sdk.models.blocks import Block
from test_slack_refusals import cancel
from test_teams import CHANNELS as TEAMS_CHANNELS
from test_teams import Office as Teams

from support import until
from support.desk import as_text
from support.fakebot import FakeBot
from support.fakeslack import FakeSlack
from support.slack_office import CHANNELS, Office, rules
from support.teams_limits import message_wrong

DISPLAY = """
[[display]]
tool = "payments"
title = "{amount} to {/to}"
amount = {minor = "/amount", currency = "/currency"}
"""
#: `A&B <Ltd>` as Slack wants it; quoted, because it has a sign of markup.
LTD = "\u201cA&amp;B &lt;Ltd&gt;\u201d"
#: A burst is over after a minute (`BURST_WINDOW`).
BURST_SECONDS = 60


def call(amount: int, currency: str = "EUR", to: str = "Nordwind GmbH") -> dict[str, Any]:
    """A payment."""
    return {"amount": amount, "currency": currency, "to": to}


def overflows(slack: FakeSlack) -> list[dict[str, Any]]:
    """The overflow cards of the channel, oldest first."""
    return [card for card in slack.cards(CHANNELS[0]) if card["metadata"]["event_payload"]["approval_id"].startswith("more-")]


def title(card: dict[str, Any]) -> str:
    """What it says first."""
    return str(card["blocks"][0]["text"]["text"])


def named(card: dict[str, Any]) -> list[str]:
    """The calls on it: the first line of each section that has a button."""
    return [block["text"]["text"].split("\n")[0] for block in card["blocks"] if "accessory" in block]


def says(slack: FakeSlack, words: str) -> dict[str, Any]:
    """The newest overflow card, once its title says this."""
    until(f"the overflow card says {words!r}", lambda: bool(overflows(slack)) and title(overflows(slack)[-1]) == words)
    return overflows(slack)[-1]


def pause(office: Office, params: dict[str, Any]) -> str:
    """A call for the first channel."""
    approval = office.paused(params=params, data={"labels": {"channel": "c0"}})
    office.channels[approval] = CHANNELS[0]
    return approval


def test_p13_slack_has_one_overflow_card_that_names_the_most_important_and_stays_true(tmp_path: Path) -> None:
    with FakeSlack() as slack:
        office = Office(tmp_path / "office", slack)
        try:
            office.desk.write(rules("12s") + DISPLAY, office.people())
            office.desk.apply()
            shown = [pause(office, call(100 + n)) for n in range(10)]
            until("ten cards", lambda: all(office.cards(approval) for approval in shown))
            small = [pause(office, call(200 + n, to="A&B <Ltd>")) for n in range(4)]
            large, yen = pause(office, call(990_000)), pause(office, call(70_000, "JPY"))
            card = says(slack, "6 calls wait that are not shown here")
            # The largest of each currency first.
            want = ["EUR 9,900.00 to Nordwind GmbH", "JPY 70,000 to Nordwind GmbH", *(f"EUR 2.0{n} to {LTD}" for n in (3, 2, 1))]
            until("the last one is counted", lambda: sorted(named(overflows(slack)[-1])) == sorted(want))
            card = overflows(slack)[-1]
            assert set(named(card)[:2]) == set(want[:2]) and named(card)[2:] == want[2:]
            assert card["text"].startswith("6 calls wait that are not shown here: ") and "Nordwind" in card["text"]
            links = [block["accessory"]["url"] for block in card["blocks"] if "accessory" in block]
            assert large in " ".join(links[:2]) and len(set(links)) == 5, "each leads to its page"
            assert "value" not in json.dumps(card["blocks"]), "nothing is approved by the dozen"
            for block in card["blocks"]:
                Block.parse(block).validate_json()  # type: ignore[union-attr]
            # Calls end: it follows, also after a restart.
            cancel(office, large)
            assert not any("9,900" in line for line in named(says(slack, "5 calls wait that are not shown here")))
            office.server.restart()
            for approval in (yen, *small[:3]):
                cancel(office, approval)
            # The worker that started learns what is left out call by call: the card is true once it knows all.
            until("one is left", lambda: named(says(slack, "1 call waits that is not shown here")) == [f"EUR 2.03 to {LTD}"])
            cancel(office, small[3])
            over = says(slack, "No call waits that was not shown here")
            assert named(over) == [] and len(overflows(slack)) == 1 and len(slack.channel(CHANNELS[0]).messages) == 11
            assert [office.events(approval) for approval in shown] == [["requested"]] * 10, "those that have cards wait"
            assert slack.violations == []
            office.server.stop()
            office.server.fsck().ok()
        finally:
            office.server.__exit__()


def test_p13_a_later_burst_has_a_card_of_its_own_and_the_older_one_says_so(tmp_path: Path) -> None:
    with FakeSlack() as slack:
        office = Office(tmp_path / "office", slack)
        try:
            first = [pause(office, call(100 + n)) for n in range(10)]
            until("ten cards", lambda: all(office.cards(approval) for approval in first))
            for n in range(2):
                pause(office, call(200 + n))
            says(slack, "2 calls wait that are not shown here")
            posted = time.monotonic()
            until("the burst is over", lambda: time.monotonic() - posted > BURST_SECONDS, 2 * BURST_SECONDS)
            for approval in first:
                cancel(office, approval)
            for n in range(11):
                pause(office, call(300 + n))
            # It counts what the channel was not shown, whenever that was.
            says(slack, "3 calls wait that are not shown here")
            older, newer = overflows(slack)
            assert title(older) == "A newer message counts the calls that wait" and named(older) == [] and len(named(newer)) == 3
            # Not told of it by a sound: what the owner reads of ends is in direct messages.
            assert slack.violations == []
        finally:
            office.server.__exit__()


def test_p13_where_lock_screens_say_nothing_the_overflow_card_names_no_call_there(tmp_path: Path) -> None:
    with FakeSlack() as slack:
        office = Office(tmp_path / "office", slack)
        try:
            short = rules("12s").replace(f'to = "{CHANNELS[0]}"\n', f'to = "{CHANNELS[0]}"\nnotify = "short"\n')
            office.desk.write(short + DISPLAY, office.people())
            office.desk.apply()
            for n in range(11):
                pause(office, call(100 + n))
            card = says(slack, "1 call waits that is not shown here")
            assert card["text"] == title(card) and len(named(card)) == 1
        finally:
            office.server.__exit__()


def overflow(bot: FakeBot) -> tuple[tuple[str, str], dict[str, Any]] | None:
    """Place and content of the overflow card in Teams."""
    return next(((at, bot.card(at)) for at in bot.posted() if "Open the inbox" in as_text(bot.card(at))), None)


def test_p13_teams_has_one_overflow_card_that_stays_true(tmp_path: Path) -> None:
    with FakeBot() as bot:
        office = Teams(tmp_path / "office", bot)
        try:
            office.desk.write(office.rules + DISPLAY, office.people())
            office.desk.apply()

            def ask(amount: int) -> str:
                # Sixteen channels in turn: the first of each round.
                while next(office.calls) % len(TEAMS_CHANNELS) != len(TEAMS_CHANNELS) - 1:
                    pass
                return office.ask(call(amount, to="**Nord** [x](http://evil.example) {{DATE(2026)}}"))

            approvals = [ask(100 * n) for n in range(1, 13)]
            until("two are left out", lambda: (found := overflow(bot)) is not None and "2 calls wait" in as_text(found[1]))
            at, card = overflow(bot) or (("", ""), {})
            text = as_text(card)
            assert message_wrong(bot.messages[at][-1]) == [] and Activity().deserialize(bot.messages[at][-1])
            assert text.count("EUR ") >= 2 and "Review" in text and "{{DATE(2026)" not in text
            assert {action["type"] for action in card["actions"]} == {"Action.OpenUrl"}
            left = [approval for approval in approvals if approval in text]
            assert len(left) == 2, text
            for approval, words in zip(left, ("1 call waits that is not shown here", "No call waits that was not shown here"), strict=True):
                publisher = office.server.as_("publisher")
                publisher.http.post(f"{publisher.t}/approvals/{approval}/cancel", json={"reason": "not_needed"}).raise_for_status()
                until(words, lambda: words in as_text(bot.card(at)))  # noqa: B023: called at once
            assert bot.wrong == []
        finally:
            office.server.__exit__()


def test_p13_teams_gets_the_overflow_card_again_after_no_answer_and_after_a_refusal(tmp_path: Path) -> None:
    """What it says must come true as soon as the chat takes an edit again, without another call that changes the number."""
    with FakeBot() as bot:
        office = Teams(tmp_path / "office", bot)
        try:
            def ask(amount: int) -> str:
                while next(office.calls) % len(TEAMS_CHANNELS) != len(TEAMS_CHANNELS) - 1:
                    pass
                return office.ask(call(amount))

            approvals = [ask(100 * n) for n in range(1, 14)]
            until("three are left out", lambda: (found := overflow(bot)) is not None and "3 calls wait" in as_text(found[1]))
            at, card = overflow(bot) or (("", ""), {})
            text = as_text(card)
            left = [approval for approval in approvals if approval in text]
            faults: list[dict[str, Any]] = [{"status": 500}, {"status": 404, "code": "Elsewhere"}, {"hang": 20.0}]
            words = ("2 calls wait", "1 call waits", "No call waits")
            for approval, fault, said in zip(left, faults, words, strict=True):
                tried = len(bot.calls)
                bot.fail(method="PUT", **fault)
                publisher = office.server.as_("publisher")
                publisher.http.post(f"{publisher.t}/approvals/{approval}/cancel", json={"reason": "not_needed"}).raise_for_status()
                until(f"the edit failed with {fault}", lambda: bot.faults.empty())
                until(f"{said} after {fault}", lambda: said in as_text(bot.card(at)), 90)  # noqa: B023: called at once
                assert [edit.method for edit in bot.calls[tried:] if edit.path.endswith(at[1])][:2] == ["PUT", "PUT"]
            assert bot.wrong == []
        finally:
            office.server.__exit__()


def test_p13_a_webhook_gets_the_number_alone(tmp_path: Path) -> None:
    with FakeBot() as bot, FakeBot() as flow:
        office = Teams(tmp_path / "office", bot, flow=flow)
        try:
            for n in range(11):
                while next(office.calls) % len(TEAMS_CHANNELS) != len(TEAMS_CHANNELS) - 1:
                    pass
                office.ask(call(100 * n + 100))
            until("a number", lambda: any("Open the inbox" in as_text(json.loads(caught.body)) for caught in flow.caught))
            text = as_text(json.loads(flow.caught[-1].body))
            assert "1 call waits that is not shown here" in text and "Nordwind" not in text and "apr-" not in text
            assert len(flow.caught) == 11
        finally:
            office.server.__exit__()


def test_p10_a_question_reaches_the_channel_of_a_webhook_without_names_or_values(tmp_path: Path) -> None:
    """A webhook has no threads: what is said there names the call by tool and action, and nobody."""
    with FakeBot() as bot, FakeBot() as flow:
        office = Teams(tmp_path / "office", bot, flow=flow)
        try:
            approval = office.ask()
            until("a card", lambda: flow.caught)
            reviewer = office.server.client(office.server.add_key(["reviewer"], person="p-ana"))
            digest = reviewer.get(f"/approvals/{approval}").json()["call"]["digest"]
            asked = reviewer.http.post(f"{reviewer.t}/approvals/{approval}/questions", json={"digest": digest, "text": "Which order is it?"})
            assert asked.status_code in (200, 201), asked.text
            until("the question", lambda: len(flow.caught) >= 2)
            text = as_text(json.loads(flow.caught[1].body))
            assert "Question 1 was asked" in text and "payments \u00b7 transfer" in text and approval in text
            assert not [word for word in ("Ana", "Which order", "1,250", "DE021203") if word in text], text
        finally:
            office.server.__exit__()
