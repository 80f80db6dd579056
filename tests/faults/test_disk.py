"""P1, P4, P11: full disks, cut and old files, damaged files, second processes."""

from __future__ import annotations

import errno
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from rig import audit
from rig.load import Ledger
from rig.shim import Shim

from support import Key, Server, ServerExited, event, until
from support.files import holding

EXIT_WRITE_FAILED = 74


def numbered(first: int, count: int, note: str = "") -> list[dict[str, Any]]:
    """Events of one source, in sequence."""
    return [event(id=f"d{n:05}", source="/d", sequence=str(n), payload={"note": note or f"note {n}"})
            for n in range(first, first + count)]


def publish(server: Server, told: Ledger, sent: list[dict[str, Any]]) -> None:
    """Publishes one batch and remembers the answer."""
    client = server.as_("publisher")
    answer = client.post_events(json.dumps(sent).encode(), "application/cloudevents-batch+json", receipts=True)
    assert answer.status_code == 200, answer.text
    told.take("/d", sent, answer.json())


def health(server: Server) -> dict[str, Any]:
    """`/healthz` as the operator sees it."""
    headers = {"Authorization": f"Bearer {server.operator_key.text}"}
    return httpx.get(f"{server.url}/healthz", headers=headers, timeout=20, trust_env=False).json()


def refuses_to_sign(server: Server, told: Ledger, *words: str) -> None:
    """The server runs, but the log is halted: publishing is refused, health is red and names what to do, and what is left
    is served and is a prefix of what was signed."""
    server.start()
    found = health(server)
    assert (found["status"], found["halted_logs"]) == ("red", 1), found
    assert httpx.get(f"{server.url}/healthz", timeout=30, trust_env=False).status_code == 503
    reason = found["halted"][0]["reason"]
    assert all(word in reason for word in words), reason
    assert "log halted" in server.log
    size = server.admin.size()
    for _ in range(2):
        answer = server.as_("publisher").post_events(json.dumps(event()).encode())
        assert (answer.status_code, answer.json()["code"]) == (503, "log_halted"), answer.text
    assert server.admin.http.post(f"{server.admin.t}/keys", json={"roles": ["auditor"], "name": ""}).status_code == 503
    entries = audit.leaves(server.admin)
    assert len(entries) == size
    tree = audit.tree_of(entries)
    checkpoints = [note for note in told.checkpoints if int(note.split("\n")[1]) <= size]
    audit.one_history(server.admin, server.vkey, checkpoints, tree)


# Commits that were fsynced are gone


def newest_log(data_dir: Path) -> Path:
    """The newest write-ahead log that holds something."""
    return max((path for path in data_dir.glob("*.log") if path.stat().st_size), key=lambda path: int(path.stem))


@pytest.mark.parametrize("how", ["1 byte", "half", "all", "zeros", "a bit in the middle", "removed"])
def test_p4_cut_write_ahead_log(how: str, make_server: Callable[..., Server]) -> None:
    """Fsynced commits are gone: RocksDB opens without them, the guard knows, nothing is signed."""
    server, told = make_server(), Ledger()
    # The key's entry is in a table file, not in the log that is cut.
    server.as_("publisher")
    server.restart()
    for n in range(30):
        publish(server, told, numbered(5 * n + 1, 5))
    size = server.admin.size()
    server.kill9()
    path = newest_log(server.data_dir)
    whole = path.read_bytes()
    # RocksDB gives files their space ahead: what counts is what was written.
    used = len(whole.rstrip(b"\0"))
    if how == "removed":
        path.unlink()
    elif how == "zeros":
        path.write_bytes(whole[: used // 2] + bytes(used - used // 2))
    elif how == "a bit in the middle":
        path.write_bytes(whole[: used // 2] + bytes([whole[used // 2] ^ 1]) + whole[used // 2 + 1 :])
    else:
        path.write_bytes(whole[: {"1 byte": used - 1, "half": used // 2, "all": 0}[how]])
    refuses_or_exits(server, told, size)


def refuses_or_exits(server: Server, told: Ledger, size: int) -> None:
    """Halted, or not even started, with a message that says what to do."""
    before = len(server.log)
    try:
        refuses_to_sign(server, told, "lost its newest commits", "must not sign", "backup")
    except ServerExited as ended:
        assert ended.code not in (0, -6, -11, 101), ended
        said = server.log[before:]
        assert "panicked" not in said and ("fsck" in said or "backup" in said or "restore" in said.lower()), said
        return
    assert server.admin.size() < size
    server.stop()
    # Opening it again does not make it right.
    refuses_to_sign(server, told, "must not sign")
    server.stop()
    assert server.run("recover", "--tenant", "acme", "--new-guard").code != 0
    assert server.fsck().code == 1


def restore(copy: Path, to: Path) -> None:
    """Replaces a directory by its copy."""
    shutil.rmtree(to)
    shutil.copytree(copy, to)


@pytest.mark.parametrize("how", ["copy", "backup"])
def test_p4_restored_old_data_directory(how: str, make_server: Callable[..., Server], tmp_path: Path) -> None:
    """An older copy, by `cp` or by `countersign backup`: it must not sign; with the newest one everything is well."""
    server, told = make_server(), Ledger()
    publish(server, told, numbered(1, 20))
    if how == "copy":
        server.stop()
        shutil.copytree(server.data_dir, tmp_path / "old")
        server.start()
    else:
        server.remote("backup", "old", key=server.operator_key).ok()
        shutil.copytree(server.backup_dir / "old", tmp_path / "old")
    publish(server, told, numbered(21, 20))
    server.stop()
    server.run("fsck", "--data-dir", tmp_path / "old").ok()
    shutil.copytree(server.data_dir, tmp_path / "new")
    restore(tmp_path / "old", server.data_dir)
    refuses_to_sign(server, told, "restored from an older backup", "must not sign")
    server.stop()
    restore(tmp_path / "new", server.data_dir)
    server.start()
    publish(server, told, numbered(41, 5))
    audit.everything(server, told, tmp_path / "receipts")


def test_p4_restored_newest_backup_goes_on(make_server: Callable[..., Server], tmp_path: Path) -> None:
    """A backup that holds everything that was signed is as good as the directory."""
    server, told = make_server(), Ledger()
    publish(server, told, numbered(1, 20))
    server.remote("backup", "full", key=server.operator_key).ok()
    server.kill9()
    restore(server.backup_dir / "full", server.data_dir)
    server.start()
    publish(server, told, numbered(21, 5))
    audit.everything(server, told, tmp_path / "receipts")


# The guard


def test_p4_guard_lost(make_server: Callable[..., Server], tmp_path: Path) -> None:
    """No guard: it must not sign; `recover --new-guard` checks the database and begins a new one."""
    server, told = make_server(), Ledger()
    publish(server, told, numbered(1, 20))
    server.stop()
    server.guard_path.unlink()
    refuses_to_sign(server, told, "guard", "recover --new-guard")
    server.stop()
    done = server.run("recover", "--tenant", "acme", "--new-guard").ok()
    assert str(len(told.index) + 3) in done.out, done.out
    server.start()
    publish(server, told, numbered(21, 5))
    assert health(server)["status"] == "green"
    audit.everything(server, told, tmp_path / "receipts")


def test_p4_guard_of_another_history(make_server: Callable[..., Server], tmp_path: Path) -> None:
    """Database and guard were both restored, another history was signed, then the first guard came back: sizes alone
    would fit, the root does not."""
    server, told = make_server(), Ledger()
    publish(server, told, numbered(1, 10))
    server.stop()
    shutil.copytree(server.data_dir, tmp_path / "data")
    shutil.copy(server.guard_path, tmp_path / "guard-old")
    server.start()
    publish(server, told, numbered(11, 5))
    server.stop()
    shutil.copy(server.guard_path, tmp_path / "guard-first")
    restore(tmp_path / "data", server.data_dir)
    shutil.copy(tmp_path / "guard-old", server.guard_path)
    server.start()
    other = Ledger()
    publish(server, other, numbered(100, 30))
    server.stop()
    shutil.copy(tmp_path / "guard-first", server.guard_path)
    refuses_to_sign(server, other, "another history was signed")
    server.stop()
    assert server.run("recover", "--tenant", "acme", "--new-guard").code != 0


def test_p4_older_guard_of_the_same_history(make_server: Callable[..., Server], tmp_path: Path) -> None:
    """The guard is older than the database, as after a crash between the two fsyncs: the roots agree at the guard's size,
    so the database holds everything that this guard saw signed, and goes on. (That the guard was restored, and that
    more was signed since, nobody could know; a database as old as that is the case `docs` forbid.)"""
    server, told = make_server(), Ledger()
    publish(server, told, numbered(1, 10))
    server.stop()
    shutil.copy(server.guard_path, tmp_path / "guard")
    server.start()
    publish(server, told, numbered(11, 10))
    server.stop()
    shutil.copy(tmp_path / "guard", server.guard_path)
    server.start()
    assert health(server)["status"] == "green"
    publish(server, told, numbered(21, 5))
    audit.everything(server, told, tmp_path / "receipts")


@pytest.mark.parametrize("slot", ["newest", "older", "both"])
def test_p4_damaged_guard_slot(slot: str, make_server: Callable[..., Server], tmp_path: Path) -> None:
    """A torn slot falls back to the other one; with both unreadable nothing is signed."""
    server, told = make_server(), Ledger()
    for n in range(4):
        publish(server, told, numbered(5 * n + 1, 5))
    server.stop()
    data = bytearray(server.guard_path.read_bytes())
    assert len(data) == 1024
    generations = [int.from_bytes(data[at + 8 : at + 16], "big") for at in (0, 512)]
    newest = generations.index(max(generations))
    for at in {"newest": [newest], "older": [1 - newest], "both": [0, 1]}[slot]:
        data[at * 512 + 100] ^= 0xFF
    server.guard_path.write_bytes(data)
    if slot == "both":
        before = len(server.log)
        try:
            refuses_to_sign(server, told, "guard")
        except ServerExited as ended:
            assert ended.code != 0 and "guard" in server.log[before:] and "damaged" in server.log[before:], ended
        return
    server.start()
    publish(server, told, numbered(21, 5))
    audit.everything(server, told, tmp_path / "receipts")


# Two at once


def test_p4_second_process_on_the_same_directory(make_server: Callable[..., Server], tmp_path: Path) -> None:
    """It refuses with a clear message; the first one is not disturbed."""
    server, told = make_server(), Ledger()
    publish(server, told, numbered(1, 5))
    for same, words in (("directory", ["another process"]), ("guard", ["guard", "another process"])):
        second = Server(tmp_path / f"second-{same}", guard_path=server.guard_path)
        second.settings["keys_dir"] = server.keys_dir
        if same == "directory":
            second.settings["data_dir"] = server.data_dir
            second.settings["guard_path"] = tmp_path / "another-guard"
        else:
            shutil.copytree(server.data_dir, tmp_path / "copied")
            (tmp_path / "copied" / "LOCK").unlink()
            second.settings["data_dir"] = tmp_path / "copied"
        second.write_config()
        for command in (["serve"], ["init", "--tenant", "other"], ["recover", "--tenant", "acme", "--new-guard"], ["fsck"]):
            done = second.run(*command, seconds=20)
            assert done.code not in (0, 101), (same, command, done)
            said = done.err.lower()
            assert all(word in said for word in words) or "still running" in said, (same, command, done.err)
        publish(server, told, numbered(6 if same == "directory" else 11, 5))
    assert health(server)["status"] == "green"
    audit.everything(server, told, tmp_path / "receipts")


# Damage


def test_p4_p5_flipped_bytes_in_table_files(make_server: Callable[..., Server], rng: random.Random) -> None:
    """One flipped bit anywhere in a table file: the start or `fsck` notices, or what is served is unchanged."""
    server, told = make_server(compression="none"), Ledger()
    for n in range(8):
        publish(server, told, numbered(100 * n + 1, 100))
    server.restart()
    entries = audit.leaves(server.admin)
    server.stop()
    clean = {path: path.read_bytes() for path in sorted(server.data_dir.iterdir())}
    tables = [path for path in clean if path.suffix == ".sst"]
    places = [(path, rng.randrange(len(clean[path]))) for path in tables for _ in range(2)]
    # And surely into a leaf, a payload and a journal message.
    for text in (b'"id":"d00033"', b"note 44", b"commit"):
        path, at = next((path, at) for path in tables if (at := clean[path].find(text)) >= 0)
        places.append((path, at + 5))
    noticed = 0
    for path, at in places:
        damaged = bytearray(clean[path])
        damaged[at] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        found = server.fsck()
        assert found.code in (0, 1, 3), f"{path.name} at {at}: {found}"
        if found.code:
            noticed += 1
            assert found.out + found.err, "fsck failed without a word"
        else:
            # RocksDB never read that byte: nothing depends on it.
            server.start()
            assert health(server)["status"] == "green"
            assert audit.leaves(server.admin) == entries, f"{path.name} at {at}"
            server.stop()
        for file in server.data_dir.iterdir():
            file.unlink()
        for file, data in clean.items():
            file.write_bytes(data)
    print(f"{noticed} of {len(places)} flips noticed by fsck")
    assert noticed >= len(places) * 3 // 4
    server.fsck().ok()


@pytest.mark.parametrize("name", ["MANIFEST", "CURRENT"])
def test_p4_damaged_manifest(name: str, make_server: Callable[..., Server]) -> None:
    """The database's own directory is damaged: it does not start, and the message says what to do."""
    server, told = make_server(), Ledger()
    publish(server, told, numbered(1, 50))
    server.stop()
    path = next(path for path in server.data_dir.iterdir() if path.name.startswith(name))
    whole = path.read_bytes()
    kept = {file: file.read_bytes() for file in server.data_dir.iterdir()}
    path.write_bytes(whole[: len(whole) // 2])
    before = len(server.log)
    with pytest.raises(ServerExited) as ended:
        server.start()
    assert ended.value.code not in (0, 101, -6, -11)
    said = server.log[before:].lower()
    # Anything but an empty directory: `init` would be the worst advice.
    assert ("restore" in said or "fsck" in said or "backup" in said) and "init" not in said, said
    assert server.fsck().code in (1, 3)
    for file in server.data_dir.iterdir():
        file.unlink()
    for file, data in kept.items():
        file.write_bytes(data)
    server.fsck().ok()


# Keys


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o660, 0o604])
def test_p11_key_files_that_others_may_read(mode: int, make_server: Callable[..., Server]) -> None:
    """Refused, naming the file and what to do."""
    server = make_server()
    server.stop()
    file = next(path for path in sorted(server.keys_dir.rglob("*")) if path.is_file())
    file.chmod(mode)
    before = len(server.log)
    with pytest.raises(ServerExited) as ended:
        server.start()
    assert ended.value.code not in (0, 101)
    said = server.log[before:]
    assert file.name in said and ("chmod" in said or "0600" in said or "600" in said), said
    file.chmod(0o600)
    server.start()
    server.stop()
    server.fsck().ok()


def test_p1_keys_of_a_log_that_was_never_made(make_server: Callable[..., Server]) -> None:
    """What a killed `init` may leave: keys, and no log. `init` completes with these keys or says what to remove; it
    overwrites none."""
    server = make_server()
    server.stop()
    shutil.rmtree(server.data_dir)
    shutil.rmtree(server.guard_path.parent)
    keys = {path: path.read_bytes() for path in server.keys_dir.rglob("*") if path.is_file()}
    done = server.run("init", "--tenant", "acme", "--json")
    assert all(path.read_bytes() == data for path, data in keys.items())
    if done.code:
        assert done.code != 101
        assert str(server.keys_dir / "acme") in done.err and any(word in done.err for word in ("move", "delete")), done.err
        return
    assert done.json()["vkey"] == server.vkey
    server.fsck().ok()


@pytest.mark.parametrize("way", ["init", "tenant over HTTP"])
def test_p4_init_never_begins_a_signed_log_again(way: str, make_server: Callable[..., Server]) -> None:
    """The data directory is lost, the keys and the guard are not: a new genesis under the same name and key would fork
    what was signed. Refused, naming the guard; the guard stays as it was."""
    server, told = make_server(), Ledger()
    publish(server, told, numbered(1, 20))
    server.stop()
    guard = server.guard_path.read_bytes()
    shutil.rmtree(server.data_dir)
    if way == "init":
        done = server.run("init", "--tenant", "acme", "--json")
        assert done.code not in (0, 101), f"a second genesis of {server.origin} was signed"
        said = done.err
    else:
        made = server.run("init", "--tenant", "other", "--json").ok().json()
        server.keys["operator"] = Key(made["operator_key"])
        server.start()
        answer = server.client(server.operator_key).http.post("/v1/tenants", json={"tenant": "acme"})
        assert answer.status_code == 409, f"a second genesis of {server.origin} was signed: {answer.text}"
        said = answer.text
        server.stop()
    assert "guard" in said or "signed" in said, said
    assert server.guard_path.read_bytes()[:1024] == guard, "the guard went back"


# A full disk


def test_p1_disk_full(small_disk: Path, tmp_path: Path, rng: random.Random) -> None:
    """The disk fills up: it ends with a clear message, nothing acknowledged is lost; with room again it goes on."""
    ballast = small_disk / "ballast"
    with Server(tmp_path / "server", data_dir=small_disk / "data") as server:
        server.init()
        server.start()
        ballast.write_bytes(bytes(70 << 20))
        told, number, failed = Ledger(), 1, None
        server.as_("publisher")
        for _ in range(2000):
            sent = numbered(number, 20, rng.randbytes(8000).hex())
            try:
                publish(server, told, sent)
            except (httpx.TransportError, AssertionError) as error:
                failed = error
                break
            number += 20
        assert failed is not None, "the disk never filled up"
        assert number > 100, "nothing fitted"
        code = server.wait_exit()
        assert code == EXIT_WRITE_FAILED, code
        assert "space" in server.log and "nothing was acknowledged" in server.log, server.log[-2000:]
        # Without room it does not start, or does not serve; it does not lose anything either.
        for _ in range(3):
            before = len(server.log)
            try:
                server.start()
            except ServerExited as ended:
                assert ended.code not in (0, 101, -6, -11), ended
                assert "space" in server.log[before:], server.log[before:]
            else:
                assert health(server)["status"] == "green"
                server.kill9()
        ballast.unlink()
        server.start()
        for first in range(number, number + 40, 20):
            publish(server, told, numbered(first, 20))
        audit.everything(server, told, tmp_path / "receipts")


def test_p1_no_space_at_random_writes(
    make_server: Callable[..., Server], make_shim: Callable[[], Shim], rng: random.Random, tmp_path: Path
) -> None:
    """ENOSPC from any write below the data directory: status 74 and nothing acknowledged that is not there."""
    server, told = make_server(), Ledger()
    server.as_("publisher")
    server.stop()
    shim, number = make_shim(), 1
    for _ in range(8):
        server.start(env=shim.env)
        shim.arm("write", rng.choice(["fails", "torn, then fails"]), path="/data/", suffix=".log",
                 nth=rng.randint(1, 12), sticky=True, error=errno.ENOSPC)
        for _ in range(60):
            sent = numbered(number, 3)
            try:
                publish(server, told, sent)
            except httpx.TransportError:
                break
            number += 3
        assert server.wait_exit() == EXIT_WRITE_FAILED
        assert "space" in server.log.lower(), server.log[-2000:]
        shim.disarm()
    server.start()
    publish(server, told, numbered(number, 3))
    audit.everything(server, told, tmp_path / "receipts")


@pytest.mark.parametrize(("call", "way"), [("fdatasync", "fails"), ("write", "fails"), ("write", "dies after")])
def test_p1_p11_table_files_that_can_not_be_written(
    call: str, way: str, make_server: Callable[..., Server], make_shim: Callable[[], Shim], tmp_path: Path
) -> None:
    """An erasure rewrites table files, and that fails: it is not called complete, nothing acknowledged is lost, and after
    a restart it completes."""
    server, told = make_server(compression="none"), Ledger()
    secret = "the secret of a person named Kim 8361"
    publish(server, told, numbered(1, 20))
    publish(server, told, numbered(21, 1, secret))
    index = told.index["/d", "d00021"]
    server.stop()
    shim = make_shim()
    server.start(env=shim.env)
    shim.arm(call, way, path="/data/", suffix=".sst", sticky=True)
    try:
        done = server.admin.http.post(f"{server.admin.t}/erasures", json={"indexes": [index]})
    except httpx.TransportError:
        done = None
    struck = shim.struck
    if done is not None:
        assert struck == 0 or done.json().get("status") != "complete", done.text
    # Whoever still lives may refuse to go on, but may not lose what it acknowledges.
    for first in (22, 27, 32):
        try:
            publish(server, told, numbered(first, 5))
        except httpx.TransportError:
            break
    shim.disarm()
    if server.alive():
        server.kill9()
    else:
        assert server.wait_exit() in (EXIT_WRITE_FAILED, -9)
    assert struck > 0, "this call is not made for table files"
    server.start()
    gone = secret.encode()
    until(
        "the erasure to be completed after the restart",
        lambda: not holding(server.data_dir, gone) or not erasure_is_an_entry(server),
    )
    if not erasure_is_an_entry(server):
        assert server.admin.erase(index)["status"] == "complete"
    publish(server, told, numbered(50, 2))
    audit.everything(server, told, tmp_path / "receipts")
    assert not holding(server.data_dir, gone)


def erasure_is_an_entry(server: Server) -> bool:
    """Whether the erasure was posted."""
    return any(entry["kind"] == "erasure" for entry in server.admin.entries())
