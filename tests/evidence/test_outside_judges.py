"""P20: what is in an evidence folder is read, proven and counted by programs that nobody here wrote, or that import nothing of ours."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import openpyxl
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError as NotSigned
from securesystemslib.signer import SSlibKey
from sigstore._internal.merkle import verify_merkle_inclusion
from sigstore._internal.rekor.checkpoint import SignedCheckpoint, verify_checkpoint
from sigstore._internal.trust import Keyring
from sigstore.errors import VerificationError
from sigstore_models.common import v1 as common_v1
from support import cli
from support.fresh_counter import Counted
from support.judges import judge
from support.rfc6962 import Receipt, Vkey
from support.story import SHOWN, Story
from trestle.common.err import TrestleError
from trestle.core.validator_factory import validator_factory
from trestle.oscal.assessment_results import AssessmentResults


def rows(folder: Path, path: str) -> list[dict[str, str]]:
    """The rows of a table that fits into one file."""
    return list(csv.DictReader(io.StringIO((folder / path).read_bytes().decode("utf-8-sig"), newline="")))


def conclusions(folder: Path) -> dict[str, Any]:
    """Figures by name, and findings by code."""
    said = json.loads((folder / "conclusions.json").read_bytes())
    return {one["name"]: (one["count"], one["of"]) for one in said["figures"]} | {one["code"]: one for one in said["findings"]}


@pytest.fixture(scope="module")
def middle(story: Story, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Evidence of a period that begins and ends within the log, and whose range leaves bundles out."""
    listed = rows(folder, "population/decisions.csv")
    since = next(row["journal_time"] for row in listed if int(row["index"]) == story.good)
    until = listed[-2]["journal_time"]
    made = tmp_path_factory.mktemp("middle") / "e"
    story.make(made, "--from", since, "--to", until).ok()
    return made


# A fresh counter


@pytest.mark.parametrize("of", ["folder", "middle"])
def test_p20_a_fresh_counter_comes_to_the_same_figures(story: Story, of: str, request: pytest.FixtureRequest) -> None:
    """It proves the bundles, the chain of system entries and the range, and counts again: from `proof/` and the key alone."""
    made: Path = request.getfixturevalue(of)
    counted = Counted(made, story.server.vkey)
    said = conclusions(made)
    verdicts = counted.verdicts()
    names = {"allowed": "allow", "denied": "deny", "approval_needed": "approval_needed", "sanitized": "sanitize"}
    assert {name: said[name][0] for name in names} == {name: verdicts[verdict] for name, verdict in names.items()}
    assert said["decisions"][0] == verdicts.total() > 0
    assert said["entries"][0] == len(counted.period)
    stands, redeemed = counted.approvals()
    assert Counter(row["state"] for row in rows(made, "approvals/approvals.csv")) == stands
    assert said["approvals"][0] == stands.total() > 0
    assert {int(row["decision"]) for row in rows(made, "approvals/elevated.csv") if row["redeemed"] == "yes"} <= redeemed
    found = said.get("executed_without_approval", {"leaves": []})
    assert set(found["leaves"]) == counted.without_approval()
    assert counted.is_over
    if of == "folder":
        assert counted.without_approval() == {story.planted["executed_without_approval"]}


def test_p20_the_fresh_counter_can_refuse(story: Story, folder: Path, middle: Path, tmp_path: Path) -> None:
    """A changed entry, a missing tile, a cut range, another key."""
    def changed(of: Path, change: Any) -> None:
        copy = tmp_path / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(of, copy)
        change(copy)
        Counted(copy, story.server.vkey)

    def entry(copy: Path) -> None:
        path = copy / "proof/tile/entries/000"
        path.write_bytes(path.read_bytes().replace(b'"verdict":"deny"', b'"verdict":"dens"', 1))

    def cut(by: str, of: int) -> Any:
        def change(copy: Path) -> None:
            manifest = json.loads((copy / "manifest.json").read_bytes())
            manifest[by] += of
            (copy / "manifest.json").write_text(json.dumps(manifest))
        return change

    Counted(folder, story.server.vkey)
    with pytest.raises(AssertionError, match="do not lead"):
        changed(folder, entry)
    with pytest.raises(AssertionError, match="belongs to the period"):
        changed(folder, cut("end", -1))
    with pytest.raises(AssertionError, match="belongs to the period"):
        changed(middle, cut("begin", 1))
    with pytest.raises((AssertionError, InvalidSignature)):
        Counted(folder, "other" + story.server.vkey)


# Go and sigstore


@pytest.mark.parametrize("of", ["folder", "middle"])
def test_p20_go_sumdb_reads_proof(story: Story, of: str, request: pytest.FixtureRequest) -> None:
    """Go's note and tlog open the checkpoint, authenticate every tile and every entry that is there, verify every receipt, and refuse
    each change of a bit of any of them."""
    made: Path = request.getfixturevalue(of)
    counts = judge(str(made / "proof"), [story.server.vkey], made / "receipts", part=True)
    here = len(Counted(made, story.server.vkey).leaves)
    assert counts["inclusions"] == here and counts["receipts"] == len(list((made / "receipts").iterdir()))
    assert counts["refused changes"] > 50_000


def test_p20_sigstore_verifies_receipts(story: Story, folder: Path) -> None:
    """sigstore-python verifies the checkpoint and the inclusion of every receipt, and refuses another entry and another index."""
    key = Vkey.parse(story.server.vkey)
    der = Ed25519PublicKey.from_public_bytes(key.public).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    details = common_v1.PublicKeyDetails.PKIX_ED25519
    ring = Keyring([common_v1.PublicKey(raw_bytes=base64.b64encode(der), key_details=details)])

    def check(receipt: Receipt, entry: bytes, index: int) -> None:
        opened = SignedCheckpoint.from_text(receipt.checkpoint).checkpoint
        proof = SimpleNamespace(
            log_index=index, tree_size=opened.log_size, hashes=receipt.path, root_hash=bytes.fromhex(opened.log_hash),
            checkpoint=SimpleNamespace(envelope=receipt.checkpoint),
        )  # fmt: skip
        inner = SimpleNamespace(inclusion_proof=proof, canonicalized_body=entry, log_id=SimpleNamespace(key_id=key.id + bytes(28)))
        as_theirs: Any = SimpleNamespace(_inner=inner)
        verify_checkpoint(ring, as_theirs)
        verify_merkle_inclusion(as_theirs)

    for path in (folder / "receipts").iterdir():
        receipt = Receipt.parse(path.read_text())
        check(receipt, receipt.entry, receipt.index)
        with pytest.raises(VerificationError):
            check(receipt, receipt.entry + b" ", receipt.index)
        with pytest.raises(VerificationError):
            check(receipt, receipt.entry, receipt.index ^ 1)


# Statement


def test_p20_the_statement_is_in_toto_in_dsse(story: Story, tmp_path: Path) -> None:
    """securesystemslib verifies the envelope with the printed key; its subjects are the files on disk. A changed file, a changed
    payload and another key are refused."""
    printed = cli("evidence", "--new-signing-key", tmp_path / "signing.key").ok().out.strip()
    assert oct((tmp_path / "signing.key").stat().st_mode)[-3:] == "600"
    story.make(tmp_path / "e", "--signing-key", tmp_path / "signing.key").ok()
    check = ("verify", "--key", story.server.vkey, "--evidence", tmp_path / "e")
    cli(*check, "--evidence-key", printed).ok()
    told = json.loads((tmp_path / "e/statement.dsse.json").read_bytes())

    def key_of(vkey: str) -> SSlibKey:
        public = Vkey.parse(vkey)
        keyid = "+".join(vkey.split("+", 2)[:2])
        return SSlibKey(keyid, "ed25519", "ed25519", {"public": public.public.hex()})

    def verified(envelope: dict[str, Any], vkey: str = printed) -> Any:
        opened = Envelope.from_dict(json.loads(json.dumps(envelope)))
        opened.verify([key_of(vkey)], threshold=1)
        return json.loads(opened.payload)

    statement = verified(told)
    assert told["payloadType"] == "application/vnd.in-toto+json"
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    subjects = {one["name"]: one["digest"]["sha256"] for one in statement["subject"]}
    assert len(subjects) == len(statement["subject"])
    on_disk = {str(p.relative_to(tmp_path / "e")): p for p in (tmp_path / "e").rglob("*") if p.is_file()}
    del on_disk["statement.dsse.json"]
    digest = lambda path: hashlib.sha256(path.read_bytes()).hexdigest()  # noqa: E731
    assert subjects == {name: digest(path) for name, path in on_disk.items()}
    report = on_disk["report.html"]
    report.write_text(report.read_text() + " ")
    assert subjects["report.html"] != digest(report)
    report.write_text(report.read_text()[:-1])
    other = cli("evidence", "--new-signing-key", tmp_path / "other.key").ok().out.strip()
    assert cli(*check, "--evidence-key", other).code == 1
    with pytest.raises(NotSigned):
        verified(told, other)
    changed = base64.b64decode(told["payload"]).replace(b'"whole":true', b'"whole":false')
    with pytest.raises(NotSigned):
        verified(told | {"payload": base64.b64encode(changed).decode()})
    with pytest.raises(NotSigned):
        verified(told | {"payloadType": "application/json"})


def test_p20_the_log_key_signs_no_statement(story: Story, tmp_path: Path) -> None:
    """A key that is there is never overwritten, and a file that holds no key is refused."""
    cli("evidence", "--new-signing-key", tmp_path / "signing.key").ok()
    before = (tmp_path / "signing.key").read_text()
    assert cli("evidence", "--new-signing-key", tmp_path / "signing.key").code != 0
    assert (tmp_path / "signing.key").read_text() == before
    (tmp_path / "public.key").write_text(story.server.vkey)
    assert story.make(tmp_path / "e", "--signing-key", tmp_path / "public.key").code == 3


# OSCAL


def test_p20_oscal_is_read_by_trestle(folder: Path, tmp_path: Path) -> None:
    """compliance-trestle parses the assessment results by its models of the OSCAL schema, which accept no member that they don't
    know, and its validators accept them. Each finding is one of our exceptions, and no control is called satisfied."""
    path = folder / "controls/oscal-ar.json"
    read = AssessmentResults.oscal_read(path)
    assert read is not None
    for validator in validator_factory.get_all():
        assert validator.model_is_valid(read, False), type(validator).__name__
    (result,) = read.results
    controls = {(row["framework"], row["control"]) for row in rows(folder, "controls/controls.csv")}
    assert len(controls) > 20 and len(result.reviewed_controls.control_selections[0].include_controls) == len(controls)
    titles = {observation.title for observation in result.observations}
    said = json.loads((folder / "conclusions.json").read_bytes())
    assert {one["title"] for one in said["figures"]} | {one["code"] for one in said["findings"]} == titles
    assert {finding.target.status.state.value for finding in result.findings} == {"not-satisfied"}
    for observation in result.observations:
        for evidence in observation.relevant_evidence:
            assert (path.parent / evidence.href).resolve().is_file(), evidence.href
    whole = json.loads(path.read_bytes())
    for change in (lambda d: d.pop("results"), lambda d: d.update(verdict="good"), lambda d: d.update(uuid="1")):
        changed = json.loads(json.dumps(whole))
        change(changed["assessment-results"])
        (tmp_path / "ar.json").write_text(json.dumps(changed))
        with pytest.raises(TrestleError):
            AssessmentResults.oscal_read(tmp_path / "ar.json")


# Spreadsheets


def test_p20_a_spreadsheet_opens_every_table(folder: Path, tmp_path: Path) -> None:
    """Gnumeric opens each table as a person does who clicks on it: UTF-8 is right, cells are where they belong, nothing is a formula."""
    seen: Counter[str] = Counter()
    tables = sorted(folder.rglob("*.csv"))
    assert len(tables) > 15
    for table in tables:
        made = tmp_path / f"{table.stem}.xlsx"
        subprocess.run(["ssconvert", table, made], check=True, capture_output=True, timeout=120)
        sheet = openpyxl.load_workbook(made).active
        assert sheet is not None
        expected = list(csv.reader(io.StringIO(table.read_bytes().decode("utf-8-sig"), newline="")))
        found = list(sheet.iter_rows())
        assert len(found) == len(expected), table
        for cells, texts in zip(found, expected, strict=True):
            for cell, text in zip(cells, texts, strict=True):
                assert cell.data_type != "f", f"{table} {cell.coordinate}: {cell.value}"
                if cell.data_type == "s":
                    assert cell.value == text.removeprefix("'"), f"{table} {cell.coordinate}"
                    seen[cell.value] += 1
    assert seen[SHOWN] >= 3 and seen["at_most EUR 100,000 → 40,000 minor units"] == 1


def test_p20_a_spreadsheet_would_compute_a_formula(tmp_path: Path) -> None:
    """The judge can see one."""
    (tmp_path / "t.csv").write_text("\ufeffa\r\n=1+1\r\n'=1+1\r\n")
    subprocess.run(["ssconvert", tmp_path / "t.csv", tmp_path / "t.xlsx"], check=True, capture_output=True, timeout=120)
    sheet = openpyxl.load_workbook(tmp_path / "t.xlsx").active
    assert sheet is not None and [row[0].data_type for row in sheet.iter_rows()] == ["s", "f", "s"]
