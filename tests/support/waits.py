"""Deadlines: nothing here sleeps in the hope that something has happened meanwhile."""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

#: Pause between two looks, in seconds.
LOOK_EVERY = 0.01
#: Ports are taken from below Linux's ephemeral range (32768…), so that no outgoing connection takes one that is free
#: for a moment while a server restarts.
PORTS = range(20_000, 32_000)

_ports = random.Random(os.getpid() ^ time.time_ns())
#: Ports are asked for long before a server listens on them: none is given twice.
_given: set[int] = set()
#: The same among all processes that test on this machine: each locks the byte of a port that it has given, as long as it runs.
_given_here = (Path(tempfile.gettempdir()) / f"countersign-test-ports-{os.getuid()}").open("ab")


def until(what: str, look: Callable[[], T | None], seconds: float = 60.0) -> T:
    """Calls `look` until it gives something true; fails, naming `what`, after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(LOOK_EVERY)


def listens(port: int) -> bool:
    """Whether somebody takes connections on a loopback port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def free_port() -> int:
    """A loopback port nobody listens on, and that no other test on this machine is given while this process runs."""
    while True:
        port = _ports.choice(PORTS)
        if port not in _given and _is_ours(port) and _is_free(port):
            _given.add(port)
            return port


def _is_ours(port: int) -> bool:
    """Locks a port's byte; not if another process has it."""
    try:
        fcntl.lockf(_given_here, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except BlockingIOError:
        return False
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
