"""What Teams refuses and an operator can heal: cards are brought right afterwards, and what failed is told once."""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import until
from support.desk import as_text
from support.fakebot import FakeBot
from support.teams_limits import presses
from test_teams import Office

#: The first pause after a refusal is 30 s, the longest 300 s.
HEALED_SECONDS = 330.0


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """An office of one test."""
    with FakeBot() as bot:
        office = Office(tmp_path, bot)
        yield office
        assert not bot.caught
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
    for index, leaf in discloser.feed(kind="evidence"):
        if approval not in (None, json.loads(leaf)["event"].get("approval_id")):
            continue
        for disclosure in filter(None, discloser.disclosures(index).splitlines()):
            _, name, value = json.loads(disclosure)
            if name == "card":
                found.append(f"{value['op']} {value.get('code', '')}".strip())
    return found


def buttons(office: Office, at: tuple[str, str]) -> list[str]:
    """Verbs of a card's buttons as it is shown now; empty for the link."""
    card = office.bot.card(at)
    return [press["verb"] for press in presses(card)] + [""] * any(action["type"] == "Action.OpenUrl" for action in card["actions"])


def sent(office: Office, method: str) -> list[int]:
    """What calls with cards were answered."""
    return [call.status for call in office.bot.calls if call.method == method]


def test_p9_no_button_stays_after_an_update_was_refused(office: Office) -> None:
    """Whatever an operator heals: the bot was taken out of the team, blocked, not licensed; and what looks like a wrong card."""
    codes = {403: "BotNotInConversationRoster", 404: "ConversationNotFound", 401: "Unauthorized", 400: "BadArgument"}
    asked = {status: office.asked() for status in codes}
    for status, code in codes.items():
        approval, at = asked[status]
        assert {"approve", "deny"} <= set(buttons(office, at))
        # A token that is not taken is fetched anew once; a card that is not taken becomes a link.
        office.bot.fail(status, times=2 if status in (400, 401) else 1, code=code)
        cancel(office, approval)
        until(f"{status} was answered", office.bot.faults.empty)
    for status, code in codes.items():
        approval, at = asked[status]
        office.shows(at, "Cancelled", HEALED_SECONDS)
        assert buttons(office, at) == [""], status
        until("the log knows", lambda: "updated" in steps(office, approval))  # noqa: B023: called at once
        told = steps(office, approval)
        assert told.count(f"refused {status} {code}") == 1 and told.count("updated") == 1, told
        assert sum(approval in as_text(message) for message in office.bot.messages.values()) == 1, "nobody is asked anew about what is over"


def test_p9_no_button_stays_after_a_password_was_refused(office: Office) -> None:
    """The app's password ran out: every card waits, and is brought right once there is a new one."""
    asked = [office.asked() for _ in range(2)]
    right, office.bot.passwords = office.bot.passwords, set()
    office.bot.tokens.clear()
    for approval, _ in asked:
        cancel(office, approval)
    tries = len(office.bot.token_requests)
    refused = "refused the app's password: 401 invalid_client"
    for approval, _ in asked:
        until("it is told", lambda: refused in steps(office, approval))  # noqa: B023: called at once
    assert len(office.bot.token_requests) >= tries
    office.bot.passwords = right
    for approval, at in asked:
        office.shows(at, "Cancelled", HEALED_SECONDS)
        assert buttons(office, at) == [""]
        until("the log knows", lambda: "updated" in steps(office, approval))  # noqa: B023: called at once
        assert steps(office, approval).count(refused) == 1


def test_a_channel_that_refuses_is_told_of_once_for_each_reason(office: Office) -> None:
    """Twelve cards wait for one channel: two reasons are two entries, and none is written for a retry."""
    office.bot.fail(403, times=2, code="BotNotInConversationRoster")
    office.bot.fail(404, code="TeamNotFound")
    waiting = []
    for _ in range(12):
        office.calls = itertools.count()  # the same channel every time
        waiting.append(office.ask(agent=f"agent-{uuid.uuid4()}"))
    until("three tries", lambda: len(sent(office, "POST")) >= 3, HEALED_SECONDS)
    until("it is told", lambda: "refused 404 TeamNotFound" in steps(office))
    assert steps(office) == ["planned", "refused 403 BotNotInConversationRoster", "refused 404 TeamNotFound"]
    # Healed: everything that waited is there.
    until("all is told", lambda: sum(step in ("posted", "in_digest") for step in steps(office)) >= len(waiting), HEALED_SECONDS)
    told = steps(office)
    assert told.count("posted") == 10 and told.count("in_digest") == 2
    assert len(office.bot.posted()) == 11, "ten cards and a link"
    assert [step for step in told if step.startswith("refused")] == ["refused 403 BotNotInConversationRoster", "refused 404 TeamNotFound"]
    assert [office.desk.kinds(approval) for approval in waiting] == [["requested"]] * 12


@pytest.mark.parametrize("status", [500, 503])
def test_a_chat_that_is_away_costs_no_entry_for_a_retry(office: Office, status: int) -> None:
    """One claim, and then where it is."""
    office.bot.fail(status, times=4)
    approval = office.ask()
    until("a card", lambda: office.where(approval), HEALED_SECONDS)
    until("the log knows", lambda: steps(office, approval)[-1:] == ["posted"])
    assert sent(office, "POST") == [status] * 4 + [201]
    assert steps(office, approval) == ["planned", "posted"]


@pytest.mark.parametrize(("status", "code"), [(413, "MessageSizeTooBig"), (400, "BadSyntax")])
def test_p9_a_card_that_teams_does_not_take_becomes_a_link(office: Office, status: int, code: str) -> None:
    """At once: nothing has to be healed."""
    approval, at = office.asked()
    office.bot.fail(status, code=code)
    cancel(office, approval)
    office.shows(at, "Cancelled")
    assert buttons(office, at) == [""]
    assert sent(office, "PUT") == [status, 200]
    assert not [step for step in steps(office) if step.startswith("refused")]


def test_a_card_that_people_deleted_is_let_be_once_it_is_over(office: Office) -> None:
    approval, at = office.asked()
    del office.bot.messages[at]
    cancel(office, approval)
    until("it is told", lambda: steps(office, approval)[-1] == "gone")
    other, _ = office.asked()  # later than whatever would follow
    assert not office.where(approval) and office.where(other)
    assert sent(office, "PUT") == [404]
