"""Drives `proto/examples/gateway.py`: starts it, and lets it talk to a server that says what it is told."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .binary import Finished
from .fakecountersign import KEY, Answer, FakeCountersign

GATEWAY = Path(__file__).parent.parent.parent / "proto/examples/gateway.py"
CALL = {
    "agent": "agt-payments", "run": "run-1", "tool": "bank", "action": "transfer",
    "params": {"amount": 125_000, "currency": "EUR", "iban": "DE89370400440532013000", "note": "für \"Kim\"\n"},
}  # fmt: skip
EXECUTED = {name: CALL[name] for name in ("tool", "action", "params")}


def start(url: str, folder: Path, *args: object, key: str = KEY, call: dict[str, Any] = CALL) -> subprocess.Popen[bytes]:
    """Starts the example on a call."""
    (folder / "key").write_text(key + "\n")
    (folder / "call.json").write_text(json.dumps(call))
    command = [sys.executable, "-I", GATEWAY, "--url", url, "--producer", "gw-1", "--key-file", folder / "key", *args, folder / "call.json"]
    return subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(process: subprocess.Popen[bytes]) -> Finished:
    """Waits for it to end."""
    out, err = process.communicate(timeout=90)
    return Finished(process.returncode, out.decode(), err.decode())


@pytest.fixture
def scripted(tmp_path: Path) -> Callable[..., tuple[FakeCountersign, Finished]]:
    """Runs the example against a script. `decide`: options with which it asks for the verdict; `told`: members of that."""

    def scripted(
        *phases: str, wait: float = 20, decide: tuple[object, ...] | None = None, told: dict[str, Any] | None = None, **faults: list[Answer]
    ) -> tuple[FakeCountersign, Finished]:
        script = FakeCountersign(list(phases), faults, told)
        try:
            return script, finish(start(script.url, tmp_path, "--wait", wait, *(() if decide is None else ("--decide", *decide))))
        finally:
            script.close()

    return scripted
