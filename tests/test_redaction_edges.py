"""What somebody found who attacked redaction, results and budgets: each small input stays here."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import Server
from support.asking import policy_folder
from support.deciding import Deciding, question
from support.events import execution

IBAN, CARD = "DE89370400440532013000", "4111111111111111"
POLICY = """language: 1
policy: p
clauses:
  - {id: a, agents: ["@finance-bots"], tool: payments, actions: [transfer], then: allow}
  - {id: q, tool: payments, then: sanitize, redact: [{at: "", detect: [iban, card, us-ssn, email, medical-record, url-password, phone]}]}
  - {id: r, tool: payments, judges: result, then: sanitize, redact: [{at: "", detect: [iban, card, us-ssn, email]}]}
  - {id: s, tool: payments, judges: result, when: {result: {/status: {one_of: [secret], optional: true}}}, then: deny, message: Not for agents.}
"""
SPENDING = """language: 1
policy: p
clauses:
  - {id: a, agents: ["@finance-bots"], tool: payments, actions: [transfer], then: allow}
budgets:
  - {id: c, tool: payments, sum: cost, per: agent, window: day, zone: UTC, max: {USD: "1.00", VND: "5000000000"}, at_cap: deny}
"""
PAY = base64.b64encode(("Pay to " + IBAN).encode()).decode()
MIXED = base64.b64encode((IBAN + " ?>?>~~??").encode()).decode().replace("/", "_", 1)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Deciding]:
    with Server(tmp_path / "server") as server:
        desk = Deciding(server)
        desk.activate(policy_folder(tmp_path / "one", POLICY))
        yield desk


def result(desk: Deciding, index: int, came: Any, **over: Any) -> Any:
    """`POST T/decisions/{index}/result`"""
    return desk.gateway.http.post(f"{desk.gateway.t}/decisions/{index}/result", json={"result": came} | over)


def allowed(desk: Deciding) -> int:
    """Leaf index of an allowed call."""
    told = desk.told()
    assert told["verdict"] == "allow", told
    return told["decision"]["index"]


@pytest.mark.parametrize(
    "text", [f"[{IBAN}]", f"[ {CARD} , 1]", f"[{CARD}", "a=1&b=%2520a.b%40example.com%3D", "%20a.b@example.com=",
             "ssn=a%3Dmember%2B12345%252BMRN-00483921%26b%3Dx&b=sx"],
)  # fmt: skip
def test_p15_what_is_left_after_redaction_is_read_again(desk: Deciding, tmp_path: Path, text: str) -> None:
    """A mark may make a text look like JSON or a form. Whatever the verdict is, it is the same when computed again."""
    told = desk.told(params={"v": text})
    assert told["verdict"] in ("sanitize", "deny"), told
    kept = result(desk, allowed(desk), {"v": text}, keep=True).json()
    assert kept["verdict"] != "allow" or "ssn=" in text, kept
    again = desk.replayed(desk.export(tmp_path / "e"))
    assert again["different"] == {} and again["same"] >= 2, (text, told["call"], again["different"])


def test_p16_a_number_in_brackets_is_still_a_list(desk: Deciding) -> None:
    """What the gateway gets can be read; a note in brackets is a text, and so is a reference."""
    told = desk.told(params={"v": f"[{CARD}]", "w": f"[1] see {CARD}", "x": "[note] nothing"})
    assert told["verdict"] == "sanitize", told
    assert json.loads(told["call"]["params"]["v"]) == ["[REDACTED:card]"]
    assert told["call"]["params"]["w"] == "[1] see [REDACTED:card]"


@pytest.mark.parametrize(
    "text",
    [
        PAY[:-2] + chr(ord(PAY[-2]) + 1) + "=", PAY + "=", MIXED,
        '[null,"\\u0044E89370400440532013000"]', '[1,{"iban":"\\u0044E89370400440532013000"}]', '[true,"\\u0044E89370400440532013000"]',
        "[0,4.111111111111111e15]", '[12345678901234567890,"\\u0044E89370400440532013000"]', '[1,"\\ud800","\\u0044E89370400440532013000"]',
        "a=1&b=%44%45" + IBAN[2:] + "\n", " b=%44%45" + IBAN[2:], "%44%45" + IBAN[2:] + "&a=1", "=%44%45" + IBAN[2:],
    ],
)  # fmt: skip
def test_p16_what_every_lenient_reader_reads_is_read_here(desk: Deciding, text: str) -> None:
    """Base64 with odd ends, lists that begin with a number or a word, forms with white space: nothing passes unread."""
    assert desk.told(params={"v": text})["verdict"] != "allow", text
    assert desk.told(params={"v": "nothing of that"})["verdict"] == "allow"


ENCODED = {
    "form feed": b"page 1\x0c pay to " + IBAN.encode(), "colour": b"pay to \x1b[1m" + IBAN.encode(), "zero at the end": b"pay to " + IBAN.encode() + b"\0",
    "latin-1": f"Z\u00fcrich {IBAN}".encode("latin-1"), "cp1251": f"\u041f\u0435\u0440\u0435\u0432\u043e\u0434 {IBAN}".encode("cp1251"),
    "utf-16": f"pay to {IBAN}".encode("utf-16"), "utf-16be": f"pay to {IBAN}".encode("utf-16-be"), "utf-16 of two scripts": f"\u041f\u0435\u0440\u0435\u0432\u043e\u0434 {IBAN}".encode("utf-16-le"),
    "utf-16 JSON": json.dumps({"iban": IBAN}).encode("utf-16"), "utf-8 with a mark": b"\xef\xbb\xbf" + json.dumps({"iban": IBAN}).encode(),
}  # fmt: skip


@pytest.mark.parametrize("name", ENCODED)
def test_p16_base64_is_read_whatever_the_encoding_of_its_text_is(desk: Deciding, tmp_path: Path, name: str) -> None:
    """The value is replaced in the text's own encoding, in calls, within JSON, and in results; replay finds the same."""
    came = base64.b64encode(ENCODED[name]).decode()
    told = desk.told(params={"v": came, "w": json.dumps({"f": came})})
    assert told["verdict"] == "sanitize" and {one["at"] for one in told["redactions"]["found"]} == {"/v", "/w"}, told
    left = base64.b64decode(told["call"]["params"]["v"])
    assert left.replace(b"\0", b"").count(b"[REDACTED:iban]") == 1 and IBAN.encode() not in left.replace(b"\0", b""), left
    assert result(desk, allowed(desk), {"attachment": came}).json()["verdict"] == "sanitize"
    again = desk.replayed(desk.export(tmp_path / "e"))
    assert again["different"] == {} and again["same"] >= 2, again


def test_p16_base64_of_something_else_is_left_alone(desk: Deciding) -> None:
    """A picture, keys and ids in base64 are no text."""
    picture = bytes(b * 73 % 256 for b in range(600)) + IBAN.encode() + bytes(b * 151 % 256 for b in range(600))
    for came in (base64.b64encode(picture).decode(), "7d793037a0760186574b0282f2f435e7", "customer-service-eu-west-1", base64.b64encode(bytes(range(1, 200, 7))).decode()):
        assert desk.told(params={"v": came})["verdict"] == "allow", came


VALUES = {"iban": IBAN, "card": "4111 1111 1111 1111", "us-ssn": "536-90-4399", "phone": "+49 151 23456789", "email": "jane@corp.example"}
AROUND = [("\x1b[1m", "\x1b[0m"), ("\x1b[01;31m\x1b[K", "\x1b[m\x1b[K"), ("x\\t", "\\tx"), ("x\\r\\n", "\\r\\n"), ("\\u0020", "\\u0020"), ("%20", "%20"), ("\\x20", "\\x20"), ("\\x1b[1m", "\\x1b[0m")]  # fmt: skip


@pytest.mark.parametrize(("before", "after"), AROUND, ids=[before.encode("unicode_escape").decode() for before, _ in AROUND])
def test_p16_colours_and_written_escapes_hide_nothing(desk: Deciding, before: str, after: str) -> None:
    """The last letter of an escape is no letter of a word before the value."""
    for detector, value in VALUES.items():
        told = desk.told(params={"v": f"see {before}{value}{after}"})
        assert [one["detector"] for one in (told.get("redactions") or {"found": []})["found"]] == [detector], (value, told)


@pytest.mark.parametrize(
    "params", [{"ssn": {"value": "536904399"}}, {"SSN": [{"Value": {"text": "536904399"}}]}, {"ssn": {"value": 536904399}}, {"v": json.dumps({"mrn": {"number": "00483921"}})}],
)  # fmt: skip
def test_p16_a_name_that_says_nothing_has_the_words_of_what_holds_it(desk: Deciding, params: dict[str, Any]) -> None:
    """`value` within `ssn` is a social security number; another name within it is not."""
    assert desk.told(params=params)["verdict"] == "sanitize", params
    assert desk.told(params={"ssn": {"order": "536904399"}})["verdict"] == "allow"


def test_p11_a_result_that_is_not_kept_is_nowhere_in_the_log(desk: Deciding, tmp_path: Path) -> None:
    """The name of a member that must be redacted is not the place of the error."""
    told = result(desk, allowed(desk), {"a": {IBAN: 1}}).json()
    assert (told["verdict"], told["reason"]["at"]) == ("deny", "/a"), told
    folder = desk.export(tmp_path / "e")
    assert all(IBAN not in path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file())


def test_p14_a_report_keeps_its_key_and_its_answer(desk: Deciding) -> None:
    """A question can't take the key of a report. A denied result has the same answer again."""
    index = allowed(desk)
    taken = desk.ask(question(source="countersign/results", id=str(index)))
    assert taken.status_code == 400 and "ours" in taken.json()["detail"], taken.text
    denied = {"status": "secret", "note": IBAN}
    first = result(desk, index, denied).json()
    assert first["verdict"] == "deny" and first["redactions"], first
    assert result(desk, index, denied).json() == first | {"repeated": True}
    other = allowed(desk)
    assert result(desk, other, {"note": IBAN}).json()["verdict"] == "sanitize"
    admin = desk.server.admin
    frozen = admin.http.post(f"{admin.t}/freezes", json={"scope": "agent", "id": "payments-bot", "reason": "Odd."})
    again = result(desk, other, {"note": IBAN}).json()
    assert (again["verdict"], again["reason"]["code"]) == ("deny", "frozen"), again
    assert again["freeze"]["scope"] == "agent", (again, frozen.json())


@pytest.mark.parametrize("how", ["results", "events"])
def test_p18_reports_of_more_than_can_be_counted(tmp_path: Path, how: str) -> None:
    """They are booked as the most that can be counted: the budget is spent, and the server goes on."""
    with Server(tmp_path / "server") as server:
        desk = Deciding(server)
        desk.activate(policy_folder(tmp_path / "one", SPENDING))
        publisher = server.client(server.add_key(["publisher"], producer="gw-1"))
        for amount, currency in (("9007199254.740991", "USD"), ("10000000000", "VND"), ("1" + "0" * 30, "VND")):
            told = desk.told(agent={"id": "payments-bot", "run": amount[:20]}, cost={"amount": "0.000001", "currency": currency})
            if told["verdict"] == "deny":
                assert told["reason"]["code"] == "budget_exceeded", told
                continue
            decision, cost = told["decision"], {"amount": amount, "currency": currency}
            if how == "results":
                assert result(desk, decision["index"], {}, cost=cost).status_code == 200
            else:
                publisher.publish(execution(decision["index"], decision["leaf_hash"], cost=cost))
        for currency in ("USD", "VND"):
            told = desk.told(cost={"amount": "0.01", "currency": currency})
            assert (told["verdict"], told["reason"]["code"]) == ("deny", "budget_exceeded"), told
