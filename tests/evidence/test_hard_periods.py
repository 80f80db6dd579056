"""P20: periods in which something happened to the log itself. Each folder verifies, and a fresh counter proves its range; or nothing is
made, and the answer says why."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from support import NatsServer, Server, cli, event, until
from support.binary import Finished, countersign_bin
from support.faketime import Clock
from support.fresh_counter import Counted
from support.rfc6962 import Vkey
from support.story import Story

DAY = 24 * 3600


def make(server: Server, folder: Path, *args: object) -> Finished:
    """`countersign evidence` over a server. The first admin key is an auditor's too."""
    return server.remote("evidence", "--tenant", "acme", "-o", folder, *args, key=server.admin_key)


def verified(server: Server, folder: Path) -> Counted:
    """What the verifier and a fresh counter say about a folder: the same."""
    told = cli("verify", "--key", server.vkey, "--evidence", folder, "--json").ok().json()["items"][0]
    counted = Counted(folder, server.vkey)
    assert told["whole"] and told["decisions"] == counted.verdicts().total()
    assert figure(folder, "entries") == len(counted.period)
    return counted


def figure(folder: Path, name: str) -> int:
    """A figure's count."""
    figures = json.loads((folder / "conclusions.json").read_bytes())["figures"]
    return next(one["count"] for one in figures if one["name"] == name)


def findings(folder: Path) -> dict[str, Any]:
    """Findings by code."""
    return {one["code"]: one for one in json.loads((folder / "conclusions.json").read_bytes())["findings"]}


def times(server: Server) -> list[str]:
    """`journal.time` of every entry."""
    return [json.loads(leaf)["journal"]["time"] for _, leaf in server.admin.feed()]


def files(folder: Path) -> dict[str, bytes]:
    """Every file by path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_p20_two_rotations_of_the_log_key(server: Server, tmp_path: Path) -> None:
    """The first key is enough: for a period across both rotations, for one before them, one in the overlap, and one after them."""
    publisher = server.as_("publisher")
    bounds = []
    for overlap in (5, 1, None):
        publisher.publish(*(event() for _ in range(3)))
        publisher.publish(event())
        bounds.append(times(server)[-2:])
        if overlap is not None:
            server.remote("key rotate", "--tenant", "acme", "--use", "log", "--overlap", overlap, "--reason", "yearly").ok()
            # A second rotation has to wait until the overlap is over.
            publisher.publish(*(event() for _ in range(overlap)))
    publisher.publish(event())
    make(server, tmp_path / "all").ok()
    counted = verified(server, tmp_path / "all")
    assert counted.verdicts().total() == 18 and counted.key.public != Vkey.parse(server.vkey).public
    for n, (since, until_) in enumerate(bounds):
        folder = tmp_path / f"part-{n}"
        done = make(server, folder, "--from", since, "--to", until_)
        if since == until_:
            assert done.code == 2, done
            continue
        done.ok()
        assert verified(server, folder).verdicts().total() >= 1
    rotated = [row for row in (tmp_path / "all/policies/changes.csv").read_text("utf-8-sig").splitlines() if ",signing key rotated," in row]
    assert len(rotated) == 2


def test_p20_a_journal_epoch(make_server: Callable[..., Server], nats: NatsServer, tmp_path: Path) -> None:
    """The broker lost its newest messages, and `recover` began a new epoch: the entry that says so is in the evidence, and the
    population has what was posted before and after."""
    server = make_server(nats=nats.url)
    publisher = server.as_("publisher")
    publisher.publish(*(event() for _ in range(5)))
    server.stop()
    nats.stop()
    nats.copy_store(tmp_path / "broker")
    nats.start()
    server.start()
    server.as_("publisher").publish(*(event() for _ in range(4)))
    server.stop()
    nats.stop()
    nats.restore_store(tmp_path / "broker")
    nats.start()
    server.start(ready=False)
    until("the log to halt", lambda: halted(server))
    make_halted(server, tmp_path / "halted")
    server.stop()
    server.run("recover", "--tenant", "acme", "--accept-journal-loss", "--reason", "the broker lost its disk").ok()
    server.start()
    server.as_("publisher").publish(*(event() for _ in range(3)))
    server.as_("publisher").publish(event())
    make(server, tmp_path / "e").ok()
    counted = verified(server, tmp_path / "e")
    assert counted.verdicts().total() == 12
    assert "journal" in {counted.entries[index]["kind"] for index in counted.system}
    assert "journal" in (tmp_path / "e/policies/changes.csv").read_text("utf-8-sig")


def halted(server: Server) -> bool:
    """Whether its one log is halted; `False` while it starts."""
    headers = {"Authorization": f"Bearer {server.operator_key.text}"}
    try:
        return httpx.get(f"{server.url}/healthz", headers=headers, timeout=20, trust_env=False).json()["halted_logs"] == 1
    except httpx.TransportError:
        assert server.alive(), server.log
        return False


def make_halted(server: Server, folder: Path) -> None:
    """From a halted log evidence of what it signed is made, whole; its last entry is the end of the period."""
    make(server, folder).ok()
    verified(server, folder)


def test_p20_a_clock_that_was_reset_in_the_period(server: Server, tmp_path: Path) -> None:
    """The clock was a day ahead, then time began anew. A period of today proves its range across the `clock` entry, counts each entry
    by its own time, and says that a clock was reset; the day that was dated wrong is a period of its own."""
    clock = Clock(tmp_path)
    publisher = server.as_("publisher")
    publisher.publish(*(event() for _ in range(3)))
    server.stop()
    clock.set(DAY)
    server.start(env=clock.env)
    server.as_("publisher").publish(*(event() for _ in range(5)))
    server.stop()
    clock.set(0)
    server.start()
    server.remote("clock reset", "--tenant", "acme", "--reason", "The clock was a day ahead.").ok()
    server.as_("publisher").publish(*(event() for _ in range(7)))
    server.as_("publisher").publish(event())
    told = times(server)
    make(server, tmp_path / "today").ok()
    counted = verified(server, tmp_path / "today")
    assert counted.verdicts().total() == 10, "those of tomorrow are outside"
    assert "clock_reset" in findings(tmp_path / "today")
    outside = json.loads((tmp_path / "today/population/summary.json").read_bytes())["outside"]
    assert outside == counted.end - counted.begin - len(counted.period) >= 5
    tomorrow = max(told)[:10]
    refused = make(server, tmp_path / "tomorrow", "--from", tomorrow, "--to", tomorrow + "T23:59:59Z")
    assert refused.code == 1 and "--partial" in refused.err, "tomorrow is not over"
    before = [at for at in told if at < tomorrow]
    make(server, tmp_path / "first", "--from", min(told), "--to", before[-1]).ok()
    verified(server, tmp_path / "first")


def test_p20_a_halted_log(server: Server, tmp_path: Path) -> None:
    """A log that is halted is evidence of what it signed, from the server and from an export."""
    server.as_("publisher").publish(*(event() for _ in range(9)))
    server.as_("publisher").publish(event())
    server.remote("export", "--tenant", "acme", tmp_path / "export").ok()
    server.stop()
    server.guard_path.unlink()
    server.start(ready=False)
    until("the log to halt", lambda: halted(server))
    make_halted(server, tmp_path / "e")
    cli("evidence", "--export", tmp_path / "export", "-o", tmp_path / "offline").ok()
    assert verified(server, tmp_path / "offline").verdicts().total() == 9
    assert figure(tmp_path / "e", "decisions") == 9


def test_p20_a_server_that_dies_in_the_middle(story: Story, tmp_path: Path) -> None:
    """The command fails, and the folder has no manifest, so the verifier takes it for none. Run again, it goes on from what is there,
    and gives the same bytes as if nothing had happened."""
    server = story.server
    options = ["--disclose", "all", "--auditor-seed", "x"]
    story.make(tmp_path / "whole", *options).ok()
    manifest = json.loads((tmp_path / "whole/manifest.json").read_bytes())
    options += ["--from", manifest["from"], "--to", manifest["to"]]
    folder = tmp_path / "e"
    where = ["--server", server.url, "--api-key-file", str(server.key_file(story.key)), "--tenant", "acme", "-o", str(folder)]
    maker = subprocess.Popen([countersign_bin(), "evidence", *where, *options], stderr=subprocess.PIPE)
    until("it to have begun", lambda: len(list(folder.rglob("*.disclosures"))) > 20 or maker.poll() is not None)
    assert maker.poll() is None, "it was done before the server died: publish more"
    server.kill9()
    assert maker.wait(timeout=120) not in (0, 4), maker.stderr and maker.stderr.read()
    refused = cli("verify", "--key", server.vkey, "--evidence", folder)
    assert refused.code in (1, 3) and "manifest.json" in refused.out + refused.err, refused
    assert not (folder / "manifest.json").exists()
    server.start()
    story.make(folder, *options).ok()
    assert files(folder) == files(tmp_path / "whole")
    cli("verify", "--key", server.vkey, "--evidence", folder).ok()


def test_p20_ten_thousand_agents(server: Server, tmp_path: Path) -> None:
    """All of them are in the tables; the page stays one that a person can read."""
    publisher = server.as_("publisher")
    for batch in range(40):
        publisher.publish(*(event(source=f"/s-{n % 300}", data={"agent": {"id": f"bot-{batch}-{n}"}, "tool": {"name": f"tool-{batch}-{n}", "action": "x"}})
                            for n in range(250)))  # fmt: skip
    publisher.publish(event())
    make(server, tmp_path / "e").ok()
    assert verified(server, tmp_path / "e").verdicts().total() == 10_000
    agents = (tmp_path / "e/policies/agents.csv").read_text("utf-8-sig").splitlines()
    assert len(agents) == 10_001
    assert (tmp_path / "e/report.html").stat().st_size < 200_000, "the page lists what a person can read"


# Checkpoints


def test_p20_a_checkpoint_from_inside_the_period_is_refused(server: Server, tmp_path: Path) -> None:
    """Samples that are drawn by a checkpoint that does not cover the period say nothing about its end: nothing is made, and a folder
    into which such a checkpoint is put is refused."""
    publisher = server.as_("publisher")
    publisher.publish(*(event() for _ in range(10)))
    early = server.admin.checkpoint()
    server.remote("export", "--tenant", "acme", tmp_path / "export").ok()
    publisher.publish(*(event() for _ in range(300)))
    publisher.publish(event())
    told = times(server)
    refused = cli("evidence", "--export", tmp_path / "export", "--to", told[-1], "-o", tmp_path / "early")
    assert refused.code == 1 and "--partial" in refused.err and not (tmp_path / "early/manifest.json").exists()
    make(server, tmp_path / "e", "--to", told[-1]).ok()
    verified(server, tmp_path / "e")
    (tmp_path / "e/proof/checkpoint").write_text(early)
    done = cli("verify", "--key", server.vkey, "--evidence", tmp_path / "e")
    assert done.code in (1, 3), done


def test_p20_another_checkpoint_draws_others_and_is_named(server: Server, tmp_path: Path) -> None:
    """Who signs the log could take a later checkpoint once the auditor's text is known, until the draw pleases. The auditor gives the
    verifier the checkpoint that was handed over: another one is refused, also one that is larger and of the same log."""
    publisher = server.as_("publisher")
    publisher.publish(*(event() for _ in range(200)))
    publisher.publish(event())
    until_ = times(server)[-1]
    make(server, tmp_path / "e", "--to", until_, "--auditor-seed", "newspaper").ok()
    handed = tmp_path / "handed-over"
    handed.write_text((tmp_path / "e/proof/checkpoint").read_text())
    cli("verify", "--key", server.vkey, "--evidence", tmp_path / "e", "--checkpoint", handed).ok()
    publisher.publish(event())
    server.remote("export", "--tenant", "acme", tmp_path / "export").ok()
    later = tmp_path / "later"
    cli("evidence", "--export", tmp_path / "export", "--to", until_, "--auditor-seed", "newspaper", "-o", later).ok()
    assert (later / "samples/samples.csv").read_bytes() != (tmp_path / "e/samples/samples.csv").read_bytes()
    done = cli("verify", "--key", server.vkey, "--evidence", later, "--checkpoint", handed)
    assert done.code == 1 and "checkpoint" in done.out + done.err, done


def test_p20_a_receipt_of_another_log(story: Story, folder: Path, make_server: Callable[..., Server], tmp_path: Path) -> None:
    """It is named, whether the manifest has its digest or not."""
    other = make_server("other")
    other.as_("publisher").publish(*(event() for _ in range(30)))
    copy = tmp_path / "e"
    shutil.copytree(folder, copy)
    path = next(path for path in sorted((copy / "receipts").iterdir()) if int(path.stem) < 30)
    path.write_text(other.admin.receipt(int(path.stem)))
    done = cli("verify", "--key", story.server.vkey, "--evidence", copy)
    assert done.code == 1 and f"receipts/{path.name}" in done.out + done.err, done
    alone = cli("verify", "--key", story.server.vkey, path)
    assert alone.code == 1, alone
