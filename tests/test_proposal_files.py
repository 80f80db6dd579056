"""P13, P17: what is wrong with a proposal is told by file, line and column; it is refused before anything of it is recorded."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support import Server
from support.deciding import PAYMENTS, Deciding

FILE_BYTES_MAX = 192 * 1024
FILES_MAX = 256


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deciding]:
    """A tenant without policies; sound at the end, or the module fails."""
    with Server(tmp_path_factory.mktemp("desk") / "server") as server:
        desk = Deciding(server)
        desk.author()
        yield desk
        server.stop()
        server.fsck().ok()


def files(**changed: str | None) -> list[dict[str, str]]:
    """The files of the payments example without its tests; `name=text` replaces or adds `policies/<name>.yaml`, `None` leaves one
    out; `agents=`, `tools=`: those files."""
    paths = {"agents": "agents.yaml", "tools": "tools.yaml"}
    found = {p.stem: (str(p.relative_to(PAYMENTS)), p.read_text()) for p in PAYMENTS.rglob("*.yaml") if p.parent.name != "tests"}
    for name, text in changed.items():
        found[name] = (paths.get(name, f"policies/{name}.yaml"), text or "")
    return [{"path": path, "content": text} for name, (path, text) in found.items() if changed.get(name, "") is not None]


def policy(name: str, more: str = "") -> str:
    """A policy that denies something."""
    return f"language: 1\npolicy: {name}\nclauses:\n  - {{id: never, tool: payments, actions: [list], then: deny}}\n{more}"


def propose(desk: Deciding, given: Any) -> httpx.Response:
    """`POST T/policies` with these files."""
    author = desk.author()
    return author.http.post(f"{author.t}/policies", json={"files": given, "comment": "For the test."})


def refused(desk: Deciding, given: Any, statuses: tuple[int, ...] = (422,)) -> str:
    """A proposal that is refused; nothing of it is recorded. Returns what it is told."""
    size, versions = desk.server.admin.size(), len(desk.status()["versions"])
    answer = propose(desk, given)
    if answer.status_code == 201:
        cancel(desk, answer.json())
    assert answer.status_code in statuses, f"{answer.status_code} {answer.text[:400]}"
    assert len(desk.status()["versions"]) == versions, f"refused, and recorded as a version all the same: {answer.text[:400]}"
    kinds = [entry["kind"] for entry in desk.server.admin.entries()][size:]
    assert kinds == [], f"refused, and recorded all the same: {kinds}: {answer.text[:400]}"
    return str(answer.json()["detail"])


def accepted(desk: Deciding, given: Any) -> dict[str, Any]:
    """A proposal that people are asked about. It is cancelled."""
    answer = propose(desk, given)
    assert answer.status_code == 201, answer.text[:600]
    proposed = answer.json()
    assert proposed["approval"]["state"] == "pending", proposed
    cancel(desk, proposed)
    return proposed


def cancel(desk: Deciding, proposed: dict[str, Any]) -> None:
    """Ends the approval of a proposal. At most 20 may be pending."""
    admin = desk.server.admin
    answer = admin.http.post(f"{admin.t}/approvals/{proposed['approval']['id']}/cancel", json={"reason": "mistake"})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"payments": "language: 1\npolicy: p\nclauses:\n  - id: a\n    tool: payments\n    then: perhaps\n"}, ["policies/payments.yaml:6:11: "]),
        ({"payments": "language: 1\npolicy: p\nclauses:\n  - {id: a, tool: nothing, then: deny}\n"}, ["policies/payments.yaml:4:5: a: tools.yaml has no tool"]),
        ({"payments": "language: 1\npolicy: p\nclauses: [\n"}, ["policies/payments.yaml:4:1: not YAML"]),
        ({"payments": "just text"}, ["policies/payments.yaml:1:1: "]),
        ({"payments": ""}, ["policies/payments.yaml:1:1: "]),
        ({"payments": "\ufefflanguage: 1\n"}, ["policies/payments.yaml:1:1: "]),
        ({"payments": "language: 2\npolicy: p\n"}, ["policies/payments.yaml:1:1: this program reads"]),
        ({"payments": policy("p", "extra: 1\n")}, ["policies/payments.yaml:5:1: "]),
        ({"payments": policy("p", "title: no\n")}, ["policies/payments.yaml:5:8: "]),
        ({"other": policy("payments")}, ["policies/payments.yaml:5:9: another file is the policy"]),
        ({"other": policy("o") * 2}, ["policies/other.yaml:5:1: "]),
        ({"payments": None}, ["policies", "add a policy"]),
        ({"agents": None}, ["agents.yaml:1:1: this file is missing"]),
        ({"tools": None, "agents": "language: 1\nagents: [{id: a b}]\n"}, ["tools.yaml:1:1: this file is missing", "agents.yaml:2:15: "]),
        ({"one": "a: &x 1\n", "two": "b: !!str 1\n", "three": "a: 1\na: 2\n"}, ["policies/one.yaml:1:4: ", "policies/two.yaml:1:", "policies/three.yaml:2:1: "]),
        ({"payments": policy("p").replace("deny", "sanitize")}, ["policies/payments.yaml:4:", "add redact"]),
        ({"payments": policy("p", "budgets: []\n")}, ["policies/payments.yaml:5:10: budgets is empty: list at least one"]),
    ],
)  # fmt: skip
def test_p17_every_mistake_is_told_with_its_place(changed: dict[str, Any], told: list[str], desk: Deciding) -> None:
    """All mistakes of all files at once, one on each line."""
    detail = refused(desk, files(**changed))
    for what in told:
        assert what in detail, detail
    assert all(re.match(r"^\S+:\d+:\d+: .", line) for line in detail.splitlines()), detail


def test_p17_a_failing_test_refuses_the_proposal(desk: Deciding) -> None:
    """Of tests/*.yaml: which one, where, what was expected and what came; and tests that can't be read."""
    tests = {"path": "tests/payments.yaml", "content": (PAYMENTS / "tests" / "payments.yaml").read_text()}
    accepted(desk, [*files(), tests])
    wrong = tests | {"content": tests["content"].replace("name: one cent passes, call: pay, with: {/params/amount: 1}, verdict: allow", "name: one cent passes, call: pay, with: {/params/amount: 1}, verdict: deny")}
    assert wrong != tests
    detail = refused(desk, [*files(), wrong])
    assert "tests/payments.yaml:11:5: one cent passes: expected deny" in detail and "allow" in detail, detail
    detail = refused(desk, [*files(), tests | {"content": "language: 1\ntests: [{call: nobody, verdict: allow}]\n"}])
    assert detail.startswith("tests/payments.yaml:"), detail
    # A test that passes with these files fails with others.
    narrower = (PAYMENTS / "policies" / "payments.yaml").read_text().replace("EUR: 100000, USD: 110000}}", "EUR: 90000, USD: 110000}}", 1)
    detail = refused(desk, [*files(payments=narrower), tests])
    assert "at the first bound in euros" in detail, detail


@pytest.mark.parametrize(
    "path",
    [
        "../x.yaml", "policies/../agents.yaml", "policies/../x.yaml", "policies/../../x.yaml", "policies/./x.yaml", "policies//x.yaml",
        "/policies/x.yaml", "/etc/passwd", "policies/a/b.yaml", "policies/.yaml", "policies\\x.yaml", "policies/..\\x.yaml",
        "policies/a\0b.yaml", "policies/a\nb.yaml", "policies/\u202egpj.yaml",
        "Policies/x.yaml", "policies/x.YAML", "policies/x.yml", "policies/x.json", "policies/x.yaml/", "policies", "", ".", "notes.txt",
        "lists/../x.yaml", "tests/../x.yaml", "tests/../../x.yaml", "tests/a\0b.yaml",
    ],
)  # fmt: skip
def test_p17_a_path_that_leads_elsewhere_is_refused(path: str, desk: Deciding) -> None:
    """Names are kept in the log for ever, and somebody writes files of these names one day."""
    content = policy("other")
    if path.startswith("lists"):
        content = "language: 1\nitems: [a]\n"
    if path.startswith("tests"):
        content = (PAYMENTS / "tests" / "payments.yaml").read_text()
    detail = refused(desk, [*files(), {"path": path, "content": content}], (400, 422))
    assert "\0" not in detail


@pytest.mark.parametrize("path", ["agents.yaml", "tools.yaml", "policies/payments.yaml"])
def test_p17_a_path_that_is_there_twice_is_refused(path: str, desk: Deciding) -> None:
    """Whether their content differs or not, and whether the log has it already: reviewers and deciders must read one file."""
    given = {one["path"]: one["content"] for one in files()}
    for again in (given[path], given[path].replace("policy: payments", "policy: other") + "# More.\n"):
        refused(desk, [*files(), {"path": path, "content": again}], (400, 422))


def test_p17_a_path_that_is_there_twice_is_refused_if_the_log_knows_both(desk: Deciding) -> None:
    """As above, where both contents were proposed before."""
    other = (PAYMENTS / "agents.yaml").read_text().replace("p-carla", "p-bob")
    accepted(desk, files())
    accepted(desk, files(agents=other))
    refused(desk, [*files(), {"path": "agents.yaml", "content": other}], (400, 422))


@pytest.mark.parametrize("fill", ["x", "é", "€", '"', "\\", "\n", "\t"])
def test_p13_a_file_as_large_as_allowed_is_taken(fill: str, desk: Deciding) -> None:
    """192 KiB; one byte more is refused with its name, and so is what takes too much room in the journal."""
    begin = policy("payments") + ("" if fill in "\n" else "# ")
    room = FILE_BYTES_MAX - len(begin.encode()) - 1
    text = begin + fill * (room // len(fill.encode())) + "\n"
    text += "\n" * (FILE_BYTES_MAX - len(text.encode()))
    assert len(text.encode()) == FILE_BYTES_MAX
    assert "policies/payments.yaml" in refused(desk, files(payments=text + "\n"), (413, 422))
    answer = propose(desk, files(payments=text))
    if answer.status_code == 201:
        cancel(desk, answer.json())
        kept = desk.author().get(f"/policies/{answer.json()['version']}").json()
        assert {file["path"]: file["content"] for file in kept["files"]}["policies/payments.yaml"] == text
    else:
        # In the journal it is JSON, which escapes some characters.
        assert fill not in "xé€" and "policies/payments.yaml" in refused(desk, files(payments=text), (413, 422))


@pytest.mark.parametrize("length", [5, 60, 180])
def test_p13_many_files_are_taken_or_refused_whole(length: int, desk: Deciding) -> None:
    """250 files: with short names they are taken, and given back; with long ones the manifest might not fit into an entry: then they
    are refused before anything is recorded."""
    named = {f"{'x' * length}{n}": policy(f"p{n}") for n in range(250)}
    given = files(**named)
    if length <= 60:
        proposed = accepted(desk, given)
        kept = desk.author().get(f"/policies/{proposed['version']}").json()["files"]
        assert sorted(file["path"] for file in kept) == sorted(one["path"] for one in given)
    else:
        refused(desk, given, (400, 413, 422))
    too_many = files(**{f"q{n}": policy(f"q{n}") for n in range(FILES_MAX)})
    assert f"at most {FILES_MAX} files" in refused(desk, too_many)


@pytest.mark.parametrize("text", ["x", "x" * 150, "x" * 900])
def test_p13_a_large_change_is_asked_about_or_refused_whole(text: str, tmp_path: Path) -> None:
    """900 clauses, within every limit, all new and then each changed: reviewers are asked, or nothing is recorded."""

    def clauses(value: str) -> dict[str, str]:
        clause = '  - {{id: c{n}, tool: payments, actions: [list], when: {{params: {{/x: {{one_of: ["{value}"]}}}}}}, then: deny}}\n'
        part = lambda first: "".join(clause.format(n=n, value=value) for n in range(first, first + 100))  # noqa: E731
        return {f"part{n}": f"language: 1\npolicy: part{n}\nclauses:\n{part(100 * n)}" for n in range(9)}

    with Server(tmp_path / "server") as server:
        desk = Deciding(server)
        for value in (f"a{text}", f"b{text}"):
            answer = propose(desk, files(**clauses(value)))
            if answer.status_code == 201:
                assert answer.json()["changes"]
                desk.approve(answer.json())
            else:
                refused(desk, files(**clauses(f"c{value}")), (400, 413, 422))


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400), (b"{", 400), (b"[]", 400), (b"null", 400), (b'{"files":[],"comment":"x"}', 422), (b'{"files":[]}', 400), (b'{"comment":"x"}', 400),
        (b'{"files":{},"comment":"x"}', 400), (b'{"files":[1],"comment":"x"}', 400), (b'{"files":[{"path":"agents.yaml"}],"comment":"x"}', 400),
        (b'{"files":[{"path":"agents.yaml","content":null}],"comment":"x"}', 400),
        (b'{"files":[{"path":"agents.yaml","content":"x","more":1}],"comment":"x"}', 400),
        (b'{"files":[],"comment":"x","enforcement":"shadow"}', 400), (b'{"files":[],"comment":"x","comment":"y"}', 400),
        (b'{"files":[{"path":"agents.yaml","content":"\xff"}],"comment":"x"}', 400),
        (b'{"files":[],"comment":"x","contributors":["P-Bob"]}', 400), (b'{"files":[],"comment":"x","contributors":"p-bob"}', 400),
        (json.dumps({"files": [], "comment": "x", "contributors": [f"p-{n}" for n in range(33)]}).encode(), 400),
        (json.dumps({"files": [], "comment": ""}).encode(), 400), (json.dumps({"files": [], "comment": "x" * 2001}).encode(), 400),
        (json.dumps({"files": [], "comment": "a\0b"}).encode(), 400), (b" " * (9 << 20), 413),
    ],
)  # fmt: skip
def test_p17_a_body_that_is_no_proposal_is_refused(body: bytes, status: int, desk: Deciding) -> None:
    """With a detail that says what is wrong; nothing is recorded."""
    author, size = desk.author(), desk.server.admin.size()
    answer = author.http.post(f"{author.t}/policies", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status and answer.json()["detail"], answer.text[:300]
    assert desk.server.admin.size() == size
