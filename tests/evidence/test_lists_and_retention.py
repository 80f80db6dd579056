"""P20: a period in which lists change, retention and legal holds are set and released, payload is erased, and the server probes itself.
The folder says so, a fresh counter comes to the same, and a folder that is changed is refused with the file's name."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support import Server, cli, event, until
from support.fresh_counter import Counted, is_probe
from test_hard_periods import findings, times, verified
from test_policy_lists import REVIEWED, Listing
from test_policy_lists import folder as policies


class Told:
    """The story, and its evidence."""

    def __init__(self, root: Path, server: Server) -> None:
        self.server = server
        desk = Listing(server, REVIEWED)
        server.sections["approvals"] |= {"probe": True}
        server.stop()
        server.write_config()
        server.start()
        desk.gateway = server.client(server.add_key(["enforcer"], producer="gw-1"))
        desk.activate(policies(root / "policies"))
        self.publisher = server.as_("publisher")
        self.first = desk.changed("references", add=["INV-3"])
        self.publisher.publish(event())
        self.since = times(server)[-1]
        self.verdicts = [desk.pays(reference)["verdict"] for reference in ("INV-3", "INV-4")]
        self.second = desk.changed("references", add=["INV-4"], remove=["INV-1"], comment="Ticket 4711")
        self.verdicts += [desk.pays(reference)["verdict"] for reference in ("INV-4", "INV-1")]
        self.denied = desk.change("blocked", remove=["DE00"]).json()
        assert desk.review(self.denied["approval"]["id"], "p-bob", "deny").status_code == 200
        desk.wait_over(self.denied["approval"]["id"])
        self.erased = self.publisher.publish(event())[0]["index"]
        self.post("/retention", payload_days=400, floor_days=30)
        for hold in ("case-17", "case-18"):
            self.post("/holds", hold=hold)
        self.post("/holds/case-17/release")
        self.post("/holds/case-18/release")
        assert server.admin.erase(self.erased)["status"] == "complete"
        self.post("/holds", hold="case-19")
        until("a whole minute with a probe in the period", self.has_probe, seconds=200)
        self.publisher.publish(event())
        self.until = times(server)[-1]
        self.publisher.publish(event())
        self.key = server.add_key(["auditor", "exporter", "discloser"])
        self.folder = root / "e"
        server.remote("evidence", "--tenant", "acme", "-o", self.folder, "--from", self.since, "--to", self.until, "--disclose", "all", key=self.key).ok()

    def post(self, path: str, **body: object) -> None:
        """An act of the admin."""
        admin = self.server.admin
        answer = admin.http.post(f"{admin.t}{path}", json={"reason": "letter of the court"} | body)
        assert answer.status_code == 200, answer.text

    def has_probe(self) -> bool:
        """Whether the server probed itself in a minute that began in the period and is over."""
        now = datetime.now(UTC).isoformat()[:16]
        probes = (e["journal"]["time"][:16] for e in self.server.admin.entries(kind="decision") if is_probe(e))
        return any(self.since[:16] < minute < now for minute in probes)

    def verify(self, folder: Path):  # noqa: ANN201
        """`countersign verify --evidence`"""
        return cli("verify", "--key", self.server.vkey, "--evidence", folder)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """The story, told once."""
    root = tmp_path_factory.mktemp("lists")
    with Server(root / "server") as server:
        yield Told(root, server)


def rows(folder: Path, path: str) -> list[dict[str, str]]:
    """The rows of a table."""
    return list(csv.DictReader(io.StringIO((folder / path).read_bytes().decode("utf-8-sig"), newline="")))


#: How a table names what an entry is, by its kind and `op`.
WORDS = {
    ("policy", "part"): "policy file", ("policy", "list"): "list proposed", ("policy", "change"): "list in force",
    ("retention", "set"): "retention set", ("retention", "hold"): "legal hold begun", ("retention", "release"): "legal hold released",
    ("erasure", ""): "payload erased",
}  # fmt: skip


def test_p20_a_fresh_counter_reads_lists_retention_and_probes(told: Told) -> None:
    """Each act of the period is a row, and nothing else is; versions of lists, days, holds and probes are those of the entries."""
    counted = verified(told.server, told.folder)
    acts = counted.acts()
    assert {act: acts[act] for act in WORDS} == {
        ("policy", "part"): 2, ("policy", "list"): 2, ("policy", "change"): 1, ("retention", "set"): 1, ("retention", "hold"): 3,
        ("retention", "release"): 2, ("erasure", ""): 1,
    }  # fmt: skip
    changes = rows(told.folder, "policies/changes.csv")
    assert Counter(row["what"] for row in changes if row["what"] in WORDS.values()) == {word: acts[act] for act, word in WORDS.items()}
    assert len(changes) == acts.total()
    assert counted.lists() == {"references": 2} and told.verdicts == ["allow", "deny", "allow", "deny"]
    said = json.loads((told.folder / "privacy/retention.json").read_bytes())
    ours = counted.retention()
    assert {hold["hold"]: hold["index"] for hold in said.pop("holds")} == ours.pop("holds") and said == {"v": 1} | ours
    assert (said["payload_days"], said["floor_days"], said["expired_below"]) == (400, 30, 0)
    listed = {(row["day"], row["decider"]): int(row["with_probe"]) for row in rows(told.folder, "population/availability.csv")}
    whole = Counter((minute[:10], server) for minute, server in counted.probes() if counted.since[:16] < minute < counted.until[:16])
    assert {place: count for place, count in listed.items() if count} == whole and whole
    summary = json.loads((told.folder / "population/summary.json").read_bytes())
    assert summary["probes"] == counted.probes().total()
    assert findings(told.folder)["legal_hold"]["leaves"] == list(counted.retention()["holds"].values())


def test_p20_a_list_in_force_names_author_and_reviewer(told: Told) -> None:
    """Who proposed it, by which approval it took effect, and who granted that."""
    (row,) = (row for row in rows(told.folder, "policies/changes.csv") if row["what"] == "list in force")
    assert (row["detail"], row["person"], row["approval"], row["approved_by"]) == ("references version 2", "p-ana", told.second["approval"]["id"], "p-bob")
    assert row["by"].startswith("key ")
    comments = {row["detail"]: row["reason"] for row in rows(told.folder, "policies/changes.csv") if row["what"] == "list proposed"}
    assert comments == {"references version 2": "Ticket 4711", "blocked version 1": "For the test."}


def test_p20_verdicts_on_lists_are_computed_again(told: Told) -> None:
    """With the version that was in force at each, also the one from before the period; none is left out."""
    assert not rows(told.folder, "replay/not-the-same.csv")
    figures = {one["name"]: one for one in json.loads((told.folder / "conclusions.json").read_bytes())["figures"]}
    assert figures["replay_accuracy"]["count"] == figures["replay_accuracy"]["of"] >= 4
    for changed in (told.first, told.second):
        entries = told.server.admin.entries(kind="policy")
        form = next(e["event"] for e in entries if e["event"]["op"] == "list" and e["event"]["version"] == changed["version"] and e["event"]["name"] == "references")
        assert (told.folder / "proof/policies" / form["part"]["sha256"]).exists(), form


def file_of(told: Told, folder: Path, version: int) -> Path:
    """The file of a version of the list."""
    entries = told.server.admin.entries(kind="policy")
    form = next(e["event"] for e in entries if e["event"]["op"] == "list" and e["event"]["version"] == version and e["event"]["name"] == "references")
    return folder / "proof/policies" / form["part"]["sha256"]


def edit(path: Path, old: str, new: str) -> None:
    """Changes a file, and its digest in the manifest: whoever forges does that too."""
    text = path.read_bytes().decode()
    assert old in text, path
    path.write_bytes(text.replace(old, new, 1).encode())
    folder = next(above for above in path.parents if (above / "manifest.json").exists())
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["files"][str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def swap(told: Told, folder: Path) -> None:
    """Each version of the list has the items of the other one."""
    one, two = file_of(told, folder, 1), file_of(told, folder, 2)
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)


def without_row(path: Path, what: str) -> None:
    """Leaves a row of a table out."""
    line = next(line for line in path.read_bytes().decode().splitlines(keepends=True) if f",{what}," in line)
    edit(path, line, "")


ATTACKS: dict[str, tuple[Callable[[Told, Path], object], str]] = {
    "no file of the list before the period": (lambda t, f: file_of(t, f, 1).unlink(), "replay/not-the-same.csv"),
    "no file of the list": (lambda t, f: file_of(t, f, 2).unlink(), "replay/not-the-same.csv"),
    "another item": (lambda t, f: edit(file_of(t, f, 2), "INV-4", "INV-9"), "policies/"),
    "the items of another version": (swap, "policies/"),
    "a change of a list left out": (lambda t, f: without_row(f / "policies/changes.csv", "list in force"), "policies/changes.csv"),
    "a hold left out": (lambda t, f: without_row(f / "policies/changes.csv", "legal hold begun"), "policies/changes.csv"),
    "an erasure left out": (lambda t, f: without_row(f / "policies/changes.csv", "payload erased"), "policies/changes.csv"),
    "another reviewer": (lambda t, f: edit(f / "policies/changes.csv", "p-bob", "p-eve"), "policies/changes.csv"),
    "longer retention": (lambda t, f: edit(f / "privacy/retention.json", "400", "900"), "privacy/retention.json"),
    "no hold": (lambda t, f: edit(f / "privacy/retention.json", "case-19", "case-99"), "privacy/retention.json"),
    "more probes": (lambda t, f: edit(f / "population/availability.csv", "\nr1,", "\nr2,"), "population/availability.csv"),
    "probes as decisions": (lambda t, f: edit(f / "population/summary.json", '"probes": ', '"probes": 9'), "population/summary.json"),
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_p20_a_changed_folder_is_refused(told: Told, tmp_path: Path, attack: str) -> None:
    """With the file's name."""
    copy = tmp_path / "e"
    shutil.copytree(told.folder, copy)
    change, name = ATTACKS[attack]
    change(told, copy)
    done = told.verify(copy)
    assert done.code == 1 and "panicked" not in done.err and name in done.out + done.err, done


def test_p20_the_bundle_that_hides_a_change_is_refused(told: Told, tmp_path: Path) -> None:
    """The entry that puts the list in force is edited in the proof itself."""
    copy = tmp_path / "e"
    shutil.copytree(told.folder, copy)
    index = next(n for n, e in Counted(copy, told.server.vkey).period.items() if e["kind"] == "policy" and e["event"]["op"] == "change")
    path = next(p for p in (copy / "proof/tile/entries").rglob("*") if p.is_file() and b'"op":"change"' in p.read_bytes())
    path.write_bytes(path.read_bytes().replace(b'"op":"change"', b'"op":"chance"', 1))
    done = told.verify(copy)
    assert done.code == 1 and "tile/entries" in done.out + done.err, (index, done)
