"""A real rsyslogd over TLS, from Debian's packages `rsyslog` and `rsyslog-openssl`."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path

from .certificates import make_certificates
from .waits import free_port, listens, until

CONFIG = """
global(workDirectory="{root}" maxMessageSize="256k"
  defaultNetstreamDriver="ossl" defaultNetstreamDriverCAFile="{tls}/ca.pem"
  defaultNetstreamDriverCertFile="{tls}/server.pem" defaultNetstreamDriverKeyFile="{tls}/server.key")
module(load="imtcp" streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="anon")
input(type="imtcp" address="127.0.0.1" port="{port}")
template(name="line" type="string" string="%msgid% %msg%\\n")
action(type="omfile" file="{root}/messages" template="line")
"""


class Rsyslog:
    """One that appends each message to a file: its MSGID, a blank, its text."""

    def __init__(self, root: Path) -> None:
        found = shutil.which("rsyslogd", path="/usr/sbin:/usr/local/sbin")
        if not found:
            raise FileNotFoundError("rsyslogd: apt-get install rsyslog rsyslog-openssl")
        root.mkdir(parents=True)
        make_certificates(root / "tls")
        self.binary, self.root, self.port, self.ca = found, root, free_port(), root / "tls" / "ca.pem"
        (root / "rsyslog.conf").write_text(CONFIG.format(root=root, tls=root / "tls", port=self.port))
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Listens, always on the same port."""
        command = [self.binary, "-n", "-f", self.root / "rsyslog.conf", "-i", self.root / "pid"]
        with (self.root / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        until(f"rsyslogd on {self.port} (see {self.root / 'log'})", self._listens)

    def _listens(self) -> bool:
        assert self.process and self.process.poll() is None, (self.root / "log").read_text()[-2000:]
        return listens(self.port)

    def kill(self) -> None:
        """Is away, without a word."""
        if self.process:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            (self.root / "pid").unlink(missing_ok=True)
            # It may have died in the middle of a line. The one that starts next would go on in that line.
            path = self.root / "messages"
            if path.exists():
                path.write_bytes(whole_lines(path.read_bytes()))

    def texts(self) -> list[tuple[str, str]]:
        """Sort and text of every message, in order."""
        path = self.root / "messages"
        lines = whole_lines(path.read_bytes()).decode().split("\n")[:-1] if path.exists() else []
        pairs = [line.partition(" ") for line in lines]
        return [(sort, text.lstrip("\ufeff ")) for sort, _, text in pairs]


def whole_lines(written: bytes) -> bytes:
    """Without the last line, where its end is not written."""
    return written[: written.rfind(b"\n") + 1]
