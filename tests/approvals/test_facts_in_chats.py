"""Cards say what the page says of earlier calls: of those alone that were asked of the same people through the same channel (P7)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from test_teams import CHANNELS as TEAMS_CHANNELS
from test_teams import Office as Teams

from support import until
from support.desk import as_text
from support.fakebot import FakeBot
from support.fakeslack import FakeSlack
from support.slack_office import CHANNELS, Office, rules

DISPLAY = """
[[display]]
tool = "payments"
title = "{amount} to {/to}"
amount = {minor = "/amount", currency = "/currency"}
lead = ["/invoice", "/due"]
kinds = {"/to" = "account"}
"""
PAID: dict[str, Any] = {"amount": 77_700, "currency": "EUR", "to": "Facts GmbH", "invoice": "F-1", "due": "2020-01-31"}
TWICE = "The same amount to the same account as an earlier call of another agent (waiting): \u201cInvoice F-1\u201d, asked "


def test_p7_a_card_in_slack_says_what_is_known_to_its_channel(tmp_path: Path) -> None:
    with FakeSlack() as slack:
        office = Office(tmp_path / "office", slack)
        try:
            office.desk.write(rules("12s") + DISPLAY, office.people())
            office.desk.apply()

            def facts(channel: int) -> list[str]:
                approval = office.paused(params=PAID, data={"labels": {"channel": f"c{channel}"}})
                office.channels[approval] = CHANNELS[channel]
                blocks = office.card(approval)["blocks"]
                texts = [block["text"]["text"] for block in blocks if block["type"] == "section" and "text" in block]
                return [text for text in texts if "same amount" in text or "passed" in text]

            first = facts(1)
            assert len(first) == 1 and re.fullmatch(r"Due: 31 Jan 2020, passed \d+ days ago", first[0]), first
            assert not [fact for fact in facts(2) if "same amount" in fact], "another channel was not asked about the first"
            assert facts(1)[0].startswith(f"\u26a0 {TWICE}")
            assert slack.violations == []
        finally:
            office.server.__exit__()


def test_p7_a_card_in_teams_says_what_is_known_to_its_channel(tmp_path: Path) -> None:
    with FakeBot() as bot:
        office = Teams(tmp_path / "office", bot)
        try:
            office.desk.write(office.rules + DISPLAY, office.people())
            office.desk.apply()

            def text(params: dict[str, Any]) -> str:
                while next(office.calls) % len(TEAMS_CHANNELS) != len(TEAMS_CHANNELS) - 1:
                    pass
                approval = office.ask(params)
                return as_text(bot.card(until("a card", lambda: office.where(approval))))

            assert "passed" in (first := text(PAID)) and "same amount" not in first
            assert TWICE in text(PAID)
            assert bot.wrong == []
        finally:
            office.server.__exit__()
