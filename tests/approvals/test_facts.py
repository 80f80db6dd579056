"""What the log says of earlier calls: a first payment is a fact; a known name at another account, and the same amount again, warn."""

from __future__ import annotations

import re
from collections.abc import Iterator
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


def transfer(desk: Desk, amount: int, name: str, iban: str, country: str = "DE", agent: str = "payments-bot") -> Paused:
    params = {"amount": amount, "currency": "EUR", "to": {"name": name, "country": country, "iban": iban}, "reference": new_id("r")}
    return desk.listed(desk.pause(params, tool="payments", action="transfer", agent=agent))


def words(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def known(maria: Visitor, call: Paused) -> tuple[list[str], bool, str]:
    """What is said at once, whether it warns, and what is said further down."""
    page = maria.get(f"/approvals/{call.id}").text
    found = re.search(r'<ul class="known( new)?"[^>]*>(.*?)</ul>', page, re.S)
    assert found
    below = words(page.split('<h2 id="call">', 1)[1].split("<dl", 1)[0])
    return [words(line) for line in re.findall(r"<li>(.*?)</li>", found[2], re.S)], bool(found[1]), below


def test_p7_a_first_payment_is_a_fact_and_a_known_name_elsewhere_warns(desk: Desk) -> None:
    maria = desk.visitor("p-maria")
    assert known(maria, transfer(desk, 10_000, "Nordwind GmbH", NORDWIND))[:2] == (["Its first call with this tool."], False)
    hotel = known(maria, transfer(desk, 20_000, "Hôtel des Arts", HOTEL, "FR"))
    assert hotel == (["First payment to this account by this agent, after 1 other call."], False, "The call Its last call with this tool, at most EUR 100.00: waiting.")
    said, warns, below = known(maria, transfer(desk, 30_000, "Nordwind GmbH", OTHER))
    assert (said, warns) == (["An earlier call to this name had another account."], True)
    assert "First payment to this account by this agent, after 2 other calls." in below and "at most EUR 200.00" in below
    said, warns, _ = known(maria, transfer(desk, 10_000, "Nordwind GmbH", NORDWIND))
    assert (said, warns) == (["The same amount to the same account as an earlier call (waiting)."], True)
    said, warns, _ = known(maria, transfer(desk, 11_000, "Nordwind GmbH", NORDWIND))
    assert (said, warns) == (["2 of its last 4 calls went to this account."], False)
    # Of other agents' calls only the same payment counts: it may come twice, by two ways. The confirming page says it once more.
    twice = transfer(desk, 10_000, "Nordwind GmbH", NORDWIND, agent="billing-bot")
    warning = "The same amount to the same account as 2 earlier calls of other agents (2 waiting)."
    assert known(maria, twice)[:2] == ([warning], True)
    asked = maria.post(f"/approvals/{twice.id}/confirm", maria.fields(f"/approvals/{twice.id}") | {"decision": "approve"})
    assert warning in words(asked.text) and "Approve this call?" in asked.text
    # Two warnings are both said at once.
    said, warns, _ = known(maria, transfer(desk, 1, "N\u043erdwind GmbH", OTHER, agent="billing-bot"))
    assert warns and said[0].startswith("\\u{…} stands for a letter that looks like another one")
    looks = transfer(desk, 2, "N\u043erdwind GmbH", HOTEL, agent="billing-bot")
    said, warns, _ = known(maria, looks)
    assert warns and len(said) == 2 and said[1] == "An earlier call to this name had another account."


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
    assert '<span class="host">sso.<wbr>meridian-care.<wbr>example<wbr></span>' in page
    assert link in unescape(re.sub(r"<[^>]+>", "", page)) and f'href="{link}' not in page


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
        said = {call.id: re.findall(r'<p class="(bad|meta)">([^<]+)</p>', rows[call.id]) for call in calls}
        assert said[calls[0].id] == [] and said[calls[1].id] == [("bad", "Another call in this list says the same.")]
        assert said[calls[2].id] == [("bad", "An earlier call to this name had another account."), ("meta", "First payment to this account by this agent, after 2 other calls.")]
        assert said[calls[3].id][0] == ("bad", "The same amount to the same account as an earlier call (waiting).")
        assert said[calls[4].id] == [("meta", "First payment to this account by this agent, after 4 other calls.")]
        # The page of a call says the same of it.
        assert "An earlier call to this name had another account." in maria.get(f"/approvals/{calls[2].id}").text


def test_p7_a_negative_amount_warns(desk: Desk) -> None:
    maria = desk.visitor("p-maria")
    said, warns, _ = known(maria, transfer(desk, -1265, "Nordwind GmbH", NORDWIND, agent="hr-bot"))
    assert warns and said[0] == "The amount is negative: the money goes the other way."
