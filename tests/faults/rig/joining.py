"""A machine that joins the replicas of a log, and a replica that lies to it: a front that gives away another database than it has."""

from __future__ import annotations

import base64
import copy
import hashlib
import hmac
import json
import shutil
import struct
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import httpx

from support import Finished, Server, cli
from support.front import FlakyFront

from .trio import Trio

COPIES = "/v1/replicas/copies"
#: Name of the copy that a liar gives.
LIE = "0123456789abcdef"


def beside(trio: Trio, name: str, of: str) -> tuple[Server, str]:
    """A new machine as the page says: a configuration, the keys of `of`, a key of its own, the folder of its guard, and no database.
    Also its public key."""
    source = trio[of]
    server = Server(trio.root / name, sections=copy.deepcopy(source.sections))
    shutil.copytree(source.root / "keys", server.root / "keys")
    server.keys, server.vkey, server.origin = dict(source.keys), trio.vkey, trio.origin
    trio.servers[name] = server
    vkey = trio.make_key(name)
    server.sections["replica"] = {"name": name, "key_file": trio.key_file(name), "members": dict(source.sections["replica"]["members"])}
    server.write_config()
    server.guard_path.parent.mkdir()
    return server, vkey


def join(server: Server, url: str, *arguments: Any, **options: Any) -> Finished:
    """`replica join` on that machine."""
    key = server.key_file(server.operator_key)
    return cli("replica", "join", "--config", server.config, "--from", url, "--api-key-file", key, *arguments, **({"seconds": 300} | options))


def fetch(server: Server, folder: Path) -> None:
    """What a replica gives away, as anybody with the operator key can have it."""
    headers = {"Authorization": f"Bearer {server.operator_key.text}"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=60, trust_env=False) as http:
        made = http.post(COPIES, json={}).raise_for_status().json()
        folder.mkdir()
        for file in made["files"]:
            whole = b""
            while piece := http.get(f"{COPIES}/{made['copy']}/{file['name']}?from={len(whole)}").raise_for_status().content:
                whole += piece
            assert len(whole) == file["bytes"], file
            (folder / file["name"]).write_bytes(whole)
        assert http.delete(f"{COPIES}/{made['copy']}").status_code == 204


def sealed(server: Server, what: str, place: str, value: bytes) -> bytes:
    """A record under the seal of this installation: whoever lies has `keys_dir` (`crates/ledger/src/seal.rs`)."""
    key = bytes.fromhex((server.keys_dir / "seal.key").read_text().strip())
    message = f"countersign-seal-v1\n{what}\n{place}\n".encode() + value
    mac = hmac.new(key, message, hashlib.sha256).digest()
    return value + b"\n" + base64.urlsafe_b64encode(mac).rstrip(b"=")


def move(db: Any, server: Server, **members: Any) -> None:
    """Changes members of the commit record, and seals it again."""
    record = json.dumps(db.position | members, separators=(",", ":")).encode()
    db.put("meta", b"position" + struct.pack(">I", 1), sealed(server, "position", "acme", record))


class Liar(FlakyFront):
    """Answers as the replica behind it, except that the copy it gives is the folder `lie`, and where `says` answers otherwise."""

    def __init__(self, target: str, lie: Path | None = None, says: dict[str, Callable[[bytes], bytes]] | None = None) -> None:
        super().__init__(target)
        self.lie, self.says = lie, says or {}
        #: Paths that were asked for, and which request of a piece gets no answer.
        self.asked: list[str] = []
        self.silent_from = 10**9

    def files(self) -> list[dict[str, Any]]:
        """What a copy would list: tools leave files of their own there."""
        assert self.lie
        named = [path for path in sorted(self.lie.iterdir()) if path.name in ("CURRENT", "IDENTITY") or path.name[-1].isdigit()
                 or path.suffix in (".sst", ".log")]  # fmt: skip
        return [{"name": path.name, "bytes": path.stat().st_size} for path in named if "old" not in path.name]

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path, _, query = request.path.partition("?")
        self.asked.append(path)
        if path.startswith(COPIES + "/") and request.command == "GET":
            if sum(one.startswith(COPIES + "/") for one in self.asked) > self.silent_from:
                request.close_connection = True
                return
        if path in self.says:
            body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
            self._send(request, 200, self.says[path](body))
        elif self.lie and path.startswith(COPIES):
            request.rfile.read(int(request.headers.get("Content-Length", 0)))
            if request.command == "POST":
                self._send(request, 200, json.dumps({"copy": LIE, "files": self.files()}).encode())
            elif request.command == "DELETE":
                self._send(request, 204, b"")
            else:
                begin = int(query.removeprefix("from="))
                whole = (self.lie / path.rsplit("/", 1)[1]).read_bytes()
                self._send(request, 200, whole[begin : begin + (8 << 20)])
        else:
            super().answer(request)
