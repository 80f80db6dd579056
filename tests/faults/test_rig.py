"""The judges of these tests are judged: by the RFC 6962 vectors, and by claims that are false."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest
from rig import audit, proofs, trace
from rig.load import Ledger

VECTORS = Path(__file__).parents[2] / "proto" / "vectors" / "rfc6962"


def vectors(kind: str) -> list[Any]:
    """All vectors of a kind, named by their path."""
    paths = sorted((VECTORS / kind).rglob("*.json"))
    assert len(paths) > 20
    return [pytest.param(json.loads(path.read_text()), id=str(path.relative_to(VECTORS))) for path in paths]


def decoded(vector: dict[str, Any], *names: str) -> list[Any]:
    """Members of a vector, base64 decoded."""
    return [base64.b64decode(vector[name]) for name in names]


@pytest.mark.parametrize("vector", vectors("consistency"))
def test_consistency_vectors(vector: dict[str, Any]) -> None:
    """Consistency proofs, right and wrong. (Roots that are no hashes are refused even where they are equal.)"""
    old, new = decoded(vector, "root1", "root2")
    proof = [base64.b64decode(hash_) for hash_ in vector["proof"] or []]
    try:
        proofs.check_consistency(vector["size1"], old, vector["size2"], new, proof)
        held = True
    except proofs.Refused:
        held = False
    assert held == (not vector["wantErr"] and len(old) == len(new) == 32)


@pytest.mark.parametrize("vector", vectors("inclusion"))
def test_inclusion_vectors(vector: dict[str, Any]) -> None:
    """Inclusion proofs, right and wrong."""
    root, leaf = decoded(vector, "root", "leafHash")
    proof = [base64.b64decode(hash_) for hash_ in vector["proof"] or []]
    try:
        proofs.check_inclusion(leaf, vector["leafIdx"], vector["treeSize"], proof, root)
        held = True
    except proofs.Refused:
        held = False
    assert held == (not vector["wantErr"])


def leaf(source: str, id_: str, kind: str = "decision") -> bytes:
    """An entry, as far as the audit looks."""
    return json.dumps({"kind": kind, "producer": "gw-1", "event": {"source": source, "id": id_}}).encode()


def told(**index: int) -> Ledger:
    """What clients were told, of source `/s`."""
    ledger = Ledger()
    ledger.index = {("/s", id_): at for id_, at in index.items()}
    return ledger


def test_the_audit_notices() -> None:
    """A lost event, one that moved, one that is there twice."""
    entries = [leaf("/s", "a"), leaf("/s", "b"), leaf("/s", "c")]
    audit.nothing_lost_nothing_twice(entries, told(a=0, c=2))
    for wrong in (told(a=0, d=3), told(a=1), told(b=0)):
        with pytest.raises(AssertionError, match="not where"):
            audit.nothing_lost_nothing_twice(entries, wrong)
    with pytest.raises(AssertionError, match="twice"):
        audit.nothing_lost_nothing_twice([*entries, leaf("/s", "a")], told(a=0))


def test_the_tree_knows_every_size() -> None:
    """Roots of all sizes, against the recursive definition of RFC 6962."""
    entries = [bytes([n]) * n for n in range(70)]

    def root(part: list[bytes]) -> bytes:
        if len(part) == 1:
            return proofs.leaf_hash(part[0])
        split = 1 << (len(part) - 1).bit_length() - 1
        return proofs.node_hash(root(part[:split]), root(part[split:]))

    tree = audit.tree_of(entries)
    assert tree.root(0) == proofs.EMPTY
    for size in range(1, 71):
        assert tree.root(size) == root(entries[:size]), size


def test_the_ledger_of_the_load_notices() -> None:
    """Another index for the same event, a rejection, somebody else's id."""
    for second in ({"id": "a", "status": "posted", "index": 2}, {"id": "a", "status": "rejected", "index": 1},
                   {"id": "b", "status": "duplicate", "index": 1}):
        ledger = Ledger()
        ledger.take("/s", [{"id": "a"}], {"checkpoint": "", "results": [{"id": "a", "status": "posted", "index": 1}]})
        assert not ledger.wrong
        ledger.take("/s", [{"id": "a"}], {"checkpoint": "", "results": [second]})
        assert ledger.wrong


def test_strace_is_read_in_order(tmp_path: Path) -> None:
    """Calls that other threads interrupt begin and end at their own lines."""
    text = """7 fdatasync(5</d/000001.log> <unfinished ...>
8 write(9<TCP:[127.0.0.1:1->127.0.0.1:2]>, "HTTP/1.1 200", 12) = 12
7 <... fdatasync resumed>) = 0
8 fdatasync(6</g/guard>) = -1 EIO (Input/output error) (INJECTED)
"""
    path = tmp_path / "trace"
    path.write_text(text)
    first, answer, guard = trace.read(path)
    assert (first.name, first.file, first.begun, first.ended, first.result) == ("fdatasync", "/d/000001.log", 0, 2, 0)
    assert answer.on_socket and (answer.begun, answer.ended) == (1, 1)
    assert (guard.file, guard.result) == ("/g/guard", -1)
    assert not re.search("resumed", first.arguments)
