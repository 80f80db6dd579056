"""P18: exports in which a budget is overspent, by somebody who holds our journal and log keys. `verify` counts every sum again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support import cli
from support.forging import Log, at, export, make_vectors, people_salt_key

import spending

FORGED: dict[str, tuple[Callable[["Spent"], object], str]] = {}
OVERSPENT = "a budget is overspent by it, or it was refused though it fits"


class Spent:
    """A log in which 0.09 of 0.10 USD are booked, and 600.00 of 1,000.00 EUR."""

    def __init__(self) -> None:
        self.log = Log("forged")
        self.v1 = (spending.begun(self.log, people_salt_key()).in_force, 1)
        self.asks("b-1", 3, 7)
        self.asks("b-2", 4, 2)
        self.log.judge(spending.pays(self.log, self.v1, "p-1", at(5), 60_000, 0), at(5))

    def asks(self, id: str, minute: int, cents: int) -> int:
        """An honest decision."""
        return self.log.judge(spending.asks(self.log, self.v1, id, at(minute), cents, 0), at(minute))

    def forge(self, id: str, cents: int, verdict: str = "allow", **asked: object) -> int:
        """A decision that posting would not let stand."""
        return self.log.judge_anyhow(spending.asks(self.log, self.v1, id, at(10), cents, 0, verdict, **asked), at(10))


def refused(said: str) -> Callable[[Callable[[Spent], object]], Callable[[Spent], object]]:
    """`verify` says this."""
    return lambda forge: FORGED.setdefault(forge.__name__, (forge, said))[0]


@refused(OVERSPENT)
def one_cent_too_much(world: Spent) -> None:
    world.forge("f-1", 2)


@refused(OVERSPENT)
def refused_though_it_fits(world: Spent) -> None:
    world.forge("f-1", 1, "deny")


@refused(OVERSPENT)
def freed_by_another_gateway(world: Spent) -> None:
    first = next(n for n, entry in enumerate(world.log.entries) if b'"id":"b-1"' in entry)
    spending.reports(world.log, first, "x-1", at(6), "0.00", producer="gw-2")
    world.forge("f-1", 5)


@refused(OVERSPENT)
def freed_too_late(world: Spent) -> None:
    first = next(n for n, entry in enumerate(world.log.entries) if b'"id":"b-1"' in entry)
    spending.reports(world.log, first, "x-1", at(18, 0, 1), "0.00")
    event = spending.asks(world.log, world.v1, "f-1", at(19), 5, 0)
    world.log.judge_anyhow(event, at(19))


@refused(OVERSPENT)
def payments_over_the_cap_booked_within(world: Spent) -> None:
    world.log.judge_anyhow(spending.pays(world.log, world.v1, "f-1", at(10), 50_000, 0), at(10))


@refused("it books in another window than that of its time")
def in_the_window_of_tomorrow(world: Spent) -> None:
    world.forge("f-1", 5, window={"from": spending.DAY["to"], "to": "2026-11-22T00:00:00.000000000Z"})


@refused(OVERSPENT)
def in_a_window_that_overlaps(world: Spent) -> None:
    world.forge("f-1", 5, window={"from": "2026-11-20T08:00:00.000000000Z", "to": spending.DAY["to"]})


@refused("the decision before it reached a bound of a budget, and no entry says so")
def no_entry_at_the_cap(world: Spent) -> None:
    world.forge("f-1", 5, "deny")
    world.asks("b-3", 11, 1)


@refused("it is not what the decision before it makes of its budgets")
def a_second_warning(world: Spent) -> None:
    about = {"budgets": [], "decision": 1, "source": "/gateways/eu-1", "id": "b-2"}
    world.log.put("budget_warned", "gw-1", about, about, {}, ("gw-1", "/gateways/eu-1", "b-2"), commit_name="//budget_warned")


@refused("what it asks of budgets does not go with its verdict")
def over_the_cap_without_people(world: Spent) -> None:
    world.forge("f-1", 5, booked="over")


@pytest.mark.parametrize("name", FORGED)
def test_p18_an_export_in_which_a_budget_is_overspent_is_refused(name: str, tmp_path: Path) -> None:
    """Verification says at which entry."""
    forge, said = FORGED[name]
    world = Spent()
    forge(world)
    vkey = export(world.log, tmp_path)
    verified = cli("verify", "--key", vkey, "--export", tmp_path)
    assert verified.code == 1 and said in verified.out + verified.err, verified.err or verified.out
    assert cli("replay", "--key", vkey, "--export", tmp_path).code == 1


def test_p15_p18_what_nobody_forged_is_verified_and_computed_again(tmp_path: Path) -> None:
    """The same log without the forged entry; and the golden log, in which no sum is wrong."""
    world = Spent()
    vkey = export(world.log, tmp_path / "spent")
    cli("verify", "--key", vkey, "--export", tmp_path / "spent").ok()
    told = cli("replay", "--json", "--key", vkey, "--export", tmp_path / "spent")
    # What was booked before is a fact that is believed: here every decision says 0.
    assert told.code == 0 and told.json()["same"] == 3, told.out
    golden = Log("golden")
    sign = lambda log, subject, body: make_vectors.sign_place(make_vectors.JKEY, "acme", 1, subject, log.subjects.get(subject, 0), body)  # noqa: E731
    spending.spending(golden, people_salt_key(), sign)
    vkey = export(golden, tmp_path / "golden")
    cli("verify", "--key", vkey, "--export", tmp_path / "golden").ok()
    told = cli("replay", "--json", "--key", vkey, "--export", tmp_path / "golden").json()
    assert told["different"] == {} and told["same"] >= 10, told
