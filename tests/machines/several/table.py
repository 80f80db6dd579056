"""Every failure, by the name that it has in docs/operate/failures.md, and where it strikes."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from support import until

from .changes import log_key_rotated, replica_added
from .faults import (
    Steps,
    Target,
    clock_ahead,
    clock_behind,
    cosigning_cut,
    deaf,
    disk_back,
    disk_full,
    disk_slow,
    guard_lost,
    machine_back,
    machine_killed,
    machine_unplugged,
    mute,
    nats_back,
    nats_parted,
    node_killed,
    node_stopped,
    parted,
    replica_off_nats,
    server_killed,
    server_stopped,
)
from .site import Site

#: Failures that end last, in this order: a person can only do what they need once the other failure is over.
LAST = ("guard lost", "replica added and removed", "log key rotated")
Maker = Callable[[Target], Steps]


@dataclass(frozen=True)
class Fault:
    """A fault, and where it strikes."""

    name: str
    make: Maker
    #: Of which host; `any` is drawn.
    where: Callable[[Site, random.Random], str]

    @property
    def takes_the_server(self) -> bool:
        """It stops and starts the replica to prepare itself: two such are never on one host."""
        return self.make in (disk_back, machine_back, nats_back, guard_lost, clock_ahead, clock_behind, disk_full)


def anywhere(site: Site, rng: random.Random) -> str:
    """One of three."""
    return rng.choice(sorted(site.servers))


def leader(site: Site, rng: random.Random) -> str:
    """Where the replica is that proposes."""
    return site.leader()


def follower(site: Site, rng: random.Random) -> str:
    """Where a replica is that does not."""
    return rng.choice(site.others(site.leader()))


def stream_leader(site: Site, rng: random.Random) -> str:
    """Where the journal's leader is."""
    return site.stream_leader()


def stream_follower(site: Site, rng: random.Random) -> str:
    """Where it is not."""
    return rng.choice(site.others(site.stream_leader()))


FAULTS = {fault.name: fault for fault in [
    Fault("server that leads killed", server_killed, leader), Fault("server that follows killed", server_killed, follower),
    Fault("node that leads killed", node_killed, stream_leader), Fault("node that follows killed", node_killed, stream_follower),
    Fault("machine killed", machine_killed, stream_leader), Fault("machine unplugged", machine_unplugged, stream_leader),
    Fault("server stopped", server_stopped, leader), Fault("node stopped", node_stopped, stream_leader),
    Fault("host parted", parted, anywhere), Fault("host deaf", deaf, anywhere), Fault("host mute", mute, anywhere),
    Fault("nodes parted", nats_parted, stream_leader), Fault("replica off NATS", replica_off_nats, anywhere),
    Fault("cosigning cut", cosigning_cut, leader),
    Fault("disk back", disk_back, anywhere), Fault("machine back", machine_back, anywhere), Fault("streams back", nats_back, anywhere),
    Fault("guard lost", guard_lost, anywhere),
    Fault("clock ahead", clock_ahead, anywhere), Fault("clock behind", clock_behind, anywhere),
    Fault("disk slow", disk_slow, anywhere), Fault("disk full", disk_full, anywhere),
    Fault("replica added and removed", replica_added, anywhere), Fault("log key rotated", log_key_rotated, anywhere),
]}  # fmt: skip


def settled(site: Site) -> None:
    """Waits until there is somebody who leads both."""
    until("somebody to lead", lambda: site.leader() and site.stream_leader(), 120)
