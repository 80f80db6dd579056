"""A tenant that is asked in Slack: a server, its Slack, and the people in it."""

from __future__ import annotations

import itertools
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import httpx

from .desk import Desk
from .fakeslack import FakeSlack, Json
from .server import Server
from .slack_clicks import Change, Clicks, Member
from .waits import until

#: Ana's. Each call is another agent's: 20 may wait of one agent, and after a denial an agent must wait.
AGENTS = [f"agent-{number}" for number in range(1, 200)]
#: A channel takes ten new cards a minute: each call goes to the next one.
CHANNELS = [f"C00000000{number:02}" for number in range(8)]
SECRET = "signing-secret-of-acme"
#: action of the call → its rule
KINDS = {
    "big": 'quorum = {at_least = 2, of = "finance"}\ndeny = 2',
    "step-up": 'quorum = {at_least = 1, of = "finance"}\nstep_up = "10m"',
    "soon": 'quorum = {at_least = 1, of = "finance"}\napprove_within = "SOON"',
    "transfer": 'quorum = {at_least = 1, of = "finance"}',
}


def rules(soon: str) -> str:
    """`rules.toml`: one rule a kind and channel."""
    channels = [f'[channels.c{n}]\nconnection = "acme-slack"\nto = "{to}"\n' for n, to in enumerate(CHANNELS)]
    made = [
        f'[[rule]]\nname = "{kind} {n}"\n{rule}\nchannels = ["c{n}"]\n'
        f'match = {{action = "{kind}", labels = {{channel = "c{n}"}}}}\n'
        for kind, rule in KINDS.items() for n in range(len(CHANNELS))
    ]
    last = '[[rule]]\nname = "everything else"\nquorum = {at_least = 1, of = "finance"}\n'
    return "\n".join([*channels, *made, last]).replace("SOON", soon)


class Office:
    """Ana owns the agent; Bob and Cem are in finance with her; Fay is linked and not asked; Eva is linked to nobody."""

    def __init__(self, root: Path, slack: FakeSlack, *, soon: str = "12s", env: dict[str, str] | None = None,
                 **options: Any) -> None:
        self.slack = slack
        self._agents = iter(AGENTS)
        self._numbers = itertools.count()
        self.channels: dict[str, str] = {}
        for channel in CHANNELS:
            slack.channel(channel)
        member = lambda name: Member(f"U0000000{name}", slack.team)  # noqa: E731
        self.ana, self.bob, self.cem, self.fay, self.eva = map(member, ("ANA", "BOB", "CEM", "FAY", "EVA"))
        root.mkdir(parents=True, exist_ok=True)
        sections = {"approvals": {"dir": root / "approvals"}, "slack.acme-slack": connection(root, slack)}
        sections |= options.pop("sections", {})
        self.server = Server(root / "server", sections=sections, **options)
        self.desk = Desk(self.server)
        self.desk.write(rules(soon), self.people())
        self.server.init()
        self.server.start(ready=False, env=env)
        until("rules applied", self._apply)
        self.clicks = Clicks(slack, f"{self.server.url}/slack/acme-slack/interactions", SECRET)

    def _apply(self) -> bool:
        try:
            self.desk.apply()
        except (AssertionError, httpx.TransportError):
            return False
        self.server.wait_ready()
        return True

    def people(self) -> list[Json]:
        """As `people.toml` has them."""
        link = lambda m: {"workspace": m.team, "user": m.id}  # noqa: E731
        return [
            {"id": "p-ana", "name": "Ana Lima", "groups": ["finance"], "owns": AGENTS, "slack": link(self.ana)},
            {"id": "p-bob", "name": "Bob Ito", "groups": ["finance"], "slack": link(self.bob)},
            {"id": "p-cem", "name": "Cem Demir", "groups": ["finance"], "slack": link(self.cem)},
            {"id": "p-fay", "name": "Fay Osei", "groups": ["support"], "slack": link(self.fay)},
        ]

    def asked(self, action: str = "transfer", params: Any = None, **over: Any) -> str:
        """Pauses a call and waits for its card, and until the log knows where that is."""
        approval = self.paused(action, params, **over)
        self.card(approval)
        until(f"the card of {approval} is known", lambda: len(self.desk.evidence(approval)) >= 2)
        return approval

    def paused(self, action: str = "transfer", params: Any = None, **over: Any) -> str:
        """Pauses a call."""
        number = next(self._numbers) % len(CHANNELS)
        data = {"tool": {"name": "payments", "action": action}, "agent": {"id": next(self._agents)},
                "labels": {"channel": f"c{number}"}} | over.pop("data", {})
        approval = self.desk.ask(params, data=data, time=datetime.now(timezone.utc).isoformat(), **over)
        self.channels[approval] = CHANNELS[number]
        return approval

    def card(self, approval: str) -> Json:
        """The newest card of an approval, once it is posted."""
        until(f"a card of {approval}", lambda: self.cards(approval))
        return self.cards(approval)[-1]

    def cards(self, approval: str) -> list[Json]:
        """Every card of an approval."""
        cards = self.slack.cards(self.channels[approval])
        return [card for card in cards if card["metadata"]["event_payload"]["approval_id"] == approval]

    def shows(self, approval: str, title: str, seconds: float = 60.0) -> Json:
        """Waits until the card's title says this."""
        until(f"the card of {approval} says {title!r}, not {self.title(approval)!r}",
              lambda: self.title(approval) == title, seconds)
        return self.card(approval)

    def title(self, approval: str) -> str:
        """The title of the newest card."""
        return self.card(approval)["blocks"][0]["text"]["text"]

    def buttons(self, approval: str) -> list[str]:
        """The buttons of the newest card."""
        actions = next(b for b in self.card(approval)["blocks"] if b["type"] == "actions")
        return [element["action_id"] for element in actions["elements"]]

    def click(self, approval: str, action: str, member: Member, change: Change | None = None, **options: Any
              ) -> httpx.Response:
        """A click on the newest card. Who clicks before we know that the card is there is told so, and clicks again."""
        answers: list[httpx.Response] = []

        def click() -> bool:
            before = len(self.slack.told(member.id))
            answers.append(self.clicks.click(self.channels[approval], approval, action, member, change, **options))
            if answers[-1].status_code == 503:
                return False  # its outcome is unknown: "click again", says the server
            return change is not None or not any("not a card" in text for text in self.slack.told(member.id)[before:])

        until("the card is known to be posted", click)
        return answers[-1]

    def payload(self, approval: str, action: str, member: Member) -> Json:
        """What Slack sends for a click on the newest card, not yet sent."""
        return self.clicks.payload(self.card(approval), self.channels[approval], action, member)

    def dialog(self, approval: str, action: str, member: Member) -> Json:
        """The click, and the dialog that it opens."""
        opened = len(self.slack.views)

        def clicked() -> bool:
            assert self.click(approval, action, member).status_code == 200
            return len(self.slack.views) > opened

        # None opens where Slack took longer than a click has: then people click again.
        until("a dialog", clicked)
        assert len(self.slack.views) == opened + 1
        return self.slack.views[-1]

    def comment(self, approval: str, member: Member, text: str, **typed: str) -> httpx.Response:
        """Deny with reason: the click, and the dialog that it opens."""
        view = self.dialog(approval, "deny_with_comment", member)
        return self.clicks.send(self.clicks.submission(view, member, text, **typed))

    def question(self, approval: str, member: Member, text: str) -> httpx.Response:
        """A question: the click, and the dialog that it opens."""
        view = self.dialog(approval, "ask", member)
        return self.clicks.send(self.clicks.submission(view, member, text))

    def events(self, approval: str) -> list[str]:
        """What happened, from the log, and why where something was refused."""
        named = [(event["type"], event.get("why")) for event in self.desk.history(approval)]
        return [f"{kind} {why}" if why else kind for kind, why in named]

    def trace(self, approval: str) -> tuple[list[str], int]:
        """Everything in the log about an approval: what happened, and how much evidence there is."""
        return self.events(approval), len(self.desk.evidence(approval))

    def decided(self) -> int:
        """Entries of all approvals."""
        return len(self.server.admin.entries(kind="approval"))


def connection(root: Path, slack: FakeSlack, name: str = "acme", *secrets: str) -> dict[str, Any]:
    """The members of a `[slack.…]` table; its secrets lie in files."""
    secrets = secrets or (SECRET,)
    files = [root / f"{name}-secret-{number}" for number in range(len(secrets))]
    for path, secret in zip(files, secrets, strict=True):
        path.write_text(secret + "\n")
    (root / f"{name}-token").write_text(slack.token + "\n")
    return {
        "tenant": name, "app_id": slack.app_id, "workspaces": [slack.team], "bot_token_file": root / f"{name}-token",
        "signing_secret_files": [str(path) for path in files], "api_url": slack.api_url,
    }
