"""`proto/examples/tool_wrapper.py` and `tool-wrapper.ts`, which authors of tools copy: the same tests for both, against a real
server with people who answer, and against a stand-in for the faults that can't be had at will."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import playwright
import pytest
from support import Finished, FlakyFront
from support.answers import DENIED, LARGE, SMALL, Answers
from support.fakecountersign import BUSY, GONE, KEY, Answer, FakeCountersign, problem

EXAMPLES = Path(__file__).parent.parent / "proto/examples"
#: Node, which playwright carries. It runs TypeScript by leaving out the types.
NODE = Path(playwright.__file__).parent / "driver/node"

#: Guard a function that prints its params, and call it. What the guard raises is printed too.
PYTHON = """
import json, sys
sys.path.insert(0, {folder})
from tool_wrapper import Client, NotPermitted, guarded, obligations
told = json.loads(sys.argv[1])
answers = told.pop("before", None)
if answers is not None:
    told["options"]["as_before"] = lambda tool, action, params: answers

@guarded(Client(told["url"], told["key"], agent="payments-bot", **told["options"]), tool=told["tool"], action=told["action"])
def run(amount=None, currency="EUR", reference=None, note=None):
    print(json.dumps({{"ran": dict(amount=amount, currency=currency, reference=reference, note=note), "obligations": obligations.get()}}), flush=True)
    if told["fails"]:
        raise RuntimeError("out of order")
    return "done"

try:
    print(json.dumps({{"returned": run(**told["params"])}}))
except NotPermitted as refused:
    print(json.dumps({{"not_permitted": refused.code}}))
except RuntimeError as error:
    print(json.dumps({{"raised": str(error)}}))
"""
TYPESCRIPT = """
import {{ Client, NotPermitted, guarded }} from {file};
const told = JSON.parse(process.argv[2]!);
const camel = {{ answer_within: "answerWithin", people_within: "peopleWithin" }} as Record<string, string>;
const options = Object.fromEntries(Object.entries(told.options).map(([name, value]) => [camel[name] ?? name, value]));
if (told.before !== null) options.asBefore = () => told.before;
const client = new Client({{ url: told.url, key: told.key, agent: "payments-bot", ...options }});
const run = guarded(client, told, async (given: object, obligations) => {{
  const ran = {{ amount: null, currency: "EUR", reference: null, note: null, ...given }};
  console.log(JSON.stringify({{ ran, obligations }}));
  if (told.fails) throw new Error("out of order");
  return "done";
}});
try {{
  console.log(JSON.stringify({{ returned: await run({{ currency: "EUR", ...told.params }}) }}));
}} catch (error) {{
  console.log(JSON.stringify(error instanceof NotPermitted ? {{ not_permitted: error.code }} : {{ raised: (error as Error).message }}));
}}
"""


@dataclass(frozen=True)
class Wrapper:
    """One of the two files, and a script that uses it."""

    example: list[str]
    script: list[str]

    def start(self, url: str, params: dict[str, Any], *, key: str = KEY, tool: str = "payments", action: str = "transfer",
              fails: bool = False, before: Any = None, **options: Any) -> subprocess.Popen[bytes]:
        """Calls the guarded function with params."""
        told = {"url": url, "key": key, "tool": tool, "action": action, "params": params, "fails": fails, "before": before, "options": options}
        return subprocess.Popen([*self.script, json.dumps(told)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(process: subprocess.Popen[bytes]) -> tuple[dict[str, Any], Finished]:
    """What it printed, joined, and how it ended."""
    out, err = process.communicate(timeout=90)
    done = Finished(process.returncode, out.decode(), err.decode())
    assert done.code == 0, done.err
    said: dict[str, Any] = {}
    for line in done.lines():
        assert not set(said) & set(line), "it ran twice"
        said |= line
    return said, done


@pytest.fixture(params=["python", "typescript"])
def wrapper(request: pytest.FixtureRequest, tmp_path: Path) -> Wrapper:
    """Each of the two."""
    if request.param == "python":
        script = tmp_path / "script.py"
        script.write_text(PYTHON.format(folder=repr(str(EXAMPLES))))
        return Wrapper([sys.executable, "-I", str(EXAMPLES / "tool_wrapper.py")], [sys.executable, str(script)])
    assert NODE.is_file(), "tests/requirements.txt brings it"
    script = tmp_path / "script.mts"
    script.write_text(TYPESCRIPT.format(file=json.dumps(str(EXAMPLES / "tool-wrapper.ts"))))
    return Wrapper([str(NODE), str(EXAMPLES / "tool-wrapper.ts")], [str(NODE), str(script)])


def ran(params: dict[str, Any], **obligations: Any) -> dict[str, Any]:
    """What is printed when the function ran with these params."""
    return {"ran": {"amount": None, "currency": "EUR", "reference": None, "note": None} | params, "obligations": obligations}


# Against a script.


@pytest.fixture
def scripted(wrapper: Wrapper) -> Callable[..., tuple[FakeCountersign, dict[str, Any], str]]:
    """Runs it against a script; what it said, and its messages. `told`: members of the verdict."""

    def scripted(
        *phases: str, told: dict[str, Any] | None = None, call: dict[str, Any] | None = None, **faults: list[Answer]
    ) -> tuple[FakeCountersign, dict[str, Any], str]:
        script = FakeCountersign(list(phases), faults, told)
        try:
            said, done = finish(wrapper.start(script.url, SMALL, **{"people_within": 20} | (call or {})))
            return script, said, done.err
        finally:
            script.close()

    return scripted


ALLOWED = ["decisions", "events"]


def test_an_allowed_call_runs_and_is_reported(scripted: Callable[..., Any]) -> None:
    """With the params that were judged, defaults too."""
    script, said, err = scripted(call={"run": "r-1"})
    assert said == ran(SMALL) | {"returned": "done"} and not err
    assert script.routes == ALLOWED
    (asked,), (event,) = script.bodies("decisions"), script.bodies("events")
    assert asked["agent"] == {"id": "payments-bot", "run": "r-1"} and asked["tool"] == {"name": "payments", "action": "transfer"}
    assert asked["params"] == {name: value for name, value in said["ran"].items() if name in asked["params"]} and asked["params"]["currency"] == "EUR"
    assert event["data"] == {"decision": script.verdict(asked)["decision"], "outcome": "succeeded"}


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


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Answers]:
    """A tenant whose policies give every answer."""
    answers = Answers(tmp_path_factory.mktemp("answers"))
    with answers.server:
        yield answers


@pytest.fixture
def calls(answers: Answers, wrapper: Wrapper) -> Callable[..., subprocess.Popen[bytes]]:
    """Calls the guarded function, with the key of the real server."""

    def calls(params: dict[str, Any], url: str = "", **options: Any) -> subprocess.Popen[bytes]:
        return wrapper.start(url or answers.url, params, key=answers.key.text, **options)

    return calls


def test_p14_an_allowed_call_is_in_the_log_with_its_execution(answers: Answers, calls: Callable[..., Any]) -> None:
    """Judged, run, reported. What the function gets is what JSON carried."""
    params = SMALL | {"note": {"text": "für \"Kim\"\n", "rate": 0.25, "list": [True, None, 1e-7]}}
    decided, executed = len(answers.decisions()), len(answers.executions())
    said, done = finish(calls(params, run="run-ü"))
    assert said == ran(params) | {"returned": "done"} and not done.err
    assert (len(answers.decisions()), len(answers.executions())) == (decided + 1, executed + 1)
    named = answers.executions()[-1]["decision"]
    assert answers.server.admin.entry(named["index"])["event"]["data"]["agent"] == {"id": "payments-bot", "run": "run-ü"}


def test_p16_a_denied_call_does_not_run(answers: Answers, calls: Callable[..., Any]) -> None:
    """It says which clause, or that there was none."""
    executed = len(answers.executions())
    assert finish(calls(DENIED))[0] == {"not_permitted": "no_clause"}
    assert finish(calls(SMALL, action="unknown"))[0] == {"not_permitted": "no_clause"}
    assert finish(calls(SMALL, tool="countersign", action="policy.activate"))[0] == {"not_permitted": "bad_request"}
    assert len(answers.executions()) == executed


@pytest.mark.parametrize("how", ["approve", "deny", "nobody"])
def test_p9_people_decide_what_the_policies_leave_to_them(tmp_path: Path, wrapper: Wrapper, how: str) -> None:
    """Approved meanwhile, denied meanwhile, nobody in time. After a denial people are not asked about the same action for a while."""
    answers = Answers(tmp_path)
    with answers.server:
        process = wrapper.start(answers.url, LARGE, key=answers.key.text, people_within=1 if how == "nobody" else 60)
        id = answers.pending()["id"]
        if how != "nobody":
            assert answers.review(id, "p-bob", how).status_code == 200
        said, done = finish(process)
        state = answers.approval(id)
        if how == "approve":
            assert said == ran(LARGE) | {"returned": "done"} and not done.err
            assert (state["state"], state["report"]) == ("completed", "succeeded")
            return
        assert said == {"not_permitted": "denied" if how == "deny" else "gave_up"}
        assert state["state"] == ("denied" if how == "deny" else "cancelled")
        if how == "deny":
            assert finish(wrapper.start(answers.url, LARGE, key=answers.key.text))[0] == {"not_permitted": "cancelled"}


def test_p9_obligations_of_a_real_verdict(answers: Answers, calls: Callable[..., Any]) -> None:
    """The function gets those that it keeps; others end it, also where people would be asked."""
    executed = len(answers.executions())
    assert finish(calls({}, tool="archive", action="write"))[0] == {"not_permitted": "obligation_unknown"}
    assert finish(calls({}, tool="archive", action="drop"))[0] == {"not_permitted": "obligation_unknown"}
    assert not answers.server.admin.get("/approvals", state="pending").json()["approvals"]
    assert len(answers.executions()) == executed
    said, _ = finish(calls({}, tool="archive", action="write", acknowledges=["retain_days"]))
    assert said == ran({}, retain_days=30) | {"returned": "done"}


def test_p14_an_answer_that_is_lost_is_asked_for_again(answers: Answers, calls: Callable[..., Any]) -> None:
    """One decision, one run, one execution."""
    decided, executed = len(answers.decisions()), len(answers.executions())
    with FlakyFront(answers.server.url) as front:
        front.fail = ["cut", "reset", 503]
        said, _ = finish(calls(SMALL, url=front.url + f"/v1/tenants/{answers.tenant}"))
        assert said == ran(SMALL) | {"returned": "done"} and front.seen == 5
    assert (len(answers.decisions()), len(answers.executions())) == (decided + 1, executed + 1)


def test_p9_a_server_that_stops_after_it_decided(answers: Answers, calls: Callable[..., Any]) -> None:
    """The allow is recorded and its answer is lost: nothing runs."""
    executed = len(answers.executions())
    with FlakyFront(answers.server.url) as front:
        front.fail = ["cut", *["reset"] * 60]
        said, _ = finish(calls(SMALL, url=front.url + f"/v1/tenants/{answers.tenant}", answer_within=4))
        assert said == {"not_permitted": "unavailable"}
    assert answers.decisions()[-1]["event"]["data"]["verdict"] == "allow" and len(answers.executions()) == executed


def test_the_example_at_the_end(answers: Answers, wrapper: Wrapper) -> None:
    """As it is in the file."""
    env = {"COUNTERSIGN_URL": answers.url, "COUNTERSIGN_KEY_FILE": str(answers.server.key_file(answers.key))}

    def example(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*wrapper.example, *args], env=env, capture_output=True, text=True, timeout=60, check=False)

    done = example("50000", "EUR", "INV-004711")
    assert (done.returncode, done.stdout) == (0, "paid 50000 EUR for INV-004711\n"), done.stderr
    done = example("50000", "EUR", "none")
    assert done.returncode == 1 and not done.stdout and "NotPermitted" in done.stderr and "no_clause" in done.stderr


def test_p9_a_server_that_stops_while_people_are_asked(tmp_path: Path, wrapper: Wrapper) -> None:
    """It gives up, and nothing runs; if the server comes back in time, it goes on."""
    answers = Answers(tmp_path)
    with answers.server:
        process = wrapper.start(answers.url, LARGE, key=answers.key.text, answer_within=4)
        id = answers.pending()["id"]
        answers.server.kill9()
        assert finish(process)[0] == {"not_permitted": "unavailable"}
        answers.server.start()
        canceller = answers.server.client(answers.key)
        assert canceller.http.post(f"{canceller.t}/approvals/{id}/cancel", json={"reason": "over"}).status_code == 200
        process = wrapper.start(answers.url, LARGE, key=answers.key.text)
        id = answers.pending()["id"]
        answers.server.restart(kill=True)
        assert answers.review(id, "p-bob").status_code == 200
        assert finish(process)[0] == ran(LARGE) | {"returned": "done"}


def test_p9_a_tenant_that_only_observes(tmp_path: Path, wrapper: Wrapper) -> None:
    """Its verdict is recorded, and permits nothing."""
    answers = Answers(tmp_path, only_observes=True)
    with answers.server:
        assert finish(wrapper.start(answers.url, SMALL, key=answers.key.text))[0] == {"not_permitted": "only_observed"}
        said, _ = finish(wrapper.start(answers.url, SMALL, key=answers.key.text, before=True))
        assert said == ran(SMALL) | {"returned": "done"}
        assert [entry["event"]["data"]["mode"] for entry in answers.decisions()] == ["shadow", "shadow"]


# What only Python can get wrong.


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
