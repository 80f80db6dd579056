"""P18: budgets are never overspent, and nearly all of them is spent before somebody is denied."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support import Server, cli, until
from support.deciding import Deciding, question
from support.events import execution
from support.faketime import Clock

REPORT_WITHIN = 60
AGENTS = """\
language: 1
agents:
  - {id: llm-agent, groups: [bots], owners: [p-ana]}
  - {id: other-agent, groups: [bots], owners: [p-ana]}
"""
TOOLS = """\
language: 1
tools:
  - {name: llm, actions: [{name: ask, effect: write}]}
  - {name: payments, actions: [{name: transfer, effect: write}]}
"""
CLAUSES = """\
language: 1
policy: p
clauses:
  - {id: all, agents: ["@bots"], tool: llm, actions: [ask], then: allow}
  - {id: pays, agents: ["@bots"], tool: payments, actions: [transfer], then: allow}
"""
LLM = {"agent": {"id": "llm-agent"}, "tool": {"name": "llm", "action": "ask"}, "params": {}}
CENTS = lambda cents: {"amount": f"{cents / 100:.2f}", "currency": "USD"}  # noqa: E731


def folder(path: Path, budgets: list[str], rates: list[str] | None = None) -> Path:
    """The files of a tenant with these budgets and rates."""
    lists = "".join(f"{name}: [{', '.join(of)}]\n" for name, of in (("budgets", budgets), ("rates", rates or [])) if of)
    for name, text in {"agents.yaml": AGENTS, "tools.yaml": TOOLS, "policies/p.yaml": CLAUSES + lists}.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)
    return path


def cost(max: str, **over: str) -> str:
    """A budget of costs in USD."""
    keys = {"id": "day", "agents": '["@bots"]', "tool": "llm", "sum": "cost", "per": "agent", "window": "day", "zone": "UTC", "max": f'{{USD: "{max}"}}', "at_cap": "deny"}
    return "{" + ", ".join(f"{name}: {value}" for name, value in (keys | over).items()) + "}"


PAY = '{id: pay, tool: payments, sum: {minor: /amount, currency: /currency}, per: all, window: month, zone: Europe/Berlin, max: {EUR: 1000}, warn_at: 50, at_cap: approval_needed}'  # fmt: skip


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    """The clock of the server."""
    return Clock(tmp_path)


@pytest.fixture
def desk(tmp_path: Path, clock: Clock) -> Iterator[Deciding]:
    """A tenant without policies; reports count for a minute."""
    with Server(tmp_path / "server") as server:
        server.env = clock.env
        desk = Deciding(server)
        server.sections["approvals"]["report_within_seconds"] = REPORT_WITHIN
        server.write_config()
        server.restart()
        desk.gateway = server.client(desk.gateway.key)
        yield desk


def booked(desk: Deciding, id: str = "p/day", key: str | None = "llm-agent") -> dict[str, Any]:
    """What `GET T/budgets` says of one budget."""
    found = [one for one in desk.server.admin.get("/budgets").json()["budgets"] if (one["id"], one["key"]) == (id, key)]
    assert len(found) == 1, found
    return found[0]


def report(desk: Deciding, answer: dict[str, Any], cost: dict[str, str] | None = None, client: Any = None) -> None:
    """Reports that a call was made."""
    event = execution(answer["decision"]["index"], answer["decision"]["leaf_hash"], **({"cost": cost} if cost else {}))
    (client or desk.server.as_("publisher")).publish(event)


def sound(desk: Deciding, path: Path) -> None:
    """The export verifies, every verdict is computed again, and the database is what the entries give."""
    folder = desk.export(path)
    assert cli("verify", "--key", desk.server.vkey, "--export", folder).code == 0
    replayed = desk.replayed(folder)
    assert replayed["code"] == 0 and not replayed["different"] and not replayed["not_replayable"], replayed
    desk.server.stop()
    desk.server.fsck("--replay").ok()
    desk.server.start()


def test_p18_too_many_budgets_for_one_call_are_told_before_they_are_in_force(desk: Deciding, tmp_path: Path) -> None:
    """`policy check` warns, and reviewers read that every such call is denied; with four budgets nobody says anything."""
    five = [cost("1.00", id=f"b{nth}") for nth in range(5)]
    said = "5 budgets are for a call of llm-agent to llm (ask) (p/b0, p/b1, p/b2, p/b3, p/b4), and at most 4 can be"
    for budgets, is_told in ((five, True), (five[:4], False), ([*five[:4], cost("1.00", id="b4", tool="payments")], False)):
        path = folder(tmp_path / f"p{len(budgets)}{is_told}", budgets)
        check = cli("policy", "check", path)
        assert check.code == 0 and (said in check.err) == is_told, check
        changes = desk.propose(path, comment=f"{len(budgets)} {is_told}").json()["changes"]
        assert any(said in change for change in changes) == is_told, changes
    desk.activate(folder(tmp_path / "in-force", five[:4]))
    changes = desk.propose(folder(tmp_path / "next", five)).json()["changes"]
    assert any(said in change for change in changes), changes


def test_p18_a_cap_is_spent_and_not_exceeded(desk: Deciding, tmp_path: Path) -> None:
    """Each call is booked; the one that does not fit is denied, and told when to come again; the other agent has its own sum."""
    desk.activate(folder(tmp_path / "p", [cost("1.00", warn_at="80")]))
    for nth in range(33):
        answer = desk.told(**LLM, cost=CENTS(3))
        assert answer["verdict"] == "allow", (nth, answer)
        assert answer["budgets"][0]["booked"] == "within" and answer["budgets"][0]["sum"] == 30_000
    denied = desk.told(**LLM, cost=CENTS(3))
    assert (denied["verdict"], denied["reason"]["code"], denied["reason"]["clause"]) == ("deny", "budget_exceeded", "p/day")
    assert 1 <= denied["reason"]["retry_after"] <= 86_400 and denied["budgets"][0]["booked"] == "refused"
    assert desk.told(**LLM, cost=CENTS(1))["verdict"] == "allow", "the last cent is spent, too"
    assert desk.told(**LLM, cost=CENTS(1))["verdict"] == "deny"
    assert desk.told(**LLM | {"agent": {"id": "other-agent"}}, cost=CENTS(3))["verdict"] == "allow"
    now = booked(desk)
    assert {name: now[name] for name in ("max", "within", "reserved", "over", "left", "warned", "exceeded", "unit", "currency")} == {
        "max": 1_000_000, "within": 1_000_000, "reserved": 1_000_000, "over": 0, "left": 0, "warned": True, "exceeded": True, "unit": "cost", "currency": "USD",
    }  # fmt: skip
    entries = desk.server.admin.entries()
    kinds = [entry["kind"] for entry in entries]
    assert kinds.count("budget_warned") == kinds.count("budget_exceeded") == 1
    warned = kinds.index("budget_warned")
    assert entries[warned]["event"]["decision"] == warned - 1
    assert entries[warned]["event"]["budgets"][0]["within"] == 810_000
    shown = desk.server.remote("budget list", "--tenant", desk.tenant, key=desk.server.admin.key).ok().out
    assert "p/day llm-agent" in shown and "USD 1.00 of USD 1.00" in shown, shown
    sound(desk, tmp_path / "export")


@pytest.mark.parametrize(
    ("cost_of_call", "why"),
    [
        (..., "the call names no cost"), ({}, "the call names no cost"), ({"amount": "1", "currency": "EUR"}, "a currency that is not listed"),
        ({"amount": "-1", "currency": "USD"}, "no decimal number of 0 or more in a text"), ({"amount": "1e3", "currency": "USD"}, "no decimal number of 0 or more in a text"),
    ],
)  # fmt: skip
def test_p16_p18_a_call_without_its_figure_is_denied(desk: Deciding, tmp_path: Path, cost_of_call: Any, why: str) -> None:
    """Nothing is booked for it."""
    desk.activate(folder(tmp_path / "p", [cost("1.00")]))
    told = desk.told(**LLM, cost=cost_of_call)
    assert (told["verdict"], told["reason"]["code"], told["reason"]["why"]) == ("deny", "condition_error", why)
    assert desk.server.admin.get("/budgets").json() == {"budgets": [], "complete": True}


def test_p18_a_report_frees_what_was_not_spent(desk: Deciding, tmp_path: Path, clock: Clock) -> None:
    """The first report in time counts; later ones, those of others, and doubled ones change nothing. What nobody reports stays."""
    desk.activate(folder(tmp_path / "p", [cost("1.00")]))
    first, second, third = (desk.told(**LLM, cost=CENTS(30)) for _ in range(3))
    assert desk.told(**LLM, cost=CENTS(30))["verdict"] == "deny"
    other = desk.server.client(desk.server.add_key(["publisher"], producer="gw-2"))
    report(desk, first, CENTS(0), other)
    assert booked(desk)["within"] == 900_000, "a report of another gateway frees nothing"
    report(desk, first, CENTS(10))
    report(desk, first, CENTS(0))
    now = booked(desk)
    assert (now["within"], now["reserved"]) == (700_000, 600_000)
    report(desk, second, {"amount": "0", "currency": "EUR"})
    assert (booked(desk)["within"], booked(desk)["reserved"]) == (700_000, 300_000), "another currency says nothing of the sum"
    assert desk.told(**LLM, cost=CENTS(30))["verdict"] == "allow"
    assert desk.told(**LLM, cost=CENTS(1))["verdict"] == "deny"
    desk.server.kill9()
    clock.set(REPORT_WITHIN + 5)
    desk.server.start()
    desk.gateway = desk.server.client(desk.gateway.key)
    report(desk, third, CENTS(0))
    now = booked(desk)
    assert (now["within"], now["reserved"]) == (1_000_000, 0), "after the deadline nothing is reserved, and nothing is freed"
    sound(desk, tmp_path / "export")


def test_p18_a_report_that_names_another_leaf_is_refused(desk: Deciding, tmp_path: Path) -> None:
    """The index of one decision with the leaf of another frees nothing, and the answer says what must change; the right report still counts."""
    desk.activate(folder(tmp_path / "p", [cost("1.00")]))
    one, two = (desk.told(**LLM, cost=CENTS(30))["decision"] for _ in range(2))
    publisher = desk.server.as_("publisher")
    wrong, right = execution(two["index"], one["leaf_hash"], cost=CENTS(0)), execution(two["index"], two["leaf_hash"], cost=CENTS(5))
    results = publisher.publish(wrong, execution(10**6, one["leaf_hash"]))
    assert [result["status"] for result in results] == ["rejected", "posted"], results
    assert (results[0]["reason"], results[0]["id"]) == ("data", wrong["id"]) and f"the leaf at {two['index']} is another one" in results[0]["detail"], results
    assert booked(desk)["within"] == 600_000
    assert publisher.publish(wrong | {"data": right["data"]})[0]["status"] == "posted", "a refused report takes no key"
    assert booked(desk)["within"] == 350_000
    sound(desk, tmp_path / "export")


def test_p18_more_than_was_reserved_counts_against_the_cap(desk: Deciding, tmp_path: Path) -> None:
    """It is booked as what it is."""
    desk.activate(folder(tmp_path / "p", [cost("1.00")]))
    answer = desk.told(**LLM, cost=CENTS(10))
    report(desk, answer, CENTS(95))
    now = booked(desk)
    assert (now["within"], now["excess"], now["left"]) == (100_000, 850_000, 50_000)
    assert desk.told(**LLM, cost=CENTS(6))["verdict"] == "deny" and desk.told(**LLM, cost=CENTS(5))["verdict"] == "allow"
    sound(desk, tmp_path / "export")


def test_p18_a_new_window_begins_with_nothing_booked(desk: Deciding, tmp_path: Path, clock: Clock) -> None:
    """An hour later the cap is free again."""
    desk.activate(folder(tmp_path / "p", [cost("1.00", window="hour").replace(", zone: UTC", "")]))
    assert desk.told(**LLM, cost=CENTS(100))["verdict"] == "allow" and desk.told(**LLM, cost=CENTS(1))["verdict"] == "deny"
    desk.server.stop()
    clock.set(3_600)
    desk.server.start()
    desk.gateway = desk.server.client(desk.gateway.key)
    assert not booked(desk)["current"]
    assert desk.told(**LLM, cost=CENTS(100))["verdict"] == "allow" and desk.told(**LLM, cost=CENTS(1))["verdict"] == "deny"
    assert [e["kind"] for e in desk.server.admin.entries()].count("budget_exceeded") == 2
    sound(desk, tmp_path / "export")


@pytest.mark.parametrize("other", [{"zone": "Europe/Berlin"}, {"window": "month"}, {"window": "hour", "zone": ""}], ids=["zone", "month", "hour"])
def test_p18_a_policy_that_changes_the_window_frees_nothing_and_calls_go_on(desk: Deciding, tmp_path: Path, clock: Clock, other: dict[str, str]) -> None:
    """What was spent counts in the first new window, reviewers are told so, and no call is denied though it fits."""
    # At noon in UTC, so that no window of these ends while the test runs.
    ahead = (12 * 3_600 + 60 - int(time.time())) % 86_400
    clock.set(ahead)
    desk.server.restart()
    desk.gateway = desk.server.client(desk.gateway.key)
    desk.activate(folder(tmp_path / "p", [cost("1.00")]))
    assert desk.told(**LLM, cost=CENTS(70))["verdict"] == "allow"
    changed = cost("1.00", **other).replace(", zone: ,", ",")
    proposal = desk.propose(folder(tmp_path / "q", [changed])).json()
    assert "counts in the first new window too" in str(proposal["changes"]), proposal["changes"]
    desk.approve(proposal)
    assert desk.told(**LLM, cost=CENTS(20))["verdict"] == "allow"
    denied = desk.told(**LLM, cost=CENTS(20))
    assert (denied["verdict"], denied["reason"]["code"]) == ("deny", "budget_exceeded"), denied
    assert desk.told(**LLM, cost=CENTS(10))["verdict"] == "allow"
    now = booked(desk)
    assert (now["within"], now["carried"], now["left"]) == (300_000, 700_000, 0), now
    exceeded = [entry for entry in desk.server.admin.entries() if entry["kind"] == "budget_exceeded"]
    assert [one["event"]["budgets"][0]["carried"] for one in exceeded] == [700_000]
    shown = desk.server.remote("budget list", "--tenant", desk.tenant, key=desk.server.admin.key).ok().out
    assert "from other windows that the policy had before USD 0.70" in shown, shown
    if other.get("window") == "hour":
        desk.server.stop()
        clock.set(ahead + 3_600)
        desk.server.start()
        desk.gateway = desk.server.client(desk.gateway.key)
        assert desk.told(**LLM, cost=CENTS(100))["verdict"] == "allow", "the next hour has nothing to do with the day"
    sound(desk, tmp_path / "export")


def test_p18_reviewers_are_told_that_another_unit_begins_a_new_sum(desk: Deciding, tmp_path: Path) -> None:
    """Nothing is added that is not of one unit; a way back finds what was booked before; `GET T/budgets` has both sums."""
    by_calls = cost("1.00", sum="calls").replace('{USD: "1.00"}', "2")
    desk.activate(folder(tmp_path / "p", [cost("1.00")]))
    assert desk.told(**LLM, cost=CENTS(90))["verdict"] == "allow"
    proposal = desk.propose(folder(tmp_path / "q", [by_calls])).json()
    assert "a new sum begins with nothing booked" in str(proposal["changes"]), proposal["changes"]
    desk.approve(proposal)
    assert [desk.told(**LLM, cost=CENTS(1))["verdict"] for _ in range(3)] == ["allow", "allow", "deny"]
    sums = {one["unit"]: (one["currency"], one["within"], one["left"]) for one in desk.server.admin.get("/budgets").json()["budgets"]}
    assert sums == {"cost": ("USD", 900_000, 100_000), "calls": (None, 2, 0)}
    desk.activate(folder(tmp_path / "r", [cost("1.00")]))
    assert [desk.told(**LLM, cost=CENTS(cents))["verdict"] for cents in (11, 10, 1)] == ["deny", "allow", "deny"]
    sound(desk, tmp_path / "export")


def test_p18_people_decide_over_the_cap_and_it_is_booked_as_such(desk: Deciding, tmp_path: Path) -> None:
    """What they deny is released; what they approve is over the cap and leaves what is left within."""
    desk.activate(folder(tmp_path / "p", [PAY]))
    pay = lambda amount: desk.told(**LLM | {"tool": {"name": "payments", "action": "transfer"}, "params": {"amount": amount, "currency": "EUR"}})  # noqa: E731
    state = lambda: {name: booked(desk, "p/pay", None)[name] for name in ("within", "over", "reserved", "left")}  # noqa: E731
    assert pay(600)["verdict"] == "allow"
    over, refused = pay(700), pay(800)
    for answer in (over, refused):
        assert (answer["verdict"], answer["reason"]["code"], answer["reason"]["clause"]) == ("approval_needed", "budget_exceeded", "p/pay")
        assert answer["budgets"][0]["booked"] == "over" and answer["approval"]["state"] == "pending"
    assert state() == {"within": 600, "over": 1_500, "reserved": 2_100, "left": 400}
    assert desk.review(refused["approval"]["id"], "p-bob", "deny").status_code == 200
    assert state() == {"within": 600, "over": 700, "reserved": 1_300, "left": 400}
    assert desk.review(over["approval"]["id"], "p-bob").status_code == 200
    assert state() == {"within": 600, "over": 700, "reserved": 1_300, "left": 400}
    assert pay(400)["verdict"] == "allow" and pay(1)["verdict"] == "approval_needed"
    assert [e["kind"] for e in desk.server.admin.entries()].count("budget_warned") == 1
    sound(desk, tmp_path / "export")


CLIENTS, CAP = 64, 500


def test_p18_64_clients_on_one_cap_and_a_killed_server(desk: Deciding, tmp_path: Path, rng: random.Random) -> None:
    """However they collide, and though the server is killed among them: the cap is spent to the last call, and not exceeded."""
    budget = '{id: calls, tool: llm, sum: calls, per: all, window: month, zone: UTC, max: 500, at_cap: deny}'  # fmt: skip
    desk.activate(folder(tmp_path / "p", [budget]))
    told: list[dict[str, Any]] = []
    stop, at_cap = threading.Event(), threading.Event()

    def client() -> None:
        http = desk.server.client(desk.gateway.key)
        while not stop.is_set():
            asked = question(**LLM)
            while not stop.is_set():
                try:
                    answer = http.http.post(f"{http.t}/decisions", json=asked)
                except httpx.HTTPError:
                    stop.wait(0.05)
                    continue
                if answer.status_code == 200:
                    break
            else:
                return
            told.append(answer.json())
            if answer.json()["verdict"] == "deny":
                at_cap.set()
                return

    threads = [threading.Thread(target=client, daemon=True) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for _ in range(2):
        goal = len(told) + 60 + rng.randrange(60)
        until("calls are answered", lambda goal=goal: len(told) >= goal or at_cap.is_set(), 120)
        desk.server.restart(kill=True)
    until("every client is denied", lambda: not any(thread.is_alive() for thread in threads), 240)
    stop.set()
    entries = [e for e in desk.server.admin.entries(kind="decision") if "as_of" in e["event"]["data"] and e["producer"] == "gw-1"]
    verdicts = [(e["event"]["data"]["verdict"], e["event"]["data"]["reason"]["code"]) for e in entries]
    first = next(at for at, (verdict, _) in enumerate(verdicts) if verdict == "deny")
    allows = [verdict for verdict, _ in verdicts].count("allow")
    print({"before the first denial": first, "allows": allows, "denials": len(verdicts) - allows, "codes": sorted(set(verdicts))})
    assert allows <= CAP, "never above the cap"
    assert first * 100 >= CAP * 95, "at least 95 % of the cap is spent before the first denial"
    assert allows == CAP
    assert booked(desk, "p/calls", None)["within"] == CAP
    sound(desk, tmp_path / "export")


def test_p18_a_rate_denies_what_comes_too_fast(desk: Deciding, tmp_path: Path) -> None:
    """Five a second at most, whatever the burst; a restarted server has none saved up."""
    desk.activate(folder(tmp_path / "p", [], ["{id: fast, tool: llm, per: agent, burst: 3, per_second: 1, at_cap: deny}"]))
    until("a call is left", lambda: desk.told(**LLM)["verdict"] == "allow")
    answers = [answer for _ in range(4) for answer in desk.ask([question(**LLM) for _ in range(20)]).json()["results"]]
    verdicts = [answer["verdict"] for answer in answers]
    assert 1 <= verdicts.count("deny") and verdicts.count("allow") <= 20, verdicts
    denied = next(answer for answer in answers if answer["verdict"] == "deny")
    assert (denied["reason"]["code"], denied["reason"]["clause"], denied["reason"]["retry_after"]) == ("rate_limited", "p/fast", 1)
    sound(desk, tmp_path / "export")
