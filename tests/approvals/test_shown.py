"""Opening an approval is evidence: once for each person, approval and version, and no part of what decides (P20 P10)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from support import Server, until
from support.edges import at_once
from support.house import House, Paused
from support.pages import Office
from support.pages import Paused as OfOffice
from support.schemas import check


def shown(server: Server, approval: Paused | OfOffice) -> list[dict[str, Any]]:
    """To whom it was shown, in the order of the log."""
    found = [json.loads(leaf) for _, leaf in server.admin.feed(kind="evidence")]
    mine = [entry for entry in found if entry["event"]["approval_id"] == approval.id and "shown" in entry["event"]]
    for entry in mine:
        check("entry", entry)
        assert entry["payload"] == [] and set(entry["event"]) == {"approval_id", "shown"}
    return [entry["event"]["shown"] for entry in mine]


def look(house: House, made: Paused, person: str) -> int:
    """`GET T/approvals/{id}` with a person's key; the version that is shown."""
    answer = house.person(person).get(f"/approvals/{made.id}")
    assert answer.status_code == 200, answer.text
    return answer.json()["version"]


def test_p20_a_view_by_the_api_is_noted_once(house: House) -> None:
    """Each person and version once, however often and by how many at once; auditors and gateways are nobody who answers."""
    made = house.pause(action="two")
    version = look(house, made, "p-ana")
    at_once(*[lambda: look(house, made, "p-ana") for _ in range(12)])
    house.server.admin.get(f"/approvals/{made.id}")
    house.state(made)
    assert look(house, made, "p-bob") == version
    until("both are noted", lambda: len(shown(house.server, made)) >= 2)
    first = [{"to": person, "version": version, "via": "api"} for person in ("p-ana", "p-bob")]
    assert shown(house.server, made) == first
    steps = house.count(made)
    assert house.review(made, "p-ana", comment="as agreed").status_code == 200
    assert house.count(made) == steps | {"reviewed": 1}, "the approval has its own entries alone"
    later = look(house, made, "p-ana")
    assert later > version
    until("the new version is noted", lambda: len(shown(house.server, made)) == 3)
    assert shown(house.server, made)[2] == {"to": "p-ana", "version": later, "via": "api"}


def test_p20_a_restart_forgets_no_view(make_house: Any) -> None:
    """What was noted before a kill is not noted again; a review is as before."""
    house = make_house()
    made = house.pause(action="two")
    look(house, made, "p-ana")
    until("it is noted", lambda: shown(house.server, made))
    house.server.restart(kill=True)
    look(house, made, "p-ana"), look(house, made, "p-bob")
    until("the other one is noted", lambda: len(shown(house.server, made)) >= 2)
    assert [one["to"] for one in shown(house.server, made)] == ["p-ana", "p-bob"]
    assert house.review(made, "p-bob").status_code == 200


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """A server that browsers reach."""
    with Server(tmp_path_factory.mktemp("office")) as server:
        yield Office.open(server)
        server.stop()
        server.fsck().ok()


def test_p20_the_web_page_is_told_apart(office: Office) -> None:
    """The page says `web`; the inbox, the sign-in and the question whether something changed say nothing."""
    paused = office.listed(office.pause({"amount": 125000, "currency": "EUR"}))
    maria, jonas = office.visitor("p-maria"), office.visitor("p-jonas")
    assert maria.get("/").status_code == 200 and maria.get(f"/approvals/{paused.id}/changed?version=1").status_code == 200
    assert office.visitor().get(f"/approvals/{paused.id}").status_code in (200, 303, 401), "nobody is signed in"
    assert jonas.get(f"/approvals/{paused.id}").status_code == 200
    until("jonas is noted", lambda: shown(office.server, paused))
    assert [(one["to"], one["via"]) for one in shown(office.server, paused)] == [("p-jonas", "web")]
    assert maria.review(paused, "approve", "seen").status_code == 303
    until("maria is noted", lambda: len(shown(office.server, paused)) >= 2)
    told = shown(office.server, paused)
    assert (told[1]["to"], told[1]["via"], told[1]["version"]) == ("p-maria", "web", told[0]["version"])
    reviewed = [event for event in office.entries(paused) if event["type"] == "reviewed"]
    assert [event["via"] for event in reviewed] == ["web"]
