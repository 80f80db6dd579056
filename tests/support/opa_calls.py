"""Policies with every kind of condition, and calls for them by a seed. What is true of a call is for the two judges to say."""

from __future__ import annotations

import base64
import datetime
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

AGENTS = """language: 1
tiers: [public, internal, confidential, restricted]
agents:
  - {id: bot, groups: [all, some], owners: [p-ana], tier: internal, region: eu, spawns: ["bot-*"]}
  - {id: "bot-x", groups: [all], owners: [p-ana], tier: restricted, region: us}
  - {id: planner, groups: [all], owners: [p-ana]}
  - {id: narrow, groups: [all], owners: [p-ana], tools: [k-integer]}
  - {id: "*", owners: [p-ops]}
"""
SCHEMA = "sha256:" + "0a" * 32
DIGEST = "sha256:" + "1b" * 32
IBAN, IBAN_SPACED, CARD, SSN = "DE89370400440532013000", "GB82 WEST 1234 5698 7654 32", "4111 1111 1111 1111", "536-90-4399"

#: Kind of condition → its text, and the tool's name is `k-<kind>`.
CONDITIONS: dict[str, str] = {
    "integer": "{params: {/n: {integer: {over: 5, at_most: 9}}}}",
    "integer-2": "{params: {/n: {integer: {at_least: 5, under: 9}}}}",
    "decimal": "{params: {/d: {decimal: {over: \"-1.5\", at_most: \"12.50\"}}}}",
    "decimal-2": "{params: {/d: {decimal: {at_least: \"-1.5\", under: \"12.50\"}}}}",
    "one-of": "{params: {/v: {one_of: [a, \"\\u00e9\", 5, true]}}}",
    "one-of-texts": "{params: {/v: {one_of: [a, b]}}}",
    "in-list": "{params: {/v: {in_list: payees}}}",
    "equals": "{params: {/v: {equals: 5}}}",
    "equals-text": "{params: {/v: {equals: a}}}",
    "matches": "{params: {/s: {matches: \"INV-[0-9]{3}|[^a-z\\\\s]{2}\"}}}",
    "contains": "{params: {/s: {contains_match: \"ur+gent.x\"}}}",
    "length": "{params: {/s: {length: {at_least: 3, at_most: 5}}}}",
    "items": "{params: {/l: {items: {over: 1, under: 4}}}}",
    "each": "{params: {/l: {each: {integer: {at_most: 9}}}}}",
    "each-list": "{params: {/l: {each: {items: {at_most: 1}, each: {one_of: [a, b]}}}}}",
    "some": "{params: {\"/l/*\": {integer: {at_most: 9}, some: true}}}",
    "all": "{params: {\"/l/*/a\": {integer: {at_most: 9}, some: false}}}",
    "present": "{params: {/o/a~1b: {present: true}}}",
    "absent": "{params: {/o/a~1b: {absent: true}}}",
    "optional": "{params: {/n: {integer: {at_most: 9}, optional: true}}}",
    "element": "{params: {/l/1: {integer: {at_most: 9}}}}",
    "amount": "{amount: {minor: /n, currency: /currency, over: {EUR: 5, USD: 6}, at_most: {EUR: 9, USD: 12}}}",
    "amount-2": "{amount: {minor: /n, currency: /currency, at_least: {EUR: 5}, under: {EUR: 9}}}",
    "label": "{labels: {team: [red, blue]}}",
    "purpose": "{purpose: [billing, treatment]}",
    "environment": "{environment: {in_list: payees}}",
    "region": "{region: eu}",
    "region-agent": "{region: {agent: eu}}",
    "region-tool": "{region: {tool: [eu, ap], agent: {in_list: regions}}}",
    "region-elsewhere": "{region: {tool: us}}",
    "region-nowhere": "{region: {tool: us}}",
    "hours": "{hours: {days: [mon, tue, wed, thu, fri], from: \"08:00\", to: \"18:00\", zone: Europe/Berlin, except: [\"2026-12-24\"], holidays: holidays}}",
    "night": "{hours: {days: [mon, wed, fri], from: \"22:00\", to: \"06:00\", zone: UTC, except: [\"2026-12-18\"]}}",
    "period": "{period: {from: \"2026-12-01T00:00:00Z\", to: \"2026-12-24T18:00:00Z\"}}",
    "chain-only": "{chain: {only: [planner, \"@some\"]}}",
    "chain-root": "{chain: {root: [planner]}}",
    "chain-through": "{chain: {through: [planner]}}",
    "chain-without": "{chain: {without: [planner]}}",
    "chain-depth": "{chain: {depth_max: 2}}",
    "chain-verified": "{chain: {verified: true, depth_max: 16}}",
    "egress": "{egress: {at: [/url], hosts: [api.example.eu, \"*.bank.example\"], paths: [\"/v1/*\", /status], ports: [443, 8443], methods: {at: /method, one_of: [GET, HEAD]}}}",
    "egress-list": "{egress: {at: [/url, \"/urls/*\"], hosts: {in_list: hosts}, schemes: [https, http]}}",
    "digest": "{digest: {at: /s, one_of: [\"" + DIGEST + "\"]}}",
    "digest-list": "{digest: {at: /s, in_list: digests}}",
    "tier": "{tier: {at_most: agent}}",
    "tier-named": "{tier: {at_most: internal}}",
    "classes": "{data: {classes: [contact, health]}}",
    "third-parties": "{data: {third_parties: [lab.example]}}",
    "identity": "{identity: verified}",
    "effect": "{effect: read}",
    "detects": "{detects: {at: /text, detect: [iban, card, email, us-ssn, member]}}",
    "detects-all": "{detects: [iban, card]}",
    "not": "{not: {params: {/n: {integer: {over: 5, at_most: 9}}}}}",
    "any": "{any: [{params: {/n: {integer: {at_most: 5}}}}, {params: {/v: {equals: a}}}]}",
    "all-of": "{all: [{params: {/n: {integer: {at_most: 5}}}}, {not: {any: [{params: {/v: {equals: a}}}, {purpose: billing}]}}]}",
}  # fmt: skip
#: Those that have no errors, or are never false.
WITHOUT_ERRORS = {"present", "absent", "period", "identity", "effect"}
#: Those that are true if everything is within what is listed: a clause that denies says `not`.
WITHIN = {"egress", "egress-list", "classes", "third-parties"}
TIERED = {"tier": "internal", "tier-named": "confidential"}
REGIONS = {"region-tool": "eu", "region-elsewhere": "eu"}

EXTRA = """
  - {id: z-message, tool: mixed, actions: [go], agents: ["@some"], then: allow, message: Go on., obligations: {retain_days: 1, no_training: true}, when: {params: {/n: {integer: {at_most: 9}}}}}
  - {id: y-also, tool: mixed, actions: [go], agents: [bot], then: allow, obligations: {retain_days: 2}, when: {params: {/v: {one_of: [a, b]}}}}
  - {id: x-ask, tool: mixed, actions: [go], then: approval_needed, message: Somebody must look., when: {params: {/s: {matches: "ask.*", optional: true}}}}
  - {id: w-deny, tool: mixed, then: deny, message: Never., when: {params: {/s: {matches: "stop.*", optional: true}}}}
  - {id: a-anybody, tool: mixed, actions: [visit], agents: ["@unregistered"], then: allow}
  - {id: b-shadow, tool: mixed, actions: [go], then: deny, enforcement: {shadow: true}}
  - {id: c-steps, tool: mixed, actions: [go], then: deny, when: {purpose: [billing]}, enforcement: {steps: [{until: "2026-12-15T00:00:00Z", percent: 0}, {percent: 50}]}}
  - {id: d-everywhere, tool: "*", then: deny, when: {labels: {stop: ["yes"]}}, enforcement: {shadow: true}}
  - {id: m-mail, tool: mail, actions: [send], agents: ["*"], then: allow}
  - {id: n-redact, tool: mail, then: sanitize, redact: [{at: /text, detect: [iban, card, email, us-ssn, member]}, {at: "/l/*/a", detect: [iban, card]}]}
  - {id: o-also, tool: mail, then: sanitize, when: {params: {/n: {integer: {at_most: 9}, optional: true}}}, redact: [{at: "/o", detect: [email]}]}
  - {id: p-after, tool: mail, then: approval_needed, when: {params: {/text: {contains_match: "member", optional: true}}}}
  - {id: q-redacted, tool: mail, then: deny, when: {params: {/text: {matches: "only .REDACTED:iban.", optional: true}}}}
  - {id: r-spend, tool: shop, actions: [buy, sell, rest], then: allow}
budgets:
  - {id: calls, tool: shop, actions: [buy], sum: calls, per: agent, window: day, zone: UTC, max: 10, at_cap: deny, message: Enough for today.}
  - {id: minor, tool: shop, actions: [buy], sum: {minor: /n, currency: /currency}, per: session, window: hour, max: {EUR: 100}, at_cap: approval_needed}
  - {id: cost, tool: shop, actions: [sell], sum: cost, per: all, window: month, zone: Europe/Berlin, max: {USD: "1.00"}, at_cap: deny}
rates:
  - {id: fast, tool: shop, actions: [sell], per: agent, burst: 5, per_second: 5, at_cap: deny}
"""


def actions_of(kind: str) -> list[str]:
    """`each` is for clauses that allow."""
    return ["allow"] if kind.startswith("each") else ["allow", "approval_needed", "deny"]


def write_policies(folder: Path) -> Path:
    """The folder with every kind of condition, in a clause that allows, one that asks people, and one that denies."""
    for name in ("policies", "lists"):
        (folder / name).mkdir(parents=True)
    clauses, tools = [], []
    for kind, text in CONDITIONS.items():
        for then in actions_of(kind):
            when = f"{{not: {text}}}" if then == "deny" and kind in WITHIN else text
            clauses.append(f"  - {{id: {kind}-{then[:2]}, agents: [\"*\"], tool: k-{kind}, actions: [{then}], when: {when}, then: {then}}}")
        clauses.append(f"  - {{id: {kind}-other, agents: [\"*\"], tool: k-{kind}, actions: [deny], then: allow}}")
        tier = f", tier: {TIERED[kind]}" if kind in TIERED else ""
        tier += f", region: {REGIONS[kind]}" if kind in REGIONS else ""
        effect = "write" if kind == "effect" else "read"
        tools.append(f"  - {{name: k-{kind}{tier}, actions: [{{name: allow, effect: read, schema: \"{SCHEMA}\"}}, {{name: approval_needed, effect: {effect}}}, {{name: deny, effect: {effect}}}]}}")
    for tool, actions in (("mixed", "go, visit"), ("mail", "send"), ("shop", "buy, sell, rest")):
        listed = ", ".join(f"{{name: {action}, effect: write}}" for action in actions.split(", "))
        tools.append(f"  - {{name: {tool}, actions: [{listed}]}}")
    lists = {"regions": "[eu, us]", "payees": "[a, \"*.list.example\", \"\\u00e9\"]", "holidays": "[\"2026-12-25\"]", "hosts": "[api.example.eu, \"*.bank.example\"]", "digests": f"[\"{DIGEST}\"]"}
    for name, items in lists.items():
        (folder / f"lists/{name}.yaml").write_text(f"language: 1\nitems: {items}\n")
    (folder / "agents.yaml").write_text(AGENTS)
    (folder / "tools.yaml").write_text("language: 1\ntools:\n" + "\n".join(tools) + "\n")
    (folder / "detectors.yaml").write_text("language: 1\ndetectors:\n  - {name: member, pattern: \"M-[0-9]{8}\", check: luhn}\n  - {name: badge, pattern: \"B[0-9]{4}\", words: [badge]}\n")
    (folder / "policies/wide.yaml").write_text("language: 1\npolicy: wide\nclauses:\n" + "\n".join(clauses) + EXTRA)
    return folder


BERLIN, UTC = "Europe/Berlin", "UTC"
TEXTS: list[Any] = ["a", "b", "c", "\u00e9", "e\u0301", "", "A", "\u65e5\u672c", 5, 6, 5.0, 5.5, True, False, None, [], {}, ...]
NUMBERS: list[Any] = [-1, 0, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 5.0, 8.5, 9.000001, "7", None, [], ..., 9007199254740991]
DECIMALS: list[Any] = [
    "-1.5", "-1.51", "-1.49", "-1.500000000000000001", "-1.499999999999999999", "-1.50", "12.50", "12.5", "12.49", "12.51", "12.500000000000000001",
    "12.499999999999999999", "0", "-0", "00", "1.", "1e2", "", "12,5", "999999999999999999", "-2", 3, None, ..., "3.1", "7", "11.99",
]  # fmt: skip
STRINGS: list[Any] = [
    "INV-123", "INV-12", "INV-1234", "xINV-123", "INV-123\n", "A1", "a1", "\u00e9\u00e9", "\u661f\u661f", "  ", "urgent x", "urrrgent\nx", "urgentx", "very urgent!x", "ugent x", "ab", "abc", "abcd",
    "abcde", "abcdef", "\u00e9\u00e9\u00e9\u00e9\u00e9", "e\u0301x", "", 5, None, ..., "ask me", "stop it", "ask e\u0301",
    f"repo@{DIGEST}", DIGEST, f"repo:{DIGEST}", f"repo@{DIGEST}0", "repo@sha256:00", f"x@{'sha256:' + '2c' * 32}", "sha256:" + "2C" * 32,
]  # fmt: skip
LISTS: list[Any] = [
    [], [1], [1, 2], [1, 9, 10], [1, 2, 3], [1, 2, 3, 4], [10, 11], ["x", 5], ["x"], [None], [None, 4], "x", 5, None, ..., {"1": 3}, [["a"], ["b"]], [["a", "b"]], [["c"]], [[], 5], [[5]], [["a"], []],
    [{"a": 5}, {"a": 9}], [{"a": 10}], [{}], [{"a": "x"}], [{"a": None}, {"a": 3}], [{"a": 9}, 5],
]  # fmt: skip
HOSTS = ["api.example.eu", "API.Example.EU.", "x.bank.example", "a.b.bank.example", "bank.example", "xbank.example", "evil.example", "127.0.0.1", "localhost", "user@api.example.eu", "api.example.eu@evil.example", "[::1]", "api..example.eu", "-a.example.eu", "api.example.eu%2e", "list.example", "0x7f000001"]  # fmt: skip
PATHS = ["", "/", "/v1/x", "/v1/", "/v1", "/status", "/statusx", "/v1/../admin", "/v1/%2e%2e/admin", "/v1/%2fadmin", "/v1%5cx", "/v1//x", "/v1/a;b", "/v1/%", "/v1/%zz", "/v1/%ff", "/v1/%c3%a9", "/v1/%e2%82%ac", "/v1/%ed%a0%80", "/v1/%00", "/v1/%25", "/v1/a+b", "/v1/.", "/v1/x?y=//..", "?x", "/v1/x#top", "/v1/\\x", "/v1/\u00e9", "/v1/x y"]  # fmt: skip
PORTS = ["", "", "", ":443", ":8443", ":80", ":0", ":", ":080", ":65535", ":65536", ":x"]
SCHEMES = ["https://", "https://", "https://", "HTTPS://", "http://", "ftp://", "//", ""]
WORDS = ["Dear Ana,", "pay to", "the account", "at 12", "no 7", "is 3 of 4", "ref. 4711", "x@y", "and", "please", "on 2026-12-24", "mail@", "(urgent)", "50%", "a.b", "\u00e9t\u00e9", "Gr\u00fc\u00dfe", "\u65e5\u672c", "~", "member"]  # fmt: skip
FINDS = [IBAN, IBAN_SPACED, "de89 3704 0044 0532 0130 00", "DE89370400440532013001", "NO9386011117947", "FR1420041010050500013M02606", CARD, "4111111111111111", "4111-1111-1111-1111", "4111 1111-1111 1111", "4111111111111112", "5555555555554444", "378282246310005", "3782 822463 10005", "6011000990139424", "30569309025904", "4222222222222", "6759649826438453", "1111111111111117", SSN, "000-12-3456", "536-90-4399-1", "536 90 4399", "1/536-90-4399", "ana@example.eu", "ana.m+x@mail.example.co", "icon@2x.png", "git@host.example:x", "a@b", "a..b@c.example", ".ana@example.eu.", "ana@example.eu-", "a@b@c.example", "M-12345674", "M-12345675", "M-12345674M-12345674", "ana@4111111111111111.example", f"{IBAN}@example.eu", "B1234", "badge B1234", "SSN: 536-90-4399"]  # fmt: skip
#: Bytes that are a text in some encoding, or in none: OPA must know which ones we read.
BYTES = [
    f"pay to\x0c {IBAN}".encode(), f"to {IBAN}\0".encode(), f"Z\u00fcrich {IBAN}".encode("latin-1"), f"to {IBAN}".encode("utf-16"), f"to {IBAN}".encode("utf-16-be"),
    f"\xff\xfe\x01\x02{IBAN}".encode("latin-1"), bytes(range(256)), bytes(range(0, 256, 3)) + IBAN.encode(), b"\xff" + b"12345\xff" * 4, b"\xc3" * 16, b"\x80\x01" * 8 + IBAN.encode(),
    b"".join(bytes([b, 0xE9]) for b in IBAN.encode()), b"\xf0\x9f\x98\x80" * 4, b"\xed\xa0\x80 the quick brown", b"\xf4\x90\x80\x80 the quick", b"\xe0\x9f\xbf" * 5, "\u0417\u043d\u0430\u043a\u0438".encode("utf-16-le") * 2,
]  # fmt: skip
ENCODED = ["\x1b[1m" + IBAN, "%20" + IBAN, "\\u0020" + IBAN, "\ufeff{\"a\": 1}", '{"a": "x"}', "[1]", "aGVsbG8gd29ybGQhIQ==", "a=b&c=d", "https://x.example/?q=1", "a\\nb", "x\u00a0y", "ssn 536904399", "{", "[x", "DE89370400440532013000", "YWJjZGVmZ2hpamtsbW5vcA"]


#: Kind → a parameter, and values of it that are no error, or seldom one: taken for most calls.
USUAL: dict[str, tuple[str, list[Any]]] = {
    "in-list": ("v", ["a", "b", "c", "\u00e9", "A", 5]), "equals": ("v", [5, 5.0, 6, 4, 5.5, "5"]), "equals-text": ("v", ["a", "a", "b", "\u00e9", 5]),
    "matches": ("s", STRINGS[:9] + [5, None, "INV-456"]), "contains": ("s", STRINGS[10:15] + [5, None]), "length": ("s", STRINGS[15:21] + ["e\u0301x", 5, None]),
    "each": ("l", [[], [1], [1, 9], [9, 10], [10], [1, 10, 9], ["x"]]), "each-list": ("l", [[["a"], ["b"]], [["a", "b"]], [["c"]], [[]], [["a"], []], [["c"], ["a"]], [[5]]]),
    "some": ("l", [[1], [10, 9], [10, 11], [], [10], [12, 13], ["x", 10]]), "all": ("l", [[{"a": 5}, {"a": 9}], [{"a": 10}], [{"a": 9}, {"a": 10}], [], [{}], [{"a": 9}]]),
    "element": ("l", [[1, 9], [1, 10], [0, 10], [1, 11], [1], [0, 9, 10]]), "present": ("o", [{"a/b": 1}, {}, {"a": 1}, {"a/b": None}, 5, "x"]), "absent": ("o", [{"a/b": 1}, {"a/b": 2}, {}, {"a/b": [1]}, 5, "x"]),
    "any": ("v", ["a", "b", "b", "c", "A"]), "all-of": ("n", [3, 4, 5, 6]), "one-of": ("v", ["a", "\u00e9", 5, 6, True, False, "b", None, {}]), "one-of-texts": ("v", ["a", "b", "c", "d", 5]),
    "amount": ("n", [3, 4, 5, 6, 7, 8, 9, 10]), "amount-2": ("n", [3, 4, 5, 6, 7, 8, 9, 10]), "optional": ("n", [8, 9, 10, 11, ..., "7", "8"]), "not": ("n", [4, 5, 6, 7, 8, 9, 10, "7"]), "digest": ("v", ["a"]),
    "integer": ("n", [4, 5, 6, 7, 8, 9, 10, "7", None]), "integer-2": ("n", [4, 5, 6, 7, 8, 9, 10, "7", None]), "detects": ("n", [1]),
}  # fmt: skip


class Calls:
    """Calls by a seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.families: dict[str, list[str]] = {}
        for kind in CONDITIONS:
            self.families.setdefault(kind.split("-")[0], []).append(kind)
        self.kinds = list(self.families)

    def pick(self, values: list[Any]) -> Any:
        """One of them."""
        return self.random.choice(values)

    def many(self, count: int) -> list[dict[str, Any]]:
        """So many calls: of each kind of condition in turn, and of what has several parts."""
        makers: list[Callable[[], dict[str, Any]]] = [self.mixed, *[self.mail] * 9, self.shop, self.odd]
        families = list(self.families.values())
        return [self.pick(makers)() if at % 5 < 2 else self.of_kind(self.pick(families[(at * 3 // 5) % len(families)])) for at in range(count)]

    def call(self, tool: str, action: str) -> dict[str, Any]:
        """A call with facts."""
        now = datetime.datetime(2026, 12, 1, tzinfo=datetime.UTC) + datetime.timedelta(seconds=self.random.randrange(-8 * 86400, 33 * 86400))
        if self.random.random() < 0.15:
            edge = self.pick([datetime.datetime(2026, 12, 1, tzinfo=datetime.UTC), datetime.datetime(2026, 12, 24, 18, tzinfo=datetime.UTC)])
            now = edge + datetime.timedelta(seconds=self.pick([-1, 0, 1]))
        facts: dict[str, Any] = {"now": now.strftime("%Y-%m-%dT%H:%M:%SZ"), "verified": self.random.random() < 0.5, "local": {}}
        for zone, minutes in ((BERLIN, 60), (UTC, 0)):
            local = now + datetime.timedelta(minutes=minutes)
            minute = self.pick([479, 480, 481, 1079, 1080, 1081, 1319, 1320, 1321, 1400, 359, 360, 361, 0, 1439, 600])
            if self.random.random() < 0.7:
                facts["local"][zone] = {"date": local.strftime("%Y-%m-%d"), "weekday": local.weekday(), "minute": minute, "offset": minutes * 60}
        return {"agent": {"id": "bot"}, "tool": {"name": tool, "action": action}, "params": {}, "context": {}, "labels": {}, "facts": facts}

    def of_kind(self, kind: str) -> dict[str, Any]:
        """A call for the condition of one kind."""
        call = self.call(f"k-{kind}", self.pick([*actions_of(kind), *actions_of(kind)[1:2]]))
        values = {"n": self.pick(NUMBERS), "d": self.pick(DECIMALS), "v": self.pick(TEXTS), "s": self.pick(STRINGS), "l": self.pick(LISTS), "currency": self.pick(["EUR", "EUR", "EUR", "EUR", "USD", "CHF", "eur", 5])}
        values["o"] = self.pick([{"a/b": 1}, {"a/b": None}, {}, {"a": 1}, None, 5, [1], ...])
        if kind in USUAL and self.random.random() < 0.7:
            name, pool = USUAL[kind]
            values[name] = self.pick(pool)
        if kind.startswith("digest"):
            other = f"x@{'sha256:' + '2c' * 32}"
            values["s"] = self.pick(STRINGS[-7:] + [f"repo@{DIGEST}", DIGEST, other, other, other])
        if kind.startswith(("egress", "detects")):
            values |= self.addresses()
            values["text"] = self.pick([self.text(), self.text(), self.text(), " ".join(self.random.choices(WORDS[:9], k=4)), [5], 5, None, None, None, ..., ..., 4111111111111111])
        call["params"] = {name: value for name, value in values.items() if value is not ... and (self.random.random() < 0.97)}
        if self.random.random() < 0.01:
            call["params"] = self.pick([None, [], "x", f"only {IBAN}", 4111111111111111])
        call["labels"] = self.pick([{}, {"team": "red"}, {"team": "blue", "x": "y"}, {"team": "green"}, {"team": "grey"}, {"Team": "red"}])
        context = {"purpose": ["billing", "treatment", "other", "else"], "environment": ["a", "prod", "\u00e9"], "region": ["eu", "us"], "classes": [["contact"], ["health", "contact"], ["biometric"], ["health", "x"], ["x"]], "third_parties": [["lab.example"], [], ["lab.example", "y"], ["z"]]}
        call["context"] = {name: self.pick(of) for name, of in context.items() if self.random.random() < 0.7}
        if kind.startswith(("chain", "tier", "region-")):
            call["agent"] = self.agent()
        if self.random.random() < 0.05:
            call["facts"]["lists"] = {self.pick(["payees", "hosts", "digests"]): self.pick([["b"], ["a", "b", "*.example.eu"], []])}
        return call

    def agent(self) -> dict[str, Any]:
        """An agent with or without a chain."""
        id = self.pick(["bot", "bot-7", "bot-x", "planner", "planner", "planner", "stranger"])
        before = [self.pick(["planner", "planner", "bot", "bot-1", "stranger", "bot-x"]) for _ in range(self.pick([0, 1, 1, 2, 3]))]
        chain = self.pick([*[[*dict.fromkeys([one for one in before if one != id]), id]] * 5, [*before, id], before, ..., None, [f"bot-{n}" for n in range(16)] + [id]])
        return {"id": id} | ({} if chain is ... else {"chain": chain})

    def addresses(self) -> dict[str, Any]:
        """URLs, many of them wrong."""
        def url() -> Any:
            weird = self.random.random() < 0.45
            host, port, path, scheme = (self.pick(HOSTS[:4] * 2 + HOSTS[4:7]), self.pick(PORTS[:5]), self.pick(PATHS[2:6]), "https://")
            if weird:
                host, port, path, scheme = self.pick([(self.pick(HOSTS), port, path, scheme), (host, self.pick(PORTS), path, scheme), (host, port, self.pick(PATHS), scheme), (host, port, path, self.pick(SCHEMES))])
            return scheme + host + port + path
        return {"url": self.pick([url()] * 8 + [5, None, ...]), "urls": self.pick([[], [url()], [url(), url()], 5, ..., [None]]), "method": self.pick(["GET", "GET", "GET", "HEAD", "POST", "POST", 5])}

    def text(self) -> str:
        """A text in which something may be found."""
        if self.random.random() < 0.04:
            return self.pick(ENCODED)
        if self.random.random() < 0.015:
            return self.encoded()
        parts = [self.pick(FINDS) if self.random.random() < 0.4 else self.pick(WORDS) for _ in range(self.random.randrange(1, 9))]
        return "".join(part + self.pick([" ", " ", " ", ", ", "\n", ".", "; ", "/", "-"]) for part in parts).rstrip()

    def encoded(self) -> str:
        """Base64: mostly of what nobody reads, so that OPA judges it."""
        made = self.random.randbytes(self.random.randrange(11, 60))
        if self.random.random() < 0.3:
            made = self.pick(BYTES) if self.random.random() < 0.7 else made + IBAN.encode() + made
        text = self.pick([base64.b64encode, base64.urlsafe_b64encode])(made).decode()
        return text.rstrip("=") if self.random.random() < 0.5 else text

    def mail(self) -> dict[str, Any]:
        """A call that may be redacted."""
        call = self.call("mail", "send")
        params: dict[str, Any] = {"text": self.pick([self.text()] * 20 + [5, ..., 4111111111111111, 4222222222222, ["x", CARD], f"only {IBAN}"])}
        params["l"] = self.pick([..., ..., ..., [], [{"a": self.text()}, {"a": 378282246310005}], [{"b": IBAN, "a": "x"}], self.pick([5, []])])
        params["o"] = self.pick([..., ..., {"x": self.text(), "y": [self.text(), {"z": "ana@example.eu"}]}, {"~/": "ana@example.eu"}, self.pick([{"ana@example.eu": 1}, 5, self.pick([5] * 8 + [{"ssn": {"value": "536904399"}}, {"ssn": [{"Text": {"no": "536-90-4399"}}]}])])])
        params["n"] = self.pick([..., ..., 5, 10, self.pick(["x", 5, 5])])
        call["params"] = {name: value for name, value in params.items() if value is not ...}
        return call

    def mixed(self) -> dict[str, Any]:
        """A call for which several clauses are."""
        call = self.call("mixed", self.pick(["go", "go", "go", "visit", "other"]))
        call["agent"] = {"id": self.pick(["bot", "bot", "bot-7", "bot-\"q\"", "planner", "stranger", "bot-x", "narrow"])}
        params = {"n": self.pick([5, 9, 10, "x", ...]), "v": self.pick(["a", "c", 5, ...]), "s": self.pick(["ask x", "ask y", "ask z", "stop x", "x", 5, ..., "e\u0301"])}
        call["params"] = {name: value for name, value in params.items() if value is not ...}
        call["context"] = self.pick([{}, {"purpose": "billing"}, {"purpose": "x"}, None])
        return call

    def shop(self) -> dict[str, Any]:
        """A call that budgets and rates are for."""
        call = self.call("shop", self.pick(["buy", "buy", "sell", "sell", "rest"]))
        call["agent"] = {"id": "bot"} | self.pick([{}, {"session": "s-1"}, {"session": "s-1", "run": "r-1"}])
        call["params"] = {"n": self.pick([0, 1, 49, 50, 51, 100, 101, -1, 5.5, "x"]), "currency": self.pick(["EUR", "EUR", "EUR", "USD", 5])}
        call["cost"] = self.pick([{"amount": amount, "currency": self.pick(["USD", "USD", "USD", "EUR"])} for amount in ("0.50", "0.500000", "0.5000001", "0.499999", "1.00", "1.000001", "x", "0")] + [{}, None])
        booked = {"wide/calls": [8, 9, 10, 11], "wide/minor": [0, 49, 50, 51], "wide/cost": [0, 499999, 500000, 500001, 1000000]}
        call["facts"]["booked"] = {name: self.pick(of) for name, of in booked.items() if self.random.random() < 0.93}
        span = {"from": "2026-12-01T00:00:00Z", "to": "2026-12-02T00:00:00Z"}
        call["facts"]["windows"] = {name: span for name in ("day UTC", "hour", "month Europe/Berlin") if self.random.random() < 0.95}
        call["facts"]["rates"] = self.pick([{"wide/fast": True}, {"wide/fast": True}, {"wide/fast": False}, {}])
        return call

    def odd(self) -> dict[str, Any]:
        """A call that is refused before any clause, or nearly."""
        call = self.of_kind(self.pick(list(CONDITIONS)))
        change = self.pick(["agent", "tool", "schema", "action", "frozen", "facts", "context", "label", "narrow"])
        if change == "agent":
            call["agent"] = self.pick([{"id": "stranger"}, {"id": "*"}, {"id": ""}, {}, {"id": "x" * 257}, {"id": "bot", "more": 1}, {"id": "a\u0007"}, {"id": "bot", "run": None}, 5])
        elif change == "tool":
            call["tool"]["name"] = self.pick(["countersign", "Countersign.x", "countersig", "unknown", "mixed"])
        elif change == "schema":
            call["tool"] |= {"action": "allow", "schema": self.pick([SCHEMA, SCHEMA[:-1] + "b", None])}
        elif change == "action":
            call["tool"]["action"] = self.pick(["other", "", None])
        elif change == "frozen":
            call["facts"]["frozen"] = self.pick([True, False, 811])
        elif change == "facts":
            call["facts"] = self.pick([{}, {"now": "yesterday"}, {"now": call["facts"]["now"]}])
        elif change == "context":
            call["context"] = self.pick([None, {"purpose": ""}, {"more": 1}, {"classes": "x"}, {"classes": [""]}, 5])
        elif change == "label":
            call["labels"] = self.pick([None, {"stop": "yes"}, {"stop": 5}, []])
        else:
            call["agent"] = {"id": "narrow"}
        return call
