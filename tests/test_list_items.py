"""P13: what a list may hold, and what its items look like."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import Server, cli
from support.listing import REVIEWED, Listing, folder
from support.manual import ROOT


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Listing]:
    """Lists in force, none of them changed yet."""
    with Server(tmp_path / "server") as server:
        desk = Listing(server, REVIEWED)
        desk.activate(folder(tmp_path / "policies"))
        yield desk


def test_p13_a_list_holds_as_many_items_as_the_page_says(desk: Listing, tmp_path: Path) -> None:
    """About 7,200 of 22 bytes; one change more says how many fit, and changes nothing. A file of more than 192 KiB is refused with what to do."""
    page = (ROOT / "proto" / "formats" / "policy.md").read_text()
    assert "about 7,200 IBANs of 22 bytes" in page
    iban = lambda n: f"DE{n:020}"  # noqa: E731
    made = folder(tmp_path / "large", blocked=[iban(n) for n in range(7_200)])
    desk.activate(made)
    assert desk.changed("blocked", add=[iban(8_000)])["items"] == 7_201
    refused = desk.change("blocked", add=[iban(n) for n in range(8_001, 8_201)])
    assert refused.status_code == 422 and "about 72" in refused.json()["detail"] and "two lists" in refused.json()["detail"], refused.text
    assert desk.list("blocked")["version"] == 1
    (made / "lists" / "blocked.yaml").write_text(json.dumps({"language": 1, "items": [iban(n) for n in range(9_000)]}))
    done = cli("policy", "check", made)
    assert done.code == 64 and "lists/blocked.yaml:1:1: the file of a list has at most 196608 bytes: make two lists" in done.err


def test_items_have_the_form_that_the_file_names(desk: Listing, tmp_path: Path) -> None:
    """`Syria` in a list of two-letter codes would stop nothing: the file is refused with line and column, and so is `list add`; the form of the bundle
    in force counts for versions that the list has already."""
    made = folder(tmp_path / "formed")
    file = made / "lists" / "blocked.yaml"
    file.write_text("language: 1\nform: iban\nitems:\n  - DE89370400440532013000\n  - DE00\n")
    done = cli("policy", "check", made)
    assert done.code == 64 and "lists/blocked.yaml:5:5: \"DE00\": the list names IBANs" in done.err, done.err
    file.write_text("language: 1\nform: iban\nmatches: x\nitems: []\n")
    assert "not both" in cli("policy", "check", made).err
    file.write_text("language: 1\nform: iban\nitems: [DE89370400440532013000]\n")
    assert cli("policy", "diff", "--json", tmp_path / "policies", made).ok().json()[0]["change"] == "form of the items: was none, is iban"
    desk.activate(made)
    wrong = desk.change("blocked", add=["DE89370400440532013001", "DE02120300000000202051"])
    assert (wrong.status_code, wrong.json()["code"]) == (422, "list_wrong")
    assert wrong.json()["detail"].startswith('"DE89370400440532013001": the list names IBANs') and "\n" not in wrong.json()["detail"].strip()
    desk.changed("blocked", add=["DE02120300000000202051"])
    # A later form must fit what is in force.
    file.write_text("language: 1\nform: country\nitems: []\n")
    refused = desk.propose(made)
    assert (refused.status_code, refused.json()["code"]) == (422, "policy_wrong") and "the list names countries" in refused.json()["detail"]
    shown = desk.list("blocked")
    assert shown["items"] == ["DE02120300000000202051", "DE89370400440532013000"]
