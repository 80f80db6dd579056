"""Two servers of one tenant on one broker: what the one told of a moment ago is never a 404 at the other."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from support import NatsServer, Server, event
from support.client import Client
from support.edges import RULES, people
from support.house import INVENTED, House, code

#: Without a wait some of so many questions come too early, on any machine.
ROUNDS = 60


@pytest.fixture(scope="module")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with NatsServer(tmp_path_factory.mktemp("nats")) as nats:
        yield nats


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, nats: NatsServer, faults: Path) -> Iterator[tuple[House, House]]:
    """Two processes, copies of one directory, each with its own database and guard."""
    root = tmp_path_factory.mktemp("pair")
    first = House.ready(root / "first", RULES, people(), nats=nats.url)
    first.gateway(), first.person("p-ana"), first.server.as_("auditor"), first.server.as_("discloser")
    first.server.stop()
    server = Server(root / "second", nats=nats.url, sections=copy.deepcopy(first.server.sections))
    for folder in ("data", "keys", "guard"):
        shutil.copytree(first.server.root / folder, server.root / folder)
    server.keys, server.vkey, server.origin = dict(first.server.keys), first.server.vkey, first.server.origin
    second = House(server, RULES, people())
    houses = (first, second)
    for house in houses:
        house.server.signs_beside_others(faults)
        house.server.start()
        house.patient = False
    yield houses
    for house in houses:
        house.server.__exit__()


def test_p4_what_one_posted_the_other_does_not_deny(pair: tuple[House, House]) -> None:
    """Entries, receipts by index and by id, proofs up to a size, tiles, disclosures, cursors."""
    here, there = pair
    publisher, auditor = here.gateway(), there.server.admin
    for _ in range(ROUNDS):
        made = event()
        answer = publisher.http.post(f"{publisher.t}/events", json=made)
        index = answer.json()["results"][0]["index"]
        scope = {"producer": "gw-1", "source": made["source"], "id": made["id"]}
        asks: list[Callable[[], httpx.Response]] = [
            lambda: auditor.get(f"/entries/{index}"),  # noqa: B023: called at once
            lambda: auditor.get("/receipts", index=index),  # noqa: B023
            lambda: auditor.get("/receipts", **scope),  # noqa: B023
            lambda: auditor.get("/proofs/consistency", **{"from": 1, "to": index + 1}),  # noqa: B023
            lambda: there.server.as_("discloser").get(f"/entries/{index}/disclosures"),  # noqa: B023
        ]
        # Another one is asked first in each round: what it waited for is there for the next ones.
        first = asks[index % len(asks)]
        for ask in [first, *asks]:
            told = ask()
            assert told.status_code == 200, (told.request.url, told.text)


def test_p7_what_one_opened_the_other_knows(pair: tuple[House, House]) -> None:
    """Looked at, answered, minted, spent, reported, cancelled, revoked by its token: each step at the other server."""
    for turn in range(ROUNDS):
        here, there = pair if turn % 2 else pair[::-1]
        made = here.pause()
        if turn % 5 == 0:
            assert there.cancel(made).status_code == 200
            continue
        if turn % 5 == 1:
            # Without a look at it first.
            assert there.review(made, "p-ana", version=1).status_code == 200
            continue
        assert there.state(made)["state"] == "pending"
        assert there.review(made, "p-ana", version=1).status_code == 200
        token = here.token(made).json()
        if turn % 5 == 2:
            admin = there.server.admin
            answer = admin.http.post(f"{admin.t}/tokens/{token['jti']}/revoke", json={"reason": "mistake"})
            assert answer.status_code == 200, answer.text
            continue
        assert there.redeem(made, token["token"]).status_code == 200
        assert here.report(made).status_code == 200
        newest = here.state(made)["version"]
        assert there.state(made, after=newest, wait=0)["version"] == newest


def test_p12_what_is_nowhere_is_nothing_at_both(pair: tuple[House, House]) -> None:
    for house in pair:
        assert code(house.gateway().get(f"/approvals/{INVENTED}")) == (404, "not_found")
        admin = house.server.admin
        assert code(admin.get("/entries/1000000000")) == (404, "not_found")
        assert code(admin.get("/receipts", index=2**64 - 1)) == (404, "not_found")
        assert code(admin.get("/receipts", producer="gw-1", source="/x", id="y")) == (404, "not_found")
        assert code(admin.get("/proofs/consistency", **{"from": 1, "to": 10**9})) == (400, "bad_request")
        assert code(admin.get("/logs/1/tile/0/x999/999")) == (404, "not_found")
        assert code(admin.http.request("DELETE", f"{admin.t}/keys/{'0' * 16}")) == (404, "not_found")


def test_p8_without_the_broker_nobody_says_that_there_is_nothing(pair: tuple[House, House], nats: NatsServer) -> None:
    """What is not here may be in the journal: 503, and 404 again once that could be asked."""
    here, _ = pair
    known = here.pause()
    nats.stop()

    def asked(client: Client, path: str) -> tuple[int, str]:
        answer = client.get(path)
        return (200, "") if answer.status_code == 200 else code(answer)

    try:
        assert asked(here.gateway(), f"/approvals/{known.id}")[0] == 200
        for client, path in ((here.gateway(), f"/approvals/{INVENTED}"), (here.server.admin, "/entries/1000000000")):
            status, why = asked(client, path)
            assert (status, why) in {(503, "journal_unavailable"), (503, "behind")}, path
    finally:
        nats.start()
    here.patient = True
    assert here.open(here.new()).status_code == 201
    assert asked(here.gateway(), f"/approvals/{INVENTED}") == (404, "not_found")
