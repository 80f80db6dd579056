"""Search in *Others* and *Done*: the whole log, what a person may read and nothing else, and how far it came."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode

import pytest
from tamper.database import LOG, Database

from support import Key, Server, until
from support.desk import Desk, approval_id, paused
from support.pages import RULES, Office, Paused, Visitor

#: More than the list of what is over keeps, and more than one search of a person with many groups reads.
MANY = 2_100
#: Calls of this tool end by themselves.
SHORT = """
[[rule]]
name = "short"
quorum = {at_least = 1, of = "finance"}
approve_within = "30s"
owner = "none"
[rule.match]
tool = "short"
"""


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """A server with some calls; sound at the end."""
    with Server(tmp_path_factory.mktemp("search")) as server:
        opened = Office.open(server)
        yield opened
        server.stop()
        server.fsck().ok()


class Long(Office):
    """A server on which calls end by themselves, and with a person of as many groups as there may be."""

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self.people["p-wide"] = {"name": "Wide", "groups": ["finance", *(f"g-{n}" for n in range(63))]}
        self.calls: list[str] = []

    def put_in_force(self) -> None:
        self.write(SHORT + RULES, [{"id": id, **person} for id, person in self.people.items()])
        self.apply()

    def fill(self) -> None:
        """Calls that nobody answers, each of an agent of its own: `bulk-0`, `bulk-1` and so on."""
        for block in range(0, MANY, 300):
            call = lambda n: {"agent": {"id": f"bulk-{n}-"}, "tool": {"name": "short", "action": "send"}}  # noqa: E731
            made = [paused(self.tenant, {"n": n}, data=call(n)) for n in range(block, block + 300)]
            assert {one["status"] for one in self.server.as_("publisher").publish(*made)} == {"posted"}
            self.calls += [approval_id(self.tenant, "gw-1", one) for one in made]
            opened = lambda: self.server.admin.get(f"/approvals/{self.calls[-1]}").status_code == 200  # noqa: E731,B023
            until("the last of them is opened", opened)
        over = lambda id: self.server.admin.get(f"/approvals/{id}").json()["state"] == "expired"  # noqa: E731
        for id in self.calls:
            until(f"{id} is over", lambda id=id: over(id), 120)


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Long]:
    """A server with many calls that are over; sound at the end."""
    with Server(tmp_path_factory.mktemp("long")) as server:
        opened = Long.open(server)
        assert isinstance(opened, Long)
        opened.fill()
        yield opened
        server.stop()
        server.fsck().ok()


def ids_of(page: str) -> list[str]:
    """The approvals in a list, in its order."""
    return re.findall(r'class="item" href="/approvals/([^"]+)"', page)


def found(visitor: Visitor, show: str = "decided", **fields: str) -> tuple[list[str], str]:
    """The ids on the first page of a search, and the page."""
    page = visitor.get("/?" + urlencode({"show": show, "search": "1", **fields}))
    assert page.status_code == 200, page.text
    return ids_of(page.text), page.text


def next_of(page: str) -> tuple[str, str] | None:
    """Where the next page is, and what its button says."""
    match = re.search(r'href="(/\?[^"]+after=[^"]+)">(Next page|Search on)<', page)
    return (html.unescape(match[1]), match[2]) if match else None


def pages(visitor: Visitor, show: str = "decided", **fields: str) -> list[str]:
    """All pages of a search, along *next*."""
    _, page = found(visitor, show, **fields)
    all = [page]
    while following := next_of(all[-1]):
        answer = visitor.get(following[0])
        assert answer.status_code == 200, answer.text
        all.append(answer.text)
    said = "read everything that you may read"
    assert said in all[-1] and not any(said in page for page in all[:-1])
    return all


def all_found(visitor: Visitor, show: str = "decided", **fields: str) -> list[str]:
    """The ids on all pages."""
    ids = [id for page in pages(visitor, show, **fields) for id in ids_of(page)]
    assert len(ids) == len(set(ids))
    return ids


def day(days: int = 0) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).strftime("%Y-%m-%d")


def denied(office: Office, person: str = "p-maria", tool: str = "mail", agent: str = "bot") -> Paused:
    call = office.listed(office.pause({"amount": 1}, tool=tool, action="send", agent=agent))
    assert office.visitor(person).review(call, "deny").status_code == 303
    return call


def test_calls_are_found_by_agent_tool_person_and_day(office: Office) -> None:
    first = denied(office, agent="Seeker-1")
    second = denied(office, "p-jonas", tool="mailer", agent="seeker-2")
    maria = office.visitor("p-maria")
    both = [second.id, first.id]
    assert all_found(maria, agent="seeker") == both, "the latest first, in any case of letters"
    assert all_found(maria, agent="seeker", tool="mailer") == [second.id]
    for person in ("jonas", "WEBER", "p-jonas"):
        assert all_found(maria, agent="seeker", person=person) == [second.id]
    assert all_found(maria, agent="seeker", person="nobody of this name") == []
    assert all_found(maria, agent="seeker", **{"from": day(-1), "to": day(1)}) == both
    assert all_found(maria, agent="seeker", **{"from": day(2)}) == [] == all_found(maria, agent="seeker", to=day(-2))
    assert set(all_found(maria)) >= set(both)
    for wrong in ({"from": "yesterday"}, {"after": "x"}, {"agent": "x" * 129}):
        assert maria.get("/?" + urlencode({"show": "decided", "search": "1", **wrong})).status_code == 400
    _, page = found(maria, agent="<script>x</script>\u202e")
    assert "<script>x" not in page and "\u202e" not in page.split('role="status"')[1]


def test_what_waits_for_others_is_found_and_what_waits_for_me_is_not(office: Office) -> None:
    mine = office.listed(office.pause({"amount": 3}, tool="mail", agent="other-mine"))
    both = office.listed(office.pause({"amount": 200000, "currency": "EUR"}, agent="other-both"))
    maria = office.visitor("p-maria")
    assert maria.review(both, "approve").status_code == 303
    assert all_found(maria, "others", agent="other-") == [both.id]
    assert all_found(maria, agent="other-") == []
    assert maria.review(mine, "deny").status_code == 303
    assert all_found(maria, agent="other-") == [mine.id], "at once"


def test_p12_nobody_finds_what_they_may_not_read(office: Office) -> None:
    """Owners and other groups get the page of a search for what never existed."""
    denied(office, agent="omars-bot")
    denied(office, agent="secret-of-finance")
    contract = denied(office, "p-lena", tool="contracts", agent="secret-of-legal")
    lena, omar, maria = (office.visitor(person) for person in ("p-lena", "p-omar", "p-maria"))
    assert all_found(omar, agent="secret-of-finance") and all_found(maria, agent="omars-bot"), "who may read it finds it"
    assert all_found(lena, agent="secret-of-legal") == [contract.id]
    for visitor, agent in [(omar, "omars-bot"), (lena, "secret-of-finance"), (maria, "secret-of-legal")]:
        invented = "x" * len(agent)
        encoded = agent.replace("-", "%2D")
        ids, page = found(visitor, agent=agent)
        none, nothing = found(visitor, agent=invented)
        assert not ids and not none
        assert page.replace(agent, "").replace(encoded, "") == nothing.replace(invented, "")
    assert not all_found(lena, tool="mail")
    # Who answered and is asked no more still finds it, as the matrix says; and whoever owns the agent now does not.
    office.people["p-lena"]["groups"], office.people["p-maria"]["owns"] = ["support"], ["secret-of-finance"]
    office.put_in_force()
    try:
        assert all_found(lena, agent="secret-of-legal") == [contract.id] == all_found(lena, tool="contracts")
        assert all_found(maria, agent="secret-of-finance"), "she answered"
        assert all_found(office.visitor("p-nils"), agent="secret-of-finance"), "not yet the owner"
        office.people["p-nils"]["owns"] = ["secret-of-finance"]
        office.put_in_force()
        assert not all_found(office.visitor("p-nils"), agent="secret-of-finance")
    finally:
        office.people["p-lena"]["groups"] = ["legal"]
        office.people["p-maria"].pop("owns"), office.people["p-nils"].pop("owns", None)
        office.put_in_force()


def test_p12_calls_of_another_tenant_are_not_found(office: Office) -> None:
    server = office.server
    admin = server.client(Key(server.add_tenant("globex")["key"]), "globex")
    theirs = Desk(server)
    theirs.tenant = "globex"
    theirs.write(RULES, [{"id": id, **person} for id, person in office.people.items()])
    server.remote("rules apply", "--config", server.config, "--tenant", "globex", key=admin.key).ok()
    made = paused("globex", {"amount": 1}, data={"agent": {"id": "of-globex"}, "tool": {"name": "mail", "action": "send"}})
    assert server.client(admin.add_key(["publisher"], "gw-1"), "globex").publish(made)[0]["status"] == "posted"
    call = Paused(approval_id("globex", "gw-1", made), made["data"]["call"]["digest"])
    other = office.visitor()
    assert other.sign_in("p-maria", admin.add_key(["reviewer"], person="p-maria").text).status_code == 303
    until("it waits at globex", lambda: call.id in other.get("/").text)
    assert other.review(call, "deny").status_code == 303
    assert all_found(other, agent="of-globex") == [call.id] == all_found(other)
    assert all_found(office.visitor("p-maria"), agent="of-globex") == []


def test_the_search_reads_the_whole_log_and_not_the_last_thousand(long: Long) -> None:
    maria = long.visitor("p-maria")
    listed, following = "", "/?show=decided"
    while following:
        page = maria.get(following).text
        listed += page
        match = re.search(r'href="(/\?[^"]+after=[^"]+)">Next', page)
        following = html.unescape(match[1]) if match else ""
    assert long.calls[-1] in listed and long.calls[0] not in listed, "the list ends before it"
    ids, page = found(maria, agent="bulk-0-")
    assert ids == [long.calls[0]] and "1 found" in page and next_of(page) is None
    everything = pages(maria, tool="short")
    ids = [id for page in everything for id in ids_of(page)]
    assert sorted(ids) == sorted(long.calls) and len(everything) == MANY // 50
    assert not any("stopped early" in page for page in everything)


def test_p13_a_search_is_bounded_and_says_where_it_stopped(long: Long) -> None:
    """Somebody with many groups reads fewer rows of each: the first call is found on a later page."""
    wide = long.visitor("p-wide")
    ids, page = found(wide, agent="bulk-0-")
    assert ids == [] and "stopped early" in page and "No call" not in page
    following = next_of(page)
    assert following and following[1] == "Search on"
    everything = pages(wide, agent="bulk-0-")
    assert [ids_of(page) for page in everything if ids_of(page)] == [[long.calls[0]]]
    assert len(everything) == MANY // (20_000 // 65) + 1
    assert all("stopped early" in page for page in everything[:-1]) and "stopped early" not in everything[-1]
    assert sorted(all_found(wide, tool="short")) == sorted(long.calls)


def test_fsck_compares_the_rows_and_a_restart_writes_them_again(long: Long) -> None:
    server, rows = long.server, LOG + b"\x01"
    server.stop()
    server.fsck().ok()
    with Database(server.data_dir) as db:
        kept = list(db.rows("search"))
        assert len(kept) == MANY + 1, "one row for each call, and how far they are"

    def finds(words: str) -> None:
        done = server.fsck()
        assert done.code == 1 and words in done.out, done

    (key, row) = next((key, row) for key, row in kept if key.startswith(rows))
    with Database(server.data_dir) as db:
        db.delete("search", key)
    finds(f"the rows of the search: {MANY - 1} of {MANY - 1} rows are those of the {MANY} that the entries give")
    with Database(server.data_dir) as db:
        db.put("search", key, json.dumps(json.loads(row) | {"agent": "another"}).encode())
    finds(f"the rows of the search: {MANY - 1} of {MANY} rows")
    with Database(server.data_dir) as db:
        db.put("search", key, row)
        db.put("search", key[:-1] + bytes([key[-1] ^ 1]), row)
    finds(f"the rows of the search: {MANY} of {MANY + 1} rows")
    with Database(server.data_dir) as db:
        for key, _ in db.rows("search"):
            db.delete("search", key)
    # Without rows nothing is lost.
    server.fsck().ok()
    server.start()
    wanted = lambda: ids_of(long.visitor("p-maria").get("/?show=decided&search=1&agent=bulk-0-").text)  # noqa: E731
    until("it is found again", lambda: wanted() == [long.calls[0]])
    server.stop()
    server.fsck().ok()
    with Database(server.data_dir) as db:
        assert [row for row in db.rows("search") if row[0].startswith(rows)] == [row for row in kept if row[0].startswith(rows)]
    server.start()


def test_a_database_of_an_older_layout_is_refused(tmp_path: Path) -> None:
    with Server(tmp_path / "older") as server:
        Office.open(server)
        server.stop()
        with Database(server.data_dir) as db:
            assert db.get("meta", b"format") == b"7"
            db.put("meta", b"format", b"6")
        done = server.run("serve")
        assert done.code != 0 and "has layout 6, this version reads 7" in done.err, done
