"""Redaction (`then: sanitize`): what the gateway gets, what the log keeps, and that both can be computed again."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from support import Server, cli
from support.asking import policy_folder
from support.deciding import Deciding, question
from support.manual import ROOT
from support.schemas import VALIDATORS

IBAN = "DE89370400440532013000"
CARD = "4111111111111111"


def policy(*clauses: str) -> str:
    """A policy of these clauses for payments."""
    lines = [f"  - {{id: c{n}, agents: [\"@finance-bots\"], tool: payments, {clause}}}\n" for n, clause in enumerate(clauses)]
    return "language: 1\npolicy: p\nclauses:\n" + "".join(lines)


REDACT = 'then: sanitize, redact: [{at: "", detect: [iban, card]}]'
ALLOW = "actions: [transfer], then: allow"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Deciding]:
    with Server(tmp_path / "server") as server:
        yield Deciding(server)


def kept(folder: Path) -> str:
    """Everything that an export holds, as one text."""
    return "\n".join(path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file())


def same(desk: Deciding, folder: Path, count: int) -> None:
    again = desk.replayed(folder)
    assert (again["different"], again["not_replayable"], again["same"], again["code"]) == ({}, {}, count, 0), again


def test_p15_a_redacted_call(desk: Deciding, tmp_path: Path) -> None:
    """The answer has the params to execute; the log has no value; replay, explain and simulate agree; a repetition gets the same."""
    folder = policy_folder(tmp_path / "one", policy(ALLOW, REDACT))
    desk.activate(folder)
    inner = json.dumps({"card": CARD})
    asked = question(params={"note": f"Pay {IBAN}, then {IBAN}.", "inner": inner, "amount": 5})
    told = desk.ask(asked).json()
    VALIDATORS["decision-answer"].validate(told)
    assert (told["verdict"], told["reason"]["code"], told["reason"]["clause"]) == ("sanitize", "sanitized", "p/c1"), told
    params = {"note": "Pay [REDACTED:iban], then [REDACTED:iban].", "inner": '{"card":"[REDACTED:card]"}', "amount": 5}
    assert told["call"]["params"] == params and told["valid_for"] == 60
    assert told["redactions"] == {"set": 1, "found": [
        {"at": "/inner", "inside": ["json /card"], "detector": "card", "count": 1}, {"at": "/note", "detector": "iban", "count": 2},
    ]}  # fmt: skip
    again = desk.ask(asked).json()
    assert again == told | {"repeated": True, "valid_for": again["valid_for"]}
    other = desk.ask(asked | {"params": asked["params"] | {"note": f"Pay {IBAN}, then {IBAN}!"}})
    assert other.status_code == 409 and other.json()["code"] == "conflict"
    plain = desk.told()
    assert plain["verdict"] == "allow" and "redactions" not in plain and "params" not in plain["call"]
    export = desk.export(tmp_path / "export")
    assert IBAN not in kept(export) and CARD not in kept(export), "the values are nowhere"
    same(desk, export, 2)
    shown = cli("explain", "--json", "--key", desk.server.vkey, "--export", export, told["decision"]["index"]).ok().json()
    assert shown["same"] and shown["facts"]["redacted"]["found"][1]["spans"] == [[4, 26], [33, 55]], shown
    simulated = cli("policy", "simulate", "--json", "--key", desk.server.vkey, "--export", export, folder).ok().json()
    assert simulated["changed"] == [], simulated
    without = policy_folder(tmp_path / "two", policy(ALLOW))
    simulated = cli("policy", "simulate", "--json", "--key", desk.server.vkey, "--export", export, without).ok().json()
    assert [(one["from"], one["to"]) for one in simulated["changed"]] == [("sanitize", "allow")], simulated


def test_p14_another_bundle_between_a_question_and_its_repetition(desk: Deciding, tmp_path: Path) -> None:
    """The second bundle would redact otherwise. It is the same call, and the first answer counts."""
    desk.activate(policy_folder(tmp_path / "one", policy(ALLOW, REDACT)))
    asked = question(params={"note": f"{IBAN} {CARD}"})
    first = desk.ask(asked).json()
    assert first["call"]["params"] == {"note": "[REDACTED:iban] [REDACTED:card]"}
    desk.activate(policy_folder(tmp_path / "two", policy(ALLOW, REDACT.replace("iban, ", ""))))
    again = desk.ask(asked).json()
    assert again["repeated"] and again["call"] == first["call"] and again["decision"] == first["decision"], again


def test_p7_people_approve_the_redacted_call(desk: Deciding, tmp_path: Path) -> None:
    """Its digest is that of the answer, the value is not in the approval, and their answer counts for it."""
    desk.activate(policy_folder(tmp_path / "one", policy("actions: [transfer], then: approval_needed", REDACT)))
    told = desk.told(params={"note": f"Pay {IBAN}"})
    assert told["verdict"] == "approval_needed" and told["call"]["params"] == {"note": "Pay [REDACTED:iban]"}, told
    approval = desk.approval(told["approval"]["id"])
    assert approval["call"]["digest"] == told["call"]["digest"] and IBAN not in json.dumps(approval)
    assert desk.review(told["approval"]["id"], "p-bob").status_code == 200


def test_p16_what_cannot_be_read_or_is_denied(desk: Deciding, tmp_path: Path) -> None:
    """A text that breaks off is denied. A denied call is redacted too."""
    stop = "when: {detects: {at: /note, detect: [card], optional: true}}, then: deny"
    desk.activate(policy_folder(tmp_path / "one", policy(ALLOW, REDACT, stop)))
    told = desk.told(params={"note": '{"iban": "DE89'})
    assert (told["verdict"], told["reason"]["code"], told["reason"]["at"]) == ("deny", "condition_error", "/note"), told
    told = desk.told(params={"note": f"card {CARD}"})
    assert (told["verdict"], told["reason"]["code"], told["reason"]["clause"]) == ("deny", "denied", "p/c2"), told
    assert "params" not in told["call"] and told["redactions"]["found"][0]["detector"] == "card"
    export = desk.export(tmp_path / "export")
    assert CARD not in kept(export)
    same(desk, export, 2)


def test_p15_tokens_and_calls_that_are_kept(desk: Deciding, tmp_path: Path) -> None:
    """The same value has the same token in two calls. A call that is kept as it came is computed again in full."""
    token = 'then: sanitize, redact: [{at: /to, detect: [iban], as: token}]'
    keep = 'then: sanitize, keep_received: true, redact: [{at: /note, detect: [card]}]'
    desk.activate(policy_folder(tmp_path / "one", policy(ALLOW, token, keep)))
    first, second = desk.told(params={"to": IBAN}), desk.told(params={"to": f"see {IBAN}"})
    made = first["call"]["params"]["to"]
    assert made.startswith("[TOKEN:iban:") and len(made) == len("[TOKEN:iban:]") + 24
    assert second["call"]["params"]["to"] == f"see {made}"
    desk.told(params={"note": CARD})
    desk.told(params={"note": CARD, "to": IBAN})
    export = desk.export(tmp_path / "export")
    assert IBAN not in kept(export) and CARD in kept(export), "one clause keeps, the other does not"
    same(desk, export, 4)


def test_a_question_must_not_bring_what_we_record(desk: Deciding, tmp_path: Path) -> None:
    desk.activate(policy_folder(tmp_path / "one", policy(ALLOW, REDACT)))
    refused = desk.ask(question(payload={"received": 1}))
    assert refused.status_code == 400 and "received" in refused.json()["detail"]


def test_detectors_of_the_tenant(desk: Deciding, tmp_path: Path) -> None:
    """`detectors.yaml` is a part of the bundle: it is proposed, reviewed and replayed with it."""
    folder = policy_folder(tmp_path / "one", policy(ALLOW, 'then: sanitize, redact: [{at: "", detect: [member]}]'))
    (folder / "detectors.yaml").write_text('language: 1\ndetectors:\n  - {name: member, pattern: "M-[0-9]{8}", check: luhn}\n')
    proposed = desk.activate(folder)
    assert any("detector member" in json.dumps(change) for change in proposed["changes"]), proposed["changes"]
    told = desk.told(params={"a": "M-12345674 M-12345675"})
    assert told["call"]["params"] == {"a": "[REDACTED:member] M-12345675"}
    same(desk, desk.export(tmp_path / "export"), 1)


def test_the_page_has_every_detector() -> None:
    """And the schema of the file is valid."""
    page = (ROOT / "proto" / "formats" / "detectors.md").read_text()
    detect = ROOT / "crates/decider/src/policy/detect"
    source = detect.with_suffix(".rs").read_text() + (detect / "secrets.rs").read_text()
    names = set(re.findall(r'^\s*\(?\s*"([a-z0-9]+(?:-[a-z0-9]+)+|card|iban|email|phone|jwt)",', source, re.M))
    assert len(names) >= 60 and [name for name in sorted(names) if f"| `{name}` |" not in page] == []
    schema: dict[str, Any] = json.loads((ROOT / "proto/schemas/policy-detectors.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
