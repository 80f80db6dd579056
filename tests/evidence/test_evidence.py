"""P20: evidence states its population and proves it; whoever changes, adds or removes anything is found."""

from __future__ import annotations

import csv
import hashlib
import html
import io
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import cli
from support.rfc6962 import Receipt, Vkey
from support.story import SHOWN, Story


def verify(story: Story, folder: Path, *args: object) -> Any:
    """`countersign verify --evidence`"""
    return cli("verify", "--key", story.server.vkey, "--evidence", folder, *args)


def rows(folder: Path, path: str) -> list[dict[str, str]]:
    """The rows of a table, with its continuations."""
    found: list[dict[str, str]] = []
    for name in sorted(folder.glob(path.replace(".csv", "*.csv"))):
        raw = name.read_bytes()
        assert raw.startswith(b"\xef\xbb\xbf"), "a spreadsheet takes UTF-8 without its mark for another encoding"
        found += csv.DictReader(io.StringIO(raw.decode("utf-8-sig"), newline=""))
    return found


def conclusions(folder: Path) -> dict[str, Any]:
    """What the evidence says, for programs."""
    return json.loads((folder / "conclusions.json").read_bytes())


def figure(folder: Path, name: str) -> tuple[int, int | None]:
    """A figure: its count, and of how many."""
    (found,) = (f for f in conclusions(folder)["figures"] if f["name"] == name)
    return found["count"], found["of"]


def in_period(story: Story, folder: Path) -> dict[int, dict[str, Any]]:
    """The entries of the period, from the feed: counted by a program that imports nothing of ours."""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    entries = {index: json.loads(leaf) for index, leaf in story.server.admin.feed() if index < manifest["size"]}
    return {index: entry for index, entry in entries.items() if manifest["from"] <= entry["journal"]["time"] < manifest["to"]}


def test_p20_the_evidence_verifies_and_names_what_was_planted(story: Story, folder: Path) -> None:
    """From the folder and the key alone; the first screen of the report names each exception."""
    told = verify(story, folder, "--json").ok().json()["items"][0]
    assert told["whole"] and told["decisions"] > 300
    found = {f["code"]: f for f in conclusions(folder)["findings"] if f["weight"] == "exception"}
    assert set(found) == set(story.planted), json.dumps(list(found.values()), indent=1)
    first_screen = html.unescape((folder / "report.html").read_text().split("<h2>")[0])
    for code, leaf in story.planted.items():
        assert leaf < 0 or leaf in found[code]["leaves"], code
        text = found[code]["text"]
        assert text[1:] in first_screen, text
        if leaf >= 0:
            assert f'href="receipts/{leaf}.tlog-proof"' in first_screen
            assert (folder / f"receipts/{leaf}.tlog-proof").exists()


def test_p20_counts_are_those_of_an_independent_count(story: Story, folder: Path) -> None:
    """Decisions by verdict, from the server's feed, by other code; each decision is a row; no row is too many."""
    entries = in_period(story, folder)
    decisions = {i: e for i, e in entries.items() if e["kind"] == "decision"}
    listed = {int(row["index"]): row for row in rows(folder, "population/decisions.csv")}
    assert set(listed) == set(decisions)
    assert figure(folder, "entries")[0] == len(entries)
    counted = Counter(e["event"]["data"]["verdict"] for e in decisions.values())
    summed: Counter[str] = Counter()
    for row in rows(folder, "population/counts.csv"):
        summed[row["verdict"]] += int(row["decisions"])
    assert summed == counted
    assert figure(folder, "denied")[0] == counted["deny"] > 100
    assert figure(folder, "elevated_with_approval") == (1, 2)
    ours = [e for e in decisions.values() if "as_of" in e["event"]["data"]]
    count, of = figure(folder, "replay_accuracy")
    assert count == of and of >= 8 and len(ours) >= of


def test_p20_receipts_are_those_of_other_code(story: Story, folder: Path) -> None:
    """Each receipt in the folder verifies by a reader of C2SP tlog-proof that is not ours."""
    key = Vkey.parse(story.server.vkey)
    found = list((folder / "receipts").iterdir())
    assert len(found) > 25
    for path in found:
        receipt = Receipt.parse(path.read_text())
        assert receipt.verify(key).size == json.loads((folder / "manifest.json").read_bytes())["size"]
        assert f"{receipt.index}.tlog-proof" == path.name


def drawn(checkpoint: str, text: str, control: str, population: list[int], count: int) -> list[int]:
    """The public function of `proto/formats/evidence.md`."""
    seed = hashlib.sha256(f"countersign-samples-v1\n{checkpoint}{text}\n".encode()).digest()
    rank = lambda index: hashlib.sha256(seed + f"{control}\n{index}\n".encode()).digest()  # noqa: E731
    return sorted(population, key=rank)[:count]


def test_p20_samples_are_drawn_by_a_public_function(story: Story, folder: Path) -> None:
    """Thirty lines of Python draw the same samples, in the same order."""
    checkpoint = (folder / "proof/checkpoint").read_text().split("\n\n")[0] + "\n"
    entries = in_period(story, folder)
    verdict = lambda e: e["event"].get("data", {}).get("verdict") if e["kind"] == "decision" else None  # noqa: E731
    populations = {
        "decisions": [i for i, e in entries.items() if e["kind"] == "decision"],
        "denied": [i for i, e in entries.items() if verdict(e) == "deny"],
        "allowed": [i for i, e in entries.items() if verdict(e) in ("allow", "sanitize")],
        "approval_needed": [i for i, e in entries.items() if verdict(e) == "approval_needed"],
        "erasures": [i for i, e in entries.items() if e["kind"] == "erasure"],
    }
    listed = rows(folder, "samples/samples.csv")
    for control, population in populations.items():
        ours = [int(row["index"]) for row in listed if row["control"] == control]
        assert ours == drawn(checkpoint, "taken from the newspaper", control, population, 25), control
        assert ours


def test_p20_the_function_of_the_page_draws_the_vectors(repository: Path) -> None:
    """The lines of Python on the format's page, as they stand there, draw the golden vectors."""
    page = (repository / "proto/formats/evidence.md").read_text()
    code: dict[str, Any] = {"hashlib": hashlib}
    exec(page.split("```python\n")[1].split("```")[0], code)  # noqa: S102
    draws = json.loads((repository / "proto/vectors/samples.json").read_bytes())["draws"]
    assert len(draws) > 3
    for vector in draws:
        asked = (vector["checkpoint"], vector["text"], vector["control"], list(range(vector["population"])), vector["count"])
        assert code["drawn"](*asked) == drawn(*asked) == vector["drawn"]


def test_p20_the_same_period_gives_the_same_bytes(story: Story, folder: Path, tmp_path: Path) -> None:
    """Made again, after more happened, and made from an export of the log: the same files. In a folder in which an earlier run was stopped too."""
    story.publisher.publish({"specversion": "1.0", "id": "later", "source": "/later", "type": "x", "time": "2026-01-01T00:00:00Z"})
    options = ["--disclose", "all", "--auditor-seed", "taken from the newspaper"]
    manifest = json.loads((folder / "manifest.json").read_bytes())
    period = ["--from", manifest["from"], "--to", manifest["to"]]
    again = tmp_path / "again"
    shutil.copytree(folder, again)
    (again / "manifest.json").unlink()
    for path in [*(p for p in again.rglob("proof/tile/entries/**/*") if p.is_file()), again / "report.html"]:
        path.unlink()
    (again / "population/decisions-9.csv").write_text("left by somebody")
    story.make(again, *options, *period).ok()
    assert files(again) == files(folder)


def files(folder: Path) -> dict[str, bytes]:
    """Every file by path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _cut_entry(folder: Path) -> None:
    bundle = sorted((folder / "proof/tile/entries").iterdir())[0]
    bundle.write_bytes(bundle.read_bytes()[:-5])


def _other_count(folder: Path) -> None:
    path = folder / "population/counts.csv"
    path.write_bytes(path.read_bytes().replace(b",100\r\n", b",99\r\n", 1))


def _swapped_sample(folder: Path) -> None:
    path = folder / "samples/samples.csv"
    lines = path.read_bytes().split(b"\r\n")
    lines[1], lines[2] = lines[2], lines[1]
    path.write_bytes(b"\r\n".join(lines))


def _swapped_receipts(folder: Path) -> None:
    one, other = sorted((folder / "receipts").iterdir())[:2]
    text = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(text)


def _link(folder: Path) -> None:
    (folder / "approvals/approvals.csv").unlink()
    os.symlink("/etc/hostname", folder / "approvals/approvals.csv")


def _edited_digest(folder: Path) -> None:
    (folder / "report.html").write_text((folder / "report.html").read_text().replace("exceptions", "oddities"))
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["files"]["report.html"] = hashlib.sha256((folder / "report.html").read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")


def _shorter_period(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["end"] -= 10
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")


def _policy_missing(folder: Path) -> None:
    next((folder / "proof/policies").iterdir()).unlink()


def _disclosure_missing(folder: Path) -> None:
    sorted((folder / "proof/disclosures").iterdir())[3].unlink()


ATTACKS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a bundle that is cut": (_cut_entry, "tile/entries"),
    "a count that is changed": (_other_count, "population/counts.csv"),
    "a sample that is swapped": (_swapped_sample, "samples/samples.csv"),
    "receipts that are swapped": (_swapped_receipts, "receipts/"),
    "a report that is edited": (lambda f: (f / "report.html").write_text("all is well"), "report.html"),
    "a report that is edited, with its digest": (_edited_digest, "report.html"),
    "a period that is cut": (_shorter_period, "in the period"),
    "a file that is added": (lambda f: (f / "approvals/all-good.csv").write_text("x"), "approvals/all-good.csv"),
    "a file that is added below proof": (lambda f: (f / "proof/tile/0/000").write_text("x"), "proof/tile/0/000"),
    "a file that is missing": (lambda f: (f / "privacy/uses.csv").unlink(), "privacy/uses.csv"),
    "a link": (_link, "approvals.csv"),
    "policies that are missing": (_policy_missing, ""),
    "a disclosure that is missing": (_disclosure_missing, "disclosures/"),
    "a huge tile": (lambda f: next(f.glob("proof/tile/0/*.p/*")).write_bytes(b"0" * (70 << 20)), "tile/0"),
    "a manifest that claims too much": (lambda f: (f / "manifest.json").write_text(
        (f / "manifest.json").read_text().replace('"samples": 25', '"samples": 99999999999')), ""),
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_p20_whatever_is_changed_is_named(story: Story, folder: Path, tmp_path: Path, attack: str) -> None:
    """The verifier names the file, and exits with 1 (or 3 if it can't be read at all)."""
    change, names = ATTACKS[attack]
    copy = tmp_path / "e"
    shutil.copytree(folder, copy)
    change(copy)
    done = verify(story, copy)
    assert done.code in (1, 3), done
    assert names in done.out + done.err, done


def test_p20_the_checkpoint_that_was_handed_over(story: Story, folder: Path, tmp_path: Path) -> None:
    """The one by which the samples were drawn is right. Another one is refused, if the auditor's text drew samples; without a text it is
    one more checkpoint of the same log."""
    other = tmp_path / "checkpoint"
    other.write_text((folder / "proof/checkpoint").read_text())
    assert verify(story, folder, "--checkpoint", other).code == 0
    story.make(tmp_path / "plain").ok()
    story.publisher.publish({"specversion": "1.0", "id": "more", "source": "/later", "type": "x", "time": "2026-01-01T00:00:00Z"})
    other.write_text(story.server.admin.checkpoint())
    assert verify(story, tmp_path / "plain", "--checkpoint", other).code == 0
    refused = verify(story, folder, "--checkpoint", other)
    assert refused.code == 1 and "drawn by this checkpoint" in refused.out + refused.err, refused


def test_p20_a_period_that_is_not_over_is_partial(story: Story, tmp_path: Path) -> None:
    """Without `--partial` nothing is made; with it the first line and exit status 4 say so, and so does the verifier."""
    refused = story.make(tmp_path / "none", "--to", "2099-01-01")
    assert refused.code == 1 and "--partial" in refused.err
    made = story.make(tmp_path / "part", "--to", "2099-01-01", "--partial")
    assert made.code == 4, made
    assert (tmp_path / "part/README.txt").read_text().startswith("NOT WHOLE")
    assert "NOT WHOLE" in (tmp_path / "part/report.html").read_text()
    told = verify(story, tmp_path / "part")
    assert told.code == 4 and "NOT WHOLE" in told.out


@pytest.mark.parametrize(("since", "until"), [("2020-01-01", "2020-02-01"), ("2019-06-01", "2026-01-01")])
def test_p20_a_period_without_entries(story: Story, tmp_path: Path, since: str, until: str) -> None:
    """An empty period, also one before the log, is whole: the entry after it shows that nothing came."""
    story.make(tmp_path / "e", "--from", since, "--to", until).ok()
    assert figure(tmp_path / "e", "decisions") == (0, None)
    verify(story, tmp_path / "e").ok()


def test_p20_without_payload_it_says_what_it_can_not_say(story: Story, tmp_path: Path) -> None:
    """By default no payload leaves: nothing that was said to be secret is in any file, and replay says that it is not possible."""
    folder = tmp_path / "e"
    story.make(folder).ok()
    verify(story, folder).ok()
    assert figure(folder, "replay_accuracy")[1] == 0 and figure(folder, "not_replayable")[0] >= 8
    everything = b"".join(files(folder).values())
    assert b"DE02120300000000202051" not in everything and b"INV-004711" not in everything
    assert "Reproducible, not independent" in (folder / "report.html").read_text()


def test_p20_hostile_text_stays_text(folder: Path) -> None:
    """In the page it is escaped, in a table it is no formula."""
    page = (folder / "report.html").read_text()
    assert "<script>" not in page and "alert(1)" in page and "\u202e" not in page
    agents = [row["agent"] for row in rows(folder, "population/decisions.csv")]
    assert "'" + SHOWN in agents
    for name in folder.rglob("*.csv"):
        for row in csv.reader(io.StringIO(name.read_bytes().decode("utf-8-sig"), newline="")):
            assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in row), name


def test_p20_erased_payload_is_explained(story: Story, folder: Path) -> None:
    """An erased entry is in the population; its payload is nowhere, and nobody calls it missing."""
    assert str(story.erased) in {row["index"] for row in rows(folder, "population/decisions.csv")}
    assert not (folder / f"proof/disclosures/{story.erased}.disclosures").exists()
    assert figure(folder, "erasures")[0] == 1


def test_p20_a_release_before_the_period_counts(story: Story, tmp_path: Path) -> None:
    """A call that was approved and redeemed before the period, and is reported in it, is no exception; one that was never approved is."""
    since = story.last_time()
    story.report(story.good)
    story.publisher.publish({"specversion": "1.0", "id": "after-report", "source": "/later", "type": "x", "time": "2026-01-01T00:00:00Z"})
    story.make(tmp_path / "e", "--from", since).ok()
    verify(story, tmp_path / "e").ok()
    assert figure(tmp_path / "e", "elevated_with_approval") == (1, 1)
    assert not [f for f in conclusions(tmp_path / "e")["findings"] if f["code"] == "executed_without_approval"]
    story.report(story.planted["executed_without_approval"])
    story.publisher.publish({"specversion": "1.0", "id": "after-another", "source": "/later", "type": "x", "time": "2026-01-01T00:00:00Z"})
    story.make(tmp_path / "f", "--from", since).ok()
    assert figure(tmp_path / "f", "elevated_with_approval") == (1, 2)


def test_the_compliance_page_says_what_the_controls_say(repository: Path) -> None:
    """`docs/compliance.md` and `proto/controls/controls.json`, which evidence fills with figures, are the same text."""
    page = (repository / "docs/compliance.md").read_text()
    controls = json.loads((repository / "proto/controls/controls.json").read_bytes())["controls"]
    for control in controls:
        files = ", ".join(f"`{file}`" for file in control["files"])
        row = f"| **{control['id']}** {control['title']} | {control['shows']} | {control['stays']} | {files} |"
        assert row in page.split(f"## {control['framework']}\n")[1].split("\n## ")[0], row
    assert page.count("\n| **") == len(controls)


def test_the_files_that_controls_name_are_there(repository: Path, folder: Path) -> None:
    """Each control names figures and files that evidence has."""
    figures = {one["name"] for one in conclusions(folder)["figures"]}
    for control in json.loads((repository / "proto/controls/controls.json").read_bytes())["controls"]:
        assert set(control["figures"]) <= figures, control
        assert all((folder / file).is_file() for file in control["files"]), control
