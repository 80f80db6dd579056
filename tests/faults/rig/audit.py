"""What must hold of a log after whatever happened."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from support import Client, Server, cli

from . import proofs
from .load import Ledger

#: Receipts handed to one `countersign verify`.
VERIFY_AT_ONCE = 400


def leaves(client: Client) -> list[bytes]:
    """Every leaf of the published log; the feed has no hole."""
    found = list(client.feed())
    assert [index for index, _ in found] == list(range(len(found)))
    return [leaf for _, leaf in found]


def tree_of(entries: list[bytes]) -> proofs.Tree:
    """Their Merkle tree, by our own code."""
    tree = proofs.Tree()
    for entry in entries:
        tree.append(entry)
    return tree


def one_history(client: Client, vkey: str, checkpoints: list[str] | set[str], tree: proofs.Tree) -> None:
    """P4: all these checkpoints, and the newest one, are of one history: that of the entries served now.

    Checked twice: against the tree over the served leaves, and by the server's consistency proofs.
    """
    newest = client.checkpoint()
    seen = sorted({proofs.open_checkpoint(note, vkey) for note in [*checkpoints, newest]}, key=lambda c: c.size)
    for checkpoint in seen:
        assert tree.root(checkpoint.size) == checkpoint.root, f"the checkpoint of size {checkpoint.size} is of another tree"
    # Neighbours: with them, all pairs. At most 300 requests.
    step = max(1, len(seen) // 300)
    kept = [*seen[::step], seen[-1]]
    for old, new in zip(kept, kept[1:]):
        proof = [base64.b64decode(hash_) for hash_ in client.consistency(old.size, new.size)]
        proofs.check_consistency(old.size, old.root, new.size, new.root, proof)


def nothing_lost_nothing_twice(entries: list[bytes], told: Ledger, producer: str = "gw-1") -> None:
    """P1 and P2: every acknowledged event is at the index that was told, and only there."""
    places: dict[tuple[str, str], list[int]] = {}
    for index, leaf in enumerate(entries):
        entry = json.loads(leaf)
        if entry["producer"] == producer and entry["kind"] in ("decision", "event"):
            places.setdefault((entry["event"]["source"], entry["event"]["id"]), []).append(index)
    twice = {key: at for key, at in places.items() if len(at) > 1}
    assert not twice, f"posted twice: {list(twice.items())[:5]}"
    lost = {key: index for key, index in told.index.items() if places.get(key) != [index]}
    assert not lost, f"{len(lost)} acknowledged events are not where they were said to be: {list(lost.items())[:5]}"


def receipts_hold(entries: list[bytes], receipts: list[str], vkey: str, folder: Path) -> None:
    """P1 and P5: every receipt ever given verifies, by our code and by `countersign verify`, and names a leaf that is
    still there, byte for byte."""
    for text in receipts:
        receipt = proofs.open_receipt(text, vkey)
        assert entries[receipt.index] == receipt.entry, f"entry {receipt.index} is not the one in its receipt"
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for nth, text in enumerate(receipts):
        paths.append(folder / f"{nth}.tlog-proof")
        paths[-1].write_text(text)
    for first in range(0, len(paths), VERIFY_AT_ONCE):
        cli("verify", "--key", vkey, *paths[first : first + VERIFY_AT_ONCE]).ok()


def kinds(entries: list[bytes]) -> dict[str, int]:
    """How many entries of each kind."""
    found: dict[str, int] = {}
    for leaf in entries:
        kind = json.loads(leaf)["kind"]
        found[kind] = found.get(kind, 0) + 1
    return found


def everything(server: Server, told: Ledger, folder: Path, *, client: Client | None = None) -> list[bytes]:
    """All of the above on a running server, then `fsck` on the stopped one. Returns the leaves."""
    client = client or server.admin
    entries = leaves(client)
    tree = tree_of(entries)
    one_history(client, server.vkey, told.checkpoints, tree)
    nothing_lost_nothing_twice(entries, told)
    receipts_hold(entries, told.receipts, server.vkey, folder)
    server.stop()
    server.fsck().ok()
    return entries
