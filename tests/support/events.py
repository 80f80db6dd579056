"""Valid events (`proto/formats/event.md`)."""

from __future__ import annotations

import copy
import itertools
import os
from typing import Any

DECISION = "dev.countersign.decision.v1"
HEARTBEAT = "dev.countersign.heartbeat.v1"
EXECUTION = "dev.countersign.execution.v1"

_ids = itertools.count(1)


def new_id(prefix: str = "e") -> str:
    """An id no other test of this run uses."""
    return f"{prefix}-{os.getpid()}-{next(_ids)}"


def event(**over: Any) -> dict[str, Any]:
    """A decision event. Keyword arguments replace attributes; `data=` members replace members of `data`.

    `event(id="7", data={"verdict": "allow"}, payload={"params": {}})`: `payload` replaces the whole payload;
    a value of `...` removes the attribute or member.
    """
    made: dict[str, Any] = {
        "specversion": "1.0",
        "id": new_id(),
        "source": "/gateways/gw-1",
        "type": DECISION,
        "time": "2026-11-20T05:48:00.123456789Z",
        "data": {
            "agent": {"id": "agent-7", "run": "run-1", "chain": ["root", "planner"]},
            "tool": {"name": "payments", "action": "transfer"},
            "verdict": "deny",
            "mode": "enforce",
            "reason": {"code": "amount_over_limit"},
            "policy": {"id": "payments", "version": "12", "digest": "sha256:0f"},
            "latency_us": 412,
            "labels": {"region": "eu"},
            "payload": {"params": {"iban": "DE02120300000000202051", "amount": "950.00"}, "owner": "kim"},
        },
    }
    data = over.pop("data", {})
    payload = over.pop("payload", None)
    _replace(made, copy.deepcopy(over))
    if isinstance(data, dict) and isinstance(made.get("data"), dict):
        _replace(made["data"], copy.deepcopy(data))
    elif data is ...:
        del made["data"]
    else:
        made["data"] = data
    if payload is not None:
        made["data"]["payload"] = copy.deepcopy(payload)
    return made


def _replace(target: dict[str, Any], members: dict[str, Any]) -> None:
    for name, value in members.items():
        if value is ...:
            target.pop(name, None)
        else:
            target[name] = value


def heartbeat(last: int, source: str = "/gateways/gw-1", **over: Any) -> dict[str, Any]:
    """A heartbeat: the last number that `source` has published."""
    made = {
        "specversion": "1.0",
        "id": new_id("hb"),
        "source": source,
        "type": HEARTBEAT,
        "time": "2026-11-20T05:48:00Z",
        "sequence": str(last),
    }
    _replace(made, over)
    return made


def execution(index: int, leaf_hash: str, source: str = "/gateways/gw-1", **data: Any) -> dict[str, Any]:
    """A report that the call of a decision was made; keyword arguments are more members of its data."""
    return {
        "specversion": "1.0",
        "id": new_id("x"),
        "source": source,
        "type": EXECUTION,
        "time": "2026-11-20T05:48:00Z",
        "data": {"decision": {"index": index, "leaf_hash": leaf_hash}} | data,
    }
