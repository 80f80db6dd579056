"""Lists in pages: nothing is left out when what a page ended with is over, and no cursor says more than it means."""

from __future__ import annotations

from typing import Any

import pytest
from support import until
from support.client import Client
from support.events import new_id
from support.house import INVENTED, House, Paused, code, seen

WAYS = ["cancel", "deny", "grant"]


def page(client: Client, **query: Any) -> tuple[list[str], str | None]:
    """Ids of one page, and its cursor."""
    answer = client.get("/approvals", **query)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    return [approval["id"] for approval in body["approvals"]], body["next"]


def listed(house: House, *waiting: Paused) -> None:
    """Waits until these are in the list."""
    def there() -> bool:
        found: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            ids, next_ = page(house.gateway(), limit=200, **cursor)
            found += ids
            if next_ is None:
                return {one.id for one in waiting} <= set(found)
            cursor = {"after": next_}

    until("they are listed", there)


def end(house: House, id: str, way: str, made: list[Paused]) -> None:
    """Ends one of ours, or takes it a step further."""
    one = next(one for one in made if one.id == id)
    answer = house.cancel(one) if way == "cancel" else house.review(one, "p-ana", "approve" if way == "grant" else "deny")
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("state", ["open", "pending"])
@pytest.mark.parametrize("way", WAYS)
def test_a_page_goes_on_behind_what_ended(house: House, state: str, way: str) -> None:
    """Each page's last one ends before the next page is asked for: the others come all the same, each once."""
    made = [house.pause(agent=new_id("agent")) for _ in range(5)]
    listed(house, *made)
    whole, cursor = [], {}
    while True:
        ids, next_ = page(house.gateway(), state=state, limit=1, **cursor)
        whole += ids
        if next_ is None:
            break
        if next_ in [one.id for one in made]:
            end(house, next_, way, made)
        cursor = {"after": next_}
    ours = [id for id in whole if id in [one.id for one in made]]
    assert sorted(ours) == sorted(one.id for one in made)
    house.server.restart(kill=True)
    assert page(house.gateway(), state=state, limit=200, after=whole[-1]) == ([], None)


def test_what_ended_is_listed_the_last_one_first(house: House) -> None:
    """And what ends meanwhile stands before the cursor."""
    made = [house.pause(agent=new_id("agent")) for _ in range(4)]
    for one in made[:3]:
        assert house.cancel(one).status_code == 200
    until("they ended", lambda: page(house.gateway(), state="recent", limit=3)[0] == [one.id for one in made[2::-1]])
    first, cursor = page(house.gateway(), state="recent", limit=2)
    assert first == [made[2].id, made[1].id] and cursor == made[1].id
    assert house.cancel(made[3]).status_code == 200
    until("it ended", lambda: page(house.gateway(), state="recent", limit=1)[0] == [made[3].id])
    assert page(house.gateway(), state="recent", limit=1, after=cursor)[0] == [made[0].id]


def test_a_cursor_is_one_of_this_list(house: House) -> None:
    """Nonsense, an approval that is not the caller's, one that is not over, limits and states that are none: 400."""
    mine = house.pause(agent=new_id("agent"))
    gateway = house.gateway()
    for query in ({"after": ""}, {"after": "nonsense"}, {"after": "NOT AN ID"}, {"after": INVENTED}, {"after": "AAAA"},
                  {"after": mine.id, "state": "recent"}, {"limit": 0}, {"limit": 201}, {"limit": -1}, {"limit": "x"},
                  {"state": "Open"}, {"state": ""}, {"states": "open"}):
        assert code(gateway.get("/approvals", **query)) == (400, "bad_request"), query
    other = house.gateway("gw-2")
    assert page(other, state="open") == ([], None)
    told = [other.get("/approvals", after=after) for after in (mine.id, INVENTED)]
    assert seen(told[0]) == seen(told[1]) and code(told[0]) == (400, "bad_request")
    for wait in (61, -1, "x"):
        assert code(gateway.get(f"/approvals/{mine.id}", wait=wait)) == (400, "bad_request")


def test_a_reviewers_list_goes_on_behind_what_they_answered(house: House) -> None:
    made = [house.pause(agent=new_id("agent")) for _ in range(4)]
    listed(house, *made)
    ana = house.person("p-ana")
    found, cursor = [], {}
    while True:
        ids, next_ = page(ana, state="pending", limit=1, **cursor)
        found += ids
        if next_ is None:
            break
        if next_ in [one.id for one in made]:
            end(house, next_, "deny", made)
        cursor = {"after": next_}
    assert {one.id for one in made} <= set(found) and len(found) == len(set(found))
