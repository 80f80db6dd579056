"""What a server did, in order, as `strace` saw it."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from support import Server, until

#: Everything by which bytes reach a disk or a socket.
CALLS = "fdatasync,fsync,sync_file_range,write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg,sendmmsg,sendfile"

_WHOLE = re.compile(r"^(\d+) +(\w+)\((.*)\) += (-?\d+)(.*)$", re.S)
_BEGUN = re.compile(r"^(\d+) +(\w+)\((.*) <unfinished \.\.\.>$", re.S)
_RESUMED = re.compile(r"^(\d+) +<\.\.\. (\w+) resumed>(.*)\) += (-?\d+)(.*)$", re.S)
_FILE = re.compile(r"^\d+<(.*?)>(?:\(deleted\))?(?:,|$)", re.S)


@dataclass
class Call:
    """One system call. It began at line `begun` of the trace and was over at line `ended`."""

    thread: int
    name: str
    arguments: str
    begun: int
    ended: int | None
    result: int | None

    @property
    def file(self) -> str:
        """Path or socket of its first argument (`-yy`)."""
        found = _FILE.match(self.arguments)
        return found.group(1) if found else ""

    @property
    def on_socket(self) -> bool:
        """Whether it writes to a TCP connection."""
        return self.file.startswith("TCP")


def strace() -> str:
    """The program, 6.1 or newer."""
    found = shutil.which("strace")
    if found is None:
        pytest.fail("strace: apt-get install strace")
    return found


def tracing(to: Path) -> tuple[str, ...]:
    """What to put before a command. Strings are written whole."""
    return (strace(), "-f", "-yy", "-s", "1000000", "-o", str(to), "-e", f"trace={CALLS}", "-e", "signal=none")


def read(path: Path) -> list[Call]:
    """The calls, in the order they began. A line of the trace is a moment: what one line says happened before the next."""
    calls: list[Call] = []
    open_: dict[int, Call] = {}
    for at, line in enumerate(path.read_text(errors="surrogateescape").splitlines()):
        if found := _RESUMED.match(line):
            call = open_.pop(int(found[1]))
            assert call.name == found[2], line[:200]
            call.ended, call.result = at, int(found[4])
            call.arguments += found[3]
        elif found := _BEGUN.match(line):
            call = Call(int(found[1]), found[2], found[3], at, None, None)
            open_[call.thread] = call
            calls.append(call)
        elif found := _WHOLE.match(line):
            calls.append(Call(int(found[1]), found[2], found[3], at, at, int(found[4])))
    return calls


class Order(AssertionError):
    """Something left before it was safe."""


def answers_after_syncs(calls: list[Call], ids: list[str], data_dir: Path, guard: Path) -> None:
    """P1: for each event id, in this order: its bytes into the write-ahead log, fdatasync of that log = 0, the guard's
    slot, fdatasync of the guard = 0, and only then the first byte of the HTTP answer that speaks of it."""
    def is_log(call: Call) -> bool:
        return call.file.startswith(f"{data_dir}/") and call.file.endswith(".log")

    def is_guard(call: Call) -> bool:
        return call.file == str(guard)

    logs = [c for c in calls if is_log(c) and c.name in ("write", "pwrite64", "writev")]
    log_syncs = [c for c in calls if is_log(c) and c.name in ("fdatasync", "fsync")]
    slots = [c for c in calls if is_guard(c) and c.name in ("write", "pwrite64")]
    guard_syncs = [c for c in calls if is_guard(c) and c.name in ("fdatasync", "fsync")]
    sends = [c for c in calls if c.on_socket]
    for id_ in ids:
        # As it stands in the log, and JSON in a C string in the answer.
        written = next((c for c in logs if id_ in c.arguments), None)
        if written is None:
            raise Order(f"{id_} was never written to a write-ahead log")
        moment = written.ended
        for what, choice, succeeds in [
            ("fdatasync of the write-ahead log", log_syncs, lambda r: r == 0),
            ("write of the guard's slot", slots, lambda r: r == 512),
            ("fdatasync of the guard", guard_syncs, lambda r: r == 0),
        ]:
            step = next((c for c in choice if c.begun > moment and c.ended is not None and succeeds(c.result)), None)
            if step is None:
                raise Order(f"{id_}: no {what} after it")
            moment = step.ended
        speaking = [c for c in sends if f'\\"id\\":\\"{id_}\\"' in c.arguments or f'"id":"{id_}"' in c.arguments]
        if not speaking:
            raise Order(f"{id_} was never answered")
        for send in speaking:
            # The answer may take several writes: its first byte counts.
            heads = [c for c in sends if c.file == send.file and c.begun <= send.begun and "HTTP/1.1 " in c.arguments]
            if not heads or heads[-1].begun <= moment:
                raise Order(f"{id_}: its answer left at line {heads[-1].begun if heads else '?'}, safe at line {moment}")


class Attached:
    """`strace -p` on a running server, with an injection."""

    def __init__(self, server: Server, injection: str, trace: str, to: Path) -> None:
        assert server.process is not None
        self.errors = to.with_suffix(".err")
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [strace(), "-f", "-yy", "-s", "64", "-o", str(to), "-e", f"trace={trace}", "-e", f"inject={injection}",
                 "-p", str(server.process.pid)],
                stderr=errors, stdin=subprocess.DEVNULL,
            )
        until(
            "strace to attach",
            lambda: self.process.poll() is not None or self.errors.read_text().count("attached") >= 1
            and self._traced(server),
        )
        assert self.process.poll() is None, self.errors.read_text()

    @staticmethod
    def _traced(server: Server) -> bool:
        """Whether every thread is."""
        assert server.process is not None
        found = []
        for task in Path(f"/proc/{server.process.pid}/task").iterdir():
            try:
                found.append("TracerPid:\t0\n" not in (task / "status").read_text())
            except (FileNotFoundError, ProcessLookupError):
                pass  # it has ended meanwhile
        return all(found)

    def end(self) -> None:
        """Detaches, or follows the server into its end."""
        self.process.terminate()
        self.process.wait(timeout=20)
