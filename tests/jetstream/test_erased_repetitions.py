"""Repetitions of an erased event that no erasure message names yet: their bytes go in the end, whatever stops it in the middle (P11)."""

from __future__ import annotations

import base64
import json
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from rig import shim as shims  # noqa: E402
from rig.broker import STREAM, Journey, fence  # noqa: E402
from test_erase import places, secret  # noqa: E402
from test_holes import put_back  # noqa: E402
from test_p4 import halted_now, health  # noqa: E402

from support import event, until  # noqa: E402

#: One erasure message names 200 of them.
REPETITIONS = 210
#: What the broker says where there is no further message.
NO_MESSAGE = "10037"


@pytest.fixture(scope="session")
def shim_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled shim."""
    return shims.build(tmp_path_factory.mktemp("shim"))


@pytest.fixture
def make_shim(shim_library: Path, tmp_path: Path) -> Callable[[], shims.Shim]:
    """Makes a shim; start a server with `env=shim.env`."""
    return lambda: shims.Shim(shim_library, tmp_path / "orders")


def died_in_the_middle(journey: Journey, shim: shims.Shim, word: str) -> int:
    """An event with more repetitions than one message names is erased; the server dies when the first erasure message is posted and
    before the second is sent. Returns the index of the event."""
    server = journey.server
    sent = event(payload={"params": word})
    index = server.as_("publisher").publish(sent)[0]["index"]
    with journey.peer("acme-gw-1") as producer:
        for _ in range(REPETITIONS):
            producer.push(json.dumps(sent).encode(), "countersign.acme.decisions.gw-1")
    fence(journey, "all of them")
    server.stop()
    server.start(env=shim.env)
    admin = server.admin
    shim.arm("send", "dies before", path="socket", nth=2, data=b"HPUB countersign.acme.system.erasure")
    with pytest.raises(Exception):  # noqa: B017, PT011  the server dies under it
        admin.http.post(f"{admin.t}/erasures", json={"indexes": [index]})
    shim.wait_struck()
    server.wait_exit()
    server.kill9()
    return index


def held(journey: Journey, word: str) -> int:
    """How many journal messages hold the word."""
    found, seq = 0, 0
    with journey.peer() as peer:
        while True:
            asked = {"seq": seq + 1, "next_by_subj": "countersign.acme.>"}
            try:
                message = peer.api(f"STREAM.MSG.GET.{STREAM}", asked)["message"]
            except AssertionError as none:
                assert NO_MESSAGE in str(none), none
                return found
            seq = message["seq"]
            found += word.encode() in base64.b64decode(message.get("data", ""))


def all_gone(journey: Journey, word: str, index: int) -> None:
    """No message, no file of the broker and none of ours holds it; what it says of the repetitions is complete; the log goes on."""
    server = journey.server
    until("the bytes to go", lambda: held(journey, word) == 0, 150)
    folders = [server.data_dir, journey.nats.store]
    until("the bytes to be nowhere", lambda: not places(folders, word), 120)
    named = {gone["seq"] for entry in server.admin.entries(kind="erasure") for gone in erased_by(journey, entry)}
    assert len(named) == REPETITIONS + 1, "each repetition, and the event, is named"
    assert server.admin.erase(index)["status"] == "complete"
    assert server.as_("publisher").publish(event())[0]["status"] == "posted"
    until("health to be green", lambda: health(server)["status"] == "green", 120)
    server.stop()
    server.fsck().ok()


def erased_by(journey: Journey, entry: dict[str, Any]) -> list[dict[str, Any]]:
    """The messages that an erasure's journal message names."""
    with journey.peer() as peer:
        return json.loads(base64.b64decode(peer.message(entry["journal"]["seq"])["data"]))["messages"]


@pytest.mark.parametrize("then", ["it starts again", "its journal is late", "its log is halted"])
def test_p11_repetitions_without_a_name_go_in_the_end(
        then: str, make_journey: Callable[..., Journey], make_shim: Callable[[], shims.Shim], rng: random.Random, tmp_path: Path) -> None:
    """What leads to them stays until they are named, also where the log can't take messages for a while."""
    journey = make_journey(compression="none")
    server, word = journey.server, secret(rng)
    index = died_in_the_middle(journey, make_shim(), word)
    assert held(journey, word) == REPETITIONS + 1
    if then == "its journal is late":
        journey.nats.stop()
        server.start(ready=False)
        until("it to wait for its journal", lambda: answers(journey) and health(server)["journals_away"] == 1, 120)
        assert server.admin.size() > index
        journey.nats.start()
    elif then == "its log is halted":
        halted_meanwhile(journey, tmp_path)
        assert held(journey, word) == REPETITIONS + 1, "a halted log erases nothing"
        server.start()
    else:
        server.start()
    until("it to be ready", lambda: answers(journey) and health(server)["halted_logs"] == 0 and health(server)["journals_away"] == 0, 120)
    all_gone(journey, word, index)


def answers(journey: Journey) -> bool:
    """Whether it serves health."""
    try:
        return bool(health(journey.server))
    except Exception:  # noqa: BLE001  it starts
        return False


def halted_meanwhile(journey: Journey, tmp_path: Path) -> None:
    """The stopped server starts beside the guard of a history that its journal does not lead to, and halts; then the guard
    that belongs to it is put back."""
    server, nats = journey.server, journey.nats
    shutil.copytree(server.data_dir, tmp_path / "then" / "data")
    shutil.copy(server.guard_path, tmp_path / "then" / "guard")
    nats.stop()
    nats.copy_store(tmp_path / "broker")
    nats.start()
    server.start()
    for _ in range(3):
        server.as_("publisher").publish(event())
    server.stop()
    nats.stop()
    nats.restore_store(tmp_path / "broker")
    nats.start()
    put_back(journey, tmp_path / "then", guard=False)
    server.start(ready=False)
    until("the log to halt", lambda: halted_now(server), 120)
    assert server.admin.size() > 0
    server.stop()
    shutil.copy(tmp_path / "then" / "guard", server.guard_path)
