"""`proto/examples/tool_wrapper.py` and `tool-wrapper.ts`, which authors of tools copy: the same tests for both, against a real
server with people who answer, and against a stand-in for the faults that can't be had at will."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.answers import SMALL
from support.fakecountersign import BUSY, GONE, KEY, FakeCountersign, problem
from support.wrapper_example import EXAMPLES, ran, scripted, wrapper  # noqa: F401, F811

ALLOWED = ["decisions", "events"]


def test_an_allowed_call_runs_and_is_reported(scripted: Callable[..., Any]) -> None:
    """With the params that were judged, defaults too."""
    script, said, err = scripted(call={"run": "r-1"})
    assert said == ran(SMALL) | {"returned": "done"} and not err
    assert script.routes == ALLOWED
    (asked,), (event,) = script.bodies("decisions"), script.bodies("events")
    assert asked["agent"] == {"id": "payments-bot", "run": "r-1"} and asked["tool"] == {"name": "payments", "action": "transfer"}
    assert asked["params"] == {name: value for name, value in said["ran"].items() if name in asked["params"]} and asked["params"]["currency"] == "EUR"
    decision = script.verdict(asked)["decision"]
    assert event["data"] == {"decision": {name: decision[name] for name in ("index", "leaf_hash")}, "outcome": "succeeded"}


def test_a_function_that_fails_is_reported(scripted: Callable[..., Any]) -> None:
    """Its own error comes through."""
    script, said, _ = scripted(call={"fails": True})
    assert said == ran(SMALL) | {"raised": "out of order"}
    assert script.bodies("events")[0]["data"]["outcome"] == "failed"


def test_p7_the_frozen_call_runs(scripted: Callable[..., Any]) -> None:
    """What the redemption returned, not what was given."""
    frozen = {"call": {"params": SMALL | {"amount": 1}}}
    script, said, _ = scripted("pending", "pending", "granted", told={"verdict": "approval_needed"}, redeem=[(200, frozen)])
    assert said == ran(SMALL | {"amount": 1}) | {"returned": "done"}
    (asked,), (spend,) = script.bodies("decisions"), script.bodies("redeem")
    call = {"nonce": asked["nonce"], "agent": "payments-bot", "run": None, "tool": "payments", "action": "transfer", "params": asked["params"]}
    assert spend["call"] == call
    assert script.bodies("execution") == [{"outcome": "succeeded"}]


@pytest.mark.parametrize(
    ("told", "code"),
    [
        ({"verdict": "deny", "reason": {"code": "no_clause"}}, "no_clause"),
        ({"verdict": "sanitize"}, "allowed"),
        ({"verdict": "permit"}, "allowed"),
        ({"verdict": None}, "allowed"),
        ({"enforced": False}, "allowed"),
        ({"enforced": "true"}, "allowed"),
        ({"enforced": None}, "only_observed"),
        ({"valid_for": 0}, "too_late"),
        ({"obligations": {"no_training": True, "retain_days": 30}}, "obligation_unknown"),
        ({"verdict": "approval_needed", "approval": {"id": "apr-1", "state": "not_opened"}}, "not_opened"),
        ({"verdict": "approval_needed", "approval": {"id": "apr-1", "state": "opening"}}, "opening"),
        ({"verdict": "approval_needed", "approval": {"id": "apr-1", "state": "redeemed"}}, "redeemed"),
        ({"verdict": "approval_needed", "approval": None}, "not_understood"),
    ],
)
def test_p9_no_other_verdict_is_a_yes(scripted: Callable[..., Any], told: dict[str, Any], code: str) -> None:
    """Whatever is not an enforced allow, with obligations that are kept, and in time."""
    script, said, _ = scripted(told=told, call={"acknowledges": ["retain_days"]})
    assert said == {"not_permitted": code}
    assert script.routes == ["decisions"]


@pytest.mark.parametrize("answer", [None, [], "allow", {"verdict": "allow"}, {"verdict": "deny", "enforced": True}])
def test_p9_an_answer_that_is_not_understood(scripted: Callable[..., Any], answer: Any) -> None:
    """A 200 alone permits nothing."""
    if answer is None:
        answer = {"detail": None}
    _, said, _ = scripted(decisions=[(200, answer)] * 40, call={"answer_within": 1})
    assert set(said) == {"not_permitted"}


@pytest.mark.parametrize("before", [True, False, "yes"])
def test_p9_policies_that_only_observe_permit_nothing(scripted: Callable[..., Any], before: Any) -> None:
    """Then it is decided as before, and only a plain yes of that is one."""
    script, said, _ = scripted(told={"enforced": None, "verdict": "deny"}, call={"before": before})
    assert said == (ran(SMALL) | {"returned": "done"} if before is True else {"not_permitted": "only_observed"})
    assert script.routes == (ALLOWED if before is True else ["decisions"])


@pytest.mark.parametrize("phase", ["denied", "expired", "cancelled", "superseded", "revoked", "lapsed", "completed", "unheard_of"])
def test_p9_only_a_grant_is_a_yes(scripted: Callable[..., Any], phase: str) -> None:
    """No other end of an approval."""
    script, said, _ = scripted("pending", phase, told={"verdict": "approval_needed"})
    assert said == {"not_permitted": phase} and "token" not in script.routes


def test_p9_silence_is_not_a_yes(scripted: Callable[..., Any]) -> None:
    """When the patience with people ends, the approval is cancelled."""
    script, said, _ = scripted("pending", told={"verdict": "approval_needed"}, call={"people_within": 0.2})
    assert said == {"not_permitted": "gave_up"}
    assert script.bodies("cancel") == [{"reason": "gave_up"}] and "token" not in script.routes


def test_p9_nobody_is_asked_in_vain(scripted: Callable[..., Any]) -> None:
    """If people could say yes, but an obligation is unknown, it cancels at once."""
    script, said, _ = scripted(told={"verdict": "approval_needed", "obligations": {"retain_days": 30}})
    assert said == {"not_permitted": "obligation_unknown"}
    assert script.routes == ["decisions", "cancel"]


def test_p8_every_step_is_repeated_as_it_was(scripted: Callable[..., Any]) -> None:
    """503 and lost answers: the same question, the same redemption id, the same report."""
    routes = ("decisions", "state", "token", "redeem", "execution")
    script, said, err = scripted("granted", told={"verdict": "approval_needed"}, **{route: [BUSY, GONE] for route in routes})
    assert said == ran(SMALL) | {"returned": "done"}, err
    for route in routes:
        bodies = script.bodies(route)
        assert len(bodies) == 3 and bodies.count(bodies[0]) == 3, route
    script, said, err = scripted(events=[BUSY, GONE])
    assert said["returned"] == "done" and not err
    bodies = script.bodies("events")
    assert len(bodies) == 3 and bodies.count(bodies[0]) == 3


def test_p9_a_stale_verdict_is_asked_for_anew(scripted: Callable[..., Any]) -> None:
    """As another question; not for ever."""
    stale = problem(409, "decision_stale")
    script, said, _ = scripted(decisions=[stale])
    assert said["returned"] == "done"
    first, second = script.bodies("decisions")
    assert first["id"] != second["id"] and first["nonce"] != second["nonce"] and first["params"] == second["params"]
    script, said, _ = scripted(decisions=[stale] * 9)
    assert said == {"not_permitted": "decision_stale"} and len(script.bodies("decisions")) == 3


@pytest.mark.parametrize(
    ("route", "code"),
    [
        ("decisions", "conflict"), ("decisions", "bad_request"), ("state", "not_found"), ("token", "too_many_mints"),
        ("redeem", "token_expired"), ("redeem", "digest_mismatch"), ("redeem", "already_redeemed"),
    ],
)  # fmt: skip
def test_p9_a_refusal_ends_it(scripted: Callable[..., Any], route: str, code: str) -> None:
    """Whatever is refused, and wherever: nothing runs."""
    script, said, _ = scripted("granted", told={"verdict": "approval_needed"}, **{route: [problem(409, code)]})
    assert said == {"not_permitted": code} and script.routes[-1] == route


@pytest.mark.parametrize("route", ["decisions", "state", "token", "redeem"])
def test_p9_an_unreachable_server_is_not_a_yes(scripted: Callable[..., Any], route: str) -> None:
    """Until its own deadline; then nothing."""
    script, said, _ = scripted("granted", told={"verdict": "approval_needed"}, call={"answer_within": 4}, **{route: [BUSY, GONE] * 30})
    assert said == {"not_permitted": "unavailable"}
    assert script.routes[-1] == route and "execution" not in script.routes


def test_p9_a_redirect_is_not_followed(scripted: Callable[..., Any]) -> None:
    """The key goes to one place."""
    script, said, _ = scripted(decisions=[(302, {})] * 9, call={"answer_within": 3})
    assert set(said) == {"not_permitted"} and set(script.routes) == {"decisions"}


def test_what_ran_stays_so(scripted: Callable[..., Any]) -> None:
    """A report that is refused is a warning."""
    rejected = {"results": [{"status": "rejected", "reason": "data"}]}
    for answer in ((200, rejected), problem(409, "conflict"), (200, {})):
        _, said, err = scripted(events=[answer])
        assert said == ran(SMALL) | {"returned": "done"} and "report was not taken" in err


# Against a real server.


@pytest.mark.parametrize("source", ["async def f(a): pass", "def f(*a): pass", "def f(**a): pass", "def f(a, /): pass"])
def test_functions_that_can_not_be_guarded(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are refused when they are defined."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import tool_wrapper

    names: dict[str, Any] = {}
    exec(source, names)
    client = tool_wrapper.Client("http://127.0.0.1:1", KEY, agent="a")
    with pytest.raises(TypeError):
        tool_wrapper.guarded(client, tool="t", action="a")(names["f"])


@pytest.mark.parametrize("value", [float("nan"), object(), {1, 2}, b"x"])
def test_p9_params_that_are_not_json(value: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """They can't be judged."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import tool_wrapper

    @tool_wrapper.guarded(tool_wrapper.Client("http://127.0.0.1:1", KEY, agent="a"), tool="t", action="a")
    def run(value: object) -> None:
        raise AssertionError("it ran")

    with pytest.raises(tool_wrapper.NotPermitted, match="not_understood"):
        run(value)


def test_p7_defaults_are_judged_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The question has every param with which the function runs, by name."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import tool_wrapper

    script = FakeCountersign([], {})
    seen = []

    @tool_wrapper.guarded(tool_wrapper.Client(script.url, KEY, agent="a"), tool="t", action="a")
    def run(amount: int, currency: str = "EUR", *, urgent: bool = False) -> None:
        seen.append({"amount": amount, "currency": currency, "urgent": urgent})

    try:
        run(5)
        run(6, urgent=True)
    finally:
        script.close()
    assert seen == [asked["params"] for asked in script.bodies("decisions")]
    assert seen == [{"amount": 5, "currency": "EUR", "urgent": False}, {"amount": 6, "currency": "EUR", "urgent": True}]


def test_p7_what_was_judged_can_not_be_changed_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """The function gets a copy that was made before the question."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import tool_wrapper

    to = {"iban": "DE89370400440532013000"}
    script = FakeCountersign([], {}, {})
    verdict = script.verdict

    def changed(question: dict[str, Any]) -> dict[str, Any]:
        to["iban"] = "XX00"
        return verdict(question)

    script.verdict = changed  # type: ignore[method-assign]
    seen = []
    guard = tool_wrapper.guarded(tool_wrapper.Client(script.url, KEY, agent="a"), tool="t", action="a")
    try:
        guard(lambda to: seen.append(dict(to)))(to)
    finally:
        script.close()
    assert seen == [{"iban": "DE89370400440532013000"}]
