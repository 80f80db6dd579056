"""P20: what an auditor asks next: how much and to whom, which numbers are missing, who changed what by whose approval, and what each agent
may do."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from support import Server, event
from support.asking import bounded
from support.deciding import Deciding
from support.desk import PARAMS
from support.story import Story
from test_hard_periods import figure, findings, make, verified


def rows(folder: Path, path: str) -> list[dict[str, str]]:
    """The rows of a table."""
    return list(csv.DictReader(io.StringIO((folder / path).read_bytes().decode("utf-8-sig"), newline="")))


def test_p20_an_approval_says_what_was_approved(story: Story, folder: Path, tmp_path: Path) -> None:
    """Tool and action always; amount, payee and parameters where they are disclosed, and nowhere else."""
    (row,) = (row for row in rows(folder, "approvals/approvals.csv") if row["decision"] == str(story.good))
    assert (row["tool"], row["action"]) == ("payments", "transfer") and row["call_digest"]
    assert json.loads(row["params"]) == PARAMS
    assert row["amount"] == str(PARAMS.get("amount", "")) and row["payee"] == PARAMS["to"]
    story.make(tmp_path / "e").ok()
    (plain,) = (row for row in rows(tmp_path / "e", "approvals/approvals.csv") if row["decision"] == str(story.good))
    assert (plain["tool"], plain["action"], plain["call_digest"]) == (row["tool"], row["action"], row["call_digest"])
    assert (plain["amount"], plain["currency"], plain["payee"], plain["params"]) == ("", "", "", "")


def test_p20_samples_say_what_was_approved(story: Story, tmp_path: Path) -> None:
    """With the payload of samples alone, an approval whose decision was drawn says it too."""
    story.make(tmp_path / "e", "--disclose", "samples").ok()
    drawn = {row["index"] for row in rows(tmp_path / "e", "samples/samples.csv")}
    told = {row["decision"]: bool(row["params"]) for row in rows(tmp_path / "e", "approvals/approvals.csv")}
    assert any(told.values()) and all(decision in drawn for decision, is_told in told.items() if is_told)
    verified(story.server, tmp_path / "e")


def test_p20_missing_numbers_are_named(story: Story, folder: Path) -> None:
    """Producer, source and numbers, with the receipt of the entry that says so."""
    found = findings(folder)["missing"]
    assert "gw-1 /e: 7" in found["text"], found
    (row,) = (row for row in rows(folder, "population/sources.csv") if row["source"] == "/e")
    assert (row["missing_numbers"], row["which"]) == ("1", "7")
    for leaf in found["leaves"]:
        assert dict(story.server.admin.feed(kind="gap_opened"))[leaf]
        assert (folder / f"receipts/{leaf}.tlog-proof").exists()


def test_p20_late_numbers_leave_the_others(server: Server, tmp_path: Path) -> None:
    """Of a gap of many, those that come late are taken out one by one."""
    publisher = server.as_("publisher")
    for number in (1, 12, 5, 6, 9, 30):
        publisher.publish(event(source="/n", sequence=str(number)))
    publisher.publish(event())
    make(server, tmp_path / "e").ok()
    verified(server, tmp_path / "e")
    (row,) = (row for row in rows(tmp_path / "e", "population/sources.csv") if row["source"] == "/n")
    assert (row["missing_numbers"], row["which"]) == ("24", "2 to 4, 7 to 8, 10 to 11, 13 to 29")
    assert figure(tmp_path / "e", "missing_numbers") == 24
    assert "gw-1 /n: 2 to 4, 7 to 8, 10 to 11, 13 to 29" in findings(tmp_path / "e")["missing"]["text"]


def test_p20_a_change_names_the_person_and_the_approval(story: Story, folder: Path) -> None:
    """Policies: who proposed them, by which approval, and who granted it. Rules: whether they changed, or the people. Keys: who issued
    them."""
    changes = rows(folder, "policies/changes.csv")
    activations = [row for row in changes if row["what"] == "policies in force"]
    assert [row["person"] for row in activations] == ["p-ana", "p-ana"]
    assert all(row["approval"].startswith("apr-") and row["by"].startswith("key ") for row in activations)
    assert [row["approved_by"] for row in activations] == ["p-bob", "nobody: a rule asks nobody"]
    granted = {row["approval"]: row["granted_by"] for row in rows(folder, "approvals/approvals.csv")}
    assert granted[activations[0]["approval"]] == "p-bob"
    applied = [row["detail"].split(": ")[1] for row in changes if row["what"] == "rules applied"]
    assert applied == ["the first rules, people and channels", "the rules changed; people and channels were applied with them"]
    issued = [row for row in changes if row["what"] == "key issued"]
    assert issued and all(row["by"] for row in issued)


def test_p20_people_alone_were_applied(tmp_path: Path) -> None:
    """The same rules with other people are told from other rules."""
    with Server(tmp_path / "server") as server:
        desk = Deciding(server)
        desk.write((server.root / "approvals/acme/rules.toml").read_text(), [{"id": one, "name": one, "groups": ["policy", "finance"]} for one in ("p-bob", "p-carla")])
        desk.apply()
        server.as_("publisher").publish(event())
        make(server, tmp_path / "e").ok()
        applied = [row["detail"].split(": ")[1] for row in rows(tmp_path / "e", "policies/changes.csv") if row["what"] == "rules applied"]
        assert applied == ["the first rules, people and channels", "the rules stay; people or channels were applied"]


def test_p20_what_an_agent_may_do(story: Story, folder: Path) -> None:
    """Owner, tier, credentials by key id, tokens by key id, last call, and each clause that could permit something, in words."""
    agents = {row["agent"]: row for row in rows(folder, "policies/agents.csv")}
    bot = agents["payments-bot"]
    assert bot["registered"] == "yes" and bot["permitted_by"] == "bound/below"
    keys = {row["key"]: row for row in rows(folder, "policies/access-review.csv")}
    for listed in bot["credentials"].split("; "):
        key, roles = listed.split(" ", 1)
        assert keys[key]["producer"] in ("gw-1", "gw-2") and f"({keys[key]['roles']})" == roles, listed
    assert bot["credentials"]
    count, _, kid = bot["tokens_issued"].split(" ")
    signing = {key["kid"] for key in story.server.admin.http.get(f"{story.server.admin.t}/jwks.json").json()["keys"]}
    assert count == "1" and kid in signing
    decisions = [row for row in rows(folder, "population/decisions.csv") if row["agent"] == "payments-bot"]
    assert (bot["last_call"], bot["last_call_entry"]) == (decisions[-1]["journal_time"], decisions[-1]["index"])
    assert int(bot["decisions"]) == len(decisions)
    stranger = agents["bot-1"]
    assert (stranger["registered"], stranger["permitted_by"], stranger["tier"]) == ("no", "", "")
    (clause,) = rows(folder, "policies/permissions.csv")
    assert (clause["clause"], clause["verdict"], clause["tool"], clause["actions"]) == ("bound/below", "allow", "payments", "transfer")
    assert "40000" in clause["conditions"] and clause["in_words"].startswith("'@finance-bots may call transfer of payments, if ")
    page = (folder / "report.html").read_text()
    assert "payments-bot" in page and "bound/below" in page and 'href="policies/permissions.csv"' in page


def test_p20_an_owner_who_writes_the_policies_is_marked(tmp_path: Path) -> None:
    """A person who answers for an agent, and holds a key of author or admin, could change what it may do."""
    with Server(tmp_path / "server") as server:
        desk = Deciding(server)
        desk.author("p-ana")
        folder = bounded(tmp_path / "one", 100_000)
        agents = folder / "agents.yaml"
        agents.write_text("language: 1\nagents:\n  - {id: payments-bot, groups: [finance-bots], owners: [p-ana]}\n  - {id: idle-bot, owners: [p-bob]}\n")
        desk.activate(folder)
        server.as_("publisher").publish(event())
        make(server, tmp_path / "e").ok()
        verified(server, tmp_path / "e")
        told = {row["agent"]: row for row in rows(tmp_path / "e", "policies/agents.csv")}
        assert told["payments-bot"]["conflict_of_duties"] == "p-ana owns it and holds a key of author"
        assert (told["idle-bot"]["conflict_of_duties"], told["idle-bot"]["last_call"], told["idle-bot"]["owners"]) == ("", "", "p-bob")


@pytest.mark.parametrize("path", ["policies/agents.csv", "policies/permissions.csv", "policies/changes.csv", "approvals/approvals.csv"])
def test_p20_no_cell_of_the_review_is_a_formula(folder: Path, path: str) -> None:
    """Names of agents and words of policies are foreign."""
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows(folder, path) for cell in row.values())
