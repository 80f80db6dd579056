"""P20: folders and periods that somebody made to mislead, or that life made odd."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import Server, cli, countersign_bin, event, new_id
from support.asking import bounded
from support.binary import Finished
from support.deciding import CALL, Deciding
from support.desk import approval_id, paused
from support.events import EXECUTION
from support.house import Paused
from support.rfc6962 import leaf_hash
from support.story import Story
from test_hard_periods import figure, findings, make, times, verified

LARGE = 10 << 30


def verify(story: Story, folder: Path) -> Finished:
    """`countersign verify --evidence`; it must not read for long."""
    return cli("verify", "--key", story.server.vkey, "--evidence", folder, seconds=60)


def sparse(path: Path) -> None:
    """Makes a file claim 10 GiB."""
    with path.open("r+b") as file:
        file.truncate(LARGE)


@pytest.mark.parametrize("name", [
    "manifest.json", "report.html", "proof/checkpoint", "proof/keys.json", "proof/tile/entries/000", "samples/samples.csv",
    "conclusions.json",
])  # fmt: skip
def test_p20_ten_gigabytes_are_not_read(story: Story, folder: Path, tmp_path: Path, name: str) -> None:
    """A file that claims 10 GiB is refused by its size, or by its content, in bounded memory."""
    copy = tmp_path / "e"
    shutil.copytree(folder, copy)
    (copy / name).touch()
    sparse(copy / name)
    limited = "ulimit -v 3000000; exec \"$0\" \"$@\""
    done = subprocess.run(["bash", "-c", limited, countersign_bin(), "verify", "--key", story.server.vkey, "--evidence", copy],
                          capture_output=True, text=True, timeout=120, check=False)  # fmt: skip
    assert done.returncode in (1, 3) and name.removeprefix("proof/") in done.stdout + done.stderr, done


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Changes the manifest."""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")


MANIFESTS: dict[str, Callable[[dict[str, Any]], object]] = {
    "an escape": lambda m: m["files"].update({"../../etc/passwd": "0" * 64}),
    "an absolute path": lambda m: m["files"].update({"/etc/passwd": "0" * 64}),
    "the largest range": lambda m: m.update(begin=0, end=2**64 - 1),
    "a range backwards": lambda m: m.update(begin=m["end"], end=m["begin"]),
    "a size beyond the checkpoint": lambda m: m.update(size=2**53),
    "a period backwards": lambda m: m.update({"from": m["to"], "to": m["from"]}),
    "no time": lambda m: m.update({"from": "yesterday"}),
    "a longer period": lambda m: m.update({"to": "2099-01-01T00:00:00.000000000Z"}),
    "another log": lambda m: m.update(origin="log.example.com/v1/tenants/other/logs/1"),
    "another seed": lambda m: m.update(auditor_seed="another"),
    "no seed": lambda m: m.update(auditor_seed=None),
    "fewer samples": lambda m: m.update(samples=3),
    "less disclosed": lambda m: m.update(disclose="none"),
    "not whole": lambda m: m.update(whole=False),
    "an unknown member": lambda m: m.update(certified=True),
    "another version": lambda m: m.update(v=2),
    "a missing member": lambda m: m.pop("root"),
    "another product": lambda m: m.update(product="99.0.0"),
}


@pytest.mark.parametrize("what", MANIFESTS)
def test_p20_a_manifest_that_lies_is_refused(story: Story, folder: Path, tmp_path: Path, what: str) -> None:
    """Also if only one member is changed."""
    copy = tmp_path / "e"
    shutil.copytree(folder, copy)
    edit(copy, MANIFESTS[what])
    done = verify(story, copy)
    assert done.code in (1, 3), done
    assert "panicked" not in done.err


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"v":1,"v":1}'])
def test_p20_a_manifest_that_is_none_is_refused(story: Story, folder: Path, tmp_path: Path, text: bytes) -> None:
    """Empty, of another form, cut, nested."""
    copy = tmp_path / "e"
    shutil.copytree(folder, copy)
    (copy / "manifest.json").write_bytes(text)
    done = verify(story, copy)
    assert done.code in (1, 3) and "manifest.json" in done.out + done.err and "panicked" not in done.err, done


def test_p20_what_is_no_file_is_refused(story: Story, folder: Path, tmp_path: Path) -> None:
    """A pipe (which would wait for ever), a link to a folder, a name that is not UTF-8, a folder without end."""
    def changed(change: Callable[[Path], object]) -> Finished:
        copy = tmp_path / "e"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(folder, copy)
        change(copy)
        return verify(story, copy)

    def pipe(copy: Path) -> None:
        (copy / "not-checked.txt").unlink()
        os.mkfifo(copy / "not-checked.txt")

    def linked(copy: Path) -> None:
        shutil.move(copy / "privacy", tmp_path / "privacy")
        (copy / "privacy").symlink_to(tmp_path / "privacy")

    for change in (
        pipe, linked, lambda copy: (copy / "proof/keys.json").unlink(),
        lambda copy: Path(os.fsdecode(os.fsencode(copy) + b"/\xff\xfe.csv")).write_text("x"),
        lambda copy: (copy / "/".join("d" * 1 for _ in range(60))).mkdir(parents=True),
        lambda copy: (copy / "a\n  verified: everything").write_text("x"),
        lambda copy: (copy / "approvals/.hidden.csv").write_text("x"),
    ):  # fmt: skip
        done = changed(change)
        assert done.code in (1, 3) and "panicked" not in done.err, done
        assert "\n  verified: everything" not in done.out + done.err


def test_p20_an_export_without_payload_can_not_give_all(server: Server, tmp_path: Path) -> None:
    """Whole or none: what is asked for and is not there is an error, not an empty column."""
    server.as_("publisher").publish(event(), event(), event())
    server.as_("publisher").publish(event())
    server.remote("export", "--tenant", "acme", tmp_path / "export").ok()
    done = cli("evidence", "--export", tmp_path / "export", "--disclose", "all", "-o", tmp_path / "e")
    assert done.code in (1, 3) and "disclos" in done.err and not (tmp_path / "e/manifest.json").exists(), done
    cli("evidence", "--export", tmp_path / "export", "-o", tmp_path / "plain").ok()
    assert verified(server, tmp_path / "plain").verdicts().total() == 3


def test_p20_an_approval_across_the_ends_of_the_period(tmp_path: Path) -> None:
    """Asked before the period, granted in it, redeemed after it: its earlier messages are in the evidence, it is one approval of the
    period, and it stands as it stood at the end."""
    with Server(tmp_path / "server") as server:
        desk = Deciding(server)
        desk.activate(bounded(tmp_path / "one", 100_000))
        publisher = server.as_("publisher")
        asked = super(Deciding, desk).ask(CALL)
        desk.wait_for(asked, "requested")
        for _ in range(6):
            publisher.publish(*(event() for _ in range(100)))
        since = times(server)[-1]
        assert desk.review(asked, "p-bob").status_code == 200
        desk.wait_for(asked, "granted")
        publisher.publish(event())
        until_ = times(server)[-1]
        cancelled = desk.gateway.http.post(f"{desk.gateway.t}/approvals/{asked}/cancel", json={"reason": "not_needed"})
        assert cancelled.status_code == 200, cancelled.text
        publisher.publish(event())
        make(server, tmp_path / "e", "--from", since, "--to", until_).ok()
        counted = verified(server, tmp_path / "e")
        stands, _ = counted.approvals()
        assert dict(stands) == {"granted": 1} and figure(tmp_path / "e", "approvals") == 1
        (row,) = (line for line in (tmp_path / "e/approvals/approvals.csv").read_text("utf-8-sig").splitlines() if asked in line)
        assert ",granted," in row and "p-bob" in row and "cancelled" not in row
        assert min(counted.places) == 0 and len(counted.places) < counted.signed.size, "the folder leaves bundles out"


def test_p20_an_execution_that_is_reported_in_a_later_period(tmp_path: Path) -> None:
    """Approved and redeemed before the period, reported in it: nobody calls that an execution without approval."""
    with Server(tmp_path / "server") as server:
        desk = Deciding(server)
        publisher, gateway = server.as_("publisher"), desk.gateway
        made = paused("acme", data={"agent": {"id": "payments-bot"}})
        index = publisher.publish(made)[0]["index"]
        approval = approval_id("acme", "gw-1", made)
        desk.wait_for(approval, "requested")
        assert desk.review(approval, "p-bob").status_code == 200
        token = gateway.http.post(f"{gateway.t}/approvals/{approval}/token").json()["token"]
        body = {"token": token, "redemption_id": new_id("r"), "call": Paused(approval, made).call}
        assert gateway.http.post(f"{gateway.t}/tokens/redeem", json=body).status_code == 200
        publisher.publish(event())
        since = times(server)[-1]
        leaf = dict(server.admin.feed(kind="decision"))[index]
        decision = {"index": index, "leaf_hash": base64.b64encode(leaf_hash(leaf)).decode()}
        publisher.publish({"specversion": "1.0", "id": new_id("x"), "source": "/x", "type": EXECUTION, "time": made["time"],
                           "data": {"decision": decision, "status": "completed"}})  # fmt: skip
        publisher.publish(event())
        make(server, tmp_path / "e", "--from", since).ok()
        counted = verified(server, tmp_path / "e")
        assert "executed_without_approval" not in findings(tmp_path / "e") and not counted.without_approval()
        assert figure(tmp_path / "e", "approvals") == counted.approvals()[0].total() == 0, "it has no message in the period"


def test_p20_a_late_number_hides_no_other(server: Server, tmp_path: Path) -> None:
    """A number that was missing before the period arrives in it, and another one does not: one is missing."""
    def number(n: int) -> dict[str, Any]:
        return event(source="/numbered", sequence=str(n))

    publisher = server.as_("publisher")
    publisher.publish(number(1), number(7))
    publisher.publish(event())
    since = times(server)[-1]
    publisher.publish(number(8), number(10), number(3))
    publisher.publish(event())
    make(server, tmp_path / "e", "--from", since).ok()
    verified(server, tmp_path / "e")
    assert figure(tmp_path / "e", "missing_numbers") == 1
    assert "missing" in findings(tmp_path / "e")


@pytest.mark.parametrize(("options", "code"), [
    (["--from", "2026-13-01"], 2), (["--to", "soon"], 2), (["--from", "2027-01-01", "--to", "2026-01-01"], 2),
    (["--samples", "-1"], 2), (["--samples", "x"], 2), (["--disclose", "some"], 2), (["--auditor-seed", ""], 2),
])  # fmt: skip
def test_p20_what_is_asked_wrongly(story: Story, tmp_path: Path, options: list[str], code: int) -> None:
    """It says what is wrong, and writes nothing."""
    done = story.make(tmp_path / "e", *options)
    assert done.code in (code, 1) and done.err and "panicked" not in done.err, done
    assert not (tmp_path / "e").exists(), list((tmp_path / "e").rglob("*"))


def test_p20_a_folder_of_somebody_else_stays_as_it_is(story: Story, tmp_path: Path) -> None:
    """Files that no evidence wrote are not overwritten or removed."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/README.txt").write_text("my notes")
    done = story.make(tmp_path / "mine")
    assert done.code == 1 and (tmp_path / "mine/README.txt").read_text() == "my notes", done
    story.make(tmp_path / "e").ok()
    (tmp_path / "e/notes.txt").write_text("the auditor's")
    again = story.make(tmp_path / "e")
    assert (tmp_path / "e/notes.txt").read_text() == "the auditor's", again


def test_p20_samples_more_and_fewer(story: Story, tmp_path: Path) -> None:
    """None, and more than there are."""
    for count in (0, 1_000_000):
        folder = tmp_path / str(count)
        done = story.make(folder, "--samples", count)
        if done.code == 2:
            continue
        done.ok()
        assert verify(story, folder).code == 0
