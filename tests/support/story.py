"""One story for every test of evidence, with exceptions that a reader must find."""

from __future__ import annotations

import base64
import json
from datetime import datetime
from pathlib import Path
from typing import Any

from .asking import bounded
from .deciding import CALL, RULES, Deciding
from .desk import approval_id, now_text, paused
from .events import EXECUTION, event, new_id
from .house import Paused
from .rfc6962 import leaf_hash
from .server import Server
from .waits import until

#: Text that a spreadsheet, a page or a terminal would take for something else.
HOSTILE = '=HYPERLINK("http://x","y")</td><script>alert(1)</script>\u202e'
#: How pages and tables show it: what is hidden is shown by number.
SHOWN = HOSTILE.replace("\u202e", "\\u{202e}")


class Story:
    """What happened, and where the log is."""

    def __init__(self, root: Path) -> None:
        self.server = Server(root / "server").__enter__()
        self.desk = Deciding(self.server)
        self.publisher = self.server.as_("publisher")
        self.planted: dict[str, int] = {}
        self.key = self.server.add_key(["auditor", "exporter", "discloser"])

    def tell(self) -> None:
        """Everything, in order. Fills `planted`: exceptions by code, with the leaf that shows each."""
        desk, root = self.desk, self.server.root
        self.declare()
        desk.activate(bounded(root / "one", 100_000))
        for amount in (1, 20, 99_000, 100_001, 200_000):
            desk.told(params=CALL | {"amount": amount})
        self.publisher.publish(*(event(source="/e", sequence=str(n), data={"verdict": v, "agent": {"id": f"bot-{n % 3}"}})
                                 for n, v in enumerate(["allow", "deny", "sanitize"] * 100) if n != 7))  # fmt: skip
        self.publisher.publish(event(data={"agent": {"id": HOSTILE}, "tool": {"name": HOSTILE, "action": "x"}}))
        self.good = self.elevated(approve=True)
        self.planted["executed_without_approval"] = self.elevated(approve=False)
        desk.write(RULES.replace('quorum = {at_least = 1, of = "policy"}', 'quorum = {at_least = 1, of = "policy"}\nunreviewed = true', 1),
                   [{"id": "p-ana", "name": "Ana", "groups": ["policy", "finance"]}, {"id": "p-bob", "name": "Bob", "groups": ["policy", "finance"]}])  # fmt: skip
        desk.apply()
        proposed = desk.propose(bounded(root / "two", 40_000)).json()
        until("in force", lambda: (desk.status()["in_force"] or {}).get("version") == proposed["version"])
        activation = [i for i, leaf in self.server.admin.feed(kind="policy") if json.loads(leaf)["event"]["op"] == "activate"][-1]
        self.planted["unreviewed_policy"] = activation
        for amount in (1, 50_000, 99_000):
            desk.told(params=CALL | {"amount": amount})
        self.planted["missing"] = self.planted["silent_source"] = -1
        self.erased = self.publisher.publish(event(source="/erased"))[0]["index"]
        assert self.server.admin.erase(self.erased)["status"] == "complete"
        # From the declaration to here more than a second passed, so the source that never reports was silent.
        until("a second passed", self.a_second_after_the_declaration)
        self.end = self.last_time()
        self.publisher.publish(event(source="/after"))

    def declare(self) -> None:
        """Two sources that must report: one does, the other one never says anything."""
        admin = self.server.admin
        sources = [{"producer": "gw-1", "source": source, "title": f"Gateway {source}", "owner": "p-ana", "silent_after": after}
                   for source, after in (("/e", 86_400), ("/never", 1))]  # fmt: skip
        declared = admin.http.post(f"{admin.t}/sources", json={"sources": sources, "reason": "For the test."})
        assert declared.status_code == 200, declared.text

    def a_second_after_the_declaration(self) -> bool:
        """Whether the log's time says so; publishes an event, because only entries make it pass."""
        self.publisher.publish(event(source="/e3"))
        (entry,) = self.server.admin.entries(kind="sources")
        seconds = [datetime.fromisoformat(at[:26] + "+00:00") for at in (entry["journal"]["time"], self.last_time())]
        return (seconds[1] - seconds[0]).total_seconds() > 1.5

    def elevated(self, approve: bool) -> int:
        """A call that people must approve, and that is executed. Returns the leaf index of its decision."""
        made = paused("acme", source="/e2", data={"agent": {"id": "payments-bot"}})
        index = self.publisher.publish(made)[0]["index"]
        approval = approval_id("acme", "gw-1", made)
        gateway = self.desk.gateway
        if approve:
            until("asked", lambda: gateway.get(f"/approvals/{approval}").status_code == 200)
            assert self.desk.review(approval, "p-bob").status_code == 200
            token = gateway.http.post(f"{gateway.t}/approvals/{approval}/token").json()["token"]
            body = {"token": token, "redemption_id": new_id("r"), "call": Paused(approval, made).call}
            redeemed = gateway.http.post(f"{gateway.t}/tokens/redeem", json=body)
            assert redeemed.status_code == 200, redeemed.text
            return index
        self.report(index)
        return index

    def report(self, index: int) -> None:
        """A gateway says that it carried out a decision."""
        leaf = dict(self.server.admin.feed(kind="decision"))[index]
        decision = {"index": index, "leaf_hash": base64.b64encode(leaf_hash(leaf)).decode()}
        self.publisher.publish({"specversion": "1.0", "id": new_id("x"), "source": "/e2", "type": EXECUTION, "time": now_text(),
                                "data": {"decision": decision, "status": "completed"}})  # fmt: skip

    def last_time(self) -> str:
        """`journal.time` of the last entry."""
        _, leaf = list(self.server.admin.feed())[-1]
        return json.loads(leaf)["journal"]["time"]

    def make(self, folder: Path, *args: object, **options: Any) -> Any:
        """`countersign evidence` over the server."""
        return self.server.remote("evidence", "--tenant", "acme", "-o", folder, *args, key=self.key, **options)
