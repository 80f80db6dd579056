"""Three sets of sixty calls of which twelve are wrong (`corpus/planted`): each made by somebody who had not seen the pages."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

PLANTED = Path(__file__).parent.parent / "corpus" / "planted"
Call = dict[str, Any]


def first() -> list[Call]:
    """The first set."""
    calls: list[Call] = json.loads((PLANTED / "calls.json").read_text())
    return calls


def second() -> list[Call]:
    """The second set: the right calls of the first one, eleven of them with another error, and twelve more. In an order that says
    nothing."""
    made = json.loads((PLANTED / "second.json").read_text())
    kept = [call for call in first() if call["name"] not in made["drop"]]
    for call in kept:
        if change := made["change"].get(call["name"]):
            call.update(params=call["params"] | change["params"], wrong=change["wrong"], tells=change["tells"])
    order = lambda call: hashlib.sha256(call["name"].encode()).digest()  # noqa: E731
    return [call | {"n": n} for n, call in enumerate(sorted(kept + made["add"], key=order), 1)]


def third() -> list[Call]:
    """The third set, with a briefing of its own."""
    made: list[Call] = json.loads((PLANTED / "third.json").read_text())["add"]
    return made


#: Digits behind the point of an amount, where they are not two.
DECIMALS = {"JPY": 0, "KRW": 0, "KWD": 3}


def amount(minor: int, currency: str) -> str:
    """As on paper: `KWD 1,250.000`."""
    decimals = DECIMALS.get(currency, 2)
    return f"{currency} {minor / 10**decimals:,.{decimals}f}"


def telling(call: Call) -> list[str]:
    """What an approver must know of a call that is agreed, as the briefing writes it."""
    of = call["params"]
    match call["tool"], call["action"]:
        case "payments", "transfer":
            invoice = next(word for word in of["reference"].split() if any(c.isdigit() for c in word))
            return [invoice, of["to"]["name"], f"({of['to']['country']})", f"\u2026{of['to']['iban'][-4:]}", amount(of["amount"], of["currency"])]
        case "payments", "refund":
            return [of["order"], of["customer"], amount(of["amount"], "EUR")]
        case "salaries", "run":
            return [str(len(of["lines"])), amount(of["total"], of["currency"])]
        case "export", "health":
            return [of["receiver"], f"{of['patients']:,} patients", ", ".join(of["columns"]), "yes" if of["deidentified"] else "no"]
        case "mail", "send":
            return [of["subject"], f"{len(of['to']):,}", of["link"].split("/")[2]]
        case "deploy", "release":
            return [f"{of['service']} {of['version']}", of["environment"]]
    raise AssertionError(call["name"])


def is_in(call: Call, text: str) -> bool:
    """True if one line of a briefing has all that tells this call. The month of salaries stands above their lines."""
    month = call["params"].get("month", "")
    return month in text and any(all(part in line for part in telling(call)) for line in text.splitlines())


def briefing(calls: list[Call]) -> str:
    """What an approver of these calls knows: the notes of whoever made the first set, and a line for each right call of these that they
    lack."""
    notes = (PLANTED / "briefing.md").read_text()
    if calls[0]["name"] in {call["name"] for call in third()}:
        return notes + "\n" + (PLANTED / "third.md").read_text()
    added = [call for call in calls if not call["wrong"] and not is_in(call, notes)]
    lines = [f"- {call['tool']}, {call['action']}: {'; '.join(telling(call))}" for call in added]
    return notes + ("\n## Also agreed this week\n\n" + "\n".join(sorted(lines)) + "\n" if lines else "")
