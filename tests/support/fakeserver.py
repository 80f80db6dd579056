"""What the fakes listen with."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from .waits import free_port


class FakeServer(ThreadingHTTPServer):
    """A thread for each connection; whoever comes while the machine stands still waits in line and is not turned away."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        """Port 0: one that nobody else is given, not even after this one has ended and is expected to be away."""
        super().__init__((address[0], address[1] or free_port()), handler)
