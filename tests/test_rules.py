"""Rules and people: files are checked, tried on an event, and put in force by an entry (P9 P10 P11 P12)."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from support import Key, Server, cli, until

EVENT = "approval-needed.json"


def jcs(value: Any) -> bytes:
    """RFC 8785 form of what has neither fractions nor names beyond ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def sha256(data: bytes) -> str:
    """base64url SHA-256."""
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


@pytest.fixture
def examples(repository: Path) -> Path:
    """The folder of examples."""
    return repository / "proto" / "examples"


def with_files(root: Path, examples: Path, tenant: str = "acme", **sections: Any) -> dict[str, Any]:
    """Options of a server whose tenant has the example files, and the connections they name."""
    folder = root / "approvals" / tenant
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("rules.toml", "people.toml"):
        (folder / name).write_text((examples / name).read_text())
    secret = root / "secret"
    secret.write_text("x\n")
    zero = "00000000-0000-0000-0000-000000000000"
    slack = {"tenant": tenant, "app_id": "A0", "workspaces": ["T0123456789"], "bot_token_file": secret, "signing_secret_files": [str(secret)]}
    teams = {"tenant": tenant, "app_id": zero, "directory": zero, "password_files": [str(secret)]}
    return {"approvals": {"dir": root / "approvals"}, "slack.acme-slack": slack, "teams.acme-teams": teams} | sections


@pytest.fixture
def ready(make_server: Callable[..., Server], tmp_path: Path, examples: Path) -> Server:
    """A running server whose tenant has the example files, not applied yet."""
    return make_server(sections=with_files(tmp_path, examples))


@pytest.fixture
def offline(tmp_path: Path, examples: Path) -> Server:
    """A configuration with the example files; nothing runs."""
    return Server(tmp_path / "offline", sections=with_files(tmp_path, examples))


def file_of(server: Server, name: str) -> Path:
    """A file of the tenant."""
    return server.sections["approvals"]["dir"] / "acme" / name


def change(path: Path, old: str, new: str) -> None:
    """Changes a file in one place."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def rules(server: Server, command: str, *args: object, **options: Any) -> Any:
    """`countersign rules <command>` that asks the server, with the admin's key unless another is given."""
    config = ["--config", server.config] if command == "apply" else []
    return server.remote(f"rules {command}", "--tenant", "acme", *config, *args, **options)


def entries(server: Server, kind: str) -> list[dict[str, Any]]:
    """Entries of a kind, in order."""
    found = (json.loads(leaf) for _, leaf in server.admin.feed())
    return [entry for entry in found if entry["kind"] == kind]


def test_rules_test_says_who_is_asked(offline: Server, examples: Path) -> None:
    """P10: the matched rule, why not the ones before it, who is asked and who not, where and when."""
    done = cli("rules", "test", "--config", offline.config, examples / EVENT).ok()
    for words in [
        "transfers to Russia: a param is absent or has another value",
        "large transfers", "Ana Lima (p-ana): owns the agent, and so is not asked", "finance: Bob Ito (p-bob), Cem Demir (p-cem)",
        "the web page", "finance: acme-slack C0123456789", "on escalation", "with a sign-in of the last 600 s",
        "2026-11-20T11:14:02.800000000Z reminder", "2026-11-20T11:54:02.800000000Z escalation",
        "2026-11-20T13:14:02.800000000Z approval deadline", "900 s to redeem",
    ]:
        assert words in done.out, f"{words!r} is not in\n{done.out}"
    assert "Dan" not in done.out, "a disabled person is asked nothing"
    plan = cli("rules", "test", "--config", offline.config, "--tenant", "acme", "--json", examples / EVENT).ok().json()
    assert plan["rule"]["name"] == "large transfers" and plan["rule_digest"] == sha256(jcs(plan["rule"]))
    assert [person["id"] for person in plan["asked"]["finance"]] == ["p-bob", "p-cem"]
    assert plan["lacking"] == [] and not plan["owner_unknown"]


@pytest.mark.parametrize(("old", "new", "words"), [
    ("approval_needed", "allow", "only `approval_needed` pauses a call"),
    ("enforce", "shadow", "nobody is asked"),
    ('"params"', '"parameters"', "data.payload.params is absent"),
    ('"nonce"', '"once"', "data.payload.nonce is absent"),
    ("125000", "125001", "the digest of this call"),
    ("decision.v1", "execution.v1", "only events of type"),
    ('"1.0"', '"0.3"', "would be rejected"),
])
def test_p9_an_event_that_pauses_nothing_says_why(
    offline: Server, examples: Path, tmp_path: Path, old: str, new: str, words: str
) -> None:
    """Not asked for is not approved; the reason says what to change."""
    changed = tmp_path / "event.json"
    changed.write_text((examples / EVENT).read_text())
    change(changed, old, new)
    done = cli("rules", "test", "--config", offline.config, changed)
    assert done.code == 1 and words in done.err and not done.out


def test_rules_can_say_one_by_one(offline: Server, examples: Path) -> None:
    """`rules test` prints it, and `check-config` names a value that is neither true nor false."""
    file = file_of(offline, "rules.toml")
    rules = file.read_text()
    test = ["rules", "test", "--config", offline.config, examples / EVENT]
    assert "one by one" not in cli(*test).ok().out
    large = 'name = "large transfers"\n'
    assert large in rules
    file.write_text(rules.replace(large, large + "one_by_one = true\n", 1))
    assert "one by one: never answered together with like calls" in cli(*test).ok().out
    file.write_text(rules.replace(large, large + 'one_by_one = "often"\n', 1))
    checked = cli("check-config", "--config", offline.config)
    assert checked.code == 64 and "one_by_one must be true or false" in checked.err


def test_rules_test_reads_a_pipe_and_names_what_it_can_not_read(offline: Server, examples: Path, tmp_path: Path) -> None:
    """`-` is standard input; a missing file is exit 3; a tenant without files is exit 64."""
    test = ["rules", "test", "--config", offline.config]
    assert "large transfers" in cli(*test, "-", stdin=(examples / EVENT).read_bytes()).ok().out
    assert cli(*test, tmp_path / "nowhere").code == 3
    other = cli(*test, "--tenant", "other", examples / EVENT)
    assert other.code == 64 and "other/rules.toml" in other.err and "other/people.toml" in other.err
    assert cli(*test, "--tenant", "No Tenant", examples / EVENT).code == 64


def test_check_config_tells_all_mistakes_of_all_tenants(offline: Server, examples: Path) -> None:
    """P10 P12: file, line and what to do, everything at once."""
    assert "acme: 4 rules, 6 people, 2 channels" in offline.run("check-config").ok().out
    root = offline.sections["approvals"]["dir"].parent
    with_files(root, examples, "other")
    change(file_of(offline, "rules.toml"), "deny = 2", "denny = 2")
    change(file_of(offline, "people.toml"), "U0000000BOB", "U0000000ANA")
    done = offline.run("check-config")
    assert done.code == 64
    for words in [
        'acme/rules.toml:38: "denny" is not known here', "acme/people.toml:12: p-bob and p-ana have the same Slack account",
        # Another tenant's connection is as unknown as none.
        'other/rules.toml:4: channel finance: "acme-slack" is not a connection of this tenant',
    ]:
        assert words in done.err, f"{words!r} is not in\n{done.err}"


@pytest.mark.parametrize("command", [["check-config"], ["rules", "test", "-"]])
def test_each_mistake_has_a_line(offline: Server, command: list[str]) -> None:
    """A person reads them one by one."""
    change(file_of(offline, "rules.toml"), "deny = 2", "denny = 2")
    change(file_of(offline, "people.toml"), "U0000000BOB", "U0000000ANA")
    done = cli(*command, "--config", offline.config, stdin=b"{}")
    assert done.code == 64
    lines = [line.strip() for line in done.err.splitlines()]
    assert any(line.startswith("acme/rules.toml:38: ") for line in lines), done.err
    assert any(line.startswith("acme/people.toml:12: ") for line in lines), done.err


def test_p10_check_config_refuses_a_quorum_that_one_owner_breaks(offline: Server) -> None:
    """Three of three: whoever owns the agent is missing."""
    change(file_of(offline, "rules.toml"), "at_least = 2", "at_least = 3")
    done = offline.run("check-config")
    assert done.code == 64 and "acme/rules.toml:37: " in done.err and "nobody approves a call of an agent they own" in done.err


def test_apply_makes_an_entry_once(ready: Server) -> None:
    """What is in force is an entry: the rules whole, people by a salted digest (P11)."""
    assert "No rules were applied yet" in rules(ready, "show").ok().out
    first = rules(ready, "apply", "--json").ok().json()
    assert first["status"] == "applied"
    again = rules(ready, "apply", "--json").ok().json()
    assert again == first | {"status": "unchanged"}
    [entry] = entries(ready, "rules")
    body = entry["event"]
    assert set(body) == {"v", "rules", "rules_digest", "people_digest", "people_nonce", "by", "reason"} and entry["payload"] == []
    assert [rule["name"] for rule in body["rules"]][0] == "transfers to Russia" and len(body["rules"]) == 4
    assert body["rules_digest"] == sha256(jcs(body["rules"])) == first["rules_digest"]
    assert body["people_digest"] == first["people_digest"]
    leaf = json.dumps(entry)
    for person in ["p-ana", "Ana", "U0000000ANA", "C0123456789", "payments-bot"]:
        assert person not in leaf
    shown = rules(ready, "show").ok().out
    assert "The server's files are the ones in force." in shown and "large transfers" in shown
    ready.stop()
    ready.fsck().ok()


def test_apply_shows_what_changes_and_covers_every_part_of_the_files(ready: Server) -> None:
    """A changed rule, person or channel is another state; a comment is not."""
    rules(ready, "apply").ok()
    change(file_of(ready, "rules.toml"), "# Who must", "# Who really must")
    assert rules(ready, "apply", "--json").ok().json()["status"] == "unchanged"
    for name, old, new in [
        ("people.toml", "Bob Ito", "Rob Ito"), ("rules.toml", "C0123456789", "C0123456788"), ("rules.toml", '"4h"', '"5h"'),
    ]:
        change(file_of(ready, name), old, new)
        assert "files are different" in rules(ready, "show").ok().out
        done = rules(ready, "apply").ok()
        assert "applied" in done.out
    assert 'changed  "large transfers"' in done.out and "3 rules stay as they are" in done.out
    assert len(entries(ready, "rules")) == 4


def test_apply_refuses_what_the_admin_does_not_see(ready: Server, tmp_path: Path, examples: Path) -> None:
    """The server's files must be the admin's; mistakes in them are named; nothing is written."""
    here = tmp_path / "here"
    here.mkdir()
    mine = Server(here / "server", sections=with_files(here, examples))
    for name, old, new in [("rules.toml", '"4h"', '"5h"'), ("people.toml", "Bob Ito", "Rob Ito")]:
        change(file_of(mine, name), old, new)
        done = ready.remote("rules apply", "--config", mine.config, "--tenant", "acme")
        assert done.code == 1 and "rules_differ" in done.err
        change(file_of(mine, name), new, old)
    change(file_of(ready, "rules.toml"), "deny = 2", "denny = 2")
    done = ready.remote("rules apply", "--config", mine.config, "--tenant", "acme")
    assert done.code == 1 and "rules_wrong" in done.err and "acme/rules.toml:38: " in done.err
    assert str(tmp_path) not in done.err, "nothing of the server's disk is told"
    assert "files have mistakes" in rules(ready, "show").ok().out
    assert entries(ready, "rules") == []


def test_p12_only_an_admin_of_the_tenant_applies(ready: Server) -> None:
    """Other roles are refused; another tenant's admin finds nothing."""
    auditor = ready.add_key(["auditor"])
    assert rules(ready, "show", key=auditor).ok()
    assert "role_missing" in rules(ready, "apply", key=auditor).err
    publisher = ready.add_key(["publisher"], "gw-1")
    assert "role_missing" in rules(ready, "show", key=publisher).err
    assert entries(ready, "rules") == []


def standing(server: Server, path: str, role: str | None = "operator") -> httpx.Response:
    """What the server says of its standing there."""
    headers = {"Authorization": f"Bearer {server.keys[role].text}"} if role else {}
    return httpx.get(server.url + path, headers=headers, timeout=30, trust_env=False)


def codes(answer: httpx.Response) -> list[str]:
    """Why it is not ready."""
    return [reason["code"] for reason in answer.json()["reasons"]]


def test_p12_a_tenant_with_other_files_than_the_applied_ones_is_not_ready_alone(ready: Server) -> None:
    """Nothing is decided for it; readiness of the tenant, health and metrics say so. The server is ready, and another
    tenant is served. Its name is told to the operator and to itself alone."""
    rules(ready, "apply").ok()
    other = ready.client(Key(ready.add_tenant("globex")["key"]), tenant="globex")
    gateway = ready.client(other.add_key(["publisher"], "gw-1"), tenant="globex")
    stranger = ready.keys["globex"] = gateway.key
    assert stranger and standing(ready, "/v1/tenants/acme/readyz").status_code == 200
    ready.stop()
    path = file_of(ready, "people.toml")
    change(path, "Bob Ito", "Rob Ito")
    ready.start()
    mine = "/v1/tenants/acme/readyz"
    until("the rules to be looked at", lambda: codes(standing(ready, mine)) == ["rules_not_in_force"])
    assert standing(ready, mine).status_code == 503
    assert "rules apply" in standing(ready, mine, "admin").json()["reasons"][0]["detail"]
    assert standing(ready, mine, "globex").status_code == 404 and standing(ready, mine, None).status_code == 401
    assert standing(ready, "/readyz", None).json() == {"ready": True, "reasons": []}
    assert standing(ready, "/v1/tenants/globex/readyz").json() == {"ready": True, "reasons": []}
    health = standing(ready, "/healthz", None)
    assert health.status_code == 503 and health.json()["rules_not_in_force"] == 1 and "acme" not in health.text
    told = standing(ready, "/healthz").json()["tenants"]
    assert [(of["tenant"], [trouble["code"] for trouble in of["troubles"]]) for of in told] == [("acme", ["rules_not_in_force"])]
    metrics = standing(ready, "/metrics").text
    assert 'countersign_ready{tenant="acme"} 0' in metrics and 'countersign_ready{tenant="globex"} 1' in metrics
    assert 'countersign_trouble{tenant="acme",code="rules_not_in_force"} 1' in metrics
    rules(ready, "apply").ok()
    until("the tenant to be ready", lambda: standing(ready, mine).status_code == 200)
    assert standing(ready, "/healthz").json()["status"] == "green"


def test_p9_applied_files_that_are_put_back_are_in_force_again(ready: Server) -> None:
    """No other apply is needed, and `rules show` and readiness never contradict each other."""
    rules(ready, "apply").ok()
    ready.stop()
    path = file_of(ready, "people.toml")
    right = path.read_text()
    change(path, "Bob Ito", "Rob Ito")
    ready.start()
    mine = "/v1/tenants/acme/readyz"
    until("the rules to be looked at", lambda: codes(standing(ready, mine)) == ["rules_not_in_force"])
    assert "different" in rules(ready, "show", "--json").ok().json()["files"]["status"]
    path.write_text(right)
    # Said by one, it is so for the other at once.
    assert rules(ready, "show", "--json").ok().json()["files"]["status"] == "applied"
    assert standing(ready, mine).status_code == 200
    ready.stop()
    path.write_text(right + "\nwrong\n")
    ready.start()
    until("the rules to be looked at", lambda: codes(standing(ready, mine)) == ["rules_not_in_force"])
    path.write_text(right)
    until("the server to look again by itself", lambda: standing(ready, mine).status_code == 200)
    assert ready.log.count("have mistakes") < 5, "what is still wrong is not said at each look"


def test_p12_mistakes_in_the_files_are_told_to_admins_alone(ready: Server, examples: Path) -> None:
    """They name people and groups. Files that are put right need no restart, only `rules apply` again."""
    rules(ready, "apply").ok()
    key = ready.add_key(["publisher"], "gw-1")
    ready.stop()
    path = file_of(ready, "people.toml")
    right = path.read_text()
    change(path, "Bob Ito", "Rob Ito")
    path.write_text(path.read_text() + '\n[[person]]\nid = "p-secret"\nname = "S"\ngroups = []\n' * 2)
    ready.start(ready=False)
    event = json.loads((examples / EVENT).read_text())

    def told() -> Any:
        gateway = ready.client(key)
        try:
            answer = gateway.http.post(f"{gateway.t}/approvals", json=event)
        except httpx.TransportError:
            return None
        return answer if "have mistakes" in answer.text else None

    assert until("it says why it is not ready", told).status_code == 503
    assert "p-secret" not in told().text
    shown = rules(ready, "show")
    assert "p-secret" in shown.out + shown.err
    path.write_text(right)
    assert rules(ready, "apply", "--json").ok().json()["status"] == "unchanged"
    ready.wait_ready()
