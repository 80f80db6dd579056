"""P10: exports in which a holder of our journal and log keys forged who signed in. `verify` refuses them, and so does `verify --evidence`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import cli
from support.forging import Log, at, b64url, export, policies, sha256

KEY, AUTHOR = "aabbccdd00112233", "aabbccdd00112255"
NOT_IN_FORCE = "a sign-in with a key that is not in force, or is another person's"


class World:
    """A log with a reviewer key of Ana's."""

    def __init__(self) -> None:
        self.log = Log("forged")
        author = {"key_id": AUTHOR, "roles": ["author"], "name": "Ana, author"}
        self.say(self.key(**author), 9)
        self.say(self.key(), 10)

    def say(self, body: dict[str, Any], minute: int, second: int = 0) -> None:
        """An entry, signed as the server signs."""
        self.log.signed("system.access", body, at(minute, second), "access")

    def key(self, **over: Any) -> dict[str, Any]:
        """The body that adds the key."""
        body = {"op": "add", "key_id": KEY, "sha256": b64url(sha256(b"ana")), "roles": ["reviewer"], "producer": None, "person": "p-ana",
                "name": "Ana", "by": policies.ADMIN, "reason": None}  # fmt: skip
        return body | over

    def came(self, **over: Any) -> dict[str, Any]:
        """The body of a sign-in with it."""
        return {"op": "signed_in", "how": "key", "seconds": 60, "by": {"key": KEY, "person": "p-ana"}} | over

    def last(self) -> None:
        """One more entry: the last one is in no period that ends with it."""
        self.say({"op": "read", "from": 2, "to": 3, "seconds": 600, "by": policies.ADMIN}, 14)

    def gone(self) -> dict[str, Any]:
        """The body that removes it."""
        return {"op": "remove", "key_id": KEY, "by": policies.ADMIN, "reason": None}


def nobodys_key(world: World) -> None:
    world.say(world.came(by={"key": "ffeeddccbbaa0011", "person": "p-ana"}), 11)


def another_persons_key(world: World) -> None:
    world.say(world.came(by={"key": KEY, "person": "p-bob"}), 11)


def a_removed_key(world: World) -> None:
    world.say(world.gone(), 11)
    world.say(world.came(), 12)


def before_it_was_issued(world: World) -> None:
    world.say(world.came(by={"key": "aabbccdd00112244", "person": "p-ana"}), 11)
    world.say(world.key(key_id="aabbccdd00112244"), 12)


def an_account_that_is_a_key(world: World) -> None:
    world.say(world.came(how="oidc", issuer="https://id.example.com"), 11)


def a_passkey_that_is_a_key(world: World) -> None:
    world.say(world.came(how="passkey"), 11)


def an_authors_key(world: World) -> None:
    world.say(world.came(by={"key": AUTHOR, "person": "p-ana"}), 11)


FORGED = [nobodys_key, another_persons_key, a_removed_key, before_it_was_issued, an_account_that_is_a_key, a_passkey_that_is_a_key, an_authors_key]


@pytest.mark.parametrize("forge", FORGED, ids=lambda forge: forge.__name__)
def test_p10_a_forged_sign_in_is_refused(forge: Callable[[World], None], tmp_path: Path) -> None:
    """Everything is signed and proven; only the entries contradict each other."""
    world = World()
    forge(world)
    world.last()
    vkey = export(world.log, tmp_path)
    verified = cli("verify", "--key", vkey, "--export", tmp_path)
    assert verified.code == 1 and NOT_IN_FORCE in verified.out, verified.err or verified.out
    made = cli("evidence", "--export", tmp_path, "-o", tmp_path / "evidence")
    assert made.code == 1 and NOT_IN_FORCE in made.out + made.err, made.err or made.out


def test_p10_a_sign_in_that_is_not_forged_is_a_row_of_the_evidence(tmp_path: Path) -> None:
    """Also one that was on its way when the key ended."""
    world = World()
    world.say(world.came(), 11)
    world.say(world.gone(), 12)
    world.say(world.came(), 12, 59)
    world.last()
    vkey = export(world.log, tmp_path)
    cli("verify", "--key", vkey, "--export", tmp_path).ok()
    folder = tmp_path / "evidence"
    cli("evidence", "--export", tmp_path, "-o", folder)
    head, *rows = (folder / "policies" / "sign-ins.csv").read_text(encoding="utf-8-sig").splitlines()
    assert head == "index,journal_time,person,how,issuer,key,key_name,seconds"
    assert [row.split(",")[2:] for row in rows] == [["p-ana", "key", "", KEY, "Ana", "60"]] * 2
    figures = (folder / "conclusions.json").read_text()
    assert '"sign_ins_by_key"' in figures
    assert cli("verify", "--evidence", folder, "--key", vkey).code in (0, 4)
    # A row that the entries do not give is refused.
    table = folder / "policies" / "sign-ins.csv"
    table.write_text(table.read_text(encoding="utf-8").replace("p-ana", "p-bob"), encoding="utf-8")
    assert cli("verify", "--evidence", folder, "--key", vkey).code == 1
