"""Tenzir, a pipeline for security data that companies run: a receiver of most kinds of sinks, and a reader of OCSF."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from .waits import listens, until

VERSION = "6.20.0"


def tenzir_bin() -> Path:
    """The program out of its wheel, without the Python packages that it does not need here: fetched once, kept for later runs."""
    root = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "countersign" / "tenzir"
    folder = root / VERSION
    binary = folder / "tenzir" / "bundled" / "bin" / "tenzir"
    root.mkdir(parents=True, exist_ok=True)
    with (root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not binary.exists():
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check", "--target", folder, f"tenzir=={VERSION}"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
            assert done.returncode == 0, done.stderr
    return binary


def run(pipeline: str, folder: Path) -> tuple[list[dict[str, Any]], str]:
    """What a pipeline gives, and everything that it says."""
    path = folder / "pipeline.tql"
    path.write_text(pipeline)
    done = subprocess.run([tenzir_bin(), "-f", path], capture_output=True, text=True, timeout=120, check=False)
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


class Tenzir:
    """One that listens, and appends each record that it got to a file."""

    def __init__(self, folder: Path, pipeline: str, port: int) -> None:
        self.port, self._folder = port, folder
        (folder / "receiver.tql").write_text(f"{pipeline}\nwrite_ndjson\n")
        self.start()

    def start(self) -> None:
        """Listens, always on the same port."""
        with (self._folder / "records").open("ab") as out, (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen([tenzir_bin(), "-f", self._folder / "receiver.tql"], stdout=out, stderr=log)
        until(f"Tenzir on {self.port}", self._listens)

    def _listens(self) -> bool:
        assert self._process.poll() is None, (self._folder / "log").read_text()[-2000:]
        return listens(self.port)

    def kill(self) -> None:
        """Ends it as a crash does."""
        self._process.kill()
        self._process.wait(60)

    def records(self) -> list[dict[str, Any]]:
        """Every record, in order. The last line may still be written."""
        return [json.loads(line) for line in (self._folder / "records").read_text().splitlines(keepends=True) if line.endswith("\n")]
