"""P16: the disk of the spool is full. Nothing that was told is lost, and verdicts are recorded before they are told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from support import Server, until
from support.asking import policy_folder
from support.deciding import Deciding, question

READS = """language: 1
policy: p
clauses:
  - {id: reads, agents: ["@finance-bots"], tool: payments, actions: [list], then: allow, record: later}
  - {id: pays, agents: ["@finance-bots"], tool: payments, actions: [transfer, payout], then: allow}
"""


def ask(desk: Deciding) -> dict[str, Any]:
    """One question about a reading call, and its answer."""
    asked = question(tool={"name": "payments", "action": "list"}, params={"all": False}, context={"purpose": "support"})
    return {"asked": asked["id"]} | desk.ask(asked).json()


def test_p16_a_full_disk_of_the_spool(small_disk: Path, tmp_path: Path) -> None:
    """Told early while there is room; recorded first when there is none, and health says why; early again after a restart."""
    ballast = small_disk / "ballast"
    with Server(tmp_path / "server", spool_dir=small_disk / "spool") as server:
        desk = Deciding(server)
        desk.activate(policy_folder(tmp_path / "reads", READS))
        answers = [ask(desk) for _ in range(5)]
        assert all(answer.get("recorded") is False for answer in answers), "with room they are told early"
        ballast.write_bytes(bytes(shutil.disk_usage(small_disk).free))
        # What is left of the last page still takes some.
        for _ in range(200):
            answers.append(ask(desk))
            if "recorded" not in answers[-1]:
                break
        else:
            raise AssertionError("the disk of the spool never filled up")
        later = [ask(desk) for _ in range(5)]
        assert all("index" in answer["decision"] and "recorded" not in answer for answer in later), later
        answers += later
        assert all(answer["verdict"] == "allow" for answer in answers), "work still gets done"
        said = server.client(server.operator_key).http.get("/healthz").json()
        assert said["status"] == "red" and "spool" in str(said), said
        ballast.unlink()
        server.stop()
        server.start()
        desk.gateway = server.client(desk.gateway.key)
        answers.append(ask(desk))
        assert answers[-1].get("recorded") is False, "with room again they are told early"

        def recorded() -> list[str]:
            entries = (json.loads(leaf) for _, leaf in server.admin.feed())
            return sorted(e["event"]["id"] for e in entries if e["kind"] == "decision" and e["producer"] == "gw-1")

        until("all of them are in the log, each once", lambda: recorded() == sorted(answer["asked"] for answer in answers))
        server.stop()
        server.fsck().ok()
