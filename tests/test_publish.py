"""Publishing: what is posted, what is refused, and that nothing is lost, twice or silently dropped (P1 P2 P3 P13)."""

from __future__ import annotations

import base64
import json
import random
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from typing import Any

import jsonschema
import pytest
from support import Book, Key, event, heartbeat, new_id
from support.client import BATCH, NDJSON, ONE

EVENT_BYTES_MAX = 262_144
EVENTS_MAX = 1000

INDEX = {"type": "integer", "minimum": 0}
RESULTS = {
    "type": "object",
    "additionalProperties": False,
    "required": ["results", "checkpoint"],
    "properties": {
        "checkpoint": {"type": "string", "pattern": r"^log\.example\.com/v1/tenants/acme/logs/1\n[1-9][0-9]*\n\S{44}\n\n— "},
        "results": {
            "type": "array",
            "minItems": 1,
            "items": {
                "oneOf": [
                    {
                        "type": "object",
                        "additionalProperties": False,
                        "required": ["id", "status", "index", *more],
                        "properties": {
                            "id": {"type": identified},
                            "status": {"const": status},
                            "index": INDEX,
                            "receipt": {"type": "string", "pattern": r"^c2sp\.org/tlog-proof@v1\n"},
                        }
                        | more,
                    }
                    for status, identified, more in [
                        ("posted", "string", {}),
                        ("duplicate", "string", {}),
                        ("conflict", "string", {"first": INDEX}),
                        (
                            "rejected",
                            ["string", "null"],
                            {"reason": {"type": "string", "pattern": "^[a-z_]+$"}, "detail": {"type": "string"}},
                        ),
                    ]
                ]
            },
        },
    },
}


# Forms


def checked(answer: Any) -> list[dict[str, Any]]:
    """The results of an answer that keeps the schema."""
    assert answer.status_code == 200, answer.text
    jsonschema.validate(answer.json(), RESULTS)
    return answer.json()["results"]


def test_p1_one_event(book: Book) -> None:
    sent = event()
    client = book.server.as_("publisher")
    results = checked(client.post_events(json.dumps(sent).encode(), ONE, receipts=True))
    book.note([sent], results)
    assert results[0]["status"] == "posted" and results[0]["id"] == sent["id"]
    entry = book.server.admin.entry(results[0]["index"])
    assert entry["kind"] == "decision" and entry["producer"] == "gw-1"
    assert entry["event"]["data"]["verdict"] == "deny" and "payload" not in entry["event"]["data"]


@pytest.mark.parametrize("kind", [BATCH, "application/json", NDJSON, "application/jsonl", "application/json; charset=utf-8"])
def test_p1_many_events(book: Book, kind: str) -> None:
    sent = [event(), event(type="com.example.build", data={"a": 1}), heartbeat(3, source=f"/hb/{new_id()}")]
    lines = [json.dumps(one).encode() for one in sent]
    body = b"\n".join(lines) + b"\n\n" if "l" in kind.split("json")[-1] or kind == NDJSON else b"[" + b" ,\n".join(lines) + b"]"
    results = checked(book.server.as_("publisher").post_events(body, kind))
    book.note(sent, results)
    assert [r["status"] for r in results] == ["posted"] * 3
    assert [book.server.admin.entry(r["index"])["kind"] for r in results] == ["decision", "event", "event"]


def test_p1_gzip(book: Book) -> None:
    results = book.publish(event(), event(), compress=True)
    assert [r["status"] for r in results] == ["posted"] * 2


def test_p1_a_thousand_events_and_many_senders(book: Book, rng: random.Random) -> None:
    batches = [[event(source=f"/many/{at % 3}") for _ in range(rng.choice([1, 7, 100, EVENTS_MAX]))] for at in range(12)]
    with ThreadPoolExecutor(6) as pool:
        for results in pool.map(lambda batch: book.publish(*batch), batches):
            assert {r["status"] for r in results} == {"posted"}
            indexes = [r["index"] for r in results]
            assert indexes == sorted(indexes), "a batch keeps its order"


# P2: once


def test_p2_duplicate_returns_the_first_index(book: Book) -> None:
    sent = event()
    first = book.one(sent)
    size = book.server.admin.size()
    for _ in range(3):
        assert book.one(sent) == {"id": sent["id"], "status": "duplicate", "index": first["index"]}
    assert book.server.admin.size() == size, "a duplicate adds no entry"


def test_p2_same_event_in_other_spelling(book: Book) -> None:
    """Other order of members, white space, escapes and numbers: the same RFC 8785 form, so the same event."""
    sent = event(payload={"params": {"amount": 100, "name": "é\u2028/"}, "list": [1, 2.5]})
    index = book.one(sent)["index"]

    def reordered(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: reordered(value[name]) for name in reversed(value)}
        return [reordered(one) for one in value] if isinstance(value, list) else value

    plain = json.dumps(sent)
    spellings = [
        json.dumps(reordered(sent)),
        json.dumps(sent, indent=3, ensure_ascii=False),
        json.dumps(sent, separators=(",", ":"), ensure_ascii=False),
        plain.replace('"amount": 100', '"amount": 1.00e2').replace("[1, 2.5]", "[1.0, 25E-1]"),
        plain.replace('"deny"', '"\\u0064eny"').replace("/gateways", "\\/gateways"),
    ]
    for text in spellings:
        assert book.one(text.encode()) == {"id": sent["id"], "status": "duplicate", "index": index}, text


def test_p2_duplicates_within_one_batch(book: Book) -> None:
    sent, other = event(), event()
    results = book.publish(sent, other, sent, sent, other)
    assert [r["status"] for r in results] == ["posted", "posted", "duplicate", "duplicate", "duplicate"]
    assert results[2]["index"] == results[0]["index"] and results[4]["index"] == results[1]["index"]


def test_p2_conflict(book: Book) -> None:
    sent = event()
    first = book.one(sent)["index"]
    changed = sent | {"data": sent["data"] | {"verdict": "allow"}}
    for _ in range(2):
        result = book.one(changed)
        assert result["status"] == "conflict" and result["first"] == first
        entry = book.server.admin.entry(result["index"])
        assert entry["kind"] == "duplicate_conflict"
        assert entry["event"] == {"source": sent["source"], "id": sent["id"], "first": first}
    # A change in the payload alone counts too: `commit` holds it.
    hidden = sent | {"data": sent["data"] | {"payload": {"params": {"amount": "951.00"}}}}
    assert book.one(hidden)["status"] == "conflict"
    assert book.one(sent) == {"id": sent["id"], "status": "duplicate", "index": first}


def test_p2_key_is_producer_source_id(book: Book) -> None:
    """Neither another producer nor another source takes an event's key, whatever the body says of its producer."""
    sent = event(producer="gw-1")
    first = book.one(sent)["index"]
    other = book.one(sent, producer="gw-2")
    assert other["status"] == "posted" and other["index"] != first
    assert book.server.admin.entry(other["index"])["producer"] == "gw-2"
    assert book.one(sent | {"source": sent["source"] + "/2"})["status"] == "posted"
    # Two parts joined differently are not the same key.
    assert book.one(event(id="b", source=f"/{first}/a"))["status"] == "posted"
    assert book.one(event(id="a/b", source=f"/{first}/"))["status"] == "posted"


def test_p2_across_restart(make_server: Any) -> None:
    """P1 P2: an answered event is there after kill -9, and stays the only one."""
    server = make_server()
    book = Book(server)
    sent = [event() for _ in range(5)]
    book.publish(*sent)
    for kill in (True, False):
        server.restart(kill=kill)
        assert {r["status"] for r in book.publish(*sent)} == {"duplicate"}
        assert book.one(sent[0] | {"time": "2026-01-01T00:00:00Z"})["status"] == "conflict"
    book.check()
    server.stop()
    server.fsck().ok()


# P3: bad input becomes a `rejected` entry


def deep(levels: int) -> dict[str, Any]:
    """An event nested `levels` deep: the event, `data` and `payload` are three of them."""
    value: Any = 1
    for _ in range(levels - 3):
        value = [value]
    return event(payload={"deep": value})


def text(**over: Any) -> str:
    return json.dumps(event(**over))


REJECTED: list[tuple[str, bytes, str]] = [
    ("duplicate key", text().replace('"mode"', '"verdict": "allow", "mode"').encode(), "json_duplicate_key"),
    ("duplicate key, escaped", text().replace('"mode"', '"verdic\\u0074": "allow", "mode"').encode(), "json_duplicate_key"),
    ("duplicate key, deep", text(payload={"a": [{"b": "X"}]}).replace('"X"', '1, "b": 1').encode(), "json_duplicate_key"),
    ("2^53+1", text(payload={"n": 2**53 + 1}).encode(), "json_number"),
    ("2^53", text(payload={"n": 2**53}).encode(), "json_number"),
    ("-2^53-1", text(payload={"n": -(2**53) - 1}).encode(), "json_number"),
    ("too many digits", text(payload={"n": "X"}).replace('"X"', "0.1000000000000000055").encode(), "json_number"),
    ("1e400", text(payload={"n": "X"}).replace('"X"', "1e400").encode(), "json_number"),
    ("depth 33", json.dumps(deep(33)).encode(), "json_depth"),
    ("depth 100000", b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "json_depth"),
    ("invalid UTF-8", text(source="/SRC").encode().replace(b"SRC", b"\xff\xfe"), "json_utf8"),
    ("overlong UTF-8", text(source="/SRC").encode().replace(b"SRC", b"\xc0\xaf"), "json_utf8"),
    ("surrogate as UTF-8", text(source="/SRC").encode().replace(b"SRC", b"\xed\xa0\x80"), "json_utf8"),
    ("lone surrogate", text(source="/SRC").replace("SRC", "\\ud800").encode(), "json_surrogate"),
    ("NUL byte", text(source="/SRC").encode().replace(b"SRC", b"\x00"), "json_syntax"),
    ("NUL, escaped, plain", text(source="/SRC").replace("SRC", "\\u0000").encode(), "control_character"),
    ("C1 control, plain", text(source="/SRC").replace("SRC", "\\u0085").encode(), "control_character"),
    ("NUL in a payload name", text(payload={"a\x00": 1}).encode(), "payload_name"),
    ("64 KiB of tiny fields", text(payload={f"{n:x}": 1 for n in range(7000)}).encode(), "payload_fields"),
    ("65 fields", text(payload={f"{n}": 1 for n in range(65)}).encode(), "payload_fields"),
    ("64 KiB of tiny attributes", json.dumps(event() | {f"a{n:x}": 1 for n in range(7000)}).encode(), "payload_fields"),
    ("unknown type", text(type="dev.countersign.decision.v2").encode(), "type_unknown"),
    ("unknown type, system", text(type="dev.countersign.genesis").encode(), "type_unknown"),
    ("not an object", b'"event"', "not_an_object"),
    ("not JSON", b"event", "json_syntax"),
    ("cut off", text().encode()[:-1], "json_syntax"),
    ("something after the event", text().encode() + b" 5", "json_syntax"),
    ("byte order mark", b"\xef\xbb\xbf" + text().encode(), "json_syntax"),
    ("NaN", text(payload={"n": float("nan")}).encode(), "json_syntax"),
    ("no id", text(id=...).encode(), "attribute"),
    ("empty id", text(id="").encode(), "attribute"),
    ("long id", text(id="i" * 257).encode(), "attribute"),
    ("id is a number", text(id=5).encode(), "attribute"),
    ("no source", text(source=...).encode(), "attribute"),
    ("long source", text(source="s" * 513).encode(), "attribute"),
    ("other specversion", text(specversion="0.3").encode(), "attribute"),
    ("no time", text(time="yesterday").encode(), "attribute"),
    ("sequence is a number", text(sequence=5).encode(), "attribute"),
    ("negative sequence", text(sequence="-5").encode(), "attribute"),
    ("sequence in other digits", text(sequence="٣").encode(), "attribute"),
    ("sequence 2^53", text(sequence=str(2**53)).encode(), "attribute"),
    ("huge sequence", text(sequence="9" * 20).encode(), "attribute"),
    ("heartbeat without sequence", json.dumps(heartbeat(1, sequence=...)).encode(), "attribute"),
    ("bad traceparent", text(traceparent="00-x").encode(), "attribute"),
    ("no data", text(data=...).encode(), "data"),
    ("unknown verdict", text(data={"verdict": "maybe"}).encode(), "data"),
    ("no verdict", text(data={"verdict": ...}).encode(), "data"),
    ("no agent id", text(data={"agent": {}}).encode(), "data"),
    ("17 labels", text(data={"labels": {str(n): "" for n in range(17)}}).encode(), "data"),
    ("long label", text(data={"labels": {"a": "x" * 257}}).encode(), "data"),
    ("plain part too big", text(data={"agent": {"id": "a", "chain": ["é" * 128] * 16}, "labels": {f"{n}{'n' * 250}": "\\" * 256 for n in range(16)}}).encode(), "plain_too_big"),
    ("payload name with a slash", text(payload={"/data/agent": 1}).encode(), "payload_name"),
    ("empty payload name", text(payload={"": 1}).encode(), "payload_name"),
]


@pytest.mark.parametrize(("body", "reason"), [case[1:] for case in REJECTED], ids=[case[0] for case in REJECTED])
def test_p3_rejected_with_a_reason(kept: Book, body: bytes, reason: str) -> None:
    """A rejected entry says the code and the size; the raw bytes are its payload; no member of the input is plain."""
    result = kept.one(body)
    assert (result["status"], result.get("reason")) == ("rejected", reason), result
    entry = kept.server.admin.entry(result["index"])
    assert entry["kind"] == "rejected" and entry["producer"] == "gw-1" and len(entry["payload"]) == 1
    assert entry["event"] == {"reason": reason, "size": len(body)}
    name, value = json.loads(kept.server.as_("discloser").disclosures(result["index"]))[1:]
    assert name == "raw"
    assert base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)) == body


def test_p3_all_bad_input_in_one_batch_disturbs_nothing(book: Book) -> None:
    """Good events between bad ones are posted, in order; each bad one gets its own entry."""
    bad = [(body, reason) for _, body, reason in REJECTED if reason not in ("json_utf8",) and b"\n" not in body]
    # An array can't hold what is not balanced: these go one per line.
    sent = [part for body, _ in bad for part in (json.dumps(event()).encode(), body)]
    answer = book.server.as_("publisher").post_events(b"\n".join(sent), NDJSON)
    results = checked(answer)
    book.note(sent, results)
    assert [r["status"] for r in results] == ["posted", "rejected"] * len(bad)
    assert [r["reason"] for r in results[1::2]] == [reason for _, reason in bad]


def test_p3_rejected_takes_no_key_and_no_number(book: Book) -> None:
    """The corrected event posts under the id and number of the rejected one."""
    source = f"/corrected/{new_id()}"
    book.one(event(source=source, sequence="1"))
    wrong = event(source=source, sequence="2", data={"verdict": "maybe"})
    assert book.one(wrong)["status"] == "rejected"
    right = wrong | {"data": wrong["data"] | {"verdict": "allow"}}
    result = book.one(right)
    assert result["status"] == "posted"
    assert "sequence" not in book.server.admin.entry(result["index"])
    assert book.one(right)["status"] == "duplicate"
    assert kinds_since(book, result["index"]) == ["decision"]


def kinds_since(book: Book, index: int) -> list[str]:
    """Kinds of the entries from `index` on."""
    return [book.server.admin.entry(at)["kind"] for at in range(index, book.server.admin.size())]


def test_p3_limits_that_are_kept(book: Book) -> None:
    """Exactly at a limit is good."""
    base = len(json.dumps(event(payload={"big": ""})).encode())
    good = [
        deep(32),
        event(payload={f"{n}": 1 for n in range(64)}),
        event(id=new_id("i").ljust(256, "i")),
        event(source="s" * 512),
        event(payload={"n": [2**53 - 1, -(2**53) + 1, 0.1, -0.0, 1e-300]}),
        event(payload={"text": "\x00\x1b[31m\u202e\U0001f600"}),
        event(sequence="0" * 19 + "7", source="/zeros"),
        event(time="2026-11-20T05:48:00+14:00"),
    ]
    assert [r["status"] for r in book.publish(*good)] == ["posted"] * len(good)
    big = event(payload={"big": "x" * (EVENT_BYTES_MAX - base)})
    body = json.dumps(big).encode()
    while len(body) < EVENT_BYTES_MAX:
        body += b" "
    assert len(body) == EVENT_BYTES_MAX
    assert book.one(body)["status"] == "posted"


def test_p12_forged_members(book: Book) -> None:
    """Members named like ours are payload of the event; the entry's own are ours."""
    forged = {
        "tenant": "other", "kind": "genesis", "producer": "gw-9", "commit": "x", "v": 9,
        "journal": {"epoch": 9, "seq": 9, "time": "1999-01-01T00:00:00.000000000Z"}, "index": 0, "salt": "derived",
    }
    sent = event(**forged, data=forged) | {"payload": ["x"]}
    result = book.one(sent)
    assert result["status"] == "posted"
    entry = book.server.admin.entry(result["index"])
    assert (entry["tenant"], entry["kind"], entry["producer"], entry["v"]) == ("acme", "decision", "gw-1", 1)
    assert entry["journal"]["epoch"] == 1 and entry["journal"]["time"] > "2026"
    assert "salt" not in entry
    assert set(entry["event"]) <= set(event()) and set(entry["event"]["data"]) <= set(event()["data"])
    shown = [json.loads(line)[1] for line in book.server.as_("discloser").disclosures(result["index"]).splitlines()]
    assert {f"/{name}" for name in forged} | {"/payload"} <= set(shown)
    assert {f"/data/{name}" for name in forged} <= set(shown)


@pytest.mark.parametrize("time_sent", ["2036-11-20T05:48:00Z", "2016-02-29T23:59:60Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z"])
def test_p3_wrong_clock_is_recorded_with_both_times(book: Book, time_sent: str) -> None:
    before = datetime.now(timezone.utc)
    result = book.one(event(time=time_sent))
    assert result["status"] == "posted"
    entry = book.server.admin.entry(result["index"])
    assert entry["event"]["time"] == time_sent
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", entry["journal"]["time"])
    stored = datetime.fromisoformat(entry["journal"]["time"][:26] + "+00:00")
    assert abs(stored - before) < timedelta(seconds=60)


# P3: sequences


def published(book: Book, source: str, *numbers: int | str) -> list[tuple[Any, ...]]:
    """Publishes numbers of a source ("h7" is a heartbeat for 7); what the log says about each."""
    said: list[tuple[Any, ...]] = []
    for number in numbers:
        before = book.server.admin.size()
        if isinstance(number, str):
            book.one(heartbeat(int(number[1:]), source=source))
        else:
            book.one(event(source=source, sequence=str(number)))
        for entry in map(book.server.admin.entry, range(before, book.server.admin.size())):
            told = entry["event"]
            match entry["kind"]:
                case "gap_opened":
                    said.append(("opened", told["from"], told["to"]))
                case "gap_closed":
                    said.append(("closed", told["number"], told["from"], told["to"], told["open"]))
                case "decision" | "event":
                    said.append((told["sequence"], entry["sequence"]) if "sequence" in entry else (told["sequence"],))
            assert told["source"] == source and entry["producer"] == "gw-1"
    return said


def test_p3_sequences(book: Book) -> None:
    """A jump opens a gap at once, a late number splits or closes it, reused and early numbers are remarked."""
    source = f"/seq/{new_id()}"
    book.one(event())
    assert published(book, source, 5, 6, 10, 8, 8, 7, 9, 3, 11, "h11", "h13", 12, 14, 13) == [
        ("5",), ("6",),
        ("opened", 7, 9), ("10",),
        ("8",), ("closed", 8, 7, 9, [[7, 7], [9, 9]]),
        ("8", "reused"),
        ("7",), ("closed", 7, 7, 7, []),
        ("9",), ("closed", 9, 9, 9, []),
        ("3", "below_base"),
        ("11",),
        ("11",),
        ("opened", 12, 13), ("13",),
        ("12",), ("closed", 12, 12, 13, [[13, 13]]),
        ("14",),
        ("13",), ("closed", 13, 13, 13, []),
    ]  # fmt: skip


def test_p3_the_largest_gap(book: Book) -> None:
    """From 1 to 2^53-1: the gap's numbers are exact, as JSON and as RFC 8785 has them."""
    source, top = f"/huge/{new_id()}", 2**53 - 1
    assert published(book, source, 1, top, top - 1) == [
        ("1",), ("opened", 2, top - 1), (str(top),), (str(top - 1),), ("closed", top - 1, 2, top - 1, [[2, top - 2]]),
    ]  # fmt: skip


def test_p3_gaps_survive_kill_and_stand_apart(make_server: Any) -> None:
    """Sources and producers have numbers of their own; what is open is remembered over kill -9."""
    server = make_server()
    book = Book(server)
    book.one(event())
    assert published(book, "/a", 1, 4) == [("1",), ("opened", 2, 3), ("4",)]
    assert published(book, "/b", 9) == [("9",)]
    server.restart(kill=True)
    assert published(book, "/a", 3) == [("3",), ("closed", 3, 2, 3, [[2, 2]])]
    book.publish(event(source="/a", sequence="100"), producer="gw-2")
    assert server.admin.entries()[-1]["kind"] == "decision", "another producer's first number is its base"
    assert published(book, "/a", 5) == [("5",)]
    book.check()
    server.stop()
    server.fsck().ok()


def test_p3_random_numbers_leave_exactly_what_is_missing(book: Book, rng: random.Random) -> None:
    source = f"/random/{new_id()}"
    numbers = [rng.randrange(0, 200) for _ in range(150)]
    book.publish(*(event(source=source, sequence=str(n)) for n in numbers))
    open_now: set[int] = set()
    for entry in book.server.admin.entries():
        told = entry["event"]
        if entry["kind"] in ("gap_opened", "gap_closed") and told["source"] == source:
            if entry["kind"] == "gap_opened":
                open_now |= set(range(told["from"], told["to"] + 1))
            else:
                open_now.remove(told["number"])
    seen = set(numbers)
    assert open_now == set(range(numbers[0], max(seen) + 1)) - seen


def test_p1_many_tenants_publish_at_once(make_server: Any) -> None:
    """P12: each tenant's log has its own events only, while all publish together."""
    server = make_server()
    names = [f"t{n}" for n in range(4)]
    clients = {}
    for name in names:
        admin = server.client(Key(server.add_tenant(name)["key"]), name)
        clients[name] = (admin, server.client(admin.add_key(["publisher"], "gw-1"), name))
    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(clients[name][1].publish, *(event() for _ in range(100))) for name in names for _ in range(5)]
        for job in jobs:
            assert {r["status"] for r in job.result()} == {"posted"}
    for name in names:
        entries = clients[name][0].entries()
        assert {entry["tenant"] for entry in entries} == {name}
        assert sum(entry["kind"] == "decision" for entry in entries) == 500
    server.stop()
    server.fsck().ok()
