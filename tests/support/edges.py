"""Rules and people of the edge-case journeys: one rule for each action."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from .house import code
from .server import toml

FINANCE = '{at_least = 1, of = "finance"}'
TWO = '{at_least = 2, of = "finance"}'


def rule(action: str, quorum: str = FINANCE, owner: str = "none", **members: Any) -> str:
    """A rule for one action."""
    lines = [f"{name} = {toml(value)}" for name, value in members.items()]
    return "\n".join(["[[rule]]", f"name = {toml(action)}", f"quorum = {quorum}", f"owner = {toml(owner)}", *lines,
                      f"match = {{action = {toml(action)}}}", ""])  # fmt: skip


CATCH_ALL = f'[[rule]]\nname = "everything else"\nquorum = {FINANCE}\nowner = "none"\n'
RULES = "\n".join([
    rule("one"), rule("two", TWO), rule("deny-2", TWO, deny=2), rule("owned", FINANCE, owner="known"),
    rule("all", '{all = [{at_least = 1, of = "finance"}, {at_least = 1, of = "legal"}]}'),
    rule("any", '{any = [{at_least = 2, of = "legal"}, {at_least = 3, of = "finance"}]}'),
    rule("step-up", step_up="10m"), rule("short", approve_within="2s"), rule("hasty", execute_within="6s"),
    rule("fleeting", token_life="1s"), rule("silent", report_within="1s"), CATCH_ALL,
])  # fmt: skip
#: Who is in which groups; p-both is in two.
GROUPS = {"p-ana": ["finance"], "p-bob": ["finance"], "p-cem": ["finance"], "p-lea": ["legal"], "p-leo": ["legal"],
          "p-both": ["finance", "legal"]}  # fmt: skip


def people(**over: Any) -> list[dict[str, Any]]:
    """Everybody; `p_ana={…}` replaces members of p-ana."""
    changed = {name.replace("_", "-"): members for name, members in over.items()}
    return [{"id": id, "name": id, "groups": groups} | changed.get(id, {}) for id, groups in GROUPS.items()]


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """All at the same moment, as far as threads can."""
    barrier = threading.Barrier(len(calls))

    def one(call: Callable[[], Any]) -> Any:
        barrier.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(one, calls))


def status(answer: httpx.Response) -> str:
    """`ok`, or the code of a refusal."""
    return "ok" if answer.status_code == 200 else code(answer)[1]
