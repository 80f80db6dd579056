"""P20: hostile text in every field that a producer, an agent, an author, an admin or a reviewer fills in stays text: in the page, in
tables, in README.txt and in a terminal."""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from support import Server, cli, event
from support.asking import policy_folder
from support.binary import Finished
from support.deciding import CALL, PEOPLE, RULES, Deciding
from support.desk import Desk
from support.fresh_counter import Counted

#: What a spreadsheet, a page, a template or a reader of text would take for something else. Plain fields hold no control characters.
TEXT = "=1+1\u202e</td></li></p><script>alert(1)</script><img src=x onerror=alert(1)>\"'`${7*7}{{7*7}}{% raw %}\u200b,;"
#: Payload and reasons hold line breaks, payload every character.
LINES = "=cmd|' /C calc'!A0\n  verified: everything\n- [x] ](javascript:alert(1))\u202e"
PAYLOAD = LINES + "\r\n\t\x1b[2J\x1b]0;gone\x07\x00\x9b31m\u2028\ufeff"
#: A rule's name has at most 64 bytes.
NAME = "@SUM(A1)\u202e</li><script>alert(1)</script>"
FIELDS: list[dict[str, Any]] = [
    {"source": TEXT}, {"id": TEXT}, {"subject": TEXT}, {"data": {"agent": {"id": TEXT, "run": TEXT, "chain": [TEXT, TEXT]}}},
    {"data": {"tool": {"name": TEXT, "action": TEXT}}}, {"data": {"reason": {"code": TEXT}}},
    {"data": {"policy": {"id": TEXT, "version": TEXT, "digest": TEXT}}}, {"data": {"labels": {"x": TEXT, "purpose": TEXT}}},
    {"data": {"labels": {TEXT: "x"}}}, {"data": {"cost": {"amount": "1.00", "currency": TEXT}}}, {"data": {"call": {"digest": TEXT}}},
    {"data": {"mode": TEXT}}, {"payload": {"params": {PAYLOAD: PAYLOAD}, "owner": PAYLOAD, "subjects": [PAYLOAD], "classes": [PAYLOAD]}},
    {"payload": {"params": PAYLOAD}}, {"payload": {"reason": PAYLOAD}}, {"type": "dev.countersign.execution.v1", "data": {"status": TEXT}},
]  # fmt: skip
POLICY = f"""language: 1
policy: bound
clauses:
  - id: below
    agents: ["@finance-bots"]
    tool: payments
    actions: [transfer]
    when: {{amount: {{minor: /amount, currency: /currency, at_most: {{EUR: 100}}}}}}
    then: deny
    message: {json.dumps(TEXT)}
"""


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path, Finished]]:
    """A log full of it, its evidence, and what the command said."""
    root = tmp_path_factory.mktemp("hostile")
    with Server(root / "server") as server:
        desk = Deciding(server)
        publisher = server.as_("publisher")
        for over in FIELDS:
            publisher.publish(event(**over))
        rules = RULES.replace('"policies"', json.dumps(NAME, ensure_ascii=False))
        desk.write(rules.replace("of = \"policy\"}", "of = \"policy\"}\nunreviewed = true", 1), PEOPLE)
        server.remote("rules apply", "--config", server.config, "--tenant", "acme", "--reason", LINES).ok()
        answer = desk.propose(policy_folder(root / "one", POLICY), comment=LINES)
        assert answer.status_code == 201, answer.text
        desk.told(params=CALL)
        server.admin.add_key(["publisher"], "gw-2", name=TEXT)
        waiting = Desk.ask(desk, {PAYLOAD: PAYLOAD}, data={"agent": {"id": TEXT, "run": TEXT}, "tool": {"name": TEXT, "action": TEXT}})
        desk.wait_for(waiting, "requested")
        approval = desk.approval(waiting)
        body = {"decision": "deny", "digest": approval["call"]["digest"], "version": approval["version"], "comment": LINES}
        reviewer = desk.reviewer("p-bob")
        assert reviewer.http.post(f"{reviewer.t}/approvals/{waiting}/reviews", json=body).status_code == 200
        desk.wait_over(waiting)
        index = publisher.publish(event(payload={"params": PAYLOAD}))[0]["index"]
        server.remote("erase", "--tenant", "acme", index, "--reason", LINES).ok()
        server.remote("key rotate", "--tenant", "acme", "--use", "token", "--reason", LINES).ok()
        publisher.publish(event())
        key = server.add_key(["auditor", "exporter", "discloser"])
        publisher.publish(event())
        options = ["--disclose", "all", "--auditor-seed", TEXT, "--samples", 100]
        done = server.remote("evidence", "--tenant", "acme", "-o", root / "e", *options, key=key).ok()
        yield server, root / "e", done


def hidden(text: str) -> set[str]:
    """Characters that are not seen, or change what is seen around them; line feeds are fine."""
    return {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp", "Co", "Cn") and c != "\n"}


Hostile = tuple[Server, Path, Finished]


def test_p20_hostile_text_in_every_field_verifies(hostile: Hostile) -> None:
    """Nothing of it is lost: the evidence verifies, and a fresh counter comes to the same numbers."""
    server, folder, _ = hostile
    cli("verify", "--key", server.vkey, "--evidence", folder).ok()
    counted = Counted(folder, server.vkey)
    said = json.loads((folder / "conclusions.json").read_bytes())
    assert next(one["count"] for one in said["figures"] if one["name"] == "decisions") == counted.verdicts().total() >= 14


def test_p20_hostile_text_in_a_terminal(hostile: Hostile) -> None:
    """What the commands print has no escape sequence, no hidden character, and no line that a text of somebody else begins."""
    server, folder, made = hostile
    checked = cli("verify", "--key", server.vkey, "--evidence", folder)
    for said in (made.out, made.err, checked.out, checked.err, (folder / "README.txt").read_text(), (folder / "not-checked.txt").read_text()):
        assert not hidden(said), said
        assert not re.search(r"^\s*(verified: everything|- \[x\])", said, re.M), said


def test_p20_hostile_text_in_the_page(hostile: Hostile) -> None:
    """The page has the tags and attributes that it always has, and links to files of the folder alone."""
    _, folder, _ = hostile
    page = (folder / "report.html").read_text()
    seen: set[str] = set()
    links: set[str] = set()

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
            seen.add(tag)
            for name, value in attributes:
                assert not name.startswith("on"), (tag, name)
                if name in ("href", "src"):
                    links.add(str(value))

    Tags(convert_charrefs=True).feed(page)
    assert not seen & {"script", "img", "iframe", "form", "object", "base", "link"}, seen
    assert all((folder / link).is_file() for link in links), links
    assert not hidden(page) and "\\u{202e}" in page


def test_p20_hostile_text_in_tables(hostile: Hostile) -> None:
    """Every row has as many cells as its head; no cell is a formula; what is hidden is shown by number."""
    _, folder, _ = hostile
    everything = ""
    for path in folder.rglob("*.csv"):
        text = path.read_bytes().decode("utf-8-sig")
        table = list(csv.reader(io.StringIO(text, newline=""), strict=True))
        for row in table:
            assert len(row) == len(table[0]), (path, row)
            for cell in row:
                assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n")), (path, cell)
                assert not hidden(cell), (path, cell)
        everything += text
    for text in (TEXT, NAME):
        assert text.replace('"', '""').replace("\u202e", "\\u{202e}").replace("\u200b", "\\u{200b}") in everything, text


def test_p20_hostile_text_in_json(hostile: Hostile) -> None:
    """Every JSON file is one, and no name in the folder comes from a text of somebody else."""
    _, folder, _ = hostile
    for path in folder.rglob("*.json"):
        json.loads(path.read_bytes())
    for path in folder.rglob("*"):
        assert re.fullmatch(r"[A-Za-z0-9._-]+", path.name), path
