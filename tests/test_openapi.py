"""`/openapi.json` is true: what each operation answers, with which status, media type and members, is what stands there (P13)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema
import pytest
from support import Server, cli, event

DOCUMENT = json.loads(cli("openapi").out)
PLACES = {"{tenant}": "acme", "{n}": "1", "{path}": "entries/000.p/1", "{index}": "1"}


def operations() -> Iterator[tuple[str, str]]:
    for path, item in DOCUMENT["paths"].items():
        for method in item:
            yield method, path


@pytest.fixture(scope="module")
def filled(shared: Server) -> Server:
    """A server whose log has an event, and keys of several roles."""
    shared.as_("publisher").publish(event())
    shared.as_("exporter"), shared.as_("discloser")
    return shared


def documented(method: str, path: str, status: int) -> dict[str, Any]:
    """What stands there for a status."""
    responses = DOCUMENT["paths"][path][method]["responses"]
    found = responses.get(str(status), responses.get(f"{status // 100}XX"))
    assert found is not None, f"{method} {path}: {status} is not documented"
    return found


def check(method: str, path: str, answer: httpx.Response) -> None:
    """An answer is one of those that are documented: status, media type, schema."""
    content = documented(method, path, answer.status_code).get("content")
    if not content:
        return
    kind = answer.headers["Content-Type"].split(";")[0]
    assert kind in content, f"{method} {path}: {answer.status_code} is {kind}, documented are {list(content)}"
    if kind == "application/json" or kind.endswith("+json"):
        jsonschema.validate(answer.json(), content[kind]["schema"] | {"components": DOCUMENT["components"]})


def test_p13_every_error_is_documented_as_a_problem() -> None:
    for method, path in operations():
        responses = DOCUMENT["paths"][path][method]["responses"]
        for status in ("4XX", "5XX"):
            assert list(responses[status]["content"]) == ["application/problem+json"], (method, path)
        assert not [status for status, found in responses.items() if "Problem" in json.dumps(found) and "X" not in status]


@pytest.mark.parametrize(("method", "path"), operations())
def test_p13_answers_are_as_documented(filled: Server, method: str, path: str) -> None:
    """To strangers, to keys without the role, to wrong paths, queries and bodies; and what is right, where it changes nothing."""
    real = path
    for name, value in PLACES.items():
        real = real.replace(name, value)
    real = re.sub(r"\{\w+\}", "x", real)
    clients = [filled.client(None), *map(filled.as_, ("exporter", "publisher", "discloser")), filled.admin, filled.client(filled.operator_key)]
    query = [parameter for parameter in DOCUMENT["paths"][path][method].get("parameters", []) if parameter["in"] == "query"]
    wrong = [real.replace("/acme/", "/nobody/"), real, *(f"{real}?{parameter['name']}=%00&{parameter['name']}=x" for parameter in query)]
    seen = set()
    for client in clients:
        for target in wrong:
            for body in ([None] if method == "get" else [b"", b"{", b'{"nonsense":1}']):
                if method == "delete":
                    target = real.replace("/x", "/00")
                answer = client.http.request(method.upper(), target, content=body, headers={"Content-Type": "application/json"})
                check(method, path, answer)
                seen.add(answer.status_code)
    public = DOCUMENT["paths"][path][method].get("security", []) in ([], [{}])
    assert any(400 <= status < 500 for status in seen) or public, seen
    if query:
        names = "&".join(f"{p['name']}=1" for p in query if p.get("required"))
        who = filled.client(filled.operator_key) if path.startswith("/v1/replicas/") else filled.admin
        answer = who.http.request(method.upper(), f"{real}?{names}&nonsense=1")
        assert answer.status_code in (400, 403, 404, 415), f"a parameter that is not documented: {answer.text}"


def test_p13_parameters_have_the_limits_that_stand_there(filled: Server) -> None:
    """A documented minimum or maximum is taken, what is beyond it is not."""
    tried = 0
    for method, path in operations():
        for parameter in DOCUMENT["paths"][path][method].get("parameters", []):
            schema = parameter["schema"]
            for name, beyond in (("maximum", 1), ("minimum", -1)):
                if parameter["in"] != "query" or name not in schema or schema[name] + beyond < 0:
                    continue
                if "from" == parameter["name"]:
                    continue  # needs its other half; see test_access
                real = path.replace("{tenant}", "acme")
                if "approvals" in real:
                    continue  # this server has none; see tests/approvals
                get = lambda value: filled.admin.http.get(f"{real}?{parameter['name']}={value}").status_code  # noqa: B023, E731
                assert get(schema[name]) == 200, (path, parameter)
                assert get(schema[name] + beyond) == 400, (path, parameter)
                tried += 1
    assert tried >= 3


def test_p3_receipts_is_full_or_nothing(filled: Server) -> None:
    """A word that is not known is an error, not silence."""
    publisher = filled.as_("publisher")
    for query in ("receipts=ful", "receipts=", "receipt=full", "receipts=full&receipts=full"):
        answer = publisher.http.post(f"{publisher.t}/events?{query}", json=event(), headers={"Content-Type": "application/cloudevents+json"})
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_request"), query
    assert publisher.publish(event(), receipts=True)[0]["receipt"].startswith("c2sp.org/tlog-proof@v1")
