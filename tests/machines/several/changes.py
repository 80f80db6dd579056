"""What operators change while something fails: a replica that comes and goes, and a new key of the log. Like a fault it prepares, strikes
and ends; what can't be done while the other failure lasts is asked for again until it is over, as the pages say."""

from __future__ import annotations

import copy
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from rig.trio import lives

from support import cli, until
from support.binary import Finished

from .faults import Steps, Target
from .site import SERVE, HostServer, Site

#: How long an operator asks again, in seconds: as long as clients do. A service that does not take it then never does.
ASKED_FOR = 180.0


class Asked(threading.Thread):
    """An operator who asks one replica after the other until one of them has done it."""

    def __init__(self, site: Site, what: str, ask: Callable[[HostServer], Finished], done: Callable[[Finished], bool]) -> None:
        super().__init__(daemon=True)
        self.site, self.what, self.ask, self.is_done = site, what, ask, done
        self.answers: list[str] = []
        self.begun = time.monotonic()
        self.start()

    def run(self) -> None:
        """Until it is done, or for too long."""
        while time.monotonic() - self.begun < ASKED_FOR:
            for server in list(self.site.servers.values()):
                assert isinstance(server, HostServer)
                answer = self.ask(server)
                self.answers.append((answer.out + answer.err)[-300:])
                if self.is_done(answer):
                    return
            time.sleep(0.5)
        self.answers.append("given up")

    def end(self) -> None:
        """Waits for it."""
        self.join(ASKED_FOR + 60)
        assert not self.is_alive() and self.answers[-1] != "given up", f"{self.what}: {self.answers[-4:]}"


def replica_added(at: Target) -> Steps:
    """A fourth replica, on the host of one of the three, becomes a member, and is removed."""
    site = at.site
    name = f"m{len(site.newcomers) + 1}"
    vkey = _newcomer(at, name)
    newcomer = site.newcomers[name]
    newcomer.start(ready=False)
    until(f"{name} to take connections", lambda: lives(newcomer))
    yield
    added = _replica(site, f"{name} to become a member", "add", name, vkey)
    yield
    added.end()
    newcomer.wait_ready(ASKED_FOR)
    _replica(site, f"{name} to be removed", "remove", name).end()
    newcomer.stop()


def log_key_rotated(at: Target) -> Steps:
    """The key of the log rotates."""
    site, names = at.site, list(at.site.servers)
    made = cli("key", "make", "--config", site[names[0]].config, "--tenant", "acme", "--use", "log").ok()
    file = Path(made.out.splitlines()[1])
    for other in names[1:]:
        shutil.copy2(file, site[other].keys_dir / "acme" / file.name)
    yield

    def ask(server: HostServer) -> Finished:
        return server.remote("key rotate", "--tenant", "acme", "--use", "log", "--overlap", 0, key=server.admin_key)

    # An answer that did not come may have been done: then there is no next key any more.
    asked = Asked(site, "the key to rotate", ask, lambda done: done.code == 0 or "There is no file of a next log key" in done.err)
    yield
    asked.end()


def _replica(site: Site, what: str, *arguments: Any) -> Asked:
    def ask(server: HostServer) -> Finished:
        where = ["--server", server.url, "--allow-http", "--api-key-file", server.key_file(server.operator_key)]
        return cli("replica", *arguments, *where, "--reason", "For the test.", "--json")

    return Asked(site, what, ask, lambda done: done.code == 0)


def _newcomer(at: Target, name: str) -> str:
    """A replica begun from a backup, as docs/operate/several-machines.md says, with a key of its own; its public key."""
    site, source = at.site, at.server
    headers = {"Authorization": f"Bearer {source.operator_key.text}"}
    made = httpx.post(f"{source.url}/v1/backup", json={"name": name}, headers=headers, timeout=120, trust_env=False)
    assert made.status_code in (200, 201), made.text
    folder = site.root / name
    server = HostServer(folder, at.host, site.network, copy.deepcopy(source.sections), port=SERVE + len(site.newcomers) + 1)
    shutil.copytree(source.root / "keys", server.root / "keys")
    shutil.copytree(source.backup_dir / name, server.data_dir)
    shutil.rmtree(source.backup_dir / name)
    server.keys, server.vkey, server.origin = dict(source.keys), site.vkey, site.origin
    site.newcomers[name] = server
    key_file = folder / "cosigner.key"
    vkey = cli("replica", "key", "--config", server.config, "--name", name, key_file).ok().out.strip()
    server.sections["replica"] |= {"name": name, "key_file": key_file}
    server.write_config()
    server.guard_path.parent.mkdir()
    server.run("recover", "--tenant", "acme", "--new-guard", "--reason", "A new replica.").ok()
    return vkey


def log_vkeys(first: str, leaves: list[dict[str, Any]]) -> list[str]:
    """All keys of the log, from its entries."""
    return [first, *(entry["event"]["vkey"] for entry in leaves if entry["kind"] == "key" and entry["event"]["use"] == "log")]


class Members:
    """Who the replicas are at each size, from the log's entries alone."""

    def __init__(self, first: dict[str, str], entries: list[dict[str, Any]]) -> None:
        self.sets = [(0, first)]
        for index, entry in enumerate(entries):
            if entry["kind"] == "members":
                self.sets.append((index + 1, {one["name"]: one["vkey"] for one in entry["event"]["members"]}))

    def at(self, size: int) -> dict[str, str]:
        """Of a tree of that size."""
        return next(members for begin, members in reversed(self.sets) if begin <= size)
