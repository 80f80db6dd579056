"""`countersign policy`: what an author and a reviewer see. The verdict itself is tested beside its code."""

from __future__ import annotations

import hashlib
import json
import shutil
from base64 import b64decode, b64encode, urlsafe_b64encode
from pathlib import Path

import jsonschema
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support import cli
from support.manual import ROOT

PACK = sorted(path.parent for path in (ROOT / "docs" / "policies").glob("*/agents.yaml"))
PAYMENTS = ROOT / "docs" / "policies" / "payments"


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A copy of the payments policy."""
    return Path(shutil.copytree(PAYMENTS, tmp_path / "mine"))


def changed(folder: Path, old: str, new: str) -> None:
    """Changes the policy's file."""
    path = folder / "policies" / "payments.yaml"
    text = path.read_text()
    assert old in text, old
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize("folder", PACK, ids=lambda path: path.name)
def test_p16_each_policy_of_the_pack_notices_every_change(folder: Path) -> None:
    checked = cli("policy", "check", folder).ok()
    assert "no mistakes" in checked.out
    tested = cli("policy", "test", "--mutate", "--json", folder).ok().json()
    assert tested["failed"] == [] and tested["unnoticed"] == [] and tested["tests"] >= 5
    assert all(met["matched"] for met in tested["coverage"].values()), "each clause matches in some test"


SCHEMAS = {"policies": "policy", "lists": "policy-list", "tests": "policy-tests", "agents.yaml": "policy-agents", "tools.yaml": "policy-tools", "detectors.yaml": "policy-detectors"}


def fits(folder: Path) -> list[str]:
    """What a reader of YAML and a validator that are not ours find wrong with the files of a folder."""
    found = []
    for path in sorted(folder.rglob("*.yaml")):
        name = SCHEMAS[path.relative_to(folder).parts[0]]
        schema = json.loads((ROOT / "proto" / "schemas" / f"{name}.schema.json").read_text())
        validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
        found += [f"{path.name}: {error.message}" for error in validator.iter_errors(yaml.safe_load(path.read_text()))]
    return found


@pytest.mark.parametrize("folder", PACK, ids=lambda path: path.name)
def test_the_pack_fits_the_published_schemas(folder: Path) -> None:
    assert fits(folder) == []


@pytest.mark.parametrize("old, new", [
    ("then: allow", "then: alow"), ("then: allow", "then: allow\n    more: 1"), ("language: 1", "language: 2"),
    ("/amount", "amount"), ("EUR: 100000", "EUR: \"100000\""), ("EUR: 100000", "eur: 100000"), ("policy: payments", "policy: pay ments"),
])  # fmt: skip
def test_program_and_schema_refuse_the_same(mine: Path, old: str, new: str) -> None:
    changed(mine, old, new)
    assert cli("policy", "check", mine).code == 64 and fits(mine) != []


def test_the_pack_is_listed() -> None:
    page = (ROOT / "docs" / "policies" / "README.md").read_text()
    assert len(PACK) >= 15 and [folder.name for folder in PACK if f"({folder.name}" not in page] == []


def test_p15_the_digest_is_that_of_the_page(mine: Path) -> None:
    """Computed by hand as `proto/formats/policy.md` says: a test file does not change it, an item of a list does."""
    (mine / "lists").mkdir(exist_ok=True)
    (mine / "lists" / "payees.yaml").write_text("language: 1\nitems: [DE89370400440532013000]\n")
    built = cli("policy", "build", "--json", mine).ok().json()
    names = ["agents.yaml", "lists/payees.yaml", "policies/payments.yaml", "tools.yaml"]
    b64 = lambda hashed: urlsafe_b64encode(hashed).decode().rstrip("=")  # noqa: E731
    parts = [{"bytes": len(raw), "path": name, "sha256": b64(hashlib.sha256(raw).digest())}
             for name in names for raw in [(mine / name).read_bytes()]]  # fmt: skip
    assert built["parts"] == parts
    manifest = json.dumps({"language": 1, "parts": parts}, separators=(",", ":"), sort_keys=True)
    assert built["digest"] == b64(hashlib.sha256(b"countersign-bundle-v1\0" + manifest.encode()).digest())
    (mine / "tests" / "payments.yaml").unlink()
    assert cli("policy", "build", "--json", mine).ok().json() == built
    (mine / "lists" / "payees.yaml").write_text("language: 1\nitems: [DE02120300000000202051]\n")
    listed = cli("policy", "build", "--json", mine).ok().json()["digest"]
    changed(mine, "title:", "title: ")
    assert len({built["digest"], listed, cli("policy", "build", "--json", mine).ok().json()["digest"]}) == 3


def test_p15_the_golden_log_verifies_and_its_verdicts_are_computed_again(tmp_path: Path) -> None:
    """`proto/vectors/entry/policy.json`, whose verdicts are said by hand, as an export."""
    log = json.loads((ROOT / "proto" / "vectors" / "entry" / "policy.json").read_text())
    entries = [entry for message in log["messages"] for entry in message["entries"]]
    leaves = [entry["entry"].encode() for entry in entries]
    origin, size = log["origin"], len(leaves)
    key = Ed25519PrivateKey.from_private_bytes(bytes([1] * 32))
    public = b"\1" + key.public_key().public_bytes_raw()
    key_id = hashlib.sha256(f"{origin}\n".encode() + public).digest()[:4]
    vkey = f"{origin}+{key_id.hex()}+{b64encode(public).decode()}"
    text = f"{origin}\n{size}\n{log['root']}\n"
    files = {
        f"tile/entries/000.p/{size}": b"".join(len(leaf).to_bytes(2, "big") + leaf for leaf in leaves),
        f"tile/0/000.p/{size}": b"".join(b64decode(entry["leaf_hash"]) for entry in entries),
        "keys.json": json.dumps({"origin": origin, "keys": [{"vkey": vkey, "first_size": 1, "last_size": None, "index": 0, "receipt": None}]}).encode(),
        "checkpoint": f"{text}\n\u2014 {origin} {b64encode(key_id + key.sign(text.encode())).decode()}\n".encode(),
    } | {f"disclosures/{entry['index']}.disclosures": "".join(f"{line}\n" for line in entry["disclosures"]).encode() for entry in entries if entry["disclosures"]}
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    cli("verify", "--key", vkey, "--export", tmp_path).ok()
    told = cli("replay", "--json", "--key", vkey, "--export", tmp_path).ok().json()
    ours = [e for e in map(json.loads, leaves) if e["kind"] == "decision" and "as_of" in e["event"]["data"] and "activates" not in e["event"]["data"]]
    computed = [e for e in ours if e["event"]["data"]["reason"]["code"] != "contended"]
    assert (told["same"], told["different"], told["not_replayable"]) == (len(computed), {}, {}) and len(computed) >= 10


def test_all_mistakes_of_all_files_at_once(mine: Path) -> None:
    changed(mine, "language: 1", "language: 2")
    (mine / "agents.yaml").write_text("language: 1\nagents:\n  - {id: a, groups: [no]}\n")
    (mine / "other.yml").write_text("x: 1\n")
    done = cli("policy", "check", mine)
    assert done.code == 64
    for said in ("agents.yaml:3:22: no: readers of YAML disagree", "policies/payments.yaml:", "this program reads `language: 1`",
                 "other.yml:1:1: rename it: names end with .yaml", "no agent of agents.yaml is in the group"):  # fmt: skip
        assert said in done.err, done.err
    told = cli("policy", "check", "--json", mine)
    assert told.code == 64 and {"agents.yaml", "other.yml"} <= {mistake["file"] for mistake in told.json()["mistakes"]}
    assert cli("policy", "check", mine / "nowhere").code == 3


def test_what_would_take_ever_so_long_is_refused_soon(mine: Path) -> None:
    """A bomb, a file of many megabytes, deep nesting."""
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(f"{b}: &{b} [*{a},*{a},*{a},*{a},*{a},*{a},*{a},*{a}]\n" for a, b in zip("abcdefg", "bcdefgh"))
    (mine / "policies" / "bomb.yaml").write_text(bomb)
    (mine / "policies" / "long.yaml").write_text("x: " + "y" * 20_000_000)
    (mine / "policies" / "deep.yaml").write_text("[" * 100_000)
    done = cli("policy", "check", mine)
    assert done.code == 64
    for said in ("bomb.yaml:1:4: an anchor", "long.yaml:1:1: a file has at most", "deep.yaml:1:256: not YAML: nested too deep"):
        assert said in done.err, done.err
    assert len(done.err) < 20_000


def test_no_policy_is_left_out_silently(mine: Path) -> None:
    """A link counts, as in the folders that Kubernetes mounts; another spelling of the name is told."""
    stop = mine.parent / "stop.yaml"
    stop.write_text("language: 1\npolicy: stop\nclauses:\n  - {id: all, tool: \"*\", then: deny}\n")
    (mine / "policies" / "stop.yaml").symlink_to(stop)
    (mine / "policies" / ".#stop.yaml").symlink_to("nobody@nowhere")  # the lock of an editor
    assert "stop/all" in cli("policy", "test", mine).out
    (mine / "policies" / "stop.yaml").rename(mine / "policies" / "stop.YAML")
    assert "policies/stop.YAML:1:1" in cli("policy", "check", mine).err


def test_a_test_that_fails_says_where_and_what_it_got(mine: Path) -> None:
    changed(mine, "at_most: {EUR: 100000", "at_most: {EUR: 90000")
    done = cli("policy", "test", mine)
    assert done.code == 1 and "tests/payments.yaml:" in done.out and "expected allow" in done.out and "tests that fail" in done.err


def test_a_reviewer_reads_what_a_change_does(mine: Path) -> None:
    assert cli("policy", "diff", PAYMENTS, mine).ok().out.strip() == "nothing changes"
    changed(mine, "at_most: {EUR: 100000", "at_most: {EUR: 200000")
    told = cli("policy", "diff", PAYMENTS, mine).ok().out
    assert "at_most EUR 100,000 → 200,000 minor units: more is allowed" in told
    first = cli("policy", "diff", "--json", PAYMENTS, mine).ok().json()[0]
    assert first["consequence"] == "more is allowed"


def test_the_words_say_that_a_clause_in_shadow_changes_nothing(mine: Path) -> None:
    trial = "language: 1\npolicy: trial\nclauses:\n  - {id: none, tool: payments, then: deny, enforcement: {shadow: true}}\n"
    (mine / "policies" / "trial.yaml").write_text(trial)
    [change] = cli("policy", "diff", "--json", PAYMENTS, mine).ok().json()
    assert change["consequence"] == "nothing changes while it is in shadow; in force, it would allow less" and "(in shadow)" in change["change"]
    [change] = cli("policy", "diff", "--json", mine, PAYMENTS).ok().json()
    assert change["consequence"] == "nothing changes: it was in shadow"
    before = Path(shutil.copytree(mine, mine.parent / "before"))
    (mine / "policies" / "trial.yaml").write_text(trial.replace("{shadow: true}", "{steps: [{percent: 10}]}"))
    [change] = cli("policy", "diff", "--json", before, mine).ok().json()
    assert change["consequence"] == "less is allowed, for agents for whom it is in force"


def test_no_message_lists_nothing_or_the_same_twice(mine: Path) -> None:
    """`tools: []` has no tool to name. A key that was asked for twice is told once."""
    (mine / "tools.yaml").write_text("language: 1\ntools:\n  - {name: other, actions: []}\n")
    changed(mine, "language: 1", "language: 1\nwhatever: 1")
    found = [m["text"] for m in cli("policy", "check", "--json", mine).json()["mistakes"]]
    known = next(text for text in found if "known are" in text).split("known are ")[1].split(", ")
    assert len(known) == len(set(known)) and "language" in known, found
    (mine / "tools.yaml").write_text("language: 1\ntools: []\n")
    found = [m["text"] for m in cli("policy", "check", "--json", mine).json()["mistakes"]]
    assert any("has no tool \"payments\": it has none" in text for text in found), found
    (mine / "tools.yaml").unlink()
    found = [m["text"] for m in cli("policy", "check", "--json", mine).json()["mistakes"] if m["file"] == "tools.yaml"]
    assert found and all((ROOT / part).exists() for text in found for part in text.replace(",", " ").split() if "/" in part), found


def test_explain_names_the_condition_that_does_not_hold(mine: Path, tmp_path: Path) -> None:
    call = {"agent": {"id": "payments-bot", "chain": ["payments-bot"]}, "tool": {"name": "payments", "action": "transfer"},
            "params": {"amount": "5000", "currency": "EUR", "reference": "INV-004711"}}  # fmt: skip
    path = tmp_path / "call.json"
    path.write_text(json.dumps(call))
    at = ("--at", "2026-11-27T10:00:00Z")
    told = cli("policy", "explain", *at, mine, path).ok().out
    assert "/amount in /currency: no whole number below 2^53" in told and "deny" in told and "condition_error" in told
    shown = cli("policy", "explain", "--json", *at, mine, path).ok().json()
    assert shown["verdict"] == "deny" and shown["policy"]["digest"] == cli("policy", "build", "--json", mine).ok().json()["digest"]
    path.write_text("{")
    assert cli("policy", "explain", mine, path).code == 1
    path.write_text(json.dumps(call | {"Params": {}}))
    refused = cli("policy", "explain", mine, path)
    assert refused.code == 1 and "Params is unknown" in refused.err
