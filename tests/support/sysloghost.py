"""A strict syslog server over TLS, and a reader of CEF that nobody here wrote."""

from __future__ import annotations

import json
import re
import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import jc

from .certificates import make_certificates
from .waits import free_port
from .wire import hang_up

RFC5424 = re.compile(rb"<110>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z (\S+) countersign - (batch|entry) - \xef\xbb\xbf(\{.*\}|CEF:0\|.*)", re.S)


def read_cef(line: str) -> dict[str, Any]:
    """A line of CEF, as jc reads it, with custom fields by their labels. jc leaves escapes as they are."""
    (found,) = jc.parse("cef", line, quiet=True, raw=True)
    assert "unparsable" not in found and found["deviceProduct"] == "Countersign", line
    plain = {name: re.sub(r"\\(.)", lambda at: {"n": "\n", "r": "\r"}.get(at[1], at[1]), text) for name, text in found.items()}
    labels = {name.removesuffix("Label"): text for name, text in plain.items() if name.endswith("Label")}
    return plain | {label: plain[name] for name, label in labels.items()}


class Syslog:
    """A syslog server over TLS, strict: a length, a blank, and exactly so many bytes."""

    def __init__(self, folder: Path) -> None:
        make_certificates(folder)
        self.ca, self.port = folder / "ca.pem", free_port()
        #: Sort and text of every message, in order.
        self.texts: list[tuple[str, str]] = []
        self.wrong: list[str] = []
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(folder / "server.pem", folder / "server.key")
        self._socket: socket.socket | None = None
        self._open: set[socket.socket] = set()
        #: While it is clear, nothing is read: what comes waits in the system's buffers.
        self.reads = threading.Event()
        self.reads.set()
        self.start()

    @property
    def messages(self) -> list[tuple[str, dict[str, Any]]]:
        """Sort and content of every message."""
        return [(sort, read_cef(text) if text.startswith("CEF") else json.loads(text)) for sort, text in self.texts]

    def start(self) -> None:
        """Listens, always on the same port."""
        self._socket = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._serve, args=(self._socket,), daemon=True).start()

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                line = listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._greet, args=(line,), daemon=True).start()

    def _greet(self, line: socket.socket) -> None:
        try:
            line = self._tls.wrap_socket(line, server_side=True)
        except OSError:
            return
        self._open.add(line)
        self._read(line)

    def _read(self, line: ssl.SSLSocket) -> None:
        stream = line.makefile("rb")
        self.reads.wait()
        if line not in self._open:
            return  # what waited went with the connection
        try:
            while first := stream.read(1):
                length = first
                while (digit := stream.read(1)) != b" ":
                    if not digit:
                        return  # the line ended in the middle of it
                    length += digit
                if not re.fullmatch(rb"[1-9]\d{0,7}", length):
                    self.wrong.append(f"a length of {length!r}")
                    return
                text = stream.read(int(length))
                if len(text) < int(length):
                    return  # the line ended in the middle of it
                found = RFC5424.fullmatch(text)
                if not found:
                    self.wrong.append("no message of RFC 5424")
                    return
                self.texts.append((found[2].decode(), found[3].decode()))
        except (OSError, ValueError):
            return

    def hang_up(self) -> None:
        """Closes every connection."""
        while self._open:
            hang_up(self._open.pop())

    def close(self) -> None:
        """Is away."""
        listener, self._socket = self._socket, None
        if listener:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self.hang_up()
