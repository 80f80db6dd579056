"""Like calls that are answered together: each by itself, with its own digest and version. `test_together_browser.py` has real Chromium."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from support import Key, Server, cli, until
from support.desk import Desk, approval_id, paused
from support.pages import Paused, Visitor, hidden
from support.refunds import RULES, House, refund
from support.schemas import check

INVENTED = "apr-aaaaaaaaaaaaaaaaaaaaaaaaaa"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One server; sound at the end."""
    with Server(tmp_path_factory.mktemp("together")) as server:
        opened = House.open(server)
        assert isinstance(opened, House)
        yield opened
        server.stop()
        server.fsck().ok()


def address(calls: list[Paused], decision: str = "approve", more: str = "") -> str:
    return f"/together?decision={decision}&ids={'.'.join(call.id for call in calls)}{more}"


def sent(page: str) -> dict[str, Any]:
    """The form of the confirming page, as a browser sends it: everything is ticked."""
    return hidden(page) | {"call": re.findall(r'name="call" value="([^"]+)" checked', page)}


def confirming(visitor: Visitor, calls: list[Paused], decision: str = "approve") -> dict[str, Any]:
    page = visitor.get(address(calls, decision))
    assert page.status_code == 200, page.text
    return sent(page.text)


def text(page: str) -> str:
    """What is read, on one line."""
    return " ".join(re.sub(r"<[^>]+>", " ", page.split("<main", 1)[1]).split())


def outcome(visitor: Visitor, form: dict[str, Any]) -> str:
    """Sends the form, and reads the page that says what was recorded."""
    answer = visitor.post("/together", form)
    assert answer.status_code == 303, answer.text
    page = visitor.get(answer.headers["location"])
    assert page.status_code == 200, page.text
    return text(page.text)


def table(file: Path, key: str) -> dict[str, dict[str, str]]:
    """The rows of a table of evidence."""
    with file.open(encoding="utf-8-sig", newline="") as rows:
        return {row[key]: row for row in csv.DictReader(rows)}


def untouched(house: House, calls: list[Paused]) -> bool:
    return all([event["type"] for event in house.entries(call)] == ["requested"] for call in calls)


# What is recorded


def test_p7_each_of_like_calls_is_answered_with_its_own_digest(house: House) -> None:
    calls = house.refunds(7)
    maria = house.visitor("p-maria")
    inbox = maria.get("/").text
    assert "Approve together" in inbox and "Deny together" in inbox
    assert all(call.id in re.search(r'/together\?decision=approve&amp;ids=([^"]+)"', inbox)[1] for call in calls)  # type: ignore[index]
    page = maria.get(address(calls)).text
    read = text(page)
    assert "Approve these 7 calls?" in read and "EUR 91.00 together, EUR 10.00 to EUR 16.00 each, to 2 accounts" in read
    # What is the same in all is there once; what differs is in the rows, also what no display names.
    assert read.count("Lisbon") == 1 and all(f"B-{n}" in read and f"T-{n}" in read and f"cus_{n}" in read for n in range(7))
    assert "batch" not in read and "FR14 2004" in read and "3 agents" in read
    form = sent(page)
    assert len(form["call"]) == 7
    form["call"] = [call for call in form["call"] if not call.startswith(calls[2].id)]
    said = outcome(maria, form | {"comment": "weekly refunds"})
    assert "6 of 6 recorded" in said and "EUR 79.00 together" in said and said.count("Approved by you.") == 6
    for n, call in enumerate(calls):
        answers = house.of(call)
        if n == 2:
            assert not answers, "it was not ticked"
            continue
        [answer] = answers
        assert (answer["by"], answer["decision"], answer["via"], answer["displayed_dig"]) == ("p-maria", "approve", "web", call.digest)
        assert house.of(call, "granted") and house.server.admin.entry(answer["evidence"])["kind"] == "evidence"
    assert len({house.of(call)[0]["evidence"] for n, call in enumerate(calls) if n != 2}) == 6, "each has a comment of its own"
    # A row of a list is not the whole call: nothing says that these were shown.
    assert not [e for call in calls for e in house.evidence(call.id) if "shown" in e["event"]]


def test_p7_they_are_denied_together_and_quorums_hold(house: House) -> None:
    calls = house.refunds(5, action="payout")
    maria, jonas = house.visitor("p-maria"), house.visitor("p-jonas")
    said = outcome(maria, confirming(maria, calls))
    assert "5 of 5 recorded" in said and said.count("Waits for 1 of finance.") == 5
    assert not any(house.of(call, "granted") for call in calls), "two people are needed"
    again = maria.get(address(calls))
    assert again.status_code == 409 and "Approved by you already." in text(again.text)
    said = outcome(jonas, confirming(jonas, calls[:3]))
    assert "3 of 3 recorded" in said and all(house.of(call, "granted") for call in calls[:3])
    said = outcome(jonas, confirming(jonas, calls[3:], "deny"))
    assert "2 of 2 recorded" in said and all(house.of(call, "denied") for call in calls[3:])


def test_p8_a_call_that_changed_is_not_answered_and_is_named(house: House) -> None:
    calls = house.refunds(6, action="payout")
    maria = house.visitor("p-maria")
    form = confirming(maria, calls)
    assert house.visitor("p-jonas").review(calls[1], "approve").status_code == 303
    assert house.visitor("p-nils").review(calls[4], "deny").status_code == 303
    said = outcome(maria, form)
    assert "4 of 6 recorded" in said and "Not answered: 2" in said
    assert "Nils Berg denied this before you. Nothing of yours was recorded." in said
    assert "cus_1" in said and "The approval has changed since it was shown." in said
    assert [event["by"] for event in house.of(calls[1])] == ["p-jonas"] and [event["by"] for event in house.of(calls[4])] == ["p-nils"]
    assert all([event["by"] for event in house.of(calls[n])] == ["p-maria"] for n in (0, 2, 3, 5))


def test_p8_a_form_that_is_sent_twice_answers_once(house: House) -> None:
    calls = house.refunds(5)
    maria = house.visitor("p-maria")
    form = confirming(maria, calls)
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda _: maria.post("/together", form), range(3)))
    answers.append(maria.post("/together", form))
    for answer in answers:
        assert answer.status_code == 303
        assert "5 of 5 recorded" in text(maria.get(answer.headers["location"]).text), "the page reads the log"
    assert [len(house.of(call)) for call in calls] == [1] * 5
    assert [len(house.of(call, "granted")) for call in calls] == [1] * 5


def test_p13_fifty_are_answered_and_more_are_refused(house: House) -> None:
    calls = house.refunds(50, action="many")
    maria = house.visitor("p-maria")
    form = confirming(maria, calls)
    assert len(form["call"]) == 50
    more = [f"apr-{n:026d}" for n in range(51)]
    answer = maria.get(f"/together?decision=approve&ids={'.'.join(more)}")
    assert answer.status_code == 409 and "At most 50" in answer.text
    answer = maria.post("/together", form | {"call": [*form["call"], f"{more[0]}~{'A' * 43}~1"]})
    assert answer.status_code == 409 and "Nothing was recorded" in answer.text and untouched(house, calls[:3])
    said = outcome(maria, form)
    assert "50 of 50 recorded" in said and "EUR 1,725.00 together" in said
    assert all(len(house.of(call)) == 1 for call in calls)


def test_p7_p20_an_answer_says_that_it_was_given_with_others(house: House, tmp_path: Path) -> None:
    """In the entry, on the page, by the API, in what an auditor reads, and offline; an answer by itself says nothing of it."""
    calls = house.refunds(5, action="group")
    maria = house.visitor("p-maria")
    form = confirming(maria, calls)
    form["call"] = form["call"][:4]
    assert "4 of 4 recorded" in outcome(maria, form)
    assert maria.post("/together", confirming(maria, calls[4:], "deny")).status_code == 303
    alone = house.refunds(1, action="group-alone")[0]
    assert maria.review(alone, "approve").status_code == 303
    answers = [house.of(call)[0] for call in [*calls, alone]]
    assert [answer.get("together") for answer in answers] == [4, 4, 4, 4, 1, None]
    assert len({(answer["by"], answer["shown_at"]) for answer in answers[:4]}) == 1, "those of one press are known by it"
    said = ["together with 3 like calls", "from the list of like calls", ""]
    for call, words in zip((calls[0], calls[4], alone), said):
        page = text(maria.get(f"/approvals/{call.id}").text)
        assert words in page and ("like calls" in page) == bool(words)
    reader = house.server.add_key(["auditor", "exporter", "discloser"])
    seen = house.server.client(reader).get(f"/approvals/{calls[0].id}").json()
    check("approval", seen)
    assert seen["reviews"][0]["together"] == 4
    for call, words in zip((calls[0], calls[4]), said):
        folder = tmp_path / call.id
        house.server.remote("export", "--tenant", "acme", "--approval", call.id, folder, key=reader).ok()
        assert words in cli("verify", "--key", house.server.vkey, "--approval", folder).ok().out
    folder = tmp_path / "evidence"
    house.server.remote("evidence", "--tenant", "acme", "-o", folder, key=reader).ok()
    approvals = table(folder / "approvals" / "approvals.csv", "approval")
    assert approvals[calls[0].id]["reviews"] == "p-maria: approve (together with 3 like calls)"
    assert approvals[calls[4].id]["reviews"] == "p-maria: deny (from the list of like calls)"
    assert approvals[alone.id]["reviews"] == "p-maria: approve"
    people = table(folder / "approvals" / "people.csv", "person")["p-maria"]
    counted = sum(1 for leaf in house.server.admin.entries(kind="approval") for event in leaf["event"]["events"]
                  if event["type"] == "reviewed" and event["by"] == "p-maria" and "together" in event)  # fmt: skip
    assert int(people["answered_together"]) == counted >= 5 and int(people["answers"]) > counted
    cli("verify", "--key", house.server.vkey, "--evidence", folder).ok()


# What is refused, while work still gets done beside it


@pytest.mark.parametrize(("tool", "why"), [("guarded", "step_up"), ("careful", "one_by_one")])
def test_p9_rules_can_demand_single_answers(house: House, tool: str, why: str) -> None:
    calls = house.refunds(5, tool=tool, action=f"refund-{tool}")
    maria = house.visitor("p-maria")
    inbox = maria.get(f"/?tool={tool}").text
    assert f"({why})" in inbox and "together …" not in inbox
    answer = maria.get(address(calls))
    assert answer.status_code == 409 and f"({why})" in answer.text
    others = house.refunds(2)
    form = confirming(maria, others)
    digests = [f"{call.id}~{call.digest}~1" for call in calls]
    said = outcome(maria, form | {"call": digests})
    assert "0 of 5 recorded" in said and said.count("answered by itself") == 5 and untouched(house, calls)
    assert "2 of 2 recorded" in outcome(maria, form), "the others are answered"
    assert maria.review(calls[0], "approve").status_code == 303, "one by one it works"


def test_p10_nobody_answers_for_their_own_agent_and_foreign_ids_do_not_exist(house: House) -> None:
    own = house.refunds(2, agent="omars-bot")
    calls = house.refunds(3)
    omar = house.visitor("p-omar")
    form = confirming(omar, calls)
    page = omar.get(address([*calls, *own, Paused(INVENTED, "")]))
    read = text(page.text)
    assert "3 calls are not here any more, or not for you." in read and len(sent(page.text)["call"]) == 3
    assert not any(call.id in page.text for call in own), "nothing is said of them"
    forged = [f"{call.id}~{call.digest}~1" for call in own] + [f"{INVENTED}~{own[0].digest}~1"]
    said = outcome(omar, form | {"call": forged + form["call"]})
    assert "3 of 6 recorded" in said and "3 calls are not here any more" in said
    assert untouched(house, own) and all(len(house.of(call)) == 1 for call in calls)
    # Somebody of another group has no page of them either.
    lena = house.visitor("p-lena")
    answer = lena.get(address(own))
    assert answer.status_code == 409 and "cus_" not in answer.text
    maria = house.visitor("p-maria")
    assert "2 of 2 recorded" in outcome(maria, confirming(maria, own)), "somebody else answers for them"


def test_p12_calls_of_another_tenant_are_calls_that_do_not_exist(tmp_path: Path) -> None:
    with Server(tmp_path / "two") as server:
        house = House.open(server)
        assert isinstance(house, House)
        admin = server.client(Key(server.add_tenant("globex")["key"]), "globex")
        theirs = Desk(server)
        theirs.tenant = "globex"
        theirs.write(RULES, [{"id": id, **person} for id, person in house.people.items()])
        server.remote("rules apply", "--config", server.config, "--tenant", "globex", key=admin.key).ok()
        made = paused("globex", refund(0), data={"agent": {"id": "bot"}, "tool": {"name": "payments", "action": "refund"}})
        assert server.client(admin.add_key(["publisher"], "gw-1"), "globex").publish(made)[0]["status"] == "posted"
        foreign = Paused(approval_id("globex", "gw-1", made), made["data"]["call"]["digest"])
        ours = house.refunds(2)
        maria, other = house.visitor("p-maria"), house.visitor()
        assert other.sign_in("p-maria", admin.add_key(["reviewer"], person="p-maria").text).status_code == 303
        until("it waits at globex", lambda: foreign.id in other.get("/").text)
        nothing = maria.get(address([*ours, Paused(INVENTED, "")])).text
        page = maria.get(address([*ours, foreign])).text
        volatile = r'name="shown_at" value="[^"]+"|<time [^>]+>[^<]+'
        assert re.sub(volatile, "", page) == re.sub(volatile, "", nothing) and "1 call is not here any more" in text(page)
        form = confirming(maria, ours)
        said = outcome(maria, form | {"call": [f"{foreign.id}~{foreign.digest}~1", *form["call"]]})
        assert "2 of 3 recorded" in said and "cus_0" in said
        assert other.get(address(ours)).status_code == 409 and "cus_" not in other.get(address(ours)).text
        assert other.review(foreign, "deny").status_code == 303, "at globex it is answered"


def test_forms_of_others_and_mixed_calls_are_refused_whole(house: House) -> None:
    calls, mails = house.refunds(3), [house.pause({"to": f"p-{n}@example.org"}, tool="mail", action="send") for n in range(2)]
    dollars = house.refunds(1, currency="USD")
    maria = house.visitor("p-maria")
    form = confirming(maria, calls)
    for wrong in ({"token": "A" * 43}, {"token": hidden(house.visitor("p-jonas").get("/").text)["token"]}):
        assert maria.post("/together", form | wrong).status_code == 403
        assert maria.post("/together/confirm", form | wrong).status_code == 403
    assert maria.post("/together", form, Origin="https://evil.example").status_code == 403
    assert maria.post("/together", form, Origin="", Sec_Fetch_Site="cross-site").status_code == 403
    for other in (mails[0], dollars[0]):
        assert "not alike" in maria.get(address([*calls, other])).text
        answer = maria.post("/together", form | {"call": [*form["call"], f"{other.id}~{other.digest}~1"]})
        assert answer.status_code == 409 and "not alike" in answer.text
    for call, code in (("x", 400), (f"{calls[0].id}~{calls[0].digest}", 400), (f"{calls[0].id}~a~1~b", 400)):
        assert maria.post("/together", form | {"call": [call]}).status_code == code
    assert maria.post("/together", form | {"call": []}).status_code == 409, "none is ticked"
    assert maria.post("/together", form | {"comment": "x" * 2001}).status_code == 400
    assert maria.post("/together", form | {"shown_at": "2999-01-01T00:00:00Z"}).status_code == 400
    assert maria.post("/together", form | {"decision": "maybe"}).status_code == 400
    stranger = house.visitor()
    assert stranger.post("/together", form).headers["location"] == "/" and stranger.get(address(calls)).headers["location"] == "/"
    assert untouched(house, [*calls, *mails, *dollars])
    lied = [call.replace(call.split("~")[1], "B" * 43) for call in form["call"]]
    said = outcome(maria, form | {"call": [lied[0], *form["call"][1:]]})
    assert "2 of 3 recorded" in said and "This is not the call that was shown" in said and not house.of(calls[0])


def test_the_ticked_ones_are_counted_without_script(house: House) -> None:
    calls = house.refunds(4)
    maria = house.visitor("p-maria")
    form = confirming(maria, calls)
    page = maria.post("/together/confirm", form | {"call": form["call"][:2], "comment": "kept <i>"})
    assert page.status_code == 200 and "EUR 21.00 together" in text(page.text) and "kept &#60;i&#62;" in page.text
    assert sent(page.text)["call"] == form["call"][:2] and untouched(house, calls)
    query = parse_qs(urlsplit(maria.post("/together", sent(page.text)).headers["location"]).query)
    assert query["ids"] == [".".join(call.id for call in calls[:2])]
    twins = [house.pause(refund(9), action="refund") for _ in range(2)]
    assert text(maria.get(address(twins)).text).count("Another call in this list says the same.") == 2
