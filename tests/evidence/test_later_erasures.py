"""P20: payload of a period is erased after its end. Its evidence can still be made whole, by the same draw, and proves why something is
gone; whoever removes, swaps or invents such a proof is found."""

from __future__ import annotations

import csv
import io
import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import Server, cli, event, until
from support.client import Key
from support.operator import Operator
from support.rfc6962 import Receipt, Vkey
from test_hard_periods import findings, times, verified


class Erased:
    """A log of which the first two decisions were erased after the period: one with one field first, then with all."""

    def __init__(self, root: Path, server: Server) -> None:
        self.server = server
        publisher = server.as_("publisher")
        self.fields, self.all, self.kept = (done["index"] for done in publisher.publish(event(), event(), event()))
        publisher.publish(event())
        self.until = times(server)[-1]
        self.key: Key = server.add_key(["auditor", "exporter", "discloser"])
        second = int(time.time())
        until("another second, of which another checkpoint is kept", lambda: int(time.time()) > second)
        self.before = root / "before"
        self.make(self.before).ok()
        assert server.admin.erase(self.fields, "owner")["status"] == "complete"
        assert server.admin.erase(self.all)["status"] == "complete"
        assert server.admin.erase(self.fields)["status"] == "complete"
        publisher.publish(event())
        self.after = root / "after"
        self.make(self.after).ok()

    def make(self, folder: Path):  # noqa: ANN201
        """Evidence of the period, with payload."""
        return self.server.remote("evidence", "--tenant", "acme", "-o", folder, "--to", self.until, "--disclose", "all",
                                  "--auditor-seed", "newspaper", key=self.key)  # fmt: skip

    def verify(self, folder: Path):  # noqa: ANN201
        """`countersign verify --evidence`"""
        return cli("verify", "--key", self.server.vkey, "--evidence", folder)


@pytest.fixture(scope="module")
def erased(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Erased]:
    """The log, made once."""
    root = tmp_path_factory.mktemp("later")
    with Server.ready(root / "server") as server:
        yield Erased(root, server)


def rows(folder: Path, path: str) -> list[dict[str, str]]:
    """The rows of a table."""
    return list(csv.DictReader(io.StringIO((folder / path).read_bytes().decode("utf-8-sig"), newline="")))


def test_p20_erased_after_the_period(erased: Erased) -> None:
    """The folder is whole, holds no payload that was erased, and names each erasure that explains it, with a receipt that other code
    verifies."""
    assert verified(erased.server, erased.after).verdicts().total() == 3
    size = json.loads((erased.after / "manifest.json").read_bytes())["size"]
    for index in (erased.fields, erased.all):
        assert (erased.before / f"proof/disclosures/{index}.disclosures").exists()
        assert not (erased.after / f"proof/disclosures/{index}.disclosures").exists()
    assert (erased.after / f"proof/disclosures/{erased.kept}.disclosures").exists()
    listed = rows(erased.after, "privacy/erased-later.csv")
    assert [(int(row["entry"]), row["fields"]) for row in listed] == [(erased.fields, "owner"), (erased.fields, "all"), (erased.all, "all")]
    for row in listed:
        receipt = Receipt.parse((erased.after / row["receipt"]).read_text())
        assert receipt.verify(Vkey.parse(erased.server.vkey)).size > receipt.index >= size
        said = json.loads(receipt.entry)
        assert said["kind"] == "erasure" and said["event"]["index"] == int(row["entry"]) and str(receipt.index) == row["erased_by_entry"]
        assert row["by"].startswith("key "), row
    assert findings(erased.after)["erased_later"]["leaves"] == [erased.fields, erased.all]
    assert "erased_later" not in findings(erased.before) and not rows(erased.before, "privacy/erased-later.csv")


def test_p20_an_erasure_after_the_period_changes_no_draw(erased: Erased) -> None:
    """The same checkpoint draws the same samples. Their payload alone is gone."""
    assert (erased.after / "proof/checkpoint").read_bytes() == (erased.before / "proof/checkpoint").read_bytes()
    drawn = [[(row["control"], row["rank"], row["index"]) for row in rows(folder, "samples/samples.csv")]
             for folder in (erased.before, erased.after)]  # fmt: skip
    assert drawn[0] == drawn[1] and drawn[0]
    assert erased.verify(erased.before).code == 0, "the folder that was made before stays what it was"


def test_p20_the_same_erasures_give_the_same_bytes(erased: Erased, tmp_path: Path) -> None:
    """Made again, after more happened that erased nothing of the period."""
    publisher = erased.server.as_("publisher")
    other = publisher.publish(event())[0]["index"]
    assert erased.server.admin.erase(other)["status"] == "complete"
    publisher.publish(event())
    erased.make(tmp_path / "again").ok()
    files = lambda folder: {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}  # noqa: E731
    assert files(tmp_path / "again") == files(erased.after)


def swap(folder: Path, one: str, other: str) -> None:
    """Exchanges two files below `proof/erasures`."""
    paths = [folder / "proof/erasures" / name for name in (one, other)]
    texts = [path.read_bytes() for path in paths]
    paths[0].write_bytes(texts[1])
    paths[1].write_bytes(texts[0])


def other_log(folder: Path, erased: Erased, tmp_path: Path) -> None:
    """The operator signs another branch, in which the entry was erased."""
    erased.server.remote("export", "--tenant", "acme", tmp_path / "export").ok()
    log = Operator(tmp_path / "export", next((erased.server.root / "keys/acme").glob("log-*.key"))).copy()
    index = Receipt.parse((folder / f"proof/erasures/{erased.all}-1.tlog-proof").read_text()).index
    log.entries[2]["event"]["id"] = "another"
    (folder / f"proof/erasures/{erased.all}-1.tlog-proof").write_text(log.receipt(index))


ATTACKS: dict[str, Callable[[Path, Erased, Path], object]] = {
    "no receipt": lambda f, e, _: (f / f"proof/erasures/{e.all}-1.tlog-proof").unlink(),
    "no proof of one history": lambda f, e, _: (f / f"proof/erasures/{e.all}-1.json").unlink(),
    "the receipt of another erasure": lambda f, e, _: swap(f, f"{e.all}-1.tlog-proof", f"{e.fields}-1.tlog-proof"),
    "another order": lambda f, e, _: (swap(f, f"{e.fields}-1.tlog-proof", f"{e.fields}-2.tlog-proof"), swap(f, f"{e.fields}-1.json", f"{e.fields}-2.json")),
    "a receipt of no erasure": lambda f, e, _: shutil.copy(next((f / "receipts").iterdir()), f / f"proof/erasures/{e.all}-1.tlog-proof"),
    "one erasure too many": lambda f, e, _: shutil.copy(f / f"proof/erasures/{e.all}-1.tlog-proof", f / f"proof/erasures/{e.kept}-1.tlog-proof"),
    "text": lambda f, e, _: (f / f"proof/erasures/{e.all}-1.tlog-proof").write_text("erased, believe me"),
    "not UTF-8": lambda f, e, _: (f / f"proof/erasures/{e.all}-1.json").write_bytes(b"\xff"),
    "another branch of the log": other_log,
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_p20_no_other_proof_explains_what_is_gone(erased: Erased, tmp_path: Path, attack: str) -> None:
    """It is refused, and the file is named."""
    copy = tmp_path / "e"
    shutil.copytree(erased.after, copy)
    ATTACKS[attack](copy, erased, tmp_path)
    done = erased.verify(copy)
    assert done.code == 1 and "panicked" not in done.err, done
    assert any(name in done.out + done.err for name in ("erasures/", "disclosures/", "privacy/erased-later.csv")), done


def test_p20_an_erasure_under_a_later_key(server: Server, tmp_path: Path) -> None:
    """The log key was rotated between the period and the erasure: the first key is enough."""
    publisher = server.as_("publisher")
    index = publisher.publish(event(), event())[0]["index"]
    publisher.publish(event())
    end = times(server)[-1]
    second = int(time.time())
    until("another second, of which another checkpoint is kept", lambda: int(time.time()) > second)
    server.remote("key rotate", "--tenant", "acme", "--use", "log", "--overlap", 0, "--reason", "yearly").ok()
    publisher.publish(event())
    assert server.admin.erase(index)["status"] == "complete"
    publisher.publish(event())
    key = server.add_key(["auditor", "exporter", "discloser"])
    server.remote("evidence", "--tenant", "acme", "-o", tmp_path / "e", "--to", end, "--disclose", "all", key=key).ok()
    assert (tmp_path / f"e/proof/erasures/{index}-1.tlog-proof").exists()
    cli("verify", "--key", server.vkey, "--evidence", tmp_path / "e").ok()
