"""Whether clients' histories are linearizable: porcupine, a checker that nobody here wrote, decides (`judges/histories`)."""

from __future__ import annotations

import json
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .witnesses import module_bin

SOURCE = Path(__file__).parent.parent / "judges" / "histories"
#: The longest that one history is looked at, in seconds. One that is not decided by then fails the test all the same.
SECONDS = 120
#: When an operation ended whose outcome nobody knows: after everything else.
NEVER = 2**62


@dataclass(frozen=True)
class Operation:
    """What a client asked for and was told. Times in nanoseconds of one clock."""

    client: int
    call: int
    end: int
    input: str
    output: str

    def as_json(self) -> dict[str, Any]:
        """As the judge reads it."""
        members = asdict(self)
        return members | {"return": members.pop("end")}


@dataclass(frozen=True)
class History:
    """All operations on one thing. `cap`: of a budget; for policies, the version in force at the beginning."""

    model: str
    key: str
    ops: list[Operation]
    cap: int = 0


def judge_bin() -> Path:
    """The judge of `judges/histories`."""
    return module_bin("judge", SOURCE)


def judged(histories: list[History]) -> dict[str, Any]:
    """How many histories and operations were checked, and which histories are `wrong` or `undecided`."""
    with tempfile.TemporaryDirectory() as work:
        (file := Path(work) / "histories.json").write_text(json.dumps(
            [{"model": one.model, "key": one.key, "cap": one.cap, "ops": [op.as_json() for op in one.ops]} for one in histories]
        ))  # fmt: skip
        done = subprocess.run([judge_bin(), file, str(SECONDS)], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return dict(json.loads(done.stdout))
