"""The thread of a card: who answered, half of the time, and who is still asked, by mentions. One card a call; who answered and who
owns the agent is not called again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from botbuilder.schema import Activity
from slack_sdk.models.blocks import Block
from test_teams import Office as Teams
from test_teams import card_of

from support import until
from support.desk import as_text
from support.fakebot import FakeBot
from support.fakeslack import FakeSlack
from support.slack_office import CHANNELS, Office


def replies(office: Office, approval: str) -> list[dict[str, Any]]:
    """What is in the thread of the card."""
    channel, card = office.slack.channel(office.channels[approval]), office.card(approval)
    return [message for message in channel.messages if message.get("thread_ts") == card["ts"]]


def said(office: Teams, approval: str) -> list[dict[str, Any]]:
    """The words about an approval in Teams, oldest first: their button has other words than a card's."""
    cards = [office.bot.card(at) for at in office.bot.posted()]
    return [card for card in cards if approval in as_text(card) and "Open in browser" in as_text(card)]


def test_slack_learns_in_the_thread_who_answered_and_half_of_the_time(tmp_path: Path) -> None:
    with FakeSlack() as slack:
        office = Office(tmp_path / "office", slack, soon="16s")
        try:
            approval = office.asked("big")
            office.click(approval, "approve", office.bob)
            until("a reply", lambda: replies(office, approval))
            [reply] = replies(office, approval)
            text = json.dumps(reply, ensure_ascii=False)
            assert reply["text"] == "Bob Ito approved" and "Still needed: 1 of finance, by " in text
            assert f"<@{office.cem.id}>" in text, "who is still asked hears it"
            assert not [m for m in (office.bob, office.ana, office.fay) if m.id in text], "the owner, who answered, and who is not asked do not"
            assert "DE02120300000000202051" not in text and "1,250.00" not in text
            for block in reply["blocks"]:
                Block.parse(block).validate_json()  # type: ignore[union-attr]
            soon = office.asked("soon")
            until("half of the time is told", lambda: replies(office, soon))
            [reply] = replies(office, soon)
            text = json.dumps(reply)
            assert reply["text"] == "Half of the time is over" and f"<@{office.bob.id}> <@{office.cem.id}>" in text
            assert len(office.cards(soon)) == 1, "one card a call"
            office.click(approval, "approve", office.cem)
            office.shows(approval, "Approved, not redeemed yet")
            office.shows(soon, "Expired: too few people approved in time")
            assert len(replies(office, approval)) == len(replies(office, soon)) == 1, "each is said once"
            assert slack.violations == []
            office.server.stop()
            office.server.fsck().ok()
        finally:
            office.server.__exit__()


def test_teams_learns_it_too(tmp_path: Path) -> None:
    with FakeBot() as bot:
        office = Teams(tmp_path / "office", bot)
        try:
            approval, at = office.asked(action="big", agent="agent-7")
            card_of(office.click(office.ana, at, "approve"))
            until("a reply", lambda: said(office, approval))
            [reply] = said(office, approval)
            text = as_text(reply)
            assert "Ana Lima approved" in text and "Still needed: 1 of finance, by " in text
            assert "<at>Bob Ito</at>" in text and "Ana Lima</at>" not in text and "Cem Demir" not in text, "Cem owns the agent"
            assert reply["msteams"]["entities"] == [{"type": "mention", "text": "<at>Bob Ito</at>", "mentioned": {"id": office.bob.object_id, "name": "Bob Ito"}}]
            [place] = [place for place in office.bot.posted() if place[0] == at[0] and place != at]
            assert Activity().deserialize(office.bot.messages[place][-1]).type == "message", "in the thread of the card"
            card_of(office.click(office.bob, at, "approve"))
            assert office.desk.kinds(approval)[-1] == "granted" and len(said(office, approval)) == 1
            assert bot.wrong == []
        finally:
            office.server.__exit__()


def test_a_channel_whose_notifications_say_nothing_of_the_call(tmp_path: Path) -> None:
    """Locked screens show them. The card itself is whole."""
    with FakeSlack() as slack:
        office = Office(tmp_path / "office", slack)
        try:
            rules = office.server.sections["approvals"]["dir"] / "acme" / "rules.toml"
            to = f'to = "{CHANNELS[0]}"\n'
            assert to in rules.read_text()
            rules.write_text(rules.read_text().replace(to, f'{to}notify = "short"\n'))
            office.desk.apply()
            short, whole = office.asked(), office.asked()
            assert (office.channels[short], office.channels[whole]) == (CHANNELS[0], CHANNELS[1])
            assert office.card(short)["text"] == "A call waits for 1 of finance"
            assert "125000" in office.card(whole)["text"] and "DE02120300000000202051" in office.card(whole)["text"]
            assert "125000" in json.dumps(office.card(short)["blocks"]) and office.buttons(short)[0] == "approve"
            office.click(short, "deny", office.bob)
            office.shows(short, "Denied")
            assert office.card(short)["text"] == "Denied"
            assert slack.violations == []
        finally:
            office.server.__exit__()


def test_p12_the_owner_is_told_the_outcome_and_no_value_of_the_call(tmp_path: Path) -> None:
    with FakeSlack() as slack:
        office = Office(tmp_path / "office", slack)
        try:
            approval = office.asked()
            office.click(approval, "approve", office.bob)
            office.shows(approval, "Approved, not redeemed yet")
            direct = office.slack.channel("D" + office.ana.id[1:])
            until("Ana is told", lambda: direct.messages)
            # The outcome, and nothing that access.md does not give an owner: no value, no answer, no link to a page of others.
            sent = json.dumps(direct.messages, ensure_ascii=False)
            assert "Approved, not redeemed yet" in sent and "payments" in sent and "You own this agent" in sent
            assert not [words for words in ("DE02120300000000202051", "1,250.00", "125000", "Bob Ito", "/approvals/") if words in sent], sent
            assert not [block for message in direct.messages for block in message["blocks"] if block["type"] == "actions"]
            reviewer = office.server.client(office.server.add_key(["reviewer"], person="p-bob"))
            revoked = reviewer.http.post(f"{reviewer.t}/approvals/{approval}/revoke", json={"reason": "mistake"})
            assert revoked.status_code == 200, revoked.text
            office.shows(approval, "Revoked")
            until("Ana is told that too", lambda: "Revoked" in json.dumps(direct.messages[0]))
            cancelled = office.asked()
            publisher = office.server.as_("publisher")
            answer = publisher.http.post(f"{publisher.t}/approvals/{cancelled}/cancel", json={"reason": "not_needed"})
            assert answer.status_code == 200, answer.text
            office.shows(cancelled, "Cancelled")
            assert office.buttons(cancelled) == ["open"]
        finally:
            office.server.__exit__()
