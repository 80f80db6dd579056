"""P14, P15, P17: exports with lists that a holder of our journal and log keys forged. What the log alone contradicts, `verify` refuses; what only the items
contradict, `replay` names."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import cli
from support.forging import Forger, at, policies

FIFTH, PAYEES = policies.FIFTH, policies.PAYEES
KNOWN = {"clause": "payments/known-payees", "clauses": ["payments/known-payees"]}
VERIFY: dict[str, tuple[Callable[["Listed"], Any], str]] = {}
REPLAY: dict[str, tuple[Callable[["Listed"], Any], str]] = {}


class Listed(Forger):
    """A log in which the bundle names the list `payees`, and version 1 of it is in force: with bakery, forge and mill."""

    def __init__(self) -> None:
        super().__init__()
        for text in (FIFTH, PAYEES):
            self.bundles.part(text, at(5))
        self.files = self.files | {"policies/payments.yaml": FIFTH, "lists/payees.yaml": PAYEES}
        self.propose(self.files, 5)
        self.bundles.activate(3, 6, ["all new"], "Third.")
        self.third = (self.bundles.in_force, 3)
        self.file = self.bundles.parts[PAYEES]
        self.one, self.one_at = self.listed(1, self.file, ["bakery", "forge", "mill"], 7)
        self.changed(self.one, self.one_at, 8, ["forge"], [], 3)
        self.log.judge(self.paid("l-1", 9), at(9))

    def listed(self, version: int, replaces: int, items: list[str], minute: int, **over: Any) -> tuple[dict[str, Any], int]:
        """Records a proposed version. Returns its body and its index."""
        body = self.bundles.list("payees", version, replaces, items, "For the test.", at(minute)) | over
        return body, self.log.signed("system.policy", body, at(minute), "policy")

    def changed(self, body: dict[str, Any], entry: int, minute: int, added: list[str], removed: list[str], items: int, **over: Any) -> int:
        """People approve it, and it takes effect. Returns the index of the question."""
        id, activates = self.bundles.ask_list(body, entry, minute, added, removed, items, "For the test.")
        self.bundles.say(id, at(minute, 22), self.bundles.redeemed(), activates=activates | over)
        return activates["decision"]["index"]

    def paid(self, id: str, minute: int, verdict: str = "allow", payee: str = "forge", lists: Any = ...) -> dict[str, Any]:
        """What the server says of a payment."""
        asked = policies.question(id, params=policies.QUESTION["params"] | {"payee": payee})
        told = KNOWN if verdict == "allow" else {}
        rests = {"payees": 1} if lists is ... else lists
        more = {"lists": rests} if rests is not None else {}
        return policies.answer(self.log, asked, at(minute), self.third, verdict, "allowed" if told else "no_clause", local_times=False, **told, **more)


def refused(said: str) -> Callable[[Callable[[Listed], Any]], Callable[[Listed], Any]]:
    """`verify` says this."""
    return lambda forge: VERIFY.setdefault(forge.__name__, (forge, said))[0]


def different(said: str) -> Callable[[Callable[[Listed], Any]], Callable[[Listed], Any]]:
    """Only `replay` can know, and says this of the entry whose index `forge` returns."""
    return lambda forge: REPLAY.setdefault(forge.__name__, (forge, said))[0]


@refused("it was decided by another version of a list than the one in force at its place")
def the_version_before(world: Listed) -> None:
    world.forge(world.paid("f-1", 10, "deny", lists={"payees": 0}), 10)


@refused("it was decided by another version of a list than the one in force at its place")
def a_version_that_is_not_in_force(world: Listed) -> None:
    world.listed(2, world.one_at, ["bakery"], 9)
    world.forge(world.paid("f-1", 10, "deny", lists={"payees": 2}), 10)


@refused("no approval was redeemed for this activation")
def a_change_without_a_redemption(world: Listed) -> None:
    _, entry = world.listed(2, world.one_at, ["bakery"], 9)
    event = {"op": "change", "approval_id": "apr-x", "name": "payees", "version": 2, "list": entry, "part": entry - 2,
             "decision": {"index": 1, "leaf_hash": "A" * 43 + "="}, "digest": "A" * 43}  # fmt: skip
    world.log.signed("system.policy", {}, at(10), None)
    world.log.put("policy", None, event, event, {}, ("", "policy", ""))


@refused("it puts something else in force than people were asked about")
def another_change_than_was_approved(world: Listed) -> None:
    body, entry = world.listed(2, world.one_at, ["bakery"], 9)
    other, second = world.listed(2, world.one_at, ["bakery", "forge", "mill", "thief"], 9)
    world.changed(body, entry, 10, [], ["forge", "mill"], 1, list=second, digest=other["digest"])


@refused("it is not the version of the list that the approval's redemption puts in force here")
def a_change_that_replaces_what_is_not_in_force(world: Listed) -> None:
    body, entry = world.listed(2, world.file, ["bakery"], 9)
    world.changed(body, entry, 10, [], ["mill"], 1)


@refused("it is not the version of the list that the approval's redemption puts in force here")
def a_change_that_leaves_out_a_version(world: Listed) -> None:
    body, entry = world.listed(3, world.one_at, ["bakery"], 9)
    world.changed(body, entry, 10, [], ["forge", "mill"], 1)


@refused("the digest is not that of the version of the list")
def a_digest_that_is_invented(world: Listed) -> None:
    world.listed(2, world.one_at, ["bakery"], 9, digest="A" * 43)


@refused("or its file is another entry")
def a_file_that_is_no_entry(world: Listed) -> None:
    part = world.one["part"] | {"index": world.one["part"]["index"] + 1}
    world.listed(2, world.one_at, ["bakery"], 9, part=part, digest=policies.list_digest("payees", 2, part))


@refused("it is not what the approval's redemption puts in force here")
def a_bundle_that_was_proposed_before_the_list_had_entries(world: Listed) -> None:
    """People approved a bundle with another file of the list, which does not count any more: the redemption comes after the list's first entry."""
    early = Forger.__new__(Listed)
    Forger.__init__(early)
    for text in (FIFTH, PAYEES):
        early.bundles.part(text, at(5))
    early.files = early.files | {"policies/payments.yaml": FIFTH, "lists/payees.yaml": PAYEES}
    early.propose(early.files, 5)
    early.bundles.activate(3, 6, ["all new"], "Third.")
    id, activates = early.bundles.ask(2, 7, ["back"], "Back.")
    waiting = (early.bundles.n, early.bundles.last, early.bundles.jti)
    body, entry = early.listed(1, early.bundles.parts[PAYEES], ["bakery"], 8)
    early.changed(body, entry, 8, [], ["mill"], 1)
    early.bundles.n, early.bundles.last, early.bundles.jti = waiting
    early.bundles.say(id, at(8, 40), early.bundles.redeemed(), activates=activates)
    world.log, world.bundles = early.log, early.bundles


@different("recorded allow by payments/known-payees (allowed), computed again allow by payments/known-payees (allowed) on payees 1")
def a_list_is_left_out(world: Listed) -> int:
    return world.forge(world.paid("f-1", 10, lists=None), 10)


@different("on another 0, payees 1, computed again")
def a_list_too_many(world: Listed) -> int:
    return world.forge(world.paid("f-1", 10, lists={"payees": 1, "another": 0}), 10)


@different("computed again deny (no_clause) on payees 1")
def an_allow_of_what_is_not_in_the_list(world: Listed) -> int:
    return world.forge(world.paid("f-1", 10, payee="thief"), 10)


@different("computed again allow")
def a_denial_of_what_is_in_the_list(world: Listed) -> int:
    return world.forge(world.paid("f-1", 10, "deny"), 10)


@different("people were asked about other items than the version of the list adds and removes")
def people_were_shown_other_items(world: Listed) -> int:
    body, entry = world.listed(2, world.one_at, ["bakery", "forge", "mill", "thief"], 10)
    index = world.changed(body, entry, 11, ["friend"], [], 4)
    return index


@different("people were asked about other items than the version of the list adds and removes")
def people_were_shown_another_number(world: Listed) -> int:
    body, entry = world.listed(2, world.one_at, ["bakery", "forge"], 10)
    return world.changed(body, entry, 11, [], ["mill"], 3)


@pytest.mark.parametrize("name", VERIFY)
def test_p14_p17_a_forged_list_is_refused(name: str, tmp_path: Path) -> None:
    """Verification refuses it, and so does replay."""
    forge, said = VERIFY[name]
    world = Listed()
    forge(world)
    vkey = world.export(tmp_path)
    verified = cli("verify", "--key", vkey, "--export", tmp_path)
    assert verified.code == 1 and said in verified.out, verified.err or verified.out
    replayed = cli("replay", "--key", vkey, "--export", tmp_path)
    assert replayed.code == 1 and said in replayed.err, replayed.err


@pytest.mark.parametrize("name", REPLAY)
def test_p15_p17_a_forged_verdict_on_a_list_is_different(name: str, tmp_path: Path) -> None:
    """It verifies; replay says which entry is different and why, and the one before it is the same."""
    forge, said = REPLAY[name]
    world = Listed()
    index = forge(world)
    vkey = world.export(tmp_path)
    cli("verify", "--key", vkey, "--export", tmp_path).ok()
    done = cli("replay", "--json", "--key", vkey, "--export", tmp_path)
    told = done.json()
    assert done.code == 1 and list(told["different"]) == [str(index)] and said in told["different"][str(index)], told
    assert told["same"] == 2 and told["not_replayable"] == {}, told


def test_p15_p17_the_log_that_nobody_forged_is_verified_and_replayed(tmp_path: Path) -> None:
    """The same log without the forged entry."""
    world = Listed()
    vkey = world.export(tmp_path)
    cli("verify", "--key", vkey, "--export", tmp_path).ok()
    told = cli("replay", "--json", "--key", vkey, "--export", tmp_path).ok().json()
    assert (told["same"], told["different"], told["not_replayable"]) == (2, {}, {})


def test_p15_an_edited_item_is_refused(tmp_path: Path) -> None:
    """The list's file holds another item than its entry names by digest; or the export alone was edited."""
    world = Listed()
    text = next(text for text, index in world.bundles.parts.items() if index == world.one["part"]["index"])
    honest = world.export(tmp_path / "edited")
    shown = tmp_path / "edited" / "disclosures" / f"{world.one['part']['index']}.disclosures"
    shown.write_text(shown.read_text().replace("forge", "thief"))
    done = cli("verify", "--key", honest, "--export", tmp_path / "edited")
    assert done.code == 1 and "disclosures" in done.out + done.err, done
    world.replace_part(text, text.replace("forge", "thief"))
    vkey = world.export(tmp_path / "forged")
    done = cli("replay", "--key", vkey, "--export", tmp_path / "forged")
    # The entries after it name what came before: nothing of this log is right any more, or the file is another one.
    assert done.code == 1 and ("other content" in done.err or "leaf" in done.err or "prev" in done.err), done.err


def test_p15_without_disclosures_no_verdict_on_a_list_is_different(tmp_path: Path) -> None:
    """An export without payload: nothing is called the same, nothing is called different."""
    world = Listed()
    vkey = world.export(tmp_path)
    shutil.rmtree(tmp_path / "disclosures")
    told = cli("replay", "--json", "--key", vkey, "--export", tmp_path).ok().json()
    assert told["different"] == {} and told["same"] == 0 and len(told["not_replayable"]) == 2, told
