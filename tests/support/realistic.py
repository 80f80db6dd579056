"""Realistic calls that ask people, and the displays by which they are read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .pages import Office

RULES = """
[[display]]
tool = "payments"
action = "transfer"
title = "{amount} to {/to/name}, {/to/country}"
amount = {minor = "/amount", currency = "/currency"}
lead = ["/to/iban", "/reference", "/due"]
labels = {"/to/iban" = "Account", "/due" = "Due"}
kinds = {"/to/iban" = "account", "/due" = "time"}

[[display]]
tool = "payments"
action = "refund"
title = "{amount} back to {/customer}"
amount = {minor = "/amount", currency = "EUR"}
lead = ["/order"]

[[display]]
tool = "salaries"
title = "Salaries of {#/lines} people, {amount} in all"
amount = {minor = "/total", currency = "/currency"}
lead = ["/month", "/lines"]
count = ["/lines"]

[[display]]
tool = "export"
title = "Health data of {/patients} people to {/receiver}"
lead = ["/columns", "/deidentified", "/expires"]
kinds = {"/expires" = "time"}

[[display]]
tool = "mail"
title = "E-mail “{/subject}” to {#/to} people"
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
    "p-ana": {"name": "Ana Lima", "groups": ["support"], "owns": ["payments-bot", "billing-bot", "hr-bot", "bot-0", "bot-1", "bot-2"]},
}


class Desk(Office):
    """A server with displays in its rules."""

    def put_in_force(self) -> None:
        self.people = {id: dict(person) for id, person in PEOPLE.items()}
        self.write(RULES, [{"id": id, **person} for id, person in self.people.items()])
        self.apply()


@dataclass
class Call:
    """A call, and the texts that whoever decides must read before a yes."""

    name: str
    tool: str
    action: str
    params: dict[str, Any]
    #: The amount on the page, if there is one.
    amount: str | None
    #: Who or what gets it, as the sentence has it.
    whom: str
    #: Texts of the display fields.
    fields: list[str] = field(default_factory=list)
    agent: str = "payments-bot"


def transfer(name: str, minor: int, currency: str, amount: str, to: str, country: str, iban: str, reference: str) -> Call:
    """A transfer."""
    params = {
        "amount": minor, "currency": currency, "to": {"name": to, "country": country, "iban": iban}, "reference": reference,
        "due": "2026-12-01T08:00:00Z", "id": "tr-" + name,
    }  # fmt: skip
    return Call(name, "payments", "transfer", params, amount, to, [reference, "1 Dec 2026"])


CALLS = [
    transfer("russia", 990_000, "EUR", "EUR 9,900.00", "ООО «Вектор»", "RU", "DE89370400440532013000", "Contract 17/24"),
    transfer("germany", 125_000, "EUR", "EUR 1,250.00", "Nordwind GmbH", "DE", "DE89370400440532013000", "Invoice 4711"),
    transfer("japan", 1_250_000, "JPY", "JPY 1,250,000", "株式会社サンプル", "JP", "0123-4567890", "請求書 88"),
    transfer("kuwait", 1_250_000, "KWD", "KWD 1,250.000", "شركة النور للتجارة", "KW", "KW81CBKU0000000000001234560101", "فاتورة 12"),
    transfer("israel", 70, "EUR", "EUR 0.70", "חברת הדוגמה", "IL", "IL620108000000099999999", "חשבונית 5"),
    transfer("china", 123_456_789, "CNY", "CNY 1,234,567.89", "上海示例有限公司", "CN", "6222020200112233445", "合同 2026-11"),
    transfer("france", 32_950, "EUR", "EUR 329.50", "Hôtel des Arts", "FR", "FR1420041010050500013M02606", "Nuitées"),
    Call("refund", "payments", "refund", {"amount": 6400, "customer": "cus_8812", "order": "A-17"}, "EUR 64.00", "cus_8812", ["A-17"]),
    Call("salaries", "salaries", "run", {"total": 142_500_000, "currency": "EUR", "month": "2026-11", "lines": [
        {"iban": "DE89370400440532013000", "name": f"Person {n}", "amount": 300_000} for n in range(475)]},
        "EUR 1,425,000.00", "475 people", ["2026-11", "and 472 more", "475"], "hr-bot"),
    Call("export", "export", "health", {"patients": 1842, "receiver": "Charité, Berlin", "columns": ["age", "icd10", "outcome"],
        "deidentified": False, "expires": "2026-12-31"}, None, "Charité, Berlin", ["age", "icd10", "outcome", "false", "31 Dec 2026"]),
    Call("mail", "mail", "send", {"to": ["frau.yilmaz@example.org"], "subject": "Ihr Vertrag", "link": "https://example.org/v/1",
        "body": "Sehr geehrte Frau Yılmaz,\n\nanbei Ihr Vertrag.\n\nMit freundlichen Grüßen\nNordwind"}, None, "Ihr Vertrag",
        ["frau.yilmaz@example.org", "Sehr geehrte Frau Yılmaz,", "anbei Ihr Vertrag.", "https://example.org/v/1"]),
    Call("bulk", "mail", "send", {"to": [f"person-{n}@example.org" for n in range(1889)], "subject": "Preise", "body": "Neu.",
        "link": "https://example.org/p"}, None, "1,889 people", ["person-0@example.org", "and 1,886 more", "Neu."]),
    Call("deploy", "deploy", "release", {"service": "billing", "version": "2.14.1", "environment": "production",
        "image": "sha256:" + "ab" * 32}, None, "billing", ["2.14.1", "production", "sha256:" + "ab" * 32]),
    Call("one", "vacuum", "start", {"room": "kitchen"}, None, "kitchen", ["kitchen"]),
    Call("unknown", "crm", "merge", {"keep": "acc-1", "drop": "acc-2", "note": "same company"}, None, "acc-1", ["acc-2", "same company"]),
]  # fmt: skip
