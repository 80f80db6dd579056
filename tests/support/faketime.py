"""Another clock for a process: Debian's libfaketime. There is no clock switch in the binary."""

from __future__ import annotations

import os
from pathlib import Path


class Clock:
    """The clock of processes started with `env`; elapsed time stays as it is."""

    def __init__(self, folder: Path) -> None:
        libraries = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
        if not libraries:
            raise FileNotFoundError("libfaketime: apt-get install faketime")
        self._file = folder / "clock"
        self.set(0)
        self.env = {
            "LD_PRELOAD": str(libraries[0]), "FAKETIME_TIMESTAMP_FILE": str(self._file), "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }  # fmt: skip

    def set(self, off: int) -> None:
        """From now on it is `off` seconds ahead."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{off:+d}\n")
        os.replace(new, self._file)
