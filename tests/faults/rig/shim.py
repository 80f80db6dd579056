"""Strikes one chosen system call of a running server (`shim.c`)."""

from __future__ import annotations

import errno
import mmap
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from support import until

CALLS = {"write": 1, "pwrite": 2, "fdatasync": 3, "fsync": 4, "send": 5}
MODES = {
    "fails": 1, "happens, then fails": 2, "dies before": 3, "dies after": 4, "torn, then dies": 5,
    "torn, then fails": 6, "short": 7, "stalls": 8,
}
_LAYOUT = struct.Struct("=9i110s110s220s")
_SEEN, _STRUCK, _RELEASE = 6, 7, 8


def build(folder: Path) -> Path:
    """Compiles the shim."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.fail("cc: the Rust build needs it too; install gcc")
    library = folder / "shim.so"
    source = Path(__file__).with_name("shim.c")
    subprocess.run(
        [compiler, "-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", library, source, "-ldl"],
        check=True,
    )
    return library


class Shim:
    """Orders for one server. Start it with `env=shim.env`."""

    def __init__(self, library: Path, orders: Path) -> None:
        orders.write_bytes(bytes(4096))
        self._file = orders.open("r+b")
        self._map = mmap.mmap(self._file.fileno(), 4096)
        self.env = {"LD_PRELOAD": str(library), "COUNTERSIGN_SHIM": str(orders)}

    def arm(
        self, call: str, mode: str, *, path: str, suffix: str = "", nth: int = 1, sticky: bool = False,
        error: int = errno.EIO, data: bytes = b"",
    ) -> None:
        """The nth such call on a file whose path contains `path` and ends with `suffix` is struck; with `sticky`, and
        every later one. `data`: only if the written bytes contain it."""
        fields = _LAYOUT.pack(0, CALLS[call], nth, int(sticky), MODES[mode], error, 0, 0, 0, path.encode(), suffix.encode(), data)
        self._map[: _LAYOUT.size] = fields
        self._map[0:4] = struct.pack("=i", 1)

    def disarm(self) -> None:
        """Calls are left alone again; a stalled one goes on."""
        self._map[0:4] = struct.pack("=i", 0)
        self._map[_RELEASE * 4 : _RELEASE * 4 + 4] = struct.pack("=i", 1)

    def _number(self, place: int) -> int:
        return struct.unpack("=i", self._map[place * 4 : place * 4 + 4])[0]

    @property
    def struck(self) -> int:
        """How many calls were struck."""
        return self._number(_STRUCK)

    def wait_struck(self, seconds: float = 20.0) -> None:
        """Waits for the first strike."""
        until("the call that was to be struck", lambda: self.struck > 0, seconds)
