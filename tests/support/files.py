"""What lies on disk below a running server."""

from __future__ import annotations

from pathlib import Path


def holding(folder: Path, *words: bytes) -> list[Path]:
    """The files below a folder that hold one of these words."""
    found = []
    for path in sorted(folder.rglob("*")):
        try:
            held = path.read_bytes() if path.is_file() else b""
        except FileNotFoundError:
            # Compacted away between the listing and the reading: what it held is in a newer file. Look at all again.
            return holding(folder, *words)
        if any(word in held for word in words):
            found.append(path)
    return found
