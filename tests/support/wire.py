"""A line to a receiver that a test can cut, silence, and slow down. It knows nothing of what it carries."""

from __future__ import annotations

import socket
import threading
import time

from .waits import free_port

#: Bytes that are passed on at once.
CHUNK = 65_536


class Wire:
    """Listens on a port, and passes what comes to another port of this machine."""

    def __init__(self, to: int) -> None:
        self.port, self.to = free_port(), to
        #: Connections since the start.
        self.connections = 0
        #: So many answers are lost: the receiver has given them, and the connection ends instead.
        self.lose_answers = 0
        self._silent = False
        self._rate: float | None = None
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self.mend()

    def mend(self) -> None:
        """Passes everything on, as fast as it can."""
        self._silent, self._rate = False, None
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self.port))
            # It is a line, and holds little: otherwise it would be a second system with buffers.
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, CHUNK)
            threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def slow(self, bytes_a_second: float) -> None:
        """What goes to the receiver goes no faster than this."""
        self._rate = bytes_a_second

    def silence(self) -> None:
        """Connections stay open, and nothing arrives any more."""
        self._silent = True

    def cut(self) -> None:
        """Ends every connection in the middle of whatever it carries, and refuses new ones."""
        listener, self._listener = self._listener, None
        if listener:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        with self._lock:
            ends, self._open = self._open, set()
        for end in ends:
            hang_up(end)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near = listener.accept()[0]
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self.to))
                far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, CHUNK)
            except OSError:
                near.close()
                continue
            self.connections += 1
            with self._lock:
                self._open |= {near, far}
            for ends in ((near, far, False), (far, near, True)):
                threading.Thread(target=self._pass, args=ends, daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, answers: bool) -> None:
        try:
            while data := source.recv(CHUNK):
                while self._silent:
                    if source.fileno() < 0:
                        return
                    time.sleep(0.01)
                if answers and self.lose_answers:
                    self.lose_answers -= 1
                    break
                if self._rate and not answers:
                    time.sleep(len(data) / self._rate)
                target.sendall(data)
        except OSError:
            pass  # one of the ends is gone
        with self._lock:
            self._open -= {source, target}
        for end in (source, target):
            hang_up(end)


def hang_up(end: socket.socket) -> None:
    """Closes a connection, whoever still reads from it."""
    try:
        # As the system does it: TLS of Python would first go on without TLS.
        socket.socket.shutdown(end, socket.SHUT_RDWR)
    except OSError:
        pass  # it is closed already
    end.close()
