"""Secrets of chats that change under a running server: SIGHUP makes it read them again."""

from __future__ import annotations

import signal
from pathlib import Path

import test_teams
from support import until
from support.fakebot import FakeBot
from support.fakeslack import FakeSlack
from support.server import Server
from support.slack_office import Office

ALL = ["approve", "deny", "deny_with_comment", "ask", "open"]


def reload(server: Server, says: str) -> None:
    """Sends SIGHUP, and waits until the log says this once more."""
    before = server.log.count(says)
    assert server.process
    server.process.send_signal(signal.SIGHUP)
    until(f"the log says {says!r}", lambda: server.log.count(says) > before)


def test_p12_slacks_token_and_signing_secret(tmp_path: Path) -> None:
    """The old ones count no longer. A mistake changes nothing, and the log says what to do."""
    with FakeSlack() as slack:
        office = Office(tmp_path, slack)
        server, files = office.server, office.server.sections["slack.acme-slack"]
        secret, token = Path(files["signing_secret_files"][0]), Path(files["bot_token_file"])
        try:
            first = office.asked()
            slack.token = "xoxb-fake-2"
            token.write_text("xoxb-fake-2\n")
            secret.write_text("the-next-secret\n")
            reload(server, "the secrets of chats and the sinks were read again")
            old = office.clicks.signed(office.payload(first, "approve", office.bob))
            assert office.clicks.post(*old).status_code == 401
            office.clicks.secret = "the-next-secret"
            assert office.click(first, "approve", office.bob).status_code == 200
            office.shows(first, "Approved, not redeemed yet")
            second = office.asked()
            token.write_text("\n")
            reload(server, "slack.acme-slack")
            assert office.click(second, "approve", office.bob).status_code == 200, "what was read before stays"
            office.shows(second, "Approved, not redeemed yet")
            token.write_text("xoxb-fake-2\n")
            server.sections["webhook.acme-flow"] = {"tenant": "acme", "url_file": str(token)}
            server.write_config()
            reload(server, "restart the server")
            assert office.buttons(office.asked()) == ALL
            assert not any(hidden in server.log for hidden in ("xoxb-fake-2", "the-next-secret"))
            assert slack.violations == []
        finally:
            server.__exit__()


def test_p12_the_password_of_teams(tmp_path: Path) -> None:
    with FakeBot() as bot:
        office = test_teams.Office(tmp_path, bot)
        try:
            office.asked()
            bot.passwords = {"the-next-password"}
            bot.tokens.clear()
            (tmp_path / "password").write_text("the-next-password\n")
            reload(office.server, "the secrets of chats and the sinks were read again")
            office.asked()
            assert bot.token_requests[-1]["client_secret"] == "the-next-password"
            assert "the-next-password" not in office.server.log
        finally:
            office.server.__exit__()
