"""What the log says of earlier calls: a first payment is a fact; a known name at another account, and the same amount again, warn."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from html import unescape
from typing import Any

import pytest

from support import Server
from support.events import new_id
from support.pages import Paused, Visitor
from support.realistic import Desk
from support.refunds import ACCOUNTS, House, refund

NORDWIND, HOTEL, OTHER = "DE89370400440532013000", "FR1420041010050500013M02606", "DE02120300000000202051"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """One server with displays."""
    with Server(tmp_path_factory.mktemp("facts")) as server:
        opened = Desk.open(server)
        assert isinstance(opened, Desk)
        yield opened


def transfer(desk: Desk, amount: int, name: str, iban: str, country: str = "DE", agent: str = "payments-bot", reference: str | None = None) -> Paused:
    params = {"amount": amount, "currency": "EUR", "to": {"name": name, "country": country, "iban": iban}, "reference": reference or new_id("r")}
    return desk.listed(desk.pause(params, tool="payments", action="transfer", agent=agent))


def words(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def known(maria: Visitor, call: Paused) -> tuple[list[str], bool, str]:
    """What is said at once, whether it warns, and what is said further down."""
    page = maria.get(f"/approvals/{call.id}").text
    found = re.search(r'<ul class="known( new)?"[^>]*>(.*?)</ul>', page, re.S)
    below = words(page.split('<h2 id="call">', 1)[1].split("<dl", 1)[0])
    if found is None:
        return [], False, below
    return [words(line) for line in re.findall(r"<li[^>]*>(.*?)</li>", found[2], re.S)], bool(found[1]), below


#: What another call is known by: its reference, and when it was asked for.
CALL = r"“Reference r-[a-z0-9-]+”, asked \d+ [A-Z][a-z]{2}, \d\d:\d\d UTC\."


def test_p7_a_first_payment_is_a_fact_and_a_known_name_elsewhere_warns(desk: Desk) -> None:
    maria = desk.visitor("p-maria")
    assert known(maria, transfer(desk, 10_000, "Nordwind GmbH", NORDWIND)) == ([], False, "The call Its first call with this tool.")
    hotel = known(maria, transfer(desk, 20_000, "Hôtel des Arts", HOTEL, "FR"))
    assert hotel == ([], False, "The call New payee: its other call went elsewhere. Its last call with this tool, at most EUR 100.00: waiting.")
    said, warns, below = known(maria, transfer(desk, 30_000, "Nordwind GmbH", OTHER))
    assert (said, warns) == (["An earlier call to this name had another account: DE89 3704 0044 0532 0130 00 ."], True)
    assert "at most EUR 200.00" in below
    # Another reference is a planned repeat, and is said without red; the same one is the same call again.
    first = transfer(desk, 10_000, "Nordwind GmbH", NORDWIND, reference="r-1183")
    said, warns, _ = known(maria, first)
    repeat = r"Same amount and account as an earlier call \(waiting\), but another “Reference” : "
    assert not warns and len(said) == 1 and re.fullmatch(repeat + CALL.replace("”,", "” ,"), said[0].replace(" .", ".")), said
    said, warns, _ = known(maria, transfer(desk, 11_000, "Nordwind GmbH", NORDWIND))
    assert (said, warns) == ([], False)
    # Of other agents' calls only the same payment counts: it may come twice, by two ways. The confirming page says it once more.
    twice = transfer(desk, 10_000, "Nordwind GmbH", NORDWIND, agent="billing-bot", reference="r-1183")
    warning = "The same amount to the same account as an earlier call of another agent (waiting): “Reference r-1183"
    said, warns, _ = known(maria, twice)
    assert said[0].startswith(warning) and said[0].endswith("The same too: “Reference” , “To · name” .") and warns and len(said) == 1, said
    assert f'/approvals/{first.id}"' in maria.get(f"/approvals/{twice.id}").text, "it leads to the other call"
    asked = maria.post(f"/approvals/{twice.id}/confirm", maria.fields(f"/approvals/{twice.id}") | {"decision": "approve"})
    assert warning in words(asked.text) and "Approve this call?" in asked.text


def test_p7_a_name_that_looks_like_a_known_one_is_named(desk: Desk) -> None:
    maria, nils = desk.visitor("p-maria"), desk.visitor("p-nils")
    jonas, agent = desk.visitor("p-jonas"), "bot-3"
    paid = [transfer(desk, 17_000 + n, "Imprenta Núñez S.L.", "ES9228390566023694752093", "ES", agent) for n in range(2)]
    for call in paid:
        for visitor in (jonas, nils):
            assert visitor.review(call, "approve").status_code == 303
    lookalike = transfer(desk, 18_000, "lmprenta Núñez S.L.", "ES1100490001510200592093", "ES", agent)
    said, warns, _ = known(maria, lookalike)
    assert warns and said[0] == "Looks like “Imprenta Núñez S.L.” , approved 2 times, but is another name: small L in place of capital i."
    # The known one looks like nobody, whatever was asked for.
    said, warns, _ = known(maria, transfer(desk, 19_000, "Imprenta Núñez S.L.", "ES9228390566023694752093", "ES", agent))
    assert not warns, said
    # Letters of another script are written by their numbers, and the name that they stand for is told.
    said, warns, _ = known(maria, transfer(desk, 1, "N\u043erdwind GmbH", OTHER, agent="billing-bot"))
    assert warns and said[0].startswith("\\u{…} stands for a letter that looks like another one")
    assert said[1].startswith("Looks like “Nordwind GmbH” , in ") and said[1].endswith("but is another name: “U+043E” in place of small o.")
    said, warns, _ = known(maria, transfer(desk, 2, "N\u043erdwind GmbH", HOTEL, agent="billing-bot"))
    assert warns and len(said) == 3 and said[2].startswith("An earlier call to this name had another account: DE02"), said


def test_p7_an_id_that_looks_like_a_known_one_is_named(desk: Desk) -> None:
    maria, agent = desk.visitor("p-maria"), "bot-4"

    def back(customer: str, order: str) -> Paused:
        return desk.listed(desk.pause({"amount": 2490, "customer": customer, "order": order}, tool="payments", action="refund", agent=agent))

    back("cus_k5medpyg", "A-17")
    call = back("cus_k5rnedpyg", "A-18")
    said, warns, _ = known(maria, call)
    assert warns and said[0] == "Looks like “cus_k5medpyg” , in an earlier call, but is another name: r and n in place of “m”."
    page = maria.get(f"/approvals/{call.id}").text
    assert '<span class="id">cus_k5rnedpyg</span>' in page and '<span class="id">A-18</span>' in page


def test_p7_another_currency_than_before_warns(desk: Desk) -> None:
    maria, agent = desk.visitor("p-maria"), "bot-5"

    def pay(currency: str) -> Paused:
        to = {"name": "Harbor Street Analytics LLC", "country": "US", "iban": "981698887735"}
        params = {"amount": 1_260_000, "currency": currency, "to": to, "reference": new_id("r")}
        return desk.listed(desk.pause(params, tool="payments", action="transfer", agent=agent))

    pay("USD"), pay("USD")
    said, warns, below = known(maria, pay("EUR"))
    assert warns and said == ["2 earlier calls to this payee, all in USD; this is EUR."]
    assert "at most USD 12,600.00: 2 waiting" in below


def test_p7_a_tool_that_an_agent_never_called_is_told(desk: Desk) -> None:
    maria, agent = desk.visitor("p-maria"), "bot-6"
    for n in range(3):
        transfer(desk, 100 + n, "Nordwind GmbH", NORDWIND, agent=agent)
    mail = {"to": ["kim@example.org"], "subject": "Hello", "body": "x"}
    said, warns, _ = known(maria, desk.listed(desk.pause(mail, tool="mail", action="send", agent=agent)))
    assert (said, warns) == (["Its first call with this tool: its 3 other calls were with “payments” ."], False)


def test_p7_a_time_that_has_passed_is_marked(desk: Desk) -> None:
    maria = desk.visitor("p-maria")

    def head(due: Any) -> str:
        params = {"amount": 100, "currency": "EUR", "to": {"name": "Blumen Linden", "country": "DE", "iban": NORDWIND}, "due": due}
        call = desk.listed(desk.pause(params, tool="payments", action="transfer", agent="bot-7"))
        return words(maria.get(f"/approvals/{call.id}").text.split('<p class="by">', 1)[0])

    today = datetime.now(timezone.utc)
    past, ahead = today - timedelta(days=18, hours=1), today + timedelta(days=2)
    assert "passed 18 days ago" in head(past.strftime("%Y-%m-%dT%H:%M:%SZ")) and "passed 18 days ago" in head(past.strftime("%Y-%m-%d"))
    for other in (ahead.strftime("%Y-%m-%dT%H:%M:%SZ"), today.strftime("%Y-%m-%d"), "soon", 7):
        assert "passed" not in head(other), other


def test_p7_data_that_name_nobody_have_no_column_of_names(desk: Desk) -> None:
    maria, agent = desk.visitor("p-maria"), new_id("bot")
    export = {"patients": 1240, "receiver": "東北循環器研究センター", "columns": ["age_group", "sex", "name"], "deidentified": True, "expires": "soon"}
    said, warns, _ = known(maria, call := desk.listed(desk.pause(export, tool="export", action="health", agent=agent)))
    assert warns and said[0] == "Deidentified is true, but it has the column name."
    page = words(maria.get(f"/approvals/{call.id}").text)
    assert "Health data of 1,240 people" in page and "Health data of 1240" not in page
    right = desk.listed(desk.pause(export | {"columns": ["age_group", "sex"]}, tool="export", action="health", agent=agent))
    assert not known(maria, right)[1]


def test_p7_a_payroll_says_for_when_for_how_many_and_where(desk: Desk) -> None:
    lines = [{"iban": f"KW81CBKU000000000000123456010{n}", "name": f"n{n}", "amount": 1000} for n in range(6)]
    call = desk.listed(desk.pause({"total": 6000, "currency": "KWD", "month": "2026-10", "lines": lines}, tool="salaries", action="run", agent="bot-8"))
    head = words(desk.visitor("p-maria").get(f"/approvals/{call.id}").text.split('<p class="by">', 1)[0])
    assert "Salaries for 2026-10 : 6 people, KWD 6.000 in all" in head and "6, accounts in Kuwait" in head, head


def test_p7_a_country_has_its_name_beside_its_code(desk: Desk) -> None:
    maria = desk.visitor("p-maria")
    call = transfer(desk, 500, "Savinja d.o.o", "SI56263300012039086", "SI", "bot-0")
    head = maria.get(f"/approvals/{call.id}").text.split('<p class="by">', 1)[0]
    assert "to Savinja d.o.o , SI (Slovenia)" in words(head) and '<bdi dir="auto" class="of">SI</bdi> (Slovenia)' in head
    for country in ("si", "ZZ", "SI (Slovenia)"):
        other = transfer(desk, 500, "Savinja d.o.o", "SI56263300012039086", country, "bot-0")
        head = words(maria.get(f"/approvals/{other.id}").text.split('<p class="by">', 1)[0])
        assert "SI (Slovenia)" not in head.replace("“SI (Slovenia)”", ""), "no other text looks like a code with its name"


def test_p7_the_host_of_a_link_stays_in_one_piece(desk: Desk) -> None:
    maria = desk.visitor("p-maria")
    link = "https://sso.meridian-care.example/renew?user=kim"
    call = desk.listed(desk.pause({"to": ["kim@example.org"], "subject": "Renew", "body": "x", "link": link}, tool="mail", action="send", agent="bot-1"))
    page = maria.get(f"/approvals/{call.id}").text
    assert '<span class="host">sso.meridian-care.example</span><wbr>' in page
    assert link in unescape(re.sub(r"<[^>]+>", "", page)) and f'href="{link}' not in page


def test_p7_a_host_in_other_letters_has_its_name_in_ascii_beside_it(desk: Desk) -> None:
    mail = {"to": ["kim@example.org"], "subject": "Renew", "body": "x", "link": "https://münchen.example/renew"}
    call = desk.listed(desk.pause(mail, tool="mail", action="send", agent="bot-1"))
    page = desk.visitor("p-maria").get(f"/approvals/{call.id}").text
    assert "the host is xn--mnchen-3ya.example" in words(page).replace("  ", " ") and 'href="https://m' not in page


def test_p7_rows_of_like_calls_have_their_facts(tmp_path_factory: pytest.TempPathFactory) -> None:
    with Server(tmp_path_factory.mktemp("facts-together")) as server:
        house = House.open(server)
        assert isinstance(house, House)
        agent = new_id("bot")

        def pause(n: int, **over: Any) -> Paused:
            return house.listed(house.pause(refund(n) | over, tool="payments", action="refund", agent=agent))

        calls = [pause(0), pause(2), pause(4, customer="cus_0", account=ACCOUNTS[1]), pause(2, order="B-9"), pause(6, account="FR7630006000011234567890189")]
        maria = house.visitor("p-maria")
        page = maria.get(f"/together?decision=approve&ids={'.'.join(call.id for call in reversed(calls))}").text
        rows = {found: row for row in page.split('<li class="tick">')[1:] for found in re.findall(r'value="(apr-[a-z2-7]+)~', row)}
        said = {call.id: [(kind, words(text)) for kind, text in re.findall(r'<p class="(bad|meta)">((?!<time).*?)</p>', rows[call.id], re.S)] for call in calls}
        assert said[calls[0].id] == [] and said[calls[1].id] == [("bad", "Another call in this list says the same.")]
        assert [kind for kind, _ in said[calls[2].id]] == ["bad"] and said[calls[2].id][0][1].startswith("An earlier call to this name had another account: ")
        assert said[calls[3].id][0][0] == "meta"
        assert said[calls[3].id][0][1].startswith("Same amount and account as an earlier call (waiting), but another “Order” : ")
        assert said[calls[4].id] == [("meta", "New payee: none of its last 4 calls went there.")]
        # The page of a call says the same of it.
        assert "An earlier call to this name had another account: " in maria.get(f"/approvals/{calls[2].id}").text


def test_p7_a_negative_amount_warns(desk: Desk) -> None:
    maria = desk.visitor("p-maria")
    said, warns, _ = known(maria, transfer(desk, -1265, "Nordwind GmbH", NORDWIND, agent="hr-bot"))
    assert warns and said[0] == "The amount is negative: the money goes the other way."


def test_p7_access_without_an_end_or_for_years_warns(desk: Desk) -> None:
    maria, agent = desk.visitor("p-maria"), new_id("bot")

    def grant(expires: str) -> tuple[list[str], bool, str]:
        params = {"user": "Dr. Ofer Nahum", "email": "ofer.nahum@clinic.example", "system": "patient-records", "role": "reader", "expires": expires}
        call = desk.listed(desk.pause(params, tool="access", action="grant", agent=agent))
        head = words(maria.get(f"/approvals/{call.id}").text.split('<p class="by">', 1)[0])
        assert "role reader" in head and "user" not in head, "what only repeats the address is not in the head"
        return known(maria, call)

    assert grant("never")[:2] == (["Access for a person without an end: Expires is “never”."], True)
    far = datetime.now(timezone.utc) + timedelta(days=400)
    said, warns, _ = grant(far.strftime("%Y-%m-%d"))
    assert warns and said[0].startswith("“Expires” is 400 days away: "), said
    near = datetime.now(timezone.utc) + timedelta(days=40)
    assert not grant(near.strftime("%Y-%m-%d"))[1]


def test_p7_a_deletion_in_production_warns_and_a_lower_version_is_named(desk: Desk) -> None:
    maria, nils, agent = desk.visitor("p-maria"), desk.visitor("p-nils"), new_id("bot")
    backup = {"kind": "backup", "system": "referrals-db", "environment": "production", "item": "referrals-db-2026-11-22"}
    delete = lambda **over: desk.listed(desk.pause(backup | over, tool="storage", action="delete", agent=agent))  # noqa: E731
    assert known(maria, delete())[:2] == (["It deletes, and environment is production."], True)
    assert not known(maria, delete(environment="staging"))[1]

    def release(version: str) -> Paused:
        params = {"service": "consent-forms", "version": version, "environment": "production", "image": "sha256:" + "ab" * 32}
        return desk.listed(desk.pause(params, tool="deploy", action="release", agent=agent))

    ran = release("3.10.2")
    assert known(maria, ran)[:2] == (["It releases to production."], False)
    assert nils.review(ran, "approve").status_code == 303
    # What people approved and nobody carried out did not run.
    assert not known(maria, release("3.9.12"))[1]
