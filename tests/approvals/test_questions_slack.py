"""What Slack learns of a question: that there is one, and that it was answered."""

from __future__ import annotations

import json
from pathlib import Path

from support import until
from support.fakeslack import FakeSlack
from support.slack_office import Office


def test_a_question_is_told_in_the_thread_and_to_the_owner(tmp_path: Path) -> None:
    """That somebody asked, and that it was answered; the words are only on the page."""
    with FakeSlack() as slack:
        office = Office(tmp_path / "office", slack)
        try:
            approval = office.asked()
            bob = office.server.client(office.server.add_key(["reviewer"], person="p-bob"))
            call = bob.get(f"/approvals/{approval}").json()
            words = {"digest": call["call"]["digest"], "text": "Which invoice is it?"}
            assert bob.http.post(f"{bob.t}/approvals/{approval}/questions", json=words).status_code == 200
            channel, direct = office.slack.channel(office.channels[approval]), office.slack.channel("D" + office.ana.id[1:])
            card = office.card(approval)
            replies = lambda: [m["text"] for m in channel.messages if m.get("thread_ts") == card["ts"]]  # noqa: E731
            until("the thread has it", lambda: replies() == ["Bob Ito asked question 1"])
            until("Ana is told", lambda: direct.messages)
            assert direct.messages[0]["text"] == "Bob Ito asks about a call of your agent"
            button = direct.messages[0]["blocks"][-1]["elements"][0]
            assert button["url"].endswith(f"/approvals/{approval}/questions")
            enforcer = office.server.client(office.server.add_key(["enforcer"], producer="gw-1"))
            answer = enforcer.http.post(f"{enforcer.t}/approvals/{approval}/questions/1/answer", json={"text": "RE-2088"})
            assert answer.status_code == 200, answer.text
            until("the answer too", lambda: replies() == ["Bob Ito asked question 1", "The gateway answered question 1 of Bob Ito"])
            sent = json.dumps([*channel.messages, *direct.messages])
            assert "invoice" not in sent and "RE-2088" not in sent
            # The card is of the new version: a click on it counts.
            office.click(approval, "approve", office.bob)
            office.shows(approval, "Approved, not redeemed yet")
            until("Ana is told the end", lambda: len(direct.messages) == 2)
            assert len(replies()) == 2, "each is said once"
            assert slack.violations == []
        finally:
            office.server.__exit__()
