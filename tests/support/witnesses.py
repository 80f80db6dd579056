"""A witness that nobody here wrote (litewitness of filippo.io/torchwood), judges of cosignatures and policies, and a hostile one."""

from __future__ import annotations

import fcntl
import hashlib
import http.server
import json
import os
import shutil
import sqlite3
import subprocess
import tempfile
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx

from .judges import go_bin
from .waits import free_port, until

SOURCE = Path(__file__).parent.parent / "judges" / "witness"
WITNESS, VERSION = "filippo.io/torchwood/cmd/litewitness", "0.6.1"


def built(name: str, digest: str, build: Callable[[Path, dict[str, str]], subprocess.CompletedProcess[str]]) -> Path:
    """A Go program: built once, kept for later runs. Go compares its modules with their checksums."""
    root = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "countersign" / "witness"
    binary = root / digest / name
    if binary.exists():
        return binary
    binary.parent.mkdir(parents=True, exist_ok=True)
    with (root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not binary.exists():
            env = os.environ | {"GOTOOLCHAIN": "local", "CGO_ENABLED": "0", "GOPATH": str(root / "path"), "GOBIN": str(binary.parent)}
            done = build(binary, env)
            assert done.returncode == 0, done.stderr
    return binary


def litewitness_bin() -> Path:
    """The witness."""

    def build(binary: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
        command = [go_bin(), "install", f"{WITNESS}@v{VERSION}"]
        return subprocess.run(command, cwd=binary.parent, env=env | {"GOFLAGS": "-trimpath"}, capture_output=True, text=True, check=False)

    return built("litewitness", VERSION, build)


def module_bin(name: str, source: Path) -> Path:
    """Builds a Go program of ours, with its module's checksums as they stand in `source`."""

    def build(binary: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
        with tempfile.TemporaryDirectory() as work:
            shutil.copytree(source, Path(work) / name)
            command = [go_bin(), "build", "-o", binary, "."]
            env |= {"GOFLAGS": "-mod=readonly -trimpath"}
            return subprocess.run(command, cwd=Path(work) / name, env=env, capture_output=True, text=True, check=False)

    digest = hashlib.sha256(b"\0".join(path.read_bytes() for path in sorted(source.iterdir()))).hexdigest()[:16]
    return built(name, digest, build)


def judge_bin() -> Path:
    """The judges of `judges/witness`."""
    return module_bin("judge", SOURCE)


def judge(*arguments: str | Path, code: int = 0) -> str:
    """Runs a judge; its answer."""
    done = subprocess.run([judge_bin(), *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout


def cosigners(note: str, vkeys: list[str], folder: Path) -> dict[str, int]:
    """Who has signed a checkpoint, by a verifier that nobody here wrote: name and time, 0 for the log."""
    (path := folder / "judged.note").write_text(note)
    return json.loads(judge("verify", path, *vkeys))["signed"]


class Witness:
    """A litewitness of this machine, with a database and a key of its own."""

    def __init__(self, folder: Path, name: str = "witness.example/a", seed: str = "11" * 32) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name, self.seed, self._folder = name, seed, folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.vkey = judge("vkey", name, seed, "-").strip()
        # A path of a socket has at most 107 bytes.
        self._sockets = tempfile.TemporaryDirectory()
        self._socket = Path(self._sockets.name) / "agent"
        self._agent = subprocess.Popen([judge_bin(), "agent", self._socket, seed], stdout=subprocess.PIPE, text=True)
        assert self._agent.stdout
        self._fingerprint = self._agent.stdout.readline().strip()
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def table(self) -> dict[str, Any]:
        """Its table in the configuration."""
        return {"vkey": self.vkey, "url": self.url}

    def start(self) -> None:
        """Starts it."""
        log = (self._folder / "witness.log").open("ab")
        self._process = subprocess.Popen(
            [litewitness_bin(), "-name", self.name, "-db", self._folder / "db", "-ssh-agent", self._socket, "-key", self._fingerprint,
             "-listen", f"127.0.0.1:{self.port}"], stdout=log, stderr=log,
        )  # fmt: skip
        until("the witness", self._listens)

    def _listens(self) -> bool:
        assert self._process and self._process.poll() is None, (self._folder / "witness.log").read_text()
        try:
            return httpx.get(self.url, timeout=5, trust_env=False).status_code > 0
        except httpx.TransportError:
            return False

    def knows(self, origin: str, vkey: str) -> None:
        """Makes a log known to it, as its own `witnessctl add-log` and `add-key` do."""
        empty = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
        with closing(sqlite3.connect(self._folder / "db", timeout=30)) as db, db:
            db.execute("INSERT INTO log (origin, tree_size, tree_hash) VALUES (?, 0, ?)", (origin, empty))
            db.execute("INSERT INTO key (origin, key) VALUES (?, ?)", (origin, vkey))

    def stop(self) -> None:
        """Stops it; its database stays."""
        if self._process:
            self._process.terminate()
            self._process.wait(30)
            self._process = None

    def close(self) -> None:
        """Ends it, and its key's agent."""
        self.stop()
        self._agent.kill()
        self._agent.wait(30)
        self._sockets.cleanup()


class Hostile:
    """A witness that answers as a test says: status, headers, body; None: it never answers."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.asked: list[str] = []
        self.answer: Callable[[str], tuple[int, dict[str, str], bytes] | None] = lambda _: (503, {}, b"")
        self._closing = threading.Event()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                outer.asked.append(body)
                said = outer.answer(body)
                if said is None:
                    outer._closing.wait(60)
                    return
                status, headers, answer = said
                self.send_response(status)
                for name, value in ({"content-length": str(len(answer))} | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                try:
                    self.wfile.write(answer)
                except OSError:
                    pass

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Ends it."""
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
