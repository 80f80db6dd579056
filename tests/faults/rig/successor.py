"""A second server that takes over the journal of one that ended."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path

from support import Server, until

from . import audit


def adopt(first: Server, root: Path, **options: str) -> Server:
    """A server with the keys of `first` and a database of its own, not started."""
    second = Server(root, sections=copy.deepcopy(first.sections), **options)
    shutil.copytree(first.root / "keys", second.root / "keys")
    second.run("init", "--adopt", "--tenant", "acme").ok()
    second.keys, second.vkey, second.origin = dict(first.keys), first.vkey, first.origin
    return second


def catch_up(second: Server, leaves: list[bytes]) -> None:
    """Starts it, and compares: from the journal alone it posts what the first one posted."""
    second.start()
    until("it to post what the first posted", lambda: second.admin.size() >= len(leaves), 120)
    assert audit.leaves(second.admin)[: len(leaves)] == leaves
