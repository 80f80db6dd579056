"""Deadlines: nothing here sleeps in the hope that something has happened meanwhile."""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Callable
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


def free_port() -> int:
    """A loopback port nobody listens on."""
    while True:
        port = _ports.choice(PORTS)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in _given:
            _given.add(port)
            return port
