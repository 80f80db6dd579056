"""Edge cases of an approval's life, as journeys over HTTP: deadlines, tokens that lapse, reports, restarts, waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from support import until
from support.edges import CATCH_ALL, TWO, at_once, rule, status
from support.fakeserver import FakeServer
from support.house import House, Paused, at, code


def test_p9_an_expiry_is_nobodys_refusal(house: House) -> None:
    """Its own state; clicks and tokens come too late; and the same kind of call may be asked for again at once."""
    approval = house.pause(action="short", agent="patient-agent")
    expired = house.until_state(approval, "expired")
    assert expired["end_reason"] == "deadline"
    for decision in ("approve", "deny"):
        assert code(house.review(approval, "p-ana", decision)) == (409, "too_late")
    assert code(house.token(approval)) == (409, "too_late")
    requested, *_, last = house.events(approval)
    if last == {"type": "reminded"}:
        # What the journal took after the deadline is the expiry, whatever it says.
        assert house.steps(approval) == ["requested"]
        assert house.moments(approval)["reminded"] >= at(requested["approval_deadline"])
    else:
        assert house.steps(approval) == ["requested", "expired"] and last == {"type": "expired", "reason": "deadline"}
    again = house.pause(action="short", agent="patient-agent")
    assert house.state(again)["state"] in ("pending", "expired"), "opened; its deadline is near"


def test_l9_a_click_that_races_with_the_expiry(house: House) -> None:
    """One of them is first, and everybody is told which: here and in the log."""
    waiting = [house.pause(action="short") for _ in range(12)]
    deadline = lambda approval: house.events(approval)[0]["approval_deadline"]  # noqa: E731
    clicks = [(approval, at(deadline(approval)) + (number - 6) * 0.003) for number, approval in enumerate(waiting)]

    def click(approval: Paused, moment: float) -> str:
        until("the moment", lambda: time.time() >= moment)
        return status(house.review(approval, "p-ana", version=1))

    house.person("p-ana")
    with ThreadPoolExecutor(len(clicks)) as pool:
        answers = list(pool.map(lambda one: click(*one), clicks))
    for approval, answer in zip(waiting, answers, strict=True):
        if answer == "ok":
            assert house.steps(approval)[:3] == ["requested", "reviewed", "granted"]
            assert house.moments(approval)["granted"] < at(deadline(approval))
        else:
            assert answer == "too_late" and "granted" not in house.state(approval)["state"]
            assert house.until_state(approval, "expired")
    assert {"ok", "too_late"} >= set(answers)


def test_p9_a_grant_lapses(house: House) -> None:
    """Nothing is minted or redeemed after the execution deadline, and no token lives beyond it."""
    granted, minted = house.grant("p-ana", action="hasty"), house.grant("p-ana", action="hasty")
    token = house.mint(minted)
    (exp,) = [event["exp"] for event in house.events(minted) if event["type"] == "token_minted"]
    deadline = house.state(minted)["execution_deadline"]
    assert at(deadline) - 1 <= at(exp) and exp <= deadline
    for approval in (granted, minted):
        house.until_state(approval, "lapsed")
        assert house.count(approval)["lapsed"] == 1
        assert code(house.token(approval)) == (409, "too_late")
        assert code(house.revoke(approval, house.server.admin)) == (409, "too_late")
    assert house.redeem(minted, token).status_code == 403
    assert "redeemed" not in house.count(minted)


def test_p8_a_token_lapses_and_another_is_minted_at_most_three(house: House) -> None:
    """One at a time, each with an id of its own."""
    approval = house.grant("p-ana", action="fleeting")
    tokens = []
    for _ in range(3):
        tokens.append(house.mint(approval))
        house.until_state(approval, "granted")
    assert code(house.token(approval)) == (409, "too_many_mints")
    assert len(set(tokens)) == 3
    for token in tokens:
        assert code(house.redeem(approval, token)) == (403, "token_expired")
    counted = house.count(approval)
    assert (counted["token_minted"], counted["token_lapsed"], counted["redeemed"]) == (3, 3, 0)


def test_p8_asking_again_while_a_token_lives_gives_the_same_one(house: House) -> None:
    """Also many at once; one entry."""
    approval = house.grant("p-ana")
    answers = at_once(*[lambda: house.token(approval) for _ in range(6)])
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["token"] for answer in answers}) == 1
    assert house.count(approval)["token_minted"] == 1


def test_a_missing_report_is_unknown_and_a_late_one_counts(house: House) -> None:
    """Once; and the list of those that ended shows it."""
    approval = house.grant("p-ana", action="silent")
    assert house.redeem(approval, house.mint(approval)).status_code == 200
    house.until_state(approval, "unknown")
    assert house.kinds_of(approval)[-2:] == ["redeemed", "report_missed"]
    assert house.report(approval).json()["state"] == "completed"
    assert house.report(approval).json()["state"] == "completed"
    assert code(house.report(approval, "failed")) == (409, "already_reported")
    assert house.kinds_of(approval)[-2:] == ["report_missed", "execution_reported"]


def test_a_late_report_is_shown_in_the_list_of_what_ended(house: House) -> None:
    """As in its state."""
    approval = house.grant("p-ana", action="silent")
    assert house.redeem(approval, house.mint(approval)).status_code == 200
    house.until_state(approval, "unknown")
    assert house.report(approval).json()["state"] == "completed"
    recent = house.server.admin.get("/approvals", state="recent", limit=200).json()["approvals"]
    assert [a["state"] for a in recent if a["id"] == approval.id] == ["completed"]


@pytest.mark.parametrize(("outcome", "state"), [("succeeded", "completed"), ("failed", "failed"), ("not_started", "failed"), ("unknown", "unknown")])
def test_a_report_is_given_once(house: House, outcome: str, state: str) -> None:
    """No re-issue in this release, whatever it says; and nothing before the redemption."""
    approval = house.grant("p-ana")
    token = house.mint(approval)
    assert code(house.report(approval, outcome)) == (409, "not_now")
    assert house.redeem(approval, token).status_code == 200
    for _ in range(2):
        assert house.report(approval, outcome).json()["state"] == state
    other = "failed" if outcome != "failed" else "succeeded"
    assert code(house.report(approval, other)) == (409, "already_reported")
    assert code(house.token(approval)) == (409, "not_now")
    assert house.count(approval)["execution_reported"] == 1


class Hook:
    """A Workflows webhook that takes everything."""

    def __init__(self, folder: Path) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.send_response(202)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = FakeServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        folder.mkdir(parents=True, exist_ok=True)
        self.file = folder / "webhook-url"
        self.file.write_text(f"http://127.0.0.1:{self.server.server_port}/hook\n")


def test_a_reminder_and_an_escalation_once_each(make_house: Callable[..., House], tmp_path: Path) -> None:
    """At a half and at two thirds of the time; not after an answer, and escalation only where a rule has somebody for it."""
    hook = Hook(tmp_path / "hook")
    rules = "\n".join([
        '[channels.heads]\nconnection = "acme-hook"', rule("slow", TWO, approve_within="15s", escalate=["heads"]),
        rule("plain", TWO, approve_within="10s"), CATCH_ALL,
    ])  # fmt: skip
    house = make_house(rules, sections={"webhook.acme-hook": {"tenant": "acme", "url_file": hook.file}})
    slow, plain, granted = house.pause(action="slow"), house.pause(action="plain"), house.pause(action="slow")
    for person in ("p-ana", "p-bob"):
        assert status(house.review(granted, person)) == "ok"
    for approval, kinds in ((plain, ["reminded"]), (slow, ["reminded", "escalated"])):
        house.until_state(approval, "expired")
        assert house.kinds_of(approval) == ["requested", *kinds, "expired"]
    begin, moments = at(house.events(slow)[0]["requested_at"]), house.moments(slow)
    for kind, after in (("reminded", 7.5), ("escalated", 10), ("expired", 15)):
        assert moments[kind] >= begin + after, kind
    assert house.kinds_of(granted) == ["requested", "reviewed", "reviewed", "granted"]
    assert house.state(slow)["version"] == house.messages(slow)[-1][1]["n"] != 2
    hook.server.shutdown()


def test_p9_time_passes_while_nobody_is_there(make_house: Callable[..., House]) -> None:
    """A server that was down over a deadline grants nothing afterwards."""
    house = make_house()
    waiting, lapsing = house.pause(action="short"), house.grant("p-ana", action="hasty")
    token = house.mint(lapsing)
    end = at(house.state(lapsing)["execution_deadline"])
    house.server.kill9()
    until("both deadlines", lambda: time.time() > end + 0.1)
    house.server.start()
    assert status(house.review(waiting, "p-ana", version=1)) == "too_late"
    assert house.redeem(lapsing, token).status_code in (403, 409)
    house.until_state(waiting, "expired")
    house.until_state(lapsing, "lapsed")
    assert house.steps(waiting) == ["requested", "expired"]
    assert "redeemed" not in house.count(lapsing)


def test_p8_a_restart_in_the_middle_changes_nothing(make_house: Callable[..., House]) -> None:
    """Killed with one approval in every phase: each goes on where it was, with the same token."""
    house = make_house()
    pending, granted, minted, redeemed = house.pause(action="two"), *(house.grant("p-ana") for _ in range(3))
    assert status(house.review(pending, "p-ana")) == "ok"
    tokens = {a.id: house.mint(a) for a in (minted, redeemed)}
    assert house.redeem(redeemed, tokens[redeemed.id]).status_code == 200
    every = (pending, granted, minted, redeemed)
    before = [house.state(a) for a in every]
    house.server.restart(kill=True)
    assert [house.state(a) for a in every] == before
    assert house.review(pending, "p-bob").json()["state"] == "granted"
    assert house.mint(minted) == tokens[minted.id]
    assert house.redeem(minted, tokens[minted.id]).status_code == 200
    assert house.redeem(redeemed, tokens[redeemed.id]).status_code == 200
    assert house.report(redeemed).json()["state"] == "completed"
    assert house.mint(granted)
    assert [house.count(a)["redeemed"] for a in every] == [0, 0, 1, 1]


def test_waiting_ends_when_something_happens(house: House) -> None:
    """`wait` and `after`: at once for what is new already, woken by news, and back with nothing new in time."""
    approval = house.pause(action="two")
    begin = time.monotonic()
    assert house.state(approval, wait=30, after=0)["version"] == 1
    assert time.monotonic() - begin < 29
    begin = time.monotonic()
    assert house.state(approval, wait=1, after=1)["version"] == 1
    assert 0.9 < time.monotonic() - begin < 29
    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(house.gateway().get, f"/approvals/{approval.id}", wait=30, after=1) for _ in range(3)]
        begin = time.monotonic()
        assert status(house.review(approval, "p-ana")) == "ok"
        assert {answer.result().json()["version"] for answer in asking} == {2}
        assert time.monotonic() - begin < 29
    assert status(house.review(approval, "p-bob")) == "ok"
    begin = time.monotonic()
    assert house.state(approval, wait=30, after=2)["state"] == "granted"
    assert time.monotonic() - begin < 29


def test_waiting_ends_for_what_is_over(house: House) -> None:
    """Nothing newer comes of an approval that ended; the answer comes all the same, and after a restart."""
    approval = house.pause()
    assert status(house.review(approval, "p-ana", "deny")) == "ok"
    version = house.state(approval)["version"]
    for _ in range(2):
        begin = time.monotonic()
        assert house.state(approval, wait=1, after=version)["state"] == "denied"
        assert 0.9 < time.monotonic() - begin < 29
        house.server.restart()
