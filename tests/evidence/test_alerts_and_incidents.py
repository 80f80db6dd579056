"""P20: alerts and incidents of a period, who closed them and after how long, and what is open at its end: in the folder, and derived again by `verify`."""

from __future__ import annotations

import json
import time
from pathlib import Path

from support import Server, cli, event
from support.asking import policy_folder
from support.deciding import CALL, Deciding
from support.waits import until as wait
from test_availability import rows
from test_hard_periods import make, times, verified
from test_lists_and_retention import edit

POLICY = """language: 1
policy: pay
clauses:
  - {id: all, tool: payments, actions: [transfer], then: allow}
  - id: thief
    tool: payments
    when: {params: {/reference: {one_of: [steal]}}}
    then: deny
    alert: theft
"""


def test_p20_p19_alerts_and_incidents_are_listed(tmp_path: Path) -> None:
    """What was open before the period, closed in it, raised in it, and is open at its end."""
    with Server(tmp_path / "server") as server:
        desk = Deciding(server)
        desk.activate(policy_folder(tmp_path / "policies", POLICY))
        carla = desk._client("responder", "p-carla")
        publisher = server.as_("publisher")

        def alerts() -> list[int]:
            return [alert["index"] for alert in carla.get("/alerts").json()["alerts"]]

        def steals(count: int) -> None:
            desk.told(params=CALL | {"reference": "steal"})
            wait("an alert", lambda: len(alerts()) == count)

        def post(path: str, **body: object) -> int:
            answer = carla.http.post(f"{carla.t}{path}", json={"reason": "A drill."} | body)
            assert answer.status_code == 200, answer.text
            return int(answer.json()["index"])

        steals(1)
        steals(2)
        early, first = alerts()
        post(f"/alerts/{early}/close")
        old = post("/incidents", entries=[first])
        publisher.publish(event())
        since = times(server)[-1]
        publisher.publish(event())
        began = time.monotonic()
        time.sleep(1.1)  # so that the seconds to close are not none
        closed = post(f"/alerts/{first}/close")
        took = time.monotonic() - began
        steals(1)
        (second,) = alerts()
        post(f"/incidents/{old}/notes", entries=[second, closed])
        ended = post(f"/incidents/{old}/close")
        new = post("/incidents")
        publisher.publish(event())
        until = times(server)[-1]
        publisher.publish(event())
        # What comes after the period changes nothing in it.
        post(f"/alerts/{second}/close")
        post(f"/incidents/{new}/close")
        out = tmp_path / "e"
        make(server, out, "--from", since, "--to", until).ok()
        told = rows(out, "operation/alerts.csv")
        assert [(row["index"], row["name"], row["clause"], row["id"], row["producer"], row["state"], row["close_index"], row["closed_person"]) for row in told] == [
            (str(first), "theft", "pay/thief", "payments-bot", "gw-1", "closed", str(closed), "p-carla"),
            (str(second), "theft", "pay/thief", "payments-bot", "gw-1", "open", "", ""),
        ]  # fmt: skip
        assert 1 <= int(told[0]["seconds_to_close"]) <= took + 60 and told[0]["raised"] < since <= told[0]["closed"]
        listed = rows(out, "operation/incidents.csv")
        assert [(row["index"], row["messages"], row["entries"], row["state"], row["close_index"], row["opened_person"], row["closed_person"]) for row in listed] == [
            (str(old), "3", "3", "closed", str(ended), "p-carla", "p-carla"), (str(new), "1", "0", "open", "", "p-carla", ""),
        ]  # fmt: skip
        figures = {figure["name"]: figure["count"] for figure in json.loads((out / "conclusions.json").read_text())["figures"]}
        names = ("alerts_raised", "alerts_closed", "alerts_open", "incidents_opened", "incidents_closed", "incidents_open")
        assert [figures[name] for name in names] == [1, 1, 1, 1, 1, 1]
        verified(server, out)
        # A changed row is found, though the manifest is made to fit.
        edit(out / "operation/alerts.csv", ",open,", ",closed,")
        refused = cli("verify", "--key", server.vkey, "--evidence", out)
        assert refused.code == 1 and "operation/alerts.csv" in refused.out
