"""Machines as network namespaces: each has its own addresses and its own packet filter, and a bridge joins them.

The bridge is in a namespace of its own, with the clients: nothing of this machine's network is changed. A thread that has entered a
namespace stays there, and threads that it starts begin there; so a test enters the clients' one, and everything in it is
between these machines.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import shutil
import signal
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

#: As in docs/operate/three-machines: three hosts, the balancer, and where clients are.
HOSTS = {"a": "10.0.0.1", "b": "10.0.0.2", "c": "10.0.0.3"}
BALANCER = "10.0.0.9"
CLIENTS = "10.0.0.254"
#: What the nodes of NATS say to each other.
ROUTES_PORT = 6222
CLONE_NEWNET = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)
_numbers = itertools.count(1)


def run(*command: str, stdin: str | None = None) -> str:
    """A command of the system; what it prints."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def impossible() -> str | None:
    """Why namespaces can't be made here; `None` if they can."""
    for tool, package in (("ip", "iproute2"), ("nft", "nftables"), ("nsenter", "util-linux")):
        if not shutil.which(tool):
            return f"{tool}: apt-get install {package}"
    name = f"cs{os.getpid()}probe"
    try:
        run("ip", "netns", "add", name)
        try:
            run("ip", "netns", "exec", name, "nft", "add table inet probe")
            run("ip", "-n", name, "link", "add", "name", "one", "type", "veth", "peer", "name", "other")
            run("ip", "-n", name, "link", "add", "name", "bridge0", "type", "bridge")
        finally:
            run("ip", "netns", "del", name)
    except OSError as error:
        return f"network namespaces can't be made here: {error}"
    return None


def remove_left() -> None:
    """Removes namespaces of test processes that were killed, and ends what still runs in them."""
    for path in Path("/run/netns").glob("cs*n*-*"):
        process = path.name[2:].split("n", 1)[0]
        if process.isdigit() and not Path(f"/proc/{process}").exists():
            for left in subprocess.run(["ip", "netns", "pids", path.name], capture_output=True, text=True, check=False).stdout.split():
                with suppress(ProcessLookupError):
                    os.kill(int(left), signal.SIGKILL)
            subprocess.run(["ip", "netns", "del", path.name], capture_output=True, check=False)


class Network:
    """The namespaces, from `with` to its end."""

    def __init__(self) -> None:
        self._begin = f"cs{os.getpid()}n{next(_numbers)}"
        self.addresses = HOSTS | {"balancer": BALANCER}

    def space(self, name: str) -> str:
        """The namespace of a machine."""
        return f"{self._begin}-{name}"

    def on(self, name: str) -> tuple[str, ...]:
        """What is put before a command so that it runs on a machine. The command takes its place: same process id."""
        return "nsenter", f"--net=/run/netns/{self.space(name)}", "--"

    def __enter__(self) -> "Network":
        remove_left()
        try:
            self._make()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _make(self) -> None:
        hub = self.space("clients")
        run("ip", "netns", "add", hub)
        run("ip", "-n", hub, "link", "set", "lo", "up")
        run("ip", "-n", hub, "link", "add", "name", "bridge0", "type", "bridge")
        run("ip", "-n", hub, "link", "set", "bridge0", "up")
        run("ip", "-n", hub, "addr", "add", f"{CLIENTS}/24", "dev", "bridge0")
        for name, address in self.addresses.items():
            space = self.space(name)
            run("ip", "netns", "add", space)
            run("ip", "-n", hub, "link", "add", "name", f"to-{name}", "type", "veth", "peer", "name", "eth0", "netns", space)
            run("ip", "-n", hub, "link", "set", f"to-{name}", "master", "bridge0", "up")
            run("ip", "-n", space, "addr", "add", f"{address}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                run("ip", "-n", space, "link", "set", device, "up")
            self._filter(name, "add table inet cut\nadd chain inet cut input { type filter hook input priority 0; }")

    def __exit__(self, *_: object) -> None:
        for name in [*self.addresses, "clients"]:
            if Path(f"/run/netns/{self.space(name)}").exists():
                run("ip", "netns", "del", self.space(name))

    def _filter(self, name: str, commands: str) -> None:
        run(*self.on(name), "nft", "-f", "-", stdin=commands)

    # cuts: packets vanish without an answer, also those of connections that are there

    def deafen(self, name: str, to: Iterable[str], port: int | None = None) -> None:
        """This machine gets nothing more from those (`port`: nothing from or to that port)."""
        ends = ["tcp dport {0} drop", "tcp sport {0} drop"] if port else ["drop"]
        rules = [f"add rule inet cut input ip saddr {self.addresses[other]} {end.format(port)}" for other in to for end in ends]
        self._filter(name, "\n".join(rules))

    def part(self, name: str, others: Iterable[str], port: int | None = None) -> None:
        """Nothing goes between this machine and those, in either direction."""
        others = list(others)
        self.deafen(name, others, port)
        for other in others:
            self.deafen(other, [name], port)

    def heal(self) -> None:
        """Everything goes again."""
        for name in self.addresses:
            self._filter(name, "flush chain inet cut input")

    @contextmanager
    def entered(self, name: str = "clients") -> Iterator[None]:
        """This thread is on that machine."""
        with open("/proc/thread-self/ns/net", "rb") as before, open(f"/run/netns/{self.space(name)}", "rb") as space:
            _enter(space.fileno())
            try:
                yield
            finally:
                _enter(before.fileno())


def _enter(space: int) -> None:
    if _libc.setns(space, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
