"""What the fault tests of approvals share: rules with short times, clients that repeat, counting in the log."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx

from support import Client, until
from support.house import House, Paused

PEOPLE = [{"id": f"p-{name.lower()}", "name": name, "groups": ["finance"]} for name in ("Ann", "Bob", "Cem")]
#: How long a client repeats what was not answered, in seconds.
RETRY_SECONDS = 120.0
#: How long it waits for one answer.
ANSWER_SECONDS = 30.0


def rules(approve_within: str = "1h", execute_within: str = "1h", token_life: str = "900s", more: str = "") -> str:
    """One rule for every call: one of finance says yes, whoever owns the agent."""
    return f"""
[[rule]]
name = "everything"
quorum = {{at_least = 1, of = "finance"}}
owner = "none"
approve_within = "{approve_within}"
execute_within = "{execute_within}"
token_life = "{token_life}"
{more}
"""


def until_told(send: Callable[[], httpx.Response], seconds: float = RETRY_SECONDS) -> httpx.Response | None:
    """Repeats a request as a well-behaved client does, until its answer is not "try again"; `None`: none in time."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            answer = send()
            if answer.status_code != 503:
                return answer
        except httpx.TransportError:
            pass
        if time.monotonic() > deadline:
            return None
        # Not a wait for anything: the pace of a client that was told to come again.
        time.sleep(0.1)


def told(send: Callable[[], httpx.Response], *statuses: int) -> dict[str, Any]:
    """What `until_told` brings: one of these statuses (200, 201 unless given)."""
    answer = until_told(send)
    assert answer is not None, f"no answer in {RETRY_SECONDS} s"
    assert answer.status_code in (statuses or (200, 201)), answer.text
    return dict(answer.json())


def approve(house: House, call: Paused, **over: Any) -> httpx.Response:
    """Ann says yes to the first version."""
    return house.review(call, "p-ann", **({"version": 1} | over))


def ask(house: House, **over: Any) -> Paused:
    """A call that waits for people; options of `House.new`. Published as an event: the worker that follows the log opens it."""
    call, gateway = house.new(**over), house.gateway()
    told(lambda: gateway.http.post(f"{gateway.t}/events", json=call.event))
    until(f"{call.id} to be open", lambda: gateway.get(f"/approvals/{call.id}").status_code == 200)
    return call


def minted(house: House) -> tuple[Paused, str]:
    """A call that was granted, and its token."""
    call = ask(house)
    told(lambda: approve(house, call))
    return call, told(lambda: house.token(call))["token"]


def events_of(client: Client) -> dict[str, list[dict[str, Any]]]:
    """Every approval of the published log: its events in order."""
    found: dict[str, list[dict[str, Any]]] = {}
    for entry in client.entries(kind="approval"):
        found.setdefault(entry["event"]["approval_id"], []).extend(entry["event"]["events"])
    return found


def kinds(events: list[dict[str, Any]]) -> list[str]:
    """Their types."""
    return [event["type"] for event in events]
