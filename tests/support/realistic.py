"""Realistic calls that ask people, and the displays by which they are read."""

from __future__ import annotations

from typing import Any

from .pages import Office
from .realistic_calls import CALLS as CALLS
from .realistic_calls import Call as Call

RULES = """
[[display]]
tool = "payments"
action = "transfer"
title = "{amount} to {/to/name}, {/to/country}"
amount = {minor = "/amount", currency = "/currency"}
lead = ["/to/iban", "/reference", "/due"]
labels = {"/to/iban" = "Account", "/due" = "Due"}
kinds = {"/to/iban" = "account", "/due" = "time", "/to/country" = "country"}

[[display]]
tool = "payments"
action = "refund"
title = "{amount} back to {/customer}"
amount = {minor = "/amount", currency = "EUR"}
lead = ["/order"]

[[display]]
tool = "salaries"
title = "Salaries for {/month}: {#/lines|person|people}, {amount} in all"
amount = {minor = "/total", currency = "/currency"}
lead = ["/lines"]
count = ["/lines"]
kinds = {"/lines/*/amount" = "money"}

[[display]]
tool = "export"
title = "Health data of {/patients|person|people} to {/receiver}"
lead = ["/columns", "/deidentified", "/expires"]
kinds = {"/expires" = "time"}

[[display]]
tool = "mail"
title = "E-mail “{/subject}” to {#/to|person|people}"
lead = ["/to", "/subject", "/body", "/link"]
labels = {"/to" = "To"}
kinds = {"/body" = "text", "/link" = "link"}

[[display]]
tool = "deploy"
title = "Deploy {/service}, version {/version}, to {/environment}"
lead = ["/image"]

[[rule]]
name = "everything with money"
quorum = {all = [{at_least = 1, of = "finance"}, {at_least = 1, of = "security"}]}
approve_within = "6h"
[rule.match]
tool = ["payments", "salaries"]

[[rule]]
name = "everything else"
quorum = {at_least = 1, of = "finance"}
approve_within = "30h"
owner = "none"
"""

PEOPLE: dict[str, dict[str, Any]] = {
    "p-maria": {"name": "Maria Lindqvist", "groups": ["finance"]},
    "p-jonas": {"name": "Jonas Weber", "groups": ["finance", "security"]},
    "p-eva": {"name": "Eva Horvath", "groups": ["security"]},
    "p-nils": {"name": "Nils Berg", "groups": ["finance", "security"]},
    "p-ana": {"name": "Ana Lima", "groups": ["support"], "owns": ["payments-bot", "billing-bot", "hr-bot", *(f"bot-{n}" for n in range(9))]},
}


class Desk(Office):
    """A server with displays in its rules."""

    def put_in_force(self) -> None:
        self.people = {id: dict(person) for id, person in PEOPLE.items()}
        self.write(RULES, [{"id": id, **person} for id, person in self.people.items()])
        self.apply()
