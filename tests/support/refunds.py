"""Like calls: refunds that differ in a few values, and rules about them."""

from __future__ import annotations

from typing import Any

from .events import new_id
from .pages import Office, Paused

RULES = """
[[display]]
tool = ["payments", "guarded", "careful"]
title = "{amount} back to {/customer}"
amount = {minor = "/amount", currency = "/currency"}
lead = ["/account", "/order", "/shop"]
labels = {"/account" = "Account", "/order" = "Order", "/shop" = "Shop"}
kinds = {"/account" = "account"}

[[rule]]
name = "refunds of two"
quorum = {at_least = 2, of = "finance"}
approve_within = "6h"
owner = "none"
[rule.match]
tool = "payments"
action = "payout"

[[rule]]
name = "refunds"
quorum = {at_least = 1, of = "finance"}
approve_within = "6h"
owner = "none"
[rule.match]
tool = "payments"

[[rule]]
name = "with a sign-in"
quorum = {at_least = 1, of = "finance"}
approve_within = "6h"
step_up = "1h"
owner = "none"
[rule.match]
tool = "guarded"

[[rule]]
name = "one by one"
quorum = {at_least = 1, of = "finance"}
approve_within = "6h"
one_by_one = true
owner = "none"
[rule.match]
tool = "careful"

[[rule]]
name = "everything else"
quorum = {at_least = 1, of = "finance"}
approve_within = "6h"
owner = "none"
"""
#: Accounts of the refunds.
ACCOUNTS = ["DE89370400440532013000", "FR1420041010050500013M02606"]


class House(Office):
    """A server with rules about refunds."""

    def put_in_force(self) -> None:
        self.write(RULES, [{"id": id, **person} for id, person in self.people.items()])
        self.apply()

    def refunds(self, count: int, tool: str = "payments", action: str = "refund", **over: Any) -> list[Paused]:
        """Like calls: EUR 10.00, 11.00 and so on, of three agents unless one is named."""
        # Agents of their own: after a denial nobody is asked about the same agent, tool and action for a while.
        agent, mark = over.pop("agent", None), new_id("bot")
        made = [self.pause(refund(n) | over, tool=tool, action=action, agent=agent or f"{mark}-{n % 3}") for n in range(count)]
        for one in made:
            self.listed(one)
        return made

    def of(self, call: Paused, kind: str = "reviewed") -> list[dict[str, Any]]:
        """The answers in the log."""
        return [event for event in self.entries(call) if event["type"] == kind]


def refund(n: int) -> dict[str, Any]:
    return {"amount": 1000 + 100 * n, "currency": "EUR", "customer": f"cus_{n}", "account": ACCOUNTS[n % 2], "order": f"B-{n}",
            "shop": "Lisbon", "memo": {"batch": 7, "ticket": f"T-{n}"}}  # fmt: skip
