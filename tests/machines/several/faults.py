"""What can happen to three machines. What is expected of each stands in the table of docs/operate/failures.md, which was written
before any of them was run; this only does it.

A fault is a generator: it prepares (snapshots), stops at its first `yield`, strikes, stops at the second one, and is undone.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from support import event, until
from support.faketime import Clock

from .network import ROUTES_PORT
from .site import NATS, HostServer, Site, paused

Steps = Generator[None, None, None]
HOUR = 3600
#: Room of a disk that becomes full, beyond what is there.
ROOM_BYTES = 256 * 1024
#: Events that fill what is left, and the most of them.
LARGE_BYTES, LARGE_EVENTS_MOST = 150_000, 1000
EXIT_WRITE_FAILED = 74
#: What a flush of a slow disk takes longer, in microseconds.
SLOW_FLUSH_US = 200_000


@dataclass(frozen=True)
class Target:
    """Where a fault strikes."""

    site: Site
    host: str
    rng: random.Random

    @property
    def server(self) -> HostServer:
        """The replica there."""
        found = self.site.servers[self.host]
        assert isinstance(found, HostServer)
        return found

    def snapshot(self, *parts: str) -> Callable[[], None]:
        """Copies folders of the stopped replica; what puts them back."""
        kept = self.server.root / f"snapshot-{time.monotonic_ns()}"
        for part in parts:
            shutil.copytree(self.server.root / part, kept / part)

        def back() -> None:
            for part in parts:
                shutil.rmtree(self.server.root / part)
                shutil.copytree(kept / part, self.server.root / part)
            shutil.rmtree(kept)

        return back

    def restart(self, **options: object) -> None:
        """Ends the replica, whatever its state, and starts it without waiting."""
        self.server.kill9()
        self.server.start(ready=False, **options)

    def goes_on(self) -> None:
        """Waits until the replica shows more than now: something happened that a snapshot does not have."""
        self.server.wait_ready(120)
        size = self.server.admin.size()
        self.site.post(next(iter(self.site.others(self.host))))
        self.site.reach(size + 1, self.host, seconds=120)


# Processes


def server_killed(at: Target) -> Steps:
    """kill -9 of the replica."""
    yield
    at.server.kill9()
    yield


def node_killed(at: Target) -> Steps:
    """kill -9 of the node of NATS."""
    yield
    at.site.nodes[at.host].kill9()
    yield


def machine_killed(at: Target) -> Steps:
    """Both at once."""
    yield
    at.server.kill9()
    at.site.nodes[at.host].kill9()
    yield


def machine_unplugged(at: Target) -> Steps:
    """Both at once, and nobody is told: a machine without power closes no connection."""
    yield
    at.site.network.part(at.host, [*at.site.others(at.host), "balancer"])
    at.server.kill9()
    at.site.nodes[at.host].kill9()
    yield
    at.site.network.heal()


def server_stopped(at: Target) -> Steps:
    """SIGSTOP of the replica."""
    yield
    wake = paused(at.server.process)
    yield
    wake()


def node_stopped(at: Target) -> Steps:
    """SIGSTOP of the node of NATS."""
    yield
    wake = paused(at.site.nodes[at.host].process)
    yield
    wake()


# Network


def parted(at: Target) -> Steps:
    """The host and the other two get nothing of each other. Clients reach all."""
    yield
    at.site.network.part(at.host, at.site.others(at.host))
    yield
    at.site.network.heal()


def deaf(at: Target) -> Steps:
    """The host gets nothing of the other two, and they get what it sends."""
    yield
    at.site.network.deafen(at.host, at.site.others(at.host))
    yield
    at.site.network.heal()


def mute(at: Target) -> Steps:
    """The other two get nothing of the host, and it gets what they send."""
    yield
    for other in at.site.others(at.host):
        at.site.network.deafen(other, [at.host])
    yield
    at.site.network.heal()


def nats_parted(at: Target) -> Steps:
    """The nodes of NATS alone: its routes are cut, and replicas reach every node."""
    yield
    at.site.network.part(at.host, at.site.others(at.host), ROUTES_PORT)
    yield
    at.site.network.heal()


def replica_off_nats(at: Target) -> Steps:
    """The replica alone reaches no node but its own."""
    yield
    at.site.network.part(at.host, at.site.others(at.host), NATS)
    yield
    at.site.network.heal()


def cosigning_cut(at: Target) -> Steps:
    """The replica may neither ask the others for cosignatures nor answer them; its journal and its register work."""
    yield
    before = {name: node.config.read_text() for name, node in at.site.nodes.items()}
    login = f"user: replica-{at.host},"
    denied = 'permissions: { publish: { deny: ["countersign-replica.>"] }, subscribe: { deny: ["countersign-replica.>"] } },'
    for name, node in at.site.nodes.items():
        if node.process is not None:
            assert login in before[name]
            node.reload(before[name].replace(login, f"{login} {denied}"))
    yield
    for name, node in at.site.nodes.items():
        node.config.write_text(before[name]) if node.process is None else node.reload(before[name])


# What was stored goes back


def disk_back(at: Target) -> Steps:
    """The database of the replica goes back to a snapshot; its guard, on another disk, does not."""
    yield from _back(at, "data")


def machine_back(at: Target) -> Steps:
    """Database and guard of the replica go back to a snapshot together."""
    yield from _back(at, "data", "guard")


def _back(at: Target, *parts: str) -> Steps:
    at.server.kill9()
    back = at.snapshot(*parts)
    at.server.start(ready=False)
    at.goes_on()
    yield
    at.server.kill9()
    back()
    at.server.start(ready=False)
    yield


def nats_back(at: Target) -> Steps:
    """The streams of one node of NATS go back to a snapshot."""
    node = at.site.nodes[at.host]
    node.kill9()
    kept = node.root / f"snapshot-{time.monotonic_ns()}"
    node.copy_store(kept)
    node.start()
    at.goes_on()
    yield
    node.kill9()
    node.restore_store(kept)
    shutil.rmtree(kept)
    node.start()
    yield


def guard_lost(at: Target) -> Steps:
    """The guard file of the replica is gone, and a person accepts that, as the page says."""
    yield
    at.server.kill9()
    for path in at.server.guard_path.parent.iterdir():
        path.unlink()
    at.server.start(ready=False)
    at.site.halted(at.host, "guard")
    yield
    at.server.kill9()
    at.server.run("recover", "--tenant", "acme", "--new-guard", seconds=180).ok()
    at.server.start(ready=False)


# Clock and disk


def clock_ahead(at: Target) -> Steps:
    """The clock of the replica jumps an hour ahead, and back later."""
    yield from _clock(at, HOUR)


def clock_behind(at: Target) -> Steps:
    """The clock of the replica jumps an hour back, and ahead later."""
    yield from _clock(at, -HOUR)


def _clock(at: Target, seconds: int) -> Steps:
    clock = Clock(at.server.root)
    at.restart(env=clock.env)
    at.server.wait_ready(120)
    yield
    clock.set(seconds)
    yield
    clock.set(0)
    at.restart()


def disk_slow(at: Target) -> Steps:
    """Each flush of the replica takes 0.2 s longer."""
    yield
    if at.server.process is None:
        yield
        return
    slow = f"fsync,fdatasync:delay_exit={SLOW_FLUSH_US}"
    tracer = subprocess.Popen(
        ["strace", "-f", "-qq", "-e", "trace=fsync,fdatasync", "-e", f"inject={slow}", "-o", "/dev/null", "-p", str(at.server.process.pid)]
    )
    yield
    tracer.send_signal(signal.SIGINT)
    tracer.wait(timeout=60)


def disk_full(at: Target) -> Steps:
    """The disk of the database has no room left; later it has."""
    data = at.server.data_dir
    at.server.kill9()
    kept = data.with_name("data-kept")
    data.rename(kept)
    data.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2g", "tmpfs", str(data)]
    subprocess.run(mount, check=True, capture_output=True)
    shutil.copytree(kept, data, dirs_exist_ok=True)
    at.server.start(ready=False)
    at.server.wait_ready(120)
    yield
    used = sum(path.stat().st_blocks * 512 for path in data.rglob("*") if path.is_file())
    subprocess.run(["mount", "-o", f"remount,size={used + ROOM_BYTES}", str(data)], check=True, capture_output=True)
    # What the store has reserved is written first: large events fill it.
    other = at.site[at.rng.choice(at.site.others(at.host))].as_("publisher")
    for _ in range(LARGE_EVENTS_MOST):
        if not at.server.alive():
            break
        with suppress(httpx.HTTPError):
            other.post_events(json.dumps(event(payload={"note": "x" * LARGE_BYTES})).encode())
    until("the replica to end", lambda: not at.server.alive())
    assert at.server.process is None or at.server.wait_exit() == EXIT_WRITE_FAILED, at.server.log[-2000:]
    yield
    subprocess.run(["mount", "-o", "remount,size=2g", str(data)], check=True, capture_output=True)
    at.server.kill9()
    shutil.rmtree(kept)
    shutil.copytree(data, kept)
    subprocess.run(["umount", str(data)], check=True, capture_output=True)
    data.rmdir()
    kept.rename(data)
    at.server.start(ready=False)


def unmount_all(root: Path) -> None:
    """Whatever a fault that was cut short has left mounted below a folder."""
    for line in Path("/proc/mounts").read_text().splitlines():
        where = line.split(" ")[1]
        if where.startswith(f"{root}{os.sep}"):
            subprocess.run(["umount", "-l", where], check=False, capture_output=True)
