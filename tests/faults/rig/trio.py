"""Three replicas of one log on one JetStream cluster, and an eye on everything that they show."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from support import Server, cli, event, until

from . import audit

NAMES = ("a", "b", "c")
CHECKPOINT = "/v1/tenants/acme/logs/1/checkpoint"


def cosigned_by(note: str, vkeys: dict[str, str]) -> set[str]:
    """Which of these have cosigned a checkpoint; written from C2SP tlog-cosignature alone."""
    text, _, lines = note.rpartition("\n\n")
    text += "\n"
    found = set()
    for line in lines.splitlines():
        _, name, encoded = line.split(" ")
        raw = base64.b64decode(encoded)
        for who, vkey in vkeys.items():
            key_name, _, key = vkey.split("+", 2)
            key_bytes = base64.b64decode(key)
            made = hashlib.sha256(key_name.encode() + b"\n" + key_bytes).digest()[:4]
            if name != key_name or raw[:4] != made:
                continue
            moment = int.from_bytes(raw[4:12], "big")
            message = f"cosignature/v1\ntime {moment}\n{text}".encode()
            Ed25519PublicKey.from_public_bytes(key_bytes[1:]).verify(raw[12:], message)
            found.add(who)
    return found


def lives(server: Server) -> bool:
    """True once it takes connections."""
    try:
        return httpx.get(f"{server.url}/livez", timeout=5, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def keys_document(server: Server) -> dict[str, Any]:
    """The keys and the changes of the replicas, as everybody gets them."""
    return json.loads(server.admin.http.get(f"{server.admin.t}/logs/1/keys").text)


class Eye(threading.Thread):
    """Reads the checkpoint of each replica, again and again, and keeps every one that it was ever shown."""

    def __init__(self, trio: "Trio", every: float = 0.02) -> None:
        super().__init__(daemon=True)
        self.trio, self.every, self.seen, self.ended = trio, every, set[str](), threading.Event()

    def run(self) -> None:
        """Looks until it is stopped."""
        with httpx.Client(timeout=5, trust_env=False) as http:
            while not self.ended.wait(self.every):
                for server in list(self.trio.servers.values()):
                    try:
                        answer = http.get(server.url + CHECKPOINT, headers=self.trio.auditor)
                    except httpx.HTTPError:
                        continue
                    if answer.status_code == 200:
                        self.seen.add(answer.text)

    def stop(self) -> set[str]:
        """Ends it; what it was shown."""
        self.ended.set()
        self.join(30)
        return self.seen


class Trio:
    """Three servers with one log; each has a directory and a cosigner key of its own."""

    def __init__(self, root: Path, nats: str, names: tuple[str, ...] = NAMES, sections: dict[str, Any] | None = None, **overrides: Any) -> None:
        self.root, self.overrides = root, overrides
        sections = {"journal": {"kind": "jetstream", "url": nats, "replicas": 3}} | (sections or {})
        first = self.make(names[0], copy.deepcopy(sections))
        first.init()
        self.servers = {names[0]: first}
        for name in names[1:]:
            server = self.make(name, copy.deepcopy(sections))
            for folder in ("data", "keys", "guard"):
                shutil.copytree(first.root / folder, server.root / folder)
            server.keys, server.vkey, server.origin = dict(first.keys), first.vkey, first.origin
            self.servers[name] = server
        self.vkeys = {name: self.make_key(name) for name in names}
        for name, server in self.servers.items():
            server.sections["replica"] = self.table(name)
            server.write_config()
        self.vkey, self.origin = first.vkey, first.origin
        self.auditor = {"Authorization": f"Bearer {first.admin_key.text}"}
        self.policy = root / "tlog-policy"
        self.policy.write_text(cli("log", "policy", "--config", first.config, "--key", first.vkey).ok().out)

    def make(self, name: str, sections: dict[str, Any]) -> Server:
        """One of them, before its log is there."""
        return Server(self.root / name, sections=sections, **self.overrides)

    def key_file(self, name: str) -> Path:
        """Where a replica's cosigner key is."""
        return self.servers[name].root / "cosigner.key"

    def make_key(self, name: str) -> str:
        """Makes it; its public half."""
        server = self.servers[name]
        return cli("replica", "key", "--config", server.config, "--name", name, self.key_file(name)).ok().out.strip()

    def table(self, name: str) -> dict[str, Any]:
        """Its `[replica]`."""
        return {"name": name, "key_file": self.key_file(name), "members": dict(self.vkeys)}

    def start(self) -> "Trio":
        """Starts all, and waits until each shows something."""
        for server in self.servers.values():
            server.start(ready=False)
        for server in self.servers.values():
            server.wait_ready(120)
        first = next(iter(self.servers.values()))
        first.as_("publisher")
        for server in self.servers.values():
            server.keys = dict(first.keys)
        return self

    def stop(self) -> None:
        """Stops all."""
        for server in self.servers.values():
            server.stop()

    def fsck(self) -> None:
        """Each directory is sound; all are stopped."""
        for server in self.servers.values():
            server.fsck().ok()

    def __getitem__(self, name: str) -> Server:
        return self.servers[name]

    def post(self, name: str, seconds: float = 60.0) -> int:
        """Posts an event at a replica, again until it is posted; its index."""
        mine = event()

        def look() -> int | None:
            try:
                answer = self[name].as_("publisher").post_events(json.dumps(mine).encode())
            except httpx.HTTPError:
                return None
            return answer.json()["results"][0]["index"] if answer.status_code == 200 else None

        # An index may be 0: wrapped, because 0 is nothing to `until`.
        return until(f"an event to be posted at {name}", lambda: [found] if (found := look()) is not None else None, seconds)[0]

    def reach(self, size: int, *names: str, seconds: float = 60.0) -> None:
        """Waits until these show a tree of that size or larger."""
        for name in names or tuple(self.servers):
            until(f"{name} to show {size}", lambda name=name: self[name].admin.size() >= size, seconds)

    def status(self, name: str) -> dict[str, Any]:
        """`replica status`, as this one sees it."""
        server = self[name]
        return json.loads(server.remote("replica status", "--json", key=server.operator_key).out.splitlines()[0])["logs"][0]

    def troubles(self, name: str) -> dict[str, str]:
        """What health says: code and words."""
        headers = {"Authorization": f"Bearer {self[name].operator_key.text}"}
        document = httpx.get(f"{self[name].url}/healthz", headers=headers, timeout=30, trust_env=False).json()
        return {t["code"]: t["detail"] for one in document["tenants"] for t in one["troubles"]}

    def listens(self, name: str) -> bool:
        """True once it takes connections."""
        return lives(self[name])

    def halted(self, name: str, words: str) -> None:
        """Waits until its log is halted, for that reason."""
        until(f"{name} to be halted: {words}", lambda: self.listens(name) and words in self.troubles(name).get("log_halted", ""))

    def judge(self, seen: set[str], folder: Path, by: str) -> None:
        """P21: every checkpoint has a majority, the policy's verifier accepts it, and all are of one history."""
        assert seen
        for number, note in enumerate(sorted(seen)):
            who = cosigned_by(note, self.vkeys)
            assert len(who) >= len(self.vkeys) // 2 + 1, f"only {who} cosigned:\n{note}"
            # The product's own verifier sees a sample: it takes a process each.
            if number % 10 == 0:
                (path := folder / f"seen-{number}.note").write_text(note)
                cli("verify", "--key", self.vkey, "--policy", self.policy, "--checkpoint", path).ok()
        entries = audit.leaves(self[by].admin)
        audit.one_history(self[by].admin, self.vkey, seen, audit.tree_of(entries))

    def __enter__(self) -> "Trio":
        return self

    def __exit__(self, *_: object) -> None:
        for server in self.servers.values():
            server.__exit__()


def timed(what: str, act: Any) -> Any:
    """Does it, and prints how long it took. Never asserted."""
    begun = time.monotonic()
    result = act()
    print(f"{what}: {time.monotonic() - begun:.2f} s")
    return result
