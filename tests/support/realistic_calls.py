"""Sixty calls as companies make them: payments, salaries, exports, mails, deploys, and some that no display is for. In several
currencies and scripts; the largest has 1,892 values. Each says what whoever decides must read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


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


#: A transfer each: name, agent, minor units, currency, amount as it is read, payee, country and its name, account and how it is
#: read, reference.
TRANSFERS = [
    ("russia", "payments-bot", 990_000, "EUR", "EUR 9,900.00", "ООО «Вектор»", "RU (Russian Federation)", "DE89370400440532013000", "DE89 3704 0044 0532 0130 00", "Contract 17/24"),
    ("germany", "payments-bot", 125_000, "EUR", "EUR 1,250.00", "Nordwind GmbH", "DE (Germany)", "DE89370400440532013000", "DE89 3704 0044 0532 0130 00", "Invoice 4711"),
    ("japan", "payments-bot", 1_250_000, "JPY", "JPY 1,250,000", "株式会社サンプル", "JP (Japan)", "0123-4567890", "0123-4567890", "請求書 88"),
    ("kuwait", "payments-bot", 1_250_000, "KWD", "KWD 1,250.000", "شركة النور للتجارة", "KW (Kuwait)", "KW81CBKU0000000000001234560101", "KW81 CBKU 0000 0000 0000 1234 5601 01", "فاتورة 12"),
    ("israel", "payments-bot", 70, "EUR", "EUR 0.70", "חברת הדוגמה", "IL (Israel)", "IL620108000000099999999", "IL62 0108 0000 0009 9999 999", "חשבונית 5"),
    ("china", "payments-bot", 123_456_789, "CNY", "CNY 1,234,567.89", "上海示例有限公司", "CN (China)", "6222020200112233445", "6222020200112233445", "合同 2026-11"),
    ("france", "payments-bot", 32_950, "EUR", "EUR 329.50", "Hôtel des Arts", "FR (France)", "FR1420041010050500013M02606", "FR14 2004 1010 0505 0001 3M02 606", "Nuitées"),
    ("rent", "billing-bot", 1_840_000, "EUR", "EUR 18,400.00", "Hausverwaltung Süd KG", "AT (Austria)", "AT611904300234573201", "AT61 1904 3002 3457 3201", "Miete Dezember"),
    ("britain", "billing-bot", 48_012, "GBP", "GBP 480.12", "Thames Paper Ltd", "GB (United Kingdom of Great Britain and Northern Ireland)", "GB29NWBK60161331926819", "GB29 NWBK 6016 1331 9268 19", "PO 5521"),
    ("korea", "billing-bot", 3_300_000, "KRW", "KRW 3,300,000", "한빛물류 주식회사", "KR (Korea (Republic of))", "110-234-567890", "110-234-567890", "11월 운송료"),
    ("emirates", "billing-bot", 7_150_050, "AED", "AED 71,500.50", "مؤسسة الأفق للمقاولات", "AE (United Arab Emirates)", "AE070331234567890123456", "AE07 0331 2345 6789 0123 456", "دفعة 3"),
    ("bahrain", "billing-bot", 999_999, "BHD", "BHD 999.999", "Gulf Cold Stores W.L.L", "BH (Bahrain)", "BH67BMAG00001299123456", "BH67 BMAG 0000 1299 1234 56", "Storage 11/2026"),
    ("taiwan", "billing-bot", 8_820_000, "TWD", "TWD 88,200.00", "台北精密工業", "TW (Taiwan)", "004-1234567890", "004-1234567890", "訂單 T-301"),
    ("greece", "billing-bot", 2_999, "EUR", "EUR 29.99", "Καφέ Αθήνα", "GR (Greece)", "GR1601101250000000012300695", "GR16 0110 1250 0000 0001 2300 695", "Τιμολόγιο 9"),
    ("turkey", "billing-bot", 1_507_575, "TRY", "TRY 15,075.75", "Işık Matbaacılık A.Ş", "TR (Türkiye)", "TR330006100519786457841326", "TR33 0006 1005 1978 6457 8413 26", "Fatura 2026/118"),
    ("haifa", "billing-bot", 412_300, "ILS", "ILS 4,123.00", "מעבדות הכרמל", "IL (Israel)", "IL620108000000012345678", "IL62 0108 0000 0001 2345 678", "הזמנה 771"),
    ("tunisia", "bot-0", 250_500, "TND", "TND 250.500", "Atelier Ben Salah", "TN (Tunisia)", "TN5910006035183598478831", "TN59 1000 6035 1835 9847 8831", "Devis 44"),
    ("iceland", "bot-0", 64_000, "ISK", "ISK 64,000", "Þórður Verktaki ehf", "IS (Iceland)", "IS140159260076545510730339", "IS14 0159 2600 7654 5510 7303 39", "Reikningur 3"),
    ("million", "bot-0", 123_456_700, "EUR", "EUR 1,234,567.00", "Windpark Nordsee GmbH & Co KG", "DE (Germany)", "DE02120300000000202051", "DE02 1203 0000 0000 2020 51", "Closing payment, lot 4"),
    ("cent", "bot-0", 1, "EUR", "EUR 0.01", "Test Account", "LU (Luxembourg)", "LU280019400644750000", "LU28 0019 4006 4475 0000", "penny test"),
    ("long", "bot-0", 560_000, "EUR", "EUR 5,600.00", "Vereniging tot Bevordering van de Belangen des Boekhandels", "NL (Netherlands)", "NL91ABNA0417164300", "NL91 ABNA 0417 1643 00", "Contributie 2027 en achterstallig"),
    ("hindi", "bot-0", 7_500_000, "INR", "INR 75,000.00", "सूर्या टेक्सटाइल्स", "IN (India)", "50100012345678", "50100012345678", "चालान 202"),
]  # fmt: skip

#: A refund each: name, minor units, amount as it is read, customer, order.
REFUNDS = [
    ("refund", 6_400, "EUR 64.00", "cus_8812", "A-17"),
    ("refund-small", 99, "EUR 0.99", "cus_0007", "B-2041"),
    ("refund-large", 249_900, "EUR 2,499.00", "Zoë Müller", "B-2042"),
    ("refund-hebrew", 1_500, "EUR 15.00", "נועה לוי", "C-9"),
    ("refund-name", 12_345, "EUR 123.45", "O’Neill & Sons", "D-11"),
]

#: A run of salaries each: name, currency, month, people, each one's pay in minor units, amount as it is read, people as they are read.
SALARIES = [
    ("salaries", "EUR", "2026-11", 475, 300_000, "EUR 1,425,000.00", "475 people"),
    ("salaries-japan", "JPY", "2026-12", 38, 412_000, "JPY 15,656,000", "38 people"),
    ("salaries-kuwait", "KWD", "2026-10", 12, 1_150_250, "KWD 13,803.000", "12 people"),
    ("bonus", "EUR", "2026-12 bonus", 3, 500_000, "EUR 15,000.00", "3 people"),
]

#: An export each: name, people, as they are read, receiver, columns, de-identified, end.
EXPORTS = [
    ("export", 1842, "1,842 people", "Charité, Berlin", ["age", "icd10", "outcome"], False, "2026-12-31"),
    ("export-tokyo", 96, "96 people", "東京医科大学", ["age", "hba1c"], True, "2027-01-15"),
    ("export-haifa", 12_004, "12,004 people", "בית חולים רמב״ם", ["sex", "age", "icd10", "drug", "dose"], True, "2027-06-30"),
    ("export-dubai", 310, "310 people", "مستشفى راشد", ["age", "bmi", "smoker"], True, "2026-12-24"),
    ("export-one", 1, "1 person", "Dr. Lena Vogt", ["name", "birthday", "diagnosis"], False, "2026-12-02"),
    ("export-insurer", 58_211, "58,211 people", "Nordkranken VVaG", ["policy", "claims"], False, "2027-12-31"),
    ("export-registry", 740, "740 people", "Krebsregister NRW", ["icd10", "tnm", "year"], True, "2027-03-01"),
]

#: A mail each: name, receivers, subject, body, link; then what is read of receivers and body.
MAILS = [
    ("mail", ["frau.yilmaz@example.org"], "Ihr Vertrag", "Sehr geehrte Frau Yılmaz,\n\nanbei Ihr Vertrag.\n\nMit freundlichen Grüßen\nNordwind", "https://example.org/v/1",
     ["frau.yilmaz@example.org", "Sehr geehrte Frau Yılmaz,", "anbei Ihr Vertrag."]),
    ("bulk", [f"person-{n}@example.org" for n in range(1889)], "Preise", "Neu.", "https://example.org/p", ["person-0@example.org", "and 1,886 more", "Neu."]),
    ("mail-arabic", ["info@alnoor.example"], "موعد التسليم", "السلام عليكم،\nيتم التسليم يوم الأحد.", "https://track.example.org/ar/771", ["info@alnoor.example", "يتم التسليم يوم الأحد."]),
    ("mail-hebrew", ["dana@haifa.example"], "אישור הזמנה", "שלום דנה,\nההזמנה אושרה.", "https://example.org/he/55", ["dana@haifa.example", "ההזמנה אושרה."]),
    ("mail-japanese", ["tanaka@kaisha.example", "sato@kaisha.example"], "納期のお知らせ", "田中様\n納期は12月10日です。", "https://example.org/ja/10", ["tanaka@kaisha.example", "sato@kaisha.example", "納期は12月10日です。"]),
    ("mail-links", ["board@nordwind.example"], "Minutes", "Please sign by Friday.", "https://signatures.nordwind-energy.example/board/2026/minutes-november.pdf?token=a1b2", ["board@nordwind.example", "Please sign by Friday."]),
    ("mail-press", [f"desk-{n}@press.example" for n in range(64)], "Embargo: results Q3", "Embargo until 07:00.", "https://example.org/q3", ["desk-0@press.example", "and 61 more", "Embargo until 07:00."]),
    ("mail-reset", ["kim@example.org"], "Reset your key", "Use the link within an hour.", "https://id.example.org/reset?u=kim", ["kim@example.org", "Use the link within an hour."]),
    ("mail-dismissal", ["t.berg@example.org"], "Kündigung", "Sehr geehrter Herr Berg,\nhiermit kündigen wir Ihren Vertrag.", "https://example.org/hr/9", ["t.berg@example.org", "hiermit kündigen wir Ihren Vertrag."]),
]  # fmt: skip

#: A release each: service, version, environment.
DEPLOYS = [
    ("billing", "2.14.1", "production"), ("patient-portal", "9.0.0-rc.2", "production"), ("ledger", "1.0.0", "staging"),
    ("checkout", "2026.11.30+b7", "canary"), ("結算服務", "3.2.0", "production"), ("auth", "0.9.9", "disaster-recovery"),
]  # fmt: skip

#: Calls that no display is for: name, tool, action, params, whom, fields.
OTHERS: list[tuple[str, str, str, dict[str, Any], str, list[str]]] = [
    ("dns", "dns", "delete", {"host": "mail.nordwind.example", "type": "MX", "ttl": 300}, "mail.nordwind.example", ["MX", "300"]),
    ("grant", "directory", "grant", {"user": "kim@example.org", "role": "domain-admin", "until": "2027-01-01"}, "kim@example.org", ["domain-admin", "1 Jan 2027"]),
    ("drop", "database", "execute", {"database": "patients", "query": "DROP TABLE visits_2019"}, "patients", ["DROP TABLE visits_2019"]),
    ("limit", "cards", "set_limit", {"account": "card-4471", "limit": 25_000, "currency": "EUR"}, "card-4471", ["25000", "EUR"]),
    ("hire", "crm", "assign", {"customer": "שירותי צפון", "to": "team-7", "note": "vip"}, "team-7", ["שירותי צפון", "vip"]),
    ("one", "vacuum", "start", {"room": "kitchen"}, "kitchen", ["kitchen"]),
    ("unknown", "crm", "merge", {"keep": "acc-1", "drop": "acc-2", "note": "same company"}, "acc-1", ["acc-2", "same company"]),
]  # fmt: skip


def transfer(name: str, agent: str, minor: int, currency: str, amount: str, to: str, country: str, iban: str, account: str, reference: str) -> Call:
    """A transfer."""
    code = country.split(" ")[0]
    params = {
        "amount": minor, "currency": currency, "to": {"name": to, "country": code, "iban": iban}, "reference": reference,
        "due": "2026-12-01T08:00:00Z", "id": "tr-" + name,
    }  # fmt: skip
    return Call(name, "payments", "transfer", params, amount, to, [country, account, reference, "1 Dec 2026"], agent)


def refund(name: str, minor: int, amount: str, customer: str, order: str) -> Call:
    """A refund."""
    return Call(name, "payments", "refund", {"amount": minor, "customer": customer, "order": order}, amount, customer, [order], "bot-1")


def salaries(name: str, currency: str, month: str, people: int, pay: int, amount: str, whom: str) -> Call:
    """A run of salaries: three values for each person."""
    lines = [{"iban": "DE89370400440532013000", "name": f"Person {n}", "amount": pay} for n in range(people)]
    params = {"total": pay * people, "currency": currency, "month": month, "lines": lines}
    return Call(name, "salaries", "run", params, amount, whom, [month, *([f"and {people - 3} more"] if people > 3 else []), str(people)], "hr-bot")


def export(name: str, patients: int, people: str, receiver: str, columns: list[str], deidentified: bool, end: str) -> Call:
    """An export of health data. Its agent has no owner who is known."""
    params = {"patients": patients, "receiver": receiver, "columns": columns, "deidentified": deidentified, "expires": end}
    year, month, day = end.split("-")
    date = f"{int(day)} {'Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec'.split()[int(month) - 1]} {year}"
    # A short list is shown whole.
    seen = list(columns)
    return Call(name, "export", "health", params, None, receiver, [people, *seen, str(deidentified).lower(), date], "care-bot")


def mail(name: str, to: list[str], subject: str, body: str, link: str, read: list[str]) -> Call:
    """An e-mail."""
    whom = subject if len(to) < 1000 else f"{len(to):,} people"
    return Call(name, "mail", "send", {"to": to, "subject": subject, "body": body, "link": link}, None, whom, [*read, subject, link], "bot-2")


def deploy(service: str, version: str, environment: str) -> Call:
    """A release."""
    image = "sha256:" + f"{len(service + version):02x}" * 32
    params = {"service": service, "version": version, "environment": environment, "image": image}
    return Call("deploy-" + service, "deploy", "release", params, None, service, [version, environment, image], "ops-bot")


CALLS = [
    *(transfer(*row) for row in TRANSFERS),
    *(refund(*row) for row in REFUNDS),
    *(salaries(*row) for row in SALARIES),
    *(export(*row) for row in EXPORTS),
    *(mail(*row) for row in MAILS),
    *(deploy(*row) for row in DEPLOYS),
    *(Call(name, tool, action, params, None, whom, fields, "ops-bot") for name, tool, action, params, whom, fields in OTHERS),
]
assert len(CALLS) == 60 and len({call.name for call in CALLS}) == 60
