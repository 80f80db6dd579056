"""Two sets of sixty calls of which twelve are wrong (`corpus/planted`): each made by somebody who had not seen the pages."""

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
