"""A server with two providers of our own, and browsers that sign in at them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from .fakeprovider import FakeProvider
from .oidc import callback, link, secret_file, through
from .pages import RULES, Office, Visitor
from .server import Server

#: Failed sign-ins of one address are limited, so each browser has one of its own.
ADDRESSES = itertools.count(1)


class Rig:
    """A server with two providers, at both of which Maria has an account; Jonas has one at the first."""

    def __init__(self, root: Any) -> None:
        self.one, self.two = FakeProvider(), FakeProvider()
        self.server = Server(root, plaintext_behind_proxy=True)
        secret = secret_file(root, self.one.secret)
        self.server.sections["oidc.one"] = self.one.section(secret, label="Example ID")
        self.server.sections["oidc.two"] = self.two.section(secret, acr_values=["mfa", "phr"])
        self.office = Office.open(self.server, f"http://localhost:{self.server.port}")
        rules = RULES.replace('step_up = "1s"', 'step_up = "5m"')
        self.office.write(rules, [{"id": id, **person} for id, person in self.office.people.items()])
        self.office.apply()
        for name, provider in (("one", self.one), ("two", self.two)):
            provider.redirect = callback(self.office, name)
            link(self.office, provider.issuer, provider.subject, "p-maria")

    def calm(self) -> None:
        """Both providers are right again."""
        for provider in (self.one, self.two):
            wrong, provider.strict = provider.strict, []
            assert wrong == [], "we asked a provider wrongly"
            provider.claims, provider.header, provider.answer, provider.faults, provider.metadata = {}, {}, {}, {}, {}
            provider.sign, provider.subject = provider.signed, "00u1a2b3c4"
        self.two.claims = {"acr": "mfa"}

    def visitor(self) -> Visitor:
        """A browser at an address of its own."""
        visitor = self.office.visitor()
        visitor.http.headers["X-Forwarded-For"] = f"198.51.100.{next(ADDRESSES)}"
        return visitor


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """One server for all."""
    made = Rig(tmp_path_factory.mktemp("oidc"))
    with made.server:
        yield made
    made.one.close()
    made.two.close()


@pytest.fixture
def desk(whole: Rig) -> Iterator[Rig]:
    """It, with providers that are right; afterwards a right sign-in works, whatever was tried."""
    whole.calm()
    yield whole
    whole.calm()
    assert through(whole.visitor(), "one").status_code == 303


def signed_in(visitor: Visitor) -> bool:
    """Whether somebody is."""
    return "Sign out" in visitor.get("/").text


def refused(answer: httpx.Response, words: str, status: int = 401) -> None:
    """A page that says why, and no session."""
    assert answer.status_code == status and words in answer.text, (answer.status_code, answer.text)
    assert "countersign=" not in answer.headers.get("set-cookie", ""), answer.headers
