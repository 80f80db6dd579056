"""Every route with a request that is right, and the roles that may send it (P12)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from .client import ONE
from .events import event

ROLES = ["publisher", "enforcer", "reviewer", "author", "responder", "exporter", "auditor", "discloser", "admin"]
READERS = {"exporter", "auditor", "discloser", "admin"}
POLICY_READERS = {"author", "reviewer", "auditor", "discloser", "admin"}
ANY = set(ROLES)
T = "/v1/tenants/acme"

Send = tuple[str, str, dict[str, Any]]


def good_event() -> dict[str, Any]:
    return {"content": json.dumps(event()).encode(), "headers": {"Content-Type": ONE}}


#: route → (request, roles that may, statuses a permitted caller sees)
ROUTES: dict[str, tuple[Callable[[], Send], set[str], set[int]]] = {
    "events": (lambda: ("POST", f"{T}/events", good_event()), {"publisher"}, {200}),
    "opa": (lambda: ("POST", f"{T}/opa/logs", {"content": b"[]"}), {"publisher"}, {200, 204}),
    "opa partition": (lambda: ("POST", f"{T}/opa/logs/p", {"content": b"[]"}), {"publisher"}, {200, 204}),
    "checkpoint": (lambda: ("GET", f"{T}/logs/1/checkpoint", {}), ANY, {200}),
    "hash tile": (lambda: ("GET", f"{T}/logs/1/tile/0/000.p/1", {}), ANY, {200}),
    "bundle": (lambda: ("GET", f"{T}/logs/1/tile/entries/000.p/1", {}), READERS, {200}),
    "keys document": (lambda: ("GET", f"{T}/logs/1/keys", {}), ANY, {200}),
    "receipt": (lambda: ("GET", f"{T}/receipts?index=0", {}), READERS, {200}),
    "consistency": (lambda: ("GET", f"{T}/proofs/consistency?from=1&to=2", {}), ANY, {200}),
    "feed": (lambda: ("GET", f"{T}/entries", {}), READERS, {200}),
    "entry": (lambda: ("GET", f"{T}/entries/0", {}), READERS, {200}),
    "disclosures": (lambda: ("GET", f"{T}/entries/0/disclosures", {}), {"discloser"}, {200}),
    "list keys": (lambda: ("GET", f"{T}/keys", {}), {"admin"}, {200}),
    "add key": (lambda: ("POST", f"{T}/keys", {"json": {"roles": ["auditor"]}}), {"admin"}, {201}),
    "remove key": (lambda: ("DELETE", f"{T}/keys/0123456789abcdef", {}), {"admin"}, {404}),
    "rotate": (lambda: ("POST", f"{T}/keys/rotate", {"json": {"use": "token"}}), {"admin"}, {200}),
    "add a passkey": (lambda: ("POST", f"{T}/passkeys", {"json": {"request": "x"}}), {"admin"}, {400}),
    "link an account": (lambda: ("POST", f"{T}/accounts", {"json": {"person": "kim", "issuer": "x", "subject": "x"}}), {"admin"}, {400}),
    "ask": (lambda: ("POST", f"{T}/decisions", {"json": {}}), {"enforcer"}, {404}),
    "policies": (lambda: ("GET", f"{T}/policies", {}), POLICY_READERS, {404}),
    "policies for OPA": (lambda: ("GET", f"{T}/policies/bundle.tar.gz", {}), POLICY_READERS | {"enforcer"}, {404}),
    "policies of a version": (lambda: ("GET", f"{T}/policies/1", {}), POLICY_READERS, {404}),
    "propose": (lambda: ("POST", f"{T}/policies", {"json": {}}), {"author"}, {404}),
    "lists": (lambda: ("GET", f"{T}/lists", {}), POLICY_READERS, {404}),
    "one list": (lambda: ("GET", f"{T}/lists/hosts", {}), POLICY_READERS, {404}),
    "one version of a list": (lambda: ("GET", f"{T}/lists/hosts/1", {}), POLICY_READERS, {404}),
    "change a list": (lambda: ("POST", f"{T}/lists/hosts", {"json": {"add": ["a.example"], "comment": "x"}}), {"author"}, {404}),
    "rollback": (lambda: ("POST", f"{T}/policies/1/rollback", {"json": {"comment": "Too strict."}}), {"author"}, {404}),
    "counts": (lambda: ("GET", f"{T}/counts?from=2026-11-20&to=2026-11-21", {}), {"auditor", "admin"}, {200}),
    "budgets": (lambda: ("GET", f"{T}/budgets", {}), {"auditor", "admin", "author", "enforcer"}, {200}),
    "sources": (lambda: ("GET", f"{T}/sources", {}), {"auditor", "admin"}, {200}),
    "declare sources": (lambda: ("POST", f"{T}/sources", {"json": {"sources": [], "reason": "none"}}), {"admin"}, {200}),
    "sinks": (lambda: ("GET", f"{T}/sinks", {}), {"auditor", "admin"}, {200}),
    "test a sink": (lambda: ("POST", f"{T}/sinks/none/test", {}), {"admin"}, {404}),
    "letters of a sink": (lambda: ("GET", f"{T}/sinks/none/letters", {}), {"admin"}, {404}),
    "resend by a sink": (lambda: ("POST", f"{T}/sinks/none/resend", {"json": {"from": 0, "to": 1, "reason": "none"}}), {"admin"}, {404}),
    "alerts": (lambda: ("GET", f"{T}/alerts", {}), {"responder", "admin", "auditor"}, {200}),
    "close an alert": (lambda: ("POST", f"{T}/alerts/1/close", {"json": {"reason": "none"}}), {"responder", "admin"}, {404}),
    "incidents": (lambda: ("GET", f"{T}/incidents", {}), {"responder", "admin", "auditor"}, {200}),
    "export an incident": (lambda: ("GET", f"{T}/incidents/1", {}), {"responder", "admin", "auditor"}, {404}),
    "open an incident": (lambda: ("POST", f"{T}/incidents", {"json": {"reason": "none", "entries": [10**9]}}), {"responder", "admin"}, {400}),
    "note on an incident": (lambda: ("POST", f"{T}/incidents/1/notes", {"json": {"reason": "none"}}), {"responder", "admin"}, {404}),
    "close an incident": (lambda: ("POST", f"{T}/incidents/1/close", {"json": {"reason": "none"}}), {"responder", "admin"}, {404}),
    "freezes": (lambda: ("GET", f"{T}/freezes", {}), {"responder", "admin", "auditor", "enforcer", "publisher"}, {200}),
    "freeze": (lambda: ("POST", f"{T}/freezes", {"json": {"scope": "agent", "id": "", "reason": "none"}}), {"responder", "admin"}, {400}),
    "lift": (lambda: ("POST", f"{T}/freezes/1/lift", {"json": {"reason": "none"}}), {"responder", "admin"}, {404}),
    "issue an agent's token": (lambda: ("POST", f"{T}/agents/bot/tokens", {"json": {"scope": ["mail"]}}), {"admin", "enforcer"}, {404}),
    "agent's tokens": (lambda: ("GET", f"{T}/agents/bot/tokens", {}), {"admin", "auditor", "responder", "enforcer"}, {200, 404}),
    "revoke agent's tokens": (lambda: ("POST", f"{T}/agents/bot/tokens/revoke", {"json": {}}), {"admin", "responder", "enforcer"}, {200, 404}),
    "revoke an agent's token": (lambda: ("POST", f"{T}/agents/bot/tokens/1-0/revoke", {"json": {}}), {"admin", "responder", "enforcer"}, {404}),
    "retention": (lambda: ("GET", f"{T}/retention", {}), {"auditor", "admin"}, {200}),
    "set retention": (lambda: ("POST", f"{T}/retention", {"json": {"reason": "none"}}), {"admin"}, {200}),
    "prune": (lambda: ("POST", f"{T}/prunings", {"json": {"until": 256, "export": {"size": 1, "root": "x", "sha256": ""}, "reason": "none"}}), {"admin"}, {400}),
    "delete tenant": (lambda: ("POST", f"{T}/deletion", {"json": {"tenant": "another", "reason": "none"}}), {"admin"}, {400}),
    "hold": (lambda: ("POST", f"{T}/holds", {"json": {"hold": "Not A Name", "reason": "none"}}), {"admin"}, {400}),
    "release": (lambda: ("POST", f"{T}/holds/none/release", {"json": {"reason": "none"}}), {"admin"}, {404}),
    "erasure": (lambda: ("GET", f"{T}/erasures/{10**9}", {}), {"auditor", "admin"}, {404}),
    "erase": (lambda: ("POST", f"{T}/erasures", {"json": {"indexes": [10**9]}}), {"admin"}, {404}),
}
#: Routes whose other callers see 404 instead of 403: what is not theirs does not exist for them.
HIDDEN = {"receipt"}
OPERATOR: dict[str, Callable[[], Send]] = {
    "tenants": lambda: ("POST", "/v1/tenants", {"json": {"tenant": "NOT A NAME"}}),
    "backup": lambda: ("POST", "/v1/backup", {"json": {"name": "NOT A NAME"}}),
    "replicas": lambda: ("GET", "/v1/replicas", {}),
    "change the replicas": lambda: ("POST", "/v1/replicas/members", {"json": {"remove": ["NOT A NAME"]}}),
    "copy for a replica": lambda: ("POST", "/v1/replicas/copies", {"json": {"copy": "NOT A NAME"}}),
    "piece of a copy": lambda: ("GET", "/v1/replicas/copies/NOT-A-NAME/CURRENT?from=0", {}),
    "remove a copy": lambda: ("DELETE", "/v1/replicas/copies/NOT-A-NAME", {}),
    "checkpoint for a replica": lambda: ("GET", "/v1/replicas/logs/acme/checkpoint", {}),
    "keys for a replica": lambda: ("GET", "/v1/replicas/logs/acme/keys", {}),
    "tile for a replica": lambda: ("GET", "/v1/replicas/logs/acme/tile/0/000.p/1", {}),
    "metrics": lambda: ("GET", "/metrics", {}),
}
