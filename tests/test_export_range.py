"""`countersign export --from --to`: a range of a log that proves itself."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import Server, cli, event
from support.binary import Finished
from support.fresh_counter import number_of
from support.operator import Operator
from support.rfc6962 import Vkey, leaf_hash, node_hash, open_checkpoint, split_bundle


class Made:
    """A log of several bundles."""

    def __init__(self, server: Server, root: Path) -> None:
        self.server = server
        publisher = server.as_("publisher")
        for _ in range(9):
            publisher.publish(*(event() for _ in range(100)))
        self.leaves = dict(server.admin.feed())
        self.key = server.add_key(["auditor", "exporter", "discloser"])
        self.part = root / "part"
        self.export(self.part, "--from", 300, "--to", 520, "--disclosures").ok()

    def export(self, folder: Path, *args: object) -> Finished:
        """`countersign export`"""
        return self.server.remote("export", "--tenant", "acme", *args, folder, key=self.key)

    def verify(self, folder: Path, *args: object) -> Finished:
        """`countersign verify --export`"""
        return cli("verify", "--key", self.server.vkey, "--export", folder, *args, seconds=60)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """The log, made once."""
    root = tmp_path_factory.mktemp("range")
    with Server.ready(root / "server") as server:
        yield Made(server, root)


def told(made: Made, folder: Path) -> dict[str, Any]:
    """What the verifier says of a range."""
    return made.verify(folder, "--json").ok().json()["items"][0]


def files(folder: Path) -> dict[str, bytes]:
    """Every file by path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_p5_a_range_proves_itself(made: Made) -> None:
    """Entries 300 to 520, and not the rest of the log; each is the one that the server serves."""
    item = told(made, made.part)
    assert (item["begin"], item["end"], item["from"], item["over"]) == (300, 521, None, True)
    assert item["summary"]["kinds"] == {"decision": 221} and item["disclosures"] > 221
    bundles = {number_of(path.relative_to(made.part / "tile/entries")): path for path in (made.part / "tile/entries").rglob("*") if path.is_file()}
    assert {0, 1, 2} <= set(bundles) <= {0, 1, 2, (item["size"] - 1) // 256}, "only the range, and the ends of the chain"
    entries = {256 * number + n: leaf for number, path in bundles.items() for n, leaf in enumerate(split_bundle(path.read_bytes()))}
    assert all(entries[index] == made.leaves[index] for index in range(300, 521))
    assert {int(p.stem) for p in (made.part / "disclosures").iterdir()} == set(range(300, 521))


def test_p5_other_code_proves_a_range(made: Made) -> None:
    """The hashes of a bundle lead to the signed root, by RFC 6962 and the tiles of the folder alone."""
    signed = open_checkpoint((made.part / "checkpoint").read_text(), Vkey.parse(made.server.vkey))
    level = b"".join(path.read_bytes() for path in sorted((made.part / "tile/1").rglob("*")) if path.is_file())

    def root(hashes: list[bytes]) -> bytes:
        if len(hashes) == 1:
            return hashes[0]
        middle = 1 << (len(hashes) - 1).bit_length() - 1
        return node_hash(root(hashes[:middle]), root(hashes[middle:]))

    leaves = split_bundle((made.part / "tile/entries/001").read_bytes())
    assert root([leaf_hash(leaf) for leaf in leaves]) == level[32:64]
    edge = b"".join(path.read_bytes() for path in (made.part / "tile/0").rglob("*") if path.is_file())
    last = [edge[n : n + 32] for n in range(0, len(edge), 32)]
    full = [level[n : n + 32] for n in range(0, len(level), 32)]
    assert signed.size == 256 * len(full) + len(last)
    # Complete subtrees of 256, then the right edge.
    whole, at = [], len(full)
    while at:
        width = 1 << at.bit_length() - 1
        whole.append(root(full[len(full) - at : len(full) - at + width]))
        at -= width
    parts = whole + ([root(last)] if last else [])
    tail = parts.pop()
    while parts:
        tail = node_hash(parts.pop(), tail)
    assert tail == signed.root


def test_a_period_is_proven_at_both_ends(made: Made, tmp_path: Path) -> None:
    """By times: exactly the entries of the period, and a period that is not over says so."""
    times = [json.loads(made.leaves[index])["journal"]["time"] for index in sorted(made.leaves)]
    since, until = times[150], times[450]
    made.export(tmp_path / "p", "--from", since, "--to", until).ok()
    item = told(made, tmp_path / "p")
    assert item["end"] - item["begin"] == sum(since <= at < until for at in times) > 0
    assert (item["from"], item["to"], item["over"]) == (since, until, True)
    made.export(tmp_path / "open", "--from", since).ok()
    assert not told(made, tmp_path / "open")["over"]
    assert "it is not over" in made.verify(tmp_path / "open").out
    made.export(tmp_path / "none", "--from", "2001-01-01", "--to", "2001-02-01").ok()
    item = told(made, tmp_path / "none")
    assert item["begin"] == item["end"] and item["over"]


def test_the_same_range_gives_the_same_bytes(made: Made, tmp_path: Path) -> None:
    """Later on, and after a run that was stopped."""
    made.server.as_("publisher").publish(event())
    shutil.copytree(made.part, tmp_path / "again")
    for name in ("range.json", "checkpoint", "tile/entries/001", "keys.json"):
        (tmp_path / "again" / name).unlink()
    assert made.verify(tmp_path / "again").code == 3, "a folder that is not finished is none"
    made.export(tmp_path / "again", "--from", 300, "--to", 520, "--disclosures").ok()
    assert files(tmp_path / "again") == files(made.part)


def test_another_range_replaces_only_what_a_range_wrote(made: Made, tmp_path: Path) -> None:
    """Tiles and payload of the earlier range go; a file of somebody else stays; a folder of another kind is refused."""
    shutil.copytree(made.part, tmp_path / "r")
    (tmp_path / "r/notes.txt").write_text("mine")
    made.export(tmp_path / "r", "--from", 10, "--to", 20).ok()
    assert (tmp_path / "r/notes.txt").read_text() == "mine"
    assert not (tmp_path / "r/disclosures/300.disclosures").exists() and not (tmp_path / "r/tile/entries/001").exists()
    assert told(made, tmp_path / "r")["end"] == 21
    made.export(tmp_path / "whole").ok()
    before = files(tmp_path / "whole")
    assert made.export(tmp_path / "whole", "--from", 1, "--to", 2).code == 1
    assert files(tmp_path / "whole") == before and made.export(tmp_path / "r").code == 1


@pytest.mark.parametrize(("args", "code"), [
    (["--from", "5", "--to", "4"], 2), (["--from", "0", "--to", "999999"], 2), (["--from", "18446744073709551615"], 2),
    (["--from", "5", "--to", "2026-01-01"], 2), (["--from", "yesterday"], 2), (["--from", "-1"], 2), (["--to", ""], 2),
    (["--from", "2026-02-01", "--to", "2026-01-01"], 2), (["--from", "1", "--approval", "apr-x"], 2),
])  # fmt: skip
def test_what_is_asked_wrongly(made: Made, tmp_path: Path, args: list[str], code: int) -> None:
    """It says what is wrong, and no folder passes for a range."""
    done = made.export(tmp_path / "r", *args)
    assert done.code == code and done.err and "panicked" not in done.err, done
    assert not (tmp_path / "r/range.json").exists()


def _edit(**members: Any) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        named = json.loads((folder / "range.json").read_bytes()) | members
        (folder / "range.json").write_text(json.dumps({k: v for k, v in named.items() if v is not ...}))

    return change


def _flip(name: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        data = bytearray((folder / name).read_bytes())
        data[len(data) // 2] ^= 1
        (folder / name).write_bytes(data)

    return change


ATTACKS: dict[str, Callable[[Path], object]] = {
    "a bundle that is changed": _flip("tile/entries/001"),
    "the bundle of system entries is changed": _flip("tile/entries/000"),
    "a tile that is changed": lambda f: _flip(str(next(p for p in (f / "tile/1").rglob("*") if p.is_file()).relative_to(f)))(f),
    "a bundle that is missing": lambda f: (f / "tile/entries/001").unlink(),
    "a tile that is missing": lambda f: next(p for p in (f / "tile/0").rglob("*") if p.is_file()).unlink(),
    "a tile that is added": lambda f: (f / "tile/0/000").write_bytes(b"0" * 8192),
    "a disclosure that is missing": lambda f: (f / "disclosures/400.disclosures").unlink(),
    "a disclosure that is added": lambda f: shutil.copy(f / "disclosures/400.disclosures", f / "disclosures/2.disclosures"),
    "a disclosure of another entry": lambda f: shutil.copy(f / "disclosures/400.disclosures", f / "disclosures/401.disclosures"),
    "a link": lambda f: ((f / "tile/entries/001").rename(f.parent / "b"), (f / "tile/entries/001").symlink_to(f.parent / "b")),
    "a longer range": _edit(end=700),
    "the largest range": _edit(begin=0, end=2**64 - 1),
    "a range backwards": _edit(begin=521, end=300),
    "another log": _edit(origin="log.example/v1/tenants/other/logs/1"),
    "a period that it does not have": _edit(**{"from": "2020-01-01T00:00:00.000000000Z", "to": "2099-01-01T00:00:00.000000000Z"}),
    "half a period": _edit(**{"from": "2020-01-01T00:00:00.000000000Z"}),
    "another version": _edit(v=2),
    "an unknown member": _edit(certified=True),
    "a missing member": _edit(end=...),
    "no JSON": lambda f: (f / "range.json").write_bytes(b"\xff"),
    "nested": lambda f: (f / "range.json").write_bytes(b"[" * 100_000),
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_p5_a_range_that_lies_is_refused(made: Made, tmp_path: Path, attack: str) -> None:
    """Whoever changes, adds or removes anything is found."""
    copy = tmp_path / "r"
    shutil.copytree(made.part, copy)
    ATTACKS[attack](copy)
    done = made.verify(copy)
    assert done.code in (1, 3) and "panicked" not in done.err and "verified" not in done.out.split("\n")[0], done


def test_p5_who_holds_the_log_key_can_not_leave_out_the_chain(made: Made, tmp_path: Path) -> None:
    """A signed log whose entries of the range break the order is refused, as by the whole export."""
    made.export(tmp_path / "whole").ok()
    log = Operator(tmp_path / "whole", next((made.server.root / "keys/acme").glob("log-*.key"))).copy()
    log.entries[320]["journal"]["seq"] = log.entries[319]["journal"]["seq"]
    log.chain()
    log.export(tmp_path / "forged")
    named = json.loads((made.part / "range.json").read_bytes()) | {"disclosures": False}
    (tmp_path / "forged/range.json").write_text(json.dumps(named))
    done = made.verify(tmp_path / "forged")
    assert done.code == 1 and "one journal message" in done.out + done.err, done


def test_payload_that_was_erased_is_explained(made: Made, tmp_path: Path) -> None:
    """Erased before the checkpoint of the range: it is not there, and nobody calls it missing."""
    index = made.server.as_("publisher").publish(event())[0]["index"]
    assert made.server.admin.erase(index)["status"] == "complete"
    made.server.as_("publisher").publish(event())
    made.export(tmp_path / "r", "--from", index, "--disclosures").ok()
    assert not (tmp_path / f"r/disclosures/{index}.disclosures").exists()
    told(made, tmp_path / "r")


def test_a_range_is_no_whole_log(made: Made) -> None:
    """`replay` needs the whole log, and says so; beside other files a range is one claim with them."""
    done = cli("replay", "--key", made.server.vkey, "--export", made.part)
    assert done.code == 3 and "a range of a log" in done.err, done
    receipt = made.part.parent / "one.tlog-proof"
    receipt.write_text(made.server.admin.receipt(310))
    made.verify(made.part, receipt).ok()
