"""P13, P16: a question that can't be read, or says too much, gets no verdict: a 4xx that says what is wrong, and no entry."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from support import Server
from support.deciding import CALL, PAYMENTS, Deciding, nonce, question
from support.events import new_id

BODY_BYTES_MAX = 256 * 1024
ABSENT: Any = ...


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deciding]:
    """A tenant whose payments policy is in force; sound at the end, or the module fails."""
    with Server(tmp_path_factory.mktemp("desk") / "server") as server:
        desk = Deciding(server)
        desk.activate(PAYMENTS)
        yield desk
        assert "void" not in {entry["kind"] for entry in server.admin.entries()}
        server.stop()
        server.fsck().ok()


def post(desk: Deciding, body: bytes, **headers: str) -> httpx.Response:
    """`POST T/decisions` with a body as it is."""
    headers = {"Content-Type": "application/json"} | headers
    return desk.gateway.http.post(f"{desk.gateway.t}/decisions", content=body, headers=headers)


def agent(**over: Any) -> dict[str, Any]:
    """The member `agent`, with something else in it."""
    made = {"id": "payments-bot", "run": "r-1"} | over
    return {"agent": {name: value for name, value in made.items() if value is not ABSENT}}


def tool(**over: Any) -> dict[str, Any]:
    """The member `tool`, with something else in it."""
    made = {"name": "payments", "action": "transfer"} | over
    return {"tool": {name: value for name, value in made.items() if value is not ABSENT}}


def nested(depth: int) -> Any:
    """Arrays in arrays."""
    made: Any = []
    for _ in range(depth - 1):
        made = [made]
    return made


#: What is wrong, and the word that the answer must have.
WRONG: list[tuple[dict[str, Any], str]] = [
    *[({name: ABSENT}, name) for name in ("id", "source", "nonce", "agent", "tool", "params")],
    *[({name: None}, name) for name in ("id", "source", "nonce", "agent", "tool", "payload")],
    *[({name: value}, name) for name in ("id", "source", "nonce") for value in (5, True, [], {}, "", ["x"])],
    *[({name: value}, name) for name in ("agent", "tool") for value in (5, "x", [], {}, [{}])],
    *[({name: value}, name) for name in ("context", "labels", "payload") for value in (5, "x", [], True)],
    *[({"cost": value}, "cost") for value in (5, "x", [], {"amount": 1}, {"amount": "1", "currency": None}, {"amount": ""}, {"amount": "1" * 257})],
    *[({"sequence": value}, "sequence") for value in (17, "", "x", "-1", "1.5", "9007199254740992", "1" * 21, "١", True)],
    *[({"traceparent": value}, "traceparent") for value in (5, "", "x", "00-" + "A" * 32 + "-" + "b" * 16 + "-01")],
    *[({"id": "x" * 257}, "id"), ({"source": "x" * 513}, "source"), ({"nonce": "x" * 65}, "nonce")],
    *[({name: f"a{char}b"}, name) for name in ("id", "source") for char in "\0\n\x1b\x7f\x85"],
    ({"id": "e\u0301"}, "id"),
    *[(agent(id=value), "agent.id") for value in (ABSENT, None, 5, "", "x" * 257, "a\0b", "a\nb", "e\u0301", ["x"])],
    *[(agent(run=value), "run") for value in (5, "", "x" * 257, "a\0b", "e\u0301")],
    *[(agent(session=value), "session") for value in (5, "", "x" * 257, "a\nb", [])],
    *[(agent(chain=value), "chain") for value in ("x", {}, [], [5], [None], [""], ["x" * 257], ["a\0b"], ["e\u0301"], ["x"] * 17, ["x"] * 65, [["x"]])],
    (agent(token=""), "token"),
    (agent(role="x"), "agent.role"),
    *[(tool(name=value), "tool.name") for value in (ABSENT, None, 5, "", "x" * 257, "a\0b", "e\u0301")],
    *[(tool(action=value), "tool.action") for value in (ABSENT, None, 5, "", "x" * 257, "a\nb", "e\u0301")],
    *[(tool(schema=value), "tool.schema") for value in (5, "", "x" * 257, "a\0b", {})],
    (tool(version="1"), "tool.version"),
    *[(tool(name=name), "countersign") for name in ("countersign", "COUNTERSIGN", "countersign-x", "countersignature", "CounterSign.x")],
    *[({"context": {name: value}}, name) for name in ("purpose", "environment", "region") for value in (5, "", "x" * 257, "a\0b", "e\u0301", [])],
    *[({"context": {name: value}}, name) for name in ("classes", "third_parties") for value in ("x", {}, [5], [""], ["a\0b"], ["x"] * 65)],
    ({"context": {"amount": 1}}, "context.amount"),
    *[({"labels": value}, "labels") for value in ({"a": 5}, {"a": None}, {"a": ""}, {"a": "x" * 257}, {"a": "b\0c"}, {"a": ["x"]}, {"a": "e\u0301"})],
    *[({"labels": {f"l{n}": "x" for n in range(count)}}, "labels") for count in (17, 65, 1000)],
    *[({"labels": {"x" * 257: "y"}}, "labels"), ({"labels": {"": "y"}}, "labels"), ({"labels": {"a\0b": "y"}}, "labels")],
    *[({"payload": {"params": {}}}, "payload"), ({"payload": {"nonce": "x"}}, "payload")],
    *[({"payload": {name: 1}}, "payload") for name in ("", "/data/facts", "/x", "a\0b")],
    ({"payload": {f"f{n}": 1 for n in range(65)}}, "payload"),
    ({"payload": {f"f{n}": 1 for n in range(64)}}, "payload"),  # with what we add it is too much
    *[({name: "x"}, name) for name in ("type", "time", "specversion", "data", "verdict", "bundle", "as_of", "facts", "amount", "Params")],
    ({"parent": {"index": 1}}, "parent"),
    ({"params": nested(31)}, "levels"),  # 32 in the question, 34 in the event
]


def name(case: Any) -> str:
    """Of a case, for the report."""
    text = json.dumps(case[0], default=lambda _: "absent") if isinstance(case, tuple) else str(case)
    return text if len(text) < 60 else f"{text[:56]}…{len(text)}"


def no_verdict(desk: Deciding, answer: httpx.Response, word: str, size: int) -> None:
    """A 4xx with a detail that names it; no entry."""
    told = answer.json()
    assert 400 <= answer.status_code < 500 and "verdict" not in told, answer.text[:300]
    assert told["code"] in ("bad_request", "body_syntax", "too_big") and answer.headers["content-type"] == "application/problem+json"
    assert word in told["detail"] and len(told["detail"]) < 500, told["detail"][:600]
    assert desk.server.admin.size() == size, [entry["kind"] for entry in desk.server.admin.entries()][size:]


@pytest.mark.parametrize("case", WRONG, ids=name)
def test_p16_a_wrong_question_gets_no_verdict(case: tuple[dict[str, Any], str], desk: Deciding) -> None:
    """Alone: a 4xx and no entry. In a batch: the others are answered, in their places."""
    over, word = case
    size = desk.server.admin.size()
    no_verdict(desk, desk.ask(question(**over)), word, size)
    good = [question(), question(params=CALL | {"amount": 2500001})]
    results = desk.ask([good[0], question(**over), good[1]]).json()["results"]
    assert [result.get("verdict") for result in results] == ["allow", None, "deny"]
    assert word in results[1]["problem"]["detail"] and 400 <= results[1]["problem"]["status"] < 500
    assert [entry["kind"] for entry in desk.server.admin.entries()][size:] == ["decision", "decision"]


def raw(text: str) -> bytes:
    """A question whose params are this text of JSON; `@id@` and `@nonce@` are put in later, so that each process has the same tests."""
    made = question(id="@id@", nonce="@nonce@")
    made["params"] = "@@"
    return json.dumps(made).replace('"@@"', text).encode()


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", ""), (b"{", ""), (b"null", "object"), (b"5", "object"), (b'"x"', "object"), (b"\xff\xfe", ""), (b"\xef\xbb\xbf{}", ""), (b"{} {}", ""),
        (raw('{"a":1,"a":2}'), "twice"), (raw('{"a":1,"\\u0061":2}'), "twice"), (raw("{}").replace(b'"id":', b'"id":"x","id":'), "twice"),
        (raw('{"a":9007199254740992}'), "number"), (raw('{"a":-9007199254740992}'), "number"), (raw('{"a":1e400}'), "number"), (raw('{"a":0.1000000000000000055511151231257827}'), "number"),
        (raw('{"a":"\\ud800"}'), ""), (raw('{"a":01}'), ""), (raw('{"a":NaN}'), ""), (raw('{"a":1,}'), ""), (raw("{'a':1}"), ""),
        (raw("[" * 33 + "]" * 33), "32"), (raw("[" * 5000 + "]" * 5000), ""), (raw('{"a":"\xff"}').replace(b"\xc3\xbf", b"\xff"), ""),
    ],
    ids=lambda value: ascii(value[-40:]) if isinstance(value, bytes) else None,
)  # fmt: skip
def test_p16_what_is_no_strict_json_gets_no_verdict(body: bytes, word: str, desk: Deciding) -> None:
    """RFC 8785 needs one reading of every byte."""
    body = body.replace(b"@id@", new_id("q").encode()).replace(b"@nonce@", nonce().encode())
    size = desk.server.admin.size()
    told = post(desk, body)
    if word != "twice":
        no_verdict(desk, told, word, size)
    else:
        no_verdict(desk, told, "", size)
        assert any(said in told.json()["detail"].lower() for said in ("twice", "duplicate", "once")), told.text
    if body.startswith(b'{"id"') and told.json()["code"] == "body_syntax" and b"[" * 40 not in body and b"\xff" not in body:
        batch = post(desk, b"[" + body + b"," + json.dumps(question()).encode() + b"]")
        # Where elements end is not always known; then nothing is answered.
        if batch.status_code == 200:
            assert [r.get("verdict") for r in batch.json()["results"]] == [None, "allow"]
        else:
            no_verdict(desk, batch, "", size)


def test_p13_a_question_is_as_large_as_allowed_or_refused(desk: Deciding) -> None:
    """256 KiB and one byte: 413. What fits as a question and not as an event is refused too, and what fits is decided."""
    size = desk.server.admin.size()
    made = question(payload={"prompt": ""})
    room = BODY_BYTES_MAX - len(json.dumps(made))
    for more in (room + 1, room):
        made["payload"]["prompt"] = "x" * more
        body = json.dumps(made).encode()
        assert len(body) == BODY_BYTES_MAX - room + more
        no_verdict(desk, post(desk, body), "", size)
        assert post(desk, body).status_code == 413
    batch = desk.ask([question(), made, question()]).json()["results"]
    assert [result.get("verdict") or result["problem"]["code"] for result in batch] == ["allow", "too_big", "allow"]
    made["payload"]["prompt"] = "x" * (room - 4096)
    assert desk.ask(made).json()["verdict"] == "allow"


def test_p13_a_batch_has_one_to_a_hundred_questions(desk: Deciding) -> None:
    """0 and 101 are refused as a whole."""
    size = desk.server.admin.size()
    for count, status in ((0, 400), (101, 413), (1001, 413)):
        answer = desk.ask([question() for _ in range(count)])
        assert answer.status_code == status and answer.json()["detail"], answer.text
    for body in (b"[", b"[{}", b"[1,2", b"[]]", b"[[]]x", b"[" + b"1," * 50 + b"]"):
        assert 400 <= post(desk, body).status_code < 500, body
    assert desk.server.admin.size() == size
    asked = [question(params=CALL | {"amount": 1 + n}) for n in range(100)]
    told = desk.ask(asked).json()["results"]
    assert [one["verdict"] for one in told] == ["allow"] * 100
    assert len({one["decision"]["index"] for one in told}) == 100
    results = desk.ask([1, "x", None, [], question()]).json()["results"]
    assert [r.get("verdict") or r["problem"]["code"] for r in results] == ["bad_request"] * 4 + ["allow"]


def test_p13_a_batch_of_many_large_questions_is_answered_or_refused_whole(desk: Deciding) -> None:
    """The body of a request is limited to 8 MiB."""
    large = lambda: question(payload={"prompt": "x" * 200_000})  # noqa: E731
    told = desk.ask([large() for _ in range(20)])
    assert [one["verdict"] for one in told.json()["results"]] == ["allow"] * 20
    size = desk.server.admin.size()
    assert desk.ask([large() for _ in range(60)]).status_code == 413 and desk.server.admin.size() == size


def test_p16_a_compressed_question_is_the_same(desk: Deciding) -> None:
    """Content-Encoding: gzip, and nothing else."""
    asked = json.dumps(question()).encode()
    told = post(desk, gzip.compress(asked), **{"Content-Encoding": "gzip"})
    assert told.status_code == 200 and told.json()["verdict"] == "allow", told.text
    index = told.json()["decision"]["index"]
    assert desk.server.admin.entry(index)["event"]["id"] == json.loads(asked)["id"]
    assert post(desk, b"no gzip", **{"Content-Encoding": "gzip"}).status_code == 400
    assert post(desk, asked, **{"Content-Encoding": "br"}).status_code == 415


def test_p16_what_may_be_left_out_or_null_is_no_fault(desk: Deciding) -> None:
    """The other side: each of these is decided."""
    for over in (
        {"labels": None}, {"cost": None}, {"sequence": None}, {"traceparent": None}, agent(), {"agent": {"id": "payments-bot"}},
        {"context": {}}, {"context": {"purpose": None}}, {"labels": {}}, {"labels": {f"l{n}": "x" * 256 for n in range(16)}}, {"payload": {}},
        agent(chain=["x"] * 16), agent(session="x" * 256), {"id": "x" * 248 + base64.b32encode(nonce().encode()[:5]).decode()}, {"source": "x" * 512},
        {"nonce": "n" * 64}, {"payload": {f"f{n}": 1 for n in range(50)}}, {"source": "/é"}, {"payload": {"text": "a\0b\n\x1b"}}, {"payload": {"owner": "p-bob"}},
        {"payload": {"owner": ["p-bob", "p-ana"], "subjects": ["x"]}}, {"cost": {"amount": "1.00", "currency": "EUR"}},
    ):  # fmt: skip
        answer = desk.ask(question(**over))
        assert answer.status_code == 200 and answer.json()["verdict"] == "allow", (name((over,)), answer.text[:300])
