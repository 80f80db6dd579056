"""What the fakes listen with."""

from __future__ import annotations

from http.server import ThreadingHTTPServer


class FakeServer(ThreadingHTTPServer):
    """A thread for each connection; whoever comes while the machine stands still waits in line and is not turned away."""

    daemon_threads = True
    request_queue_size = 128
