#!/usr/bin/env python3
"""Writes the golden vectors of this folder; `formats.py` has the formats.

    python3 make_vectors.py [folder]        needs the package `cryptography`

Which messages are refused, and why, is said by hand.
"""
import base64, hashlib, json, pathlib, struct, sys
from datetime import datetime

import budgets, counting, following, freezes, histories, identities, passkeys, policies, redaction, replicas, spending, tokens
from formats import *

OUT = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent)
TENANT, PRODUCER = "acme", "gw-1"
ORIGIN = "log.example/v1/tenants/acme/logs/1"
JOURNAL = "jetstream:COUNTERSIGN_acme:2026-11-20T05:00:00.000000000Z"
SALT_KEY = bytes([9] * 32)

LOG, LOG2 = Key(ORIGIN, bytes([1] * 32)), Key(ORIGIN, bytes([4] * 32))
JKEY, TOKEN = Key(ORIGIN + "/journal", bytes([2] * 32)), Key(ORIGIN + "/token", bytes([3] * 32))

# Kinds on the chain `prior.system` (entry.md).
SYSTEM_KINDS = {"genesis", "journal_gap", "erasure", "access", "key", "rules", "journal", "clock", "trim", "signer", "policy", "sources", "retention", "members", "prune", "delivery", "alert", "incident", "freeze", "agent"}


class Log:
    """A journal and the log that follows from it. `about` says what the file shows."""

    def __init__(self, about, begins=None):
        self.epoch, self.posted, self.time, self.entry_time = 1, 0, "", ""
        self.entries, self.kept, self.keys, self.sources, self.subjects = [], [], {}, {}, {}
        self.prior, self.in_force, self.lists, self.token_kid = {}, None, {}, thumbprint(TOKEN.public)
        self.freezes = freezes.Freezes()
        self.identities = identities.Identities()
        self.budgets = budgets.Budgets()
        self.histories = histories.Histories()
        self.file = {
            "about": about, "tenant": TENANT, "origin": ORIGIN, "journal": JOURNAL,
            "salt_key": SALT_KEY.hex(), "messages": [],
        }
        genesis = {
            "v": 1, "origin": ORIGIN, "tenant": TENANT, "journal": JOURNAL, "log_keys": [LOG.vkey],
            "journal_keys": [JKEY.vkey], "token_keys": [TOKEN.vkey],
            "salt_key_id": sha256(SALT_KEY)[:8].hex(), "predecessor": None, "by": {"command": "init"},
        } | (begins or {})
        self.signed("system.genesis", genesis, "2026-11-20T05:48:00.000000000Z", "genesis")

    def put(self, kind, producer, event, whole, fields, scope, note=None, commit_name=""):
        salted = [disclosure(self.seed, scope, name, fields[name]) for name in sorted(fields, key=lambda n: n.encode("utf-16-be"))]
        commit_salt = salt(self.seed, scope, commit_name)
        entry = {
            "v": 1, "tenant": TENANT, "kind": kind, "producer": producer,
            "journal": {"epoch": self.epoch, "seq": self.message["seq"], "time": self.time},
            "commit": digest(jcs_text([commit_salt, "", whole])), "event": event,
            "payload": sorted(map(digest, salted)), "prior": dict(self.prior),
        }
        entry |= {"salt": "derived"} if "Countersign-Salt" not in self.message["headers"] else {}
        entry |= {"sequence": note} if note else {}
        text = jcs_text(entry)
        index, self.entry_time = len(self.entries), self.time
        if kind == "approval":
            self.prior["approval"] = index
        elif kind in SYSTEM_KINDS:
            self.prior["system"] = index
        self.entries.append(text.encode())
        self.kept.append({"commit_salt": commit_salt, "disclosures": salted, "whole": whole})
        self.message["entries"].append({
            "index": index, "kind": kind, "entry": text, "leaf_hash": b64(leaf_hash(text.encode())),
            "commit_salt": commit_salt, "whole": jcs_text(whole), "disclosures": salted, "digests": list(map(digest, salted)),
        })
        return index

    def begin(self, subject, body, time, salted=True, signature=None, missing=0, told=None):
        seq = self.posted + 1 + missing
        seed = hashlib.sha256(f"{self.epoch} {seq}".encode()).digest()[:16]
        headers = {"Countersign-Salt": b64url(seed)} if salted else {}
        headers |= {"Countersign-Signature": signature} if signature else {}
        headers |= {"Countersign-Refused": told} if told else {}
        self.seed = seed if salted else hmac256(SALT_KEY, struct.pack(">QQ", self.epoch, seq))
        self.message = {"epoch": self.epoch, "seq": seq, "time": time, "subject": subject, "headers": headers}
        try:
            self.message["body_text"] = body.decode()
        except UnicodeDecodeError:
            pass
        self.message |= {"body": b64(body), "outcome": None, "entries": []}
        self.file["messages"].append(self.message)
        # Not before the previous entry; a message without an entry moves nothing.
        self.time, self.posted = max(self.entry_time, time), seq
        if not subject.startswith(("decisions.", "verdicts.")):
            self.subjects[subject] = seq
        if missing:
            # A message further on says what stood there: `told` is its sequence.
            self.message["hole"] = {"from": seq - missing, "to": seq - 1, "told": None}

    def gone(self, seq):
        """A message with all leaves that it gave, as an erasure message names it."""
        message = next(m for m in self.file["messages"] if (m["epoch"], m["seq"]) == (self.epoch, seq))
        leaves = [json.loads(entry["entry"]) for entry in message["entries"]]
        return {"epoch": self.epoch, "seq": seq, "subject": message["subject"], "leaves": leaves}

    def erase(self, index, fields, seqs, who, time):
        """`system.erasure` of an entry: the message holds the leaves, its entry their hashes."""
        body = {"index": index, "leaf_hash": b64(leaf_hash(self.entries[index])), "fields": fields, "messages": list(map(self.gone, seqs))} | who
        short = [gone | {"leaves": [b64(leaf_hash(jcs(leaf))) for leaf in gone["leaves"]]} for gone in body["messages"]]
        self.signed("system.erasure", body, time, "erasure", event=body | {"messages": short}, whole=body | {"messages": short})
        self.kept[index]["commit_salt"] = None
        left = [d for d in self.kept[index]["disclosures"] if fields is not None and json.loads(d)[1] not in fields]
        self.message["left"] = {"index": index, "commit_salt": None, "disclosures": left}

    def expire(self, begin, below, who, time):
        """`system.retention`: the payload of these entries is gone, as far as it can be erased."""
        self.signed("system.retention", {"op": "expire", "from": begin, "below": below} | who, time, "retention")
        erasable = ("decision", "event", "evidence", "rejected", "duplicate_conflict", "void")
        for index in range(begin, below):
            if json.loads(self.entries[index])["kind"] in erasable:
                self.kept[index]["commit_salt"] = None
                self.message["left"] = {"index": index, "commit_salt": None, "disclosures": []}

    def done(self, status, index=None, **more):
        self.message["outcome"] = {"status": status} | ({} if index is None else {"index": index}) | more
        return index

    def reject(self, subject, body, time, reason, **options):
        self.begin(subject, body, time, **options)
        producer = subject.partition(".")[2] if subject.startswith("decisions.") and reason != "subject" else None
        raw = b64url(body[:262144])
        event = {"reason": reason, "size": len(body)}
        return self.done("rejected", self.put("rejected", producer, event, raw, {"raw": raw}, (producer or "", "", "")), reason=reason)

    def publish(self, event, time, body=None, producer=PRODUCER, **options):
        self.begin(f"decisions.{producer}", body or json.dumps(event, ensure_ascii=False).encode(), time, **options)
        event = stated(event)
        scope = (producer, event["source"], event["id"])
        if scope in self.keys:
            first = self.keys[scope]
            if self.kept[first]["commit_salt"] is None or jcs(self.kept[first]["whole"]) == jcs(event):
                return self.done("duplicate", first)
            return self.conflict(producer, event, scope, first)
        return self.first(producer, event, scope)

    def judge(self, event, time, producer=PRODUCER, void=None, reject=None, signed_for=None, other_leaf=False):
        """A decision of ours. `void`, `reject`: why it is void or refused; `signed_for`: the signature is for another producer's subject; `other_leaf`: it names its token by another leaf hash."""
        subject, body = f"verdicts.r1.{producer}", jcs(event)
        signature = None if reject == "signature" and not signed_for else sign_place(JKEY, TENANT, self.epoch, f"verdicts.r1.{signed_for or producer}", 0, body)
        if reject:
            return self.reject(subject, body, time, reject, signature=signature)
        self.begin(subject, body, time, signature=signature)
        scope, data = (producer, event["source"], event["id"]), event["data"]
        if ("ours", *scope) in self.keys:
            first = self.keys["ours", *scope]
            theirs = self.kept[first]["whole"]["data"]
            both = "received" in theirs and "received" in data
            same = theirs["received"] == data["received"] if both else theirs["call"] == data["call"]
            return self.done("duplicate", first) if same else self.conflict(producer, event, scope, first)
        contended = data["verdict"] == "deny" and data["reason"]["code"] == "contended" and "bundle" not in data
        late = apart(event["time"], self.time) > 60 * 10**9
        other = data.get("bundle") != self.in_force and producer != policies.SERVER and not contended and "frozen_by" not in data
        moved = any(self.lists.get(name, 0) != version for name, version in data.get("lists", {}).items())
        unproven = other_leaf or self.identities.unfit(data, event["time"])
        assert void == ("late" if late else "bundle" if other else "list" if moved else "freeze" if self.freezes.unfit(producer, data) else "token" if unproven else self.histories.void(data, len(self.entries)) or self.budgets.void(data, self.time)), (scope, void)
        if void:
            about = {"reason": void, "source": scope[1], "id": scope[2]}
            if "spool" in data:
                about |= {"told": True, "spool": {name: data["spool"][name] for name in ("id", "number")}}
            return self.done("void", self.put("void", producer, about, event, {"event": event}, scope), reason=void)
        index = self.first(producer, event, scope, ours=True)
        target = self.freezes.by_clause(producer, data) if "freeze" in data else None
        if target:
            (scope, id, only), decision = target, {"index": index, "leaf_hash": b64(leaf_hash(self.entries[index]))}
            body = {"op": "freeze", "scope": scope, "id": id, "decision": decision, "by": {"server": "policy"}} | ({"producer": only} if only else {})
            self.freezes.note(self.put("freeze", None, body, body, {}, ("", "freeze", "")), body)
        return index

    def report(self, event, time, producer=PRODUCER):
        """Our report of a result. It rests on nothing that is in force."""
        subject, body = f"verdicts.r1.{producer}", jcs(event)
        self.begin(subject, body, time, signature=sign_place(JKEY, TENANT, self.epoch, subject, 0, body))
        scope = (producer, event["source"], event["id"])
        if ("ours", *scope) in self.keys:
            first = self.keys["ours", *scope]
            same = self.kept[first]["whole"]["data"]["received"] == event["data"]["received"]
            return self.done("duplicate", first) if same else self.conflict(producer, event, scope, first)
        return self.first(producer, event, scope, ours=True)

    def freeze(self, body, time):
        """`system.freeze`: something is frozen, or a freeze is lifted."""
        index = self.signed("system.freeze", body, time, "freeze")
        self.freezes.note(index, body)
        return index

    def agent(self, body, time):
        """`system.agent`: a token is issued or revoked."""
        index = self.signed("system.agent", body, time, "agent")
        self.identities.note(index, body)
        return index

    def conflict(self, producer, event, scope, first):
        about = {"source": scope[1], "id": scope[2], "first": first}
        index = self.put("duplicate_conflict", producer, about, event, {"event": event}, scope)
        return self.done("conflict", index, first=first)

    def first(self, producer, event, scope, ours=False):
        """The event whose key is free. Our decisions have keys and numbers of their own."""
        space = ("ours",) if ours else ()
        opened, note, closed = self.observe((*space, producer, event["source"]), event)
        if opened:
            gap = {"source": scope[1], "from": opened[0], "to": opened[1]}
            self.put("gap_opened", producer, gap, gap, {}, scope, commit_name="//gap_opened")
        plain, fields = split(event, ours)
        kind = "decision" if event["type"] == OURS[0] else "event"
        index = self.keys[(*space, *scope)] = self.put(kind, producer, plain, event, fields, scope, note)
        if closed:
            gap = {"source": scope[1], **closed}
            self.put("gap_closed", producer, gap, gap, {}, scope, commit_name="//gap_closed")
        self.histories.take(index, producer, event, ours, approval_id(TENANT, *scope, ours=True))
        if ours and kind == "decision":
            approval = approval_id(TENANT, *scope, ours=True)
            for notice, about in self.budgets.book(index, producer, event["data"], self.entry_time, approval):
                about = {"budgets": about, "decision": index, "source": scope[1], "id": scope[2]}
                self.put(notice, producer, about, about, {}, scope, commit_name=f"//{notice}")
        elif event["type"] == OURS[2]:
            self.budgets.report(producer, event["data"], self.entry_time)
        return self.done("posted", index)

    def observe(self, key, event):
        if "sequence" not in event:
            return None, None, None
        n = int(event["sequence"])
        if key not in self.sources:
            self.sources[key] = {"base": n, "last": n, "gaps": []}
            return None, None, None
        source, heartbeat = self.sources[key], event["type"] == OURS[1]
        if n > source["last"]:
            gap = [source["last"] + 1, n if heartbeat else n - 1]
            source["last"] = n
            if gap[0] > gap[1]:
                return None, None, None
            source["gaps"].append(gap)
            return gap, None, None
        if heartbeat:
            return None, None, None
        if n < source["base"]:
            return None, "below_base", None
        for at, (a, b) in enumerate(source["gaps"]):
            if a <= n <= b:
                rest = [gap for gap in ([a, n - 1], [n + 1, b]) if gap[0] <= gap[1]]
                source["gaps"][at : at + 1] = rest
                return None, None, {"number": n, "from": a, "to": b, "open": rest}
        return None, "reused", None

    def signed(self, subject, content, time, kind, event=None, fields=None, opens=False, key=JKEY, whole=None):
        """A message outside `decisions.`; `event` where the entry does not hold the body itself."""
        if opens:
            self.epoch, self.posted, self.subjects = content["epoch"], 0, {}
        expected, body = self.subjects.get(subject, 0), jcs(content)
        self.begin(subject, body, time, signature=sign_place(key, TENANT, self.epoch, subject, expected, body))
        if kind is None:
            return self.done("nothing")
        if kind == "clock":
            self.time = time
        if opens:
            self.message["opens_epoch"] = True
            self.time, self.posted, self.subjects = self.entry_time, content["from"] - 1, {}
        family, whole = subject.partition(".")[0], whole or content
        if family == "approvals":
            events = [{"type": "expired"}] if "not_opened" in content else content["events"]
            self.budgets.happened(subject.partition(".")[2], events, self.time)
            self.histories.happened(subject.partition(".")[2], events, len(self.entries))
        if kind == "key":
            whole = event
        return self.done("posted", self.put(kind, None, event or content, whole, fields or {}, ("", family, "")))

    def write(self, name):
        hashes = [leaf_hash(entry) for entry in self.entries]
        self.file |= {"size": len(hashes), "root": b64(root(hashes))}
        write(f"entry/{name}.json", self.file)


def write(name, value):
    target = OUT / name
    target.parent.mkdir(parents=True, exist_ok=True)
    text = value if isinstance(value, str) else json.dumps(value, indent=1, ensure_ascii=False) + "\n"
    target.write_bytes(text.encode())


at = lambda second, nanos=0: f"2026-11-20T05:48:{second:02}.{nanos:09}Z"


def apart(one, other):
    """Nanoseconds between two times of nine decimals."""
    nanos = lambda time: int(datetime.fromisoformat(time[:19] + "+00:00").timestamp()) * 10**9 + int(time[20:29])
    return abs(nanos(one) - nanos(other))


def decision(id, sequence=None, source="/gateways/eu-1", time="2026-11-20T05:48:01Z"):
    event = {
        "specversion": "1.0", "id": id, "source": source, "type": OURS[0], "time": time,
        "data": {"agent": {"id": "agt-support"}, "tool": {"name": "crm", "action": "read"}, "verdict": "allow"},
    }
    return event | ({"sequence": str(sequence)} if sequence is not None else {})


def payment():
    nonce, params = b64url(bytes(range(16))), {"amount": "1200.00", "currency": "EUR", "iban": "DE89370400440532013000"}
    return {
        "specversion": "1.0", "id": "d-0001", "source": "/gateways/eu-1", "type": OURS[0], "time": "2026-11-20T05:48:01.25Z",
        "sequence": "1", "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "subject": "invoice/4711",
        "data": {
            "agent": {"id": "agt-payments", "run": "run-7f3a", "chain": ["agt-planner", "agt-payments"], "owner": "kim@example.com"},
            "tool": {"name": "bank", "action": "transfer"}, "verdict": "approval_needed", "mode": "enforce",
            "reason": {"code": "amount_over_limit", "text": "1200 EUR is over 1000 EUR"},
            "policy": {"id": "payments", "version": "42"},
            "call": {"digest": call_digest(TENANT, nonce, "agt-payments", "run-7f3a", "bank", "transfer", params)},
            "cost": {"amount": "0.0021", "currency": "USD"}, "latency_us": 840, "labels": {"region": "eu", "team": "finance"},
            "payload": {"params": params, "nonce": nonce, "prompt": "Pay invoice 4711\nfor Kim"},
        },
    }


def make_entries():
    log = Log("One decision with a salt of the producer's, sent with white space and in its own order of members.")
    log.publish(payment(), at(1, 260000000), body=json.dumps(payment(), indent=1).encode())
    log.publish(payment(), at(2))
    log.write("decision")

    log = Log("A decision without Countersign-Salt: its salts come from the tenant's salt key.")
    log.publish(payment(), at(1, 260000000), salted=False)
    log.write("derived")

    log = Log("Events of other types: all of `data` is payload. An execution report, and one that names its decision. Times that run backwards.")
    other = {"specversion": "1.0", "id": "b-1", "source": "/builds", "type": "com.example.build", "time": "2026-11-20T05:00:00Z"}
    log.publish(other | {"datacontenttype": "application/json", "data": {"verdict": "deny", "a/b": {"~": 1e-7}, "payload": {"log": "x\u0000y"}}}, at(9))
    numbers = other | {"id": "b-2", "data": [1, 2.5, 100, 0, "\u20ac\U0001f600"]}
    spelled = json.dumps(numbers).replace("[1, 2.5, 100, 0,", "[1.0, 2.50, 1e2, -0,")
    log.publish(numbers, at(8), body=spelled.encode())
    log.publish(other | {"id": "b-3", "data_base64": "AAEC"}, at(10))
    done = {"agent": {"id": "agt-payments"}, "tool": {"name": "bank", "action": "transfer"}, "approval_id": "apr-1", "status": "completed", "payload": {"result": {"ok": True}}}
    log.publish(other | {"id": "x-1", "type": OURS[2], "data": done}, at(11))
    log.publish(other | {"id": "b-4", "subject": None, "datacontenttype": "text/plain; charset=\"utf-8\"", "data": None}, at(12))
    judged = log.publish(decision("j-1"), at(12))
    link = {"index": judged, "leaf_hash": b64(leaf_hash(log.entries[judged]))}
    log.publish(other | {"id": "x-2", "type": OURS[2], "data": {"decision": link | {"note": "as judged"}, "status": "completed"}}, at(13))
    strange = decision("j-2")
    strange["data"]["decision"] = link
    log.publish(strange, at(14))
    for n, wrong in enumerate((7, {}, {"index": judged}, link | {"index": -1}, link | {"leaf_hash": link["leaf_hash"][:-1]})):
        log.reject("decisions.gw-1", json.dumps(other | {"id": f"x-3{n}", "type": OURS[2], "data": {"decision": wrong}}).encode(), at(15), "data")
    log.write("event")

    log = Log("Messages that are refused: code and size are plain, the bytes are payload. A rejected event takes no key.")
    good = decision("r-1")
    text = lambda **change: json.dumps(good | change).encode()
    cases = [
        ("json_syntax", b"{"), ("json_utf8", b'{"id":"\xff"}'), ("json_duplicate_key", b'{"id":"1","\\u0069d":"2"}'),
        ("json_depth", b"[" * 33 + b"]" * 33), ("json_number", b'{"n":9007199254740993}'), ("json_surrogate", b'"\\ud800"'),
        ("not_an_object", b"[]"), ("attribute", text(specversion="0.3")), ("attribute", text(sequence=5)),
        ("type_unknown", text(type="dev.countersign.decision.v9")), ("data", text(data={"verdict": "allow"})),
        ("data", text(data=good["data"] | {"verdict": "maybe"})), ("control_character", text(id="r-\u0007")),
        ("payload_name", text(data=good["data"] | {"payload": {"/x": 1}})),
        ("payload_fields", text(data=good["data"] | {"payload": {f"f{n}": n for n in range(65)}})), ("json_syntax", b""),
        ("attribute", text(sequence="9007199254740992")),
    ]
    for n, (reason, body) in enumerate(cases):
        log.reject("decisions.gw-1", body, at(n + 1), reason)
    log.publish(good, at(30))
    log.reject("decisions.GW", b"{}", at(31), "subject")
    log.reject("system.access", b'{"op":"remove","key_id":"00"}', at(32), "signature")
    log.reject("decisions.gw-1", b"{", at(33), "json_syntax", salted=False)
    log.reject("decisions.gw-1", text(id="r-2", time="2026-11-20 05:48:01Z"), at(34), "attribute")
    log.reject("decisions.gw-1", b"\xef\xbb\xbf" + text(id="r-2"), at(35), "json_syntax")
    log.reject("decisions.gw-1", b'{"decision_id":"o-1"}', at(36), "opa", told="opa")
    log.reject("decisions.gw-1", text(id="r-2"), at(37), "binary_mode", told="binary_mode")
    # A code that no sender may say is not believed.
    log.publish(good | {"id": "r-2"}, at(38), told="signature")
    log.write("rejected")

    log = Log("Numbers of a source: base 5; 9 opens a gap; 7 splits it; 9 again; 4 below the base; a heartbeat; 6 closes.")
    for second, (id, n) in enumerate([("s-5", 5), ("s-9", 9), ("s-7", 7), ("s-9b", 9), ("s-4", 4)]):
        log.publish(decision(id, n), at(second + 1))
    heartbeat = {"specversion": "1.0", "id": "hb-1", "source": "/gateways/eu-1", "type": OURS[1], "time": "2026-11-20T05:48:06Z", "sequence": "12"}
    log.publish(heartbeat, at(6))
    log.publish(decision("s-6", 6), at(7))
    log.publish(decision("s-13", 13), at(8))
    log.publish(decision("o-9", 9, source="/gateways/us-1"), at(9))
    log.write("sequence")

    log = Log("P2: the same event again is no entry, and its later time moves nothing; another body under its key is a conflict; another producer has keys of its own. An attribute that is null is not there.")
    log.publish(decision("e-1"), at(1))
    log.publish(decision("e-1"), at(9), body=json.dumps(decision("e-1"), indent=2, sort_keys=True).encode())
    log.publish(decision("e-1", time="2026-11-20T05:48:02Z"), at(3))
    log.publish(decision("e-1"), at(4), producer="gw-2")
    log.publish(decision("e-1") | {"sequence": None, "traceparent": None, "datacontenttype": None, "subject": None}, at(5))
    log.write("repeated")

    log = Log("Signed messages of every topic, an erasure and what it leaves, a hole in the journal, a new log key.")
    key = {"op": "add", "key_id": "0123456789abcdef", "sha256": b64url(sha256(b"cs_0123456789abcdef_example")), "roles": ["publisher"], "producer": "gw-1", "person": None, "name": "gateway eu-1", "by": {"command": "init"}, "reason": None}
    log.signed("system.access", key, at(1), "access")
    index = log.publish(payment(), at(2))
    admin = {"key": "fedcba9876543210", "person": "p-dan"}
    words = {"act": "erasure", "reason": "Request 2026-117 of the person concerned."}
    why = log.signed("evidence.system", words, at(3), "evidence", event={"approval_id": None}, fields=words)
    reason = {"index": why, "leaf_hash": b64(leaf_hash(log.entries[why]))}
    log.erase(index, ["/data/agent/owner", "prompt"], [3], {"by": admin, "reason": reason}, at(3))
    log.publish(payment() | {"time": "2026-11-20T05:48:59Z"}, at(4))
    id = approval_id(TENANT, "gw-1", payment()["source"], payment()["id"])
    rule = {
        "name": "everything", "match": {}, "quorum": {"at_least": 2, "of": "finance"}, "deny": 1, "approve_within": 3600, "execute_within": 900,
        "report_within": 3600, "token_life": 120, "channels": ["finance"], "escalate": [], "owner": "known",
    }
    data = payment()["data"]
    requested = {
        "type": "requested", "v": 1, "opening": {"producer": "gw-1", "index": index}, "rule": rule, "rule_digest": b64url(sha256(jcs(rule))), "owners": ["p-ana"],
        "call": {"agent": data["agent"]["id"], "run": data["agent"]["run"], "tool": data["tool"]["name"], "action": data["tool"]["action"], "digest": data["call"]["digest"]},
        "requested_at": at(2), "approval_deadline": at(2).replace("T05", "T06"),
    }
    say = lambda n, prev, event: {"approval_id": id, "n": n, "prev": b64(leaf_hash(log.entries[prev])), "events": [event]}
    log.signed(f"approvals.{id}", say(1, index, requested), at(5), "approval")
    last = len(log.entries) - 1
    log.signed(f"approvals.{id}", say(2, last, {"type": "cancelled", "by": "producer:gw-1", "reason": "not_needed"}), at(6), "approval")
    comment = {"comment": "I know this supplier.", "slack_user": "U024BE7LH"}
    log.signed(f"evidence.{id}", comment, at(7), "evidence", event={"approval_id": id}, fields=comment)
    person = lambda id: {"id": id, "name": id[2:].title(), "groups": ["finance"], "owns": [], "slack": None, "teams": None, "disabled": False}
    people = {"v": 1, "people": [person(id) for id in ("p-ana", "p-bob", "p-cem")], "channels": {"finance": {"connection": "acme-slack", "to": "C0123456789"}}}
    rules = [rule]
    nonce = b64url(sha256(b"people")[:16])
    people_salt = b64url(hmac256(hmac256(SALT_KEY, b"countersign-people-v1"), nonce.encode()))
    words = {"act": "rules", "people_salt": people_salt, "reason": "Two of finance, as decided on 2026-11-19."}
    why = log.signed("evidence.system", words, at(8), "evidence", event={"approval_id": None}, fields=words)
    rules = {
        "v": 1, "rules": rules, "rules_digest": b64url(sha256(jcs(rules))), "people_digest": digest(jcs_text([people_salt, "people", people])),
        "people_nonce": nonce, "by": admin, "reason": {"index": why, "leaf_hash": b64(leaf_hash(log.entries[why]))},
    }
    log.signed("system.rules", rules, at(8), "rules")
    changed = jcs(rules | {"rules_digest": b64url(sha256(b"[]"))})
    log.reject("system.rules", changed, at(8), "system_body", signature=sign_place(JKEY, TENANT, 1, "system.rules", log.subjects["system.rules"], changed))
    size = len(log.entries) + 1
    who = {"by": {"key": "fedcba9876543210"}, "reason": None}
    log.signed("system.key", {"use": "log", "vkey": LOG2.vkey, "overlap": 8192} | who, at(9), "key", event={"use": "log", "vkey": LOG2.vkey, "first_size": size, "old_last_size": size + 8192} | who)
    key_index = log.message["entries"][0]["index"]
    hashes = [leaf_hash(entry) for entry in log.entries]
    signed = checkpoint(ORIGIN, hashes, LOG, LOG2)
    write("keys.json", {"origin": ORIGIN, "keys": [
        {"vkey": LOG.vkey, "first_size": 1, "last_size": size + 8192, "index": 0, "receipt": None},
        {"vkey": LOG2.vkey, "first_size": size, "last_size": None, "index": key_index, "receipt": receipt(log.entries[key_index], key_index, hashes, signed)},
    ]})
    log.publish(decision("after-the-hole"), at(10), missing=2)
    hole = log.message["hole"]
    log.signed("system.gap", {"from": hole["from"], "to": hole["to"], "by": {"server": "journal"}}, at(10), "journal_gap")
    hole["told"] = log.message["seq"]
    log.signed("system.trim", {"below": 3, "by": {"server": "retention"}}, at(10), "trim")
    log.signed("system.access", {"op": "remove", "key_id": "0123456789abcdef", "by": {"key": "fedcba9876543210"}, "reason": None}, at(11), "access")
    log.signed("system.access", {"op": "read", "from": 2, "to": 3, "seconds": 600, "by": admin}, at(12), "access")
    account = sha256(b"a digest by a secret")
    linked = {"op": "add", "key_id": account.hex()[:16], "sha256": b64url(account), "roles": ["reviewer"], "producer": None, "person": "p-ann", "name": "Ann at Example ID",
              "oidc": {"issuer": "https://id.example.com"}, "by": admin, "reason": None}
    log.signed("system.access", linked, at(12), "access")
    came = {"op": "signed_in", "how": "oidc", "issuer": "https://id.example.com", "seconds": 60, "by": {"key": account.hex()[:16], "person": "p-ann"}}
    log.signed("system.access", came, at(12), "access")
    for wrong in (
        linked, linked | {"key_id": "0123456789abcdef"}, linked | {"sha256": b64url(sha256(b"x"))}, linked | {"roles": ["admin"]}, linked | {"person": None},
        came | {"how": "key"}, came | {"how": "slack"}, {k: v for k, v in came.items() if k != "issuer"},
        came | {"by": {"key": came["by"]["key"]}}, came | {"by": came["by"] | {"approval": "apr-1"}}, came | {"by": {"command": "init"}},
        {"op": "read", "from": 3, "to": 3, "seconds": 600, "by": admin}, {"op": "read", "from": 2, "to": 3, "by": admin},
        {"op": "remove", "key_id": "0123456789abcdef"}, {"op": "remove", "key_id": "0123456789abcdef", "by": {"key": "fedc"}},
        {"op": "remove", "key_id": "0123456789abcdef", "by": admin | {"command": "init"}},
        {"op": "remove", "key_id": "0123456789abcdef", "by": admin, "reason": "not needed"},
        {"op": "remove", "key_id": "0123456789abcdef", "by": admin, "reason": reason | {"index": len(log.entries) + 99}},
    ):
        body = jcs(wrong)
        log.reject("system.access", body, at(12), "system_body", signature=sign_place(JKEY, TENANT, 1, "system.access", log.subjects["system.access"], body))
    log.write("system")

    log = Log("Holes. `late` are messages that were deleted before a replica posted them: it posts the leaves that the message `told` holds, and has the same log.")
    who = {"by": admin, "reason": None}
    log.publish(decision("e-1", 1), at(1))
    late = log.publish(decision("e-2", 4), at(2))
    log.publish(decision("e-2", 4), at(3))
    log.reject("decisions.gw-1", b"{", at(4), "json_syntax")
    refused = len(log.entries) - 1
    words = {"comment": "I know this supplier."}
    said = log.signed("evidence.apr-1", words, at(5), "evidence", event={"approval_id": "apr-1"}, fields=words)
    log.publish(decision("e-3", 2), at(6))
    log.erase(late, None, [3, 4], who, at(7))
    log.erase(refused, ["raw"], [5], who, at(8))
    log.erase(said, None, [6], who, at(9))
    log.publish(decision("e-2", 4), at(10))
    log.erase(late, None, [3, log.posted], {"by": {"server": "repetition"}, "reason": None}, at(11))
    log.signed("evidence.apr-1", words, at(12), "evidence", event={"approval_id": "apr-1"}, fields=words)
    log.publish(decision("e-4", 3), at(13))
    good = {"index": late, "leaf_hash": b64(leaf_hash(log.entries[late])), "fields": None, "messages": [log.gone(3)]} | who
    for wrong in (
        good | {"leaf_hash": b64(leaf_hash(log.entries[1]))}, good | {"messages": []}, good | {"messages": [log.gone(3), log.gone(3)]}, good | {"messages": [log.gone(4)]},
        good | {"messages": [log.gone(3) | {"leaves": log.gone(3)["leaves"][1:]}]}, good | {"messages": [log.gone(3) | {"seq": 2}]}, good | {"messages": [log.gone(3), log.gone(8)]},
        good | {"messages": [log.gone(3) | {"subject": "other.gw-1"}]}, good | {"index": 0, "leaf_hash": b64(leaf_hash(log.entries[0])), "messages": [log.gone(1)]},
        good | {"messages": [log.gone(3), {"epoch": 1, "seq": 99, "subject": "decisions.gw-1", "leaves": []}]}, {name: value for name, value in good.items() if name != "messages"},
    ):
        body = jcs(wrong)
        log.reject("system.erasure", body, at(14), "system_body", signature=sign_place(JKEY, TENANT, 1, "system.erasure", log.subjects["system.erasure"], body))
    for topic, wrong in (
        ("gap", {"from": 3, "to": 4, "by": {"server": "journal"}}), ("gap", {"from": 0, "to": 1, "by": {"server": "journal"}}), ("gap", {"from": 99, "to": 98, "by": {"server": "journal"}}),
        ("gap", {"from": 99, "to": 99, "by": {"server": "journal"}}), ("gap", {"from": 4, "to": 4}),
        ("trim", {"below": 0, "by": {"server": "retention"}}), ("trim", {"below": 99, "by": {"server": "retention"}}), ("trim", {"below": 2}),
    ):
        body = jcs(wrong)
        log.reject(f"system.{topic}", body, at(14), "system_body", signature=sign_place(JKEY, TENANT, 1, f"system.{topic}", log.subjects.get(f"system.{topic}", 0), body))
    log.file["late"] = [{"seq": 3, "told": 8}, {"seq": 4, "told": 8}, {"seq": 5, "told": 9}, {"seq": 6, "told": 10}, {"seq": 11, "told": 12}]
    log.write("holes")

    log = Log("A new journal epoch: `recover` posts the message first; it is no entry when it comes along in its place.")
    second = "jetstream:COUNTERSIGN_acme:2026-11-21T09:00:00.000000000Z"
    body = {"epoch": 2, "journal": second, "from": 1, "previous_journal": JOURNAL, "previous_posted": 1, "by": {"command": "recover"}}
    log.signed("system.journal", body, "2026-11-21T09:00:01.000000000Z", "journal", opens=True)
    again = dict(log.message)
    log.signed("system.journal", body, "2026-11-21T09:00:01.000000000Z", None)
    assert log.message["headers"] == again["headers"]
    log.publish(decision("e-1"), "2026-11-21T09:00:02.000000000Z")
    log.write("epoch")

    log = Log("Two servers claim the log, one after the other; what is no claim is rejected.")
    log.publish(decision("e-1"), at(1))
    claim = {"id": "000102030405060708090a0b0c0d0e0f", "by": {"server": "signing"}}
    log.signed("system.signer", claim, at(2), "signer")
    log.publish(decision("e-2"), at(3))
    log.signed("system.signer", claim | {"id": "ff0102030405060708090a0b0c0d0e0f"}, at(4), "signer")
    for wrong in (claim | {"id": "FF0102030405060708090A0B0C0D0E0F"}, claim | {"id": "ff"}, claim | {"reason": None}, {"id": claim["id"]}):
        body = jcs(wrong)
        log.reject("system.signer", body, at(5), "system_body", signature=sign_place(JKEY, TENANT, 1, "system.signer", log.subjects["system.signer"], body))
    log.write("signer")

    log = Log("Time begins anew: a clock was a day ahead; a message whose own time is more than 30 s from the journal's begins nothing.")
    log.publish(decision("e-1"), "2026-11-21T05:48:01.000000000Z")
    log.publish(decision("e-2"), at(2))
    who = {"by": {"key": "fedcba9876543210"}, "reason": None}
    wrong = jcs({"at": at(33)} | who)
    log.reject("system.clock", wrong, at(2), "system_body", signature=sign_place(JKEY, TENANT, 1, "system.clock", 0, wrong))
    nobody = jcs({"at": at(33)})
    log.reject("system.clock", nobody, at(3), "system_body", signature=sign_place(JKEY, TENANT, 1, "system.clock", log.subjects.get("system.clock", 0), nobody))
    log.signed("system.clock", {"at": at(33)} | who, at(3), "clock")
    log.publish(decision("e-3"), at(4))
    log.write("clock")

    log = Log("The sources that must report are declared, and then replaced as a whole; what is no such list is rejected.")
    log.publish(decision("e-1"), at(1))
    log.signed("evidence.system", {"act": "sources", "reason": "the OPA of the data platform is new"}, at(2), "evidence", event={"approval_id": None}, fields={"act": "sources", "reason": "the OPA of the data platform is new"})
    words = {"index": 2, "leaf_hash": b64(leaf_hash(log.entries[2]))}
    gateway = {"producer": "gw-1", "source": "/gateways/eu-1", "title": "Gateway of the payments team, Frankfurt", "owner": "team-payments", "silent_after": 900}
    opa = {"producer": "opa-eu", "source": "9f1c5b6e-0f6e-4d5c-9d7a-1f0f4c1f9f10", "title": "OPA of the data platform", "owner": "p-dan", "silent_after": 3600}
    body = {"v": 1, "sources": [gateway, opa], "by": {"key": "fedcba9876543210", "person": "p-dan"}, "reason": words}
    log.signed("system.sources", body, at(3), "sources")
    log.publish(decision("e-2", source="/gateways/eu-2"), at(4))
    for wrong in (
        {"v": 2}, {"sources": [gateway, gateway | {"title": "again"}]}, {"sources": [gateway | {"silent_after": 0}]}, {"sources": [gateway | {"title": ""}]},
        {"sources": [gateway | {"source": ""}]}, {"sources": [gateway | {"owner": "Dan Roth"}]}, {"sources": [gateway | {"reason": "why"}]},
        {"sources": [{n: v for n, v in gateway.items() if n != "owner"}]}, {"sources": None}, {"by": None}, {"reason": words | {"index": 99}},
        {"sources": [gateway | {"source": f"/{n}"} for n in range(257)]},
    ):
        wrong = jcs(body | wrong)
        log.reject("system.sources", wrong, at(5), "system_body", signature=sign_place(JKEY, TENANT, 1, "system.sources", log.subjects["system.sources"], wrong))
    log.signed("system.sources", body | {"sources": [], "reason": None}, at(6), "sources")
    log.write("sources")

    log = Log("The replicas of the log change twice, each time by one more than the version before; what can be no set, or does not follow, is rejected.")
    log.publish(decision("e-1"), at(1))
    log.signed("evidence.system", {"act": "members", "reason": "the disk of c is lost"}, at(2), "evidence", event={"approval_id": None}, fields={"act": "members", "reason": "the disk of c is lost"})
    words = {"index": 2, "leaf_hash": b64(leaf_hash(log.entries[2]))}
    host = ORIGIN.split("/v1/tenants/")[0]
    of = {name: {"name": name, "vkey": replicas.Replica(name, ord(name), host).vkey} for name in "abcdefgh"}
    three, next_three = [of[name] for name in "abc"], [of[name] for name in "abd"]
    body = {"v": 1, "version": 1, "members": next_three, "before": {"version": 0, "members": three}, "by": {"operator": "fedcba9876543210"}, "reason": words}
    named_otherwise = {"name": "d", "vkey": replicas.Replica("d", 9, "other.example").vkey}
    # The public key of the log, and that of c under another name: one key would count twice.
    log_key, renamed = ({"name": "d", "vkey": replicas.Replica("d", seed, host).vkey} for seed in (1, ord("c")))
    for wrong in (
        {"v": 2}, {"version": 2}, {"members": three}, {"members": three[:2]}, {"members": [of[name] for name in "abcdefgh"]}, {"members": next_three[::-1]},
        {"members": [of["a"], of["b"], {"name": "d", "vkey": of["b"]["vkey"]}]}, {"members": [of["a"], of["b"], named_otherwise]}, {"members": None},
        {"members": [of["a"], of["b"], log_key]}, {"members": [of["a"], of["b"], renamed]}, {"before": {"version": 0, "members": [of["a"], of["b"], named_otherwise]}},
        {"before": {"version": 1, "members": three}}, {"before": {"version": 0, "members": three[:1]}}, {"by": None}, {"reason": words | {"index": 99}},
    ):
        wrong = jcs(body | wrong)
        log.reject("system.members", wrong, at(3), "system_body", signature=sign_place(JKEY, TENANT, 1, "system.members", log.subjects.get("system.members", 0), wrong))
    log.signed("system.members", body, at(4), "members")
    # Another change that was made from the same set.
    late = jcs(body | {"members": [of[name] for name in "abe"], "reason": None})
    log.reject("system.members", late, at(5), "system_body", signature=sign_place(JKEY, TENANT, 1, "system.members", log.subjects["system.members"], late))
    log.signed("system.members", body | {"version": 2, "members": [of[name] for name in "abdef"], "before": {"version": 1, "members": next_three}, "reason": None}, at(6), "members")
    log.write("members")

    log = Log("Lost messages, where replicas sign the log: a majority of those in force before the hole must have signed that they have not posted them; what is less is rejected.")
    who = {name: replicas.Replica(name, ord(name), host) for name in "abcd"}

    def agreed(names, hole, version=0, members=three, **changed):
        missing = {"origin": ORIGIN, "epoch": 1, "size": hole["size"], "from": hole["from"], "to": hole["to"]} | changed
        return {"size": hole["size"], "version": version, "members": members, "promises": [who[name].promise(missing) for name in names]}

    def lost(hole, *wrongs, right=None):
        body = {"from": hole["from"], "to": hole["to"], "by": {"server": "journal"}}
        for wrong in wrongs:
            text = jcs(body | wrong)
            log.reject("system.gap", text, at(3), "system_body", signature=sign_place(JKEY, TENANT, 1, "system.gap", log.subjects.get("system.gap", 0), text))
        log.signed("system.gap", body | {"agreed": right}, at(4), "journal_gap")
        hole["told"] = log.message["seq"]

    def hole_of(size):
        hole = log.message["hole"]
        return hole, {"from": hole["from"], "to": hole["to"], "size": size}

    log.publish(decision("e-1"), at(1))
    log.publish(decision("e-2"), at(2), missing=2)
    hole, at_hole = hole_of(2)
    good, forged = agreed("ac", at_hole), agreed("ab", at_hole)
    forged["promises"][1]["signature"] = forged["promises"][0]["signature"]
    lost(
        hole, *({"agreed": wrong} for wrong in (
            agreed("", at_hole), agreed("b", at_hole), agreed("aa", at_hole), agreed("ca", at_hole), agreed("ad", at_hole), forged, agreed("ac", at_hole, to=hole["from"]),
            agreed("ac", at_hole, epoch=2), agreed("ac", at_hole, origin=ORIGIN[:-1] + "2"), agreed("ac", at_hole | {"size": 1}), agreed("ac", at_hole, version=1),
            agreed("ab", at_hole, members=three[:2]), good | {"members": three[::-1]}, good | {"more": 1}, {name: value for name, value in good.items() if name != "members"},
        )), right=good,
    )  # fmt: skip
    changed = {"v": 1, "version": 1, "members": next_three, "before": {"version": 0, "members": three}, "by": {"operator": "fedcba9876543210"}, "reason": None}
    log.signed("system.members", changed, at(5), "members")
    before = len(log.entries)
    log.publish(decision("e-3"), at(6), missing=1)
    hole, at_hole = hole_of(before)
    lost(
        hole, {}, {"agreed": agreed("ab", at_hole)}, {"agreed": agreed("ac", at_hole, 1, next_three)}, {"agreed": agreed("d", at_hole, 1, next_three)},
        right=agreed("bd", at_hole, 1, next_three),
    )  # fmt: skip
    log.write("agreed")
    log = Log(
        "Replicas made the log: its genesis names the first ones, and the first change must follow them. The journal key rotates in two entries: the old key counts beside the new one, then no more.",
        {"members": three, "by": {"operator": "fedcba9876543210"}},
    )
    by = {"by": {"operator": "fedcba9876543210"}, "reason": None}
    change = {"v": 1, "version": 1, "members": next_three, "before": {"version": 0, "members": three}} | by
    other = jcs(change | {"before": {"version": 0, "members": [of[name] for name in "abe"]}})
    log.reject("system.members", other, at(1), "system_body", signature=sign_place(JKEY, TENANT, 1, "system.members", 0, other))
    log.signed("system.members", change, at(2), "members")
    journal2 = Key(ORIGIN + "/journal", bytes([6] * 32))
    rotation = {"use": "journal", "vkey": journal2.vkey, "overlap": 0} | by
    event = {"use": "journal", "vkey": journal2.vkey} | by
    for wrong in (rotation | {"beside": True, "use": "token"}, rotation | {"beside": True, "vkey": JKEY.vkey}):
        log.reject("system.key", jcs(wrong), at(3), "system_body", signature=sign_place(JKEY, TENANT, 1, "system.key", log.subjects.get("system.key", 0), jcs(wrong)))
    log.signed("system.key", rotation | {"beside": True}, at(4), "key", event=event | {"beside": True})
    # On its way when the key took over, and after it.
    log.signed("system.members", change | {"version": 2, "members": three, "before": {"version": 1, "members": next_three}}, at(5), "members")
    log.signed("system.members", change | {"version": 3, "before": {"version": 2, "members": three}}, at(6), "members", key=journal2)
    log.signed("system.key", rotation, at(7), "key", event=event, key=journal2)
    late = jcs(change | {"version": 4, "members": three, "before": {"version": 3, "members": next_three}})
    log.reject("system.members", late, at(8), "signature", signature=sign_place(JKEY, TENANT, 1, "system.members", log.subjects["system.members"], late))
    log.signed("system.members", json.loads(late), at(9), "members", key=journal2)
    log.write("replicated")

    log = Log("What sinks say of themselves: one starts, delivers with a refused record, and somebody has a range sent again; what can't be so is rejected.")
    log.publish(decision("e-1"), at(1))
    server = {"by": {"server": "delivery"}}
    told = {"v": 1, "sink": "siem", "kind": "elastic", "format": "ecs", "filter": {"kind": "decision"}, "payload": ["params"], "level": "acknowledged"}
    starts = told | {"state": "starts", "from": 0, "to": 0, "count": 0, "refused": []} | server
    log.signed("system.delivery", starts, at(2), "delivery")
    log.publish(decision("e-2"), at(3))
    body = told | {"state": "delivers", "from": 0, "to": 4, "count": 1, "refused": [3]} | server
    log.signed("system.delivery", body, at(4), "delivery")
    words = {"act": "delivery", "reason": "the mapping is repaired, INC-7"}
    why = log.signed("evidence.system", words, at(5), "evidence", event={"approval_id": None}, fields=words)
    reason = {"index": why, "leaf_hash": b64(leaf_hash(log.entries[why]))}
    who = {"by": {"key": "fedcba9876543210", "person": "p-dan"}, "reason": reason}
    log.signed("system.delivery", told | {"state": "again", "from": 0, "to": 4, "count": 0, "refused": []} | who, at(6), "delivery")
    for wrong in (
        {"v": 2}, {"state": "sleeps"}, {"sink": "Siem"}, {"from": 5}, {"to": 99}, {"refused": [4]}, {"refused": [3, 3]}, {"refused": list(range(257)), "to": 4},
        {"filter": {"until": at(9)}}, {"filter": {"colour": "red"}}, {"payload": [""]}, {"payload": ["x"] * 65}, {"level": "sure"}, {"by": None},
        {"reason": reason | {"index": 99}}, {"secret": "x"},
    ):
        wrong = jcs(body | wrong)
        log.reject("system.delivery", wrong, at(7), "system_body", signature=sign_place(JKEY, TENANT, 1, "system.delivery", log.subjects["system.delivery"], wrong))
    log.write("delivery")

    log = Log("Alerts: the watch of the log finds that a producer denies far more; somebody closes that; a later one is raised. What shows an alert shows no second one.")
    for n in range(1, 4):
        log.publish(decision(f"e-{n}"), at(n))
    last = len(log.entries) - 1
    raised = {
        "op": "raise", "v": 1, "rule": "denials", "name": "denials", "about": {"what": "agent", "id": "payments-bot"}, "since": at(1),
        "values": {"seen": "40.0", "usual_at_most": "1.3"}, "entries": [last - 1, last], "at": {"index": last, "nth": 0}, "by": {"server": "watching"},
    }
    alert = log.signed("system.alert", raised, at(4), "alert")
    again = lambda **changed: raised | {"at": {"index": last, "nth": 1}} | changed
    for wrong in (
        raised, {"at": {"index": last - 1, "nth": 9}}, {"at": {"index": 99, "nth": 0}}, {"v": 2}, {"rule": "mood"}, {"clause": "payments/small"}, {"rule": "clause"},
        {"about": {"what": "agent", "id": ""}}, {"about": {"what": "planet", "id": "x"}}, {"entries": []}, {"entries": [last, last - 1]}, {"entries": [last + 1]},
        {"values": {str(n): "x" for n in range(17)}}, {"by": {"server": "delivery"}}, {"secret": "x"},
    ):
        wrong = jcs(wrong if wrong is raised else again(**wrong))
        log.reject("system.alert", wrong, at(5), "system_body", signature=sign_place(JKEY, TENANT, 1, "system.alert", log.subjects["system.alert"], wrong))
    words = {"act": "alert", "reason": "a load test, ticket 4711"}
    why = log.signed("evidence.system", words, at(6), "evidence", event={"approval_id": None}, fields=words)
    closes = {"op": "close", "alert": alert, "by": {"key": "00112233445566cc", "person": "p-carla"}, "reason": {"index": why, "leaf_hash": b64(leaf_hash(log.entries[why]))}}
    for wrong in ({"alert": alert + 1}, {"by": {"server": "watching"}}, {"reason": None}, {"reason": {"index": 999, "leaf_hash": closes["reason"]["leaf_hash"]}}):
        wrong = jcs(closes | wrong)
        log.reject("system.alert", wrong, at(7), "system_body", signature=sign_place(JKEY, TENANT, 1, "system.alert", log.subjects["system.alert"], wrong))
    log.signed("system.alert", closes, at(8), "alert")
    twice = jcs(closes)
    log.reject("system.alert", twice, at(9), "system_body", signature=sign_place(JKEY, TENANT, 1, "system.alert", log.subjects["system.alert"], twice))
    log.signed("system.alert", again(rule="clause", name="large-payout", clause="payments/large"), at(10), "alert")
    log.write("watching")

    log = Log("An incident: somebody opens it, notes what was done, and closes it. Each message has the next number, and only who names its words and entries before it is accepted.")
    for n in range(1, 4):
        log.publish(decision(f"e-{n}"), at(n))

    def said(text, minute):
        words = {"act": "incident", "reason": text}
        index = log.signed("evidence.system", words, at(minute), "evidence", event={"approval_id": None}, fields=words)
        return {"index": index, "leaf_hash": b64(leaf_hash(log.entries[index]))}

    def refused(minute, body, *wrongs):
        for wrong in wrongs:
            text = jcs(body | wrong)
            log.reject("system.incident", text, at(minute), "system_body", signature=sign_place(JKEY, TENANT, 1, "system.incident", log.subjects.get("system.incident", 0), text))

    carla = {"key": "00112233445566cc", "person": "p-carla"}
    opens = {"op": "open", "v": 1, "entries": [2, 3], "by": carla, "reason": said("payments to a wrong payee", 4)}
    refused(
        5, opens, {"v": 2}, {"entries": [3, 2]}, {"entries": [2, 2]}, {"entries": [999]}, {"entries": list(range(65))}, {"by": {"server": "watching"}}, {"reason": None},
        {"reason": opens["reason"] | {"index": 999}}, {"secret": "x"},
    )
    incident = log.signed("system.incident", opens, at(6), "incident")
    notes = {"op": "note", "incident": incident, "n": 2, "entries": [1], "by": carla, "reason": said("the vendor was called", 7)}
    refused(8, notes, {"incident": incident + 1}, {"n": 1}, {"n": 3}, {"entries": [999]}, {"by": {"server": "delivery"}}, {"reason": None})
    log.signed("system.incident", notes, at(9), "incident")
    closes = {"op": "close", "incident": incident, "n": 3, "by": carla, "reason": said("repaired, ticket 4711", 10)}
    refused(11, closes, {"n": 2}, {"entries": []}, {"by": {"server": "watching"}}, {"incident": 3})
    log.signed("system.incident", closes, at(12), "incident")
    refused(13, closes, {}, {"n": 4})
    refused(13, notes, {"n": 4})
    log.write("incident")

    log = Log("Payload is kept for two days; nothing is erased or expires under a legal hold; then what is old expires, a day at most, an hour apart.")
    log.publish(decision("e-1"), at(1))
    log.signed("evidence.system", {"act": "retention", "reason": "records policy 7"}, at(2), "evidence", event={"approval_id": None}, fields={"act": "retention", "reason": "records policy 7"})
    words = {"index": 2, "leaf_hash": b64(leaf_hash(log.entries[2]))}
    who, nobody = {"by": {"key": "fedcba9876543210", "person": "p-dan"}, "reason": words}, {"by": {"key": "fedcba9876543210"}, "reason": None}
    kept = {"op": "set", "payload_days": 2, "floor_days": 1, "journal_days": 30} | who
    log.signed("system.retention", kept, at(3), "retention")
    log.signed("system.retention", {"op": "hold", "hold": "case-17"} | who, at(4), "retention")

    def refused(topic, body, time):
        body, subject = jcs(body), f"system.{topic}"
        log.reject(subject, body, time, "system_body", signature=sign_place(JKEY, TENANT, 1, subject, log.subjects.get(subject, 0), body))

    two_days, server = "2026-11-22T05:48:01.000000000Z", {"by": {"server": "retention"}}
    for wrong in (
        {"payload_days": 0}, {"payload_days": 36526}, {"floor_days": 0}, {"floor_days": 3}, {"journal_days": 0}, {"floor_days": None}, {"by": None},
        {"reason": words | {"index": 99}}, {"op": "keep"}, {"more": 1},
    ):
        refused("retention", kept | wrong, at(5))
    refused("retention", {"op": "hold", "hold": "case-17"} | who, at(5))
    refused("retention", {"op": "release", "hold": "case-18"} | who, at(5))
    refused("retention", {"op": "hold", "hold": "Case 17"} | who, at(5))
    refused("erasure", {"index": 1, "leaf_hash": b64(leaf_hash(log.entries[1])), "fields": None, "messages": [log.gone(2)]} | who, at(6))
    refused("retention", {"op": "expire", "from": 0, "below": 2} | server, two_days)
    log.signed("system.retention", {"op": "release", "hold": "case-17"} | nobody, two_days, "retention")
    log.signed("system.retention", kept | {"payload_days": None}, two_days, "retention")
    refused("retention", {"op": "expire", "from": 0, "below": 2} | server, two_days)
    log.signed("system.retention", kept | {"journal_days": None}, two_days, "retention")
    for wrong in ({"below": 3}, {"from": 1}, {"below": 0}, {"below": 99}):
        refused("retention", {"op": "expire", "from": 0, "below": 2} | wrong | server, two_days)
    log.expire(0, 2, server, two_days)
    log.publish(decision("e-1"), "2026-11-22T05:48:02.000000000Z")
    refused("retention", {"op": "expire", "from": 2, "below": 4} | server, "2026-11-22T06:48:00.999999999Z")
    log.publish(decision("e-2"), "2026-11-23T05:48:02.000000000Z")
    # Entry 19 came two days after entry 2, and a step spans one.
    refused("retention", {"op": "expire", "from": 2, "below": 20} | server, "2026-11-26T05:48:02.000000000Z")
    log.expire(2, 19, server, "2026-11-26T05:48:03.000000000Z")
    end = {"op": "delete", "tenant": TENANT, "by": {"key": "fedcba9876543210", "person": "p-dan"}, "why": "the contract ended"}
    log.signed("system.retention", {"op": "hold", "hold": "case-20"} | nobody, "2026-11-26T05:48:04.000000000Z", "retention")
    refused("retention", end, "2026-11-26T05:48:05.000000000Z")
    log.signed("system.retention", {"op": "release", "hold": "case-20"} | nobody, "2026-11-26T05:48:06.000000000Z", "retention")
    for wrong in ({"tenant": "globex"}, {"why": " "}, {"why": "x" * 2001}, {"why": None}):
        refused("retention", end | wrong, "2026-11-26T05:48:07.000000000Z")
    log.signed("system.retention", end, "2026-11-26T05:48:08.000000000Z", "retention")
    # Nothing comes after it.
    log.begin("decisions.gw-1", json.dumps(decision("e-3")).encode(), "2026-11-26T05:48:09.000000000Z")
    log.done("nothing")
    log.write("retention")

    log = Log("The entries before 256 are pruned. What is judged afterwards needs none of them.")
    tick = lambda id: {"specversion": "1.0", "id": id, "source": "/t", "type": "com.example.tick", "time": "2026-11-20T05:48:01Z"}  # noqa: E731
    for number in range(1, 270):
        log.publish(tick(str(number)), at(1))
    log.signed("evidence.system", {"act": "prune", "reason": "records policy 9"}, at(2), "evidence", event={"approval_id": None}, fields={"act": "prune", "reason": "records policy 9"})
    words = {"index": 270, "leaf_hash": b64(leaf_hash(log.entries[270]))}
    who = {"by": {"key": "fedcba9876543210", "person": "p-dan"}, "reason": words}
    rooted = lambda size: b64(root([leaf_hash(entry) for entry in log.entries[:size]]))  # noqa: E731
    names = ("access", "approvals", "budgets", "counts", "events", "history", "reports", "sources", "state", "subjects")
    export = {"size": 269, "root": rooted(269), "sha256": hashlib.sha256(b"the list of all objects").hexdigest()}
    body = {"size": 256, "root": rooted(256), "time": at(1), "export": export, "families": {name: b64(hashlib.sha256(name.encode()).digest()) for name in names}} | who
    for wrong in (
        {"size": 255}, {"size": 0}, {"size": 512}, {"root": rooted(255)}, {"time": at(2)}, {"by": None}, {"more": 1}, {"reason": words | {"index": 999}}, {"families": {}},
        {"families": body["families"] | {"more": rooted(1)}}, {"export": export | {"size": 255, "root": rooted(255)}}, {"export": export | {"size": 268}},
        {"export": export | {"sha256": "0"}}, {"export": export | {"size": 999}},
    ):
        refused("prune", body | wrong, at(3))
    log.signed("system.retention", {"op": "hold", "hold": "case-17", "by": who["by"], "reason": None}, at(3), "retention")
    refused("prune", body, at(4))
    log.signed("system.retention", {"op": "release", "hold": "case-17", "by": who["by"], "reason": None}, at(5), "retention")
    log.signed("system.prune", body, at(6), "prune")
    for index in range(256):
        log.kept[index]["commit_salt"] = None
    log.message["left"] = {"index": 9, "commit_salt": None, "disclosures": []}
    # The same event, and another one with its key: nothing can be compared.
    log.publish(tick("9"), at(7))
    log.publish(tick("9") | {"type": "com.example.tock"}, at(7))
    log.publish(tick("260") | {"type": "com.example.tock"}, at(7))
    log.publish(tick("300"), at(7))
    refused("erasure", {"index": 9, "leaf_hash": b64(leaf_hash(log.entries[9])), "fields": None, "messages": [log.gone(10)]} | who, at(8))
    refused("prune", body, at(8))
    log.write("prune")

    log = Log("A decision without a nonce opens no approval, and an entry says why; what says so of another entry, or for another reason, is rejected.")
    blind = payment()
    del blind["data"]["payload"]["nonce"]
    opening = log.publish(blind, at(1))
    other = log.publish(decision("e-1"), at(2))
    id = approval_id(TENANT, "gw-1", blind["source"], blind["id"])
    names = lambda index: {"index": index, "leaf_hash": b64(leaf_hash(log.entries[index]))}
    none = {"approval_id": id, "decision": names(opening), "not_opened": "no_call"}
    subject = f"approvals.{id}"
    for wrong in (
        {"approval_id": "apr-1"}, {"decision": names(other)}, {"decision": names(opening) | {"index": 9}}, {"decision": names(opening) | {"leaf_hash": names(other)["leaf_hash"]}},
        {"not_opened": "shadow"}, {"not_opened": None}, {"events": []},
    ):
        body = jcs(none | wrong)
        log.reject(subject, body, at(3), "system_body", signature=sign_place(JKEY, TENANT, 1, subject, log.subjects.get(subject, 0), body))
    log.signed(subject, none, at(4), "not_opened")
    log.write("not_opened")

    log = Log("The server probes itself, once a minute; a repetition, one that allows something, one of a producer, and one that comes too late.")
    us = policies.SERVER

    def probe(minute, **over):
        id, time = f"probe-r1-2026-11-20T05:{minute:02}Z", f"2026-11-20T05:{minute:02}:30.000000000Z"
        data = {
            "agent": {"id": us, "run": "r1"}, "tool": {"name": us, "action": "probe"}, "verdict": "deny", "mode": "enforce", "reason": {"code": "probe"},
            "as_of": len(log.entries), "call": {"digest": policies.call_digest(TENANT, id, us, "r1", us, "probe", {})},
        }
        return {"specversion": "1.0", "type": OURS[0], "source": us, "id": id, "time": time, "data": data | over}

    log.judge(probe(48), "2026-11-20T05:48:30.100000000Z", producer=us)
    log.judge(probe(48), "2026-11-20T05:48:30.200000000Z", producer=us)
    for wrong in ({"verdict": "allow"}, {"verdict": "approval_needed"}, {"tool": {"name": "bank", "action": "probe"}}, {"call": None}):
        log.judge(probe(49, **wrong), "2026-11-20T05:49:30.100000000Z", producer=us, reject="system_body", signed_for=us)
    log.judge(probe(49), "2026-11-20T05:49:30.100000000Z", reject="system_body", signed_for="gw-1")
    log.reject("decisions.gw-1", json.dumps(probe(49)).encode(), "2026-11-20T05:49:30.100000000Z", "reserved_tool")
    log.judge(probe(49), "2026-11-20T05:50:30.100000001Z", producer=us, void="late")
    log.judge(probe(51), "2026-11-20T05:51:30.100000000Z", producer=us)
    log.write("probe")

    log = Log("An approval was shown to people: the evidence is plain, and has no payload.")
    opening = log.publish(payment(), at(1))
    id = approval_id(TENANT, "gw-1", payment()["source"], payment()["id"])
    subject = f"evidence.{id}"
    for second, shown in enumerate([{"to": "p-ann", "version": 1, "via": "web"}, {"to": "p-bob", "version": 1, "via": "api"}]):
        log.signed(subject, {"shown": shown}, at(second + 2), "evidence", event={"approval_id": id, "shown": shown}, whole={"approval_id": id, "shown": shown})
    for wrong in ({"to": "Ann"}, {"version": 0}, {"version": "1"}, {"via": "slack"}, {"at": at(1)}):
        body = jcs({"shown": {"to": "p-ann", "version": 1, "via": "web"} | wrong})
        log.reject(subject, body, at(5), "system_body", signature=sign_place(JKEY, TENANT, 1, subject, log.subjects[subject], body))
    body = jcs({"shown": {"to": "p-ann", "version": 1, "via": "web"}, "comment": "and words"})
    log.reject(subject, body, at(5), "system_body", signature=sign_place(JKEY, TENANT, 1, subject, log.subjects[subject], body))
    log.write("shown")

    log = Log("Policies: parts, a bundle, the people who are asked, its activation, decisions by it and what is void; two more versions, and back to the first.")
    sign = lambda log, subject, body: sign_place(JKEY, TENANT, 1, subject, log.subjects.get(subject, 0), body)
    policies.policy(log, hmac256(SALT_KEY, b"countersign-people-v1"), sign)
    log.write("policy")

    log = Log("What is frozen: by people, by a clause, and lifted; what is void then, and which redemptions are refused.")
    freezes.freezes(log, hmac256(SALT_KEY, b"countersign-people-v1"), sign)
    log.write("freeze")
    log = Log("Tokens of agents: issued, widened in vain, revoked; decisions that rest on them, what is void then, and what a clause freezes.")
    made = identities.agents(log, hmac256(SALT_KEY, b"countersign-people-v1"), sign)
    log.write("agent")
    write("agent-token.json", identities.agent_token(log, made))
    log = Log("Budgets: what decisions reserve, what is void and refused, reports in time and late, what people decide over a cap, and what the log says at a warning and at the cap.")
    spending.spending(log, hmac256(SALT_KEY, b"countersign-people-v1"), sign)
    log.write("budgets")
    log = Log("Redaction: a call and results that were redacted, by the marks of what came; a repetition, a conflict, and what is no report of a result.")
    redaction.redaction(log, hmac256(SALT_KEY, b"countersign-people-v1"), SALT_KEY)
    log.write("redaction")

    log = Log("Earlier decisions: what counts of an agent, a session and a run, what is void because another one was posted since, and outcomes.")
    counting.counting(log, hmac256(SALT_KEY, b"countersign-people-v1"), sign)
    log.write("history")


def make_signature():
    body = b'{"by":{"key":"fedcba9876543210"},"index":5}'
    header = sign_place(JKEY, TENANT, 1, "system.erasure", 4, body)
    place = {"tenant": TENANT, "epoch": 1, "subject": "system.erasure", "expected": 4}
    message = f"countersign-journal-v1\n{TENANT}\n1\nsystem.erasure\n4\n".encode() + body
    wrong = [
        ("another tenant", {"tenant": "other"}, None), ("another epoch", {"epoch": 2}, None),
        ("another subject", {"subject": "system.access"}, None), ("another place in the subject", {"expected": 5}, None),
        ("a leading zero", {}, "0" + header), ("padding", {}, header + "=="), ("no number", {}, header.split(".")[1]), ("a space for the dot", {}, header.replace(".", " ")), ("empty", {}, ""),
    ]
    write("journal-signature.json", {
        "about": "Ed25519 over `signed_bytes`; header Countersign-Signature. `refused` differ from it in one thing.",
        "seed": JKEY.seed.hex(), "vkey": JKEY.vkey, "place": place, "body": b64(body), "body_text": body.decode(),
        "signed_bytes": b64(message), "header": header,
        "refused": [{"why": why, "place": place | change, "body": b64(body), "header": header if other is None else other} for why, change, other in wrong]
        + [{"why": "another body", "place": place, "body": b64(body.replace(b"5}", b"6}")), "header": header}],
    })


def make_receipts():
    log = Log("")
    log.publish(payment(), at(1))
    for n in (2, 3, 4):
        log.publish(decision(f"d-{n:04}", n), at(n))
    entries, hashes = log.entries, [leaf_hash(entry) for entry in log.entries]
    signed, stranger = checkpoint(ORIGIN, hashes, LOG), Key(ORIGIN, bytes([5] * 32))
    witness = Key("witness.example", bytes([6] * 32))
    text = f"{ORIGIN}\n5\n{b64(root(hashes))}\n"
    write("receipt/log.key", LOG.vkey + "\n")
    write("receipt/log.json", {
        "origin": ORIGIN, "seed": LOG.seed.hex(), "vkey": LOG.vkey, "entries": [entry.decode() for entry in entries],
        "leaf_hashes": list(map(b64, hashes)), "checkpoint": signed,
    })
    cases = []

    def case(name, content, error, why):
        write(f"receipt/{name}.tlog-proof", content)
        cases.append({"file": f"{name}.tlog-proof", "error": error, "why": why})

    good = [receipt(entry, index, hashes, signed) for index, entry in enumerate(entries)]
    for index in range(5):
        case(f"good-{index}", good[index], None, f"leaf {index} of 5")
    case("good-unknown-signer", receipt(entries[1], 1, hashes, note(text, witness, LOG)), None, "a line of a key that is not given is ignored, and counted")
    case("good-size-1", receipt(entries[0], 0, hashes[:1], checkpoint(ORIGIN, hashes[:1], LOG)), None, "the only leaf: an empty path")
    one, lines = good[1], good[1].split("\n")
    change = lambda at, line: "\n".join(lines[:at] + line + lines[at + 1 :])
    flipped = bytes([entries[1][0] ^ 1]) + entries[1][1:]
    inner = hashes[0] + hashes[1]
    rest = [b64(h) for h in path(hashes, 1)][1:]
    case("entry-changed", change(1, ["extra " + b64(flipped)]), "not_included", "one bit of the entry")
    case("entry-swapped", change(1, ["extra " + b64(entries[2])]), "not_included", "another entry of the same log")
    case("entry-empty", change(1, ["extra "]), "not_included", "no bytes")
    case("index-changed", change(2, ["index 2"]), "not_included", "another index")
    case("index-beyond-size", change(2, ["index 5"]), "not_included", "the tree has 5 leaves")
    case("path-changed", change(3, [b64(hashes[2])]), "not_included", "another hash")
    case("path-short", change(3, []), "not_included", "a hash is missing")
    case("path-long", change(5, [lines[5], b64(hashes[2])]), "not_included", "a hash too many")
    case("path-reversed", "\n".join(lines[:3] + lines[5:2:-1] + lines[6:]), "not_included", "root to leaf")
    node = "\n".join(["c2sp.org/tlog-proof@v1", "extra " + b64(inner), "index 0", *rest, "", signed])
    case("node-as-leaf", node, "not_included", "an inner node's two hashes as an entry, its sibling path as proof")
    case("size-zero", receipt(entries[0], 0, hashes[:1], checkpoint(ORIGIN, [], LOG)), "not_included", "the empty tree, validly signed")
    case("size-changed", one.replace("\n5\n", "\n6\n"), "checkpoint", "the signature is over size 5")
    case("root-changed", one.replace(b64(root(hashes)), b64(root(hashes[:4]))), "checkpoint", "the signature is over another root")
    bad = LOG.line(text)
    case("signature-changed", one.replace(bad, flip_signature(bad)), "checkpoint", "one bit of the signature")
    case("signature-of-a-stranger", receipt(entries[1], 1, hashes, checkpoint(ORIGIN, hashes, stranger)), "checkpoint", "another key of the same name")
    case("signature-missing", receipt(entries[1], 1, hashes, text + "\n"), "checkpoint", "no signature line")
    case("signature-twice", receipt(entries[1], 1, hashes, note(text, LOG, LOG)), "checkpoint", "two lines of one key")
    case("origin-of-another-log", receipt(entries[1], 1, hashes, checkpoint("log.example/v1/tenants/other/logs/1", hashes, LOG)), "checkpoint", "validly signed, but the key's name is not its origin")
    case("extension-line", receipt(entries[1], 1, hashes, note(text + "extension\n", LOG)), "checkpoint", "validly signed, with a fourth line")
    case("size-leading-zero", receipt(entries[1], 1, hashes, note(text.replace("\n5\n", "\n05\n"), LOG)), "checkpoint", "validly signed, size written 05")
    case("trailing-bytes", one + "x", "checkpoint", "something after the last signature")
    case("no-last-newline", one[:-1], "checkpoint", "cut off by one byte")
    case("hyphen-for-dash", one.replace("\u2014", "-"), "checkpoint", "a signature line begins with U+2014")
    case("header-v2", change(0, ["c2sp.org/tlog-proof@v2"]), "malformed", "another version")
    case("no-extra", change(1, []), "malformed", "our receipts carry the entry")
    case("extra-not-canonical", change(1, [lines[1].rstrip("=")]) if lines[1].endswith("=") else change(1, [lines[1] + "="]), "malformed", "wrong padding")
    case("index-leading-zero", change(2, ["index 01"]), "malformed", "one spelling for one number")
    case("index-plus", change(2, ["index +1"]), "malformed", "digits only")
    case("index-too-big", change(2, ["index 18446744073709551616"]), "malformed", "2^64")
    case("path-not-padded", change(3, [lines[3].rstrip("=")]), "malformed", "base64 with padding")
    case("path-stray-bits", change(3, [stray_bits(lines[3])]), "malformed", "base64 with unused bits set")
    case("line-ends-crlf", one.replace("\n", "\r\n"), "malformed", "lines end with U+000A alone")
    case("no-empty-line", one.replace("\n\n", "\n"), "malformed", "nothing separates proof and checkpoint")
    case("empty", "", "malformed", "no bytes")
    write("receipt/cases.json", {"key": "log.key", "cases": cases})


def flip_signature(line):
    head, _, tail = line.rstrip("\n").rpartition(" ")
    data = bytearray(base64.b64decode(tail))
    data[-1] ^= 1
    return f"{head} {b64(bytes(data))}\n"


def stray_bits(text):
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    return text[:-2] + alphabet[alphabet.index(text[-2]) | 1] + "="


def make_strict_json():
    deep = lambda levels, inner="": "[" * levels + inner + "]" * levels
    cases = [
        ("null", "null", None), ("white space", " \t\r\n[1 , 2]\n", None), ("nested alike names", '{"a":{"a":1},"b":[]}', None),
        ("escapes", r'"\"\\\/\b\f\n\r\t\u0041\u00e9"', None), ("surrogate pair", r'"\ud83d\ude00"', None), ("escaped NUL", r'"\u0000"', None),
        ("DEL as it is", '"\x7f"', None), ("names in UTF-16 order", '{"\ufb33":1,"\U0001f600":2,"a":3}', None), ("empty name", '{"":1}', None),
        ("32 levels", deep(32), None), ("32 levels of objects", '{"a":' * 32 + "1" + "}" * 32, None), ("33 levels", deep(33), "json_depth"),
        ("33 levels of objects", '{"a":' * 33 + "1" + "}" * 33, "json_depth"),
        ("2^53-1", "9007199254740991", None), ("-(2^53-1)", "-9007199254740991", None), ("2^53", "9007199254740992", "json_number"),
        ("2^53+1", "9007199254740993", "json_number"), ("-(2^53)", "-9007199254740992", "json_number"), ("1e16", "1e16", "json_number"),
        ("minus zero", "-0", None), ("-0.0", "-0.0", None), ("1.0", "1.0", None), ("1E2", "1E2", None), ("100e-2", "100e-2", None), ("0.10", "0.10", None),
        ("0.1", "0.1", None), ("smallest double", "5e-324", None), ("1e-7", "0.0000001", None), ("1e400", "1e400", "json_number"), ("1e-400", "1e-400", "json_number"),
        ("0.1 and more digits", "0.1000000000000000055", "json_number"), ("pi with 20 digits", "3.14159265358979323846", "json_number"),
        ("a huge exponent", "1e99999999999999999999", "json_number"), ("zero with a huge exponent", "0e99", None),
        ("nothing", "", "json_syntax"), ("white space only", " ", "json_syntax"), ("two values", "1 2", "json_syntax"), ("unclosed", '{"a":1', "json_syntax"),
        ("trailing comma", "[1,]", "json_syntax"), ("trailing comma in an object", '{"a":1,}', "json_syntax"), ("comment", "/**/1", "json_syntax"), ("single quotes", "'a'", "json_syntax"),
        ("bare name", "{a:1}", "json_syntax"), ("NaN", "NaN", "json_syntax"), ("Infinity", "-Infinity", "json_syntax"), ("leading zero", "01", "json_syntax"),
        ("leading plus", "+1", "json_syntax"), ("no digit after the point", "1.", "json_syntax"), ("no digit before the point", ".5", "json_syntax"), ("no exponent", "1e", "json_syntax"),
        ("True", "True", "json_syntax"), ("raw newline in a string", '"a\nb"', "json_syntax"), ("raw NUL in a string", '"\0"', "json_syntax"), ("raw NUL after", "1\0", "json_syntax"),
        ("bad escape", r'"\x41"', "json_syntax"), ("short escape", r'"\u12"', "json_syntax"), ("byte order mark", "\ufeff1", "json_syntax"), ("no-break space", "\u00a01", "json_syntax"),
        ("duplicate name", '{"a":1,"a":1}', "json_duplicate_key"), ("duplicate name, escaped", r'{"a":1,"\u0061":2}', "json_duplicate_key"),
        ("duplicate name, deep", '[{"b":{"x":1,"y":2,"x":3}}]', "json_duplicate_key"),
        ("high surrogate alone", r'"\ud800"', "json_surrogate"), ("low surrogate alone", r'"\udc00"', "json_surrogate"), ("two high surrogates", r'"\ud800\ud800"', "json_surrogate"),
        ("high surrogate and a letter", r'"\ud800\u0041"', "json_surrogate"), ("lone surrogate in a name", r'{"\udfff":1}', "json_surrogate"),
        ("invalid byte", b'"\xff"', "json_utf8"), ("overlong slash", b'"\xc0\xaf"', "json_utf8"), ("surrogate in UTF-8", b'"\xed\xa0\x80"', "json_utf8"),
        ("UTF-16", "[1]".encode("utf-16"), "json_utf8"), ("cut character", b'"\xe2\x82"', "json_utf8"), ("invalid byte after the value", b"1\xff", "json_utf8"),
    ]
    rows = []
    for name, text, code in cases:
        data = text if isinstance(text, bytes) else text.encode()
        rows.append({"name": name, "input": b64(data), "code": code, "canonical": None if code else jcs_text(json.loads(data))})
    write("strict-json.json", {"about": "`input` is base64. `code` null: accepted, with this RFC 8785 form.", "cases": rows})


def make_opa():
    element = {
        "labels": {"id": "1780d507-aea2-45cc-ae50-fa153c8e4a5a", "version": "1.4.2", "region": "eu"},
        "decision_id": "4ca636c1-55e4-417a-b1d8-4aceb67960d1", "bundles": {"payments": {"revision": "rev-42"}},
        "path": "payments/allow", "input": {"tool_calls": [{"tool": "bank", "params": {"amount": 1200}}]}, "result": True,
        "requested_by": "10.0.0.7:51234", "timestamp": "2026-11-20T05:48:01.123456789Z", "metrics": {"timer_rego_query_eval_ns": 43125}, "req_id": 7,
        "request_context": {"http": {"headers": {"x-agent-id": ["agt-payments"]}}},
    }
    bare = {n: element[n] for n in ("labels", "decision_id", "path", "input", "timestamp")}
    cases = [("a decision with all usual members", element), ("undefined: no `result`", bare), ("no agent header", bare | {"result": True})]
    for name, result in [
        ("false", False), ("allow true", {"allow": True, "reason": "ok"}), ("allow false", {"allow": False}), ("empty deny set", []),
        ("deny set", ["amount over limit"]), ("object without allow", {"deny": []}), ("allow is text", {"allow": "true"}), ("text", "true"), ("null", None), ("number", 1),
    ]:
        cases.append((f"result: {name}", bare | {"result": result}))
    cases.append(("a leading slash in `path`", bare | {"path": "/payments/allow", "result": True}))
    cases.append(("an ad-hoc query", {n: v for n, v in bare.items() if n != "path"} | {"query": "data.payments.allow = x", "result": [{"x": True}]}))
    cases.append(("two bundles: the first name counts", bare | {"bundles": {"b": {"revision": "2"}, "a": {}}, "result": True}))
    cases.append(("labels that do not fit stay in the payload", bare | {"labels": {"id": "opa-1", "long": "x" * 257, **{f"l{n:02}": str(n) for n in range(18)}}, "result": True}))
    rows = [{"name": name, "element": e, "event": opa_event(e)} for name, e in cases]
    write("opa.json", {"about": "Elements of OPA decision logs, and the event that each becomes (formats/opa.md).", "cases": rows})


def make_samples():
    """Draws by the public function of formats/evidence.md."""
    def draw(text, control, population, count):
        checkpoint = f"{ORIGIN}\n1000\n{base64.b64encode(bytes(32)).decode()}\n"
        seed = hashlib.sha256(f"countersign-samples-v1\n{checkpoint}{text}\n".encode()).digest()
        ranked = sorted(range(population), key=lambda index: hashlib.sha256(seed + f"{control}\n{index}\n".encode()).digest())
        return {"checkpoint": checkpoint, "text": text, "seed": seed.hex(), "control": control, "population": population, "count": count,
                "drawn": ranked[:count]}

    draws = [draw("", "decisions", 1000, 25), draw("Storm closes the harbour", "decisions", 1000, 25), draw("Storm closes the harbour", "denied", 1000, 25),
             draw("Sturm schließt den Hafen\n", "decisions", 300, 5), draw("few", "erasures", 3, 25), draw("none", "policies", 0, 25)]
    write("samples.json", {"about": "Draws of formats/evidence.md. Population n: the leaf indexes 0 to n - 1.", "draws": draws})


if __name__ == "__main__":
    make_entries()
    make_samples()
    make_signature()
    make_receipts()
    make_strict_json()
    make_opa()
    write("override-token.json", tokens.override_token(TOKEN, Key(TOKEN.name, bytes([7] * 32)), Key(TOKEN.name, bytes([8] * 32))))
    write("call-digest.json", tokens.call_digests())
    write("replicas.json", replicas.replicas())
    write("following.json", following.following(Log, LOG, LOG2, at, decision))
    write("passkey.json", passkeys.passkeys())
