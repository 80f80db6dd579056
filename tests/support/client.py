"""The HTTP interface of a server, as one key sees it."""

from __future__ import annotations

import gzip
import json
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from .waits import until

ONE = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
NDJSON = "application/x-ndjson"
#: Problem codes of a 503 after which a request is repeated: nothing was written, or nobody knows.
AGAIN = {"behind", "busy", "journal_unavailable", "no_quorum", "outcome_unknown"}


@dataclass(frozen=True)
class Key:
    """An API key."""

    text: str

    @property
    def id(self) -> str:
        """Its public half."""
        return self.text.split("_")[1]

    @property
    def secret(self) -> str:
        """The half that must never be found anywhere."""
        return self.text.split("_", 2)[2]


@dataclass(frozen=True)
class Page:
    """One page of the feed."""

    lines: list[bytes]
    end: dict[str, Any]
    link: str | None

    @property
    def next(self) -> str | None:
        """Cursor of the next page."""
        return self.end["next"]

    @property
    def indexes(self) -> list[int]:
        """Leaf indexes on the page."""
        return [json.loads(line)["index"] for line in self.lines]

    @property
    def entries(self) -> list[dict[str, Any]]:
        """The entries, decoded."""
        return [json.loads(line)["entry"] for line in self.lines]

    @property
    def leaves(self) -> list[bytes]:
        """The entries' bytes, exactly as sent."""
        return [leaf_of_line(line) for line in self.lines]


def leaf_of_line(line: bytes) -> bytes:
    """The bytes of `entry` in a feed line `{"index":N,"entry":…}`."""
    head, found, rest = line.partition(b',"entry":')
    assert found and head.startswith(b'{"index":') and rest.endswith(b"}"), line[:80]
    return rest[:-1]


def patiently(send: Callable[[], httpx.Response]) -> httpx.Response:
    """Repeats a request while its answer is "try again"."""
    def ask() -> httpx.Response | None:
        answer = send()
        return None if answer.status_code == 503 and answer.json()["code"] in AGAIN else answer

    return until("an answer that is not: try again", ask)


class Client:
    """Requests with one key (or none) to one tenant."""

    def __init__(
        self, base: str, tenant: str, key: Key | None, *, ca: ssl.SSLContext | None = None, http2: bool = False
    ) -> None:
        headers = {"Authorization": f"Bearer {key.text}"} if key else {}
        self.base, self.tenant, self.key = base, tenant, key
        # Without TLS there is nothing to verify; loading the system's authorities would take longer than a request.
        # All connections are kept: closing those that are too many, httpx may meet one that another thread was just given.
        limits = httpx.Limits(max_connections=100, max_keepalive_connections=100)
        self.http = httpx.Client(
            base_url=base, headers=headers, timeout=60.0, verify=ca or False, http2=http2, trust_env=False, limits=limits
        )

    @property
    def t(self) -> str:
        """`T` of the design: the tenant's path."""
        return f"/v1/tenants/{self.tenant}"

    def close(self) -> None:
        """Closes its connections."""
        self.http.close()

    # in

    def post_events(self, body: bytes, kind: str = ONE, receipts: bool = False, **headers: str) -> httpx.Response:
        """`POST T/events` with a body as it is."""
        query = {"receipts": "full"} if receipts else None
        return self.http.post(f"{self.t}/events", params=query, content=body, headers={"Content-Type": kind} | headers)

    def publish(self, *events: Any, receipts: bool = False, compress: bool = False) -> list[dict[str, Any]]:
        """Publishes events (dicts, or bytes as they are) and returns their results; must succeed."""
        bodies = [e if isinstance(e, bytes) else json.dumps(e).encode() for e in events]
        body, kind = (bodies[0], ONE) if len(bodies) == 1 else (b"[" + b",".join(bodies) + b"]", BATCH)
        headers = {}
        if compress:
            body, headers = gzip.compress(body), {"Content-Encoding": "gzip"}
        answer = patiently(lambda: self.post_events(body, kind, receipts, **headers))
        assert answer.status_code == 200, answer.text
        results = answer.json()["results"]
        assert len(results) == len(events)
        return results

    # log

    def get(self, path: str, **query: Any) -> httpx.Response:
        """GET below `T`."""
        return self.http.get(self.t + path, params=query or None)

    def _text(self, path: str, **query: Any) -> str:
        answer = self.get(path, **query)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"
        return answer.text

    def checkpoint(self) -> str:
        """The newest checkpoint."""
        return self._text("/logs/1/checkpoint")

    def size(self) -> int:
        """The tree size of the newest checkpoint."""
        return int(self.checkpoint().split("\n")[1])

    def tile(self, path: str) -> bytes:
        """A hash tile (`0/000`) or an entry bundle (`entries/000.p/5`)."""
        answer = self.get(f"/logs/1/tile/{path}")
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"
        return answer.content

    def keys_document(self) -> dict[str, Any]:
        """The keys that sign the log."""
        return json.loads(self._text("/logs/1/keys"))

    def receipt(self, index: int | None = None, **key: str) -> str:
        """A receipt by index, or by `producer=`, `source=`, `id=`."""
        return self._text("/receipts", **({"index": index} if index is not None else key))

    def consistency(self, first: int, to: int) -> list[str]:
        """Hashes of a consistency proof."""
        return json.loads(self._text("/proofs/consistency", **{"from": first, "to": to}))["proof"]

    # feed

    def page(self, **query: Any) -> Page:
        """One page of the feed."""
        answer = self.get("/entries", **query)
        assert answer.status_code == 200, answer.text
        assert answer.content.endswith(b"\n")
        *lines, end = answer.content.split(b"\n")[:-1]
        return Page(lines, json.loads(end), answer.headers.get("link"))

    def feed(self, **query: Any) -> Iterator[tuple[int, bytes]]:
        """All entries published by now as (index, leaf bytes); `scanned` must be without holes."""
        query.setdefault("limit", 1000)
        expected = None
        while True:
            page = self.page(**query)
            begin, end = page.end["scanned"]
            assert expected in (None, begin), f"scanned {begin}, expected {expected}"
            yield from zip(page.indexes, page.leaves, strict=True)
            expected = end
            if page.next is None or end >= page.end["size"]:
                return
            query["after"] = page.next

    def entries(self, **query: Any) -> list[dict[str, Any]]:
        """All entries published by now, decoded."""
        return [json.loads(leaf) for _, leaf in self.feed(**query)]

    def entry(self, index: int) -> dict[str, Any]:
        """One entry, decoded."""
        return json.loads(self._text(f"/entries/{index}"))

    def disclosures(self, index: int) -> str:
        """What is left of an entry's payload; one disclosure per line."""
        return self._text(f"/entries/{index}/disclosures")

    # operation

    def erase(self, index: int | list[int], *fields: str) -> dict[str, Any]:
        """Erases payload of one entry or of several."""
        body: dict[str, Any] = {"indexes": index if isinstance(index, list) else [index]} | ({"fields": list(fields)} if fields else {})
        answer = patiently(lambda: self.http.post(f"{self.t}/erasures", json=body))
        assert answer.status_code == 200, answer.text
        return answer.json()

    def rotate(self, use: str, overlap: int = 0) -> dict[str, Any]:
        """Replaces a signing key."""
        answer = self.http.post(f"{self.t}/keys/rotate", json={"use": use, "overlap": overlap})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def add_key(self, roles: list[str], producer: str | None = None, person: str | None = None, name: str = "") -> Key:
        """Issues an API key."""
        body = {"roles": roles, "producer": producer, "person": person, "name": name}
        answer = patiently(lambda: self.http.post(f"{self.t}/keys", json=body))
        assert answer.status_code == 201, answer.text
        return Key(answer.json()["key"])
