"""What a CloudEvent may look like (P2 P3): null attributes, modes, bodies, codings, media types, times, and what is said of a wrong one."""

from __future__ import annotations

import calendar
import gzip
import json
import random
import re
from typing import Any

import pytest
from support import Book, Server, event, heartbeat, new_id
from support.client import BATCH, NDJSON, ONE, Client


@pytest.fixture(scope="module")
def book(shared: Server) -> Book:
    return Book(shared)


@pytest.fixture
def publisher(book: Book) -> Client:
    return book.server.as_("publisher")


def size(book: Book) -> int:
    return book.server.admin.size()


# Null attributes


def test_p2_null_attributes_are_unset(book: Book) -> None:
    """The event with them and the event without are one; nothing of them is in the entry or its payload."""
    names = ["traceparent", "sequence", "datacontenttype", "subject", "dataschema", "data_base64", "tenantid"]
    for name in names:
        sent = event(**{name: None})
        posted = book.one(sent)
        assert posted["status"] == "posted", (name, posted)
        index = posted["index"]
        assert name not in book.server.admin.entry(index)["event"]
        shown = [json.loads(line)[1] for line in book.server.as_("discloser").disclosures(index).splitlines()]
        assert f"/{name}" not in shown
        del sent[name]
        assert book.one(sent) == posted | {"status": "duplicate"}
        assert book.one(sent | dict.fromkeys(names)) == posted | {"status": "duplicate"}
    changed = book.one(sent | {"subject": "x"})
    assert changed["status"] == "conflict"


def test_p3_a_required_attribute_that_is_null_is_missing(book: Book) -> None:
    for name in ("specversion", "id", "source", "type", "time"):
        result = book.one(event(**{name: None}))
        assert (result["status"], result["reason"]) == ("rejected", "attribute") and f"`{name}` is missing" in result["detail"]
    assert book.one(heartbeat(1, sequence=None))["reason"] == "attribute"
    assert book.one(event() | {"data": None})["reason"] == "data"


# Modes and bodies

CE = {"ce-specversion": "1.0", "ce-id": "b1", "ce-source": "/x", "ce-type": "com.example.a", "ce-time": "2026-11-20T05:48:00Z"}


@pytest.mark.parametrize("kind", ["application/json", NDJSON, "application/json; charset=utf-8", "text/plain", None])
@pytest.mark.parametrize("headers", [CE, {"CE-ID": "b1"}, {"ce-type": "x", "ce-source": "/x"}], ids=["all", "id", "two"])
def test_p3_binary_mode_is_refused(publisher: Client, book: Book, kind: str | None, headers: dict[str, str]) -> None:
    """Nothing is written, and the answer says what to send."""
    before = size(book)
    kinds = {"Content-Type": kind} if kind else {}
    for body in (b'{"a":1}', json.dumps(event(id="inner")).encode()):
        answer = publisher.http.post(publisher.t + "/events", content=body, headers=kinds | headers)
        assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type"), answer.text
        assert "application/cloudevents+json" in answer.json()["detail"]
    assert size(book) == before


def test_p3_structured_mode_may_repeat_attributes_as_headers(book: Book, publisher: Client) -> None:
    """CloudEvents allows that; the body counts."""
    sent = event()
    for kind, body in ((ONE, json.dumps(sent)), ("Application/CloudEvents+JSON; charset=utf-8", json.dumps(event())), (BATCH, json.dumps([event()]))):
        answer = publisher.post_events(body.encode(), kind, **CE)
        assert answer.json()["results"][0]["status"] == "posted", answer.text


def several(count: int) -> dict[str, bytes]:
    lines = [json.dumps(event()).encode() for _ in range(count)]
    pretty = [json.dumps(event(), indent=2).encode() for _ in range(count)]
    return {
        "lines": b"\n".join(lines) + b"\n", "no separator": b"".join(lines), "commas": b",\n".join(lines), "CR": b"\r".join(lines),
        "spaces": b"  ".join(lines), "pretty": b"\n".join(pretty), "sequence (RFC 7464)": b"".join(b"\x1e" + line + b"\n" for line in lines),
        "array and object": b"[" + lines[0] + b"]" + b"\n".join(lines), "mark": b"\xef\xbb\xbf" + b"\n".join(lines),
        "brackets in a text": json.dumps(event(payload={"a": '}{"\\'})).encode() + lines[0],
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["application/json", ONE])
@pytest.mark.parametrize("form", list(several(2)))
def test_p3_several_events_are_not_one(book: Book, publisher: Client, kind: str, form: str) -> None:
    """Under the type of one event: refused whole, or each is posted; never one entry for all."""
    before = size(book)
    for count in (2, 3):
        answer = publisher.post_events(several(count)[form], kind)
        assert (answer.status_code, answer.json()["code"]) == (400, "body_syntax"), answer.text
        assert "array" in answer.json()["detail"]
    assert size(book) == before


def test_p3_an_array_is_not_one_event(book: Book, publisher: Client) -> None:
    before = size(book)
    body = json.dumps([event(), event()]).encode()
    for kind in (ONE, NDJSON):
        assert publisher.post_events(body, kind).status_code == 400
    assert size(book) == before
    assert [r["status"] for r in publisher.post_events(body, "application/json").json()["results"]] == ["posted"] * 2


def test_p3_something_odd_after_one_event_is_its_own_fault(book: Book, publisher: Client) -> None:
    """One bad event is one rejected entry still, with its id."""
    for rest in (b" x", b"5", b'"', b"}", b"]", b"\0"):
        sent = event()
        (result,) = publisher.post_events(json.dumps(sent).encode() + rest, "application/json").json()["results"]
        assert (result["status"], result["reason"]) == ("rejected", "json_syntax"), result


# Codings


def compressed(body: bytes, codings: str) -> bytes:
    return gzip.compress(body) if "gzip" in codings.lower() else body


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "x-gzip", "gzip, identity", "identity,gzip", "identity", "Identity", "", ", ,", "identity\t,\tX-GZIP ,"])
@pytest.mark.parametrize("route", ["/events", "/opa/logs"])
def test_p3_codings_are_read(book: Book, publisher: Client, coding: str, route: str) -> None:
    before = size(book)
    sent = json.dumps(event()) if route == "/events" else json.dumps(
        [{"decision_id": new_id(), "labels": {"id": "o"}, "path": "a", "result": True, "timestamp": "2026-11-20T05:48:01Z"}]
    )
    headers = {"Content-Type": "application/json", "Content-Encoding": coding}
    answer = publisher.http.post(publisher.t + route, content=compressed(sent.encode(), coding), headers=headers)
    assert answer.status_code in (200, 204), answer.text
    assert size(book) == before + 1 and book.server.admin.entry(before)["kind"] == "decision"


@pytest.mark.parametrize("coding", ["br", "deflate", "zstd", "gzip, br", "gzip, gzip", "gzip;q=1.0", "*", "none", "gzip gzip"])
@pytest.mark.parametrize("route", ["/events", "/opa/logs", "/approvals", "/keys"])
def test_p3_other_codings_are_refused_with_those_that_are_read(book: Book, publisher: Client, coding: str, route: str) -> None:
    before = size(book)
    client = book.server.admin if route == "/keys" else publisher
    headers = {"Content-Type": "application/json", "Content-Encoding": coding}
    answer = client.http.post(client.t + route, content=json.dumps(event()).encode(), headers=headers)
    if route == "/approvals" and answer.status_code == 404:
        return  # this server has no approvals
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type"), answer.text
    assert answer.headers["Accept-Encoding"] == "gzip, identity"
    assert size(book) == before


def test_p3_two_fields_are_one_list(book: Book, publisher: Client) -> None:
    body = gzip.compress(json.dumps(event()).encode())
    for values, status in ((["gzip", "identity"], 200), (["identity", "gzip"], 200), (["gzip", "gzip"], 415), (["identity", "br"], 415)):
        headers = [("Content-Type", ONE), *(("Content-Encoding", value) for value in values)]
        answer = publisher.http.post(publisher.t + "/events", content=body, headers=headers)
        assert answer.status_code == status, (values, answer.text)


# Media types

GOOD_TYPES = [
    "application/json", "Application/JSON", "APPLICATION/CLOUDEVENTS+JSON", 'application/json;charset="utf-8"', "application/json; charset=UTF-8",
    'application/json ; Charset="ut\\f-8"', "application/json;", "application/json;;", "application/json; ; x=y", "application/json; charset=us-ascii",
    'application/json; profile="a;charset=latin1"', 'application/json; a="\\""', "application/cloudevents+json\t;\tcharset=utf-8", "application/x-ndjson; charset=utf-8",
]  # fmt: skip
BAD_TYPES = [
    "", "json", "application", "application/", "/json", "application/json charset=utf-8", "application/json; charset", "application/json; charset=",
    "application/json; charset =utf-8", "application/json; charset=utf-16", 'application/json; charset="utf-16"', "application/json; charset=utf-8; charset=latin1",
    'application/json; charset="utf-8', "application/json, application/json", "application /json", "text/json", "application/x-www-form-urlencoded",
    "application/cloudevents", "application/cloudevents+avro", "application/cloudevents+xml", "application/json-seq", "multipart/form-data; boundary=x",
]  # fmt: skip


@pytest.mark.parametrize("kind", GOOD_TYPES)
def test_p3_media_types_that_are_read(publisher: Client, kind: str) -> None:
    answer = publisher.post_events(json.dumps(event()).encode(), kind)
    assert answer.status_code == 200 and answer.json()["results"][0]["status"] == "posted", answer.text


@pytest.mark.parametrize("kind", BAD_TYPES)
def test_p3_media_types_that_are_not(book: Book, publisher: Client, kind: str) -> None:
    before = size(book)
    answer = publisher.post_events(json.dumps(event()).encode(), kind)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type"), answer.text
    assert size(book) == before


def test_p3_two_content_types_are_none(publisher: Client) -> None:
    headers = [("Content-Type", ONE), ("Content-Type", ONE)]
    assert publisher.http.post(publisher.t + "/events", content=json.dumps(event()).encode(), headers=headers).status_code == 415


@pytest.mark.parametrize(
    ("kind", "own", "other"),
    [
        ("application/json", True, True), ("Application/JSON", True, True), ("application/json; charset=utf-8", True, True),
        ("application/vnd.acme+json", True, True), ("text/plain", False, True), ('text/csv; header="present"', False, True),
        ("application/json; charset=latin1", False, True), ("json", False, False), ("a/b/c", False, False), ("", False, False), (5, False, False),
    ],
)  # fmt: skip
def test_p3_datacontenttype(book: Book, kind: Any, own: bool, other: bool) -> None:
    """JSON for our types, any media type for others."""
    assert (book.one(event(datacontenttype=kind))["status"] == "posted") == own
    assert (book.one(event(type="com.example.x", datacontenttype=kind, data="text"))["status"] == "posted") == other


# Times

RFC3339 = re.compile(
    r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})[Tt](?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})(\.[0-9]+)?"
    r"([Zz]|(?P<sign>[+-])(?P<h>[0-9]{2}):(?P<m>[0-9]{2}))"
)


def is_rfc3339(text: str) -> bool:
    """RFC 3339 §5.6 and §5.7, written from the text: a judge of its own."""
    found = RFC3339.fullmatch(text)
    if not found:
        return False
    part = {name: int(value or 0) for name, value in found.groupdict().items() if name != "sign"}
    if not 1 <= part["month"] <= 12 or part["hour"] > 23 or part["minute"] > 59 or part["second"] > 60 or part["h"] > 23 or part["m"] > 59:
        return False
    leap_year = part["year"] % 4 == 0 and (part["year"] % 100 != 0 or part["year"] % 400 == 0)
    days = 29 if part["month"] == 2 and leap_year else 28 if part["month"] == 2 else calendar.mdays[part["month"]]
    if not 1 <= part["day"] <= days:
        return False
    if part["second"] < 60:
        return True
    # A leap second is 23:59:60 UTC at the end of a month.
    offset = (part["h"] * 60 + part["m"]) * (-1 if found["sign"] == "-" else 1)
    minute = part["hour"] * 60 + part["minute"] - offset
    day = part["day"] + minute // 1440
    return minute % 1440 == 1439 and day in (0, days)


def odd_times(rng: random.Random, count: int) -> list[str]:
    good = ["2026-11-20T05:48:00Z", "2024-02-29T23:59:59.5+14:00", "1990-12-31T23:59:60Z", "1990-12-31T15:59:60-08:00", "2026-01-01T00:00:00.123456789-00:00"]
    by_hand = [
        *good, "2026-11-20 05:48:00Z", "2026-11-20_05:48:00Z", "2026-11-20T05:48:00", "2026-11-20", "2026-11-20T24:00:00Z", "2026-11-20T05:48:60Z",
        "2026-11-20T23:59:60Z", "2026-11-20T05:48:00z", "2026-11-20t05:48:00Z", "2026-11-20T05:48:00+0100", "2026-11-20T05:48:00+01", "2026-11-20T05:48:00\u221201:00",
        "2026-11-20T05:48Z", "2026-11-20T05:48:00,5Z", "2026-11-20T05:48:00.Z", "2023-02-29T00:00:00Z", "1900-02-29T00:00:00Z", "2000-02-29T00:00:00Z",
        "2026-W47-5T05:48:00Z", "2026-324T05:48:00Z", "20261120T054800Z", "1732081680", "Fri, 20 Nov 2026 05:48:00 GMT", "2026-11-20T05:48:00 +01:00", "now", " ",
        "2026-11-20T05:48:00Z ", " 2026-11-20T05:48:00Z", "+2026-11-20T05:48:00Z", "-2026-11-20T05:48:00Z", "0000-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59",
        "0000-01-01T00:00:00+23:59", "1990-12-31T23:59:60+00:01", "2017-01-01T08:59:60+09:00", "2016-06-30T23:59:60.999Z", "2026-11-20T05:48:00Z[Europe/Berlin]",
        "\u0662026-11-20T05:48:00Z", "2026-11-20T05:48:00.\u0661Z", "2026-11-20T05:48:00ZZ", "2026-11-20T05:48:00+00:00Z", "2026-11-20T05:48:00." + "1" * 43 + "Z",
    ]  # fmt: skip
    made = []
    for _ in range(count):
        text = list(rng.choice(good))
        for _ in range(rng.choice([1, 1, 2])):
            at = rng.randrange(len(text))
            match rng.randrange(4):
                case 0:
                    text[at] = rng.choice("0123456789")
                case 1:
                    text[at] = rng.choice("0123456789TtZz+-: .,_/\u2212")
                case 2:
                    del text[at]
                case _:
                    text.insert(at, rng.choice("0123456789TZ+-:. "))
        made.append("".join(text))
    return by_hand + made


def test_p3_times_are_rfc_3339_and_nothing_else(publisher: Client, rng: random.Random, long: bool) -> None:
    """Two readings of the RFC agree on hundreds of odd times, for events and for the feed's `since`."""
    times = odd_times(rng, 5000 if long else 900)
    lines = b"\n".join(json.dumps(event(time=time)).encode() for time in times[:1000])
    results = publisher.post_events(lines, NDJSON).json()["results"]
    found = {time: result["status"] == "posted" for time, result in zip(times, results)}
    wrong = {time: posted for time, posted in found.items() if posted != (is_rfc3339(time) and len(time) <= 64)}
    assert not wrong
    assert 20 < sum(found.values()) < len(found) - 20, "the odd times try both"
    assert {r["reason"] for r in results if r["status"] == "rejected"} == {"attribute"}


def test_p3_times_of_the_feed(book: Book) -> None:
    for text in ("2026-11-20 05:48:00Z", "2026-11-20T05:48:00", "2026-11-20T24:00:00Z", "2026-11-20"):
        assert book.server.admin.get("/entries", since=text).status_code == 400, text
    assert book.server.admin.get("/entries", since="2020-11-20t05:48:00z").status_code == 200


# What is said of a wrong one

SAID: list[tuple[dict[str, Any], str, str]] = [
    ({"data": {"verdict": "allowed"}}, "/data/verdict", '"allow"'), ({"data": {"verdict": ...}}, "/data/verdict", "missing"),
    ({"data": {"mode": "dry"}}, "/data/mode", '"shadow"'), ({"data": {"agent": {}}}, "/data/agent/id", "missing"), ({"data": {"agent": "a"}}, "/data/agent", "object"),
    ({"data": {"tool": {"name": "x"}}}, "/data/tool/action", "missing"), ({"data": {"cost": {"amount": 0.1}}}, "/data/cost/amount", "text"),
    ({"data": {"latency_us": -1}}, "/data/latency_us", "integer"), ({"data": {"latency_us": 1.5}}, "/data/latency_us", "integer"), ({"data": {"labels": {"a": 1}}}, "/data/labels", "16"),
    ({"sequence": 1}, "sequence", "digits"), ({"time": "2026-11-20T05:48:00"}, "time", "RFC 3339"), ({"specversion": "0.3"}, "specversion", "1.0"), ({"source": ""}, "source", "512"),
    ({"traceparent": "00-x"}, "traceparent", "Trace Context"), ({"datacontenttype": "text/plain"}, "datacontenttype", "JSON"), ({"type": "dev.countersign.decision.v9"}, "decision.v1", "known"),
    ({"data": {"tool": {"name": "a\x07", "action": "b"}}}, "/data/tool/name", "control character"), ({"data": ...}, "/data", "missing"), ({"data": []}, "/data", "object"),
]  # fmt: skip


@pytest.mark.parametrize(("over", "member", "rule"), SAID, ids=[f"{member} {rule}" for _, member, rule in SAID])
def test_p3_a_rejection_names_the_member_and_its_rule(book: Book, over: dict[str, Any], member: str, rule: str) -> None:
    """And keeps the id, so that a sender of a thousand knows which."""
    sent = event(**over)
    result = book.one(sent)
    assert result["status"] == "rejected" and result["id"] == sent["id"]
    assert f"{member}" in result["detail"] and rule in result["detail"], result["detail"]


def test_p3_the_id_is_kept_where_it_was_legible(book: Book) -> None:
    sent = event(payload={"n": "X"})
    text = json.dumps(sent)
    broken = {
        "json_number": text.replace('"X"', "9007199254740993"), "json_surrogate": text.replace('"X"', '"\\ud800"'), "json_duplicate_key": text.replace('"mode"', '"verdict": "allow", "mode"'),
        "json_depth": text.replace('"X"', "[" * 40 + "]" * 40), "json_syntax": "\ufeff" + text,
    }  # fmt: skip
    for reason, body in broken.items():
        result = book.one(body.encode())
        assert (result["reason"], result["id"]) == (reason, sent["id"])
    assert "byte order mark" in book.one(b"\xef\xbb\xbf" + text.encode())["detail"]
    for body in (b"{", b"5", b'["x"]'[1:-1], b'{"id":5}', b'{"id":"a","id":"b"}', b'{"data":{"id":"x"}}'):
        assert book.one(body)["id"] is None, body
    book.check()
