"""P11: a server that dies in the middle of an erasure goes on with it by itself."""

from __future__ import annotations

import random
import threading

from support import Server, event, until
from test_erase import bare, places, secret  # noqa: F401  `bare` is a fixture


def killed_while_erasing(server: Server, index: int, seconds: float) -> None:
    """Asks for an erasure, kills the server so much later, and starts it again."""
    client = server.client(server.admin_key)

    def erase() -> None:
        try:
            client.erase(index)
        except Exception:  # noqa: BLE001  the server dies under it
            pass

    thread = threading.Thread(target=erase)
    thread.start()
    thread.join(seconds)
    server.kill9()
    thread.join()
    server.start()


def test_p11_kill_during_an_erasure(bare: Server, rng: random.Random) -> None:
    """kill -9 at random moments of an erasure: if its entry is there, it is completed after the restart by itself."""
    for _ in range(6):
        word = secret(rng)
        index = bare.as_("publisher").publish(event(payload={"params": word}))[0]["index"]
        before = len(bare.admin.entries(kind="erasure"))
        killed_while_erasing(bare, index, rng.uniform(0, 0.05))
        if len(bare.admin.entries(kind="erasure")) > before:
            until("the erasure is completed", lambda word=word: not places([bare.data_dir], word))
        else:
            assert places([bare.data_dir], word)
            bare.admin.erase(index)
        assert not places([bare.data_dir], word)
    bare.stop()
    bare.fsck().ok()


def test_p11_kill_while_repetitions_are_named(bare: Server, rng: random.Random) -> None:
    """More repetitions than one erasure message names; kill -9 at random moments: they go as well, by themselves."""
    for _ in range(6):
        word = secret(rng)
        made = event(payload={"params": word})
        index = bare.as_("publisher").publish(made)[0]["index"]
        for repetitions in (105, 105):
            bare.as_("publisher").publish(*[made] * repetitions)
        killed_while_erasing(bare, index, rng.uniform(0, 0.15))
        # What was published again in the round before is named by an erasure of its own at this start.
        if index not in {entry["event"]["index"] for entry in bare.admin.entries(kind="erasure")}:
            assert places([bare.data_dir], word)
            bare.admin.erase(index)
        until("the bytes to go", lambda word=word: not places([bare.data_dir], word), 120)
        assert bare.as_("publisher").publish(made)[0]["status"] == "duplicate"
    bare.stop()
    bare.fsck().ok()
