"""P14, P15: exports with forged counts of earlier decisions, by somebody who holds our journal and log keys."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support import cli
from support.forging import Log, at, export, make_vectors, people_salt_key

import counting

CHANGED = "what it counts of earlier decisions changed before its place"
OTHER = "its counts of earlier decisions are not those of the log"
#: Name → how it is forged, which command refuses it, and what that says.
FORGED: dict[str, tuple[Callable[["Counted"], object], str, str]] = {}


class Counted:
    """A log in which the session `s-1` had its allow, and that call failed."""

    def __init__(self) -> None:
        self.log = Log("forged")
        self.v1 = (counting.begun(self.log, people_salt_key()).in_force, 1)
        self.before = len(self.log.entries)
        self.first = self.log.judge(self.asks("h-1", 3, "s-1", [], []), at(3))
        counting.reports(self.log, self.first, "x-1", at(4), "failed")

    def asks(self, id: str, minute: int, session: str, once: list[int], failed: list[int], as_of: int | None = None, payee: str = "DE1") -> dict[str, object]:
        """A decision with these counts."""
        return counting.asks(self.log, self.v1, id, at(minute), session, once, failed, as_of, payee)

    def forge(self, event: dict[str, object]) -> int:
        """A decision that no honest server would make."""
        return self.log.judge_anyhow(event, at(10))


def refused(command: str, said: str) -> Callable[[Callable[[Counted], object]], Callable[[Counted], object]]:
    """This command says this."""
    return lambda forge: FORGED.setdefault(forge.__name__, (forge, command, said))[0]


@refused("verify", CHANGED)
def a_second_first_that_read_too_little(world: Counted) -> None:
    world.forge(world.asks("f-1", 10, "s-1", [], [], as_of=world.before))


@refused("verify", CHANGED)
def judged_before_a_report(world: Counted) -> None:
    world.forge(world.asks("f-1", 10, "s-2", [], [], as_of=world.first + 1))


@refused("verify", "it counts entries after it")
def it_read_entries_that_are_not_there(world: Counted) -> None:
    world.forge(world.asks("f-1", 10, "s-2", [], [world.first], as_of=len(world.log.entries) + 1))


@refused("verify", "what it counts of earlier decisions does not go with it")
def it_counts_without_a_bundle(world: Counted) -> None:
    event = world.asks("f-1", 10, "s-2", [], [world.first])
    del event["data"]["bundle"]  # type: ignore[attr-defined]
    world.forge(event)


@refused("replay", OTHER)
def a_first_that_left_the_first_out(world: Counted) -> None:
    world.forge(world.asks("f-1", 10, "s-1", [], [], payee="DE2"))


@refused("replay", OTHER)
def a_denial_for_a_call_that_is_none(world: Counted) -> None:
    world.forge(world.asks("f-1", 10, "s-2", [3], [], payee="DE2"))


@refused("replay", OTHER)
def a_failure_that_is_left_out(world: Counted) -> None:
    world.forge(world.asks("f-1", 10, "s-2", [], []))


@refused("replay", OTHER)
def a_failure_of_another_payee(world: Counted) -> None:
    world.forge(world.asks("f-1", 10, "s-2", [], [world.first], payee="DE2"))


@refused("replay", "recorded")
def it_does_not_say_what_it_counted(world: Counted) -> None:
    event = world.asks("f-1", 10, "s-2", [], [world.first])
    del event["data"]["history"]  # type: ignore[attr-defined]
    world.forge(event)


@pytest.mark.parametrize("name", FORGED)
def test_p14_p15_a_forged_count_is_refused(name: str, tmp_path: Path) -> None:
    """`verify` sees from the plain entries whose count was stale; `replay` counts again."""
    forge, command, said = FORGED[name]
    world = Counted()
    forge(world)
    vkey = export(world.log, tmp_path)
    verified = cli("verify", "--key", vkey, "--export", tmp_path)
    replayed = cli("replay", "--key", vkey, "--export", tmp_path)
    assert verified.code == (1 if command == "verify" else 0), verified.err or verified.out
    assert replayed.code == 1
    told = verified if command == "verify" else replayed
    assert said in told.out + told.err, told.out + told.err


def test_p15_what_nobody_forged_is_verified_and_counted_again(tmp_path: Path) -> None:
    """The golden log of the pages."""
    golden = Log("golden")
    sign = lambda log, subject, body: make_vectors.sign_place(make_vectors.JKEY, "acme", 1, subject, log.subjects.get(subject, 0), body)  # noqa: E731
    counting.counting(golden, people_salt_key(), sign)
    vkey = export(golden, tmp_path / "golden")
    cli("verify", "--key", vkey, "--export", tmp_path / "golden").ok()
    told = cli("replay", "--json", "--key", vkey, "--export", tmp_path / "golden").json()
    assert told["different"] == {} and told["history"] == {"counted_again": 7, "believed": 0}, told
