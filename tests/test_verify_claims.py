"""Everything given to one `verify` is one claim: what contradicts itself is refused, whoever signed it (P2, P4, P8, P11).

The log is a real one; its operator then shows other people other histories, signed with the log's own key."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support import Finished, Server, cli, event
from support.house import House
from support.operator import Operator, digest

RULES = """
[[rule]]
name = "everything"
quorum = {at_least = 2, of = "finance"}
"""
PEOPLE = [
    {"id": "p-ana", "name": "Ana Lima", "groups": ["finance"]},
    {"id": "p-bob", "name": "Bob Ito", "groups": ["finance"]},
    {"id": "p-cem", "name": "Cem Demir", "groups": ["finance"]},
    {"id": "p-kim", "name": "Kim Lee", "groups": ["finance"], "owns": ["agent-7"]},
]


@dataclass
class Kit:
    """What an auditor was given by a log, and the key that signed it."""

    vkey: str
    whole: Path
    operator: Operator
    folder: Path
    spent: str
    pending: str
    erased: int
    #: The history of the spent approval, from before its token was minted; and at its end.
    early: Path
    late: Path

    def verify(self, *args: object) -> Finished:
        return cli("verify", "--key", self.vkey, *args)

    def file(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def refused(self, *args: object, names: tuple[object, ...] = (), word: str = "") -> str:
        """It is refused, names these files, and says nothing else of them."""
        done = self.verify(*args)
        assert done.code == 1 and "REFUSED" in done.out, done
        assert "verified" not in done.out, done
        for name in names:
            assert str(name) in done.out, (name, done.out)
        assert word in done.out, (word, done.out)
        answer = self.verify("--json", *args).json()
        assert answer["verified"] is False and not any(item["verified"] for item in answer["items"])
        return done.out


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Any:
    root = tmp_path_factory.mktemp("claims")
    house = House.ready(root / "house", RULES, PEOPLE)
    server = house.server
    try:
        publisher = server.as_("publisher")
        publisher.publish(*(event(source="/c", sequence=str(n)) for n in range(1, 300)))
        gone = publisher.publish(event(payload={"owner": "kim", "iban": "DE02"}))[0]["index"]
        spent = house.grant("p-ana", "p-bob", agent="agent-7")
        key = server.add_key(["auditor", "discloser"])

        def history(name: str) -> Path:
            server.remote("export", "--tenant", "acme", "--disclosures", "--approval", spent.id, root / name, key=key).ok()
            return root / name

        early = history("early")
        house.redeem(spent, house.mint(spent))
        house.report(spent)
        late = history("late")
        pending = house.pause(agent="agent-7")
        house.until_state(pending, "pending")
        house.review(pending, "p-cem")
        server.admin.erase(gone)
        publisher.publish(*(event(source="/c", sequence=str(n)) for n in range(300, 600)))
        server.remote("export", "--tenant", "acme", "--disclosures", root / "whole", key=key).ok()
        operator = Operator(root / "whole", server.keys_dir / "acme" / "log-1.key")
        yield Kit(server.vkey, root / "whole", operator, root, spent.id, pending.id, gone, early, late)
        house.close()
    finally:
        server.__exit__()


@pytest.fixture
def kit(made: Kit, tmp_path: Path) -> Kit:
    """The same material, and a folder of this test."""
    return Kit(**{**vars(made), "folder": tmp_path})


@pytest.fixture
def other(kit: Kit) -> Operator:
    """Another history: the same until entry 200, where a denial became a permission."""
    branch = kit.operator.copy()
    branch.entries[200]["event"]["data"]["verdict"] = "allow"
    branch.chain()
    return branch


# What holds


def test_p4_one_history_in_every_form_verifies_together(kit: Kit) -> None:
    """Export, receipts, checkpoints of several sizes, a proof and a history: one claim, and what it shows."""
    operator, size = kit.operator, kit.operator.size
    args = ["--export", kit.whole, "--approval", kit.late]
    for n in (1, 5, 256, 300, size):
        args += ["--checkpoint", kit.file(f"{n}.checkpoint", operator.checkpoint(n))]
    args += ["--proof", kit.file("proof.json", operator.proof(5, 300))]
    args += [kit.file(f"{index}.tlog-proof", operator.receipt(index, n)) for index, n in ((0, 1), (4, 7), (299, 300), (3, size))]
    answer = kit.verify("--json", *args).ok().json()
    assert answer["together"]["checked"] == ["no_contradiction"] and answer["together"]["not_checked"] == []
    told = kit.verify(*args).ok().out
    assert "not checked: whether the log of" not in told and told.count("verified") == len(answer["items"])
    whole = next(item for item in answer["items"] if "summary" in item)
    assert whole["approvals"] == {"completed": 1, "pending": 1}
    assert {"every_approval", "keys_named_by_the_log", "nothing_missing_but_erased"} <= set(whole["checked"])


def test_p4_what_can_not_be_compared_is_said(kit: Kit) -> None:
    """Two trees that nothing connects: verified, and said; a proof or an export connects them."""
    operator = kit.operator
    old, new = kit.file("old", operator.checkpoint(100)), kit.file("new", operator.checkpoint(301))
    pair = ["--checkpoint", old, "--checkpoint", new]
    told = kit.verify(*pair).ok().out
    assert "not checked: whether the log of 100 entries" in told and str(old) in told and "from=100&to=301" in told
    assert kit.verify("--json", *pair).ok().json()["together"]["sizes_not_connected"] == [100]
    proof = kit.file("p", operator.proof(100, 301))
    for more in (["--proof", proof], ["--export", kit.whole], [kit.file("r", operator.receipt(100, 301)), "--export", kit.whole]):
        answer = kit.verify("--json", *pair, *more).ok().json()
        assert answer["together"]["sizes_not_connected"] == [], more
    swapped = ["--checkpoint", new, "--checkpoint", old, "--proof", proof]
    assert kit.verify(*swapped).code == 0, "a proof says its sizes itself"
    assert "100 and 301" in kit.verify("--checkpoint", old, "--proof", proof).out


def test_p8_a_history_and_the_whole_log(kit: Kit) -> None:
    """Together they tell what neither does alone: whether a message follows, and that the rule was in force."""
    answer = kit.verify("--json", "--export", kit.whole, "--approval", kit.late).ok().json()
    history = next(item for item in answer["items"] if "approval_id" in item)
    assert history["later_messages"] == [] and {"later_messages", "rule_in_force"} <= set(history["checked"])
    answer = kit.verify("--json", "--export", kit.whole, "--approval", kit.early).ok().json()
    history = next(item for item in answer["items"] if "approval_id" in item)
    count = len(kit.operator.of_approval(kit.spent))
    assert history["state"] == "granted"
    assert [later["n"] for later in history["later_messages"]] == list(range(history["n"] + 1, count + 1))
    told = kit.verify("--export", kit.whole, "--approval", kit.early).ok().out
    assert f"The log holds a later message: {count}, entry" in told
    alone = kit.verify("--approval", kit.early, "--json").ok().json()["items"][0]
    assert "later_messages" in alone["not_checked"] and alone["later_messages"] is None


# Two histories


def test_p4_two_roots_of_one_size(kit: Kit, other: Operator) -> None:
    one, two = kit.file("one", kit.operator.checkpoint()), kit.file("two", other.checkpoint())
    kit.refused("--checkpoint", one, "--checkpoint", two, names=(one, two), word=f"first {other.size} entries")
    a, b = kit.file("a", kit.operator.receipt(7)), kit.file("b", other.receipt(7))
    kit.refused(a, b, names=(a, b))
    kit.refused(a, "--checkpoint", two, names=(a, two))
    kit.refused("--approval", kit.late, kit.file("c", other.receipt(3, int((kit.late / "checkpoint").read_text().split("\n")[1]))), names=(kit.late,))


def test_p4_an_export_judges_older_and_newer_material(kit: Kit, other: Operator) -> None:
    """Of one branch an export; of the other a smaller checkpoint, receipts of smaller, equal and larger sizes."""
    small = kit.operator.export(kit.folder / "small", 400)
    given: list[list[object]] = [
        ["--checkpoint", kit.file("300", other.checkpoint(300))],
        [kit.file("r200", other.receipt(200, 201))],
        [kit.file("r3", other.receipt(3, 250))],
        [kit.file("r400", other.receipt(3, 400))],
        [kit.file("r500", other.receipt(399, 500))],
        [kit.file("r600", other.receipt(200, 600))],
    ]
    for args in given:
        kit.refused("--export", small, *args, names=(small, args[-1]), word="contradict")
        kit.refused("--export", other.export(kit.folder / f"o{len(str(args))}-{args[-1].name}", 400), *same_of(kit, args), word="contradict")
    before = kit.file("before", other.receipt(150, 180))
    assert kit.verify("--export", small, before).code == 0, "before the fork it is one history"


def same_of(kit: Kit, args: list[object]) -> list[object]:
    """The same files of the true branch."""
    path = Path(str(args[-1]))
    text = path.read_text()
    if text.startswith("c2sp"):
        index, size = int(text.split("\n")[2].split()[1]), int(text.split("\n\n")[1].split("\n")[1])
        return [*args[:-1], kit.file(f"true-{path.name}", kit.operator.receipt(index, size))]
    return [*args[:-1], kit.file(f"true-{path.name}", kit.operator.checkpoint(int(text.split("\n")[1])))]


def test_p4_receipts_that_share_no_size(kit: Kit, other: Operator) -> None:
    """One index with two entries; another index with a common range; a root that follows from many leaves."""
    a, b = kit.file("a", kit.operator.receipt(200, 300)), kit.file("b", other.receipt(200, 310))
    kit.refused(a, b, names=(a, b), word="entry 200")
    a, b = kit.file("a", kit.operator.receipt(10, 256)), kit.file("b", other.receipt(300, 310))
    kit.refused(a, b, names=(a, b))
    leaves = [kit.file(f"leaf{n}", other.receipt(n, 300)) for n in range(192, 208)]
    kit.refused(*leaves, kit.file("c", kit.operator.receipt(100, 208)))
    proof = kit.file("p", other.proof(250, 300))
    sizes = ["--checkpoint", kit.file("250", other.checkpoint(250)), "--checkpoint", kit.file("300", other.checkpoint(300)), "--proof", proof]
    assert kit.verify(*sizes).code == 0
    kit.refused(*sizes, kit.file("d", kit.operator.receipt(260, 270)))


def test_p4_histories_are_part_of_the_claim(kit: Kit, other: Operator) -> None:
    """The history of one branch, the export of the other; and one with an entry that the log does not hold there."""
    foreign = other.history(kit.folder / "foreign", kit.spent)
    kit.refused("--export", kit.whole, "--approval", foreign, names=(kit.whole,))
    kit.refused("--approval", kit.late, kit.file("r", other.receipt(200, 310)))
    branch = kit.operator.copy()
    last = branch.of_approval(kit.spent)[-1]
    branch.entries[last]["event"]["events"][0]["outcome"] = "failed"
    kit.refused("--export", kit.whole, "--approval", branch.history(kit.folder / "failed", kit.spent, size=branch.size), word="contradict")


def test_p8_a_history_that_hides_its_end(kit: Kit) -> None:
    """The redemption is left out, under a checkpoint that has it: alone nobody can see it; beside the log it is refused."""
    short = kit.operator.history(kit.folder / "short", kit.spent, count=4)
    assert kit.verify("--approval", short).code == 0
    kit.refused("--export", kit.whole, "--approval", short, names=(short, kit.whole), word="is not in the history")
    kit.refused("--approval", short, "--approval", kit.operator.history(kit.folder / "long", kit.spent), names=(short,))
    hidden = kit.operator.of_approval(kit.spent)[-2]
    kit.refused("--approval", short, kit.file("hidden.tlog-proof", kit.operator.receipt(hidden)), names=(short, "hidden.tlog-proof"))
    older = kit.operator.export(kit.folder / "older", kit.operator.of_approval(kit.spent)[-1])
    # Its payload is that of today: what was erased since is missing there, and no entry of so old a log says why.
    shutil.rmtree(older / "disclosures")
    assert kit.verify("--export", older, "--approval", kit.late).code == 0, "an export from before the last message"


def test_p2_receipts_that_one_log_could_not_write(kit: Kit) -> None:
    """Each is proven, under one root even; together they tell an event twice, a message twice, or a journal that ran back."""
    def refuse(change: Callable[[Operator], object], *indexes: int, word: str) -> None:
        branch = kit.operator.copy()
        change(branch)
        branch.chain()
        files = [kit.file(f"{index % len(branch.entries)}.tlog-proof", branch.receipt(index % len(branch.entries))) for index in indexes]
        kit.refused(*files, names=tuple(files), word=word)

    refuse(lambda o: o.append(o.entries[7]), 7, -1, word="posted twice")
    refuse(lambda o: o.append(spent(o, kit, 2)), kit.operator.of_approval(kit.spent)[-2], -1, word="message")
    refuse(lambda o: o.entries[9]["journal"].update(seq=1), 8, 9, word="before it in the journal")
    refuse(lambda o: o.entries[9]["journal"].update(time="2025-01-01T00:00:00.000000000Z"), 8, 9, word="before it in the journal")
    refuse(lambda o: o.entries[9].update(journal=dict(o.entries[8]["journal"])), 8, 9, word="one message of the journal")
    # Time runs back where it began anew; the entry that says so need not be given.
    branch = kit.operator.copy()
    branch.entries[9]["kind"] = "clock"
    branch.entries[10]["journal"]["time"] = "2025-01-01T00:00:00.000000000Z"
    branch.chain()
    assert kit.verify(*(kit.file(f"anew-{index}.tlog-proof", branch.receipt(index)) for index in (8, 10))).code == 0
    branch = kit.operator.copy()
    branch.entries[9]["tenant"] = "globex"
    kit.refused(kit.file("foreign", branch.receipt(9)), word="another tenant")
    branch = kit.operator.copy()
    branch.entries[9]["v"] = 2
    kit.refused(kit.file("later", branch.receipt(9)), word="version 1")


def test_p4_many_exports_and_histories(kit: Kit, other: Operator) -> None:
    """Last year's export and this year's in one command."""
    old = kit.operator.export(kit.folder / "old", 400)
    assert kit.verify("--export", old, "--export", kit.whole, "--approval", kit.early, "--approval", kit.late).code == 0
    foreign = other.export(kit.folder / "foreign", 400)
    for pair in ((foreign, kit.whole), (kit.whole, foreign)):
        kit.refused("--export", pair[0], "--export", pair[1], names=(foreign, kit.whole))


# The whole log judges itself


def spent(o: Operator, kit: Kit, back: int = 1) -> dict[str, Any]:
    """One of the last messages of the spent approval."""
    return o.entries[o.of_approval(kit.spent)[-back]]


def redeemed_twice(o: Operator, kit: Kit) -> None:
    index = o.append(spent(o, kit, 2))
    message = o.entries[index]["event"]
    message["events"][0]["redemption_id"] = "r-2"


def fork_of_the_chain(o: Operator, kit: Kit) -> None:
    """As two deleted index rows make it: the same number twice, both redemptions."""
    report = o.of_approval(kit.spent)[-1]
    index = o.append(o.entries[report - 1])
    o.entries[index]["event"]["events"][0]["redemption_id"] = "r-2"


def late_review(o: Operator, kit: Kit) -> None:
    review = next(o.entries[n] for n in o.of_approval(kit.spent) if o.entries[n]["event"]["events"][0]["type"] == "reviewed")
    index = o.append(review)
    o.entries[index]["event"]["n"] = len(o.of_approval(kit.spent))
    o.entries[index]["event"]["events"] = [review["event"]["events"][0] | {"by": "p-cem", "decision": "deny"}]


def another_rule(o: Operator, kit: Kit) -> None:
    for entry in o.entries:
        if entry["kind"] == "rules":
            entry["event"]["rules"][0]["deny"] = 2


def the_last(o: Operator, kind: str) -> dict[str, Any]:
    return next(entry for entry in reversed(o.entries) if entry["kind"] == kind)


LIES: dict[str, tuple[Callable[[Operator, Kit], object], str]] = {
    "P8: redeemed twice": (redeemed_twice, "its number is another"),
    "P8: redeemed twice, numbered on": (lambda o, k: (redeemed_twice(o, k), o.entries[-1]["event"].update(n=len(o.of_approval(k.spent)))), "redeemed"),
    "P8: the chain forked": (fork_of_the_chain, "its number is another"),
    "P8: a review after the end": (late_review, "reviewed"),
    "P8: a message is missing": (lambda o, k: o.entries[o.of_approval(k.spent)[-2]].update(kind="evidence"), "its number is another"),
    "P8: asked for twice": (lambda o, k: o.append(o.entries[o.of_approval(k.pending)[0]]), "its number is another"),
    "P8: no beginning": (lambda o, k: o.entries[o.of_approval(k.pending)[0]].update(kind="evidence"), "request"),
    "P8: another person granted": (lambda o, k: o.entries[o.of_approval(k.spent)[2]]["event"]["events"][0].update(by="p-kim"), "reviewed"),
    "P7: the decision is another call": (lambda o, k: o.entries[spent_opening(o, k)]["event"]["data"]["call"].update(digest="A" * 43), "call.digest"),
    "a rule that was never in force": (another_rule, "its rule was not in force"),
    "P2: an event twice": (lambda o, k: o.append(o.entries[7]), "posted twice"),
    "one journal message twice": (lambda o, k: o.entries[7].update(journal=dict(o.entries[6]["journal"])), "two entries"),
    "the journal runs back": (lambda o, k: o.entries[9]["journal"].update(seq=o.entries[5]["journal"]["seq"]), "journal"),
    "P12: another tenant's entry": (lambda o, k: o.entries[9].update(tenant="globex"), "another tenant"),
    "another log's genesis": (lambda o, k: o.entries[0]["event"].update(origin="log.example.com/v1/tenants/acme/logs/2"), "another log"),
    "keys that the log does not name": (lambda o, k: o.entries[0]["event"].update(log_keys=[]), "does not name"),
    "P11: an erasure of another leaf": (lambda o, k: the_last(o, "erasure")["event"].update(leaf_hash="A" * 43 + "="), "not that of the entry"),
    "P11: an erasure of what comes later": (lambda o, k: the_last(o, "erasure")["event"].update(index=len(o.entries) - 1), "no earlier entry"),
}  # fmt: skip


def spent_opening(o: Operator, kit: Kit) -> int:
    return o.entries[o.of_approval(kit.spent)[0]]["event"]["events"][0]["opening"]["index"]


@pytest.mark.parametrize("lie", LIES)
def test_p8_lies_of_a_whole_log(kit: Kit, lie: str) -> None:
    """Whoever holds the log's key can sign anything; not every log can have been written by these rules."""
    change, word = LIES[lie]
    branch = kit.operator.copy()
    change(branch, kit)
    branch.chain()
    kit.refused("--export", branch.export(kit.folder / "e"), word=word)


def test_what_the_operator_writes_without_a_lie_verifies(kit: Kit) -> None:
    """The lies above are refused for what they say, not for how they were written."""
    branch = kit.operator.copy()
    branch.append(branch.entries[7], event=branch.entries[7]["event"] | {"id": "another"}, payload=[])
    branch.chain()
    assert kit.verify("--export", branch.export(kit.folder / "e")).code == 0


def test_p8_a_prior_that_lies(kit: Kit) -> None:
    """An entry that denies the approval entry before it: refused in an export, and by two receipts alone."""
    branch = kit.operator.copy()
    branch.chain()
    hidden = branch.of_approval(kit.spent)[-1]
    before = branch.entries[hidden]["prior"]["approval"]
    after = len(branch.entries) - 1
    branch.entries[after]["prior"]["approval"] = before
    kit.refused("--export", branch.export(kit.folder / "e"), word="prior")
    files = [kit.file(f"{index}", branch.receipt(index)) for index in (hidden, after)]
    kit.refused(*files, names=tuple(files), word="prior")


# Keys


def test_p4_a_key_that_the_log_retired(kit: Kit) -> None:
    """The log hands over to another key; who keeps the keys document back and signs on with the old one is refused."""
    branch = kit.operator.copy()
    first = len(branch.entries) + 1
    change = {"use": "log", "vkey": vkey_of(branch.origin), "first_size": first, "old_last_size": first}
    branch.append(the_last(branch, "access"), kind="key", event=change)
    branch.append(branch.entries[7], event=branch.entries[7]["event"] | {"id": "after"}, payload=[])
    branch.chain()
    kit.refused("--export", branch.export(kit.folder / "e"), word="does not sign trees of that size")
    assert kit.verify("--export", branch.export(kit.folder / "f", first)).code == 0, "its last size"
    handover = kit.file("handover", branch.receipt(first - 1, first))
    late = kit.file("late", branch.checkpoint())
    kit.refused("--keys", kit.whole / "keys.json", "--checkpoint", late, handover, names=(late, handover))
    assert kit.verify("--checkpoint", late).code == 0
    kit.refused("--export", kit.folder / "f", "--checkpoint", late, names=(late, kit.folder / "f"))


def vkey_of(origin: str) -> str:
    """A verifier key of this name that nobody's signature is by."""
    import base64
    import hashlib

    key = b"\1" + base64.b64decode("AcqTrBcFGHBx1nuDx/8O/oEI6OxFMFdddyaHkzPb2r58")[1:]
    hexed = hashlib.sha256(origin.encode() + b"\n" + key).digest()[:4].hex()
    return f"{origin}+{hexed}+{base64.b64encode(key).decode()}"


# Payload


def disclosed(folder: Path) -> list[int]:
    return sorted(int(path.stem) for path in (folder / "disclosures").iterdir())


def test_p11_payload_is_missing_only_where_an_erasure_says_so(kit: Kit) -> None:
    """Every field that an entry commits to is there, or an erasure entry names it."""
    shown = disclosed(kit.whole)
    assert kit.erased not in shown and len(shown) > 300
    assert kit.verify("--export", kit.whole).code == 0
    copy = kit.folder / "copy"
    shutil.copytree(kit.whole, copy)
    one = copy / f"disclosures/{shown[5]}.disclosures"
    text = one.read_text()
    one.unlink()
    kit.refused("--export", copy, names=(one,), word="no erasure or retention entry says why")
    one.write_text(text.split("\n", 1)[1])
    kit.refused("--export", copy, names=(one,), word=f"1 of the {text.count(chr(10))} fields")
    one.write_text("")
    kit.refused("--export", copy, names=(one,))
    shutil.rmtree(copy / "disclosures")
    (copy / "disclosures").mkdir()
    kit.refused("--export", copy, word="no erasure or retention entry says why")
    (copy / "disclosures").rmdir()
    told = kit.verify("--export", copy).ok().out
    assert "the export carries no disclosures" in told
    assert "payload" in kit.verify("--json", "--export", copy).json()["items"][0]["not_checked"]


def test_p11_fields_that_were_erased_one_by_one(make_server: Any, tmp_path: Path) -> None:
    """Named fields may be missing, no others; one that was erased and is kept is named."""
    server = make_server()
    index = server.as_("publisher").publish(event(payload={"iban": "DE02", "owner": "kim", "memo": "x"}))[0]["index"]
    key = server.add_key(["auditor", "discloser"])
    export = lambda name: server.remote("export", "--tenant", "acme", "--disclosures", tmp_path / name, key=key).ok()  # noqa: E731
    export("before")
    server.admin.erase(index, "iban")
    export("after")
    verify = lambda name: cli("verify", "--key", server.vkey, "--export", tmp_path / name)  # noqa: E731
    assert verify("before").code == verify("after").code == 0
    path = tmp_path / f"after/disclosures/{index}.disclosures"
    old = (tmp_path / f"before/disclosures/{index}.disclosures").read_text()
    kept = path.read_text()
    assert "DE02" in old and "DE02" not in kept
    path.write_text(old)
    done = verify("after").ok()
    assert f"ERASED, AND STILL HERE: iban of entry {index}" in done.out
    answer = cli("verify", "--json", "--key", server.vkey, "--export", tmp_path / "after").ok().json()
    assert answer["items"][0]["erased_and_still_here"] == {str(index): ["iban"]}
    path.write_text(kept)
    (tmp_path / "r").write_text(server.admin.receipt(index))
    (tmp_path / "d").write_text(old)
    done = cli("verify", "--key", server.vkey, "--export", tmp_path / "after", "--disclosures", tmp_path / "d", tmp_path / "r").ok()
    assert f"ERASED, AND STILL HERE: iban of entry {index} ({tmp_path / 'd'})" in done.out
    early = tmp_path / "early"
    shutil.copytree(tmp_path / "before", early)
    (early / f"disclosures/{index}.disclosures").write_text(kept)
    assert cli("verify", "--key", server.vkey, "--export", early).code == 1, "erased after its checkpoint: nothing in it says so"
    erasure = max(n for n, leaf in server.admin.feed() if b'"kind":"erasure"' in leaf)
    (tmp_path / "e").write_text(server.admin.receipt(erasure))
    cli("verify", "--key", server.vkey, "--export", early, tmp_path / "e").ok()
    path.write_text("".join(line + "\n" for line in kept.splitlines()[1:]))
    done = verify("after")
    assert done.code == 1 and "1 of the 3 fields" in done.out, done


def test_p11_one_field_has_one_value(kit: Kit) -> None:
    """A log can commit to two values of one name; showing the one here and the other there is seen."""
    branch = kit.operator.copy()
    lines = ['["c2FsdA","memo","yes"]', '["c2FsdA","memo","no"]']
    entry = branch.entries[7]
    entry["payload"] = sorted([*entry["payload"], *map(digest, lines)])
    whole = branch.export(kit.folder / "e")
    path = whole / "disclosures/7.disclosures"
    rest = path.read_text() if path.exists() else ""
    path.write_text(rest + lines[0] + "\n")
    receipt, shown = kit.file("r", branch.receipt(7)), kit.file("r.disclosures", lines[1] + "\n")
    kit.refused("--export", whole, "--disclosures", shown, receipt, names=(shown, path), word="two values of `memo`")


# Names


def test_names_of_files_in_an_export(kit: Kit) -> None:
    """What could be taken for a part of the log is refused; what an operating system leaves is ignored, and said."""
    copy = kit.folder / "copy"
    shutil.copytree(kit.whole, copy)
    shown = disclosed(copy)[0]
    text = (copy / f"disclosures/{shown}.disclosures").read_text()
    for name in (f"disclosures/00{shown}.disclosures", f"disclosures/+{shown}.disclosures", f"disclosures/{shown}.txt", "disclosures/x.disclosures",
                 f"disclosures/{kit.operator.size}.disclosures", "tile/0/000.p/17", "tile/entries/009", "tile/0/000.new"):  # fmt: skip
        path = copy / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        kit.refused("--export", copy, names=(path,))
        path.unlink()
        if path.parent.suffix == ".p":
            path.parent.rmdir()
    (copy / "tile/0/001").rename(copy / "kept")
    (copy / "tile/0/001").symlink_to(copy / "kept")
    kit.refused("--export", copy, names=(copy / "tile/0/001",), word="link")
    (copy / "tile/0/001").unlink()
    (copy / "kept").rename(copy / "tile/0/001")
    for name in (".DS_Store", "disclosures/.DS_Store", "disclosures/Thumbs.db", "tile/0/._000", "desktop.ini"):
        (copy / name).write_bytes(b"\0")
    (copy / "notes.txt").write_text("mine")
    told = kit.verify("--export", copy).ok().out
    assert "ignored" in told and "disclosures/Thumbs.db" in told and "not read" in told and "notes.txt" in told
    item = kit.verify("--json", "--export", copy).json()["items"][0]
    assert item["not_looked_at"] == ["notes.txt"] and len(item["ignored"]) == 5
    fresh = ".countersign-" + "0f" * 16 + ".new"
    left = [f"disclosures/{shown}.new", fresh, f"disclosures/{fresh}", f"tile/0/{fresh}", f"tile/entries/{fresh}"]
    for name in left:
        (copy / name).write_text(text[:-9])
    told = kit.verify("--export", copy).ok().out
    assert all(name in told for name in left), told
    item = kit.verify("--json", "--export", copy).json()["items"][0]
    assert len(item["ignored"]) == 5 + len(left) and set(left) < set(item["ignored"])
    for name in (f"disclosures/0{shown}.new", f"disclosures/{fresh}.disclosures", "disclosures/.countersign-0f.new"):
        (copy / name).write_text(text)
        kit.refused("--export", copy, names=(copy / name,))
        (copy / name).unlink()
    (copy / left[0]).unlink()
    (copy / left[0]).symlink_to(copy / "notes.txt")
    kit.refused("--export", copy, names=(copy / left[0],), word="link")
    history = kit.folder / "history"
    shutil.copytree(kit.late, history)
    (history / "._1.tlog-proof").write_bytes(b"\0")
    (history / fresh).write_text(text[:-9])
    assert "ignored" in kit.verify("--approval", history).ok().out


# Documents that may grow


def test_documents_that_may_grow(kit: Kit) -> None:
    """Members that this verifier does not know are passed over; what it knows stays strict."""
    operator = kit.operator
    keys = json.loads((kit.whole / "keys.json").read_text())
    proof = json.loads(operator.proof(5, 9))
    sizes = ["--checkpoint", kit.file("5", operator.checkpoint(5)), "--checkpoint", kit.file("9", operator.checkpoint(9))]
    grown = keys | {"operator": {"x": 1}, "keys": [one | {"comment": "x"} for one in keys["keys"]]}
    done = kit.verify("--keys", kit.file("k", json.dumps(grown)), "--proof", kit.file("p", json.dumps(proof | {"root": "x"})), *sizes)
    assert done.code == 0, done
    for bad in (keys | {"origin": 5}, keys | {"keys": [one | {"first_size": "1"} for one in keys["keys"]]}, {"keys": []}):
        assert kit.verify("--keys", kit.file("k", json.dumps(bad)), *sizes).code in (1, 3), bad
    other = kit.file("k", json.dumps(keys | {"origin": "another.example/log"}))
    assert "another.example/log" in kit.verify("--keys", other, *sizes).out
    for bad in (proof | {"from": -1}, proof | {"proof": "x"}, {"from": 5, "to": 9}):
        assert kit.verify("--proof", kit.file("p", json.dumps(bad)), *sizes).code == 1, bad
