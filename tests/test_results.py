"""Results (`judges: result`): what the agent may see of what a tool gave. The verdict is recorded, and reports the execution."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support import Server, cli
from support.asking import policy_folder
from support.deciding import Deciding, question
from support.manual import ROOT
from support.schemas import VALIDATORS

IBAN = "DE89370400440532013000"
CARD = "4111111111111111"

POLICY = """language: 1
policy: p
clauses:
  - {id: a, agents: ["@finance-bots"], tool: payments, actions: [transfer, payout], then: allow}
  - {id: b, tool: payments, judges: result, then: sanitize, redact: [{at: "", detect: [iban]}]}
  - {id: c, tool: payments, judges: result, when: {result: {/status: {one_of: [secret], optional: true}}}, then: deny, message: Not for agents.}
  - {id: d, tool: payments, judges: result, when: {detects: {at: /note, detect: [card], optional: true}}, then: deny, enforcement: {shadow: true}}
"""


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Deciding]:
    with Server(tmp_path / "server") as server:
        yield Deciding(server)


def report(desk: Deciding, index: int, result: Any, gateway: Any = None, **over: Any) -> httpx.Response:
    """`POST T/decisions/{index}/result`"""
    client = gateway or desk.gateway
    return client.http.post(f"{client.t}/decisions/{index}/result", json={"result": result} | over)


def judged(desk: Deciding, index: int, result: Any, **over: Any) -> dict[str, Any]:
    """The verdict on a result, which must get one."""
    answer = report(desk, index, result, **over)
    assert answer.status_code == 200, answer.text
    VALIDATORS["result-answer"].validate(answer.json())
    return answer.json()


def allowed(desk: Deciding) -> int:
    """Leaf index of an allowed call."""
    told = desk.told()
    assert told["verdict"] == "allow", told
    return told["decision"]["index"]


def kept(folder: Path) -> str:
    """Everything that an export holds, as one text."""
    return "\n".join(path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file())


def test_p15_a_result_is_redacted_recorded_and_computed_again(desk: Deciding, tmp_path: Path) -> None:
    """The agent's gateway gets what may be shown; the log has digest and counts; kept results are computed again."""
    desk.activate(policy_folder(tmp_path / "one", POLICY))
    one, two, three, four = (allowed(desk) for _ in range(4))
    told = judged(desk, one, {"note": f"paid from {IBAN}", "n": 1}, keep=True, outcome="succeeded")
    assert (told["verdict"], told["reason"]["code"], told["reason"]["clause"]) == ("sanitize", "sanitized", "p/b"), told
    assert told["result"] == {"note": "paid from [REDACTED:iban]", "n": 1} and told["enforced"] is True
    assert told["redactions"] == {"set": 1, "found": [{"at": "/note", "detector": "iban", "count": 1}]}
    plain = judged(desk, two, {"nothing": ["to", "hide"]})
    assert plain["verdict"] == "allow" and "result" not in plain and plain["reason"] == {"code": "allowed", "clauses": ["p/b"]}, plain
    denied = judged(desk, three, {"status": "secret", "iban": IBAN}, keep=True)
    assert (denied["verdict"], denied["reason"]["message"]) == ("deny", "Not for agents.") and "result" not in denied, denied
    shadow = judged(desk, four, {"note": CARD}, keep=True)
    assert shadow["verdict"] == "allow" and shadow["shadow"] == {"verdict": "deny", "code": "denied", "clause": "p/d"}, shadow
    entries = [entry["event"] for entry in desk.server.admin.entries(kind="event")]
    entry = next(entry for entry in entries if entry["data"]["decision"]["index"] == one)
    assert (entry["type"], entry["source"]) == ("dev.countersign.execution.v1", "countersign/results"), entry
    assert entry["data"]["verdict"] == "sanitize" and entry["data"]["agent"]["id"] == "payments-bot", entry
    export = desk.export(tmp_path / "export")
    assert IBAN not in kept(export), "the value is nowhere"
    again = desk.replayed(export)
    # Four calls, and of the four results the two that are kept and shown.
    assert (again["different"], again["not_replayable"], again["same"], again["code"]) == ({}, {}, 6, 0), again
    explained = cli("verify", "--key", desk.server.vkey, "--export", export)
    assert explained.code == 0, explained.err


def test_p14_the_same_report_again(desk: Deciding, tmp_path: Path) -> None:
    """It has the first verdict and no second entry; another result of the same call is a conflict."""
    desk.activate(policy_folder(tmp_path / "one", POLICY))
    index = allowed(desk)
    first = judged(desk, index, {"note": IBAN})
    desk.activate(policy_folder(tmp_path / "two", POLICY.replace("detect: [iban]", "detect: [card]")))
    again = judged(desk, index, {"note": IBAN})
    assert again == first | {"repeated": True}, "by the bundle that judged the call"
    other = report(desk, index, {"note": "something else"})
    assert other.status_code == 409 and other.json()["code"] == "conflict", other.text
    assert "Show the agent nothing of this one" in other.json()["detail"] and "a decision of its own" in other.json()["detail"], other.text
    late = allowed(desk)
    assert judged(desk, late, {"note": IBAN})["verdict"] == "allow", "a call of the second bundle"


def test_p16_what_is_no_result_shows_nothing(desk: Deciding, tmp_path: Path) -> None:
    """Errors, denied calls, unknown decisions, other gateways, wrong bodies: no answer lets the gateway show anything."""
    desk.activate(policy_folder(tmp_path / "one", POLICY))
    index = allowed(desk)
    told = judged(desk, index, {"note": '{"iban": "DE89'})
    assert (told["verdict"], told["reason"]["code"], told["reason"]["at"]) == ("deny", "condition_error", "/note"), told
    refused = desk.told(tool={"name": "payments", "action": "refund"})
    assert refused["verdict"] == "deny"
    told = judged(desk, refused["decision"]["index"], {"note": "done all the same"})
    assert (told["verdict"], told["reason"]["code"]) == ("deny", "not_permitted"), told
    index = allowed(desk)
    other = desk.server.client(desk.server.add_key(["enforcer"], producer="gw-2"))
    assert report(desk, index, {}, gateway=other).status_code == 404
    assert report(desk, index + 1_000, {}).status_code == 404 and report(desk, 0, {}).status_code == 404
    publisher = desk.server.client(desk.server.add_key(["publisher"], producer="gw-1"))
    assert report(desk, index, {}, gateway=publisher).status_code == 403
    for body in ({}, [], {"result": 1, "shown": True}, {"result": 1, "keep": "no"}):
        answer = desk.gateway.http.post(f"{desk.gateway.t}/decisions/{index}/result", json=body)
        assert answer.status_code == 400, (body, answer.text)
    answer = report(desk, index, "x" * 262_200)
    assert answer.status_code == 413, answer.text
    assert judged(desk, index, {"note": "still there"})["verdict"] == "allow"


def test_p10_the_result_of_an_approved_call_needs_its_redemption(desk: Deciding, tmp_path: Path) -> None:
    """Before the redemption nothing is shown. The approval keeps its own report."""
    desk.activate(policy_folder(tmp_path / "one", POLICY.replace("then: allow}", "then: approval_needed}", 1)))
    told = desk.told()
    early = judged(desk, told["decision"]["index"], {"note": IBAN})
    assert (early["verdict"], early["reason"]["code"]) == ("deny", "not_permitted"), early
    asked = question()
    told = desk.ask(asked).json()
    approval = told["approval"]["id"]
    assert desk.review(approval, "p-bob").status_code == 200
    call = {"nonce": asked["nonce"], "agent": "payments-bot", "run": "r-1", "tool": "payments", "action": "transfer", "params": asked["params"]}
    token = desk.gateway.http.post(f"{desk.gateway.t}/approvals/{approval}/token", json={"nonce": asked["nonce"]}).json()
    spent = desk.gateway.http.post(
        f"{desk.gateway.t}/tokens/redeem",
        json={"token": token["token"], "redemption_id": "r-1", "call": call},
    )
    assert spent.status_code == 200, spent.text
    told = judged(desk, told["decision"]["index"], {"note": IBAN})
    assert told["verdict"] == "sanitize" and told["result"] == {"note": "[REDACTED:iban]"}, told
    counted = desk.server.admin.get("/counts").json()
    assert "approval_needed" not in json.dumps(counted.get("all", counted).get("execution", {})), "the approval reports it"


def test_p18_a_result_settles_its_reservation_and_a_freeze_stops_it(desk: Deciding, tmp_path: Path) -> None:
    """The report's cost counts in place of the reserved one. Of a frozen agent nothing is shown."""
    budget = 'budgets:\n  - {id: day, tool: payments, sum: cost, per: agent, window: day, zone: UTC, max: {USD: "1.00"}, at_cap: deny}\n'
    desk.activate(policy_folder(tmp_path / "one", POLICY + budget))
    told = desk.told(cost={"amount": "0.90", "currency": "USD"})
    assert told["verdict"] == "allow", told
    assert desk.told(cost={"amount": "0.50", "currency": "USD"})["reason"]["code"] == "budget_exceeded"
    judged(desk, told["decision"]["index"], {"note": "x"}, cost={"amount": "0.10", "currency": "USD"})
    last = desk.told(cost={"amount": "0.50", "currency": "USD"})
    assert last["verdict"] == "allow", last
    frozen = desk.server.admin.http.post(
        f"{desk.server.admin.t}/freezes", json={"scope": "agent", "id": "payments-bot", "reason": "Looks odd."}
    )
    assert frozen.status_code in (200, 201), frozen.text
    stopped = judged(desk, last["decision"]["index"], {"note": "x"})
    assert (stopped["verdict"], stopped["reason"]["code"]) == ("deny", "frozen"), stopped


def test_what_a_clause_on_results_may_say(tmp_path: Path) -> None:
    """It looks at the result alone, and restricts."""
    clause = '  - {id: z, tool: payments, judges: result, WHAT}\n'
    wrong = {
        "then: allow": "goes with `then: sanitize` or `then: deny`",
        "then: deny, when: {params: {/a: {present: true}}}": "looks at the result alone",
        "then: deny, when: {purpose: [x]}": "purpose: a clause with `judges: result` looks at the result alone",
        "then: deny, freeze: agent": "are for calls",
        "then: deny, obligations: {retain_days: 1}": "are for calls",
        'then: sanitize, keep_received: true, redact: [{at: "", detect: [iban]}]': "are for calls",
    }
    for what, says in wrong.items():
        folder = policy_folder(tmp_path / str(len(what)), POLICY + clause.replace("WHAT", what))
        done = cli("policy", "check", folder)
        assert done.code != 0 and says in done.out + done.err, (what, done.out, done.err)
    folder = policy_folder(tmp_path / "call", POLICY + "  - {id: z, tool: payments, then: deny, when: {result: {/a: {present: true}}}}\n")
    done = cli("policy", "check", folder)
    assert done.code != 0 and "result is for clauses with `judges: result`" in done.out + done.err, done.err
    folder = policy_folder(tmp_path / "right", POLICY)
    (folder / "tests").mkdir(exist_ok=True)
    (folder / "tests" / "results.yaml").write_text(TESTS)
    done = cli("policy", "test", folder)
    assert done.code == 0, done.out + done.err
    (folder / "tests" / "results.yaml").write_text(TESTS.replace("[REDACTED:iban]", "[REDACTED:card]"))
    assert cli("policy", "test", folder).code != 0


TESTS = f"""language: 1
now: "2026-11-27T10:00:00Z"
calls:
  pay: {{agent: {{id: payments-bot}}, tool: {{name: payments, action: transfer}}, params: {{amount: 1}}}}
tests:
  - {{call: pay, verdict: allow}}
  - {{name: an account is redacted, call: pay, result: {{note: "{IBAN}"}}, verdict: sanitize, clause: p/b, redacted: {{/note: "[REDACTED:iban]"}}}}
  - {{name: a secret is not shown, call: pay, result: {{status: secret}}, verdict: deny, clause: p/c}}
  - {{name: what a card would do, call: pay, result: {{note: "{CARD}"}}, verdict: allow, shadow: deny}}
"""


def test_the_schema_of_policies_knows_results() -> None:
    """An editor that completes by the schema offers `judges` and `result`."""
    text = (ROOT / "proto/schemas/policy.schema.json").read_text()
    assert '"judges"' in text and '"result"' in text and '"result"' in (ROOT / "proto/schemas/policy-tests.schema.json").read_text()
