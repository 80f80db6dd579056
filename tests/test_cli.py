"""The command line: exit codes, what is said and what is not, publishing from files and pipes (P1 P2 P5 P13)."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support import Server, cli, countersign_bin, event, until

COMMANDS = ["verify", "serve", "demo", "init", "check-config", "key", "rules", "policy", "publish", "fsck", "export", "erase", "backup", "recover", "bench"]
BIDI = "\u202e\u200b\u2066\u200f"


def plain(text: str) -> None:
    """Output of a pipe: no colours, nothing that moves a cursor or turns text around."""
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]", text), repr(text)


@pytest.fixture(scope="module")
def kit(shared: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files an auditor has: log.vkey, checkpoint, keys.json and receipts a, b."""
    folder = tmp_path_factory.mktemp("kit")
    strange = event(id=f"id-{BIDI}", payload={"memo": f"\x1b[31m{BIDI}"}, data={"agent": {"id": f"agent{BIDI}"}})
    results = shared.as_("publisher").publish(event(), strange)
    (folder / "log.vkey").write_text(shared.vkey + "\n")
    (folder / "checkpoint").write_text(shared.admin.checkpoint())
    (folder / "keys.json").write_text(json.dumps(shared.admin.keys_document()))
    for name, result in zip("ab", results, strict=True):
        (folder / f"{name}.tlog-proof").write_text(shared.admin.receipt(result["index"]))
        (folder / f"{name}.disclosures").write_text(shared.as_("discloser").disclosures(result["index"]))
    return folder


def binaries() -> list[Any]:
    """The full build, and the build with `verify` alone where there is one."""
    alone = os.environ.get("COUNTERSIGN_VERIFY_BIN")
    missing = pytest.mark.skipif(not alone, reason="COUNTERSIGN_VERIFY_BIN is not set")
    return [pytest.param(None, id="full"), pytest.param(Path(alone or "/nowhere"), id="verify only", marks=missing)]


@pytest.mark.parametrize("binary", binaries())
def test_p5_verify_exit_codes(kit: Path, tmp_path: Path, binary: Path | None) -> None:
    """0 verified, 1 refused, 2 wrong usage, 3 unreadable; the same in both builds."""
    key, a, b = kit / "log.vkey", kit / "a.tlog-proof", kit / "b.tlog-proof"
    stranger = "log.example.com/v1/tenants/acme/logs/1+4aed8508+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c"
    changed, empty, binary_file = tmp_path / "changed", tmp_path / "empty", tmp_path / "binary"
    changed.write_text(a.read_text().replace("index ", "index 1"))
    empty.write_bytes(b"")
    binary_file.write_bytes(b"\xff\xfe")
    cases: list[tuple[int, list[object]]] = [
        (0, ["--key", key, a]),
        (0, ["--key", key.read_text().strip(), a]),
        (0, ["--key", key, a, b, a]),
        (0, ["--key", key, "--checkpoint", kit / "checkpoint"]),
        (0, ["--key", key, "--checkpoint", kit / "checkpoint", a]),
        (0, ["--key", key, "--keys", kit / "keys.json", a]),
        (0, ["--key", key, "--disclosures", kit / "a.disclosures", a]),
        (1, ["--key", key, changed]),
        (1, ["--key", key, a, changed]),
        (1, ["--key", key, changed, a]),
        (1, ["--key", key, empty]),
        (1, ["--key", key, "--checkpoint", a]),
        (1, ["--key", key, kit / "checkpoint"]),
        (1, ["--key", key, "--disclosures", kit / "b.disclosures", a]),
        (2, []),
        (2, ["--key", key]),
        (2, [a]),
        (2, ["--key", key, "--unknown", a]),
        (2, ["--key", key, "--disclosures", kit / "a.disclosures", a, b]),
        (2, ["--key", key, "--disclosures", kit / "a.disclosures", "--checkpoint", kit / "checkpoint"]),
        (3, ["--key", key, tmp_path / "absent"]),
        (3, ["--key", tmp_path / "absent", a]),
        (3, ["--key", "not+a+key", a]),
        (3, ["--key", key, binary_file]),
        (3, ["--key", key, tmp_path]),
        (3, ["--key", key, "--keys", binary_file, a]),
        (3, ["--key", key, "--disclosures", tmp_path / "absent", a]),
        (3, ["--key", key, "--export", tmp_path]),
    ]
    for code, args in cases:
        done = cli("verify", *args, binary=binary)
        assert done.code == code, (args, done)
        plain(done.out + done.err)
        assert done.out + done.err, "it says something"
        if code == 1:
            assert "REFUSED" in done.out + done.err
    # A key of the same name that is not the log's.
    assert cli("verify", "--key", stranger, a, binary=binary).code in (1, 3)
    done = cli("verify", "--key", key, "-", stdin=a.read_bytes(), binary=binary)
    assert done.code == 0
    assert cli("verify", "--key", key, "-", stdin=changed.read_bytes(), binary=binary).code == 1
    if binary:
        for command in COMMANDS[1:]:
            assert cli(command, binary=binary).code == 2, f"{command} is not in this build"
        assert cli("--help", binary=binary).code == 0


def test_p5_verify_says_what_it_did_not_check(kit: Path) -> None:
    key = kit / "log.vkey"
    told = cli("verify", "--key", key, kit / "a.tlog-proof").ok().out
    assert "Not checked:" in told and "payload" in told
    for args in (["a.tlog-proof"], ["--checkpoint", "checkpoint"]):
        paths = [arg if arg.startswith("--") else kit / arg for arg in args]
        answer = cli("verify", "--key", key, "--json", *paths).ok().json()
        assert answer["verified"] is True
        (item,) = answer["items"]
        assert item["verified"] and item["checked"] and "same_view_for_everybody" in item["not_checked"]
    refused = cli("verify", "--key", key, "--json", kit / "a.tlog-proof", kit / "checkpoint")
    assert refused.code == 1 and refused.json()["verified"] is False
    assert [item["verified"] for item in refused.json()["items"]] == [True, False]


def test_p13_foreign_text_is_shown_escaped(kit: Path, shared: Server, tmp_path: Path) -> None:
    """Bidi and zero-width characters of events, escapes in payloads and file names never reach the terminal."""
    key = kit / "log.vkey"
    done = cli("verify", "--key", key, "--disclosures", kit / "b.disclosures", kit / "b.tlog-proof").ok()
    plain(done.out + done.err)
    assert "agent" in done.out and "memo" in done.out
    copy = tmp_path / f"\x1b]0;x\x07{BIDI}"
    copy.write_text("x")
    plain("".join([*(cli("verify", "--key", key, copy).out, cli("verify", "--key", key, copy).err)]))
    lines = tmp_path / "events.ndjson"
    lines.write_bytes(b"\x1b[31m\n" + json.dumps(event(id=f"x{BIDI}", type="dev.countersign.x")).encode() + b"\n")
    done = shared.remote("publish", "--tenant", "acme", lines, key=shared.as_("publisher").key)
    assert done.code == 1
    plain(done.out + done.err)


def test_every_command_has_help_with_examples() -> None:
    for command in COMMANDS:
        done = cli(command, "--help").ok()
        assert done.out.startswith(done.out[:1]) and "Usage: countersign " in done.out
        plain(done.out)
    assert "Examples:" in cli("--help").ok().out
    assert cli("--help").out.startswith("Proof and human approval"), "it speaks to its users"
    groups = {"key": ["add", "passkey", "link", "list", "remove", "rotate"], "rules": ["test", "apply", "show"], "slack": ["manifest"], "teams": ["package"]}
    for command in [*COMMANDS, *groups]:
        for words in [[command, one] for one in groups[command]] if command in groups else [[command]]:
            assert "Example" in cli(*words, "--help").ok().out, words
    assert cli().code == 2 and cli("nonsense").code == 2
    assert re.fullmatch(r"countersign \d+\.\d+\.\d+\n", cli("--version").ok().out)


# check-config, init


def test_p13_check_config_tells_all_mistakes_at_once(tmp_path: Path) -> None:
    server = Server(tmp_path / "s")
    good = server.run("check-config").ok()
    assert "is right" in good.out
    server.settings |= {
        "data_dir": "relative", "guard_path": tmp_path / "s" / "relative" / "x", "keys_dir": "keys", "listen": "0.0.0.0:1", "public_url": "ftp://x",
        "journal_retention_days": 0, "scrub_days": 0, "public_tiles": ["UPPER"],
    }  # fmt: skip
    server.sections = {
        "limits": {"connections": 0, "request_seconds": 0, "commit_messages": 0}, "log": {"format": "xml", "level": "="},
        "tls": {"certificate": "/absent/cert.pem", "key": "/absent/key.pem"},
    }  # fmt: skip
    server.write_config()
    done = server.run("check-config")
    assert done.code == 64
    for name in ["data_dir", "keys_dir", "public_url", "journal_retention_days", "scrub_days", "public_tiles", "limits.connections",
                 "limits.request_seconds", "limits.commit_messages", "log.format", "log.level", "tls"]:  # fmt: skip
        assert name in done.err, (name, done.err)
    assert server.run("serve").code == 64
    assert server.run("init", "--tenant", "acme").code == 64
    assert server.run("fsck").code == 64
    plain(done.err)


def test_p13_config_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    assert cli("check-config", "--config", path).code == 64
    for text in ["", "data_dir = ", "typo = 1", "data_dir = 5", 'data_dir = "/a"\ndata_dir = "/b"']:
        path.write_text(text)
        done = cli("check-config", "--config", path)
        assert done.code == 64 and done.err, text
    for listen, more, code in [("0.0.0.0:1", "", 64), ("0.0.0.0:1", "plaintext_behind_proxy = true", 0), ("[::1]:1", "", 0), ("127.0.0.2:1", "", 0)]:
        base = f'data_dir = "{tmp_path}/d"\nkeys_dir = "{tmp_path}/k"\nguard_path = "{tmp_path}/g"\npublic_url = "http://x"\n'
        path.write_text(base + f'listen = "{listen}"\n{more}\n')
        assert cli("check-config", "--config", path).code == code, listen
    path.write_text(base.replace("/g", "/d/g"))
    done = cli("check-config", "--config", path)
    assert done.code == 64 and "guard_path" in done.err
    example = Path(__file__).parent.parent / "example.toml"
    assert cli("check-config", "--config", example).code == 0


def test_p13_check_config_tells_all_toml_mistakes_at_once(tmp_path: Path) -> None:
    """Unknown keys, wrong types and bad values, each with its line, and what the rest of the file has wrong besides."""
    server = Server(tmp_path / "s", listen="127.0.0.1:847x", public_url="127.0.0.1:8470", keys_dirr="/k", journal_retention_days="many")
    server.sections = {"limits": {"connections": "x", "request_seconds": 0}, "logg": {"level": "info"}, "log": {"format": "xml"}}
    server.write_config()
    done = server.run("check-config")
    assert done.code == 64
    for said in ["847x", "as in \"127.0.0.1:8470\"", "public_url", '"127.0.0.1:8470" is not one', "keys_dirr", "journal_retention_days", "connections",
                 "limits.request_seconds", "logg", "log.format"]:  # fmt: skip
        assert said in done.err, (said, done.err)
    assert done.err.count("public_url:") == 1 and "missing" not in done.err
    plain(done.err)
    (tmp_path / "c.toml").write_text("[limits]\nconnections = 5\n")
    done = cli("check-config", "--config", tmp_path / "c.toml")
    for name in ("data_dir", "keys_dir", "guard_path", "public_url"):
        assert f"{name}: " in done.err and "missing" in done.err, done.err


def test_check_config_prints_the_configuration_as_toml(tmp_path: Path) -> None:
    """What it prints is a configuration again: the same one, with every default."""
    import tomllib

    server = Server(tmp_path / "s")
    server.sections = {"limits": {"connections": 7}}
    server.write_config()
    told = server.run("check-config").ok().out
    values = tomllib.loads(told)
    assert values["limits"]["connections"] == 7 and values["listen"] == server.settings["listen"] and values["log"]["format"] == "text"
    (tmp_path / "again.toml").write_text(told)
    again = cli("check-config", "--config", tmp_path / "again.toml").ok().out
    assert again.split("\n", 1)[1] == told.split("\n", 1)[1]


def test_p13_the_start_says_what_is_wrong_with_the_data_directory(tmp_path: Path) -> None:
    """Not there, empty, a file, somebody else's: each has its own way out, and none is made on the way."""
    with Server(tmp_path / "s") as server:
        for command in ("serve", "fsck"):
            done = server.run(command)
            assert done.code not in (0, 101) and "is not there" in done.err and "countersign init" in done.err and "data_dir" in done.err, done
            assert not server.data_dir.exists()
        server.data_dir.mkdir()
        done = server.run("serve")
        assert "holds no database" in done.err and "countersign init" in done.err and not list(server.data_dir.iterdir()), done
        server.data_dir.rmdir()
        server.data_dir.write_text("mine")
        for command, args in (("serve", []), ("init", ["--tenant", "acme"])):
            done = server.run(command, *args)
            assert done.code == 1 and "not a directory" in done.err and server.data_dir.read_text() == "mine", done


def test_p13_the_start_says_when_the_owner_is_wrong(tmp_path: Path) -> None:
    """After a command as root the files are root's: told as that, not as a broken disk."""
    import tempfile

    if os.getuid() != 0:
        pytest.skip("needs root, to be somebody else")
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        root = Path(place)
        root.chmod(0o755)
        with Server(root / "s") as server:
            server.init()
            for folder in (root / "s", server.data_dir):
                folder.chmod(0o755)
            binary = os.open(countersign_bin(), os.O_RDONLY)
            try:
                command = [f"/proc/self/fd/{binary}", "serve", "--config", str(server.config)]
                done = subprocess.run(command, capture_output=True, text=True, timeout=60, pass_fds=[binary], user=65534, group=65534,
                                      extra_groups=[], check=False)  # fmt: skip
            finally:
                os.close(binary)
            assert done.returncode not in (0, 101) and "disk space" not in done.stderr, done
            assert "chown" in done.stderr or "user of the server" in done.stderr, done


def test_init_and_serve_refuse_what_is_wrong(tmp_path: Path) -> None:
    with Server(tmp_path / "s") as server:
        assert server.run("serve").code not in (0, 101), "nothing is there yet"
        assert not (server.data_dir / "CURRENT").exists(), "serve makes no database"
        server.init()
        before = {path: path.read_bytes() for path in server.keys_dir.rglob("*") if path.is_file()}
        again = server.run("init", "--tenant", "acme")
        assert again.code == 1 and "acme" in again.err
        assert before == {path: path.read_bytes() for path in server.keys_dir.rglob("*") if path.is_file()}
        for name in ["UPPER", "", "a/b", "-a", "a" * 64]:
            assert server.run("init", f"--tenant={name}").code == 2, name
        server.start()
        assert server.run("init", "--tenant", "third").code in (1, 3), "the server holds the directory"
        assert server.run("fsck").code == 3
        assert server.run("serve").code not in (0, 101)
        server.as_("publisher").publish(event())
        server.stop()
        assert server.run("recover", "--tenant", "acme").code == 2, "recover does nothing by default"
        assert server.fsck().ok().json()["sound"] is True


def test_commands_that_can_not_reach_a_server(tmp_path: Path) -> None:
    with Server(tmp_path / "s") as server:
        server.init()
        for command, args in [("key list", ["--tenant", "acme"]), ("erase", ["--tenant", "acme", 0]), ("backup", ["x"]),
                              ("export", ["--tenant", "acme", tmp_path / "e"])]:  # fmt: skip
            done = server.remote(command, *args)
            assert done.code == 69 and "reached" in done.err, (command, done)
        done = cli("key", "list", "--tenant", "acme", "--api-key-file", tmp_path / "absent")
        assert done.code == 3


# key


def test_p12_key_commands(shared: Server) -> None:
    made = shared.remote("key add", "--tenant", "acme", "--role", "publisher", "--producer", "gw-5", "--name", "gateway 5", "--json").ok().json()
    assert made["key"].startswith("cs_")
    from support import Key

    key = Key(made["key"])
    assert shared.client(key).publish(event())[0]["status"] == "posted"
    listed = shared.remote("key list", "--tenant", "acme", "--json").ok().json()
    (ours,) = [one for one in listed if one["key_id"] == key.id]
    assert (ours["roles"], ours["producer"], ours["name"]) == (["publisher"], "gw-5", "gateway 5")
    shown = shared.remote("key list", "--tenant", "acme").ok().out
    assert key.id in shown and key.secret not in shown
    plain(shown)
    shared.remote("key remove", "--tenant", "acme", key.id).ok()
    assert shared.client(key).post_events(b"{}").status_code == 401
    assert shared.remote("key remove", "--tenant", "acme", key.id).code == 1
    assert shared.remote("key add", "--tenant", "acme", "--role", "king").code == 1
    assert shared.remote("key add", "--tenant", "other", "--role", "auditor").code == 1
    text = shared.remote("key add", "--tenant", "acme", "--role", "auditor").ok()
    assert text.out.strip().startswith("cs_") and "\n" not in text.out.strip(), "a script can take it"
    stranger = shared.remote("key add", "--tenant", "acme", "--role", "reviewer", "--person", "p-nobody").ok()
    assert stranger.out.strip().startswith("cs_") and "p-nobody is not among the people in force" in stranger.err


# publish


def ndjson(path: Path, count: int, **over: Any) -> list[dict[str, Any]]:
    events = [event(**over) for _ in range(count)]
    path.write_text("".join(json.dumps(one) + "\n" for one in events))
    return events


def publish(server: Server, *args: object, **options: Any) -> Any:
    return server.remote("publish", "--tenant", "acme", *args, key=server.as_("publisher").key, **options)


def posted_ids(server: Server) -> list[str]:
    return [entry["event"]["id"] for entry in server.admin.entries(kind="decision")]


def test_p1_publish_a_file(server: Server, tmp_path: Path) -> None:
    events = ndjson(tmp_path / "events", 1234)
    done = publish(server, tmp_path / "events").ok()
    assert done.out == "1234 posted, 0 duplicate, 0 conflict, 0 rejected\n" and done.err == ""
    assert posted_ids(server) == [one["id"] for one in events]
    assert publish(server, tmp_path / "events").ok().out.startswith("0 posted, 1234 duplicate")
    lines = publish(server, "--json", "--batch", 7, tmp_path / "events").ok().lines()
    assert [line["status"] for line in lines] == ["duplicate"] * 1234 and [line["id"] for line in lines] == [one["id"] for one in events]
    assert publish(server, "--batch", 0, tmp_path / "events").code == 2
    assert publish(server, "--batch", 1001, tmp_path / "events").code == 2
    assert publish(server, tmp_path / "absent").code == 3
    assert publish(server, "-", stdin=b"").ok().out.startswith("0 posted")


def test_p3_publish_names_bad_lines(server: Server, tmp_path: Path) -> None:
    """Bad lines are told by their number, blank lines counted; good ones are posted; exit 1."""
    path = tmp_path / "events"
    good = [json.dumps(event()) for _ in range(3)]
    path.write_text("\n".join(["", good[0], "", "", "nonsense", good[1], "", json.dumps(event(data={"verdict": "maybe"})), good[2]]))
    done = publish(server, path)
    assert done.code == 1 and "3 posted, 0 duplicate, 0 conflict, 2 rejected" in done.out
    assert "line 5:" in done.err and "json_syntax" in done.err, done.err
    assert "line 8:" in done.err and "data" in done.err, done.err
    assert len(posted_ids(server)) == 3


def test_p2_publish_resumes_after_kill(server: Server, tmp_path: Path) -> None:
    """kill -9 of `publish` in the middle, then of the server: resumed, every event is there exactly once, in order."""
    events = ndjson(tmp_path / "events", 4000)
    mark = tmp_path / "mark"
    key = server.key_file(server.as_("publisher").key)  # type: ignore[arg-type]
    command = [str(countersign_bin()), "publish", "--server", server.url, "--tenant", "acme", "--api-key-file", str(key), "--batch", "20",
               "--resume", str(mark), str(tmp_path / "events")]  # fmt: skip

    def progress() -> int:
        return int(json.loads(mark.read_text())["lines"]) if mark.exists() else 0

    for at, victim in [(200, "publish"), (900, "server"), (1500, "publish")]:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        until("progress", lambda at=at: progress() >= at)
        if victim == "publish":
            process.kill()
            assert process.wait() in (-signal.SIGKILL, 0), "killed, or it was faster"
        else:
            server.kill9()
            _, errors = process.communicate(timeout=60)
            assert process.returncode in (69, 0), errors
            server.start()
    done = publish(server, "--batch", 20, "--resume", mark, tmp_path / "events").ok()
    skipped = 4000 - sum(map(int, re.findall(r"(\d+) (?:posted|duplicate)", done.out)))
    assert skipped >= 1500, "it went on from the mark"
    assert posted_ids(server) == [one["id"] for one in events]
    assert publish(server, "--resume", mark, tmp_path / "events").ok().out.startswith("0 posted, 0 duplicate")
    mark.write_text("nonsense")
    assert publish(server, "--resume", mark, tmp_path / "events").code == 3
    server.stop()
    server.fsck().ok()


def test_p1_publish_from_a_pipe_does_not_wait_for_more(server: Server) -> None:
    """`tail -f … | countersign publish -`: a line is posted when it comes, not when a batch is full or the pipe ends."""
    key = server.key_file(server.as_("publisher").key)  # type: ignore[arg-type]
    command = [str(countersign_bin()), "publish", "--server", server.url, "--tenant", "acme", "--api-key-file", str(key), "--json", "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin and process.stdout
        try:
            for count in (1, 2, 3):
                process.stdin.write(json.dumps(event()).encode() + b"\n")
                process.stdin.flush()
                until("the line is posted", lambda count=count: len(posted_ids(server)) == count)
            process.stdin.close()
            lines = process.stdout.read().splitlines()
            assert [json.loads(line)["status"] for line in lines] == ["posted"] * 3
            assert process.wait(timeout=20) == 0
        finally:
            process.kill()


def test_output_into_a_closed_pipe_is_no_crash(kit: Path) -> None:
    command = f"{countersign_bin()} verify --key {kit}/log.vkey {' '.join([str(kit / 'a.tlog-proof')] * 200)} | head -1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, timeout=30, check=False)
    assert "panicked" not in done.stderr and done.stdout.startswith("verified")


def test_no_colours_when_asked_or_piped(kit: Path) -> None:
    """On a terminal there are colours, unless NO_COLOR is set; never in a pipe."""
    if not shutil.which("script"):
        pytest.skip("`script` of util-linux makes a terminal")
    command = f"{countersign_bin()} verify --key {kit}/log.vkey {kit}/a.tlog-proof"
    for env, colours in [({}, True), ({"NO_COLOR": "1"}, False)]:
        clean = {k: v for k, v in os.environ.items() if k != "NO_COLOR"}
        done = subprocess.run(["script", "-qec", command, "/dev/null"], capture_output=True, text=True, env=clean | env, check=False,
                              stdin=subprocess.DEVNULL, timeout=30)  # fmt: skip
        assert "verified" in done.stdout and ("\x1b[" in done.stdout) == colours
    plain(cli("verify", "--key", kit / "log.vkey", kit / "a.tlog-proof").out)


def test_demo_once(tmp_path: Path) -> None:
    """The story ends with 0: published, checkpoint, receipt verified, a flipped byte refused with its place."""
    done = cli("demo", "--once", "--dir", tmp_path / "demo", seconds=120).ok()
    assert "verified" in done.out and "REFUSED" in done.out
    plain(done.out + done.err)
