"""Edge cases of an approval's life, as journeys over HTTP: who answers, with whom, under which rule. What counts
is what stands in the log: `House.close` judges the whole of it (`support/lifecycle.py`), and `countersign fsck` derives it anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support import new_id
from support.edges import RULES, TWO, at_once, people, rule, status
from support.house import House, code


# Answers


def test_l10_a_double_click_is_one_answer(house: House) -> None:
    """The same answer by the same person: 200, and no event; at any time, and from any version."""
    approval = house.pause(action="two")
    version = house.state(approval)["version"]
    for _ in range(2):
        assert house.review(approval, "p-ana", version=version).json()["reviews"][0]["by"] == "p-ana"
    answers = at_once(*[lambda: house.review(approval, "p-bob", version=2) for _ in range(4)])
    assert [a.status_code for a in answers] == [200] * 4
    assert house.kinds_of(approval) == ["requested", "reviewed", "reviewed", "granted"]
    assert house.review(approval, "p-ana", version=1).json()["state"] == "granted"
    assert house.count(approval)["reviewed"] == 2


def test_p10_one_person_by_two_channels_is_one_person(house: House) -> None:
    """Two keys of one person fill one place, and an owner is an owner with every key."""
    approval = house.pause(action="two")
    for key in ("phone", "laptop"):
        assert house.review(approval, house.person("p-ana", key)).status_code == 200
    assert (house.state(approval)["state"], house.count(approval)["reviewed"]) == ("pending", 1)
    assert house.state(approval)["needed"] == [{"at_least": 1, "of": "finance"}]
    owned = house.pause(action="owned", owner="p-ana")
    for key in ("phone", "laptop"):
        assert code(house.review(owned, house.person("p-ana", key))) == (404, "not_found")
    assert house.kinds_of(owned) == ["requested"]


def test_a_yes_may_become_a_no_and_never_the_other_way(house: House) -> None:
    """Before the grant; the no is final."""
    approval = house.pause(action="deny-2")
    assert status(house.review(approval, "p-ana")) == "ok"
    assert status(house.review(approval, "p-ana", "deny")) == "ok"
    assert code(house.review(approval, "p-ana")) == (409, "already_reviewed")
    assert house.state(approval)["state"] == "pending"
    assert house.kinds_of(approval) == ["requested", "reviewed", "reviewed", "review_rejected"]
    assert status(house.review(approval, "p-bob", "deny")) == "ok"
    assert house.events(approval)[-1] == {"type": "denied", "by": ["p-ana", "p-bob"]}


def test_the_opposite_answer_after_the_grant_changes_nothing(house: House) -> None:
    """The remedy is to revoke."""
    approval = house.grant("p-ana")
    before = house.kinds_of(approval)
    assert code(house.review(approval, "p-ana", "deny")) == (409, "not_now")
    assert code(house.review(approval, "p-bob")) == (409, "not_now")
    assert house.kinds_of(approval) == before
    assert house.revoke(approval, house.person("p-bob")).json()["state"] == "revoked"
    assert house.events(approval)[-1] == {"type": "revoked", "by": "p-bob", "reason": "mistake"}


def test_one_no_ends_it_after_a_yes(house: House) -> None:
    """Deny threshold 1: denied, and final."""
    approval = house.pause(action="two")
    assert status(house.review(approval, "p-ana")) == status(house.review(approval, "p-bob", "deny")) == "ok"
    assert house.events(approval)[-1] == {"type": "denied", "by": ["p-bob"]}
    assert code(house.review(approval, "p-cem")) == (409, "not_now")
    assert code(house.token(approval)) == (409, "not_now")
    assert house.state(approval)["state"] == "denied"


def test_a_deny_threshold_of_two(house: House) -> None:
    """One no of two leaves the others to decide."""
    approval = house.pause(action="deny-2")
    for person, decision in (("p-ana", "deny"), ("p-bob", "approve"), ("p-cem", "approve")):
        assert status(house.review(approval, person, decision)) == "ok"
    assert house.events(approval)[-1]["by"] == ["p-bob", "p-cem"]
    assert house.state(approval)["state"] == "granted"


@pytest.mark.parametrize(
    ("over", "why"),
    [({"version": 1}, "stale"), ({"version": 99}, "stale"), ({"digest": "A" * 43}, "digest_mismatch"), ({"digest": "short"}, "digest_mismatch"),
     ({"digest": ""}, "digest_mismatch")],
)
def test_p7_an_older_card_or_another_call_is_no_answer(house: House, over: dict[str, Any], why: str) -> None:
    """What was shown is what counts; the refusal is recorded, and the answer holds how it stands."""
    approval = house.pause(action="two")
    assert status(house.review(approval, "p-ana")) == "ok"
    answer = house.review(approval, "p-bob", **over)
    assert code(answer) == (409, why)
    assert (answer.json()["approval"]["state"], answer.json()["approval"]["version"]) == ("pending", 2)
    assert house.events(approval)[-1] == {"type": "review_rejected", "by": "p-bob", "via": "api", "why": why}


def test_p7_eight_characters_of_the_digest_are_enough(house: House) -> None:
    """As cards show them; seven are not."""
    approval = house.pause()
    assert status(house.review(approval, "p-ana", digest=approval.digest[:7])) == "digest_mismatch"
    assert status(house.review(approval, "p-ana", digest=approval.digest[:8])) == "ok"


def test_p13_refused_clicks_are_recorded_twenty_times(house: House) -> None:
    """Probing shows in the log, and can't fill it."""
    approval = house.pause()
    answers = [status(house.review(approval, "p-ana", version=0)) for _ in range(25)]
    assert answers == ["stale"] * 25
    assert house.count(approval) == {"requested": 1, "review_rejected": 20}
    assert status(house.review(approval, "p-ana")) == "ok"


def test_p10_only_the_page_decides_where_a_step_up_is_asked(house: House) -> None:
    """A key over the API is no fresh sign-in: neither yes nor no."""
    approval = house.pause(action="step-up")
    for decision in ("approve", "deny"):
        assert code(house.review(approval, "p-ana", decision)) == (403, "step_up")
    assert house.kinds_of(approval) == ["requested", "review_rejected", "review_rejected"]
    assert house.state(approval)["state"] == "pending"


def test_p11_a_comment_is_evidence_and_in_no_leaf(house: House) -> None:
    """Erasable, apart from the answer; a refused click leaves its own, a repeated one none."""
    approval = house.pause()
    words = f"because {new_id('words')} said so"
    assert status(house.review(approval, "p-ana", version=9, comment=words)) == "stale"
    assert status(house.review(approval, "p-ana", comment=words)) == "ok"
    assert status(house.review(approval, "p-ana", comment=words)) == "ok"
    reviewed = next(e for e in house.events(approval) if e["type"] == "reviewed")
    assert words in house.server.as_("discloser").disclosures(reviewed["evidence"])
    assert all(words.encode() not in leaf for _, leaf in house.server.admin.feed())
    assert len(house.evidence(approval.id)) == 2


# Quorum


def test_p10_somebody_in_two_groups_fills_one_place(house: House) -> None:
    """`all`: one of finance and one of legal are two people."""
    approval = house.pause(action="all")
    assert house.review(approval, "p-both").json()["state"] == "pending"
    assert house.review(approval, "p-ana").json()["state"] == "granted"
    assert house.events(approval)[-1]["by"] == ["p-ana", "p-both"]
    other = house.pause(action="all")
    assert house.review(other, "p-both").json()["state"] == "pending"
    assert house.review(other, "p-lea").json()["state"] == "granted", "then p-both counts for finance"


def test_p10_any_part_is_enough_and_parts_do_not_add_up(house: House) -> None:
    """`any`: two of legal, or three of finance."""
    approval = house.pause(action="any")
    for person in ("p-lea", "p-ana", "p-bob"):
        assert house.review(approval, person).json()["state"] == "pending"
    assert house.review(approval, "p-both").json()["state"] == "granted"
    assert set(house.events(approval)[-1]["by"]) in ({"p-lea", "p-both"}, {"p-ana", "p-bob", "p-both"})


@pytest.mark.parametrize("change", [{"groups": ["legal"]}, {"disabled": True}, {"owns": ["lost-agent"]}], ids=["left", "disabled", "owner"])
def test_p10_who_may_not_any_more_does_not_count(make_house: Callable[..., House], change: dict[str, Any]) -> None:
    """Between the answer and the grant: left the group, disabled, or owner of the agent by now."""
    house = make_house()
    approval = house.pause(action="two", agent="lost-agent")
    assert status(house.review(approval, "p-ana")) == "ok"
    house.change(people=people(p_ana=change))
    assert house.review(approval, "p-bob").json()["state"] == "pending"
    if "owns" in change:
        assert code(house.review(approval, "p-ana", "deny")) == (403, "own_call")
        assert house.events(approval)[-1] == {"type": "review_rejected", "by": "p-ana", "via": "api", "why": "own_call"}
    assert house.review(approval, "p-cem").json()["state"] == "granted"
    assert house.events(approval)[-1]["by"] == ["p-bob", "p-cem"]


def test_a_grant_stands_when_its_people_leave(make_house: Callable[..., House]) -> None:
    """Who lost the group afterwards has approved; revoking is for those who may."""
    house = make_house()
    approval = house.grant("p-ana")
    house.change(people=people(p_ana={"groups": ["legal"]}))
    assert house.redeem(approval, house.mint(approval)).status_code == 200
    other = house.grant("p-bob")
    assert code(house.revoke(other, house.person("p-ana"))) == (404, "not_found")


# Rules that change


def test_another_rule_supersedes_what_is_pending(make_house: Callable[..., House]) -> None:
    """At once; nobody is asked under a rule that is not in force. What other rules say does not matter."""
    house = make_house()
    approval, other = house.pause(action="one"), house.pause(action="two")
    assert status(house.review(other, "p-ana")) == "ok"
    house.change(rules=RULES.replace(rule("one"), rule("one", TWO)))
    assert house.until_state(approval, "superseded")["end_reason"] is None
    assert house.kinds_of(approval) == ["requested", "superseded"]
    assert code(house.review(approval, "p-ana")) == (409, "rule_changed")
    again = house.pause(action="one")
    assert house.events(approval)[-1]["rule"] == house.state(again)["rule"]["digest"]
    assert house.review(again, "p-ana").json()["state"] == "pending", "the new rule asks for two"
    assert house.review(other, "p-bob").json()["state"] == "granted"
    assert "superseded" not in house.count(other)


def test_p7_another_rule_revokes_what_was_granted(make_house: Callable[..., House]) -> None:
    """At the mint, and at the redemption."""
    house = make_house()
    granted, minted = house.grant("p-ana"), house.grant("p-ana")
    token = house.mint(minted)
    house.change(rules=RULES.replace(rule("one"), rule("one", TWO)))
    assert code(house.token(granted)) == (409, "rule_changed")
    assert code(house.redeem(minted, token)) == (409, "rule_changed")
    for approval in (granted, minted):
        assert house.events(approval)[-1] == {"type": "revoked", "by": "rule", "reason": "rule_changed"}
        assert house.state(approval)["state"] == "revoked"
    assert code(house.token(granted)) == code(house.redeem(minted, token)) == (409, "rule_changed")
    assert "redeemed" not in house.count(minted)


def test_a_redemption_stands_when_the_rule_changes(make_house: Callable[..., House]) -> None:
    """A retry hears that it has won."""
    house = make_house()
    approval = house.grant("p-ana")
    token = house.mint(approval)
    assert house.redeem(approval, token).status_code == 200
    house.change(rules=RULES.replace(rule("one"), rule("one", TWO)))
    assert house.redeem(approval, token).status_code == 200
    assert house.report(approval).json()["state"] == "completed"
