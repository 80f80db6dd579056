"""What clients asked for and were told, kept in this process, which no fault touches."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field

from support.histories import NEVER, History, Operation


@dataclass
class Board:
    """Everything that all clients know."""

    #: Event id → index of its entry, as acknowledged.
    events: dict[str, int] = field(default_factory=dict)
    #: When each acknowledgement came, in seconds of the monotonic clock, in order.
    acknowledged: list[float] = field(default_factory=list)
    receipts: list[str] = field(default_factory=list)
    #: What was told instead of an answer: when, and the code or the error.
    refused: list[tuple[float, str]] = field(default_factory=list)
    #: (model, key) → operations.
    histories: dict[tuple[str, str], list[Operation]] = field(default_factory=dict)
    #: Redemptions that were acknowledged, by approval.
    redeemed: Counter[str] = field(default_factory=Counter)
    #: Answers that must not be, whatever happens.
    wrong: list[str] = field(default_factory=list)
    #: Whatever clients began and did not end, by reason: no promise is about it.
    left: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def acknowledge(self, id: str, index: int, receipt: str | None) -> None:
        """An event is in the log, they say."""
        with self.lock:
            self.acknowledged.append(time.monotonic())
            if self.events.setdefault(id, index) != index:
                self.wrong.append(f"{id}: index {self.events[id]}, now {index}")
            if receipt:
                self.receipts.append(receipt)

    def refuse(self, code: str) -> None:
        """No answer, or "try again"."""
        with self.lock:
            self.refused.append((time.monotonic(), code))

    def blame(self, what: str) -> None:
        """An answer that must not be."""
        with self.lock:
            self.wrong.append(what)

    def leave(self, why: str) -> None:
        """A client gives something up."""
        with self.lock:
            self.left[why] += 1

    def note(self, model: str, key: str, client: int, call: int, input: str, output: str) -> None:
        """An operation that began at `call` and ends now; one that is unknown never ends."""
        end = NEVER if output == "unknown" else time.monotonic_ns()
        with self.lock:
            self.histories.setdefault((model, key), []).append(Operation(client, call, end, input, output))
            if output == "redeemed":
                self.redeemed[key] += 1

    def told(self, begin: float, end: float) -> Counter[str]:
        """Which codes and errors clients met in a time."""
        with self.lock:
            return Counter(code for at, code in self.refused if begin <= at <= end)

    def silence(self, begin: float, end: float) -> float:
        """The longest time without any acknowledgement that ended in this time, or was not over at its end, in seconds."""
        with self.lock:
            acks = list(self.acknowledged)
        before = max((at for at in acks if at <= begin), default=begin)
        moments = [before, *(at for at in acks if begin < at <= end)]
        gaps = [after - at for at, after in zip(moments, moments[1:])] + [end - moments[-1]]
        return max(gaps)

    def all_histories(self, cap: int, version: int) -> list[History]:
        """For the judge. `cap` of each budget; `version` of the policies at the beginning."""
        first = {"redemption": 0, "budget": cap, "policy": version}
        return [History(model, key, ops, first[model]) for (model, key), ops in self.histories.items()]
