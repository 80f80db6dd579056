"""P10, P12, P17: who can put policies in force, and who can't."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support import Key, Server, cli, until
from support.asking import bounded
from support.deciding import CALL, PAYMENTS, PEOPLE, RULES, Deciding, question

#: Dan is asked about payments and not about policies; Eva was, and is disabled; Ana has a second account.
MORE = [
    *PEOPLE,
    {"id": "p-dan", "name": "Dan", "groups": ["finance"]},
    {"id": "p-eva", "name": "Eva", "groups": ["policy"], "disabled": True},
    {"id": "p-ana-2", "name": "Ana L.", "groups": ["policy"]},
]  # fmt: skip
#: What a caller gets who is not asked.
NOT_ASKED = [(403, "not_eligible"), (403, "own_call"), (404, "not_found")]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Deciding]:
    """A tenant without policies, with more people."""
    with Server(tmp_path / "server") as server:
        desk = Deciding(server)
        desk.write(RULES, MORE)
        desk.apply()
        yield desk


def code(answer: httpx.Response) -> tuple[int, str]:
    """Status and problem code."""
    return answer.status_code, answer.json().get("code", "")


def in_force(desk: Deciding) -> Any:
    """The version in force."""
    return (desk.status()["in_force"] or {}).get("version")


def refuses(desk: Deciding, id: str, *people: str) -> None:
    """None of these people can approve or deny it, and nothing happens to it."""
    before = desk.approval(id)
    for person in people:
        for decision in ("approve", "deny"):
            assert code(desk.review(id, person, decision)) in NOT_ASKED, person
    after = desk.approval(id)
    assert (after["state"], after["reviews"], after["version"]) == ("pending", [], before["version"])
    assert desk.told()["reason"]["code"] == "no_policy" and in_force(desk) is None


def test_p10_p17_who_wrote_it_reviews_nothing(desk: Deciding) -> None:
    """The author, by any key; everybody named as a contributor, the author's second account among them; with two authors both.
    Somebody else can."""
    proposed = desk.propose(PAYMENTS, "p-ana", contributors=["p-ana-2", "p-carla"]).json()
    id = proposed["approval"]["id"]
    refuses(desk, id, "p-ana", "p-ana-2", "p-carla", "p-dan", "p-eva")
    for person in ("p-ana", "p-ana-2", "p-carla"):
        shown = desk.approval(id)
        other = desk.server.client(desk.server.add_key(["reviewer"], person=person))
        body = {"decision": "approve", "digest": shown["call"]["digest"], "version": shown["version"]}
        assert code(other.http.post(f"{other.t}/approvals/{id}/reviews", json=body)) in NOT_ASKED
    desk.approve(proposed, "p-bob")
    assert desk.told()["verdict"] == "allow"
    listed = desk.status()["versions"][0]
    assert listed["by"]["person"] == "p-ana" and listed["contributors"] == ["p-ana-2", "p-carla"]


def test_p10_p17_a_contributor_who_joins_later_reviews_nothing(desk: Deciding) -> None:
    """Named before people.toml knows them: refused by name, or remembered."""
    answer = desk.propose(PAYMENTS, contributors=["p-fay"])
    if answer.status_code == 400:
        assert "p-fay" in answer.json()["detail"] and desk.status()["versions"] == []
        return
    id = answer.json()["approval"]["id"]
    desk.write(RULES, [*MORE, {"id": "p-fay", "name": "Fay", "groups": ["policy"]}])
    desk.apply()
    refuses(desk, id, "p-fay", "p-ana")
    desk.review(id, "p-bob")
    until("it to be in force", lambda: in_force(desk) == 1)


def test_p10_p17_contributors_of_a_version_never_review_its_return(desk: Deciding, tmp_path: Path) -> None:
    """A rollback by somebody else: who wrote the version then, who helped, and who asks for it now."""
    first = desk.propose(bounded(tmp_path / "one", 100_000), "p-ana", contributors=["p-ana-2"]).json()
    desk.approve(first)
    second = desk.propose(bounded(tmp_path / "two", 40_000), "p-ana").json()
    desk.approve(second)
    author = desk.author("p-carla")
    rolled = author.http.post(f"{author.t}/policies/1/rollback", json={"comment": "Too strict."}).json()
    id = rolled["approval"]["id"]
    for person in ("p-ana", "p-ana-2", "p-carla", "p-dan"):
        assert code(desk.review(id, person)) in NOT_ASKED, person
    assert in_force(desk) == 2
    desk.approve(rolled, "p-bob")
    assert in_force(desk) == 1 and desk.told()["verdict"] == "allow"


@pytest.mark.parametrize("owner", ["", 'owner = "none"', 'owner = "known"'])
def test_p10_p17_no_rule_lets_an_author_review(owner: str, tmp_path: Path) -> None:
    """`owner = "none"` has no meaning for our own calls."""
    rules = RULES.replace('of = "policy"}', f'of = "policy"}}\n{owner}', 1)
    with Server(tmp_path / "server") as server:
        desk = Deciding(server, rules)
        id = desk.propose(PAYMENTS).json()["approval"]["id"]
        refuses(desk, id, "p-ana")
        assert desk.review(id, "p-bob").status_code == 200
        until("it to be in force", lambda: in_force(desk) == 1)


def test_p17_every_group_of_the_quorum_must_agree(tmp_path: Path) -> None:
    """Two people of two groups: one is not enough, whoever it is; a denial ends it."""
    rules = RULES.replace(
        '{at_least = 1, of = "policy"}', '{all = [{at_least = 1, of = "policy"}, {at_least = 1, of = "risk"}]}', 1
    )
    people = [{"id": f"p-{name}", "name": name, "groups": groups} for name, groups in {
        "ana": ["policy"], "bob": ["policy"], "carla": ["policy", "finance"], "rita": ["risk"], "ron": ["risk", "finance"],
    }.items()]  # fmt: skip
    with Server(tmp_path / "server") as server:
        desk = Deciding(server)
        desk.write(rules, people)
        desk.apply()
        proposed = desk.propose(PAYMENTS).json()
        id = proposed["approval"]["id"]
        assert desk.review(id, "p-bob").status_code == 200
        assert desk.review(id, "p-carla").status_code == 200
        assert desk.approval(id)["state"] == "pending" and in_force(desk) is None
        assert desk.told()["reason"]["code"] == "no_policy"
        desk.approve(proposed, "p-rita")
        second = desk.propose(PAYMENTS).json()["approval"]["id"]
        assert desk.review(second, "p-rita").status_code == 200
        assert desk.review(second, "p-bob", "deny").status_code == 200
        desk.wait_over(second)
        assert desk.approval(second)["state"] == "denied" and in_force(desk) == 1


def test_p17_step_up_is_asked_of_policies_too(tmp_path: Path) -> None:
    """Where the rule demands a fresh sign-in, no key is enough."""
    rules = RULES.replace('of = "policy"}', 'of = "policy"}\nstep_up = "10m"', 1)
    with Server(tmp_path / "server") as server:
        desk = Deciding(server, rules)
        id = desk.propose(PAYMENTS).json()["approval"]["id"]
        for decision in ("approve", "deny"):
            assert code(desk.review(id, "p-bob", decision)) == (403, "step_up")
        assert desk.approval(id)["state"] == "pending" and in_force(desk) is None


def test_p17_nobody_else_redeems_an_activation(desk: Deciding) -> None:
    """Not by a token, not by a report, with whatever key; and an admin who cancels it puts nothing in force."""
    id = desk.propose(PAYMENTS).json()["approval"]["id"]
    keys: list[Key] = [desk.gateway.key, desk.server.admin_key, desk.author().key]
    keys += [desk.server.add_key([role]) for role in ("auditor", "discloser", "exporter")]
    keys += [desk.server.add_key(["publisher"], producer="gw-1"), desk.server.add_key(["reviewer"], person="p-dan")]
    for key in keys:
        client = desk.server.client(key)
        for path, body in [
            (f"/approvals/{id}/token", None), (f"/approvals/{id}/execution", {"outcome": "succeeded"}),
            ("/tokens/redeem", {"token": "x", "redemption_id": "r", "call": {
                "nonce": "n", "agent": "countersign", "run": None, "tool": "countersign", "action": "policy.activate", "params": {}}}),
        ]:  # fmt: skip
            answer = client.http.post(client.t + path, json=body)
            assert answer.status_code in (403, 404), (path, answer.text)
    # A gateway that asks for the reserved tool gets no verdict at all.
    asked = question(tool={"name": "countersign", "action": "policy.activate"})
    assert code(desk.ask(asked))[0] == 400
    admin = desk.server.admin
    assert admin.http.post(f"{admin.t}/approvals/{id}/cancel", json={"reason": "mistake"}).status_code == 200
    assert code(desk.review(id, "p-bob")) == (409, "not_now")
    assert desk.approval(id)["state"] == "cancelled" and in_force(desk) is None
    assert "activate" not in {entry["event"]["op"] for entry in desk.server.admin.entries(kind="policy")}


def test_p10_p17_an_approval_of_one_bundle_is_none_of_another(desk: Deciding, tmp_path: Path) -> None:
    """A review names the digest of the call that was shown."""
    one = desk.propose(bounded(tmp_path / "one", 100_000)).json()["approval"]["id"]
    two = desk.propose(bounded(tmp_path / "two", 10**9)).json()["approval"]["id"]
    shown, other = desk.approval(one), desk.approval(two)
    bob = desk.reviewer("p-bob")
    body = {"decision": "approve", "digest": other["call"]["digest"], "version": shown["version"]}
    assert code(bob.http.post(f"{bob.t}/approvals/{one}/reviews", json=body)) == (409, "digest_mismatch")
    assert in_force(desk) is None
    assert desk.review(one, "p-bob").status_code == 200
    until("the first to be in force", lambda: in_force(desk) == 1)
    # The second was asked for in place of nothing: it is revoked, even if somebody approves it.
    desk.review(two, "p-bob")
    desk.wait_over(two)
    assert desk.approval(two)["state"] in ("revoked", "denied", "cancelled") and in_force(desk) == 1
    assert desk.told(params={"amount": 10**8, "currency": "EUR"})["verdict"] == "deny"


def test_p12_p17_tenants_never_meet(desk: Deciding, tmp_path: Path) -> None:
    """The keys, people, proposals and approvals of another tenant mean nothing here: 404, and nothing happens in either."""
    server = desk.server
    beta = server.add_tenant("beta")
    admin = server.client(Key(beta["key"]), "beta")
    folder = Path(server.sections["approvals"]["dir"])
    (folder / "beta").mkdir()
    for name in ("rules.toml", "people.toml"):
        (folder / "beta" / name).write_text((folder / desk.tenant / name).read_text())
    server.remote("rules apply", "--config", server.config, "--tenant", "beta", key=Key(beta["key"])).ok()
    theirs = {role: admin.add_key([role], person=person) for role, person in [("author", "p-ana"), ("reviewer", "p-bob")]}
    theirs |= {"enforcer": admin.add_key(["enforcer"], "gw-1"), "auditor": admin.add_key(["auditor"]), "admin": Key(beta["key"])}
    ours = desk.propose(PAYMENTS).json()["approval"]["id"]
    files = [{"path": str(p.relative_to(PAYMENTS)), "content": p.read_text()} for p in sorted(PAYMENTS.rglob("*.yaml"))]
    shown, size = desk.approval(ours), desk.server.admin.size()
    review = {"decision": "approve", "digest": shown["call"]["digest"], "version": shown["version"]}
    for role, key in theirs.items():
        stranger = server.client(key)  # at acme, with a key of beta
        for answer in (
            stranger.get("/policies"), stranger.get("/policies/1"), stranger.get(f"/approvals/{ours}"),
            stranger.http.post(f"{stranger.t}/policies", json={"files": files, "comment": "x"}),
            stranger.http.post(f"{stranger.t}/policies/1/rollback", json={"comment": "x"}),
            stranger.http.post(f"{stranger.t}/approvals/{ours}/reviews", json=review),
            stranger.http.post(f"{stranger.t}/decisions", json=question()),
            stranger.http.post(f"{stranger.t}/decisions", json=[question()]),
        ):  # fmt: skip
            assert code(answer) == (404, "not_found"), (role, answer.request.url, answer.text)
    assert desk.server.admin.size() == size and desk.approval(ours)["state"] == "pending"
    # An approval in beta puts nothing in force in acme, even of the same files by the same people.
    author, reviewer = server.client(theirs["author"], "beta"), server.client(theirs["reviewer"], "beta")
    made = author.http.post(f"{author.t}/policies", json={"files": files, "comment": "x"}).json()
    id = made["approval"]["id"]
    assert id != ours and code(reviewer.http.post(f"{reviewer.t}/approvals/{ours}/reviews", json=review)) == (404, "not_found")
    shown = admin.get(f"/approvals/{id}").json()
    review = {"decision": "approve", "digest": shown["call"]["digest"], "version": shown["version"]}
    assert reviewer.http.post(f"{reviewer.t}/approvals/{id}/reviews", json=review).status_code == 200
    until("it to be in force in beta", lambda: author.get("/policies").json()["in_force"])
    assert in_force(desk) is None and desk.told()["reason"]["code"] == "no_policy"
    asked = question()
    gateway = server.client(theirs["enforcer"], "beta")
    there, here = desk.ask(asked, gateway).json(), desk.ask(asked).json()
    assert (there["verdict"], here["verdict"], here["repeated"]) == ("allow", "deny", False)
    assert there["call"]["digest"] != here["call"]["digest"]


def test_p17_a_proposal_before_rules_are_applied_is_refused(tmp_path: Path) -> None:
    """Nobody could be asked: 503 or 422, no version, nothing in force."""
    with Server(tmp_path / "server") as server:
        server.sections["approvals"] = {"dir": server.root / "approvals"}
        server.write_config()
        server.init()
        server.start()
        author = server.client(server.add_key(["author"], person="p-ana"))
        files = [{"path": str(p.relative_to(PAYMENTS)), "content": p.read_text()} for p in sorted(PAYMENTS.rglob("*.yaml"))]
        answer = author.http.post(f"{author.t}/policies", json={"files": files, "comment": "Too early."})
        assert answer.status_code in (422, 503) and answer.json()["detail"], answer.text
        assert author.get("/policies").json() == {"in_force": None, "lists": [], "versions": []}


def test_p13_p17_twenty_changes_of_one_author_stop_nobody_else(desk: Deciding, tmp_path: Path) -> None:
    """The twenty-first of Ana waits for nobody and is refused, with what to do. Carla's next one is asked about, and takes effect."""
    folder = bounded(tmp_path / "one", 100_000)
    waiting = [desk.propose(folder).json()["approval"] for _ in range(20)]
    assert [approval["state"] for approval in waiting] == ["pending"] * 20
    refused = desk.propose(folder)
    assert code(refused) == (422, "not_opened") and "too_many" in refused.json()["detail"], refused.text
    assert desk.propose(folder, contributors=["p-eva"]).status_code == 201, "with somebody else it is another author's"
    desk.activate(bounded(tmp_path / "two", 40_000), by="p-carla")
    assert desk.told()["reason"]["code"] == "no_clause"
    assert desk.review(waiting[0]["id"], "p-bob", "deny").status_code == 200
    assert desk.propose(folder).status_code == 201, "there is room again"


def test_p17_no_clause_is_left_to_the_rule_for_everything_else(desk: Deciding, tmp_path: Path) -> None:
    """A proposal whose clause no other rule is for is refused and leaves nothing in the log. `build` and `check` say the same before."""
    only = "\n".join(rule for rule in RULES.split("\n\n") if "paused by policies" not in rule)
    file = tmp_path / "rules.toml"
    for match, fits in (
        (None, False), ('clause = ["payments/medium-needs-people"]', True), ('clause = ["payments/small-passes"]', False), ('tool = "payments"', True),
        ('tool = "payments"\naction = "transfer"', False), ('tool = "mail"', False), ('labels = {team = "finance"}', True),
    ):  # fmt: skip
        rule = f'\n[[rule]]\nname = "for it"\nquorum = {{at_least = 1, of = "finance"}}\nowner = "none"\n[rule.match]\n{match}\n\n'
        rules = only.replace('[[rule]]\nname = "everything else"', (rule if match else "") + '[[rule]]\nname = "everything else"')
        file.write_text(rules)
        for command in ("build", "check"):
            done = cli("policy", command, "--rules", file, PAYMENTS)
            assert done.code == (0 if fits else 64), (match, done.out, done.err)
            assert fits or 'clause = ["payments/medium-needs-people"]' in done.err and "policies/payments.yaml:" in done.err, done.err
        desk.write(rules, MORE)
        desk.apply()
        desk.author()
        size = desk.server.admin.size()
        answer = desk.propose(PAYMENTS)
        assert code(answer)[0] == (201 if fits else 422), (match, answer.text)
        if not fits:
            assert code(answer)[1] == "policy_wrong" and "payments/medium-needs-people" in answer.json()["detail"]
            assert desk.server.admin.size() == size
    assert cli("policy", "build", PAYMENTS).code == 0, "without the rules nobody knows"


def test_p17_reviewers_of_a_first_version_see_all_of_it_in_words(desk: Deciding, tmp_path: Path) -> None:
    """Agents with groups, owners, tier and tools; tools with the effect of each action; lists; what an agent is told."""
    folder = tmp_path / "first"
    shutil.copytree(PAYMENTS, folder)
    (folder / "lists").mkdir()
    (folder / "lists" / "payees.yaml").write_text("language: 1\nitems: [DE89370400440532013000]\n")
    proposed = desk.propose(folder).json()
    text = "\n".join(proposed["changes"])
    for said in (
        "agent payments-bot: new; groups finance-bots; owners ", "tool payments: new: ", "transfer (write)",
        'list payees: new: ["DE89370400440532013000"]', "payments/medium-needs-people: new: ask people for", "tells the agent: ",
    ):  # fmt: skip
        assert said in text, text
    shown = desk.reviewer("p-bob").get(f"/approvals/{proposed['approval']['id']}").json()
    assert shown["frozen"]["params"]["changes"] == proposed["changes"]


def test_p17_author_and_reviewers_read_what_the_tests_leave_open(desk: Deciding, tmp_path: Path) -> None:
    """What `policy test --mutate` would refuse stops no proposal: it is said before, and to the people who are asked. A test that fails does stop it."""
    folder = Path(shutil.copytree(PAYMENTS, tmp_path / "mine"))
    (folder / "policies" / "more.yaml").write_text("language: 1\npolicy: more\nclauses:\n  - {id: never, tool: payments, actions: [transfer], when: {params: {/never: {present: true}}}, then: deny}\n")
    refused = cli("policy", "test", "--mutate", "--json", folder)
    assert refused.code == 1 and [left["clause"] for left in refused.json()["unnoticed"]] == ["more/never"]
    desk.author()
    of = ["--tenant", desk.tenant, "--json", "--comment", "For the test."]
    done = desk.server.remote("policy propose", *of, folder, key=desk.keys["author p-ana"]).ok()
    assert "no test matches it: more/never" in done.err and "changes that no test notices: 1 (more/never: it is left out)" in done.err
    tests = desk.reviewer("p-bob").get(f"/approvals/{done.json()['approval']['id']}").json()["frozen"]["params"]["tests"]
    assert "tests pass; no test matches it: more/never; changes that no test notices: 1 (more/never: it is left out)" in tests
    clean = desk.server.remote("policy propose", *of, PAYMENTS, key=desk.keys["author p-ana"]).ok()
    assert "warning" not in clean.err and clean.json()["version"] == 2
    cases = folder / "tests" / "payments.yaml"
    cases.write_text(cases.read_text().replace("verdict: allow", "verdict: deny", 1))
    wrong = desk.server.remote("policy propose", *of, folder, key=desk.keys["author p-ana"])
    assert wrong.code == 1 and "tests that fail: 1:" in wrong.err and "tests/payments.yaml:" in wrong.err


def test_p17_reviewers_see_which_recorded_calls_would_have_been_judged_otherwise(desk: Deciding, tmp_path: Path) -> None:
    """Wider bounds: the calls that were denied are named, newly allowed ones first; range and root are those of the log. The same bundle again
    changes nothing."""
    desk.activate(bounded(tmp_path / "one", 40_000))
    allowed, denied = desk.told(params=CALL | {"amount": 39_999}), desk.told(params=CALL | {"amount": 50_000})
    gone = desk.told(params=CALL | {"amount": 50_001})
    assert (allowed["verdict"], denied["verdict"]) == ("allow", "deny")
    desk.server.admin.erase(gone["decision"]["index"], "params")
    wider = desk.propose(bounded(tmp_path / "two", 100_000)).json()
    simulation = wider["simulation"]
    index = denied["decision"]["index"]
    assert simulation["changed"] == [f"1 deny → allow by bound/below (allowed): entries {index}"], simulation
    assert {name: simulation[name] for name in ("calls", "same", "otherwise", "not_simulated", "from")} == {
        "calls": 3, "same": 1, "otherwise": 1, "not_simulated": 1, "from": 0,
    }  # fmt: skip
    size, root = simulation["to"] + 1, simulation["root"]
    assert index < size <= desk.server.admin.size()
    checkpoint = desk.server.admin.receipt(size - 1)
    assert len(root) == 44 and (root in checkpoint or size < desk.server.admin.size())
    shown = desk.reviewer("p-bob").get(f"/approvals/{wider['approval']['id']}").json()
    assert shown["frozen"]["params"]["simulation"] == simulation
    same = desk.propose(bounded(tmp_path / "three", 40_000), by="p-carla").json()["simulation"]
    assert (same["otherwise"], same["changed"], same["calls"]) == (0, [], 3)
    narrower = desk.propose(bounded(tmp_path / "four", 10_000), by="p-carla").json()["simulation"]
    assert narrower["changed"] == [f"1 allow → deny (no_clause): entries {allowed['decision']['index']}"]
    folder = desk.export(tmp_path / "export")
    told = cli("policy", "simulate", "--json", "--key", desk.server.vkey, "--export", folder, tmp_path / "two").ok().json()
    assert [(c["from"], c["to"], c["indexes"]) for c in told["changed"]] == [("deny", "allow", [index])], "offline the same"
