"""Everything has a limit, and a clear error there (P13), on the routes of approvals; hostile bodies change nothing; a thousand ways
to be nearly right are all wrong (P7)."""

from __future__ import annotations

import copy
import gzip
import json
import random
import socket
import string
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from support import Client, new_id
from support.house import INVENTED, House, Paused, code, seen

RULES = """
[[rule]]
name = "two of finance"
quorum = {at_least = 2, of = "finance"}
owner = "none"
match = {action = "two"}

[[rule]]
name = "one of finance"
quorum = {at_least = 1, of = "finance"}
owner = "none"
"""
PEOPLE = [{"id": f"p-{name}", "name": name, "groups": ["finance"]} for name in ("ana", "bob", "cem")]
SMALL_BYTES_MAX = 64 << 10
EVENT_BYTES_MAX = 256 << 10


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One house; judged at the end."""
    house = House.ready(tmp_path_factory.mktemp("limits"), RULES, PEOPLE)
    try:
        for person in ("p-ana", "p-bob"):
            house.person(person)
        house.gateway()
        yield house
        house.close()
    finally:
        house.server.__exit__()


@pytest.fixture
def pending(house: House) -> Iterator[Paused]:
    """A call that waits; nothing happens to it, and no entry is written."""
    approval = house.pause(action="two")
    size = house.server.admin.size()
    yield approval
    assert house.server.admin.size() == size and house.kinds_of(approval) == ["requested"]


def review(house: House, approval: Paused, **over: Any) -> httpx.Response:
    """p-ana's answer."""
    return house.review(approval, "p-ana", version=1, **over)


# Members


def test_p13_a_comment_has_2000_bytes(house: House, pending: Paused) -> None:
    """Bytes, not characters."""
    for comment in ("x" * 2001, "ä" * 1001):
        assert code(review(house, pending, comment=comment)) == (400, "bad_request")


def test_p7_a_call_that_can_not_be_shown_in_full_is_not_approved(house: House) -> None:
    """By no road: people see 2,000 values at most. A denial is taken."""
    approval = house.pause({"many": list(range(2001))}, action="two")
    assert code(review(house, approval)) == (409, "not_shown")
    assert house.kinds_of(approval) == ["requested"]
    assert review(house, approval, decision="deny").json()["state"] == "denied"


def test_p13_the_longest_comment(house: House) -> None:
    """2000 bytes of anything, kept as they are."""
    approval = house.pause()
    comment = "\u202e\0\n" + "ä" * 997 + "x"
    assert len(comment.encode()) == 2000
    assert review(house, approval, comment=comment).status_code == 200
    (evidence,) = [event["evidence"] for event in house.events(approval) if event["type"] == "reviewed"]
    told = [json.loads(line) for line in house.server.as_("discloser").disclosures(evidence).splitlines() if line]
    assert [value for _, name, value in told if name == "comment"] == [comment]


@pytest.mark.parametrize(
    "over",
    [{"decision": "yes"}, {"decision": "Approve"}, {"decision": None}, {"decision": True}, {"version": -1}, {"version": 1.5}, {"version": "1"},
     {"version": 2**64}, {"version": None}, {"digest": None}, {"digest": 7}, {"shown_at": "yesterday"}, {"shown_at": 7}, {"comment": 7},
     {"comment": ["x"]}, {"by": "p-bob"}, {"via": "web"}, {"auth": {"method": "key"}}, {"groups": ["finance"]}, {"evidence": 0}],
    ids=str,
)  # fmt: skip
def test_p10_a_review_is_exactly_its_members(house: House, pending: Paused, over: dict[str, Any]) -> None:
    """Nothing of who, how and where is taken from the body."""
    body = {"decision": "approve", "digest": pending.digest, "version": 1} | over
    assert code(house.post(house.person("p-ana"), f"/approvals/{pending.id}/reviews", body)) == (400, "bad_request")


@pytest.mark.parametrize("reason", ["", "x" * 65, "Not a code", "nö", "a-b", "a\n", "a\0", "A", "\u202e"])
def test_p13_a_reason_is_a_code(house: House, pending: Paused, reason: str) -> None:
    """1 to 64 of a-z, 0-9 and _: no prose in a leaf (P11)."""
    assert code(house.cancel(pending, reason=reason)) == (400, "malformed")
    assert code(house.cancel(pending, house.server.admin, reason)) == (400, "malformed")
    assert code(house.revoke(pending, house.person("p-ana"), reason)) == (400, "malformed")


def test_p13_the_longest_reason(house: House) -> None:
    """64 characters, in the log as they are."""
    approval, reason = house.pause(), ("x_" * 32)
    assert house.cancel(approval, reason=reason).json()["end_reason"] == reason
    assert house.events(approval)[-1]["reason"] == reason


@pytest.mark.parametrize("outcome", ["done", "", None, 7, "Succeeded", ["succeeded"]], ids=str)
def test_an_outcome_is_one_of_four(house: House, outcome: Any) -> None:
    """And is asked for before anything else."""
    approval = house.pause()
    answer = house.post(house.gateway(), f"/approvals/{approval.id}/execution", {"outcome": outcome})
    assert code(answer) == (400, "bad_request")


# Lists and waits


def test_p13_a_page_has_at_most_200(house: House) -> None:
    """50 unless asked for, 1 to 200; other limits are refused."""
    made = [house.new() for _ in range(210)]
    for some in (made[:105], made[105:]):
        house.gateway().publish(*[one.event for one in some])
    for one in made:
        house.until_state(one, "pending") if house.gateway().get(f"/approvals/{one.id}").status_code == 200 else house.open(one)
    ask = lambda **query: house.server.admin.get("/approvals", **query).json()  # noqa: E731
    assert len(ask()["approvals"]) == 50 == len(ask(limit=50)["approvals"])
    page = ask(limit=200)
    assert len(page["approvals"]) == 200 and page["next"] == page["approvals"][-1]["id"]
    for limit in (201, 10**6, 0):
        assert ask(limit=limit)["code"] == "bad_request"
    assert len(ask(limit=1)["approvals"]) == 1
    walked: list[str] = []
    after: dict[str, str] = {}
    while True:
        page = ask(limit=64, **after)
        walked += [view["id"] for view in page["approvals"]]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert len(set(walked)) == len(walked) and {one.id for one in made} <= set(walked)
    for one in made:
        assert house.cancel(one).status_code == 200


@pytest.mark.parametrize(
    "query",
    ["limit=-1", "limit=x", "limit=1.5", "limit=99999999999999999999", "state=all", "state=", "state=pending&state=open", "page=2",
     "limit", "%ff"],
)  # fmt: skip
def test_p13_a_query_is_as_documented(house: House, query: str) -> None:
    """Of the list."""
    admin = house.server.admin
    assert code(admin.http.get(f"{admin.t}/approvals?{query}")) == (400, "bad_request")


@pytest.mark.parametrize("query", ["wait=-1", "wait=x", "wait=1.5", "wait=99999999999999999999", "after=x", "after=-1", "wait=1&wait=2", "for=1"])
def test_p13_a_wait_is_a_number(house: House, pending: Paused, query: str) -> None:
    """Of one approval."""
    gateway = house.gateway()
    assert code(gateway.http.get(f"{gateway.t}/approvals/{pending.id}?{query}")) == (400, "bad_request")


def test_p13_a_cursor_of_nothing_is_refused(house: House, pending: Paused) -> None:
    """Invented and hostile ones: never an empty page that looks like the last one."""
    for after in (INVENTED, "", "x" * 1000, "../..", "\u202e", "0"):
        answer = house.server.admin.get("/approvals", after=after)
        assert code(answer) == (400, "bad_request"), after


def test_p13_a_long_wait_ends_with_its_client(house: House, pending: Paused) -> None:
    """Hundreds who wait and go away hold nothing up."""
    gateway, sockets = house.gateway(), []
    for _ in range(200):
        one = socket.create_connection(("127.0.0.1", house.server.port))
        assert gateway.key
        one.sendall(f"GET {gateway.t}/approvals/{pending.id}?wait=60&after=9 HTTP/1.1\r\nHost: x\r\n"
                    f"Authorization: Bearer {gateway.key.text}\r\n\r\n".encode())  # fmt: skip
        sockets.append(one)
    assert house.state(pending)["state"] == "pending"
    for one in sockets:
        one.close()
    assert house.state(pending, wait=1, after=1)["version"] == 1


# Bodies


def routes(approval: Paused) -> dict[str, str]:
    """Every route that reads a body, below T."""
    at = f"/approvals/{approval.id}"
    return {"open": "/approvals", "reviews": f"{at}/reviews", "cancel": f"{at}/cancel", "revoke": f"{at}/revoke", "execution": f"{at}/execution",
            "redeem": "/tokens/redeem"}  # fmt: skip


def who(house: House, route: str) -> Client:
    """Somebody who is heard there."""
    return {"reviews": house.person("p-ana"), "revoke": house.person("p-ana")}.get(route, house.gateway())


HOSTILE = {
    "nothing": b"", "a blank": b" ", "null": b"null", "a number": b"7", "a list": b"[]", "an empty object": b"{}", "a text": b'"x"',
    "half": b'{"reason":', "two values": b"{}{}", "deep": b"[" * 30_000, "deep objects": b'{"a":' * 8_000, "not UTF-8": b'{"reason":"\xff\xfe"}',
    "UTF-16": '{"reason":"x"}'.encode("utf-16"), "a byte order mark": b'\xef\xbb\xbf{"reason":"x"}', "a form": b"reason=x&decision=approve",
    "many members": b"{" + b",".join(b'"m%d":1' % n for n in range(5_000)) + b"}", "NaN": b'{"version":NaN}', "zeros": b"\0" * 1000,
    "a lone surrogate": b'{"reason":"\\ud800"}', "a big number": b'{"version":1e999}',
    "XML": b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY y "z">]><x>&y;</x>',
}  # fmt: skip
#: Those of them that are more than one event.
SEVERAL = {"a list", "two values", "deep"}


@pytest.mark.parametrize("route", routes(Paused("", {})))
def test_p13_hostile_bodies_change_nothing(house: House, pending: Paused, route: str) -> None:
    """Each is refused with a reason, on every route, and the connection goes on."""
    client = who(house, route)
    for what, body in HOSTILE.items():
        if route == "open":
            continue
        answer = client.http.post(client.t + routes(pending)[route], content=body)
        assert answer.status_code == 400 and code(answer)[1] in ("bad_request", "malformed"), (what, answer.text)
        assert len(answer.content) < 1000 and answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("route", routes(Paused("", {})))
def test_p13_a_body_is_as_big_as_it_may_be(house: House, pending: Paused, route: str) -> None:
    """64 KiB, an event's 256 KiB, or 288 KiB; by its length, without a length, and unpacked."""
    client, path = who(house, route), client_path(house, route, pending)
    limit = {"open": EVENT_BYTES_MAX, "redeem": EVENT_BYTES_MAX + (32 << 10)}.get(route, SMALL_BYTES_MAX)
    big = b" " * (limit + 1)
    assert code(client.http.post(path, content=big)) == (413, "too_big")
    assert code(client.http.post(path, content=iter([big[:1000], big[1000:]]))) == (413, "too_big")
    assert code(client.http.post(path, content=gzip.compress(big), headers={"Content-Encoding": "gzip"})) == (413, "too_big")
    assert code(client.http.post(path, content=b"x", headers={"Content-Encoding": "gzip"})) == (400, "body_syntax")
    assert code(client.http.post(path, content=b"x", headers={"Content-Encoding": "br"})) == (415, "unsupported_media_type")
    if route != "open":
        assert code(client.http.post(path, content=big[:-1])) == (400, "bad_request")


def client_path(house: House, route: str, approval: Paused) -> str:
    """The address of a route."""
    return who(house, route).t + routes(approval)[route]


def test_p3_an_event_that_is_none_is_recorded_as_rejected_and_opens_nothing(house: House) -> None:
    """The publisher is known: as on `POST T/events`, each becomes a `rejected` entry, and the answer says why."""
    gateway, before = house.gateway(), house.server.admin.size()
    pending = house.server.admin.get("/approvals", limit=200).json()["approvals"]
    for what, body in HOSTILE.items():
        answer = gateway.http.post(f"{gateway.t}/approvals", content=body)
        # Several values, or an array, where one event is expected: nothing of it was taken.
        several = answer.status_code == 400
        assert code(answer) == ((400, "body_syntax") if several else (422, "not_opened")), what
        assert several == (what in SEVERAL), what
    entries = house.server.admin.entries()[before:]
    assert [entry["kind"] for entry in entries] == ["rejected"] * (len(HOSTILE) - len(SEVERAL))
    assert house.server.admin.get("/approvals", limit=200).json()["approvals"] == pending


def test_gzip_is_read(house: House) -> None:
    """As on every other route."""
    made = house.new()
    gateway = house.gateway()
    packed = gzip.compress(json.dumps(made.event).encode())
    answer = gateway.http.post(f"{gateway.t}/approvals", content=packed, headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 201 and house.count(made) == {"requested": 1}


# 404


@pytest.mark.parametrize(
    "id",
    [INVENTED, "x", "apr-", "APR-" + "A" * 26, "apr-" + "a" * 25, "apr-" + "1" * 26, "x" * 500, "%00", "%2e%2e", "..%2f..",
     "%ff", "a%20b", "%e2%80%ae", "-", "pending", "a" * 64],
)  # fmt: skip
def test_p12_every_address_of_nothing_is_the_same(house: House, pending: Paused, id: str) -> None:
    """For everybody, on every route: one status, one body, the same headers."""
    nothing = seen(house.server.admin.get(f"/approvals/{INVENTED}"))
    limits = httpx.Limits(max_keepalive_connections=0)
    for client in (house.server.admin, house.gateway(), house.person("p-ana")):
        with httpx.Client(base_url=client.base, headers=client.http.headers, limits=limits, timeout=60, trust_env=False) as http:
            assert seen(http.get(f"{client.t}/approvals/{id}")) == nothing
            for tail in ("reviews", "token", "cancel", "revoke", "execution", "nothing"):
                assert seen(http.post(f"{client.t}/approvals/{id}/{tail}", json={"reason": "x"})) == nothing, tail
            assert seen(http.post(f"{client.t}/tokens/{id}/revoke", json={"reason": "x"})) == nothing


def test_other_methods_are_refused(house: House, pending: Paused) -> None:
    """A GET never mints, cancels or answers."""
    at, client = f"/approvals/{pending.id}", house.gateway()
    for path in (f"{at}/reviews", f"{at}/token", f"{at}/cancel", f"{at}/revoke", f"{at}/execution", "/tokens/redeem", "/tokens/x/revoke"):
        for method in ("GET", "HEAD", "PUT", "DELETE", "PATCH"):
            assert client.http.request(method, client.t + path).status_code == 405, (method, path)
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert client.http.request(method, client.t + at).status_code == 405


# Nearly right


def mutated(rng: random.Random, value: Any) -> Any:
    """A JSON value with one change somewhere: another value, one more, one less, or changed places."""
    value = copy.deepcopy(value)
    places: list[tuple[Any, Any]] = []

    def walk(inner: Any) -> None:
        for key in inner if isinstance(inner, dict) else range(len(inner)):
            places.append((inner, key))
            if isinstance(inner[key], (dict, list)):
                walk(inner[key])

    walk(value)
    inner, key = rng.choice(places)
    old = inner[key]
    choices = [None, True, 0, -1, "", "x", [], {}, [old], {"x": old}, str(old) + "x", old + "\0" if isinstance(old, str) else old]
    if isinstance(old, str) and old:
        at = rng.randrange(len(old))
        choices += [old[:at] + rng.choice(string.ascii_letters) + old[at + 1 :], old[:at] + old[at + 1 :], old.swapcase(), old + " "] * 3
    if isinstance(old, int):
        choices += [old + 1, -old - 1, str(old), old * 10]
    change = rng.randrange(10)
    if change == 0 and isinstance(inner, dict):
        del inner[key]
    elif change == 1 and isinstance(inner, dict):
        inner[rng.choice(["x", key + " ", key.upper(), "digest"])] = old
    else:
        inner[key] = rng.choice(choices)
    return value


def broken(rng: random.Random, body: bytes) -> bytes:
    """Bytes with one change somewhere."""
    at = rng.randrange(len(body))
    match rng.randrange(4):
        case 0:
            return body[:at] + bytes([rng.randrange(256)]) + body[at + 1 :]
        case 1:
            return body[:at] + body[at + 1 :]
        case 2:
            return body[:at] + bytes([rng.randrange(256)]) + body[at:]
    return body[:at]


def means(body: bytes) -> Any:
    """What a body says; none if it is not JSON. An absent `run` is null."""
    try:
        value = json.loads(body)
    except ValueError:
        return None
    if isinstance(value, dict) and isinstance(value.get("call"), dict):
        value["call"].setdefault("run", None)
        value.pop("redemption_id", None)
    return value


def test_p7_two_hundred_mutations_never_redeem(house: House, rng: random.Random) -> None:
    """Of a valid request: whatever says something else of the call or the token is refused, and nothing is redeemed by it."""
    approval = house.grant("p-ana", params={"amount": 125000, "currency": "EUR", "to": [{"iban": "DE02"}, None, True], "n": {"deep": {"er": 1.5}}})
    token = house.mint(approval)
    good = {"token": token, "redemption_id": "r-1", "call": approval.call}
    body, gateway, tried, codes = json.dumps(good).encode(), house.gateway(), 0, set()
    for _ in range(400):
        sent = json.dumps(mutated(rng, good)).encode() if rng.random() < 0.6 else broken(rng, body)
        if means(sent) == means(body):
            continue  # still the same call and token
        tried += 1
        answer = gateway.http.post(f"{gateway.t}/tokens/redeem", content=sent)
        assert answer.status_code in (400, 403, 409), (answer.status_code, sent)
        codes.add(code(answer)[1])
        if tried == 200:
            break
    assert tried == 200 and {"bad_request", "digest_mismatch"} <= codes, codes
    assert set(house.kinds_of(approval)) == {"requested", "reviewed", "granted", "token_minted", "redeem_rejected"}
    assert house.redeem(approval, token).status_code == 200
    assert house.count(approval)["redeemed"] == 1


def test_p7_a_hundred_mutations_never_approve(house: House, rng: random.Random) -> None:
    """Of a valid answer: another digest, version or member is no answer."""
    approval = house.pause(action="two")
    good = {"decision": "approve", "digest": approval.digest, "version": 1}
    client, body = house.person("p-ana"), json.dumps(good).encode()
    for _ in range(150):
        sent = json.dumps(mutated(rng, good)).encode() if rng.random() < 0.6 else broken(rng, body)
        said = means(sent)
        shown = isinstance(said, dict) and str(said.get("digest"))
        if isinstance(said, dict) and said.get("decision") in ("approve", "deny") and said.get("version") == 1 and shown:
            if approval.digest.startswith(shown) and len(shown) >= 8:
                continue  # a part of the digest, or another decision: an answer
        answer = client.http.post(f"{client.t}/approvals/{approval.id}/reviews", content=sent)
        assert answer.status_code in (400, 403, 409), (answer.status_code, sent)
    assert set(house.kinds_of(approval)) <= {"requested", "review_rejected"}
    assert house.review(approval, "p-ana").status_code == 200


def test_p13_ids_of_any_text_in_an_event_are_hashed_not_used(house: House) -> None:
    """A source or id of the longest and oddest kind gives an approval id like every other."""
    for id in (new_id() + "x" * 200, new_id() + " ", new_id() + "/../..", new_id() + "\u202eä", "apr-" + new_id()):
        made = house.new(id=id)
        answer = house.open(made)
        assert answer.status_code == 201 and answer.json()["id"] == made.id, answer.text
        assert answer.json()["page"].endswith(f"/approvals/{made.id}")
