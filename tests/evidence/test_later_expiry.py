"""P20: payload of a period goes by age after its end. Its evidence can still be made whole, by the same draw, and proves by which step of
retention something is gone; whoever removes, swaps or invents such a proof is found."""

from __future__ import annotations

import csv
import io
import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import Server, cli, event, until
from support.client import Key
from support.faketime import Clock
from support.operator import Operator
from support.rfc6962 import Receipt, Vkey
from test_hard_periods import files, findings, times, verified

HOUR = 3600
DAY = 24 * HOUR
#: The server searches for old payload at its start and once a minute.
HOUSE_SECONDS = 180.0


class Expired:
    """A log with payload of two days, of which evidence is made before anything goes, after the first day goes, and after both go. Of one
    entry of the second day a field is erased before it goes."""

    def __init__(self, root: Path, server: Server, clock: Clock) -> None:
        self.server, self.clock = server, clock
        answer = server.admin.http.post(f"{server.admin.t}/retention", json={"payload_days": 2, "floor_days": None, "reason": "records policy 7"})
        assert answer.status_code == 200, answer.text
        self.old = self.publish(3)
        self.at(DAY + HOUR)
        self.young = self.publish(3)
        self.publish(1)
        self.until = times(server)[-1]
        self.key: Key = server.add_key(["auditor", "exporter", "discloser"])
        second = int(time.time())
        until("another second, of which another checkpoint is kept", lambda: int(time.time()) > second)
        self.publish(1)
        self.before = self.make(root / "before")
        self.at(2 * DAY + HOUR)
        (self.first,) = self.steps(1)
        self.one = self.make(root / "one")
        assert server.admin.erase(self.young[0], "owner")["status"] == "complete"
        self.at(3 * DAY + 3 * HOUR)
        self.first, self.second = self.steps(2)
        self.publish(1)
        self.both = self.make(root / "both")

    def publish(self, count: int) -> list[int]:
        """Leaf indexes of decisions with payload."""
        return [done["index"] for done in self.server.as_("publisher").publish(*(event() for _ in range(count)))]

    def at(self, ahead: int) -> None:
        """Starts the server again, so many seconds later."""
        self.server.stop()
        self.clock.set(ahead)
        self.server.start(env=self.clock.env)

    def steps(self, count: int) -> list[dict[str, Any]]:
        """The entries of so many steps of retention, with `index`."""

        def found() -> list[dict[str, Any]] | None:
            leaves = [(index, json.loads(leaf)) for index, leaf in self.server.admin.feed(kind="retention")]
            steps = [entry["event"] | {"index": index} for index, entry in leaves if entry["event"]["op"] == "expire"]
            return steps if len(steps) == count else None

        return until(f"step {count} of retention", found, HOUSE_SECONDS)

    def make(self, folder: Path, *args: object) -> Path:
        """Evidence of the period, with payload."""
        self.server.remote("evidence", "--tenant", "acme", "-o", folder, "--to", self.until, "--disclose", "all",
                           "--auditor-seed", "newspaper", *args, key=self.key).ok()  # fmt: skip
        return folder

    def verify(self, folder: Path):  # noqa: ANN201
        """`countersign verify --evidence`"""
        return cli("verify", "--key", self.server.vkey, "--evidence", folder)


@pytest.fixture(scope="module")
def expired(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Expired]:
    """The log, made once."""
    root = tmp_path_factory.mktemp("expiry")
    with Server.ready(root / "server") as server:
        yield Expired(root, server, Clock(root))


def rows(folder: Path, path: str) -> list[dict[str, str]]:
    """The rows of a table."""
    return list(csv.DictReader(io.StringIO((folder / path).read_bytes().decode("utf-8-sig"), newline="")))


def name(step: dict[str, Any]) -> str:
    """Where the receipt of a step lies, without its ending."""
    return f"proof/expired/{step['from']}-{step['below']}"


def payload(folder: Path) -> set[int]:
    """The entries of which a folder holds payload."""
    return {int(path.stem) for path in (folder / "proof/disclosures").glob("*.disclosures")}


def test_p20_expired_after_the_period(expired: Expired) -> None:
    """Each folder is whole and holds what is left; each step that explains something is named with a receipt that other code verifies, and
    no other step."""
    told = {"before": [], "one": [expired.first], "both": [expired.first, expired.second]}
    size = json.loads((expired.both / "manifest.json").read_bytes())["size"]
    for which, steps in told.items():
        folder: Path = getattr(expired, which)
        assert verified(expired.server, folder).verdicts().total() == 6
        gone = {index for index in (*expired.old, *expired.young) if any(step["from"] <= index < step["below"] for step in steps)}
        assert payload(folder).isdisjoint(gone) and payload(folder) >= {*expired.old, *expired.young} - gone
        assert {path.name for path in (folder / "proof/expired").glob("*")} == {Path(name(step)).name + end for step in steps for end in (".json", ".tlog-proof")}
        listed = rows(folder, "privacy/expired-later.csv")
        assert [(int(row["from"]), int(row["below"]), int(row["expired_by_entry"])) for row in listed] == [(s["from"], s["below"], s["index"]) for s in steps]
        for row, step in zip(listed, steps, strict=True):
            assert row["receipt"] == name(step) + ".tlog-proof" and row["by"] == "server retention" and int(row["entries"]) >= 3
            receipt = Receipt.parse((folder / row["receipt"]).read_text())
            assert receipt.verify(Vkey.parse(expired.server.vkey)).size > receipt.index == step["index"] >= size
            assert json.loads(receipt.entry)["event"]["below"] == step["below"]
        assert ("expired_later" in findings(folder)) == bool(steps)
    assert {*expired.old} <= set(range(expired.first["from"], expired.first["below"]))
    assert {*expired.young} <= set(range(expired.second["from"], expired.second["below"]))


def test_p20_an_erasure_and_then_an_expiry(expired: Expired) -> None:
    """One field was erased, then the rest went by age: both explain it."""
    assert (expired.both / f"proof/erasures/{expired.young[0]}-1.tlog-proof").exists()
    (row,) = rows(expired.both, "privacy/erased-later.csv")
    assert row["fields"] == "owner" and int(row["entry"]) == expired.young[0]


def test_p20_an_expiry_after_the_period_changes_no_draw(expired: Expired) -> None:
    """The same checkpoint draws the same samples. Their payload alone is gone. A folder that was made before stays what it was."""
    folders = (expired.before, expired.one, expired.both)
    assert len({(folder / "proof/checkpoint").read_bytes() for folder in folders}) == 1
    drawn = [[(row["control"], row["rank"], row["index"]) for row in rows(folder, "samples/samples.csv")] for folder in folders]
    assert drawn[0] == drawn[1] == drawn[2] and drawn[0]
    assert all(expired.verify(folder).code == 0 for folder in folders)


def test_p20_the_same_expiry_gives_the_same_bytes(expired: Expired, tmp_path: Path) -> None:
    """Made again into another folder, and over the folder that still held the payload."""
    assert files(expired.make(tmp_path / "again")) == files(expired.both)
    shutil.copytree(expired.before, tmp_path / "over")
    assert files(expired.make(tmp_path / "over")) == files(expired.both)


def test_p20_a_range_that_expired_needs_a_receipt(expired: Expired, tmp_path: Path) -> None:
    """An export of the range verifies with the receipts of the retention entries, and not without the last of them."""
    expired.server.remote("export", "--tenant", "acme", "--from", expired.old[0], "--to", expired.young[-1], "--disclosures", tmp_path / "e", key=expired.key).ok()
    receipts = [expired.both / (name(step) + ".tlog-proof") for step in (expired.first, expired.second)]
    plain = cli("verify", "--key", expired.server.vkey, "--export", tmp_path / "e")
    assert plain.code == 1 and "no erasure or retention entry says why" in plain.out + plain.err, plain
    half = cli("verify", "--key", expired.server.vkey, "--export", tmp_path / "e", receipts[0])
    assert half.code == 1 and f"{expired.young[0]}.disclosures" in half.out + half.err, half
    cli("verify", "--key", expired.server.vkey, "--export", tmp_path / "e", *receipts).ok()


def other_log(folder: Path, expired: Expired, tmp_path: Path) -> None:
    """The operator signs another branch, in which the payload expired."""
    expired.server.remote("export", "--tenant", "acme", tmp_path / "export").ok()
    log = Operator(tmp_path / "export", next((expired.server.root / "keys/acme").glob("log-*.key"))).copy()
    log.entries[2]["event"]["id"] = "another"
    (folder / (name(expired.second) + ".tlog-proof")).write_text(log.receipt(expired.second["index"]))


def rename(folder: Path, step: dict[str, Any], to: str) -> None:
    """Gives the files of a step another name."""
    for end in (".json", ".tlog-proof"):
        (folder / (name(step) + end)).rename(folder / f"proof/expired/{to}{end}")


def longer(folder: Path, expired: Expired) -> None:
    """Hides payload that is there behind a step that did not reach it."""
    kept = max(payload(folder))
    assert kept >= expired.first["below"]
    (folder / f"proof/disclosures/{kept}.disclosures").unlink()
    rename(folder, expired.first, f"{expired.first['from']}-{kept + 1}")


ATTACKS: dict[str, Callable[[Path, Expired, Path], object]] = {
    "no receipt": lambda f, e, _: (f / (name(e.second) + ".tlog-proof")).unlink(),
    "no proof of one history": lambda f, e, _: (f / (name(e.second) + ".json")).unlink(),
    "the receipt of another step": lambda f, e, _: shutil.copy(f / (name(e.first) + ".tlog-proof"), f / (name(e.second) + ".tlog-proof")),
    "a receipt of no step": lambda f, e, _: shutil.copy(next((f / "receipts").iterdir()), f / (name(e.second) + ".tlog-proof")),
    "one name for both": lambda f, e, _: rename(f, e.second, f"{e.first['from']}-{e.second['below']}"),
    "a step as a deletion": lambda f, e, _: rename(f, e.second, "all"),
    "one too many": lambda f, e, _: shutil.copy(f / (name(e.second) + ".tlog-proof"), f / "proof/expired/all.tlog-proof"),
    "text": lambda f, e, _: (f / (name(e.second) + ".tlog-proof")).write_text("it was old, believe me"),
    "not UTF-8": lambda f, e, _: (f / (name(e.second) + ".json")).write_bytes(b"\xff"),
    "another branch of the log": other_log,
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_p20_no_other_proof_explains_what_expired(expired: Expired, tmp_path: Path, attack: str) -> None:
    """It is refused, and the file is named."""
    copy = tmp_path / "e"
    shutil.copytree(expired.both, copy)
    ATTACKS[attack](copy, expired, tmp_path)
    done = expired.verify(copy)
    assert done.code == 1 and "panicked" not in done.err, done
    assert any(part in done.out + done.err for part in ("expired/", "disclosures/", "privacy/expired-later.csv")), done


def test_p20_a_step_explains_no_entry_beyond_it(expired: Expired, tmp_path: Path) -> None:
    """Payload of an entry that had not expired is hidden, and the step before it is said to reach it."""
    copy = tmp_path / "e"
    shutil.copytree(expired.one, copy)
    longer(copy, expired)
    done = expired.verify(copy)
    assert done.code == 1 and "expired/" in done.out + done.err, done
