"""The folder of an export: whose it is, what is written, what is left alone, and what is gone after an erasure (P5 P11 P13)."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support import FlakyFront, Server, cli, countersign_bin, event, until

SECRET = "950.00"


def key_of(server: Server) -> Any:
    server.keys.setdefault("exporter of all", server.keys.get("exporter of all") or server.add_key(["auditor", "exporter", "discloser"]))
    return server.keys["exporter of all"]


def export(server: Server, folder: Path, *args: object, **options: Any) -> Any:
    return server.remote("export", "--tenant", "acme", *args, folder, key=key_of(server), **options)


def tree(folder: Path) -> dict[str, bytes | str]:
    """Every file, and where links lead."""
    found: dict[str, bytes | str] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = os.readlink(path)
        elif path.is_file():
            found[name] = path.read_bytes()
    return found


def verified(server: Server, folder: Path) -> dict[str, Any]:
    return cli("verify", "--key", server.vkey, "--export", folder, "--json").ok().json()["items"][0]


@pytest.fixture(scope="module")
def log(shared: Server) -> Server:
    """A log with payload and more than one tile."""
    shared.as_("publisher").publish(*(event() for _ in range(300)))
    return shared


@pytest.mark.parametrize("what", ["README.txt", "keys.json", "checkpoint", "notes", ".hidden", "tile", "disclosures/1.disclosures"])
def test_p13_somebody_elses_folder_is_refused(shared: Server, tmp_path: Path, what: str) -> None:
    """A folder with anything in it that no export wrote stays as it is."""
    folder = tmp_path / "mine"
    path = folder / what
    path.parent.mkdir(parents=True)
    path.mkdir() if what == "tile" else path.write_text("my notes")
    before = tree(folder)
    for more in ([], ["--approval", "apr-" + "a" * 26]):
        done = export(shared, folder, *more)
        assert done.code == 1 and tree(folder) == before, done
    done = export(shared, folder)
    assert "new or empty directory" in done.err and what.split("/")[0] in done.err, done
    shutil.rmtree(folder)
    folder.mkdir()
    export(shared, folder).ok()
    export(shared, folder).ok()


def test_p12_another_logs_export_is_refused(log: Server, tmp_path: Path) -> None:
    """Known by the name of its log: another tenant's export, and an approval's, are not written over."""
    folder = tmp_path / "e"
    export(log, folder).ok()
    before = tree(folder)
    made = log.add_tenant("globex")
    key = type(log.admin_key)(made["key"])
    done = log.remote("export", "--tenant", "globex", folder, key=key)
    assert done.code == 1 and "another" in done.err and tree(folder) == before, done


def test_p13_exports_are_their_owners(log: Server, tmp_path: Path) -> None:
    """Whatever the umask: nobody else reads payload, guard or position."""
    for mask in (0o000, 0o022, 0o077):
        folder = tmp_path / f"e{mask}"
        command = [str(countersign_bin()), "export", "--server", log.url, "--api-key-file", str(log.key_file(key_of(log))), "--tenant", "acme",
                   "--disclosures", str(folder)]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True, umask=mask, timeout=120)
        for path in [folder, *folder.rglob("*")]:
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    with Server(tmp_path / "s") as other:
        command = [str(countersign_bin()), "init", "--config", str(other.config), "--tenant", "acme"]
        subprocess.run(command, check=True, capture_output=True, umask=0, timeout=120)
        assert stat.S_IMODE(other.guard_path.stat().st_mode) == 0o600
        for path in other.keys_dir.rglob("*.key"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
        other.guard_path.chmod(0o644)
        other.start()
        other.stop()
        assert stat.S_IMODE(other.guard_path.stat().st_mode) == 0o600, "one that was open before is closed"


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("", "victim"), ("tile", "victim"), ("tile/0", "victim"), ("tile/entries", "victim"), ("tile/0/001.p", "victim"),
        ("tile/entries/001.p", "victim"), ("disclosures", "victim"), ("checkpoint", "victim/precious"), ("README.txt", "victim/precious"),
        ("keys.json", "victim/precious"), ("tile/0/000", "victim/precious"), ("disclosures/1.disclosures", "victim/precious"),
        ("checkpoint", "victim/nothing"), ("keys.json", "victim/nothing"),
    ],
)  # fmt: skip
def test_p13_no_link_is_followed(log: Server, tmp_path: Path, link: str, target: str) -> None:
    """A link in an export's folder, at any place: what it leads to is neither written, nor removed, nor read."""
    folder, victim = tmp_path / "e", tmp_path / "victim"
    more = ["--disclosures"] if link.startswith("disclosures") else []
    export(log, folder, *more).ok()
    widths = [path.name for path in folder.rglob("tile/*/*.p/*")]
    log.as_("publisher").publish(*(event() for _ in range(10)))
    victim.mkdir()
    for name in ("precious", "1.disclosures", "000", "0", *widths):
        (victim / name).write_text("precious")
    before = tree(victim)
    path = folder / link if link else folder
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(tmp_path / target)
    done = export(log, folder, *more)
    assert tree(victim) == before, done
    if done.code == 0:
        # Nothing of this size stands at that place: the link is gone, or named as somebody else's.
        assert not path.is_symlink() or "note:" in done.err and link in done.err, (link, done)
    else:
        assert done.code == 1 and ("link" in done.err or "new or empty" in done.err), (link, done)


def test_p13_temporary_names_are_nobodys(log: Server, tmp_path: Path) -> None:
    """Old temporary names, as links to what is not ours: not written through, not removed, told of."""
    folder, victim = tmp_path / "e", tmp_path / "victim"
    export(log, folder).ok()
    victim.write_text("precious")
    for name in ("checkpoint.new", "keys.new", "README.new", "tile/0/000.new"):
        (folder / name).symlink_to(victim)
    (folder / "my notes").write_text("notes")
    done = export(log, folder).ok()
    assert victim.read_text() == "precious" and (folder / "my notes").read_text() == "notes"
    assert "my notes" in done.err and "checkpoint.new" in done.err, "told of"


def test_p11_after_an_erasure_nothing_of_it_is_left(log: Server, tmp_path: Path) -> None:
    """Exported again, with or without disclosures, after a kill too: none of the erased text is in the folder."""
    index = log.as_("publisher").publish(event(payload={"params": {"who": "unmistakable-name"}}))[0]["index"]
    folders = [tmp_path / "with", tmp_path / "without"]
    for folder in folders:
        export(log, folder, "--disclosures").ok()
        bytes_ = (folder / f"disclosures/{index}.disclosures").read_bytes()
        assert b"unmistakable-name" in bytes_
        for leftover in (f"{index}.new", ".countersign-" + "0" * 32 + ".new"):
            (folder / "disclosures" / leftover).write_bytes(bytes_[:-9])
    log.admin.erase(index)
    export(log, folders[0], "--disclosures").ok()
    done = export(log, folders[1]).ok()
    assert "disclosures of an earlier export were removed" in done.err, done
    for folder in folders:
        left = [name for name, content in tree(folder).items() if b"unmistakable-name" in bytes(content if isinstance(content, bytes) else b"")]
        assert left == []
        verified(log, folder)


def test_p5_a_killed_export_is_taken_up(log: Server, tmp_path: Path) -> None:
    """kill -9 at many places: there is no checkpoint, so nobody takes it for whole; the next run makes it whole, and
    exactly what a fresh one is."""
    fresh = tmp_path / "fresh"
    folder = tmp_path / "e"
    key = log.key_file(key_of(log))
    with FlakyFront(log.url) as front:
        command = [str(countersign_bin()), "export", "--server", front.url, "--api-key-file", str(key), "--tenant", "acme", "--disclosures", str(folder)]
        for at in (1, 2, 4, 6, 9, 60, 200):
            front.seen = 0
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            until("it asks", lambda at=at: front.seen >= at or process.poll() is not None)
            process.send_signal(signal.SIGKILL)
            assert process.wait(timeout=60) == -signal.SIGKILL
            assert not (folder / "checkpoint").exists()
            assert cli("verify", "--key", log.vkey, "--export", folder).code == 3
    export(log, folder, "--disclosures").ok()
    export(log, fresh, "--disclosures").ok()
    assert tree(folder) == tree(fresh)
    # A whole one that is brought up to date and killed is not whole either.
    log.as_("publisher").publish(*(event() for _ in range(300)))
    # The first export says in the log what it reads. What follows is covered by that, and adds nothing that a later one would have more.
    export(log, fresh, "--disclosures").ok()
    with FlakyFront(log.url) as front:
        command[3] = front.url
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until("it asks", lambda: front.seen >= 4)
        process.kill()
        process.wait(timeout=60)
    assert not (folder / "checkpoint").exists()
    export(log, folder, "--disclosures").ok()
    shutil.rmtree(fresh)
    export(log, fresh, "--disclosures").ok()
    assert tree(folder) == tree(fresh)


def test_p5_what_is_there_in_part_is_fetched_again(log: Server, tmp_path: Path) -> None:
    """A tile that a power cut left empty or short is not taken for whole."""
    folder = tmp_path / "e"
    export(log, folder).ok()
    whole = tree(folder)
    for name in ("tile/0/000", "tile/entries/000"):
        for cut in (0, 1, 100):
            (folder / name).write_bytes((folder / name).read_bytes()[:cut])
            export(log, folder).ok()
            assert tree(folder) == whole, (name, cut)


def test_p4_evidence_of_a_log_that_went_back_is_kept(log: Server, tmp_path: Path) -> None:
    """The server has fewer entries than were exported, or another root for the same size: nothing is touched."""
    folder = tmp_path / "e"
    export(log, folder).ok()
    origin, size, root, *rest = (folder / "checkpoint").read_text().split("\n")
    for text in ((origin, str(int(size) + 5), root), (origin, size, "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=")):
        (folder / "checkpoint").write_text("\n".join([*text, *rest]))
        before = tree(folder)
        done = export(log, folder)
        assert done.code == 1 and "evidence" in done.err and tree(folder) == before, done


def test_p13_one_export_at_a_time(log: Server, tmp_path: Path) -> None:
    """Two into one folder: the second is refused, the first ends well."""
    folder = tmp_path / "e"
    key = log.key_file(key_of(log))
    seconds: list[Any] = []
    with FlakyFront(log.url) as front:
        command = [str(countersign_bin()), "export", "--server", front.url, "--api-key-file", str(key), "--tenant", "acme", "--disclosures", str(folder)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until("it writes", lambda: front.seen > 3)
        process.send_signal(signal.SIGSTOP)
        seconds.append(export(log, folder))
        process.send_signal(signal.SIGCONT)
        assert process.wait(timeout=120) == 0
    assert seconds[0].code == 1 and "another export" in seconds[0].err, seconds
    verified(log, folder)


def test_p13_the_demo_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "countersign.toml").write_text("mine")
    done = cli("demo", "--once", "--dir", tmp_path)
    assert done.code == 1 and [path.name for path in tmp_path.iterdir()] == ["countersign.toml"], done
