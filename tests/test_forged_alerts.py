"""P19: exports with alerts that a holder of our journal and log keys forged. `verify` refuses what the log alone contradicts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import cli
from support.forging import Forger, at, policies

ALERTS = [{"clause": "payments/small", "name": "small-payment"}]
CLAUSE = {"rule": "clause", "name": "small-payment", "clause": "payments/small"}
DENIALS = {"rule": "denials", "name": "denials"}
VERIFY: dict[str, tuple[Callable[["Raising"], Any], str | None]] = {}


class Raising(Forger):
    """A log in which a decision raises an alert by its clause."""

    def __init__(self) -> None:
        super().__init__()
        self.first = self.log.judge(self.decided("d-1", 6, alerts=ALERTS), at(6))

    def alert(self, index: int, minute: int, nth: int = 0, rule: dict[str, Any] = CLAUSE, **changed: Any) -> int:
        """An alert that entry `index` shows."""
        body = rule | {
            "op": "raise", "v": 1, "about": {"what": "agent", "id": "payments-bot", "producer": "gw-1"}, "since": at(6), "values": {"verdict": "allow"},
            "entries": [index], "at": {"index": index, "nth": nth}, "by": {"server": "watching"},
        }
        return int(self.log.signed("system.alert", body | changed, at(minute), "alert"))


def verify(said: str | None) -> Callable[[Callable[[Raising], Any]], Callable[[Raising], Any]]:
    """`verify` says this; `None`: it says that the log is whole."""
    return lambda forge: VERIFY.setdefault(forge.__name__, (forge, said))[0]


@verify(None)
def an_alert_of_a_clause_and_one_of_the_watch(world: Raising) -> None:
    world.alert(world.first, 7)
    world.alert(world.first, 7, 1, DENIALS)
    world.log.judge(world.decided("d-2", 8, alerts=ALERTS), at(8))


@verify("an alert of a clause before it is missing")
def a_clause_whose_alert_was_left_out(world: Raising) -> None:
    later = world.honest("d-2", 7)
    world.alert(later, 8, rule=DENIALS)


@verify("no clause raises this alert, or one before it is missing")
def an_alert_of_a_later_decision_alone(world: Raising) -> None:
    later = world.log.judge(world.decided("d-2", 7, alerts=ALERTS), at(7))
    world.alert(later, 8)


@verify("no clause raises this alert, or one before it is missing")
def an_alert_of_another_name(world: Raising) -> None:
    world.alert(world.first, 7, rule=CLAUSE | {"name": "other"})


@verify("no clause raises this alert, or one before it is missing")
def an_alert_that_no_clause_raises(world: Raising) -> None:
    world.alert(world.first, 7)
    world.alert(world.honest("d-2", 8), 8)


@verify("not an alert that can be here, or it closes none")
def the_same_twice(world: Raising) -> None:
    world.alert(world.first, 7)
    world.alert(world.first, 8, 0, DENIALS)


@verify("not an alert that can be here, or it closes none")
def an_alert_of_the_future(world: Raising) -> None:
    world.alert(world.first, 7)
    world.alert(10**6, 8, rule=DENIALS)


@verify("not an alert that can be here, or it closes none")
def a_close_of_nothing(world: Raising) -> None:
    words = {"act": "alert", "reason": "A drill."}
    reason = policies.leaf(world.log, world.log.signed("evidence.system", words, at(7), "evidence", event={"approval_id": None}, fields=words))
    world.log.signed("system.alert", {"op": "close", "alert": 3, "by": {"operator": "00112233445566cc"}, "reason": reason}, at(8), "alert")


@verify("only clauses of a bundle that is in force raise alerts")
def an_alert_of_what_only_observes(world: Raising) -> None:
    made = world.decided("f-1", 8, alerts=ALERTS)
    world.forge(made | {"data": made["data"] | {"mode": "shadow"}}, 8)


@pytest.mark.parametrize("name", VERIFY)
def test_p19_an_export_whose_alerts_are_forged_is_refused(name: str, tmp_path: Path) -> None:
    """What is left out, doubled, made up or of the future is found by who has the export alone."""
    forge, said = VERIFY[name]
    world = Raising()
    forge(world)
    verified = cli("verify", "--key", world.export(tmp_path), "--export", tmp_path)
    if said is None:
        verified.ok()
    else:
        assert verified.code == 1 and said in verified.out, verified.err or verified.out
