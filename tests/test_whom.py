"""Whom the client commands send an API key to, how they reach it, and what they say when they can't (P12 P13)."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from support import FlakyFront, Key, Server, cli, event, free_port
from support.fakeserver import FakeServer

KEY = "cs_0123456789abcdef_" + "A" * 43
NASTY = "\x1b[2J\x1b]0;x\x07\u009b31m\u202e\u200b"
COMMANDS: list[tuple[str, list[object]]] = [
    ("key list", ["--tenant", "acme"]), ("key add", ["--tenant", "acme", "--role", "auditor"]), ("key remove", ["--tenant", "acme", "0" * 16]),
    ("key rotate", ["--tenant", "acme"]), ("rules show", ["--tenant", "acme"]), ("erase", ["--tenant", "acme", 0]),
    ("backup", ["x"]), ("export", ["--tenant", "acme", "e"]), ("publish", ["--tenant", "acme", "f"]),
]  # fmt: skip


def plain(text: str) -> None:
    """Nothing that moves a cursor, hides or turns text around."""
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]", text), repr(text)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A directory with a key and a file of events."""
    (tmp_path / "k").write_text(KEY + "\n")
    (tmp_path / "f").write_text(json.dumps(event()) + "\n")
    return tmp_path


@pytest.fixture
def listener() -> Iterator[FlakyFront]:
    """Somebody who is not meant, and answers everything."""
    with FlakyFront("http://127.0.0.1:1") as front:
        front.fail = [404] * 1000
        yield front


def config(path: Path, **settings: object) -> Path:
    folder = path.parent
    values = {
        "data_dir": str(folder / "d"), "keys_dir": str(folder / "keys"), "guard_path": str(folder / "g"),
        "public_url": "https://log.example.com",
    } | settings  # fmt: skip
    path.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items()))
    return path


def test_p13_a_key_goes_to_nobody_who_was_not_named(here: Path) -> None:
    """Without --server and a configuration there is no address; nothing is tried."""
    for command, args in COMMANDS:
        done = cli(*command.split(), "--api-key-file", "k", *args, cwd=here)
        assert done.code == 2 and "--server" in done.err and "--config" in done.err, (command, done)


def test_p13_the_configuration_names_the_server(here: Path, listener: FlakyFront) -> None:
    """--config, or the directory's own countersign.toml, says where; --server counts before both."""
    port = listener.url.rpartition(":")[2]
    named = config(here / "named.toml", listen=f"127.0.0.1:{port}")
    for command, args in COMMANDS:
        before = listener.seen
        done = cli(*command.split(), "--config", named, "--api-key-file", "k", *args, cwd=here)
        assert done.code == 1 and listener.seen > before and listener.keys[-1] == f"Bearer {KEY}", (command, done)
    before = listener.seen
    config(here / "countersign.toml", listen=f"0.0.0.0:{port}", plaintext_behind_proxy=True)
    assert cli("key", "list", "--tenant", "acme", "--api-key-file", "k", cwd=here).code == 1
    assert listener.seen == before + 1
    nobody = f"http://127.0.0.1:{free_port()}"
    done = cli("key", "list", "--tenant", "acme", "--api-key-file", "k", "--server", nobody, cwd=here)
    assert done.code == 69 and nobody in done.err and listener.seen == before + 1
    # What others may change names nothing.
    (here / "countersign.toml").chmod(0o666)
    done = cli("key", "list", "--tenant", "acme", "--api-key-file", "k", cwd=here)
    assert done.code == 2 and listener.seen == before + 1, done
    broken = here / "broken.toml"
    broken.write_text("listen = 5\n")
    assert cli("key", "list", "--tenant", "acme", "--api-key-file", "k", "--config", broken, cwd=here).code == 64
    assert cli("key", "list", "--tenant", "acme", "--api-key-file", "k", "--config", here / "absent", cwd=here).code == 64


def test_p13_rules_apply_goes_where_its_configuration_says(server: Server, here: Path) -> None:
    folder = here / "approvals/acme"
    folder.mkdir(parents=True)
    (folder / "rules.toml").write_text('[[rule]]\nname = "all"\nquorum = {at_least = 1, of = "g"}\nowner = "none"\n')
    (folder / "people.toml").write_text('[[person]]\nid = "p-a"\nname = "A"\ngroups = ["g"]\n[[person]]\nid = "p-b"\nname = "B"\ngroups = ["g"]\n')
    server.sections["approvals"] = {"dir": str(here / "approvals")}
    server.write_config()
    server.restart()
    done = cli("rules", "apply", "--config", server.config, "--tenant", "acme", "--api-key-file", server.key_file(server.admin_key))
    assert done.code == 0 and "recorded in entry" in done.out, done
    assert server.admin.entries(kind="rules")


@pytest.mark.parametrize("address", ["http://203.0.113.1:9", "http://log.example.com", "http://localhost.example.com", "http://2130706433:9"])
def test_p13_no_key_over_an_open_way(here: Path, address: str) -> None:
    """http:// beyond this machine is refused before anything is sent, unless the user says so."""
    for command, args in COMMANDS:
        done = cli(*command.split(), "--server", address, "--api-key-file", "k", *args, cwd=here, seconds=20.0)
        assert done.code == 2 and "--allow-http" in done.err and address in done.err, (command, done)
    for wrong in ("log.example.com", "127.0.0.1:8470", "ftp://127.0.0.1", "https://user@127.0.0.1", "http://127.0.0.1/?a", ""):
        assert cli("key", "list", "--tenant", "acme", "--server", wrong, "--api-key-file", "k", cwd=here).code == 2, wrong


def test_p13_allow_http_is_an_explicit_word(here: Path, listener: FlakyFront) -> None:
    """With it the key is sent as it is told; here through a proxy, which stands for the open way."""
    env = {"HTTP_PROXY": listener.url, "http_proxy": listener.url, "NO_PROXY": "", "no_proxy": ""}
    done = cli("key", "list", "--tenant", "acme", "--server", "http://203.0.113.1:9", "--allow-http", "--api-key-file", "k", cwd=here, env=env)
    assert done.code in (1, 69) and listener.seen >= 1, done


def test_p13_no_proxy_between_us_and_ourselves(shared: Server, listener: FlakyFront) -> None:
    """HTTP_PROXY and its like do not count for loopback: the key would leave the machine."""
    names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
    env = {name: listener.url for name in names} | {"NO_PROXY": "", "no_proxy": ""}
    shared.remote("key list", "--tenant", "acme", env=env).ok()
    assert listener.seen == 0


# TLS


def certificate(folder: Path, name: str, address: str = "IP:127.0.0.1") -> str:
    """A certificate of its own authority; its PEM."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-days", "2", "-subj", f"/CN={name}", "-addext", f"subjectAltName={address}",
         "-addext", "basicConstraints=critical,CA:FALSE", "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    return (folder / f"{name}.pem").read_text()


def test_p13_every_certificate_of_a_bundle_counts(tmp_path: Path) -> None:
    """--ca as curl's --cacert: old and new together, comments between; and with --config none is needed."""
    ours, other = certificate(tmp_path, "ours"), certificate(tmp_path, "other")
    certificate(tmp_path, "elsewhere", "DNS:log.example.com")
    with Server(tmp_path / "s", sections={"tls": {"certificate": tmp_path / "ours.pem", "key": tmp_path / "ours.key"}}, scheme="https") as server:
        server.init()
        server.start(ready=False)
        key = server.key_file(server.admin_key)
        bundle = tmp_path / "ca.pem"
        listed = ["key list", "--tenant", "acme", "--ca", bundle]

        def answer(text: str) -> Any:
            bundle.write_text(text)
            return server.remote(*listed)

        def up() -> bool:
            return bool(answer(ours).code == 0)

        from support import until

        until("the server answers", up)
        for text in (ours + other, other + ours, f"# our CA\nsubject=x\n{ours}", ours.replace("\n", "\r\n"), (tmp_path / "other.key").read_text() + ours):
            assert answer(text).code == 0, text[:60]
        refused = answer(other)
        assert refused.code == 69 and server.url in refused.err and "--ca" in refused.err, refused
        for text in ("", "nonsense", (tmp_path / "ours.key").read_text(), ours[:200]):
            wrong = answer(text)
            assert wrong.code == 3 and str(bundle) in wrong.err, (text[:40], wrong)
        public = server.remote("key list", "--tenant", "acme")
        assert public.code == 69 and "--ca" in public.err, public
        named = cli("key", "list", "--tenant", "acme", "--config", server.config, "--api-key-file", key)
        assert named.code == 0, named
        plain_http = cli("key", "list", "--tenant", "acme", "--server", server.url.replace("https", "http"), "--api-key-file", key)
        assert plain_http.code in (1, 69) and "http://127.0.0.1" in plain_http.err, plain_http


def test_p13_https_to_a_server_without_tls(shared: Server) -> None:
    """It says that there is no TLS, and where."""
    url = shared.url.replace("http", "https")
    done = cli("key", "list", "--tenant", "acme", "--server", url, "--api-key-file", shared.key_file(shared.admin_key))
    assert done.code == 69 and url in done.err and "TLS" in done.err, done


# What is wrong with a key


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"), (b"\n \n", "empty"), (b"\xff\xfe", "cs_"), (b"log.example.com/v1/tenants/acme/logs/1+4aed8508+AYqI4910", "a log's key"),
        (f"tenant acme\n  admin key {KEY}\n".encode(), "beside other text"), (f"{KEY}\n{KEY}\n".encode(), "more than one"),
        (b"hunter2", "cs_"), (KEY.replace("A", "\u00e4").encode(), "no API key has"),
    ],
)  # fmt: skip
def test_p13_a_wrong_key_file_is_named(shared: Server, tmp_path: Path, content: bytes, said: str) -> None:
    """File and fault are told, its content is not; nothing is sent; exit 3."""
    (tmp_path / "the-key").write_bytes(content)
    done = cli("key", "list", "--tenant", "acme", "--server", shared.url, "--api-key-file", tmp_path / "the-key")
    assert done.code == 3 and "the-key" in done.err and said in done.err, done
    assert "hunter2" not in done.err and "A" * 43 not in done.err
    plain(done.err)


def test_p13_a_key_that_is_not_in_force_is_named(shared: Server, here: Path) -> None:
    """A byte order mark does not matter; a key that is unknown is named by its id and file, never whole."""
    (here / "bom").write_text("\ufeff" + shared.admin_key.text + "\r\n")
    cli("key", "list", "--tenant", "acme", "--server", shared.url, "--api-key-file", here / "bom").ok()
    done = cli("key", "list", "--tenant", "acme", "--server", shared.url, "--api-key-file", here / "k")
    assert done.code == 1 and "cs_0123456789abcdef" in done.err and str(here / "k") in done.err and "A" * 43 not in done.err, done
    backup = shared.remote("backup", "x")
    assert backup.code == 1 and "operator key" in backup.err, backup


def test_p13_key_add_says_what_is_missing(shared: Server) -> None:
    """Before the server is asked."""
    add = lambda *args: shared.remote("key add", "--tenant", "acme", *args)  # noqa: E731
    for args, said in [
        (("--role", "publisher"), "--producer"), (("--role", "enforcer"), "--producer"), (("--role", "reviewer"), "--person"),
        (("--role", "auditor", "--producer", "gw-1"), "--producer"),
    ]:  # fmt: skip
        done = add(*args)
        assert done.code == 2 and said in done.err, (args, done)
    shown = shared.remote("key list", "--tenant", "acme").ok().out.splitlines()
    assert shown[0].split() == ["key", "id", "roles", "producer", "person", "name"] and len(shown) > 1


# A server that is not a friend


def flat(value: Any) -> str:
    """Every text in it, one after the other."""
    if isinstance(value, dict):
        return "".join(flat(name) + flat(one) for name, one in value.items())
    return "".join(map(flat, value)) if isinstance(value, list) else str(value)


class Hostile(BaseHTTPRequestHandler):
    """Puts escapes into whatever it answers."""

    def do_GET(self) -> None:
        origin = f"evil{NASTY}/v1/tenants/acme/logs/1"
        note = f"{origin}\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n\u2014 x AAAA\n"
        key = {"key_id": NASTY, "roles": [NASTY, "admin"], "producer": NASTY, "person": NASTY, "name": NASTY}
        applied = {"index": NASTY, "rules_digest": NASTY, "people_digest": NASTY, "rules": [{"name": NASTY, "match": NASTY, "quorum": {NASTY: NASTY}}]}
        answers: dict[str, Any] = {
            "/checkpoint": note, "/logs/1/keys": {"keys": []}, "/keys": [key] if self.command == "GET" else {"key": NASTY, "note": NASTY},
            "/keys/rotate": {"vkey": NASTY, "index": NASTY}, "/erasures": {"status": NASTY, "entries": [NASTY]}, "/backup": {"path": NASTY},
            "/rules": {"applied": applied, "files": {"status": NASTY, "mistakes": [NASTY]}},
            "/events": {"results": [{"id": NASTY, "status": "rejected", "reason": NASTY, "detail": NASTY, "index": 1}]},
        }  # fmt: skip
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        found = [answers[end] for end in sorted(answers, key=len, reverse=True) if self.path.endswith(end)]
        status = 200 if found else 418
        answer = found[0] if found else {"code": NASTY, "detail": NASTY}
        body = answer.encode() if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_DELETE = do_GET

    def log_message(self, *_: object) -> None:
        pass


def test_p13_a_hostile_server_moves_no_cursor(here: Path) -> None:
    """Whatever it answers, and in every form that we print: nothing of it reaches the terminal as it is."""
    hostile = FakeServer(("127.0.0.1", 0), Hostile)
    threading.Thread(target=hostile.serve_forever, daemon=True).start()
    where = ["--server", f"http://127.0.0.1:{hostile.server_address[1]}", "--api-key-file", "k"]
    with_json = {"key list", "key add", "rules show", "publish"}
    try:
        for command, args in [*COMMANDS, ("export", ["--tenant", "acme", "--approval", "apr-" + "a" * 26, "e2"])]:
            for more in [[], ["--json"]] if command in with_json else [[]]:
                done = cli(*command.split(), *where, *args, *more, cwd=here)
                plain(done.out + done.err)
                assert done.out + done.err, command
                if more:
                    assert "\\u001b" in done.out and "\\u202e" in done.out, (command, done)
                    assert NASTY in str(flat(done.lines())), "a program reads what was sent"
        plain((here / "e" / "README.txt").read_text())
    finally:
        hostile.shutdown()
        hostile.server_close()


def test_p13_a_hostile_size_fills_no_memory(here: Path) -> None:
    """A checkpoint of 2^64-1 leaves: fetched tile by tile, so the first bad one ends it."""
    note = "evil/v1/tenants/acme/logs/1\n18446744073709551615\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n\u2014 x AAAA\n"
    with FlakyFront("http://127.0.0.1:1") as front:
        front.fail = [note.encode(), b"\0\1x" * 256, b"short"]
        done = cli("export", "--server", front.url, "--api-key-file", "k", "--tenant", "acme", "e", cwd=here)
        assert done.code == 1 and front.url in done.err, done
        assert not (here / "e" / "checkpoint").exists()
