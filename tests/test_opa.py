"""`POST T/opa/logs`: what the decision-log plugin of a real OPA 1.4.2 sends (P2 P3). No package carries the `opa`
binary, so requests have the shape recorded from one: `User-Agent`, gzip, `Content-Length`, one JSON array."""

from __future__ import annotations

import base64
import copy
import gzip
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support import Book, Server
from support.client import Client

OPA = str(uuid.uuid4())


def decision(result: Any = True, **over: Any) -> dict[str, Any]:
    """One decision, as OPA 1.4.2 logged it; `result=...` is OPA's undefined."""
    made: dict[str, Any] = {
        "labels": {"app": "payments", "id": OPA, "version": "1.4.2"},
        "decision_id": str(uuid.uuid4()),
        "bundles": {"payments": {"revision": "rev-42"}},
        "path": "agents/tools/allow",
        "input": {"tool_calls": [{"tool": "bank", "params": {"amount": 1200, "iban": "DE02"}}]},
        "erased": ["/input/params/memo"],
        "masked": ["/input/params/account"],
        "requested_by": "127.0.0.1:51234",
        "timestamp": "2026-11-20T05:48:01.123456789Z",
        "metrics": {"counter_server_query_cache_hit": 0, "timer_rego_query_eval_ns": 43125, "timer_server_handler_ns": 98712},
        "req_id": 7,
        "request_context": {"http": {"headers": {"traceparent": ["00-" + "a" * 32 + "-" + "b" * 16 + "-01"], "x-agent-id": ["agt-7"]}}},
        "result": result,
    }
    made.update(copy.deepcopy(over))
    return {name: value for name, value in made.items() if value is not ...}


class Opa:
    """A sender that behaves like OPA: gzip, and the same bytes again until it gets 2xx."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def raw(self, body: bytes, path: str = "/opa/logs", compress: bool = True, **headers: str) -> httpx.Response:
        kinds = {"Content-Type": "application/json", "User-Agent": "Open Policy Agent/1.4.2 (linux, amd64)"} | headers
        if compress:
            body, kinds["Content-Encoding"] = gzip.compress(body), "gzip"
        return self.client.http.post(self.client.t + path, content=body, headers=kinds)

    def send(self, *elements: Any, **options: Any) -> None:
        """Elements are dicts, or bytes as they are."""
        parts = [e if isinstance(e, bytes) else json.dumps(e).encode() for e in elements]
        answer = self.raw(b"[" + b",".join(parts) + b"]", **options)
        assert 200 <= answer.status_code < 300, f"OPA would repeat this for ever: {answer.status_code} {answer.text}"


@pytest.fixture(scope="module")
def book(shared: Server) -> Book:
    return Book(shared)


@pytest.fixture
def opa(book: Book) -> Iterator[Opa]:
    """A sender; afterwards nothing is disturbed."""
    yield Opa(book.server.as_("publisher"))
    book.check()


def since(server: Server, size: int) -> list[dict[str, Any]]:
    """Entries from `size` on."""
    return [server.admin.entry(index) for index in range(size, server.admin.size())]


def disclosed(server: Server, index: int) -> dict[str, Any]:
    lines = server.as_("discloser").disclosures(index).splitlines()
    return {name: value for _, name, value in map(json.loads, lines)}


@pytest.fixture
def size(opa: Opa, book: Book) -> int:
    """Tree size before the test."""
    book.server.as_("discloser")
    return book.server.admin.size()


MAPPING = [
    (True, "allow"), ({"allow": True}, "allow"), ({"allow": True, "reasons": ["x"]}, "allow"), ([], "allow"),
    (False, "deny"), ({"allow": False}, "deny"), (["no"], "deny"), ([{"msg": "no"}], "deny"), (..., "deny"),
    (None, "unspecified"), ({}, "unspecified"), ({"allow": "yes"}, "unspecified"), ({"allow": 1}, "unspecified"),
    ("allow", "unspecified"), (1, "unspecified"), (0, "unspecified"), ({"deny": []}, "unspecified"), ({"score": 3}, "unspecified"),
]  # fmt: skip


def test_p3_mapping_of_results(opa: Opa, book: Book, size: int) -> None:
    sent = [decision(result) for result, _ in MAPPING]
    opa.send(*sent)
    entries = since(book.server, size)
    assert [entry["event"]["id"] for entry in entries] == [one["decision_id"] for one in sent]
    assert [entry["event"]["data"]["verdict"] for entry in entries] == [verdict for _, verdict in MAPPING]


def test_p3_mapping_of_a_decision(opa: Opa, book: Book, size: int) -> None:
    """id, source, time, agent, tool, policy and labels are plain; all else is payload, under OPA's own names."""
    sent = decision()
    opa.send(sent)
    (entry,) = since(book.server, size)
    assert entry["kind"] == "decision" and entry["producer"] == "gw-1"
    assert entry["event"] == {
        "specversion": "1.0", "type": "dev.countersign.decision.v1", "id": sent["decision_id"], "source": OPA,
        "time": sent["timestamp"],
        "data": {
            "agent": {"id": "agt-7"}, "tool": {"name": "opa", "action": "agents/tools/allow"}, "verdict": "allow",
            "policy": {"id": "payments", "version": "rev-42"}, "labels": {"app": "payments", "version": "1.4.2"},
        },
    }  # fmt: skip
    shown = disclosed(book.server, size)
    plain = {"decision_id", "timestamp", "labels"}
    assert {name: value for name, value in shown.items() if name != "labels"} == {n: v for n, v in sent.items() if n not in plain}
    text = json.dumps(entry)
    assert "DE02" not in text and "51234" not in text


def test_p3_vectors(opa: Opa, book: Book, size: int, repository: Path) -> None:
    """Every case of proto/vectors/opa.json gives the event that stands there."""
    cases = json.loads((repository / "proto" / "vectors" / "opa.json").read_text())["cases"]
    wrong = []
    for case in cases:
        before = book.server.admin.size()
        # Most cases share one id; each gets its own.
        element = copy.deepcopy(case["element"]) | {"decision_id": str(uuid.uuid4())}
        answer = opa.raw(json.dumps([element]).encode())
        assert 200 <= answer.status_code < 300
        entries = since(book.server, before)
        expected = case.get("event") and case["event"] | {"id": element["decision_id"]}
        if not entries:
            wrong.append((case["name"], "no entry"))
            continue
        entry = entries[-1]
        if expected is None:
            if entry["kind"] != "rejected":
                wrong.append((case["name"], entry["kind"]))
            continue
        if entry["kind"] != "decision":
            wrong.append((case["name"], entry["kind"], entry["event"]))
            continue
        payload = expected["data"].pop("payload", {})
        if entry["event"] != expected:
            wrong.append((case["name"], entry["event"], expected))
        elif disclosed(book.server, before + len(entries) - 1) != payload:
            wrong.append((case["name"], "payload", sorted(disclosed(book.server, before)), sorted(payload)))
    assert not wrong, "\n".join(map(str, wrong))


def test_p3_odd_but_good(opa: Opa, book: Book, size: int) -> None:
    """Absent and strange members never make a decision poison."""
    odd = [
        decision(path="/agents/allow"), decision(path=..., query="data.x"), decision(bundles=...), decision(bundles={}),
        decision(bundles={"b": {}}), decision(bundles={"z": {"revision": "1"}, "a": {"revision": "2"}}), decision(bundles="x"),
        decision(request_context=...), decision(request_context={"http": {"headers": {"x-agent-id": []}}}),
        decision(request_context={"http": {"headers": {"x-agent-id": "x"}}}), decision(request_context=5),
        decision(labels={"id": OPA}), decision(labels={"id": OPA, "n": 5, "": "x", "long": "x" * 300} | {f"l{n:02}": "v" for n in range(20)}),
        decision(input=...), decision(input="\x00\x1b"), decision(error={"code": "eval_conflict_error"}, result=...), decision(path=""),
        decision(path="x" * 300), decision(unknown_member={"a": 1}), decision(nd_builtin_cache={"rand.intn": {}}), decision(payload={"params": 1}),
        decision(agent={"id": "forged"}, verdict="allow", tenant="other", result=False),
    ]  # fmt: skip
    opa.send(*odd)
    entries = since(book.server, size)
    assert [e["kind"] for e in entries] == ["decision"] * len(odd), [(n, e["event"]) for n, e in enumerate(entries) if e["kind"] != "decision"]
    data = [entry["event"]["data"] for entry in entries]
    assert data[0]["tool"]["action"] == "agents/allow" and data[1]["tool"]["action"] == "query"
    assert data[5]["policy"] == {"id": "a", "version": "2"}
    assert [d["agent"]["id"] for d in data[7:11]] == ["unknown"] * 4
    assert len(data[12]["labels"]) == 16 and "long" not in data[12]["labels"]
    assert data[-1]["verdict"] == "deny" and data[-1]["agent"]["id"] == "agt-7"


POISON: list[tuple[str, str, bytes]] = [
    ("not an object", "not_an_object", b"5"), ("null", "not_an_object", b"null"), ("text", "not_an_object", b'"x"'), ("empty object", "opa", b"{}"),
    ("no decision_id", "opa", json.dumps(decision(decision_id=...)).encode()),
    ("decision_id is a number", "opa", json.dumps(decision(decision_id=5)).encode()),
    ("no labels", "opa", json.dumps(decision(labels=...)).encode()),
    ("depth 32, too deep for an event", "json_depth", json.dumps(decision(input="NEST")).encode().replace(b'"NEST"', b"[" * 31 + b"]" * 31)),
    ("no id in labels", "opa", json.dumps(decision(labels={"app": "x"})).encode()), ("long decision_id", "opa", json.dumps(decision(decision_id="d" * 257)).encode()),
    ("a time without a zone", "opa", json.dumps(decision(timestamp="2026-11-20T05:48:01")).encode()), ("a space for T", "opa", json.dumps(decision(timestamp="2026-11-20 05:48:01Z")).encode()),
    ("no time", "opa", json.dumps(decision(timestamp=...)).encode()), ("bad time", "opa", json.dumps(decision(timestamp="now")).encode()),
    ("2^53+1", "json_number", json.dumps(decision(input={"n": 2**53 + 1})).encode()),
    ("duplicate key", "json_duplicate_key", json.dumps(decision()).replace('"req_id"', '"path": "x", "req_id"').encode()),
    ("depth 33", "json_depth", json.dumps(decision(input=[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]])).encode()),
    ("invalid UTF-8", "json_utf8", json.dumps(decision(path="XX")).encode().replace(b"XX", b"\xff\xfe")),
    ("65 members", "payload_fields", json.dumps(decision(**{f"m{n}": n for n in range(70)})).encode()),
    ("control character in an id", "control_character", json.dumps(decision(decision_id="a\x00b")).encode()),
    ("member with a slash", "payload_name", json.dumps(decision(**{"/x": 1})).encode()), ("no element", "json_syntax", b""),
]  # fmt: skip


def test_p3_poison_never_4xx(opa: Opa, book: Book, size: int) -> None:
    """Each poison element becomes a rejected entry with what is wrong with it, as OPA's element, and its bytes in the payload; the good
    ones around it are posted."""
    sent = [part for *_, poison in POISON for part in (decision(), poison)]
    opa.send(*sent)
    entries = since(book.server, size)
    kinds = [entry["kind"] for entry in entries]
    assert kinds == ["decision", "rejected"] * len(POISON), [POISON[n // 2][0] for n, k in enumerate(kinds) if k != ("decision", "rejected")[n % 2]]
    assert [entry["event"]["reason"] for entry in entries[1::2]] == [reason for _, reason, _ in POISON]
    for number, (name, _, poison) in enumerate(POISON):
        raw = disclosed(book.server, size + 2 * number + 1)["raw"]
        assert base64.urlsafe_b64decode(raw + "=" * (-len(raw) % 4)) == poison, name


NUMBERS = {
    "lat": ("117.63331139400017",) * 2, "w": ("51.248178375505404",) * 2, "r": ("0.09144338512092887",) * 2, "n": ("9007199254740991.0", "9007199254740991"),
    "e": ("1E+2", "100"), "s": ("5e-324",) * 2, "z": ("-0.0", "0"), "t": ("0.10", "0.1"),
}  # fmt: skip


def test_p5_numbers_are_committed_as_they_were_sent(opa: Opa, book: Book, size: int) -> None:
    """Whatever reads JSON in a build: what is disclosed is the RFC 8785 form of the number that OPA sent."""
    element = json.dumps(decision(input="NUMBERS")).replace('"NUMBERS"', "{%s}" % ",".join(f'"{name}":{sent}' for name, (sent, _) in NUMBERS.items()))
    opa.send(element.encode())
    shown = book.server.as_("discloser").disclosures(size).replace("}", ",")
    assert [name for name, (_, right) in NUMBERS.items() if f'"{name}":{right},' not in shown] == []


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"not json", b"[", b"]", b'[{"a":1}', b"[{},", b'["', b"\xff", b"\x00" * 1000, b"[" * 5000]
)  # fmt: skip
@pytest.mark.parametrize("compress", [True, False])
def test_p3_bodies_that_are_no_array(opa: Opa, book: Book, size: int, body: bytes, compress: bool) -> None:
    """2xx, and one rejected entry that holds the bytes."""
    answer = opa.raw(body, compress=compress)
    assert 200 <= answer.status_code < 300, answer.text
    (entry,) = since(book.server, size)
    assert entry["kind"] == "rejected" and entry["event"]["reason"] in ("opa", "json_syntax", "json_utf8", "json_depth")
    raw = disclosed(book.server, size)["raw"]
    assert base64.urlsafe_b64decode(raw + "=" * (-len(raw) % 4)) == body


def test_p13_what_is_too_big_is_rejected_as_that(opa: Opa, book: Book, size: int) -> None:
    """An element, and a body that is no array, beyond what an entry can hold of them."""
    opa.send(decision(input="x" * 300_000), decision())
    opa.raw(b'{"a":"' + b"x" * 300_000 + b'"}')
    entries = since(book.server, size)
    assert [(e["kind"], e["event"].get("reason")) for e in entries] == [("rejected", "too_big"), ("decision", None), ("rejected", "too_big")]


def test_p2_retries_are_duplicates(opa: Opa, book: Book, size: int) -> None:
    """OPA sends a chunk again when an answer was lost: the same array, parts of it, and beside new elements."""
    sent = [decision() for _ in range(10)]
    opa.send(*sent)
    after = book.server.admin.size()
    assert after == size + 10
    opa.send(*sent)
    opa.send(*sent[3:5])
    opa.send(*sent, compress=False)
    assert book.server.admin.size() == after
    opa.send(*sent[:2], decision(), *sent[5:])
    assert book.server.admin.size() == after + 1
    opa.send(sent[0], sent[0], sent[0])
    assert book.server.admin.size() == after + 1


def test_p2_another_body_under_a_decision_id(opa: Opa, book: Book, size: int) -> None:
    sent = decision()
    opa.send(sent)
    opa.send(sent | {"result": False})
    entries = since(book.server, size)
    assert [entry["kind"] for entry in entries] == ["decision", "duplicate_conflict"]
    assert entries[1]["event"] == {"first": size, "id": sent["decision_id"], "source": OPA}


def test_p1_retry_over_kill9(make_server: Any) -> None:
    """What was answered 2xx is there after kill -9; the repeated chunk adds nothing."""
    server = make_server()
    sent = [decision() for _ in range(50)]
    Opa(server.as_("publisher")).send(*sent)
    server.restart(kill=True)
    Opa(server.as_("publisher")).send(*sent)
    entries = server.admin.entries(kind="decision")
    assert [entry["event"]["id"] for entry in entries] == [one["decision_id"] for one in sent]
    server.stop()
    server.fsck().ok()


def test_p13_large_chunks(opa: Opa, book: Book, size: int) -> None:
    """More than one journal batch; an element larger than an event; a chunk over the limit is 413, nothing posted."""
    sent = [decision() for _ in range(2500)]
    opa.send(*sent)
    assert book.server.admin.size() == size + 2500
    opa.send(decision(), decision(input={"big": "x" * 300_000}), decision())
    kinds = [entry["kind"] for entry in since(book.server, size + 2500)]
    assert kinds == ["decision", "rejected", "decision"]
    before = book.server.admin.size()
    assert opa.raw(b"[" + b" " * (9 << 20) + b"]").status_code == 413
    assert book.server.admin.size() == before
    opa.send()
    assert book.server.admin.size() == before, "an empty array is nothing"


def test_p12_paths_and_keys(opa: Opa, book: Book, size: int) -> None:
    """A partition name in the path is taken; any content type is; a key without the role is 403, none 401."""
    body = json.dumps([decision()]).encode()
    assert opa.raw(body, path="/opa/logs/tenant-eu").is_success
    assert opa.raw(json.dumps([decision()]).encode(), **{"Content-Type": "application/x-gzip"}).is_success
    assert book.server.admin.size() == size + 2
    assert Opa(book.server.admin).raw(body).status_code == 403
    assert Opa(book.server.client(None)).raw(body).status_code == 401
    assert book.server.admin.size() == size + 2
