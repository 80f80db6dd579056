"""P14, P15, P17: policies change while gateways ask. Every verdict is by the bundle in force at its place in the log."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import Server
from support.asking import Asking, bounded, count, everything
from support.deciding import Deciding, question

THREADS = 8
ACTIVATIONS = 6


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Deciding]:
    """A tenant without policies."""
    with Server(tmp_path / "server") as server:
        yield Deciding(server)


def test_p14_p15_p17_policies_change_while_gateways_ask(desk: Deciding, tmp_path: Path, rng: random.Random) -> None:
    """No verdict after an activation names an older bundle; what was told is a decision in the log, never a void; no question
    has two verdicts; all of them are computed again; and work was done throughout."""
    folders = [bounded(tmp_path / "wide", 100_000), bounded(tmp_path / "narrow", 40_000)]
    versions = []
    with Asking(desk.server, desk.gateway.key, THREADS, rng) as asking:
        asking.wait_for(20)
        for nth in range(ACTIVATIONS):
            versions.append(desk.activate(folders[nth % 2])["digest"])
            # Each bundle gives verdicts before the next one.
            asking.wait_for_more(60)
        told = asking.finish()
    assert not asking.again, asking.again
    counted = everything(desk, told, tmp_path / "export")
    print(counted, asking.verdicts)
    assert counted["activations"] == ACTIVATIONS and len(set(versions)) == 2
    by = {bundle: [t for t in told if t["bundle"] == bundle and not t["repeated"]] for bundle in {None, *versions}}
    assert all(len(answers) >= 20 for answers in by.values()), {bundle: len(answers) for bundle, answers in by.items()}
    # Each bundle is obeyed: 50,000 passes one and not the other; before the first, nothing passes.
    allowed = {bundle: {t["amount"] for t in answers if t["verdict"] == "allow"} for bundle, answers in by.items()}
    assert allowed == {None: set(), versions[0]: {1, 39_999, 50_000, 99_999}, versions[1]: {1, 39_999}}
    assert counted["allows"] > 100 and counted["told"] > 300
    # An activation between judging and posting is met now and then: then the question was decided anew.
    assert counted["contended"] == 0 or counted["voids"] >= 3 * counted["contended"]


def test_p14_the_counting_can_fail(desk: Deciding, tmp_path: Path, rng: random.Random) -> None:
    """Each of the claims above, broken, is found by the program that counts."""
    with Asking(desk.server, desk.gateway.key, 2, rng, repeats=0) as asking:
        desk.activate(bounded(tmp_path / "wide", 100_000))
        asking.wait_for_more(20)
        told = asking.finish()
    folder = desk.export(tmp_path / "export")
    assert count(folder, told)["wrong"] == []
    allowed = next(answer for answer in told if answer["verdict"] == "allow")
    for name, value in [
        ("verdict", "deny"), ("index", allowed["index"] - 1), ("index", 10**6), ("leaf_hash", "A" * 43 + "="),
        ("bundle", "other"), ("call", "other"), ("id", "other"),
    ]:  # fmt: skip
        wrong = copy.deepcopy(told)
        next(answer for answer in wrong if answer == allowed)[name] = value
        assert count(folder, wrong)["wrong"], (name, value)
    assert count(folder, [*told, allowed])["wrong"], "two first answers"
    assert count(folder, [*told, allowed | {"repeated": True}])["wrong"] == []
    bundle = folder / "tile" / "entries"
    path = next(path for path in bundle.rglob("*") if path.is_file())
    whole = path.read_bytes()
    # Any byte of the log counts: a verdict that was turned around gives another root.
    path.write_bytes(whole.replace(b'"verdict":"allow"', b'"verdict":"nopes"', 1))
    assert any("root" in what for what in count(folder, told)["wrong"])


def test_p11_p14_what_a_void_holds_can_be_erased(desk: Deciding, tmp_path: Path, rng: random.Random) -> None:
    """A verdict that did not stand holds the call as well: its payload is disclosed as any other, can be erased, and leaves a sound
    database. Its key is the one of the verdict that stands."""
    with Asking(desk.server, desk.gateway.key, THREADS, rng, repeats=0) as asking:
        voids: list[tuple[int, dict[str, Any]]] = []
        for nth in range(40):
            desk.activate(bounded(tmp_path / f"{nth}", 100_000 - nth))
            voids = [(index, json.loads(leaf)["event"]) for index, leaf in desk.server.admin.feed(kind="void")]
            if voids:
                break
            asking.wait_for_more(10)
        told = asking.finish()
    assert voids, "no activation came between judging and posting"
    index, void = voids[0]
    assert set(void) == {"id", "source", "reason"} and void["reason"] == "bundle"
    stands = [answer for answer in told if answer["id"] == void["id"]]
    assert len(stands) == 1 and stands[0]["index"] > index
    discloser = desk.server.as_("discloser")
    [(_, name, whole)] = map(json.loads, discloser.disclosures(index).splitlines())
    assert name == "event" and whole["data"]["payload"]["params"]["amount"] == stands[0]["amount"]
    assert desk.server.admin.erase(index)["status"] == "complete"
    assert discloser.get(f"/entries/{index}/disclosures").text == ""
    assert desk.ask(question()).json()["verdict"] == "allow"
    counted = count(desk.export(tmp_path / "export"), told)
    assert counted["wrong"] == [] and counted["voids"] >= 1
    desk.server.restart(kill=True)
    desk.server.stop()
    desk.server.fsck("--replay").ok()
