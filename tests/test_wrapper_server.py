"""The tool wrappers against the server itself."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import FlakyFront
from support.answers import DENIED, LARGE, SMALL, Answers
from support.wrapper_example import Wrapper, finish, ran, wrapper  # noqa: F401, F811

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
