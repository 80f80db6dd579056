"""P21, offline: what `verify --policy` says after changes of the replicas. A hostile operator has the log's key, and keys of replicas that left; whoever verifies
has the policy and a keys document that may be too old, cut or false."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support import cli
from support.forging import Log, export, make_vectors
from support.manual import ROOT

import following  # noqa: E402  (support.forging put its folder on the path)

CASES: list[dict[str, Any]] = json.loads((ROOT / "proto" / "vectors" / "following.json").read_text())["cases"]
a, b, c, d, e, f = following.a, following.b, following.c, following.d, following.e, following.f


def world() -> following.World:
    """What makes logs with changes of their replicas."""
    return following.World(make_vectors.Log, make_vectors.LOG, make_vectors.LOG2, make_vectors.at, make_vectors.decision)


@pytest.mark.parametrize("case", CASES, ids=[case["about"] for case in CASES])
def test_p21_what_a_policy_says_after_changes(case: dict[str, Any], tmp_path: Path) -> None:
    """Every case of `proto/vectors/following.json`."""
    (policy := tmp_path / "tlog-policy").write_text(case["policy"])
    (keys := tmp_path / "keys.json").write_text(json.dumps(case["keys"]))
    (note := tmp_path / "note").write_text(case["checkpoint"])
    done = cli("verify", "--key", case["key"], "--policy", policy, "--keys", keys, "--checkpoint", note)
    assert done.code == (0 if case["accepted"] else 1), done.out + done.err
    assert case["says"] in done.out, done.out


def changed_twice() -> tuple[following.World, Any, list[tuple[int, str]]]:
    """A log whose replicas changed twice: a, b, c; a, d, e; a, f, b."""
    made = world()
    log = made.begin()
    steps = [made.change(log, 1, [a, b, c], [a, d, e], 2, [a, b, d])]
    made.more(log, 1)
    steps.append(made.change(log, 2, [a, d, e], [a, b, f], 4, [a, d, f]))
    made.more(log, 5)
    return made, log, steps


def exported(made: following.World, log: Any, folder: Path, document: dict[str, Any], by: list[Any]) -> Path:
    """Its export with this keys document, and these replicas' cosignatures."""
    export(log, folder)
    (folder / "keys.json").write_text(json.dumps(document))
    (folder / "checkpoint").write_text(made.signed(log, by))
    return folder


@pytest.mark.parametrize(
    ("policy", "steps", "by", "words"),
    [
        ("replicas-version-0", 2, [f, b], ""),
        ("replicas-version-0", 2, [d, e], "is not met"),
        ("replicas-version-0", 1, [d, e], "names version 2 (a, b, f)"),
        ("mine", 1, [d, e], "names version 2 (a, b, f)"),
        ("replicas-version-0", 0, [b, c], "names version 2 (a, b, f)"),
        ("mine", 0, [b, c], "names version 2 (a, b, f)"),
    ],
)  # fmt: skip
def test_p21_an_export_is_judged_by_the_replicas_that_its_own_entries_name(tmp_path: Path, policy: str, steps: int, by: list[Any], words: str) -> None:
    """Members that left sign an export, and the keys document in it was cut before they did."""
    made, log, all_steps = changed_twice()
    (given := tmp_path / "tlog-policy").write_text(made.policy([a, b, c], group=policy))
    folder = exported(made, log, tmp_path / "export", made.document(all_steps[:steps]), by)
    done = cli("verify", "--key", make_vectors.LOG.vkey, "--policy", given, "--export", folder)
    assert done.code == (1 if words else 0), done.out + done.err
    assert words in done.out, done.out


def test_p21_a_policy_of_outside_witnesses_needs_no_step(tmp_path: Path) -> None:
    """Whoever names no replicas does not ask who they are."""
    made, log, _ = changed_twice()
    w = following.Replica("w", 77, "witness.example.org")
    (given := tmp_path / "tlog-policy").write_text(f"log {make_vectors.LOG.vkey}\nwitness w {w.vkey}\nquorum w\n")
    folder = exported(made, log, tmp_path / "export", made.document([]), [w])
    cli("verify", "--key", make_vectors.LOG.vkey, "--policy", given, "--export", folder).ok()


@pytest.mark.parametrize(
    "change",
    [
        (7, [c], [a, b]),
        (1, [a, b, c], [a, b]),
        (2, [a, b, c], [a, b, d]),
        (1, [a, b, c], [a, b, following.Replica("d", 1)]),
        (1, [a, b, following.Replica("w", 9, "witness.example.org")], [a, b, c]),
        (1, [a, b, c], [a, b, following.Replica("d", ord("c"))]),
    ],
)  # fmt: skip
def test_p21_an_export_with_members_that_posting_rejects_is_refused(tmp_path: Path, change: tuple[int, list[Any], list[Any]]) -> None:
    """Too few, a version too high, a key of the log, of somebody else, and one key under two names."""
    made = world()
    log = made.begin()
    version, before, new = change
    made.change(log, version, before, new, 2)
    folder = exported(made, log, tmp_path / "export", made.document([]), [a, b])
    done = cli("verify", "--key", make_vectors.LOG.vkey, "--export", folder)
    assert done.code == 1 and "not a change of the replicas that can be here" in done.out, done.out + done.err


def test_p21_a_document_of_members_that_posting_rejects_is_refused(tmp_path: Path) -> None:
    """The same in a keys document, whatever the policy says."""
    made = world()
    log: Log = made.begin()
    stranger = following.Replica("w", 9, "witness.example.org")
    step = made.change(log, 1, [a, b, stranger], [a, b, c], 2, [a, b, c, stranger])
    (keys := tmp_path / "keys.json").write_text(json.dumps(made.document([step])))
    (note := tmp_path / "note").write_text(made.signed(log, [a, b]))
    done = cli("verify", "--key", make_vectors.LOG.vkey, "--keys", keys, "--checkpoint", note)
    assert done.code == 1 and "not those of this log's replicas" in done.out, done.out + done.err
