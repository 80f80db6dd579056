"""What Slack refuses and an operator can heal: cards are brought right afterwards, and what failed is told once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support import until
from support.fakeslack import FakeSlack
from support.slack_office import CHANNELS, Office

#: The first pause after a refusal is 30 s, the longest 300 s.
HEALED_SECONDS = 330.0


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """An office of one test."""
    with FakeSlack() as slack:
        office = Office(tmp_path, slack)
        yield office
        assert slack.violations == []
        office.server.stop()
        office.server.fsck().ok()
        office.server.__exit__()


def cancel(office: Office, approval: str) -> None:
    """By its gateway."""
    publisher = office.server.as_("publisher")
    answer = publisher.http.post(f"{publisher.t}/approvals/{approval}/cancel", json={"reason": "not_needed"})
    assert answer.status_code == 200, answer.text


def steps(office: Office, approval: str | None = None) -> list[str]:
    """What the log tells of cards, in order: `<op>` or `<op> <code>`."""
    discloser = office.server.as_("discloser")
    found = []
    for index, leaf in office.server.admin.feed():
        entry = json.loads(leaf)
        if entry["kind"] != "evidence" or approval not in (None, entry["event"].get("approval_id")):
            continue
        for disclosure in filter(None, discloser.disclosures(index).splitlines()):
            _, name, value = json.loads(disclosure)
            if name == "card":
                found.append(f"{value['op']} {value.get('code', '')}".strip())
    return found


def test_p9_no_button_stays_after_an_update_was_refused(office: Office) -> None:
    """Whatever an operator heals: a token, an invitation, a scope, an archived channel, the bot's own rights."""
    codes = ["invalid_auth", "token_revoked", "not_in_channel", "missing_scope", "is_inactive", "cant_update_message"]
    asked = {code: office.asked() for code in codes}
    for code, approval in asked.items():
        office.slack.trouble("chat.update", "error", code=code)
        calls = len(office.slack.called("chat.update"))
        cancel(office, approval)
        until(f"{code} was answered", lambda: len(office.slack.called("chat.update")) > calls)  # noqa: B023: called at once
    for code, approval in asked.items():
        office.shows(approval, "Cancelled", HEALED_SECONDS)
        assert office.buttons(approval) == ["open"], code
        until("the log knows", lambda: "updated" in steps(office, approval))  # noqa: B023: called at once
        told = steps(office, approval)
        # Whoever owns the agent is told beside the card.
        assert told.count(f"refused {code}") == 1 and told.count("updated") == 1, told
        assert len(office.cards(approval)) == 1, "nobody is asked anew about what is over"


def test_a_channel_that_refuses_is_told_of_once_for_each_reason(office: Office) -> None:
    """Twelve cards wait for one channel: two reasons are two entries, and none is written for a retry."""
    office.slack.trouble("chat.postMessage", "error", times=2, code="is_archived")
    office.slack.trouble("chat.postMessage", "error", times=1, code="channel_not_found")
    waiting = [office.paused(data={"labels": {"channel": "c0"}}) for _ in range(12)]
    until("three tries", lambda: len(office.slack.called("chat.postMessage")) >= 3, HEALED_SECONDS)
    until("it is told", lambda: "refused channel_not_found" in steps(office))
    assert steps(office) == ["planned", "refused is_archived", "refused channel_not_found"]
    # Healed: everything that waited is there.
    until("ten cards and a link", lambda: len(office.slack.channel(CHANNELS[0]).messages) >= 11, HEALED_SECONDS)
    until("all is told", lambda: sum(step in ("posted", "in_digest") for step in steps(office)) >= len(waiting), HEALED_SECONDS)
    told = steps(office)
    assert told.count("posted") == 10 and told.count("in_digest") == 2
    assert [step for step in told if step.startswith("refused")] == ["refused is_archived", "refused channel_not_found"]
    assert [office.events(approval) for approval in waiting] == [["requested"]] * 12


def test_a_chat_that_is_away_costs_no_entry_for_a_retry(office: Office) -> None:
    """One claim, and then where it is."""
    office.slack.trouble("chat.postMessage", "status", times=4, code=503)
    approval = office.paused()
    until("a card", lambda: office.cards(approval), HEALED_SECONDS)
    until("the log knows", lambda: steps(office, approval)[-1:] == ["posted"])
    assert len(office.slack.called("chat.postMessage")) >= 5
    assert steps(office, approval) == ["planned", "posted"]


@pytest.mark.parametrize("code", ["msg_too_long", "msg_blocks_too_long", "invalid_blocks"])
def test_p9_a_card_that_slack_finds_too_long_becomes_a_link(office: Office, code: str) -> None:
    """At once: nothing has to be healed."""
    approval = office.asked()
    office.slack.trouble("chat.update", "error", code=code)
    cancel(office, approval)
    office.shows(approval, "Cancelled")
    assert office.buttons(approval) == ["open"]
    office.slack.trouble("chat.postMessage", "error", code=code)
    other = office.asked()
    assert office.buttons(other) == ["open"]
    assert not [step for step in steps(office) if step.startswith("refused")]


def test_a_card_that_people_deleted_is_let_be_once_it_is_over(office: Office) -> None:
    approval = office.asked()
    office.slack.delete(office.channels[approval], office.card(approval)["ts"])
    cancel(office, approval)
    until("it is told", lambda: steps(office, approval)[-1] == "gone")
    other = office.asked()  # later than whatever would follow
    assert not office.cards(approval) and office.cards(other)
    assert len(office.slack.called("chat.update")) == 1


# whoever clicks is told


def other_host(payload: dict[str, Any]) -> None:
    payload.update(response_url="https://hooks.slack-gov.com/actions/T1/1/x")


def none(payload: dict[str, Any]) -> None:
    payload.pop("response_url")


def nonsense(payload: dict[str, Any]) -> None:
    payload.update(response_url="not a URL")


def used_up(_: dict[str, Any]) -> None:
    """The office's Slack has forgotten it."""


def click(office: Office, change: Callable[[dict[str, Any]], None]) -> httpx.Response:
    """By Eva, who is linked to nobody."""
    payload = office.payload(office.asked(), "approve", office.eva)
    change(payload)
    if change is used_up:
        office.slack.responses.clear()
    return office.clicks.send(payload)


@pytest.mark.parametrize("change", [other_host, none, nonsense, used_up])
def test_whoever_can_not_be_told_by_the_response_url_is_told_otherwise(
        office: Office, change: Callable[[dict[str, Any]], None]) -> None:
    assert click(office, change).status_code == 200
    (told,) = office.slack.told(office.eva.id)
    assert "not linked" in told
    assert len(office.slack.called("chat.postEphemeral")) == 1
    # Where that is refused too: in a direct message.
    office.slack.trouble("chat.postEphemeral", "error", code="user_not_in_channel")
    assert click(office, change).status_code == 200
    direct = office.slack.channel("D" + office.eva.id[1:])
    assert "not linked" in direct.messages[-1]["text"]
    # And where nothing is taken, Slack itself shows that something went wrong.
    before = time.monotonic()
    office.slack.trouble("chat.postEphemeral", "error", code="user_not_in_channel")
    payload = office.payload(office.asked(), "approve", office.eva)
    change(payload)
    if change is used_up:
        office.slack.responses.clear()
    office.slack.trouble("chat.postMessage", "error", code="channel_not_found")
    answer = office.clicks.send(payload)
    assert answer.status_code == 503, (answer.text, time.monotonic() - before)
