"""The history of one approval, taken away and told again offline (P5, P7 to P10). First a real one, and what becomes of it
when files are changed; then histories that a log's own operator made up, signed with the log's own key."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from support import Client, Server, cli, event
from support.desk import now_text
from support.rfc6962 import Receipt, Vkey, leaf_hash, node_hash, root

RULES = """
[[rule]]
name = "transfers"
quorum = {all = [{at_least = 1, of = "finance"}, {at_least = 1, of = "legal"}]}
"""
PEOPLE = """
[[person]]
id = "p-ana"
name = "Ana Lima"
groups = ["finance", "legal"]

[[person]]
id = "p-bob"
name = "Bob Ito"
groups = ["finance"]

[[person]]
id = "p-cem"
name = "Cem Demir"
groups = ["legal"]

[[person]]
id = "p-kim"
name = "Kim Lee"
groups = ["finance"]
owns = ["agent-7"]
"""
PARAMS = {"amount": 125_000, "currency": "EUR", "to": "DE02120300000000202051"}
b64 = lambda data: base64.b64encode(data).decode()  # noqa: E731
b64url = lambda data: base64.urlsafe_b64encode(data).rstrip(b"=").decode()  # noqa: E731


def paused(action: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A decision that pauses a call, and the call as it is redeemed."""
    call = {"nonce": b64url(os.urandom(16)), "agent": "agent-7", "run": "run-1", "tool": "payments", "action": action, "params": PARAMS}
    digest = hashlib.sha256(b"countersign-call-v1\0" + rfc8785.dumps({"v": 1, "tenant": "acme", **call})).digest()
    data = {"verdict": "approval_needed", "call": {"digest": b64url(digest)}, "tool": {"name": "payments", "action": action}}
    return event(data=data, payload={"params": PARAMS, "nonce": call["nonce"]}, time=now_text()), call


class House:
    """A server whose calls are asked about."""

    def __init__(self, server: Server) -> None:
        self.server = server
        folder = Path(server.sections["approvals"]["dir"]) / "acme"
        folder.mkdir(parents=True)
        (folder / "rules.toml").write_text(RULES)
        (folder / "people.toml").write_text(PEOPLE)
        server.remote("rules apply", "--config", server.config, "--tenant", "acme").ok()
        self.gateway = server.client(server.add_key(["publisher", "enforcer"], "gw-1"))
        self.people = {name: server.client(server.add_key(["reviewer"], person=name)) for name in ("p-ana", "p-bob", "p-cem", "p-kim")}

    def post(self, client: Client, path: str, body: Any = None, status: int = 200) -> dict[str, Any]:
        answer = client.http.post(client.t + path, json=body)
        assert answer.status_code == status, answer.text
        return answer.json()

    def review(self, who: str, approval: str, decision: str = "approve", status: int = 200) -> None:
        seen = self.server.admin.get(f"/approvals/{approval}").json()
        body = {"decision": decision, "digest": seen["call"]["digest"], "version": seen["version"]}
        self.post(self.people[who], f"/approvals/{approval}/reviews", body, status)

    def opened(self, action: str = "transfer") -> tuple[str, dict[str, Any]]:
        made, call = paused(action)
        return self.post(self.gateway, "/approvals", made, 201)["id"], call

    def lived(self) -> str:
        """A whole life: two of three people say yes, one token is minted, spent and reported."""
        approval, call = self.opened()
        self.review("p-bob", approval)
        self.review("p-ana", approval)
        token = self.post(self.gateway, f"/approvals/{approval}/token")["token"]
        changed = {"token": token, "redemption_id": "r-0", "call": call | {"params": PARAMS | {"amount": 1}}}
        self.post(self.gateway, "/tokens/redeem", changed, 409)
        self.post(self.gateway, "/tokens/redeem", {"token": token, "redemption_id": "r-1", "call": call})
        self.post(self.gateway, f"/approvals/{approval}/execution", {"outcome": "succeeded"})
        return approval

    def export(self, approval: str, folder: Path, *args: object) -> Path:
        key = self.server.keys.get("reads all") or self.server.add_key(["auditor", "discloser"])
        self.server.keys["reads all"] = key
        self.server.remote("export", "--tenant", "acme", "--approval", approval, *args, folder, key=key).ok()
        return folder

    def verify(self, folder: Path, vkey: str | None = None) -> dict[str, Any]:
        return cli("verify", "--key", vkey or self.server.vkey, "--approval", folder, "--json").ok().json()["items"][0]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Any:
    root = tmp_path_factory.mktemp("history")
    with Server.ready(root, sections={"approvals": {"dir": str(root / "approvals")}}) as server:
        yield House(server)


@pytest.fixture(scope="module")
def lived(house: House, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The export of a whole life, in a log where other things happened too."""
    house.server.as_("publisher").publish(*(event() for _ in range(300)))
    approval = house.lived()
    house.server.as_("publisher").publish(*(event() for _ in range(300)))
    return house.export(approval, tmp_path_factory.mktemp("export") / approval, "--disclosures")


def test_p8_a_history_is_told_again(house: House, lived: Path, tmp_path: Path) -> None:
    """Everything that happened, what was checked, and what was not; by one file each, which plain Python verifies too."""
    names = {path.name for path in lived.iterdir()}
    count = len(list(lived.glob("[0-9]*.tlog-proof")))
    assert names == {"README.txt", "checkpoint", "keys.json", "opening.tlog-proof", "opening.disclosures"} | {f"{n}.tlog-proof" for n in range(1, count + 1)}
    item = house.verify(lived)
    assert (item["state"], item["n"], item["report"]) == ("completed", count, "succeeded")
    assert item["granted_by"] == ["p-ana", "p-bob"] and item["redemption"]["redemption_id"] == "r-1"
    types = [e["type"] for message in item["messages"] for e in message["events"]]
    assert types == ["requested", "reviewed", "reviewed", "granted", "token_minted", "redeem_rejected", "redeemed", "execution_reported"]
    assert {"chain_without_hole", "quorum_of_distinct_people", "one_redemption", "call_digest_of_params"} <= set(item["checked"])
    assert {"later_messages", "people_and_groups", "rule_in_force", "sign_in_age"} <= set(item["not_checked"])
    key, checkpoint = Vkey.parse(house.server.vkey), (lived / "checkpoint").read_text()
    for name in names:
        if name.endswith(".tlog-proof"):
            receipt = Receipt.parse((lived / name).read_text())
            assert receipt.verify(key) and receipt.checkpoint == checkpoint
            assert house.server.admin.entry(receipt.index) == json.loads(receipt.entry)
    told = cli("verify", "--key", house.server.vkey, "--approval", lived).ok().out
    assert "Completed" in told and f"whether a message {count + 1} follows" in told and "p-bob (finance): approve" in told
    alone = house.export(item["approval_id"], tmp_path / "alone")
    assert not (alone / "opening.disclosures").exists()
    assert "call_digest_of_params" in house.verify(alone)["not_checked"]


def test_p9_unfinished_and_refused_histories(house: House, tmp_path: Path) -> None:
    """One that waits, one that was refused; and a folder is written anew as a whole."""
    approval, _ = house.opened("refund")
    folder = house.export(approval, tmp_path / "e", "--disclosures")
    assert house.verify(folder)["state"] == "pending"
    house.review("p-kim", approval, status=404)
    house.review("p-cem", approval, "deny")
    assert house.verify(house.export(approval, folder))["state"] == "denied"
    other, _ = house.opened()
    assert house.verify(house.export(other, folder))["n"] == 1
    assert not (folder / "2.tlog-proof").exists() and not (folder / "opening.disclosures").exists()


def test_p12_who_may_export(house: House, lived: Path, tmp_path: Path) -> None:
    """An auditor; nobody of the gateway's or the people's, and nothing that does not exist."""
    def code(key: Any, approval: str) -> int:
        return house.server.remote("export", "--tenant", "acme", "--approval", approval, tmp_path / "x", key=key).code

    assert code(house.server.add_key(["auditor"]), lived.name) == 0
    (tmp_path / "x/checkpoint").unlink()
    assert code(house.gateway.key, lived.name) == code(house.people["p-bob"].key, lived.name) == 1
    assert code(house.server.admin_key, "apr-" + "a" * 26) == code(house.server.admin_key, "../keys") == 1
    assert not (tmp_path / "x/checkpoint").exists()


def test_p5_every_changed_file_is_refused(house: House, lived: Path, tmp_path: Path) -> None:
    """With the place. Only a tail that was cut off can't be seen, and is named as not checked."""
    other = house.export(house.lived(), tmp_path / "other")
    count = house.verify(lived)["n"]

    def refused(change: Callable[[Path], object], *words: str) -> None:
        folder = tmp_path / "changed"
        shutil.copytree(lived, folder)
        change(folder)
        done = cli("verify", "--key", house.server.vkey, "--approval", folder)
        assert done.code in (1, 3) and "verified" not in done.out, done
        assert all(word in done.out + done.err for word in words), (words, done)
        shutil.rmtree(folder)

    def swap(folder: Path, a: str, b: str) -> None:
        (folder / a).rename(folder / "x")
        (folder / b).rename(folder / a)
        (folder / "x").rename(folder / b)

    def flip(path: Path, at: int) -> None:
        data = bytearray(path.read_bytes())
        data[at] ^= 1
        path.write_bytes(data)

    for n in range(1, count):
        refused(lambda f, n=n: (f / f"{n}.tlog-proof").unlink(), f"message {n} is missing")
        refused(lambda f, n=n: swap(f, f"{n}.tlog-proof", f"{n + 1}.tlog-proof"), f"{n}.tlog-proof", "message")
    for n in range(1, count + 1):
        refused(lambda f, n=n: shutil.copy(other / f"{n}.tlog-proof", f / f"{n}.tlog-proof"), f"{n}.tlog-proof")
        size = (lived / f"{n}.tlog-proof").stat().st_size
        for at in (0, 40, size // 3, size // 2, size - 20):
            refused(lambda f, n=n, at=at: flip(f / f"{n}.tlog-proof", at), f"{n}.tlog-proof")
    refused(lambda f: shutil.copy(f / "2.tlog-proof", f / f"{count + 1}.tlog-proof"), f"{count + 1}.tlog-proof")
    refused(lambda f: shutil.copy(f / "opening.tlog-proof", f / "1.tlog-proof"), "not of kind approval")
    refused(lambda f: shutil.copy(f / "1.tlog-proof", f / "opening.tlog-proof"), "only events of type dev.countersign.decision.v1")
    refused(lambda f: (f / "opening.tlog-proof").unlink(), "opening.tlog-proof")
    refused(lambda f: (f / "checkpoint").unlink(), "checkpoint")
    refused(lambda f: shutil.copy(other / "checkpoint", f / "checkpoint"), "not the one in the folder")
    refused(lambda f: (f / "01.tlog-proof").write_text(""), "01.tlog-proof")
    refused(lambda f: [path.unlink() for path in f.glob("[0-9]*.tlog-proof")], "message 1 is missing")
    shown = (lived / "opening.disclosures").read_text()
    refused(lambda f: (f / "opening.disclosures").write_text(shown.replace("125000", "1")), "opening.disclosures")
    # One message of another approval that is proven under this very checkpoint.
    younger = house.export(house.verify(lived)["approval_id"], tmp_path / "younger")
    older = tmp_path / "older"
    shutil.copytree(house.export(house.verify(other)["approval_id"], tmp_path / "again"), older)
    if (older / "checkpoint").read_text() == (younger / "checkpoint").read_text():
        shutil.copy(older / "3.tlog-proof", younger / "3.tlog-proof")
        done = cli("verify", "--key", house.server.vkey, "--approval", younger)
        assert done.code == 1 and "another approval" in done.out
    else:
        pytest.fail("nothing was published in between, so it is one checkpoint")
    cut = tmp_path / "cut"
    shutil.copytree(lived, cut)
    for n in range(count, 0, -1):
        item = house.verify(cut)
        assert item["n"] == n and "later_messages" in item["not_checked"]
        (cut / f"{n}.tlog-proof").unlink()


# Made up by whoever holds the log's key


class Forge:
    """A log of its own: entries in, an export out. Everything is signed and included; only the story is made up."""

    ORIGIN = "log.example.com/v1/tenants/acme/logs/1"

    def __init__(self, honest: Path) -> None:
        self.key = Ed25519PrivateKey.generate()
        public = b"\1" + self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.key_hash = hashlib.sha256(self.ORIGIN.encode() + b"\n" + public).digest()[:4]
        self.vkey = f"{self.ORIGIN}+{self.key_hash.hex()}+{b64(public)}"
        receipts = [honest / "opening.tlog-proof", *(honest / f"{n}.tlog-proof" for n in range(1, 1 + len(list(honest.glob("[0-9]*.tlog-proof")))))]
        #: The opening, then the messages.
        self.entries = [json.loads(Receipt.parse(path.read_text()).entry) for path in receipts]
        self.entries[1]["event"]["events"][0]["opening"]["index"] = 0

    def events(self, n: int) -> list[dict[str, Any]]:
        return self.entries[n]["event"]["events"]

    def chain(self) -> None:
        """Numbers and links all messages anew."""
        for n in range(1, len(self.entries)):
            before = leaf_hash(rfc8785.dumps(self.entries[n - 1]))
            self.entries[n]["event"] |= {"n": n, "prev": b64(before)}

    def write(self, folder: Path, leaves: list[bytes] | None = None, order: list[int] | None = None) -> Path:
        """The export. `order`: at which index which entry stands."""
        leaves = leaves or [rfc8785.dumps(entry) for entry in self.entries]
        order = order or list(range(len(leaves)))
        hashes = [leaf_hash(leaves[n]) for n in order]
        text = f"{self.ORIGIN}\n{len(hashes)}\n{b64(root(hashes))}\n"
        signature = b64(self.key_hash + self.key.sign(text.encode()))
        note = f"{text}\n\u2014 {self.ORIGIN} {signature}\n"
        folder.mkdir()
        (folder / "checkpoint").write_text(note)
        for n, leaf in enumerate(leaves):
            index = order.index(n)
            path = "".join(b64(h) + "\n" for h in inclusion(hashes, index))
            name = f"{n}.tlog-proof" if n else "opening.tlog-proof"
            (folder / name).write_text(f"c2sp.org/tlog-proof@v1\nextra {b64(leaf)}\nindex {index}\n{path}\n{note}")
        return folder


def inclusion(hashes: list[bytes], index: int) -> list[bytes]:
    """RFC 6962 §2.1.1."""
    if len(hashes) <= 1:
        return []
    split = 1 << (len(hashes) - 1).bit_length() - 1
    if index < split:
        return [*inclusion(hashes[:split], index), root(hashes[split:])]
    return [*inclusion(hashes[split:], index - split), root(hashes[:split])]


def test_the_forge_forges(lived: Path, tmp_path: Path) -> None:
    """What is not changed is accepted: so whatever is refused below is refused for its story."""
    forge = Forge(lived)
    forge.chain()
    folder = forge.write(tmp_path / "f")
    item = cli("verify", "--key", forge.vkey, "--approval", folder, "--json").ok().json()["items"][0]
    assert item["state"] == "completed" and item["size"] == len(forge.entries)
    assert node_hash(b"a" * 32, b"b" * 32) != leaf_hash(b"a" * 32 + b"b" * 32)


def requested(change: Callable[[dict[str, Any]], object]) -> Callable[[Forge], object]:
    return lambda f: change(f.events(1)[0])


def event_of(n: int, at: int = 0, **members: Any) -> Callable[[Forge], object]:
    return lambda f: f.events(n)[at].update(members)


def digest_of(rule: dict[str, Any]) -> str:
    return b64url(hashlib.sha256(rfc8785.dumps(rule)).digest())


def reruled(**members: Any) -> Callable[[Forge], object]:
    """Another rule, with its right digest."""

    def change(f: Forge) -> None:
        made = f.events(1)[0]
        made["rule"] |= members
        made["rule_digest"] = digest_of(made["rule"])

    return change


#: 1 requested, 2 Bob, 3 Ana and the grant, 4 mint, 5 refused redemption, 6 redemption, 7 report.
LIES: dict[str, tuple[Callable[[Forge], object], str]] = {
    "L3: only one said yes": (lambda f: f.entries.pop(2), "granted"),
    "L3: one person for both": (lambda f: f.events(3)[1].update(by=["p-ana"]), "granted"),
    "L3: somebody who did not answer": (event_of(3, 1, by=["p-ana", "p-cem"]), "granted"),
    "L3: a no that counts as yes": (event_of(2, decision="deny"), "granted"),
    "L3: enough said no": (lambda f: f.events(3).insert(0, f.events(2)[0] | {"by": "p-cem", "decision": "deny"}), "granted"),
    "L3: two of one group": (event_of(3, groups=["finance"]), "granted"),
    "L3: no group": (event_of(2, groups=[]), "reviewed"),
    "L3: a group that nobody asked": (event_of(2, groups=["friends"]), "reviewed"),
    "L3: another call was shown": (event_of(2, displayed_dig="A" * 43), "reviewed"),
    "L3: too little of the call was shown": (lambda f: event_of(2, displayed_dig=f.events(2)[0]["displayed_dig"][:7])(f), "reviewed"),
    "P10: an owner": (event_of(2, by="p-kim"), "reviewed"),
    "P10: the same person twice": (event_of(2, by="p-ana"), "reviewed"),
    "P10: no owner is known": (requested(lambda r: r.update(owners=[])), "reviewed"),
    "step-up: not on the page": (reruled(step_up=600), "reviewed"),
    "L1: redeemed twice": (lambda f: f.entries.insert(7, copy.deepcopy(f.entries[6])), ""),
    "L1: redeemed twice, at another time": (lambda f: twice(f), "redeemed"),
    "L2: redeemed after a denial": (lambda f: f.events(3).__setitem__(1, {"type": "denied", "by": ["p-ana"]}), "denied"),
    "L2: redeemed after a cancellation": (lambda f: f.events(5).__setitem__(0, {"type": "cancelled", "by": "x", "reason": "x"}), "redeemed"),
    "redeemed without a token": (lambda f: f.entries.pop(4), "redeem"),
    "redeemed by another enforcer": (event_of(6, enforcer="gw-2"), "redeemed"),
    "redeemed with another token": (event_of(6, jti="x"), "redeemed"),
    "minted for another enforcer": (event_of(4, enforcer="gw-2"), "token_minted"),
    "minted for longer than the rule allows": (event_of(4, exp="2026-12-31T00:00:00.000000000Z"), "token_minted"),
    "reported before the redemption": (lambda f: f.entries.pop(6), "execution_reported"),
    "L9: granted after the deadline": (lambda f: late(f, 3, 3601), ""),
    "P7: another digest": (requested(lambda r: r["call"].update(digest="A" * 43)), "call.digest"),
    "P7: another tool": (requested(lambda r: r["call"].update(tool="mail")), "agent, run, tool or action"),
    "P7: another agent": (requested(lambda r: r["call"].update(agent="agent-8")), "agent, run, tool or action"),
    "another decision": (requested(lambda r: r["opening"].update(index=5)), "opening"),
    "another producer": (requested(lambda r: r["opening"].update(producer="gw-2")), "opening"),
    "another rule digest": (requested(lambda r: r.update(rule_digest="A" * 43)), "rule_digest"),
    "a rule that was changed": (requested(lambda r: r["rule"].update(deny=2)), "rule_digest"),
    "another beginning": (requested(lambda r: r.update(requested_at="2026-01-01T00:00:00.000000000Z")), "requested_at"),
    "another deadline": (requested(lambda r: r.update(approval_deadline="2036-01-01T00:00:00.000000000Z")), "requested"),
    "a version to come": (requested(lambda r: r.update(v=2)), "requested"),
    "asked for twice": (lambda f: f.events(2).insert(0, copy.deepcopy(f.events(1)[0])), "requested"),
    "not asked for": (lambda f: f.events(1).__setitem__(0, {"type": "reminded"}), "reminded"),
    "nothing happened": (lambda f: f.entries[2]["event"].update(events=[]), "message 2"),
    "an event to come": (lambda f: f.events(2).append({"type": "blessed"}), "approval message"),
    "a member more": (event_of(2, mood="good"), "approval message"),
    "a member of the message more": (lambda f: f.entries[2]["event"].update(mood="good"), "approval message"),
    "an allow that was not paused": (lambda f: f.entries[0]["event"]["data"].update(verdict="allow"), 'the verdict is "allow"'),
    "a shadow": (lambda f: f.entries[0]["event"]["data"].update(mode="shadow"), "data.mode is `shadow`"),
    "another event's id": (lambda f: f.entries[0]["event"].update(id="other"), "another approval"),
    "another tenant's decision": (lambda f: f.entries[0].update(tenant="globex"), "another tenant"),
    "another tenant's message": (lambda f: f.entries[2].update(tenant="globex"), "another tenant"),
    "no approval entry": (lambda f: f.entries[2].update(kind="evidence"), "kind approval"),
    "journal time runs back": (lambda f: f.entries[3]["journal"].update(time="2026-01-01T00:00:00.000000000Z"), "journal"),
    "one message of the journal twice": (lambda f: f.entries[3]["journal"].update(seq=f.entries[2]["journal"]["seq"]), "journal"),
}  # fmt: skip


def twice(f: Forge) -> None:
    """A second redemption of the same token by another id."""
    again = copy.deepcopy(f.entries[6])
    again["event"]["events"][0]["redemption_id"] = "r-2"
    f.entries.insert(7, again)
    for entry in f.entries[7:]:
        entry["journal"]["seq"] += 1


def late(f: Forge, n: int, seconds: int) -> None:
    """From message `n` on the journal took everything so much later."""
    from datetime import datetime, timedelta

    for entry in f.entries[n:]:
        head, nanos = entry["journal"]["time"].removesuffix("Z").split(".")
        moved = datetime.fromisoformat(head) + timedelta(seconds=seconds)
        entry["journal"]["time"] = f"{moved.isoformat()}.{nanos}Z"


@pytest.mark.parametrize("lie", LIES)
def test_p8_lies_of_the_log_itself(lived: Path, tmp_path: Path, lie: str) -> None:
    """Whoever holds the log's key can sign anything; not every story can have happened."""
    forge, (change, word) = Forge(lived), LIES[lie]
    change(forge)
    forge.chain()
    done = cli("verify", "--key", forge.vkey, "--approval", forge.write(tmp_path / "f"))
    assert done.code == 1 and "REFUSED" in done.out and "verified" not in done.out, done
    assert word in done.out, done


def test_l9_the_journal_s_time_decides(lived: Path, tmp_path: Path) -> None:
    """What came too late is expired, whatever the message says; that much is true, and so it verifies."""
    forge = Forge(lived)
    del forge.entries[4:]
    late(forge, 3, 3601)
    forge.chain()
    folder = forge.write(tmp_path / "f")
    item = cli("verify", "--key", forge.vkey, "--approval", folder, "--json").ok().json()["items"][0]
    assert item["state"] == "expired" and item["granted_by"] == []


@pytest.mark.parametrize("n", range(1, 8))
def test_chain_without_hole(lived: Path, tmp_path: Path, n: int) -> None:
    """Numbers, links and order in the log."""
    def check(change: Callable[[Forge], object], **how: Any) -> None:
        forge = Forge(lived)
        forge.chain()
        change(forge)
        folder = forge.write(tmp_path / os.urandom(4).hex(), **how)
        done = cli("verify", "--key", forge.vkey, "--approval", folder)
        assert done.code == 1 and f"message {n}" in done.out, done

    check(lambda f: f.entries[n]["event"].update(n=n + 1))
    check(lambda f: f.entries[n]["event"].update(n=n - 1))
    check(lambda f: f.entries[n]["event"].update(prev=b64(bytes(32))))
    check(lambda f: f.entries[n]["event"].update(approval_id="apr-" + "a" * 26))
    order = list(range(8))
    order[n - 1 : n + 1] = [n, n - 1]
    if n > 1:
        check(lambda f: None, order=order)
    forge = Forge(lived)
    forge.chain()
    leaves = [rfc8785.dumps(entry) for entry in forge.entries]
    leaves[n] = leaves[n].replace(b":", b": ", 1)
    check(lambda f: None, leaves=leaves)


def test_what_only_the_whole_log_shows(lived: Path, tmp_path: Path) -> None:
    """Another rule with its right digest, other people: nothing in these entries can show it, and so it is named."""
    forge = Forge(lived)
    reruled(quorum={"at_least": 2, "of": "finance"})(forge)
    event_of(3, groups=["finance"])(forge)
    event_of(2, by="p-zoe")(forge)
    event_of(3, 1, by=["p-ana", "p-zoe"])(forge)
    forge.chain()
    folder = forge.write(tmp_path / "f")
    item = cli("verify", "--key", forge.vkey, "--approval", folder, "--json").ok().json()["items"][0]
    assert {"rule_in_force", "people_and_groups", "later_messages"} <= set(item["not_checked"])
