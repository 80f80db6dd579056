"""P1, P8: the process dies at every step of an approval's life. Nothing is lost, nothing happens twice, and nobody was told
of anything that the log does not hold. At the fault points of a build with the feature `api/fault-points`
(`COUNTERSIGN_FAULT_BIN`), and at random moments of the shipped one."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from rig.life import approve, events_of, kinds, told
from support import countersign_bin, until
from support.fakeslack import FakeSlack
from support.house import House
from support.slack_office import Office

WHOLE_LIFE = ["requested", "reviewed", "granted", "token_minted", "redeemed", "execution_reported"]
#: Point, and at its how manieth time. `decided` and `published` come with the review, the mint, the redemption, the report.
POINTS = [
    "opening", "opened", "evidence_kept", "token_recorded", "redeemed",
    *[f"{point}:{nth}" for point in ("decided", "published") for nth in range(1, 5)],
]  # fmt: skip
SIGABRT = -6

T = TypeVar("T")


class Killed:
    """One call's life at a server that dies meanwhile. Every answer is held against the log at once."""

    def __init__(self, house: House) -> None:
        self.house, self.call = house, house.new()
        self.token = ""
        self.deaths: list[int] = []

    def _found_alive(self, ask: Callable[[], T]) -> T:
        """One try; a server that is found dead is started again, and whoever asks tries again."""
        try:
            return ask()
        except httpx.TransportError:
            if not self.house.server.alive():
                self.deaths.append(self.house.server.wait_exit())
                self.house.server.start()
            raise

    def _events(self) -> list[dict[str, Any]]:
        """What the log says of it."""
        while True:
            try:
                return self._found_alive(lambda: self.house.events(self.call))
            except httpx.TransportError:
                continue

    def _opened(self) -> httpx.Response:
        """How it stands; 503 while it is not open."""
        answer = self.house.gateway().get(f"/approvals/{self.call.id}")
        return answer if answer.status_code == 200 else httpx.Response(503)

    def step(self, send: Callable[[], httpx.Response], *happened: str) -> dict[str, Any]:
        """A request until it is answered; what it was answered stands in the log."""
        answer = told(lambda: self._found_alive(send))
        found = kinds(self._events())
        assert all(found.count(kind) == 1 for kind in happened), f"told of {happened}, but in the log are {found}"
        return answer

    def live(self) -> None:
        """From the question to the report."""
        house, call, gateway = self.house, self.call, self.house.gateway()
        self.step(lambda: gateway.http.post(f"{gateway.t}/events", json=call.event))
        self.step(self._opened, "requested")
        self.step(lambda: approve(house, call, comment="fine"), "reviewed", "granted")
        minted = self.step(lambda: house.token(call), "token_minted")
        self.token = minted["token"]
        assert [event["jti"] for event in self._events() if event["type"] == "token_minted"] == [minted["jti"]]
        assert self.step(lambda: house.redeem(call, self.token, "r-1"), "redeemed")["call"]["params"] == call.call["params"]
        self.step(lambda: house.report(call), "execution_reported")

    def check(self) -> None:
        """Everything happened, once, in order; the log is sound."""
        house, call = self.house, self.call
        assert kinds(events_of(house.server.admin)[call.id]) == WHOLE_LIFE
        entries = house.server.admin.entries()
        openings = [entry for entry in entries if entry["kind"] == "decision" and entry["event"]["id"] == call.event["id"]]
        assert len(openings) == 1
        review = next(event for event in house.events(call) if event["type"] == "reviewed")
        # A comment whose review was not written any more stays without one; the review names its own.
        assert entries[review["evidence"]]["kind"] == "evidence"
        assert house.state(call)["state"] == "completed"
        house.close()


@pytest.mark.parametrize("point", POINTS)
def test_p1_p8_dies_at_each_step(point: str, journal: dict[str, Any], make_house: Callable[..., House], faults: Path) -> None:
    """P1, P8: the process ends as by kill -9, is started again, and the client repeats."""
    house = make_house(**journal)
    house.server.stop()
    house.server.start(binary=faults, env={"COUNTERSIGN_FAULT": point})
    killed = Killed(house)
    killed.live()
    assert killed.deaths == [SIGABRT], "the point was not reached"
    killed.check()


def test_p1_p8_dies_at_random_moments(
    journal: dict[str, Any], make_house: Callable[..., House], rng: random.Random, rounds: int
) -> None:
    """P1, P8: kill -9 at any moment of a life, again and again."""
    house = make_house(**journal)
    lives = []
    for _ in range(rounds // 2):
        lives.append(Killed(house))
        process = house.server.process
        assert process is not None
        killer = threading.Timer(rng.random() * 0.2, process.kill)
        killer.start()
        lives[-1].live()
        killer.join()
        process.wait(60)
        if house.server.process is process:
            house.server.wait_exit()
        if house.server.process is None:
            house.server.start()
    print(f"{sum(len(killed.deaths) for killed in lives)} of {len(lives)} died in the middle")
    log = events_of(house.server.admin)
    assert {call: kinds(events) for call, events in log.items()} == {killed.call.id: WHOLE_LIFE for killed in lives}
    house.close()


@pytest.mark.parametrize("point", ["card_planned", "card_posted"])
def test_p8_dies_between_planning_and_posting_a_card(point: str, faults: Path, tmp_path: Path) -> None:
    """The process ends before or after Slack took the card: afterwards there is one card, and it is answered and followed."""
    with FakeSlack() as slack:
        office = Office(tmp_path / "office", slack)
        server = office.server
        try:
            server.as_("publisher")
            server.stop()
            server.start(binary=faults, env={"COUNTERSIGN_FAULT": point})
            approval = office.paused()
            assert server.wait_exit() == SIGABRT
            assert len(office.cards(approval)) == (point == "card_posted")
            server.start()
            # Somebody else may be at it: a planned card is left alone for a minute.
            until("the card to be known", lambda: len(office.desk.evidence(approval)) >= 3, 100)
            office.click(approval, "approve", office.bob)
            office.shows(approval, "Approved, not redeemed yet")
            assert office.events(approval) == ["requested", "reviewed", "granted"]
            assert len(office.cards(approval)) == 1 and slack.violations == []
            server.stop()
            server.fsck().ok()
        finally:
            server.__exit__()


def test_the_shipped_binary_has_no_fault_points(make_house: Callable[..., House], faults: Path) -> None:
    """The switch is not in it, and setting it does nothing."""
    assert b"COUNTERSIGN_FAULT" in faults.read_bytes()
    assert b"COUNTERSIGN_FAULT" not in countersign_bin().read_bytes()
    house = make_house()
    house.server.stop()
    house.server.start(env={"COUNTERSIGN_FAULT": "decided"})
    killed = Killed(house)
    killed.live()
    assert killed.deaths == []
    killed.check()
