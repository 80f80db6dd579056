"""Three hosts, each with a node of NATS and a replica, and a balancer in front; set up as docs/operate/three-machines says."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
from rig.trio import Trio

from support import NatsServer, Server, until
from support.binary import Finished
from support.certificates import make_certificates

from .network import BALANCER, HOSTS, Network

FILES = Path(__file__).parents[3] / "docs" / "operate" / "three-machines"
SERVE, NATS, MONITOR, HTTP = 8470, 4222, 8222, 80
#: The rest of the suite may run beside this.
PATIENCE = 120.0


def password(name: str) -> str:
    """Of a replica, at NATS."""
    return f"password of {name}, 32 random bytes elsewhere"


class Node(NatsServer):
    """The node of NATS of a host, with the configuration that we ship."""

    def __init__(self, root: Path, name: str, network: Network, certificates: Path) -> None:
        self.address, self.prefix = HOSTS[name], network.on(name)
        super().__init__(root)
        self.port, self.name = NATS, name
        passwords = {f"NATS_{host.upper()}_PASSWORD": f'"{password(host)}"' for host in HOSTS}
        self.env = {"NATS_NAME": name, "NATS_HOST": self.address} | passwords
        text = (FILES / "nats.conf").read_text()
        for old, new in {
            "/etc/nats/host.pem": certificates / "server.pem", "/etc/nats/host.key": certificates / "server.key",
            "/etc/nats/ca.pem": certificates / "ca.pem", "/var/lib/nats": self.store,
        }.items():  # fmt: skip
            assert f'"{old}"' in text, f"nats.conf no longer has {old}"
            text = text.replace(f'"{old}"', f'"{new}"')
        self.config.write_text(text)

    def monitor(self, path: str) -> dict[str, Any] | None:
        """What its monitoring says; `None` if it says nothing."""
        try:
            answer = httpx.get(f"http://{self.address}:{MONITOR}{path}", timeout=5, trust_env=False)
            return dict(answer.json())
        except (httpx.HTTPError, ValueError):
            return None

    def reload(self, text: str) -> None:
        """Another configuration, by SIGHUP."""
        self.config.write_text(text)
        assert self.process is not None
        before = self.log_path.read_text().count("Reloaded server configuration")
        self.process.send_signal(signal.SIGHUP)
        until("the configuration to be read again", lambda: self.log_path.read_text().count("Reloaded server configuration") > before)


class HostServer(Server):
    """A replica on a host."""

    def __init__(self, root: Path, host: str, network: Network, sections: dict[str, Any], port: int = SERVE) -> None:
        self._on = network.on(host)
        super().__init__(root, sections=sections, plaintext_behind_proxy=True)
        self.address = HOSTS[host]
        self.url = f"http://{self.address}:{port}"
        self.settings["listen"] = f"{self.address}:{port}"
        self.write_config()

    def start(self, *, prefix: tuple[str, ...] = (), **options: Any) -> "HostServer":
        """On its host."""
        super().start(prefix=(*self._on, *prefix), **options)
        return self

    def remote(self, command: str, *args: object, **options: Any) -> Finished:
        """The same; the way is this test's alone."""
        return super().remote(command, "--allow-http", *args, **options)


class Site(Trio):
    """All of it. `with Site(…)`: everything runs, and this thread is where the clients are."""

    def __init__(self, root: Path, sections: dict[str, Any] | None = None) -> None:
        self.network = Network().__enter__()
        self._entered = self.network.entered()
        self._entered.__enter__()
        self.balancer: subprocess.Popen[bytes] | None = None
        self.servers: dict[str, Server] = {}
        #: Replicas that came later, by name; the balancer knows none of them.
        self.newcomers: dict[str, HostServer] = {}
        self.nodes: dict[str, Node] = {}
        try:
            root.mkdir(parents=True, exist_ok=True)
            make_certificates(root / "tls", addresses=tuple(HOSTS.values()))
            self.nodes = {name: Node(root / f"nats-{name}", name, self.network, root / "tls") for name in HOSTS}
            for node in self.nodes.values():
                node.start()
            self.nats_is_whole()
            url = ",".join(f"tls://{address}:{NATS}" for address in HOSTS.values())
            journal = {"kind": "jetstream", "url": url, "replicas": 3, "tls_ca_file": root / "tls" / "ca.pem"}
            super().__init__(root, url, tuple(HOSTS), {"journal": journal, "approvals": {"dir": root / "approvals"}} | (sections or {}))
            self._balance()
        except BaseException:
            self.__exit__()
            raise

    def make(self, name: str, sections: dict[str, Any]) -> Server:
        """A replica, with a login of its own at NATS."""
        folder = self.root / name
        folder.mkdir(parents=True, exist_ok=True)
        (secret := folder / "nats.password").write_text(password(name) + "\n")
        secret.chmod(0o600)
        sections["journal"] |= {"user": f"replica-{name}", "password_file": secret}
        return HostServer(folder, name, self.network, sections)

    def table(self, name: str) -> dict[str, Any]:
        """Its `[replica]`."""
        return super().table(name) | {"monitors": [f"http://{address}:{MONITOR}" for address in HOSTS.values()]}

    def _balance(self) -> None:
        text = (FILES / "haproxy.cfg").read_text()
        for old, new in {":443 ssl crt /etc/haproxy/log.example.com.pem": f":{HTTP}", " ssl verify required ca-file /etc/haproxy/ca.pem": ""}.items():
            assert old in text, f"haproxy.cfg no longer has {old}"
            text = text.replace(old, new)
        (config := self.root / "haproxy.cfg").write_text(text)
        with (self.root / "haproxy.log").open("ab") as log:
            self.balancer = subprocess.Popen(
                [*self.network.on("balancer"), "haproxy", "-db", "-f", str(config)], stdout=log, stderr=log, start_new_session=True
            )

    #: What clients are given.
    url = f"http://{BALANCER}:{HTTP}"

    # how it stands

    def nats_is_whole(self) -> None:
        """Waits until every node that was not killed says that its streams are current, and all have one leader."""

        def look() -> bool:
            told = [node.monitor("/healthz") for node in self.nodes.values()]
            one = [node.monitor("/jsz") for node in self.nodes.values()]
            leaders = {(each or {}).get("meta_cluster", {}).get("leader") for each in one}
            return all(each and each.get("status") == "ok" for each in told) and len(leaders) == 1 and leaders != {None}

        until("NATS to be whole", look, PATIENCE)

    def stream_leader(self, stream: str = "COUNTERSIGN_acme") -> str:
        """The node that leads the journal."""

        def look() -> str | None:
            for node in self.nodes.values():
                if node.process is None:
                    continue
                told = node.monitor("/jsz?accounts=true&streams=true") or {}
                for account in told.get("account_details", []):
                    for one in account.get("stream_detail", []):
                        leader = one.get("cluster", {}).get("leader")
                        if one["name"] == stream and leader:
                            return str(leader)
            return None

        return until(f"somebody to lead {stream}", look, PATIENCE)

    def leader(self) -> str:
        """The replica that proposes first, as those that answer see it."""

        def look() -> str | None:
            for name, server in self.servers.items():
                try:
                    headers = {"Authorization": f"Bearer {server.operator_key.text}"}
                    told = httpx.get(f"{server.url}/v1/replicas", headers=headers, timeout=5, trust_env=False).json()
                except (httpx.HTTPError, ValueError):
                    continue
                if any(log["leads"] for log in told["logs"]):
                    return name
            return None

        return until("a replica to lead", look, PATIENCE)

    def start_ended(self) -> None:
        """Starts whatever does not run, as systemd does."""
        for node in self.nodes.values():
            if node.process is None:
                node.start()
        for server in self.servers.values():
            if server.process is None or not server.alive():
                server.process = None
                server.start(ready=False)

    def whole_again(self) -> None:
        """Starts whatever does not run, and waits until all three are one service."""
        self.network.heal()
        self.start_ended()
        self.nats_is_whole()
        for server in self.servers.values():
            server.wait_ready(PATIENCE)
        newest = max(server.admin.size() for server in self.servers.values())
        self.reach(newest, seconds=PATIENCE)

    def all_ready(self) -> None:
        """Waits until each answers again, after a preparation."""
        self.nats_is_whole()
        for server in self.servers.values():
            server.wait_ready(PATIENCE)

    def reports(self) -> dict[str, list[str]]:
        """Which troubles each replica that answers reports."""
        found = {}
        for name, server in self.servers.items():
            try:
                headers = {"Authorization": f"Bearer {server.operator_key.text}"}
                told = httpx.get(f"{server.url}/healthz", headers=headers, timeout=2, trust_env=False).json()
                found[name] = sorted({trouble["code"] for one in told["tenants"] for trouble in one["troubles"]})
            except (httpx.HTTPError, ValueError, KeyError):
                found[name] = ["no answer"]
        return found

    def others(self, name: str) -> list[str]:
        """The hosts beside this one."""
        return [other for other in HOSTS if other != name]

    def __exit__(self, *_: object) -> None:
        try:
            for server in [*self.servers.values(), *self.newcomers.values()]:
                server.__exit__()
            for node in self.nodes.values():
                node.kill9()
            if self.balancer is not None:
                os.killpg(self.balancer.pid, signal.SIGKILL)
                self.balancer.wait(timeout=30)
        finally:
            self._entered.__exit__(None, None, None)
            self.network.__exit__()


def paused(process: subprocess.Popen[bytes] | None) -> Callable[[], None]:
    """SIGSTOP to a process; what wakes it. One that another failure has ended stays so."""
    if process is None or process.poll() is not None:
        return lambda: None
    os.kill(process.pid, signal.SIGSTOP)

    def wake() -> None:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGCONT)

    return wake
