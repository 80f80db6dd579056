"""A log by somebody who holds our journal and log keys: every signature, digest, salt and proof of it is right.

The formats are those of `proto/vectors`, an implementation of its own. Whatever posting would refuse, this log holds all the same.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from .manual import ROOT

sys.path.insert(0, str(ROOT / "proto" / "vectors"))

import make_vectors  # noqa: E402
import policies  # noqa: E402
from formats import b64url, checkpoint, digest, hmac256, jcs, jcs_text, leaf_hash, sha256, sign_place, split  # noqa: E402

at = policies.at
THIRD = policies.THIRD
SMALL = {"clause": "payments/small", "clauses": ["payments/small"]}


class Log(make_vectors.Log):
    """A log in which nothing is confirmed: decisions are entries whatever they rest on."""

    def judge_anyhow(self, event: dict[str, Any], time: str, producer: str = "gw-1") -> int:
        """A decision of ours that posting would not let stand."""
        body = json.dumps(event, ensure_ascii=False).encode()
        self.begin(f"verdicts.r1.{producer}", body, time, signature=sign_place(make_vectors.JKEY, "acme", self.epoch, f"verdicts.r1.{producer}", 0, body))
        plain, fields = split(event, ours=True)
        return self.put("decision", producer, plain, event, fields, (producer, event["source"], event["id"]))


class Forger:
    """A tenant's log with two versions of policies, of which the second is in force, and ways to forge what comes after them."""

    def __init__(self) -> None:
        self.log = log = Log("forged")
        add = {"op": "add", "key_id": policies.AUTHOR["key"], "sha256": b64url(sha256(b"x")), "roles": ["author"], "producer": None,
               "person": "p-ana", "name": "Ana", "by": policies.ADMIN, "reason": None}  # fmt: skip
        log.signed("system.access", add, policies.at(0), "access")
        policies.rules(log, people_salt_key())
        self.bundles = policies.Bundles(log)
        first = {"agents.yaml": policies.AGENTS, "policies/payments.yaml": policies.PAYMENTS, "tools.yaml": policies.TOOLS}
        for path in sorted(first):
            self.bundles.part(first[path], policies.at(1))
        self.propose(first, 1)
        self.bundles.activate(1, 2, ["all new"], "First.")
        self.first = (self.bundles.in_force, 1)
        self.bundles.part(policies.SECOND, policies.at(3))
        self.files = first | {"policies/payments.yaml": policies.SECOND}
        self.propose(self.files, 3)
        self.bundles.activate(2, 4, ["payments/eu-only: new"], "Second.")
        self.second = (self.bundles.in_force, 2)
        self.honest("c-1", 5)

    def propose(self, files: dict[str, str], minute: int) -> int:
        """Records a bundle."""
        return self.bundles.bundle(self.bundles.form(files, "For the test.", policies.at(minute)), policies.at(minute))

    def decided(self, id: str, minute: int, bundle: Any = ..., verdict: str = "allow", code: str = "allowed", **more: Any) -> dict[str, Any]:
        """What the server says of the golden log's transfer, in full."""
        fits = {} if code in ("no_policy", "contended") else SMALL
        kept = {"obligations": {"no_onward": True, "retain_days": 365}, "shadow": {"verdict": "allow", "code": "allowed", "clause": "payments/small"}}
        bundle = self.second if bundle is ... else bundle
        more = fits | (kept if bundle == self.second else {}) | more
        return policies.answer(self.log, policies.question(id), policies.at(minute), bundle, verdict, code, **more)

    def honest(self, id: str, minute: int) -> int:
        """A decision as our decider makes it."""
        return self.log.judge(self.decided(id, minute), policies.at(minute))

    def forge(self, event: dict[str, Any], minute: int, second: int = 0, nanos: int = 0, producer: str = "gw-1") -> int:
        """Such an event as an entry."""
        return self.log.judge_anyhow(event, policies.at(minute, second, nanos), producer)

    def activation(self, activates: dict[str, Any], id: str, version: int) -> None:
        """An entry by which a bundle takes effect, of the message that came last."""
        event = {"op": "activate", "approval_id": id, "version": version} | {name: value for name, value in activates.items() if name != "before"}
        self.log.put("policy", None, event, event, {}, ("", "policy", ""))

    def replace_part(self, text: str, content: str) -> None:
        """Another content for a file that is in the log already: its entry commits to it."""
        index = self.bundles.parts[text]
        entry, kept = json.loads(self.log.entries[index]), self.log.kept[index]
        (before,) = map(json.loads, kept["disclosures"])
        kept["disclosures"] = [jcs_text([before[0], "content", content])]
        entry["payload"] = [digest(kept["disclosures"][0])]
        self.log.entries[index] = jcs(entry)

    def export(self, folder: Path) -> str:
        """Writes the export with every disclosure. Returns the log's verifier key."""
        return export(self.log, folder)


def people_salt_key() -> bytes:
    """The key of the salts of people."""
    return hmac256(make_vectors.SALT_KEY, b"countersign-people-v1")


def export(log: Log, folder: Path) -> str:
    """Writes the export with every disclosure, as `countersign export` does. Returns the log's verifier key."""
    hashes = [leaf_hash(entry) for entry in log.entries]
    size = len(hashes)
    assert size < 256, "one partial tile"
    vkey = make_vectors.LOG.vkey
    keys = {"origin": make_vectors.ORIGIN, "keys": [{"vkey": vkey, "first_size": 1, "last_size": None, "index": 0, "receipt": None}]}
    files = {
        f"tile/entries/000.p/{size}": b"".join(len(entry).to_bytes(2, "big") + entry for entry in log.entries),
        f"tile/0/000.p/{size}": b"".join(hashes),
        "keys.json": json.dumps(keys).encode(),
        "checkpoint": checkpoint(make_vectors.ORIGIN, hashes, make_vectors.LOG).encode(),
    }
    for index, kept in enumerate(log.kept):
        if kept["disclosures"]:
            files[f"disclosures/{index}.disclosures"] = "".join(f"{line}\n" for line in kept["disclosures"]).encode()
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return vkey
