"""Who may do what, and that tenants never meet (P12)."""

from __future__ import annotations

import json
import re
import socket
from typing import Any

import httpx
import pytest
from support import Key, Server, event, until
from support.routes import HIDDEN, OPERATOR, ROLES, ROUTES, Send, T

#: Every request has a connection of its own: nothing of one is seen by another.
HTTP = httpx.Client(trust_env=False, timeout=30, verify=False, limits=httpx.Limits(max_keepalive_connections=0))

def ask(server: Server, key: Key | None, send: Send) -> httpx.Response:
    """One request with a key (or none), on a connection of its own."""
    method, path, options = send
    headers = dict(options.get("headers", {}))
    if key:
        headers["Authorization"] = f"Bearer {key.text}"
    return HTTP.request(method, server.url + path, **(options | {"headers": headers}))


def seen(answer: httpx.Response) -> tuple[int, list[tuple[str, str]], bytes]:
    """All that a caller can tell apart; each request has its own random id."""
    headers = sorted((k, v) for k, v in answer.headers.items() if k not in ("date", "x-request-id"))
    return answer.status_code, headers, answer.content.replace(answer.headers["x-request-id"].encode(), b"")


@pytest.fixture(scope="module")
def house(shared: Server) -> Server:
    """A server with a key of every role, and a second tenant."""
    shared.keys |= {role: shared.add_key([role], person="kim") for role in ("author", "responder")}
    for role in ROLES:
        shared.as_(role)
    shared.as_("publisher").publish(event())
    shared.stop()
    shared.keys["other admin"] = Key(shared.init("other")["admin_key"])
    shared.start()
    other = shared.client(shared.keys["other admin"], "other")
    for role in ROLES:
        producer = "gw-1" if role in ("publisher", "enforcer") else None
        shared.keys[f"other {role}"] = other.add_key([role], producer, "kim" if role in ("reviewer", "author", "responder") else None)
    return shared


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("role", ROLES)
def test_p12_role_by_route(house: Server, role: str, route: str) -> None:
    """Whoever may is answered; whoever may not gets 403 and nothing else."""
    make, allowed, statuses = ROUTES[route]
    answer = ask(house, house.keys[role], make())
    if role in allowed:
        assert answer.status_code in statuses, answer.text
    elif route in HIDDEN:
        assert answer.status_code in (403, 404), answer.text
    else:
        assert answer.status_code == 403, answer.text
        assert answer.json()["code"] == "role_missing"
    assert answer.headers["cache-control"].startswith("private"), answer.headers


@pytest.mark.parametrize("route", [*ROUTES, *OPERATOR])
def test_p12_no_key_and_wrong_keys(house: Server, route: str) -> None:
    """401 for every spelling of a key that is not in force, the same whether the tenant exists or not."""
    make, key = ROUTES[route][0] if route in ROUTES else OPERATOR[route], house.admin_key
    plain = seen(ask(house, None, make()))
    assert plain[0] == 401, plain
    head, _, secret = key.text.rpartition("_")
    flipped = ("A" if secret[0] != "A" else "B") + secret[1:]
    wrong = [
        f"{head}_{flipped}", f"{head}_", head, key.id, key.secret, key.text[:-1], key.text + "A", key.text.upper(),
        key.text.replace("cs_", "CS_"), f"cs_{'0' * 16}_{key.secret}", "cs__", "cs_" + "é" * 20, "A" * 5000,
    ]  # fmt: skip
    for text in wrong:
        method, path, options = make()
        headers = dict(options.get("headers", {})) | {"Authorization": f"Bearer {text}".encode()}
        answer = HTTP.request(method, house.url + path, **(options | {"headers": headers}))
        assert seen(answer) == plain, text
    for scheme in ("Basic", "bearer:", "Token"):
        method, path, options = make()
        headers = dict(options.get("headers", {})) | {"Authorization": f"{scheme} {key.text}"}
        assert HTTP.request(method, house.url + path, **(options | {"headers": headers})).status_code == 401
    if route in ROUTES:
        assert seen(ask(house, None, elsewhere(make(), "nobody"))) == plain


def elsewhere(send: Send, tenant: str) -> Send:
    method, path, options = send
    return method, path.replace("/tenants/acme/", f"/tenants/{tenant}/"), options


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("role", ROLES)
def test_p12_a_foreign_tenant_is_one_that_does_not_exist(house: Server, role: str, route: str) -> None:
    """Status, headers and body are the same; also for bad bodies and bad queries; nothing of `acme` changes."""
    make = ROUTES[route][0]
    key = house.keys[f"other {role}"]
    size = house.admin.size()
    method, path, options = make()
    bare = path.split("?")[0]
    for send in [
        (method, path, options),
        (method, bare, options | {"content": b"\xff", "json": None}),
        (method, bare + "?index=x&from=-1&limit=-1&wait=99&nonsense=1", options),
    ]:
        foreign = ask(house, key, send)
        nobody = ask(house, key, elsewhere(send, "nobody"))
        assert foreign.status_code == 404, (send, foreign.text)
        assert seen(foreign) == seen(nobody), send
        assert b"acme" not in foreign.content
    for strange in ["ACME", "acme%00", "acme%20", "%61cme%2f", "-acme", "a" * 64, "%F0%9F%98%80"]:
        answer = ask(house, key, elsewhere(make(), strange))
        assert answer.status_code == 404, (strange, answer.text)
    assert house.admin.size() == size


@pytest.mark.parametrize("route", OPERATOR)
def test_p12_operator_routes(house: Server, route: str) -> None:
    """The operator's routes take the operator's key alone, and that key opens no tenant."""
    for role in ROLES:
        assert ask(house, house.keys[role], OPERATOR[route]()).status_code == 401
    assert ask(house, house.operator_key, OPERATOR[route]()).status_code in (200, 400)


@pytest.mark.parametrize("route", ROUTES)
def test_p12_the_operator_key_opens_no_tenant(house: Server, route: str) -> None:
    assert ask(house, house.operator_key, ROUTES[route][0]()).status_code == 401


def test_p12_errors_are_problems(house: Server) -> None:
    """Every error is an RFC 9457 problem, also those the framework finds: bad queries, bad escapes, wrong methods."""
    admin = house.admin
    wrong = [
        ("GET", f"{T}/receipts?index=x", 400), ("GET", f"{T}/receipts?index=-1", 400), ("GET", f"{T}/receipts", 400),
        ("GET", f"{T}/receipts?index=1&index=2", 400), ("GET", f"{T}/receipts?index=1&id=2", 400),
        ("GET", f"{T}/receipts?index=99999999", 404), ("GET", f"{T}/receipts?producer=a&source=b&id=c", 404),
        ("GET", f"{T}/proofs/consistency", 400), ("GET", f"{T}/proofs/consistency?from=0&to=1", 400),
        ("GET", f"{T}/proofs/consistency?from=2&to=1", 400), ("GET", f"{T}/proofs/consistency?from=1&to=99999999", 400),
        ("GET", f"{T}/proofs/consistency?from=x&to=1", 400),
        ("GET", f"{T}/entries?limit=0", 400), ("GET", f"{T}/entries?limit=1001", 400), ("GET", f"{T}/entries?wait=31", 400),
        ("GET", f"{T}/entries?since=yesterday", 400), ("GET", f"{T}/entries?after=x", 400), ("GET", f"{T}/entries?typo=1", 400),
        ("GET", f"{T}/entries/-1", 404), ("GET", f"{T}/entries/01", 404),
        ("GET", f"{T}/entries/99999999999999999999999", 404), ("GET", f"{T}/entries/0/disclosure", 404),
        ("GET", f"{T}/logs/2/checkpoint", 404), ("GET", f"{T}/logs/01/checkpoint", 404), ("GET", f"{T}/logs/1/", 404),
        ("GET", f"{T}/%ff", 404), ("GET", f"{T}/logs/%ff/checkpoint", 404), ("GET", "/v1/tenants/%ff/entries", 404),
        ("GET", f"{T}/entries/%ff", 404), ("DELETE", f"{T}/keys/%ff", 404),
        ("POST", f"{T}/keys", 400), ("POST", f"{T}/passkeys", 400), ("POST", f"{T}/erasures", 400), ("POST", f"{T}/keys/rotate", 400),
        ("PUT", f"{T}/keys", 405), ("GET", f"{T}/erasures", 405), ("GET", f"{T}/nothing", 404), ("GET", "/nothing", 404),
    ]  # fmt: skip
    bad = []
    for method, path, status in wrong:
        answer = admin.http.request(method, path)
        kind = answer.headers.get("content-type")
        if (answer.status_code, kind) != (status, "application/problem+json"):
            bad.append((method, path, f"expected {status}", answer.status_code, kind, answer.text[:100]))
    assert not bad, "\n".join(map(str, bad))


def test_p12_a_publisher_reads_its_own_receipts_only(house: Server) -> None:
    """A publisher's key gets the receipt of what its producer published; everything else does not exist for it."""
    own = house.as_("publisher")
    index = own.publish(event(id="own"))[0]["index"]
    assert own.receipt(index).startswith("c2sp.org/tlog-proof@v1\n")
    assert own.get("/receipts", index=0).status_code == 404
    stranger = house.client(house.add_key(["publisher"], "gw-2"))
    assert stranger.get("/receipts", index=index).status_code == 404
    nothing = seen(stranger.get("/receipts", index=10**9))
    assert seen(stranger.get("/receipts", index=index)) == nothing
    query = {"producer": "gw-1", "source": event()["source"], "id": "own"}
    assert own.receipt(**query) and seen(stranger.get("/receipts", **query)) == nothing
    assert house.as_("enforcer").receipt(index), "an enforcer of the same producer"


@pytest.mark.parametrize(
    "body",
    [
        {"roles": []}, {"roles": ["king"]}, {"roles": ["publisher"]}, {"roles": ["auditor"], "producer": "gw-1"},
        {"roles": ["reviewer"]}, {"roles": ["reviewer", "admin"], "person": "kim"}, {"roles": ["publisher"], "producer": "gw-1", "person": "kim"},
        {"roles": ["publisher"], "producer": "GW"}, {"roles": ["publisher"], "producer": "../x"},
        {"roles": ["publisher"], "producer": "a" * 64}, {"roles": ["publisher"], "producer": "a.b"},
        {"roles": ["auditor"], "name": "\x1b[31m"}, {"roles": ["auditor"], "name": "x" * 129}, {"roles": ["auditor"], "extra": 1},
        [], "x",
    ],
)  # fmt: skip
def test_p13_keys_that_can_not_be(house: Server, body: Any) -> None:
    size = house.admin.size()
    answer = house.admin.http.post(f"{T}/keys", json=body)
    assert answer.status_code == 400 and answer.json()["code"] == "bad_request", answer.text
    assert house.admin.size() == size


def test_p12_a_removed_key_is_dead_at_once(house: Server) -> None:
    """The next request, on an open connection too, is 401; and it stays so after a restart."""
    key = house.add_key(["publisher", "auditor"], "gw-7")
    client = house.client(key)
    client.publish(event())
    answer = house.admin.http.delete(f"{T}/keys/{key.id}")
    assert answer.status_code == 204
    assert client.post_events(b"{}").status_code == 401
    assert client.get("/entries").status_code == 401
    assert key.id not in [listed["key_id"] for listed in house.admin.get("/keys").json()]
    assert house.admin.http.delete(f"{T}/keys/{key.id}").status_code == 404
    house.restart(kill=True)
    assert house.client(key).get("/entries").status_code == 401
    entry = house.admin.entries(kind="access")[-1]
    assert entry["event"] == {"op": "remove", "key_id": key.id, "by": {"key": house.keys["admin"].id}, "reason": None}
    other = house.client(house.keys["other admin"], "other")
    assert other.http.delete(f"/v1/tenants/other/keys/{house.admin_key.id}").status_code == 404, "another tenant's key"
    assert house.admin.get("/keys").status_code == 200


def test_p12_secrets_are_nowhere(make_server: Any) -> None:
    """No key's secret half is in the log, the data directory or an answer; neither uncompressed nor at the noisiest level."""
    server = make_server(compression="none", sections={"log": {"level": "trace"}})
    server.keys |= {role: server.add_key([role], person="kim") for role in ("author", "responder")}
    for role in ROLES:
        server.as_(role)
    server.as_("publisher").publish(event())
    made = server.add_tenant("other")
    secrets = [key.secret for key in server.keys.values()] + [Key(made["key"]).secret]
    for key in list(server.keys.values()):
        ask(server, key, ("GET", f"{T}/entries?limit=x", {}))
        ask(server, Key(key.text[:-1]), ("GET", f"{T}/entries", {}))
    shown = server.admin.get("/keys").text + "\n".join(map(json.dumps, server.admin.entries()))
    server.stop()
    places = {"answers": shown.encode(), "log": server.log.encode()}
    for folder in (server.data_dir, server.keys_dir, server.guard_path.parent):
        places |= {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    found = [(place, secret) for place, text in places.items() for secret in secrets if secret.encode() in text]
    assert not found, [place for place, _ in found]
    assert any(server.admin_key.id.encode() in text for text in places.values()), "the search can find a key's id"
    modes = {path: path.stat().st_mode & 0o777 for path in server.keys_dir.rglob("*") if path.is_file()}
    assert modes and set(modes.values()) == {0o600}, modes


TRICKS = [
    "../checkpoint", "..%2fcheckpoint", "%2e%2e/checkpoint", "0/../0/000.p/1", "0/%2e%2e/0/000.p/1", "./0/000.p/1",
    "0//000.p/1", "/0/000.p/1", "0/000.p/1/", "0/000.p/0", "0/000.p/256", "0/000.p/01", "0/000.p/-1", "0/000.p/+1",
    "0/000.p/", "0/000.p", "0/000.P/1", "0/0", "0/00", "0/0000", "0/1", "0/x000/000", "0/x000/001.p/1", "0/x001", "0/001/000",
    "0/x001/x000", "0/X001/000", "0/xx01/000", "0/x1/000", "0/x001/000/000", "00/000.p/1", "-1/000", "+0/000.p/1", "8/000",
    "63/000", "64/000", "255/000", "256/000", "99999999999999999999/000", "0/" + "x999/" * 6 + "999", "0/" + "x999/" * 60 + "999",
    "0/999", "0/001.p/1", "1/000.p/255", "entries", "entries/", "entries/000.p/0", "entries/000.p/256", "entries/../0/000.p/1",
    "entries/x000/000", "Entries/000.p/1", "entries/999", "entries/0", "entries//000.p/1", "entries%2f000.p/1", "0/٠٠٠.p/1",
    "0/%D9%A0%D9%A0%D9%A0", "0/０００.p/1", "0/000.p/１", "0/000.p/1%00", "0/000%00.p/1", "0/ 000.p/1", "0/000;x",
    "0/000.p/1e0", "0x0/000", "0/%ff", "%ff", "0/000\\.p/1", "", "0", "0/", "a/000", "0/000.p/1.p/1", "0/x000.p/1/000",
]  # fmt: skip


@pytest.mark.parametrize("path", TRICKS)
def test_p12_tile_path_tricks(house: Server, path: str) -> None:
    """There is one spelling for one tile; every other path is 404, never 5xx, never something else."""
    # httpx would tidy the path up: it goes over a socket as it is.
    target = f"{T}/logs/1/tile/{path}"
    status, body = raw_get(house, target.encode())
    assert status == 404, (status, body[:200])


def raw_get(server: Server, target: bytes) -> tuple[int, bytes]:
    """GET of a target that no client library has normalised."""
    quoted = b"".join(bytes([b]) if 0x20 < b < 0x7F else b"%%%02X" % b for b in target)
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(
            b"GET " + quoted + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer "
            + server.admin_key.text.encode() + b"\r\n\r\n"
        )
        answer = b""
        while part := connection.recv(65536):
            answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), body


def test_p12_tiles_of_the_right_shape_are_served(house: Server) -> None:
    """The tricks above fail for their shape, not because nothing is served."""
    size = house.admin.size()
    assert len(house.admin.tile(f"0/000.p/{size}")) == 32 * size
    assert raw_get(house, f"{T}/logs/1/tile/0/000.p/1".encode())[0] == 200
    assert raw_get(house, f"{T}/logs/1/tile/entries/000.p/1".encode())[0] == 200
    assert raw_get(house, f"{T}/logs/1/tile/0/000.p/{size + 1}".encode())[0] == 404, "beyond the checkpoint"
    assert raw_get(house, f"{T}/logs/1/tile/0/000".encode())[0] == 404, "not full yet"


def test_p12_public_tiles(make_server: Any) -> None:
    """Checkpoints, hash tiles and keys of a public tenant need no key; entries always do; other tenants are not public."""
    server = make_server(public_tiles=["acme"])
    made = server.add_tenant("other")
    server.as_("publisher").publish(*(event() for _ in range(300)))
    nobody = server.client(None)
    for path in ["/logs/1/checkpoint", "/logs/1/tile/0/000", "/logs/1/tile/0/001.p/1", "/logs/1/keys"]:
        assert nobody.get(path).status_code == 200, path
    assert nobody.get("/logs/1/tile/0/000").headers["cache-control"] == "public, max-age=31536000, immutable"
    private = ["/logs/1/tile/entries/000", "/entries", "/entries/0", "/entries/0/disclosures", "/receipts?index=0", "/keys",
               "/proofs/consistency?from=1&to=2"]  # fmt: skip
    for path in private:
        assert nobody.http.get(nobody.t + path).status_code == 401, path
    assert seen(nobody.get("/logs/2/checkpoint"))[0] == 404
    stranger = server.client(None, "other")
    absent = server.client(None, "nobody")
    for path in ["/logs/1/checkpoint", "/logs/1/tile/0/000.p/1", "/logs/1/keys"]:
        assert seen(stranger.get(path)) == seen(absent.get(path))
        assert stranger.get(path).status_code == 401
    foreign = server.client(Key(made["key"]))
    assert foreign.get("/logs/1/checkpoint").status_code == 200, "public is public for everybody"
    assert foreign.get("/logs/1/tile/entries/000").status_code == 404


def test_p12_cache_control(house: Server) -> None:
    """What a key opened is never kept by a shared cache."""
    for path in ["/logs/1/checkpoint", "/logs/1/tile/0/000.p/1", "/logs/1/tile/entries/000.p/1", "/logs/1/keys", "/entries",
                 "/entries/0", "/receipts?index=0", "/keys", "/nothing"]:  # fmt: skip
        answer = house.admin.http.get(house.admin.t + path)
        assert "private" in answer.headers["cache-control"], path
        assert "public" not in answer.headers["cache-control"], path
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_p12_health_tells_no_names(house: Server) -> None:
    """Health, readiness and the API document need no key and name no tenant; the operator sees names."""
    nobody = house.client(None)
    for path in ["/healthz", "/readyz", "/openapi.json"]:
        assert (answer := nobody.http.get(path)).status_code == 200
        assert "acme" not in answer.text and "other" not in re.findall(r'"tenant":"(\w+)"', answer.text)
    assert nobody.http.get("/healthz").json()["status"] == "green"


def test_p12_tenants_made_and_refused(house: Server) -> None:
    operator = house.client(house.operator_key).http
    for name, status in [("third", 201), ("third", 409), ("acme", 409), ("UPPER", 400), ("", 400), ("a" * 63, 201), ("a" * 64, 400),
                         ("-a", 400), ("a/b", 400), ("a.b", 400)]:  # fmt: skip
        answer = operator.post("/v1/tenants", json={"tenant": name})
        assert answer.status_code == status, (name, answer.text)
    assert "conflict" in operator.post("/v1/tenants", json={"tenant": "third"}).text
    until("the house stands", lambda: house.admin.size() > 0)
