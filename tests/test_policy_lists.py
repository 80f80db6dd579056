"""P12, P13, P14, P15, P16, P17: items of lists change by entries of their own, after people approved exactly the change."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import Server, cli
from support.asking import Asking, everything
from support.deciding import CALL, PEOPLE, RULES, question
from support.listing import ALONE, REVIEWED, Listing, folder
from support.waits import until


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Listing]:
    """Lists in force, none of them changed yet."""
    with Server(tmp_path / "server") as server:
        desk = Listing(server, REVIEWED)
        desk.activate(folder(tmp_path / "policies"))
        yield desk


def data(desk: Listing, told: dict[str, Any]) -> dict[str, Any]:
    """The plain data of a verdict's entry."""
    return desk.server.admin.entry(told["decision"]["index"])["event"]["data"]


def test_p15_p17_an_item_is_added_under_review(desk: Listing, tmp_path: Path) -> None:
    """Before the grant nothing changes; after it the next question is judged by the next version, without a restart. Each verdict names its version, and is
    computed again with it, from an export with one key."""
    before = desk.pays("INV-3")
    assert (before["verdict"], before["policy"]["lists"]) == ("deny", {"references": 0, "blocked": 0})
    assert data(desk, before)["lists"] == {"references": 0, "blocked": 0}, "those that clauses for this tool and action name"
    asked = desk.change("references", add=["INV-3"], remove=["INV-2"], comment="Ticket 4711")
    assert asked.status_code == 202, asked.text
    told = asked.json()
    assert (told["status"], told["version"], told["added"], told["removed"], told["items"]) == ("approval_needed", 1, ["INV-3"], ["INV-2"], 2)
    id = told["approval"]["id"]
    shown = desk.approval(id)
    params = desk.reviewer("p-carla").get(f"/approvals/{id}").json()["frozen"]["params"]
    assert shown["call"]["action"] == "list.change" and params["named_by"] == ["pay/known (allow)"]
    assert (params["list"], params["added"], params["removed"], params["digest"]) == ("references", ["INV-3"], ["INV-2"], told["digest"])
    assert desk.pays("INV-3")["verdict"] == "deny", "nobody approved it yet"
    for person in ("p-ana",):
        assert desk.review(id, person).status_code in (403, 404), "who asks for it does not review it"
    assert desk.review(id, "p-carla").status_code == 200
    desk.wait_version("references", 1)
    after = desk.pays("INV-3")
    assert (after["verdict"], after["policy"]["lists"]) == ("allow", {"references": 1, "blocked": 0})
    assert desk.pays("INV-2")["verdict"] == "deny"
    desk.changed("references", add=["INV-2"])
    assert (desk.pays("INV-2")["verdict"], desk.list("references")["version"]) == ("allow", 2)
    listed = desk.list("references")
    assert listed["items"] == ["INV-1", "INV-2", "INV-3"] and [v["version"] for v in listed["versions"]] == [2, 1]
    assert [v["by"]["person"] for v in listed["versions"]] == ["p-ana", "p-ana"]
    file = desk.author().get("/lists/references/1").json()["file"]
    assert file["path"] == "lists/references.yaml" and json.loads(file["content"])["items"] == ["INV-1", "INV-3"]
    assert {entry["name"]: entry["version"] for entry in desk.status()["lists"]} == {"references": 2, "blocked": 0, "hosts": 0}
    # One message gave the redemption and the change; the change names the approval.
    entries = desk.server.admin.entries(kind="policy")
    first = next(e for e in entries if e["event"]["op"] == "change")
    assert (first["event"]["approval_id"], first["event"]["name"], first["event"]["version"]) == (id, "references", 1)
    exported = desk.export(tmp_path / "export")
    again = desk.replayed(exported)
    assert (again["different"], again["not_replayable"], again["same"], again["code"]) == ({}, {}, 5, 0), again
    for answer, version in ((before, 0), (after, 1)):
        done = cli("explain", "--json", "--key", desk.server.vkey, "--export", exported, answer["decision"]["index"]).ok().json()
        assert (done["same"], done["verdict"], done["lists"]["references"]) == (True, answer["verdict"], version)
    simulate = ["policy", "simulate", "--key", desk.server.vkey, "--export", exported, tmp_path / "policies"]
    simulated = cli(*simulate, "--json").ok().json()
    assert (simulated["changed"], simulated["same"]) == ([], 5), "the bundle in force gives the recorded verdicts, whatever its files of lists say"
    unused = {"folder": 0, "recorded": {}}
    assert (simulated["lists_from"], simulated["lists"]) == ("recorded", {
        "references": {"folder": 2, "recorded": {"1": 2, "2": 1}}, "blocked": {"folder": 5, "recorded": {}}, "hosts": unused,
    })  # fmt: skip
    said = cli(*simulate).ok().out
    for line in ("list references: the folder's file for 2 calls, version 1 for 2 calls, version 2 for 1 call", "list hosts: no call needs it"):
        assert line in said, said
    by_folder = cli(*simulate, "--json", "--lists", "folder").ok().json()
    assert [(c["from"], c["to"]) for c in by_folder["changed"]] == [("deny", "allow"), ("allow", "deny")], "INV-2 and INV-3, by the folder's file"
    assert (by_folder["lists_from"], by_folder["lists"]["references"]) == ("folder", {"folder": 5, "recorded": {}})
    told = desk.propose(tmp_path / "policies").json()["simulation"]
    assert "list references: the proposed file for 2 calls, version 1 for 2 calls, version 2 for 1 call" in told["lists"], "reviewers read it too"
    cli("verify", "--key", desk.server.vkey, "--export", exported).ok()
    desk.server.stop()
    desk.server.fsck().ok()
    desk.server.start()
    desk.gateway = desk.server.client(desk.server.add_key(["enforcer"], producer="gw-1"))
    assert (desk.pays("INV-2")["verdict"], desk.list("references")["version"]) == ("allow", 2), "a restart changes nothing"


def test_p17_of_two_approved_changes_of_one_version_one_takes_effect(desk: Listing, tmp_path: Path) -> None:
    """The second was approved as a change of what is not in force any more: it ends, and says why."""
    one, two = (desk.change("references", add=[item]).json() for item in ("INV-3", "INV-4"))
    assert (one["version"], two["version"]) == (1, 1)
    other = desk.change("hosts", add=["api.example.org"]).json()
    assert desk.review(one["approval"]["id"], "p-bob").status_code == 200
    desk.wait_version("references", 1)
    assert desk.review(two["approval"]["id"], "p-bob").status_code == 200
    desk.wait_over(two["approval"]["id"])
    ended = desk.approval(two["approval"]["id"])
    assert (ended["state"], ended["end_reason"]) == ("revoked", "replaced_meanwhile")
    assert desk.list("references")["items"] == ["INV-1", "INV-2", "INV-3"]
    assert desk.review(other["approval"]["id"], "p-bob").status_code == 200, "a change of another list is no hindrance"
    desk.wait_version("hosts", 1)
    desk.changed("references", add=["INV-4"])
    cli("verify", "--key", desk.server.vkey, "--export", desk.export(tmp_path / "export")).ok()


def test_p17_a_change_that_is_denied_changes_nothing(desk: Listing) -> None:
    asked = desk.change("blocked", remove=["DE00"]).json()
    assert desk.review(asked["approval"]["id"], "p-bob", "deny").status_code == 200
    desk.wait_over(asked["approval"]["id"])
    assert (desk.list("blocked")["version"], desk.pays("INV-1", account="DE00")["verdict"]) == (0, "deny")


def test_p17_a_bundle_undoes_no_change(desk: Listing, tmp_path: Path) -> None:
    """The items in force stay, whatever a bundle's file says; a file that says something new is refused, and a rollback leaves the list alone."""
    desk.changed("references", add=["INV-3"])
    stale = desk.propose(folder(tmp_path / "stale"))
    assert stale.status_code == 201, "an author who did not touch the file means nothing by it"
    assert any("version 1 stays in force, with 3 items" in change for change in stale.json()["changes"]), stale.json()["changes"]
    desk.approve(stale.json())
    assert desk.pays("INV-3")["verdict"] == "allow"
    edited = desk.propose(folder(tmp_path / "edited", references=["INV-1", "INV-2", "INV-9"]))
    assert (edited.status_code, edited.json()["code"]) == (422, "policy_wrong")
    for said in ("lists/references.yaml", "version 1", 'Only here: ["INV-9"]', 'only in force: ["INV-3"]', "countersign list add"):
        assert said in edited.json()["detail"], edited.text
    for n, items in enumerate((["INV-3", "INV-2", "INV-1"], [])):
        same = desk.propose(folder(tmp_path / f"same{n}", references=items))
        assert same.status_code == 201, same.text
        desk.approve(same.json())
        assert desk.pays("INV-3")["verdict"] == "allow"
    # Of lists without entries of their own, the file counts as before.
    desk.activate(folder(tmp_path / "blocked", references=[], blocked=["DE00", "DE01"]))
    assert desk.pays("INV-3", account="DE01")["verdict"] == "deny"
    author = desk.author("p-carla")
    rolled = author.http.post(f"{author.t}/policies/1/rollback", json={"comment": "As it was."})
    assert any("list references: version 1 stays in force" in change for change in rolled.json()["changes"])
    desk.approve(rolled.json())
    assert desk.pays("INV-3")["verdict"] == "allow" and desk.pays("INV-3", account="DE01")["verdict"] == "allow"
    again = desk.replayed(desk.export(tmp_path / "export"))
    assert (again["different"], again["not_replayable"]) == ({}, {}), again


def test_p17_a_bundle_proposed_before_the_first_change_is_asked_about_again(desk: Listing, tmp_path: Path) -> None:
    """It may change the file of that list, which does not count any more. And a change of what a bundle replaced meanwhile ends too."""
    early = desk.propose(folder(tmp_path / "early", references=["INV-7"])).json()
    waiting = desk.change("blocked", add=["DE09"]).json()
    desk.changed("references", add=["INV-3"])
    assert desk.review(early["approval"]["id"], "p-bob").status_code == 200
    desk.wait_over(early["approval"]["id"])
    assert desk.approval(early["approval"]["id"])["end_reason"] == "replaced_meanwhile"
    assert desk.list("references")["items"] == ["INV-1", "INV-2", "INV-3"]
    desk.activate(folder(tmp_path / "blocked", blocked=["DE05"]))
    assert desk.review(waiting["approval"]["id"], "p-bob").status_code == 200
    desk.wait_over(waiting["approval"]["id"])
    assert desk.approval(waiting["approval"]["id"])["end_reason"] == "replaced_meanwhile"
    assert desk.list("blocked")["items"] == ["DE05"]


def test_p17_without_a_rule_that_names_it_nothing_changes(tmp_path: Path) -> None:
    """No catch-all is for it. With `unreviewed` it takes effect at once, and that is shown."""
    with Server(tmp_path / "server") as server:
        desk = Listing(server, RULES)
        desk.activate(folder(tmp_path / "policies"))
        asked = desk.change("references", add=["INV-3"])
        assert (asked.status_code, asked.json()["code"]) == (422, "not_opened") and "list.change" in asked.json()["detail"], asked.text
        assert desk.list("references")["version"] == 0
        desk.write(ALONE, PEOPLE)
        desk.apply()
        asked = desk.change("references", add=["INV-3"])
        assert asked.status_code == 202, asked.text
        desk.wait_version("references", 1)
        assert [e for e in desk.history_of(asked.json()["approval"]["id"]) if e["type"] == "granted"][0]["by"] == []
        health = server.client(server.operator_key).http.get("/healthz").json()
        assert health["policies_unreviewed"] == 1
        cli("verify", "--key", server.vkey, "--export", desk.export(tmp_path / "export")).ok()


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("references", {}, "at least one item"),
        ("references", {"add": ["INV-1"]}, "it is in the list already"),
        ("references", {"remove": ["INV-9"]}, "it is not in the list"),
        ("references", {"add": ["INV-9"], "remove": ["INV-9"]}, "it is named twice"),
        ("references", {"add": ["INV-9", "INV-9"]}, "it is named twice"),
        ("references", {"add": [""]}, "1 to 256 bytes"),
        ("references", {"add": ["x" * 257]}, "1 to 256 bytes"),
        ("references", {"add": [" INV-9"]}, "no blanks at its ends"),
        ("references", {"add": ["INV\u202e9"]}, "change the direction"),
        ("references", {"add": ["INV\u200b9"]}, "invisible"),
        ("references", {"add": ["INV\n9"]}, "control characters"),
        ("references", {"add": ["Mu\u0308ller"]}, "form NFC"),
        ("references", {"add": [f"INV-{n}" for n in range(10, 211)]}, "at most 200 items"),
        ("hosts", {"add": ["https://api.example.eu/"]}, "the list names hosts"),
        ("hosts", {"add": ["10.0.0.1"]}, "the list names hosts"),
    ],
    ids=lambda value: ascii(value)[:40] if not isinstance(value, dict) else None,
)
def test_p13_hostile_items_are_refused_and_nothing_is_recorded(hostile: Listing, name: str, change: dict[str, Any], said: str) -> None:
    """Each mistake is named; no entry is made."""
    size = hostile.server.admin.size()
    answer = hostile.change(name, **change)
    assert (answer.status_code, answer.json()["code"]) == (422, "list_wrong"), answer.text
    assert said in answer.json()["detail"] and "\u202e" not in answer.text
    assert hostile.server.admin.size() == size


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listing]:
    """One tenant for all of them: nothing changes it."""
    root = tmp_path_factory.mktemp("hostile")
    with Server(root / "server") as server:
        desk = Listing(server, REVIEWED)
        desk.activate(folder(root / "policies"))
        yield desk


def test_p13_a_hundred_thousand_items_are_refused(hostile: Listing) -> None:
    many = hostile.change("references", add=[f"i{n}" for n in range(100_000)])
    assert many.status_code in (413, 422), many.text[:200]
    unknown = hostile.change("nothing", add=["x"])
    assert (unknown.status_code, unknown.json()["code"]) == (404, "not_found")
    for body in ({"add": ["x"]}, {"add": "x", "comment": "y"}, {"add": ["x"], "comment": "y", "more": 1}, {"add": [1], "comment": "y"}):
        client = hostile.author()
        assert client.http.post(f"{client.t}/lists/references", json=body).status_code == 400


def test_p13_as_many_items_as_a_change_may_name_are_shown_whole(desk: Listing) -> None:
    """200 items of 256 bytes each: people can be asked about them, and they take effect."""
    items = sorted(f"{n:03}" + "\u00e9" * 126 + "x" for n in range(200))
    assert all(len(item.encode()) == 256 for item in items)
    told = desk.changed("references", add=items)
    assert told["added"] == items and told["items"] == 202
    assert desk.pays(items[7])["verdict"] == "allow"


def test_p12_lists_of_another_tenant(desk: Listing) -> None:
    """A foreign tenant is the same 404 as one that does not exist; roles are those of the policies."""
    desk.server.add_tenant("other")
    author, stranger = desk.author(), "/v1/tenants/other"
    for path in ("/lists", "/lists/references", "/lists/references/1"):
        assert author.http.get(f"{stranger}{path}").status_code == 404
        assert author.http.get(f"/v1/tenants/nobody{path}").status_code == 404
        assert desk.gateway.http.get(f"{desk.gateway.t}{path}").status_code == 403
    body = {"add": ["INV-3"], "comment": "x"}
    assert author.http.post(f"{stranger}/lists/references", json=body).status_code == 404
    for client in (desk.gateway, desk.reviewer("p-bob"), desk.server.admin):
        assert client.http.post(f"{client.t}/lists/references", json=body).status_code == 403
    assert desk.list("references")["version"] == 0


def test_p14_a_decision_in_flight_over_a_change_is_void_and_decided_anew(tmp_path: Path) -> None:
    """Gateways ask without a pause while a list changes to and fro: whatever is told names the version at its place, void decisions are told to nobody, and every
    verdict is computed again."""
    with Server(tmp_path / "server") as server:
        desk = Listing(server, ALONE)
        proposed = desk.propose(folder(tmp_path / "policies"))
        assert proposed.status_code == 201, proposed.text
        until("the bundle is in force", lambda: desk.status()["in_force"] is not None)
        key = server.add_key(["enforcer"], producer="gw-1")
        with Asking(server, key, 6, random.Random(7)) as gateways:
            gateways.wait_for(100)

            def changes_until_void() -> bool:
                there = CALL["reference"] in desk.list("references")["items"]
                told = desk.change("references", **{"remove" if there else "add": [CALL["reference"]]}).json()
                desk.wait_version("references", told["version"])
                voids = [e["event"]["reason"] for e in server.admin.entries(kind="void")]
                return "list" in voids and told["version"] >= 4

            until("a decision that a change made void", changes_until_void)
            gateways.wait_for_more(200)
            told = gateways.finish()
        assert {answer["verdict"] for answer in told} == {"allow", "deny"}
        counted = everything(desk, told, tmp_path / "export")
        assert counted["voids"] > 0


def test_p17_the_command_shows_and_changes_lists(desk: Listing) -> None:
    """`countersign list`, with `--json`; what is shown can't move the terminal."""
    desk.author()
    key = desk.keys["author p-ana"]
    of = ["--tenant", desk.tenant]
    shown = desk.server.remote("list show", *of, key=key).ok().out
    assert "references" in shown and "version 0 (the items of the bundle), 2 items" in shown and "pay/known (allow)" in shown
    assert desk.server.remote("list show", *of, "--json", key=key).ok().json()["lists"][0]["name"] == "blocked"
    asked = desk.server.remote("list add", *of, "--comment", "Ticket", "references", "INV-3", "INV-4", key=key).ok().out
    assert "+ INV-3" in asked and "+ INV-4" in asked and "people are asked at http" in asked
    id = asked.split("/approvals/")[1].split()[0] if "/approvals/" in asked else asked.split()[-1].rsplit("/", 1)[1]
    assert desk.review(id, "p-bob").status_code == 200
    desk.wait_version("references", 1)
    gone = desk.server.remote("list remove", *of, "--json", "--comment", "Ticket", "references", "INV-1", key=key).ok().json()
    assert gone["removed"] == ["INV-1"] and gone["version"] == 2
    one = desk.server.remote("list show", *of, "references", key=key).ok().out
    assert "version 1, 4 items" in one and "  INV-4" in one and "by" in one
    wrong = desk.server.remote("list add", *of, "--comment", "x", "references", "a\u202eb", key=key)
    assert wrong.code == 1 and "\u202e" not in wrong.err and "change the direction" in wrong.err
    assert desk.server.remote("list show", *of, "no/such list", key=key).code == 1
    status = desk.server.remote("policy status", *of, key=key).ok().out
    assert "list references  version 1, 4 items" in status and "list blocked  version 0 (the items of the bundle), " in status
    assert "version 1  " in status and "\n       " not in status, "no number without a word"
