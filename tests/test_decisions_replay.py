"""P15: whoever has an export computes every verdict again. Whatever was erased or is not there is never called different."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import Server, cli
from support.asking import bounded, policy_folder
from support.deciding import CALL, Deciding, question

SCHEMA = f"sha256:{'ab' * 32}"
#: Conditions on everything that a question may say.
EVERYTHING = """language: 1
policy: p
clauses:
  - id: a
    agents: ["@finance-bots"]
    tool: payments
    actions: [transfer]
    when:
      purpose: [pay]
      environment: [prod]
      labels: {team: [red]}
      data: {classes: [name], third_parties: [bank]}
      chain: {only: [helpdesk-bot, payments-bot]}
      params: {/amount: {integer: {at_most: 100}}}
      hours: {days: [mon, tue, wed, thu, fri, sat, sun], from: "00:00", to: "24:00", zone: Europe/Berlin}
    then: allow
    message: Small.
    obligations: {retain_days: 3}
"""


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Deciding]:
    """A tenant without policies."""
    with Server(tmp_path / "server") as server:
        yield Deciding(server)


def test_p15_policies_that_are_activated_again_are_replayed(desk: Deciding, tmp_path: Path) -> None:
    """The same files are another version the second time: replay says all verdicts the same, of both times."""
    one, two = bounded(tmp_path / "one", 100_000), bounded(tmp_path / "two", 40_000)
    versions = []
    for folder in (one, two, one):
        desk.activate(folder)
        versions.append(desk.told()["policy"]["version"])
    assert versions == [1, 2, 3]
    again = desk.replayed(desk.export(tmp_path / "export"))
    assert (again["different"], again["not_replayable"], again["same"], again["code"]) == ({}, {}, 3, 0), again


def test_p15_a_rollback_is_replayed(desk: Deciding, tmp_path: Path) -> None:
    """A verdict by the version that came back is the same again; `explain` shows it."""
    desk.activate(bounded(tmp_path / "one", 100_000))
    desk.activate(bounded(tmp_path / "two", 40_000))
    author = desk.author("p-carla")
    rolled = author.http.post(f"{author.t}/policies/1/rollback", json={"comment": "Too strict."}).json()
    desk.approve(rolled)
    told = desk.told()
    assert (told["verdict"], told["policy"]["version"]) == ("allow", 1)
    folder = desk.export(tmp_path / "export")
    again = desk.replayed(folder)
    assert (again["different"], again["not_replayable"], again["same"]) == ({}, {}, 1), again
    shown = cli("explain", "--json", "--key", desk.server.vkey, "--export", folder, told["decision"]["index"]).ok().json()
    assert shown["same"] and shown["clauses"][0]["matches"] is True


def whole(**over: Any) -> dict[str, Any]:
    """A question that says everything."""
    return question(**{
        "params": {"amount": 1}, "labels": {"team": "red"}, "cost": {"amount": "1.00", "currency": "EUR", "note": "x"},
        "context": {"purpose": "pay", "environment": "prod", "region": "eu", "classes": ["name"], "third_parties": ["bank"]},
        "agent": {"id": "payments-bot", "run": "r-1", "session": "s-1", "chain": ["helpdesk-bot", "payments-bot"]},
        "tool": {"name": "payments", "action": "transfer", "schema": SCHEMA}, "sequence": "1",
        "traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "payload": {"prompt": "p", "owner": "p-bob"},
    } | over)  # fmt: skip


def test_p11_p15_what_is_erased_makes_no_verdict_different(desk: Deciding, tmp_path: Path) -> None:
    """Each field of payload, erased alone, of an allow, of a condition that could not be judged and of a changed schema: such a verdict is the same, or it
    can't be computed; it is never called another one. All the others are the same."""
    folder = policy_folder(tmp_path / "p", EVERYTHING)
    tools = (folder / "tools.yaml").read_text()
    (folder / "tools.yaml").write_text(tools.replace("name: transfer,", f'name: transfer, schema: "{SCHEMA}",'))
    desk.activate(folder)
    told = desk.ask(whole()).json()
    assert told["verdict"] == "allow", told
    error = desk.ask(whole(params={"amount": "1"}, sequence="2")).json()
    assert error["reason"]["code"] == "condition_error" and error["reason"]["at"] == "/amount", error
    other = {"tool": {"name": "payments", "action": "transfer", "schema": f"sha256:{'cd' * 32}"}}
    changed = desk.ask(whole(sequence="3", **other)).json()
    assert changed["reason"]["code"] == "schema_changed", changed
    discloser, number, erased = desk.server.as_("discloser"), 4, {}
    for kind, answer, over in (("allow", told, {}), ("error", error, {"params": {"amount": "1"}}), ("schema", changed, other)):
        fields = [json.loads(line)[1] for line in discloser.disclosures(answer["decision"]["index"]).splitlines()]
        assert {"params", "nonce", "/data/facts", "/data/context", "/data/tool/schema"} <= set(fields), fields
        for field in fields:
            made = desk.ask(whole(sequence=str(number), **over)).json()
            assert made["verdict"] == answer["verdict"]
            number += 1
            index = str(made["decision"]["index"])
            erased[index] = f"{kind}: {field}"
            assert desk.server.admin.erase(int(index), field)["status"] == "complete"
    again = desk.replayed(desk.export(tmp_path / "export"))
    wrong = {erased.get(index, index): why for index, why in again["different"].items()}
    assert wrong == {}, json.dumps(wrong, indent=1)
    lost = {erased[index] for index in again["not_replayable"]}
    assert {"allow: params", "allow: nonce", "allow: /data/facts"} <= lost
    assert again["same"] == 3 + len(erased) - len(lost) >= 3


def test_p15_without_disclosures_nothing_is_called_the_same(desk: Deciding, tmp_path: Path) -> None:
    """An export without payload verifies, and no verdict of it can be computed: each is named with the reason."""
    desk.activate(bounded(tmp_path / "one", 100_000))
    indexes = [str(desk.told(params=CALL | {"amount": amount})["decision"]["index"]) for amount in (1, 10**6)]
    key = desk.server.add_key(["auditor", "exporter"])
    folder = tmp_path / "export"
    desk.server.remote("export", "--tenant", desk.tenant, folder, key=key).ok()
    again = desk.replayed(folder)
    assert (again["same"], again["replayed"], again["different"]) == (0, 0, {}) and sorted(again["not_replayable"]) == sorted(indexes)
    assert all("disclosed" in why for why in again["not_replayable"].values())


def test_p15_numbers_and_texts_of_every_form_are_replayed(desk: Deciding, tmp_path: Path) -> None:
    """What is equal in RFC 8785 is judged the same as it came and as it was recorded."""
    desk.activate(policy_folder(tmp_path / "p", """language: 1
policy: p
clauses:
  - {id: a, agents: ["@finance-bots"], tool: payments, actions: [transfer], when: {params: {/v: {integer: {at_least: 0, at_most: 100}}}}, then: allow}
  - {id: b, agents: ["@finance-bots"], tool: payments, actions: [transfer], when: {params: {/t: {one_of: ["\u00e9", "a/b", ""]}}}, then: allow}
"""))
    verdicts = {}
    for raw in (
        '{"v":0}', '{"v":-0}', '{"v":-0.0}', '{"v":1e2}', '{"v":100.0}', '{"v":1E+2}', '{"v":100.5}', '{"v":1e300}', '{"v":5e-324}', '{"v":101}', '{"v":"1"}',
        '{"v":null}', '{"v":[1]}', '{"v":true}', '{"v":9007199254740991}', '{"t":"\\u00e9"}', '{"t":"e\\u0301"}', '{"t":"a\\/b"}', '{"t":""}', '{"t":"\\ud83d\\ude00"}', "[]", "null",
        '"x"', "3", "{}", '{"":1,"v":1}', '{"~0":1,"/":2,"v":3}', '{"v":1,"\\ufb33":1,"\\ud83d\\ude00":2}',
    ):  # fmt: skip
        body = json.dumps(question(params="@@")).replace('"@@"', raw)
        answer = desk.gateway.http.post(f"{desk.gateway.t}/decisions", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code in (200, 400), answer.text
        verdicts[raw] = answer.json().get("verdict")
    allowed = {raw for raw, verdict in verdicts.items() if verdict == "allow"}
    assert {'{"v":0}', '{"v":-0}', '{"v":1e2}', '{"t":"\\u00e9"}', '{"t":"a\\/b"}', '{"v":1,"\\ufb33":1,"\\ud83d\\ude00":2}'} <= allowed, allowed
    assert not {'{"v":100.5}', '{"v":101}', '{"v":"1"}', '{"t":"e\\u0301"}', "null", "{}"} & allowed, allowed
    decided = sum(verdict is not None for verdict in verdicts.values())
    again = desk.replayed(desk.export(tmp_path / "export"))
    assert (again["different"], again["not_replayable"], again["same"]) == ({}, {}, decided) and decided > 20, again
