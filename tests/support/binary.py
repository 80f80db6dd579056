"""The binary under test."""

from __future__ import annotations

import functools
import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@functools.cache
def countersign_bin() -> Path:
    """`$COUNTERSIGN_BIN`, else the release build."""
    target = os.environ.get("CARGO_TARGET_DIR", "target")
    path = Path(os.environ.get("COUNTERSIGN_BIN", f"{target}/release/countersign")).resolve()
    if not path.is_file():
        raise FileNotFoundError(f"{path}: build it first, or set COUNTERSIGN_BIN")
    return path


@functools.cache
def fault_bin() -> Path | None:
    """`$COUNTERSIGN_FAULT_BIN`: a build with the feature `api/fault-points`, if there is one."""
    named = os.environ.get("COUNTERSIGN_FAULT_BIN")
    path = Path(named).resolve() if named else None
    if path is not None and not path.is_file():
        raise FileNotFoundError(f"{path}: build it with --features api/fault-points, or unset COUNTERSIGN_FAULT_BIN")
    return path


@dataclass(frozen=True)
class Finished:
    """A command that ended."""

    code: int
    out: str
    err: str

    def ok(self) -> "Finished":
        """Itself, if the command succeeded."""
        assert self.code == 0, f"exit {self.code}\nstdout: {self.out}\nstderr: {self.err}"
        return self

    def json(self) -> Any:
        """Standard output as one JSON value."""
        return json.loads(self.out)

    def lines(self) -> list[Any]:
        """Standard output as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


def cli(
    *args: object,
    stdin: bytes | None = None,
    seconds: float = 60.0,
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
    binary: Path | None = None,
) -> Finished:
    """Runs `countersign` with arguments; never through a terminal."""
    done = subprocess.run(
        [str(binary or countersign_bin()), *map(str, args)],
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        timeout=seconds,
        env=None if env is None else os.environ | env,
        cwd=cwd,
        check=False,
    )
    return Finished(done.returncode, done.stdout.decode(), done.stderr.decode())
