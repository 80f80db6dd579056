"""What is counted from outside after all that happened: P21 and P22 hold, or the numbers say how they do not."""

from __future__ import annotations

import json
import math
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rig import audit, proofs
from rig.trio import Eye, cosigned_by, keys_document

from support import cli
from support.histories import judged
from support.lifecycle import approvals, judge

from .board import Board
from .changes import Members, log_vkeys
from .clients import CAP, Clients, keep_receipts
from .site import Site

#: What P22 says of some, in seconds. Printed, never asserted: the machines share two cores.
WITHIN = {
    "server that leads killed": 5, "server that follows killed": 5, "node that follows killed": 5, "node that leads killed": 12,
    "machine killed": 12, "machine unplugged": 12, "server stopped": 20, "node stopped": 20,
}  # fmt: skip
#: Receipts and checkpoints that the product's own verifier sees: it takes a process each.
VERIFIED_MOST = 12
#: Longest that fsck of a replica may take beside everything else that runs here.
FSCK_SECONDS = 600.0


@dataclass
class Counts:
    """The printed numbers, of one site or of many."""

    rounds: int = 0
    #: What was made, by name; a pair is two faults.
    faults: Counter[str] = field(default_factory=Counter)
    acknowledged: int = 0
    lost: int = 0
    doubled: int = 0
    checkpoints: int = 0
    forks: int = 0
    receipts: int = 0
    redemptions: int = 0
    double_redemptions: int = 0
    histories: int = 0
    operations: int = 0
    not_linearizable: int = 0
    #: Seconds without any acknowledgement, by fault.
    silent: dict[str, list[float]] = field(default_factory=dict)
    #: What else was wrong, in words.
    wrong: list[str] = field(default_factory=list)

    def add(self, other: "Counts") -> None:
        """Adds another site's."""
        for name, value in vars(other).items():
            mine = getattr(self, name)
            if isinstance(value, int):
                setattr(self, name, mine + value)
            elif isinstance(value, list):
                mine.extend(value)
            elif isinstance(value, Counter):
                mine.update(value)
            else:
                for fault, seconds in value.items():
                    mine.setdefault(fault, []).extend(seconds)

    def as_json(self) -> dict[str, Any]:
        """For the file of results."""
        return vars(self) | {"faults": dict(self.faults)}

    @classmethod
    def of_json(cls, read: dict[str, Any]) -> "Counts":
        """From the file of results."""
        return cls(**(read | {"faults": Counter(read["faults"])}))

    def bad(self) -> list[str]:
        """What must be nothing."""
        zero = ("lost", "doubled", "forks", "double_redemptions", "not_linearizable")
        return [f"{name}: {getattr(self, name)}" for name in zero if getattr(self, name)] + self.wrong

    def faults_made(self) -> int:
        """How many faults."""
        return sum(times * len(name.split(" + ")) for name, times in self.faults.items())

    def table(self) -> str:
        """As it is printed at the end."""
        lines = [f"{name.replace('_', ' ')}: {value}" for name, value in vars(self).items() if isinstance(value, int)]
        lines.insert(1, f"faults: {self.faults_made()}, alone or as one of two")
        single = [seconds for name, all in self.silent.items() if " + " not in name for seconds in all]
        double = [seconds for name, all in self.silent.items() if " + " in name for seconds in all]
        lines += [quantiles("time to answer again, one fault", single), quantiles("time to answer again, two faults", double)]
        for name, seconds in sorted(self.silent.items()):
            if " + " not in name:
                longest = WITHIN.get(name)
                over = f"; longer than the {longest} s of P22: {sum(one > longest for one in seconds)}" if longest else ""
                lines.append(quantiles(f"  {name}", seconds) + over)
        return "\n".join([*lines, *(f"WRONG: {what}" for what in self.wrong)])


def quantiles(name: str, seconds: list[float]) -> str:
    """p50 and p99 (nearest rank) in words."""
    if not seconds:
        return f"{name}: none"
    ordered = sorted(seconds)
    rank = lambda share: ordered[max(0, math.ceil(share * len(ordered)) - 1)]  # noqa: E731
    return f"{name}: p50 {rank(0.5):.1f} s, p99 {rank(0.99):.1f} s, n = {len(ordered)}"


def count(site: Site, clients: Clients, eye: Eye, folder: Path) -> Counts:
    """Counts all, on a site that is whole and whose clients have ended. Stops the replicas at the end."""
    board, counts = clients.board, Counts(rounds=1)
    size = max([index for index in board.events.values()], default=-1) + 1
    site.reach(size, seconds=120)
    logs = {name: audit.leaves(server.admin) for name, server in site.servers.items()}
    shortest = min(len(log) for log in logs.values())
    if any(log[:shortest] != logs["a"][:shortest] for log in logs.values()):
        counts.forks += 1
        counts.wrong.append("the replicas have posted different leaves")
    leaves = max(logs.values(), key=len)
    entries = [json.loads(leaf) for leaf in leaves]
    events(counts, board, entries)
    (document := folder / "keys.json").write_text(json.dumps(keys_document(site["a"])))
    proving = Proving(site, leaves, entries, document)
    checkpoints(counts, proving, {*eye.stop(), *(note_of(receipt) for receipt in board.receipts)}, folder)
    receipts(counts, proving, board, folder)
    redemptions(counts, board, leaves)
    told = judged(board.all_histories(CAP, clients.first))
    counts.histories, counts.operations = told["checked"], told["operations"]
    counts.not_linearizable = len(told["wrong"])
    counts.wrong += [f"not linearizable: {key}" for key in told["wrong"]] + [f"not decided in time: {key}" for key in told["undecided"]]
    counts.wrong += board.wrong
    same_on_disk(counts, site)
    return counts


def events(counts: Counts, board: Board, entries: list[dict[str, Any]]) -> None:
    """Every acknowledged event is where it was said to be, and nowhere else."""
    places: dict[str, list[int]] = {}
    for index, entry in enumerate(entries):
        if entry["kind"] == "decision" and entry["event"]["source"].startswith("/load/"):
            places.setdefault(entry["event"]["id"], []).append(index)
    counts.acknowledged = len(board.events)
    counts.doubled = sum(len(at) > 1 for at in places.values())
    lost = [id for id, index in board.events.items() if index not in places.get(id, [])]
    counts.lost = len(lost)
    counts.wrong += [f"lost: {id}" for id in lost[:5]]


def note_of(receipt: str) -> str:
    """The checkpoint that is in a receipt."""
    return receipt.partition("\n\n")[2]


class Proving:
    """What proofs are judged by: the first key and the first policy, and the changes of both in the log."""

    def __init__(self, site: Site, leaves: list[bytes], entries: list[dict[str, Any]], document: Path) -> None:
        self.leaves, self.members = leaves, Members(site.vkeys, entries)
        self.vkeys = log_vkeys(site.vkey, entries)
        self.given = ["verify", "--key", site.vkey, "--keys", document, "--policy", site.policy]

    def key_of(self, note: str) -> str:
        """The key of the log that has signed it."""
        for vkey in self.vkeys:
            with suppress(proofs.Refused):
                proofs.open_checkpoint(note, vkey)
                return vkey
        raise proofs.Refused(f"no key of the log has signed it:\n{note}")

    def has_majority(self, note: str, size: int) -> bool:
        """More than half of the replicas of that size have cosigned it."""
        members = self.members.at(size)
        return len(cosigned_by(note, members)) > len(members) // 2


def checkpoints(counts: Counts, proving: Proving, seen: set[str], folder: Path) -> None:
    """All that anybody was shown are of one tree, and a majority has cosigned each."""
    leaves = proving.leaves
    tree, roots = audit.tree_of(leaves), {}
    counts.checkpoints = len(seen)
    for number, note in enumerate(sorted(seen)):
        opened = proofs.open_checkpoint(note, proving.key_of(note))
        roots.setdefault(opened.size, set()).add(opened.root)
        if opened.size > len(leaves) or tree.root(opened.size) != opened.root:
            counts.forks += 1
            counts.wrong.append(f"a checkpoint of size {opened.size} is of another tree")
        if not proving.has_majority(note, opened.size):
            counts.wrong.append(f"a checkpoint of size {opened.size} was shown, cosigned by no majority:\n{note}")
        if number % max(1, len(seen) // VERIFIED_MOST) == 0:
            (path := folder / f"seen-{number}.note").write_text(note)
            cli(*proving.given, "--checkpoint", path).ok()
    counts.forks += sum(len(of_size) > 1 for of_size in roots.values())


def receipts(counts: Counts, proving: Proving, board: Board, folder: Path) -> None:
    """Every receipt verifies, by code of ours; a sample by the product's own verifier, with the policy of the first day."""
    counts.receipts = len(board.receipts)
    for text in board.receipts:
        receipt = proofs.open_receipt(text, proving.key_of(note_of(text)))
        if proving.leaves[receipt.index] != receipt.entry:
            counts.wrong.append(f"entry {receipt.index} is not the one in its receipt")
    for path in keep_receipts(board, folder / "receipts", VERIFIED_MOST):
        item = cli(*proving.given, path, "--json").ok().json()["items"][0]
        if item["grade"] != "cosigned":
            counts.wrong.append(f"a receipt is {item['grade']}")


def redemptions(counts: Counts, board: Board, leaves: list[bytes]) -> None:
    """At most one of each approval, in the log and as it was told."""
    judge(enumerate(leaves))
    counts.redemptions = sum(board.redeemed.values())
    spent = Counter({
        id: sum(event["type"] == "redeemed" for _, message in messages for event in message["events"])
        for id, messages in approvals(enumerate(leaves)).items()
    })  # fmt: skip
    counts.double_redemptions = sum(times > 1 for times in [*spent.values(), *board.redeemed.values()])
    untrue = [id for id in board.redeemed if spent[id] != 1]
    counts.wrong += [f"told as redeemed, and the log says otherwise: {id}" for id in untrue]


def same_on_disk(counts: Counts, site: Site) -> None:
    """Each directory is sound, and those of one size have one root."""
    roots: dict[int, set[str]] = {}
    for name, server in site.servers.items():
        server.stop()
        done = server.run("fsck", "--json", seconds=FSCK_SECONDS)
        if done.code != 0:
            counts.wrong.append(f"fsck of {name}: {done.out[-500:]} {done.err[-500:]}")
            continue
        for told in done.json()["logs"]:
            roots.setdefault(told["log"]["entries"], set()).add(told["log"]["root"])
    assert roots, "fsck found no log"
    counts.forks += sum(len(of_size) > 1 for of_size in roots.values())
