"""Edge cases of an approval's life, as journeys over HTTP: two at the same moment, and what was taken back."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
from support import new_id, until
from support.edges import RULES, at_once, people, status
from support.house import House, Paused, code


#: Rounds of each race; the races of three deciders have more.
ROUNDS = 6


@pytest.mark.parametrize("by", ["gateway", "admin"])
def test_cancel_against_approve(house: House, by: str) -> None:
    """One is first; cancelled is the end, and nothing comes after it."""
    who = house.gateway() if by == "gateway" else house.server.admin
    house.person("p-ana")
    outcomes = set()
    for _ in range(ROUNDS):
        approval = house.pause()
        answers = at_once(lambda: house.cancel(approval, who), lambda: house.review(approval, "p-ana", version=1))
        cancelled, reviewed = map(status, answers)
        kinds = house.kinds_of(approval)
        assert cancelled == "ok" and kinds[-1] == "cancelled" and house.state(approval)["state"] == "cancelled"
        assert (reviewed == "ok") == (kinds == ["requested", "reviewed", "granted", "cancelled"]), (reviewed, kinds)
        assert reviewed in ("ok", "not_now")
        outcomes.add(reviewed)
        assert code(house.token(approval)) == (409, "not_now")
    event = house.events(approval)[-1]
    assert event["by"] == ("producer:gw-1" if by == "gateway" else f"admin:{house.server.admin_key.id}")


def test_l2_approve_against_deny(house: House) -> None:
    """By two people at the same moment: granted or denied, never both; the other is told that something newer happened."""
    for person in ("p-ana", "p-bob"):
        house.person(person)
    for _ in range(ROUNDS):
        approval = house.pause()
        answers = at_once(lambda: house.review(approval, "p-ana", version=1), lambda: house.review(approval, "p-bob", "deny", version=1))
        approved, denied = map(status, answers)
        ends = house.count(approval)
        assert ends["granted"] + ends["denied"] == 1 == ends["reviewed"]
        assert (approved == "ok") == (ends["granted"] == 1) and (denied == "ok") == (ends["denied"] == 1)
        assert {approved, denied} == {"ok", "not_now"}


def test_l1_redeem_against_revoke_and_cancel(house: House) -> None:
    """Spent or taken back, never both."""
    house.person("p-bob")
    for number in range(ROUNDS):
        approval = house.grant("p-ana")
        token = house.mint(approval)
        other = house.revoke if number % 2 else house.cancel
        who = house.person("p-bob") if number % 2 else house.gateway()
        spent, taken = map(status, at_once(lambda: house.redeem(approval, token), lambda: other(approval, who)))
        counted = house.count(approval)
        assert counted["redeemed"] + counted["revoked"] + counted["cancelled"] == 1
        assert (spent == "ok") == (counted["redeemed"] == 1) != (taken == "ok"), (spent, taken)
        assert taken in ("ok", "already_redeemed") and spent in ("ok", "not_now")


def test_l1_many_redemptions_one_wins(house: House) -> None:
    """Eight ids at once, and each of them again: the winner hears that it has won, the others that they have not."""
    for _ in range(ROUNDS // 2):
        approval = house.grant("p-ana")
        token = house.mint(approval)
        spend = lambda id: lambda: house.redeem(approval, token, id)  # noqa: E731
        first = list(map(status, at_once(*[spend(f"r-{id}") for id in range(8)])))
        again = [status(spend(f"r-{id}")()) for id in range(8)]
        assert first == again and sorted(set(first)) == ["already_redeemed", "ok"] and first.count("ok") == 1
        (redeemed,) = [event for event in house.events(approval) if event["type"] == "redeemed"]
        assert redeemed["redemption_id"] == f"r-{first.index('ok')}"


def test_an_approval_that_ends_at_once_does_not_stay_in_the_list(house: House) -> None:
    """Cancelled while the answer to its opening is under way: neither listed nor counted as pending afterwards."""
    agent = new_id("gone")

    def cancelled(made: Paused) -> bool:
        try:
            return house.cancel(made, house.server.admin).status_code == 200
        except httpx.TransportError:
            return False  # a request that is refused before its body is read may end its connection

    for _ in range(30):
        made = house.new(agent=agent)

        def cancel(made: Paused = made) -> None:
            until("cancelled", lambda: cancelled(made))

        at_once(lambda made=made: house.open(made), cancel)
    open_now = house.server.admin.get("/approvals", limit=200).json()["approvals"]
    assert [view["id"] for view in open_now if view["call"]["agent"] == agent] == []
    waiting = [house.pause(agent=agent) for _ in range(20)]
    for approval in waiting:
        house.cancel(approval)


def test_cancel_and_revoke_twice_is_once(house: House) -> None:
    """The same again: 200 and no event. After the redemption: too late for both."""
    cancelled, revoked, redeemed = house.pause(), house.grant("p-ana"), house.grant("p-ana")
    for _ in range(2):
        assert house.cancel(cancelled).json()["state"] == "cancelled"
        assert house.revoke(revoked, house.person("p-ana")).json()["state"] == "revoked"
    assert house.count(cancelled)["cancelled"] == house.count(revoked)["revoked"] == 1
    assert code(house.revoke(house.pause(), house.server.admin)) == (409, "not_now")
    assert house.redeem(redeemed, house.mint(redeemed)).status_code == 200
    assert code(house.cancel(redeemed)) == code(house.revoke(redeemed, house.server.admin)) == (409, "already_redeemed")
    assert house.kinds_of(redeemed)[-1] == "redeemed"


def test_revoked_by_the_tokens_id(house: House) -> None:
    """Whoever knows only the token takes it back; it is spent never again."""
    approval = house.grant("p-ana")
    minted = house.token(approval).json()
    taken = house.post(house.person("p-bob"), f"/tokens/{minted['jti']}/revoke", {"reason": "stolen"})
    assert taken.json()["state"] == "revoked"
    assert house.events(approval)[-1] == {"type": "revoked", "by": "p-bob", "reason": "stolen"}
    assert code(house.redeem(approval, minted["token"])) == (409, "not_now")
    assert code(house.token(approval)) == (409, "not_now")
    assert "redeemed" not in house.count(approval)


def test_p7_other_params_are_refused_and_change_nothing(house: House) -> None:
    """The attempt is recorded; the approved call is still good."""
    approval = house.grant("p-ana")
    token = house.mint(approval)
    for name, value in (("params", {"amount": 125001}), ("agent", "other"), ("run", None), ("tool", "x"), ("action", "x"), ("nonce", "x")):
        assert code(house.redeem(approval, token, call=approval.call | {name: value})) == (409, "digest_mismatch")
    assert house.state(approval)["state"] == "minted"
    rejected = [event for event in house.events(approval) if event["type"] == "redeem_rejected"]
    assert [event["why"] for event in rejected] == ["digest_mismatch"] * 6
    answer = house.redeem(approval, token)
    assert answer.status_code == 200 and answer.json()["call"] == {"v": 1, "tenant": "acme"} | approval.call


def test_p10_nobody_has_the_last_word_after_the_rules_took_it(make_house: Callable[..., House]) -> None:
    """`rules apply` disables a person while that person's answers come in: none of them follows the `rules` entry."""
    house = make_house()
    house.gateway()
    ana = house.person("p-ana")
    recorded = 0
    for _ in range(ROUNDS):
        house.change(RULES, people())
        approvals = [house.pause(action="one") for _ in range(24)]
        house.write(RULES, people(p_ana={"disabled": True}))

        def reviews(mine: list[Paused]) -> Callable[[], None]:
            def review_all() -> None:
                for approval in mine:
                    house.review(approval, ana, version=1)

            return review_all

        at_once(house.apply, *[reviews(approvals[at::6]) for at in range(6)])
        entries = house.server.admin.entries()
        changed = max(at for at, entry in enumerate(entries) if entry["kind"] == "rules")
        said = [
            (at, event["type"])
            for at, entry in enumerate(entries) if entry["kind"] == "approval"
            for event in entry["event"]["events"] if event.get("by") == "p-ana" and event["type"] in ("reviewed", "granted")
        ]  # fmt: skip
        late = [(at, kind) for at, kind in said if at > changed]
        assert late == [], f"the rules changed at {changed}"
        recorded += len(said)
        house.change(RULES, people())
    assert recorded, "no answer came in time: nothing was shown"
