"""A Countersign server in a directory of its own."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
from pathlib import Path
from typing import Any

import httpx

from .binary import Finished, cli, countersign_bin
from .client import Client, Key
from .waits import free_port, until


class ServerExited(AssertionError):
    """`serve` ended before it was ready."""

    def __init__(self, code: int, log: str) -> None:
        super().__init__(f"exit {code}\n{log[-4000:]}")
        self.code, self.log = code, log


def toml(value: Any) -> str:
    """A TOML value; JSON is one for text, numbers, booleans and lists of these. A dict becomes a table on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {toml(member)}" for name, member in value.items()) + "}"
    return json.dumps(str(value) if isinstance(value, Path) else value)


class Server:
    """One data directory, one port, and the process that serves them, across restarts.

    `overrides` are top-level configuration keys; `sections` are tables:
    `Server(root, compression="none", sections={"limits": {"connections": 8}})`.
    """

    def __init__(
        self,
        root: Path,
        *,
        tenant: str = "acme",
        nats: str | None = None,
        scheme: str = "http",
        ca: ssl.SSLContext | None = None,
        sections: dict[str, dict[str, Any]] | None = None,
        **overrides: Any,
    ) -> None:
        self.root, self.tenant, self.ca = root, tenant, ca
        self._wrapped = False
        self.port = free_port()
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self.data_dir, self.keys_dir = root / "data", root / "keys"
        self.guard_path, self.backup_dir = root / "guard" / "guard", root / "backups"
        self.config, self.log_path = root / "countersign.toml", root / "server.log"
        self.settings: dict[str, Any] = {
            "data_dir": self.data_dir,
            "keys_dir": self.keys_dir,
            "guard_path": self.guard_path,
            "backup_dir": self.backup_dir,
            "listen": f"127.0.0.1:{self.port}",
            "public_url": "https://log.example.com",
        } | overrides
        self.sections = dict(sections or {})
        if nats:
            self.sections["journal"] = {"kind": "jetstream", "url": nats} | self.sections.get("journal", {})
        self.process: subprocess.Popen[bytes] | None = None
        self.binary: Path | None = None
        self.env: dict[str, str] | None = None
        self.vkey = ""
        self.origin = ""
        self.keys: dict[str, Key] = {}
        self._clients: list[Client] = []
        root.mkdir(parents=True, exist_ok=True)
        self.write_config()

    @classmethod
    def ready(cls, root: Path, **options: Any) -> "Server":
        """Makes, initialises and starts one."""
        server = cls(root, **options)
        server.init()
        return server.start()

    def write_config(self) -> None:
        """Writes `countersign.toml` from `settings` and `sections`; call after changing them."""
        lines = [f"{name} = {toml(value)}" for name, value in self.settings.items()]
        for section, members in self.sections.items():
            lines += [f"[{section}]", *(f"{name} = {toml(value)}" for name, value in members.items())]
        self.config.write_text("\n".join(lines) + "\n")

    # commands

    def run(self, command: str, *args: object, **options: Any) -> Finished:
        """Runs `countersign <command> --config … <args>`."""
        return cli(command, "--config", self.config, *args, **options)

    def remote(self, command: str, *args: object, key: Key | None = None, **options: Any) -> Finished:
        """Runs a command that asks the running server, e.g. `remote("erase", "--tenant", "acme", 3)`.

        `command` may hold several words: `remote("key list", …)`.
        """
        where = ["--server", self.url, "--api-key-file", self.key_file(key or self.admin_key)]
        return cli(*command.split(), *where, *args, **options)

    def key_file(self, key: Key) -> Path:
        """A file that holds a key, for `--api-key-file`. Outside the data directory."""
        path = self.root / "api-keys" / key.id
        path.parent.mkdir(mode=0o700, exist_ok=True)
        if not path.exists():
            path.write_text(key.text + "\n")
        return path

    def init(self, tenant: str | None = None) -> dict[str, Any]:
        """`countersign init --json`; the first tenant's keys become this server's."""
        made = self.run("init", "--tenant", tenant or self.tenant, "--json").ok().json()
        if tenant in (None, self.tenant):
            self.vkey, self.origin = made["vkey"], made["origin"]
            self.keys["admin"] = Key(made["admin_key"])
        if made["operator_key"]:
            self.keys["operator"] = Key(made["operator_key"])
        return made

    def fsck(self, *args: object) -> Finished:
        """`countersign fsck --json`; the server must be stopped."""
        assert self.process is None, "stop it first"
        return self.run("fsck", "--json", *args)

    # the process

    def start(self, *, ready: bool = True, prefix: tuple[str, ...] = (), env: dict[str, str] | None = None,
              seconds: float = 60.0, binary: Path | None = None) -> "Server":
        """Starts `serve`; `prefix` is put before it (`("strace", "-f", …)`); `binary`: another build of it."""
        assert self.process is None
        binary, env = binary or self.binary, env or self.env
        self._wrapped = bool(prefix)
        command = [*prefix, str(binary or countersign_bin()), "serve", "--config", str(self.config)]
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env=None if env is None else os.environ | env,
            )
        if ready:
            self.wait_ready(seconds)
        return self

    def signs_beside_others(self, faults: Path) -> None:
        """From its next start on it does not claim its logs, so that several servers sign and decide side by side: what is
        to come, and what a build with fault points allows."""
        self.binary, self.env = faults, {"COUNTERSIGN_SEVERAL_SIGNERS": "1"}

    def wait_ready(self, seconds: float = 60.0) -> None:
        """Waits until `/readyz` answers 200; raises `ServerExited` if the process ends before that."""
        with httpx.Client(base_url=self.url, timeout=5.0, verify=self.ca or False, trust_env=False) as http:
            def look() -> bool:
                if not self.alive():
                    code = self.wait_exit()
                    raise ServerExited(code, self.log)
                try:
                    return http.get("/readyz").status_code == 200
                except httpx.TransportError:
                    return False
            until(f"{self.url}/readyz", look, seconds)

    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process is not None and self.process.poll() is None

    def wait_exit(self, seconds: float = 60.0) -> int:
        """Waits for the process to end by itself; returns its exit status (negative: a signal)."""
        assert self.process is not None
        code = self.process.wait(timeout=seconds)
        self.process = None
        return code

    def kill9(self) -> None:
        """SIGKILL to the process and whatever was put before it."""
        if self.process is not None:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.process.wait(timeout=60)
            if self._wrapped:
                until("what was wrapped to end", lambda group=self.process.pid: not running(group))
            self.process = None

    def stop(self, seconds: float = 60.0) -> None:
        """SIGTERM; must end with status 0."""
        if self.process is not None:
            for client in self._clients:
                client.close()
            self._clients.clear()
            os.killpg(self.process.pid, signal.SIGTERM)
            code = self.wait_exit(seconds)
            assert code == 0, f"exit {code} after SIGTERM\n{self.log[-4000:]}"

    def restart(self, *, kill: bool = False) -> "Server":
        """Stops (or kills) it and starts it again on the same port and directory."""
        self.kill9() if kill else self.stop()
        return self.start()

    @property
    def log(self) -> str:
        """Everything it logged, over all starts."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    # keys and clients

    @property
    def admin_key(self) -> Key:
        """The first admin key (roles admin and auditor)."""
        return self.keys["admin"]

    @property
    def operator_key(self) -> Key:
        """The operator key."""
        return self.keys["operator"]

    def client(self, key: Key | None, tenant: str | None = None, **options: Any) -> Client:
        """A client with a key (or none); closed when the server stops."""
        client = Client(self.url, tenant or self.tenant, key, ca=self.ca, **options)
        self._clients.append(client)
        return client

    @property
    def admin(self) -> Client:
        """A client with the admin key."""
        return self.as_("admin")

    def as_(self, role: str) -> Client:
        """A client with a key of one role, made where there is none; publishers and enforcers are `gw-1`."""
        if role not in self.keys:
            producer = "gw-1" if role in ("publisher", "enforcer") else None
            self.keys[role] = self.add_key([role], producer, "kim" if role == "reviewer" else None)
        key = self.keys[role]
        for client in self._clients:
            if client.key == key and client.tenant == self.tenant:
                return client
        return self.client(key)

    def add_key(self, roles: list[str], producer: str | None = None, person: str | None = None) -> Key:
        """Issues an API key of the tenant."""
        return self.admin.add_key(roles, producer, person)

    def add_tenant(self, name: str) -> dict[str, Any]:
        """Makes a tenant on the running server: `{tenant, origin, vkey, key}`."""
        operator = self.client(self.operator_key)
        answer = operator.http.post("/v1/tenants", json={"tenant": name})
        assert answer.status_code == 201, answer.text
        return answer.json()

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._clients:
            client.close()
        self._clients.clear()
        self.kill9()


def running(group: int) -> list[int]:
    """The processes of a process group that have not ended."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # pid (name) state parent group …: the name may hold anything
            state, _, its_group = stat.read_text().rpartition(")")[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(its_group) == group and state not in "ZX":
            found.append(int(stat.parent.name))
    return found
