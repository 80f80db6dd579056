"""P19: people collect alerts, freezes, other entries and notes under one name; the export of it verifies offline, and what is changed in it is found."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from support import Server, cli
from support.asking import policy_folder
from support.client import Client
from support.deciding import CALL, Deciding
from support.waits import until

#: Every transfer is allowed; one to a thief is denied, and raises an alert.
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
#: Most messages of one incident, the last of which closes it; most entries that they name; most that are open.
MESSAGES_MAX, NAMED_MAX, NAMED_ALL_MAX, OPEN_MAX = 256, 64, 256, 64


class Desk(Deciding):
    """A tenant with a policy, and Carla as its responder."""

    def begin(self) -> None:
        """Carla's key."""
        self.carla = self._client("responder", "p-carla")

    def remote(self, key: str = "responder p-carla") -> tuple[str, ...]:
        """Arguments of a command."""
        return ("--tenant", "acme", "--server", self.server.url, "--api-key-file", self.server.key_file(self.keys[key]))

    def post(self, path: str, by: Client | None = None, **body: Any) -> httpx.Response:
        """`POST T/incidents…`"""
        by = by or self.carla
        return by.http.post(f"{by.t}/incidents{path}", json={"reason": "A drill."} | body)

    def opened(self, **body: Any) -> int:
        """Opens an incident."""
        answer = self.post("", **body)
        assert answer.status_code == 200, answer.text
        return int(answer.json()["index"])

    def messages(self, incident: int) -> list[dict[str, Any]]:
        """The entries of an incident, from the feed."""
        entries = [(index, json.loads(leaf)["event"]) for index, leaf in self.server.admin.feed(kind="incident")]
        return [event for index, event in entries if index == incident or event.get("incident") == incident]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """The policy is in force."""
    with Server(tmp_path / "server") as server:
        desk = Desk(server)
        desk.activate(policy_folder(tmp_path / "policies", POLICY))
        desk.begin()
        yield desk


def test_p19_an_incident_is_collected_exported_and_verified_offline(desk: Desk, tmp_path: Path) -> None:
    """By the command line: an alert, a freeze and a decision, notes, an end; the file proves all of it, and is the same twice."""
    denied = int(desk.told(params=CALL | {"reference": "steal"})["decision"]["index"])
    alert = until("the alert", lambda: desk.carla.get("/alerts").json()["alerts"])[0]["index"]
    allowed = int(desk.told(params=CALL | {"reference": "plain"})["decision"]["index"])
    frozen = desk.carla.http.post(f"{desk.carla.t}/freezes", json={"scope": "agent", "id": "payments-bot", "reason": "Stop."}).json()["index"]
    remote = desk.remote()
    opened = json.loads(cli("incident", "open", *remote, "--json", "--reason", "payments to a wrong payee", "--entry", str(alert), "--entry", str(frozen)).ok().out)
    incident = opened["index"]
    assert f"noted by entry {incident + 2}" in cli("incident", "note", *remote, "--reason", "the vendor was called", "--entry", str(allowed), str(incident)).ok().out
    assert f"{incident}  since" in cli("incident", "list", *remote).ok().out
    closed_alert = desk.carla.http.post(f"{desk.carla.t}/alerts/{alert}/close", json={"reason": "seen"}).json()["index"]
    assert "is closed by entry" in cli("incident", "close", *remote, "--reason", "repaired, ticket 4711", str(incident)).ok().out
    assert "no incident is open" in cli("incident", "list", *remote).ok().out
    ops = [json.loads(line)["event"]["op"] for line in cli("incident", "list", *remote, "--all").ok().out.splitlines()]
    assert ops == ["open", "note", "close"]
    assert [(event["op"], event.get("n"), event["by"]["person"]) for event in desk.messages(incident)] == [("open", None, "p-carla"), ("note", 2, "p-carla"), ("close", 3, "p-carla")]

    file = tmp_path / "incident.ndjson"
    file.write_text(cli("incident", "export", *remote, str(incident)).ok().out)
    parts = {part["index"]: part for part in map(json.loads, file.read_text().splitlines()[1:])}
    kinds = {index: (part["part"], part["entry"]["kind"]) for index, part in parts.items()}
    expected = {
        denied: ("shows", "decision"), alert: ("named", "alert"), allowed: ("named", "decision"), frozen: ("named", "freeze"), closed_alert: ("end", "alert"),
        incident: ("message", "incident"), incident - 1: ("words", "evidence"), incident + 2: ("message", "incident"), incident + 1: ("words", "evidence"),
    }  # fmt: skip
    assert expected.items() <= kinds.items() and len(kinds) == len(expected) + 2, kinds
    assert all((part["disclosures"] != []) == (part["part"] == "words") for part in parts.values())

    verified = json.loads(cli("verify", "--key", desk.server.vkey, "--json", "--incident", file).ok().out)["items"][0]
    assert verified["open"] is False and "later_messages" not in verified["not_checked"]
    assert [message["words"] for message in verified["messages"]] == ["payments to a wrong payee", "the vendor was called", "repaired, ticket 4711"]
    told = cli("verify", "--key", desk.server.vkey, "--incident", file).ok().out
    assert "incident" in told and "repaired, ticket 4711" in told and "not checked" in told
    # A later export is the same bytes; the log has grown by the reading of words.
    desk.told(params=CALL | {"reference": "plain"})
    assert cli("incident", "export", *remote, str(incident)).ok().out == file.read_text()
    reads = [event for event in (json.loads(leaf)["event"] for _, leaf in desk.server.admin.feed(kind="access")) if event["op"] == "read"]
    assert {event["from"] for event in reads} >= {incident - 1, incident + 1} and all(event["by"]["person"] == "p-carla" for event in reads)
    # A key that is a discloser too also gets the payload of what is named.
    desk.keys["both"] = desk.server.add_key(["auditor", "discloser"])
    more = tmp_path / "more.ndjson"
    more.write_text(cli("incident", "export", *desk.remote("both"), str(incident)).ok().out)
    shown = {part["index"]: part["disclosures"] for part in map(json.loads, more.read_text().splitlines()[1:])}
    assert any('"steal"' in line for line in shown[denied]) and parts[denied]["disclosures"] == []
    cli("verify", "--key", desk.server.vkey, "--incident", more).ok()
    # The whole log agrees, on the same machine and on another.
    cli("verify", "--key", desk.server.vkey, "--incident", file, "--export", desk.export(tmp_path / "export")).ok()
    desk.server.restart(kill=True)
    assert desk.server.admin.get("/incidents").json() == {"opened": 1, "open": 0, "incidents": []}
    desk.server.stop()
    desk.server.fsck().ok()


def test_p19_an_incident_is_only_for_who_may_keep_it_and_bounded(desk: Desk) -> None:
    """Roles, words, indexes, numbers: what does not fit is refused before anything is written, and work goes on."""
    assert desk.post("", desk.gateway).status_code == 403
    assert desk.post("", reason="").status_code == desk.post("", reason=None).status_code == 400
    assert desk.post("", entries=[10**9]).status_code == desk.post("", entries=list(range(NAMED_MAX + 1))).status_code == 400
    assert desk.post("/0/notes").status_code == desk.post("/1000000/close").status_code == 404
    assert desk.carla.get("/incidents/0").status_code == 404
    incident = desk.opened(entries=[2, 1, 2])
    assert desk.messages(incident)[0]["entries"] == [1, 2]
    # Many at once: each gets its number, none is lost.
    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(lambda n: desk.post(f"/{incident}/notes", entries=[n]).status_code, range(24)))
    assert codes == [200] * 24 and [event["n"] for event in desk.messages(incident)[1:]] == list(range(2, 26))
    full = desk.opened(entries=list(range(NAMED_MAX)))
    for _ in range(NAMED_ALL_MAX // NAMED_MAX - 1):
        assert desk.post(f"/{full}/notes", entries=list(range(NAMED_MAX))).status_code == 200
    refused = desk.post(f"/{full}/notes", entries=[1])
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert desk.post(f"/{full}/notes").status_code == 200, "words still fit"
    assert desk.post(f"/{full}/close").status_code == 200
    assert desk.post(f"/{full}/close").status_code == desk.post(f"/{full}/notes").status_code == 409
    for _ in range(OPEN_MAX - 1):
        desk.opened()
    assert desk.post("").status_code == 409
    assert desk.post(f"/{incident}/close").status_code == 200
    desk.opened()
    assert desk.server.admin.entries(kind="rejected") == []
    desk.server.stop()
    desk.server.fsck().ok()


def test_p19_a_long_incident_is_exported_by_pages_of_one_checkpoint(desk: Desk, tmp_path: Path) -> None:
    """More parts than a page has: every receipt is of one checkpoint, though reading writes entries meanwhile. An open one says what is not checked."""
    incident = desk.opened(entries=list(range(10)))
    for n in range(60):
        assert desk.post(f"/{incident}/notes", reason=f"Note {n}").status_code == 200
    file = tmp_path / "incident.ndjson"
    file.write_text(cli("incident", "export", *desk.remote(), str(incident)).ok().out)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert lines[0]["parts"] == len(lines) - 1 == 132
    assert len({line["receipt"].partition("\n\n")[2] for line in lines[1:]}) == 1
    verified = json.loads(cli("verify", "--key", desk.server.vkey, "--json", "--incident", file).ok().out)["items"][0]
    assert verified["open"] is True and "later_messages" in verified["not_checked"] and len(verified["messages"]) == 61


def test_p11_words_of_an_incident_are_erased_and_the_rest_still_verifies(desk: Desk, tmp_path: Path) -> None:
    """The words go, their entries stay: the export verifies without them."""
    incident = desk.opened(reason="Ann was there.")
    words = desk.messages(incident)[0]["reason"]["index"]
    assert desk.server.admin.erase(words)["status"] == "complete"
    file = tmp_path / "incident.ndjson"
    file.write_text(cli("incident", "export", *desk.remote(), str(incident)).ok().out)
    assert "Ann was there." not in file.read_text()
    assert "words not disclosed" in cli("verify", "--key", desk.server.vkey, "--incident", file).ok().out


Lines = list[dict[str, Any]]
FORGED: dict[str, tuple[Callable[[Lines], Any], str]] = {
    "a note is left out": (lambda lines: [lines.remove(line) for line in lines[1:] if line["entry"].get("event", {}).get("op") == "note"] and lines[0].update(parts=lines[0]["parts"] - 1), "not the next message"),
    "the end is cut": (lambda lines: lines.pop() and None, "parts"),
    "the words of another note": (lambda lines: _words(lines), "digest"),
    "an entry was changed": (lambda lines: lines[1]["entry"].update(tenant="other"), "not the one that its receipt proves"),
    "a named entry is left out": (lambda lines: lines.remove(lines[1]) or lines[0].update(parts=lines[0]["parts"] - 1), "is missing"),
    "another size": (lambda lines: lines[0].update(size=lines[0]["size"] + 1), "first line names"),
    "another incident": (lambda lines: lines[0].update(incident=lines[0]["incident"] + 1), "missing"),
    "a part is called something else": (lambda lines: lines[1].update(part="shows"), "which it is not"),
    "not in order": (lambda lines: lines.append(lines.pop(1)), "not in order"),
    "an unknown member": (lambda lines: lines[1].update(more=1), "not a part"),
}  # fmt: skip


def _words(lines: Lines) -> None:
    first, second = [line for line in lines[1:] if line["part"] == "words"][:2]
    first["disclosures"], second["disclosures"] = second["disclosures"], first["disclosures"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """An incident of three messages: its lines, and the log's key."""
    root = tmp_path_factory.mktemp("incident")
    with Server(root / "server") as server:
        desk = Desk(server)
        desk.begin()
        incident = desk.opened(entries=[0, 1])
        desk.post(f"/{incident}/notes", reason="It goes on.").raise_for_status()
        desk.post(f"/{incident}/close", reason="It is over.").raise_for_status()
        return cli("incident", "export", *desk.remote(), str(incident)).ok().out, server.vkey


@pytest.mark.parametrize("name", FORGED)
def test_p19_a_changed_export_of_an_incident_is_refused(name: str, exported: tuple[str, str], tmp_path: Path) -> None:
    """What is left out, exchanged or renamed is found with the log's public key alone."""
    text, vkey = exported
    file = tmp_path / "incident.ndjson"
    file.write_text(text)
    cli("verify", "--key", vkey, "--incident", file).ok()
    forge, said = FORGED[name]
    lines = [json.loads(line) for line in text.splitlines()]
    forge(lines)
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    verified = cli("verify", "--key", vkey, "--incident", file)
    assert verified.code == 1 and said in verified.out, verified.err or verified.out
