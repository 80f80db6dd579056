"""The feed: leaves verbatim, in order, exactly once, from cursors that survive everything (P3 P5 P12)."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import random
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jsonschema
import pytest
import rfc8785
from support import Key, Server, event, heartbeat
from support.client import Client, Page

END = {
    "type": "object",
    "additionalProperties": False,
    "required": ["next", "scanned", "size"],
    "properties": {
        "next": {"type": ["string", "null"], "pattern": "^[A-Za-z0-9_-]+$"},
        "scanned": {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 2, "maxItems": 2},
        "size": {"type": "integer", "minimum": 1},
    },
}
VERDICTS = ["allow", "deny", "sanitize", "approval_needed"]


@pytest.fixture(scope="module")
def full(shared: Server) -> Server:
    """A log of a bit more than two tiles, with every filter's values mixed."""
    client = shared.as_("publisher")
    other = shared.client(shared.add_key(["publisher"], "gw-2"))
    for at in range(6):
        events = [
            event(data={"verdict": VERDICTS[n % 4], "agent": {"id": f"agent-{n % 3}"}, "tool": {"name": f"tool/{n % 2}", "action": "x"}})
            for n in range(100)
        ]
        (other if at == 3 else client).publish(*events)
    client.publish(b"not an event", heartbeat(3, source="/hb"), heartbeat(9, source="/hb"))
    return shared


@pytest.fixture
def reader(full: Server) -> Client:
    """An exporter's client."""
    return full.as_("exporter")


def bundles(client: Client, size: int) -> list[bytes]:
    """All leaves, read from the entry bundles as C2SP tlog-tiles serves them."""
    leaves: list[bytes] = []
    for number in range((size + 255) // 256):
        width = min(256, size - 256 * number)
        data = client.tile(f"entries/{number:03}" + ("" if width == 256 else f".p/{width}"))
        while data:
            (length,) = struct.unpack(">H", data[:2])
            leaves.append(data[2 : 2 + length])
            data = data[2 + length :]
    return leaves


def ended_well(page: Page) -> None:
    """The closing line is complete and agrees with the lines and the link."""
    jsonschema.validate(page.end, END)
    begin, end = page.end["scanned"]
    assert begin <= end <= page.end["size"] or begin == end
    assert all(begin <= index < end for index in page.indexes)
    assert page.indexes == sorted(set(page.indexes))
    if page.next is None:
        assert page.link is None
    else:
        assert page.link and page.link.endswith('>; rel="next"')
        assert parse_qs(urlsplit(page.link[1 : page.link.index(">")]).query)["after"] == [page.next]


def follow(client: Client, page: Page) -> Page:
    """The page that a `Link` leads to."""
    assert page.link
    url = urlsplit(page.link[1 : page.link.index(">")])
    assert url.path == f"{client.t}/entries"
    return client.page(**{name: values[0] for name, values in parse_qs(url.query).items()})


def test_p5_lines_are_the_leaves_verbatim(reader: Client) -> None:
    """Feed lines, entry bundles and single entries are the same bytes."""
    size = reader.size()
    leaves = bundles(reader, size)
    assert [leaf for _, leaf in reader.feed()] == leaves
    assert len(leaves) == size > 512
    for index in [0, 1, 255, 256, 257, size - 1]:
        answer = reader.get(f"/entries/{index}")
        assert answer.content == leaves[index] and answer.headers["content-type"] == "application/json"
    assert reader.get(f"/entries/{size}").status_code == 404
    answer = reader.get("/entries", limit=1)
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.content.startswith(b'{"index":0,"entry":' + leaves[0] + b"}\n")


@pytest.mark.parametrize("limit", [1, 7, 100, 1000])
def test_p3_every_entry_once_at_any_page_size(reader: Client, limit: int) -> None:
    """By cursor and by link: the same entries, without holes."""
    size = reader.size()
    pages, page = [], reader.page(limit=limit)
    while True:
        ended_well(page)
        pages.append(page)
        assert len(page.lines) <= limit
        if page.end["scanned"][1] >= size or len(pages) > 100:
            break
        page = follow(reader, page)
    indexes = list(itertools.chain.from_iterable(p.indexes for p in pages))
    assert indexes == list(range(len(indexes)))
    if limit > 1:
        assert len(indexes) == size
    assert len(reader.page().lines) == 100, "100 where nothing is said"


FILTERS: list[dict[str, str]] = [
    {"kind": "decision"}, {"kind": "rejected"}, {"kind": "gap_opened"}, {"kind": "genesis"}, {"producer": "gw-2"},
    {"agent": "agent-1"}, {"verdict": "sanitize"}, {"tool": "tool/1"}, {"tool": "tool/1", "verdict": "deny", "agent": "agent-0"},
    {"kind": "journal_gap"}, {"agent": ""}, {"agent": "agent-1 "}, {"verdict": "unspecified"}, {"producer": "gw-9"},
]  # fmt: skip


def wanted(entry: dict[str, Any], query: dict[str, str]) -> bool:
    data = entry["event"].get("data", {})
    values = {
        "kind": entry["kind"], "producer": entry["producer"], "agent": data.get("agent", {}).get("id"),
        "verdict": data.get("verdict"), "tool": data.get("tool", {}).get("name"),
    }  # fmt: skip
    return all(values[name] == value for name, value in query.items())


@pytest.mark.parametrize("query", FILTERS, ids=str)
@pytest.mark.parametrize("limit", [3, 1000])
def test_p3_filters(reader: Client, query: dict[str, str], limit: int) -> None:
    """Exactly what fits, byte for byte; the closing line says what was looked at even when nothing fits."""
    expected = [(index, leaf) for index, leaf in reader.feed() if wanted(json.loads(leaf), query)]
    assert list(reader.feed(**query, limit=limit)) == expected
    page = reader.page(**query, limit=limit)
    ended_well(page)
    assert page.next, "tail mode always has a next"
    if not expected:
        assert page.lines == [] and page.end["scanned"] == [0, page.end["size"]]


def refused(answer: Any) -> str:
    """The detail of a 400."""
    assert answer.status_code == 400, (answer.status_code, answer.text[:300])
    assert answer.json()["code"] == "bad_request"
    return answer.json()["detail"]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"kind": "gap_open"}, ["gap_open", "gap_opened", "decision", "rejected"]),
        ({"kind": "Decision"}, ["decision"]),
        ({"kind": ""}, ["genesis"]),
        ({"kind": "decision,event"}, ["decision"]),
        ({"verdict": "denied"}, ["denied", "allow", "deny", "sanitize", "approval_needed"]),
        ({"verdict": "DENY"}, ["deny"]),
        ({"producer": "GW 1"}, ["producer", "a-z"]),
        ({"kinds": "decision"}, ["kinds", "kind", "since", "after"]),
        ({"limit": "ten"}, ["limit", "ten", "whole number"]),
        ({"wait": "-1"}, ["wait", "whole number"]),
        ({"limit": "0"}, ["1 to 1000"]),
        ({"since": "2026-11-28"}, ["since", "2026-11-28T09:30:00Z"]),
        ({"until": "yesterday"}, ["until", "RFC 3339"]),
        ({"since": "2026-11-28T10:00:00 01:00"}, ["%2B"]),
    ],
    ids=str,
)
def test_p3_a_word_that_nothing_has_is_refused_not_silent(reader: Client, query: dict[str, str], words: list[str]) -> None:
    """An alert with a typo must not stay silent, nor a count of 0 look like proof: 400 says what there is."""
    detail = refused(reader.get("/entries", **query))
    assert all(word in detail for word in words), detail


def test_p3_other_routes_ignore_nothing_either(reader: Client, full: Server) -> None:
    assert "there is index, producer, source, id" in refused(reader.get("/receipts", index=0, indx=1))
    assert "index" in refused(reader.get("/receipts", index="zero"))
    assert "from, to" in refused(reader.get("/proofs/consistency", **{"from": 1, "to": 2, "size": 3}))
    assert "to: is missing" in refused(reader.get("/proofs/consistency", **{"from": 1}))
    twice = reader.http.get(f"{reader.t}/entries?limit=1&limit=2")
    assert "more than once" in refused(twice)
    publisher = full.as_("publisher")
    before = full.admin.size()
    sent = publisher.http.post(f"{publisher.t}/events?receipts=ful", json=event(), headers={"Content-Type": "application/cloudevents+json"})
    assert "there is full" in refused(sent) and full.admin.size() == before


def test_p3_since_ahead_of_now_gives_nothing_older_on_any_page(make_server: Any) -> None:
    """A feed that begins in the future, or at the very end, goes on with what was posted at or after `since` only."""
    server = make_server()
    client, publisher = server.as_("exporter"), server.as_("publisher")
    publisher.publish(event())
    ahead = [(datetime.now(UTC) + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ") for minutes in (10, 20)]
    queries = [{"since": ahead[0]}, {"since": ahead[0], "until": ahead[1]}, {"since": ahead[0], "kind": "decision"}]
    pages = [client.page(**query) for query in queries]
    for _ in range(3):
        publisher.publish(event(), event())
        for at, query in enumerate(queries):
            page = client.page(after=pages[at].next, **query)
            ended_well(page)
            assert page.lines == [], f"{query}: {page.entries}"
            assert page.end["scanned"] == [pages[at].end["scanned"][1], page.end["size"]], "what it passed is said"
            pages[at] = page
    # A moment between two entries, asked for before the second was there.
    newest = client.entries()[-1]["journal"]["time"]
    second, nanoseconds = newest[:-1].split(".")
    query = {"since": f"{second}.{int(nanoseconds) + 1:09}Z"}
    cursor = client.page(**query).next
    posted = publisher.publish(event())[0]["index"]
    assert client.page(after=cursor, **query).indexes == [posted]


@pytest.mark.parametrize(
    "query",
    [{}, {"kind": "decision", "verdict": "deny"}, {"since": "2026-01-01T01:00:00+01:00", "agent": "agent é", "tool": "tool/1", "producer": "gw-1"}],
    ids=str,
)
def test_p5_the_cursor_is_as_its_page_says(reader: Client, query: dict[str, str]) -> None:
    """Made again from proto/formats/feed.md alone: whoever keeps one can read how far it came."""
    page = reader.page(**query, limit=3)
    asked = query | ({"since": "2026-01-01T00:00:00.000000000Z"} if "since" in query else {})
    origin = reader.checkpoint().split("\n")[0]
    mark = hashlib.sha256(rfc8785.dumps(asked | {"origin": origin})).digest()[:8]
    expected = b"\x03" + struct.pack(">Q", page.end["scanned"][1]) + mark
    assert page.next == base64.urlsafe_b64encode(expected).rstrip(b"=").decode()
    # Another spelling of the same moment is the same question.
    assert reader.page(**asked, after=page.next).end["scanned"][0] == page.end["scanned"][1]


def test_p12_a_cursor_is_of_one_log(make_server: Any) -> None:
    server = make_server()
    server.as_("publisher").publish(event())
    cursor = server.admin.page(limit=1).next
    other = server.client(Key(server.add_tenant("globex")["key"]), tenant="globex")
    assert "cursor" in refused(other.get("/entries", after=cursor))
    assert server.admin.page(after=cursor).indexes


def test_p3_cursor_of_another_question_is_refused(reader: Client) -> None:
    cursor = reader.page(kind="decision", limit=5).next
    assert reader.page(kind="decision", after=cursor, limit=9).indexes
    for query in [{}, {"kind": "event"}, {"kind": "decision", "verdict": "deny"}, {"agent": "decision"}, {"tool": "decision"},
                  {"kind": "decision", "until": "2036-01-01T00:00:00Z"}]:  # fmt: skip
        answer = reader.get("/entries", after=cursor, **query)
        assert answer.status_code == 400, query
        assert answer.json()["code"] == "bad_request"
    plain = reader.page(limit=5).next
    assert plain
    for bad in ["", "A", plain[:-1], plain + "A", plain + "=", plain[:-1] + "!", "é", "A" * 10_000, plain.swapcase()]:
        assert reader.get("/entries", after=bad).status_code == 400, bad


def test_p3_cursor_beyond_the_end_waits_there(reader: Client) -> None:
    """The cursor of the end gives an empty page and itself, until something is posted."""
    last = None
    for page in pages_of(reader):
        last = page
    assert last and last.end["scanned"][1] == last.end["size"]
    again = reader.page(after=last.next)
    ended_well(again)
    assert again.lines == [] and again.next == last.next
    assert again.end["scanned"] == [again.end["size"]] * 2


def pages_of(client: Client, **query: Any) -> Iterator[Page]:
    """Pages until the published end."""
    page = client.page(**query)
    while True:
        yield page
        if page.next is None or page.end["scanned"][1] >= page.end["size"]:
            return
        page = client.page(**(query | {"after": page.next}))


def times(client: Client) -> list[str]:
    return [json.loads(leaf)["journal"]["time"] for _, leaf in client.feed()]


def test_p3_since_and_until(reader: Client) -> None:
    """`since` is inclusive, `until` exclusive, by journal time; other offsets of the same moment are the same."""
    all_times = times(reader)
    assert all_times == sorted(all_times)
    for at in [0, 5, 104, 205, len(all_times) - 1]:
        moment = all_times[at]
        first = all_times.index(moment)
        assert [i for i, _ in reader.feed(since=moment)] == list(range(first, len(all_times)))
        assert [i for i, _ in reader.feed(until=moment)] == list(range(first))
        offset = moment.replace("Z", "+00:00")
        assert [i for i, _ in reader.feed(until=offset)] == list(range(first))
    low, high = all_times[10], all_times[-1]
    expected = [i for i, t in enumerate(all_times) if low <= t < high]
    assert [i for i, _ in reader.feed(since=low, until=high, limit=33)] == expected
    assert [i for i, _ in reader.feed(since=high, until=low)] == []
    assert list(reader.feed(since="2036-01-01T00:00:00Z")) == []


def test_p3_bounded_mode_ends(reader: Client) -> None:
    """With `until` there is a link while there is more, and none at the end; in tail mode there always is one."""
    until = times(reader)[300]
    pages = list(pages_of(reader, until=until, limit=100))
    for page in pages:
        ended_well(page)
    assert [page.next is None for page in pages] == [False] * (len(pages) - 1) + [True]
    assert pages[-1].link is None
    nothing = reader.page(until="2020-01-01T00:00:00Z")
    assert nothing.lines == [] and nothing.next is None and nothing.link is None


def test_p3_bounded_mode_ends_on_a_quiet_log(reader: Client) -> None:
    """A moment that has passed is an end also when no later entry was posted: a nightly export must end."""
    size = reader.size()
    newest = times(reader)[-1]
    past = newest[:-1].rstrip("0123456789")  # up to the dot
    moment = f"{past}999999999Z"
    deadline = time.monotonic() + 60
    while time.gmtime() <= time.strptime(newest[:19], "%Y-%m-%dT%H:%M:%S"):
        assert time.monotonic() < deadline
    # Feeds may keep a margin for clocks: what was asked for some seconds back must end.
    while True:
        *_, last = pages_of(reader, until=moment, limit=1000)
        if last.next is None:
            break
        assert time.monotonic() < deadline, f"no end: {last.end}"
    assert reader.size() == size and last.end["scanned"][1] == size


def test_p1_cursor_survives_restart_and_kill(make_server: Any, rng: random.Random) -> None:
    server = make_server()
    publisher, seen, cursor = server.as_("publisher"), [], None
    for kill in [False, True, True, False]:
        server.as_("publisher").publish(*(event() for _ in range(rng.randrange(1, 60))))
        page = server.as_("exporter").page(**({"after": cursor} if cursor else {}), limit=rng.randrange(1, 60))
        seen += page.indexes
        cursor = page.next
        server.restart(kill=kill)
    assert publisher
    seen += [index for index, _ in server.as_("exporter").feed(after=cursor)]
    assert seen == list(range(server.admin.size()))
    server.admin.rotate("log", 0)
    page = server.as_("exporter").page(after=cursor)
    assert page.indexes[0] == int.from_bytes(b"") or page.indexes, "a cursor from before a rotation"


def test_p3_long_poll(full: Server) -> None:
    """A waiting reader is answered by the next event, soon; without news, after the time it asked for."""
    client = full.client(full.keys.get("exporter") or full.as_("exporter").key)
    *_, last = pages_of(client)
    begin = time.monotonic()
    quiet = client.page(after=last.next, wait=1)
    assert 0.9 <= time.monotonic() - begin < 30
    assert quiet.lines == [] and quiet.next == last.next
    for _ in range(3):
        started = threading.Event()

        def publish() -> float:
            started.wait()
            sent = time.monotonic()
            full.as_("publisher").publish(event())
            return sent

        with ThreadPoolExecutor(1) as pool:
            sent = pool.submit(publish)
            started.set()
            page = client.page(after=last.next, wait=30)
            assert time.monotonic() - sent.result() < 29
        assert len(page.lines) >= 1 and page.end["scanned"][0] == last.end["scanned"][1]
        last = page
    ended_well(last)
    begin = time.monotonic()
    assert client.page(wait=30, limit=5).indexes == [0, 1, 2, 3, 4], "what is there is not waited for"
    assert time.monotonic() - begin < 29
    client.close()


def test_p13_waiting_readers_do_not_keep_the_server_up(make_server: Any) -> None:
    """SIGTERM ends the server in bounded time while readers wait."""
    server = make_server()
    client = server.client(server.as_("exporter").key)
    *_, last = pages_of(client)
    with ThreadPoolExecutor(3) as pool:
        def wait() -> None:
            try:
                with_key = Client(server.url, "acme", client.key)
                with_key.page(after=last.next, wait=30)
            except Exception:  # noqa: BLE001  the server went away, as it should
                pass

        for _ in range(3):
            pool.submit(wait)
        begin = time.monotonic()
        server.stop(seconds=25)
        assert time.monotonic() - begin < 20


def test_p4_never_beyond_the_published_checkpoint(full: Server) -> None:
    """While others publish: a page's size is one that was signed, every entry in it has a receipt, sizes never shrink,
    and a reader that follows gets each index once."""
    stop = threading.Event()
    failures: list[str] = []

    def publish() -> None:
        key = full.as_("publisher").key
        client = Client(full.url, "acme", key)
        while not stop.is_set():
            client.publish(*(event() for _ in range(20)))
        client.close()

    def read() -> int:
        client = Client(full.url, "acme", full.as_("exporter").key)
        cursor, expected, biggest = None, 0, 0
        deadline = time.monotonic() + 4
        while time.monotonic() < deadline + (60 if expected <= 500 else 0):
            before = client.size()
            page = client.page(**({"after": cursor} if cursor else {}), limit=300)
            after = client.size()
            if not before <= page.end["size"] <= after:
                failures.append(f"size {page.end['size']} not between {before} and {after}")
            if page.indexes != list(range(expected, expected + len(page.indexes))):
                failures.append(f"expected {expected}, got {page.indexes[:3]}")
            if page.end["size"] < biggest or page.end["scanned"][1] > page.end["size"]:
                failures.append(f"{page.end} after size {biggest}")
            if page.indexes:
                receipt = client.receipt(page.indexes[-1])
                size = int(receipt.split("\n\n")[1].split("\n")[1])
                if size <= page.indexes[-1]:
                    failures.append("a receipt of a size that does not hold its entry")
            expected += len(page.indexes)
            biggest, cursor = page.end["size"], page.next
        client.close()
        return expected

    full.as_("publisher"), full.as_("exporter")
    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(publish) for _ in range(2)]
        readers = [pool.submit(read) for _ in range(2)]
        counts = [reader.result() for reader in readers]
        stop.set()
        for writer in writers:
            writer.result()
    assert not failures, failures[:5]
    assert min(counts) > 500


def test_p5_answer_is_readable_at_once(make_server: Any) -> None:
    """What an answer names can be read the moment it arrives: entry, receipt, feed, checkpoint (published before answered)."""
    server = make_server()
    client, admin = server.as_("publisher"), server.admin
    misses = []
    for _ in range(150):
        index = client.publish(event())[0]["index"]
        answer = admin.get(f"/entries/{index}")
        if answer.status_code != 200:
            misses.append(index)
    assert not misses, f"{len(misses)} of 150 entries were not there when their answer came: {misses[:5]}"
