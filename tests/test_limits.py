"""Everything has a limit, and a clear error there (P13); what is refused before the journal leaves no entry (P3)."""

from __future__ import annotations

import gzip
import json
import os
import re
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from support import Book, Key, Server, event
from support.client import BATCH, NDJSON, ONE

EVENT_BYTES_MAX = 262_144
EVENTS_MAX = 1000


def text(**over: Any) -> str:
    return json.dumps(event(**over))


def problem(answer: Any, status: int, code: str) -> None:
    """An RFC 9457 problem with this status and code."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    body = answer.json()
    assert (body["code"], body["status"]) == (code, status), body
    assert body["type"] == f"urn:countersign:error:{code}" and body["title"] and body["detail"]


@pytest.fixture
def unchanged(book: Book) -> Iterator[Book]:
    """Nothing was posted by this test."""
    book.server.as_("publisher")
    before = book.server.admin.size()
    yield book
    assert book.server.admin.size() == before


def test_p13_an_event_of_one_byte_too_many(unchanged: Book) -> None:
    client = unchanged.server.as_("publisher")
    body = json.dumps(event()).encode().ljust(EVENT_BYTES_MAX + 1)
    problem(client.post_events(body), 413, "too_big")
    both = json.dumps(event()).encode() + b"\n" + text(payload={"p": "x" * EVENT_BYTES_MAX}).encode()
    problem(client.post_events(both, NDJSON), 413, "too_big")


def test_p13_too_many_events(unchanged: Book) -> None:
    client = unchanged.server.as_("publisher")
    lines = [json.dumps(event()) for _ in range(EVENTS_MAX + 1)]
    problem(client.post_events("\n".join(lines).encode(), NDJSON), 413, "too_many_events")
    problem(client.post_events(f"[{','.join(lines)}]".encode(), BATCH), 413, "too_many_events")


def test_p13_body_too_big(unchanged: Book) -> None:
    client = unchanged.server.as_("publisher")
    problem(client.post_events(b" " * ((8 << 20) + 1), NDJSON), 413, "too_big")

    def chunks() -> Iterator[bytes]:
        for _ in range(9):
            yield b" " * (1 << 20)

    answer = client.http.post(f"{client.t}/events", content=chunks(), headers={"Content-Type": NDJSON})
    problem(answer, 413, "too_big")


def test_p13_gzip_bomb(unchanged: Book) -> None:
    """A GiB in a MiB, and bombs in several members: refused with little memory."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(packer.compress(b" " * (1 << 20)) for _ in range(1024)) + packer.flush()
    client = unchanged.server.as_("publisher")
    bodies = (bomb, gzip.compress(b" " * (8 << 20)) + gzip.compress(b" "), gzip.compress(bomb))
    before = resident(unchanged.server)
    for body in bodies:
        answer = client.post_events(body, NDJSON, **{"Content-Encoding": "gzip"})
        assert answer.status_code in (400, 413), answer.text
    assert resident(unchanged.server) - before < 128 << 20


def resident(server: Server) -> int:
    """Resident memory of a server, in bytes."""
    assert server.process
    with open(f"/proc/{server.process.pid}/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"", {"Content-Type": ONE}, 400, "body_syntax"),
        (b"  ", {"Content-Type": NDJSON}, 400, "body_syntax"),
        (b"\n\n", {"Content-Type": NDJSON}, 400, "body_syntax"),
        (b"[]", {"Content-Type": BATCH}, 400, "body_syntax"),
        (b"[{}", {"Content-Type": BATCH}, 400, "body_syntax"),
        (b"{}", {"Content-Type": BATCH}, 400, "body_syntax"),
        (b"{}", {"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
        (b"{}", {"Content-Type": ""}, 415, "unsupported_media_type"),
        (b"{}", {"Content-Type": "application/cloudevents+xml"}, 415, "unsupported_media_type"),
        (b"{}", {"Content-Type": ONE, "Content-Encoding": "br"}, 415, "unsupported_media_type"),
        (b"{}", {"Content-Type": ONE, "Content-Encoding": "gzip"}, 400, "body_syntax"),
        # `mtime=0`: the names of these tests are the same in every process that collects them.
        (gzip.compress(b"{}", mtime=0)[:-1], {"Content-Type": ONE, "Content-Encoding": "gzip"}, 400, "body_syntax"),
        (gzip.compress(b"{}", mtime=0) + b"x", {"Content-Type": ONE, "Content-Encoding": "gzip"}, 400, "body_syntax"),
    ],
)
def test_p13_bodies_that_are_none(unchanged: Book, body: bytes, headers: dict[str, str], status: int, code: str) -> None:
    client = unchanged.server.as_("publisher")
    problem(client.http.post(f"{client.t}/events", content=body, headers=headers), status, code)


def test_p13_wrong_method(unchanged: Book) -> None:
    client = unchanged.server.as_("publisher")
    for method in ("GET", "PUT", "DELETE"):
        answer = client.http.request(method, f"{client.t}/events")
        problem(answer, 405, "method_not_allowed")
        assert "POST" in answer.headers["allow"]


# P13: slow clients and too many of them


def test_p13_slow_body_and_cut_off_body(make_server: Any) -> None:
    """A body that does not arrive in time is an error and no entry; others are served meanwhile."""
    server = make_server(sections={"limits": {"request_seconds": 2}})
    book = Book(server)
    book.check()
    size = server.admin.size()
    head = request_head(server, 1000)
    with raw(server) as slow, raw(server) as cut:
        begin = time.monotonic()
        slow.sendall(head + text().encode()[:10])
        cut.sendall(head + text().encode()[:10])
        cut.shutdown(socket.SHUT_WR)
        slow.settimeout(60)
        answer = slow.recv(65536)
        assert 1.5 < time.monotonic() - begin < 60
        assert b" 400 " in answer or b" 408 " in answer, answer
    assert server.admin.size() == size
    book.check()


def test_p12_uploads_that_never_come_keep_no_other_tenant_up(make_server: Any) -> None:
    """40 promises of 8 MiB by one publisher: what is small, and the events of other tenants, are taken meanwhile."""
    server = make_server()
    other = server.client(Key(server.add_tenant("other")["key"]), tenant="other")
    gateway = server.client(other.add_key(["publisher"], "gw-1"), tenant="other")
    head = request_head(server, 8 << 20)
    with ExitStack() as stack:
        for _ in range(40):
            stack.enter_context(raw(server)).sendall(head)
        begin = time.monotonic()
        assert server.admin.add_key(["auditor"]).text
        assert gateway.publish(event())[0]["status"] == "posted"
        assert time.monotonic() - begin < 28, "not after the 30 s that a body may take"


def request_head(server: Server, length: int) -> bytes:
    key = server.as_("publisher").key
    assert key
    return (
        f"POST /v1/tenants/acme/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key.text}\r\n"
        f"Content-Type: {ONE}\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def raw(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=60)


def ended(connection: socket.socket, seconds: float) -> bool:
    """Whether the server closes a connection within `seconds`."""
    deadline = time.monotonic() + seconds
    try:
        while (left := deadline - time.monotonic()) > 0:
            connection.settimeout(left)
            if not connection.recv(65536):
                return True
    except TimeoutError:
        return False
    except OSError:
        return True
    return False


def test_p13_slow_heads_free_their_connections(make_server: Any) -> None:
    """Eight clients hold all eight connections: saying nothing, a part of a head, a byte a second, half an HTTP/2
    preface. Each is closed in time, and a ninth client is served."""
    server = make_server(sections={"limits": {"connections": 8}})
    server.as_("publisher")
    for client in server._clients:
        client.close()
    server._clients.clear()
    begun = [b"", b"", b"P", b"PRI * HTTP/2.0\r\n", b"GET /healthz HTTP/1.1\r\nHost: x\r\n", b"GET /heal", b"POST /v1/tenants/acme/ev", b"\r\n"]
    holders = [raw(server) for _ in begun]
    for holder, words in zip(holders, begun, strict=True):
        holder.sendall(words)
    stop = threading.Event()

    def drip() -> None:
        while not stop.wait(1):
            try:
                holders[5].sendall(b"x")
            except OSError:
                return

    dripper = threading.Thread(target=drip)
    dripper.start()
    try:
        with ThreadPoolExecutor(len(holders)) as pool:
            states = list(pool.map(lambda holder: ended(holder, 60), holders))
        held = [words for words, state in zip(begun, states, strict=True) if not state]
        assert not held, f"connections held for ever by clients that sent only {held}"
        assert Book(server).one(event())["status"] == "posted"
    finally:
        stop.set()
        dripper.join()
        for holder in holders:
            holder.close()


def test_p13_more_connections_than_the_limit(make_server: Any) -> None:
    """Forty clients at eight connections: all are served in turn; nothing is lost."""
    server = make_server(sections={"limits": {"connections": 8}})
    book = Book(server)
    key = server.as_("publisher").key

    def publish(_: int) -> dict[str, Any]:
        client = server.client(key)
        try:
            return client.publish(event())[0]
        finally:
            client.close()

    for client in server._clients:
        client.close()
    server._clients.clear()
    with ThreadPoolExecutor(40) as pool:
        results = list(pool.map(publish, range(40)))
    assert [r["status"] for r in results] == ["posted"] * 40
    assert len({r["index"] for r in results}) == 40
    server._clients.clear()
    book.check()
    server.stop()
    server.fsck().ok()


def limited(limits: str) -> tuple[str, ...]:
    """A shell that lowers its limits, then becomes the server."""
    return ("bash", "-c", f'{limits}; exec "$@"', "bash")


@pytest.mark.parametrize(("limits", "idle"), [("ulimit -Sn 256", 300), ("ulimit -n 256", 300), ("ulimit -n 192", 40)])
def test_p1_idle_clients_take_no_files_from_the_store(tmp_path: Path, limits: str, idle: int) -> None:
    """Clients that nobody knows hold as many connections as they can, under low limits of open files: the store writes
    many files meanwhile, every event is posted, and health answers."""
    with Server(tmp_path / "server") as server, ExitStack() as stack:
        server.init()
        server.start(prefix=limited(limits))
        book = Book(server)
        book.check()
        for _ in range(idle):
            stack.enter_context(raw(server))
        health = server.client(None)
        for _ in range(400):
            # More than the largest memory of one family: tables and write-ahead logs are begun anew.
            assert book.one(event(payload={"pad": "x" * 250_000}))["status"] == "posted"
        assert health.http.get("/healthz").status_code == 200
        assert server.alive(), server.log[-2000:]
        stack.close()
        book.check()
        server.stop()
        server.fsck().ok()


@pytest.mark.parametrize(
    ("limits", "settings", "words"),
    [
        ("ulimit -n 100", {}, ["100 open files", "LimitNOFILE"]),
        ("ulimit -n 512", {"connections": 4096}, ["limits.connections", "4096", "at most"]),
        ("ulimit -f 10000", {}, ["LimitFSIZE"]),
        ("ulimit -v 600000", {}, ["LimitAS"]),
    ],
)
def test_p13_what_the_system_does_not_allow_is_refused_at_start(
    tmp_path: Path, limits: str, settings: dict[str, int], words: list[str]
) -> None:
    with Server(tmp_path / "server", sections={"limits": settings} if settings else None) as server:
        server.init()
        server.start(ready=False, prefix=limited(limits))
        assert server.wait_exit() == 64, server.log
        assert all(word in server.log for word in words), server.log


def test_p13_health_answers_when_all_connections_are_in_use(make_server: Any) -> None:
    """Eight uploads that never end use up eight connections: health, readiness and metrics answer at once, and who wants
    something else is told to come again, or waits."""
    server = make_server(sections={"limits": {"connections": 8, "request_seconds": 120}})
    server.as_("publisher")
    operator = server.client(server.operator_key).http
    for client in server._clients[:-1]:
        client.close()
    head = request_head(server, 1000)
    with ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(raw(server)).sendall(head + b"{")
        for _ in range(3):
            for path in ("/livez", "/healthz", "/readyz", "/metrics"):
                assert operator.get(path).status_code == 200, path
        answer = operator.get("/openapi.json")
        problem(answer, 503, "busy")
        assert answer.headers["retry-after"] and "try again" in answer.json()["detail"]
    server._clients.clear()
    Book(server).check()


def test_p13_a_silent_connection_makes_room(make_server: Any) -> None:
    """Silent clients hold every seat. Whoever comes is served: the one that was silent for longest leaves, not the
    others."""
    server = make_server(sections={"limits": {"connections": 8}})
    server.stop()
    server.start()
    holders: list[socket.socket] = []
    try:
        # Sixteen seats are kept beyond the eight.
        for _ in range(24):
            holders.append(raw(server))
        with httpx.Client(base_url=server.url, timeout=60, trust_env=False) as late:
            assert late.get("/healthz").status_code == 200
            left = [holder for holder in holders if closed_now(holder)]
            assert 1 <= len(left) <= 8, f"{len(left)} of {len(holders)} were closed"
    finally:
        for holder in holders:
            holder.close()


def closed_now(connection: socket.socket) -> bool:
    """Whether the server has closed a connection that it had nothing to say on."""
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def test_p13_gzip_of_many_members(unchanged: Book) -> None:
    """Empty members cost time and give nothing: refused; some are taken."""
    client = unchanged.server.as_("publisher")
    many = gzip.compress(b"") * (7 << 20 >> 5)
    with ThreadPoolExecutor(4) as pool:
        answers = pool.map(lambda _: client.post_events(many, NDJSON, **{"Content-Encoding": "gzip"}), range(4))
        for answer in answers:
            problem(answer, 400, "body_syntax")
            assert "64 members" in answer.json()["detail"]


def test_p13_gzip_of_some_members(book: Book) -> None:
    parts = [event(), event()]
    body = b"".join(gzip.compress(json.dumps(part).encode() + b"\n") for part in parts)
    answer = book.server.as_("publisher").post_events(body, NDJSON, **{"Content-Encoding": "gzip"})
    assert [result["status"] for result in answer.json()["results"]] == ["posted", "posted"], answer.text


@pytest.mark.parametrize(
    ("hosts", "version", "status"),
    [([], "1.1", 400), (["a", "b"], "1.1", 400), (["a", "a"], "1.1", 400), (["a"], "1.1", 200), ([], "1.0", 200), (["a", "b"], "1.0", 400)],
)
def test_p13_one_host(book: Book, hosts: list[str], version: str, status: int) -> None:
    """RFC 9112: no Host and two Hosts are 400; a proxy in front may have understood another request."""
    head = f"GET /healthz HTTP/{version}\r\n" + "".join(f"Host: {host}\r\n" for host in hosts) + "\r\n"
    with raw(book.server) as connection:
        connection.sendall(head.encode())
        answer = connection.recv(65536)
    assert answer.split(b" ", 2)[1] == str(status).encode(), answer
    if status == 400:
        assert b"application/problem+json" in answer and b"Host" in answer


def test_p13_pipelined_rubbish(book: Book) -> None:
    """Bytes that are no HTTP, heads without end, lying lengths: an error or a close, never a 5xx."""
    cases = [
        b"\x00" * 100,
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 10_000 + b"\r\n",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        request_head(book.server, 5)[:-4] + b"\r\nContent-Length: 7\r\n\r\n{}",
        request_head(book.server, 5)[:-4] + b"\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ]
    for words in cases:
        with raw(book.server) as connection:
            try:
                connection.sendall(words)
                connection.shutdown(socket.SHUT_WR)
                answer = connection.recv(65536)
            except OSError:
                continue
            assert not re.match(rb"HTTP/1\.1 5", answer), (words[:60], answer[:200])
