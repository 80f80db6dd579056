"""P19, P20: what left to a SIEM by which sink, what the receiver refused, and that it stood still: in the folder, and derived again by `verify`."""

from __future__ import annotations

import json
from pathlib import Path

from support import Server, cli, event
from support.receivers import SECRET, Collector
from support.waits import until
from test_availability import rows
from test_hard_periods import make, verified
from test_lists_and_retention import edit


def test_p20_p19_deliveries_are_listed(tmp_path: Path) -> None:
    """One record is refused, then the receiver is away for a while. The rows are those of the log's entries, and say no more."""
    receiver = Collector().start()
    receiver.poison = lambda record: record["index"] == 3
    (secret := tmp_path / "secret").write_text(SECRET + "\n")
    secret.chmod(0o600)
    sink = {"tenant": "acme", "kind": "http", "url": f"{receiver.url}/in", "secret_file": secret, "alarm_after_seconds": 2}
    with Server.ready(tmp_path / "server", sections={"sink.siem": sink}) as server:
        publisher = server.as_("publisher")

        def stands(state: str) -> bool:
            (one,) = server.admin.get("/sinks").json()["sinks"]
            return bool(one["state"] == state and (state != "delivers" or one["lag"]["entries"] == 0))

        publisher.publish(*(event() for _ in range(5)))
        until("all to arrive", lambda: stands("delivers"))
        receiver.stop()
        publisher.publish(*(event() for _ in range(5)))
        until("it to stand still", lambda: stands("stands_still"))

        def said() -> list[dict[str, object]]:
            return [{"index": index} | json.loads(leaf)["event"] for index, leaf in server.admin.feed(kind="delivery")]

        # At most one such entry a minute.
        until("it to say that it stands still", lambda: said()[-1]["state"] == "stands_still", 180)
        publisher.publish(event())
        out = tmp_path / "e"
        make(server, out).ok()
        (last,) = [row for row in rows(out, "operation/deliveries.csv")][-1:]
        told = [
            (row["index"], row["sink"], row["state"], row["level"], row["from_entry"], row["below_entry"], row["taken"], row["refused"])
            for row in rows(out, "operation/deliveries.csv")
        ]
        listed = [one for one in said() if int(str(one["index"])) <= int(last["index"])]
        assert told == [
            (str(one["index"]), "siem", one["state"], "accepted", str(one["from"]), str(one["to"]), str(one["count"]), " ".join(map(str, one["refused"])))  # type: ignore[call-overload]
            for one in listed
        ]
        assert [row[2] for row in told] == ["starts", "stands_still"]
        assert [row[7] for row in told if row[7]] == ["3"], "what was refused is named once"
        assert "not in use" not in (report := (out / "report.html").read_text()) and "<td>http, native</td><td>accepted</td>" in report
        assert '<b class="bad">stands still</b>' in report
        verified(server, out)
        # A changed row is found, though the manifest is made to fit.
        edit(out / "operation/deliveries.csv", ",accepted,", ",acknowledged,")
        refused = cli("verify", "--key", server.vkey, "--evidence", out)
        assert refused.code == 1 and "operation/deliveries.csv" in refused.out
