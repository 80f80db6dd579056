"""People in Slack: what Slack posts to us when somebody clicks, signed by Slack's own library."""

from __future__ import annotations

import copy
import json
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
from slack_sdk.signature import SignatureVerifier

from .fakeslack import FakeSlack, Json

Change = Callable[[Json], object]


@dataclass(frozen=True)
class Member:
    """A member of a workspace."""

    id: str
    team: str

    @property
    def as_user(self) -> Json:
        """As payloads name them."""
        return {"id": self.id, "username": self.id.lower(), "name": self.id.lower(), "team_id": self.team}


@dataclass
class Clicks:
    """Posts interactions to one connection of a server."""

    slack: FakeSlack
    url: str
    secret: str

    def payload(self, card: Json, channel: str, action_id: str, member: Member) -> Json:
        """`block_actions`, from a message as it is posted."""
        buttons = [e for block in card["blocks"] if block["type"] == "actions" for e in block["elements"]]
        button = next((b for b in buttons if b["action_id"] == action_id), None)
        assert button, f"the card has no button {action_id}, only {[b['action_id'] for b in buttons]}"
        return {
            "type": "block_actions",
            "user": member.as_user,
            "api_app_id": self.slack.app_id,
            "token": "legacy-verification-token",
            "container": {"type": "message", "message_ts": card["ts"], "channel_id": channel, "is_ephemeral": False},
            "trigger_id": self.slack.new_trigger(),
            "team": {"id": self.slack.team, "domain": "acme"},
            "enterprise": None,
            "is_enterprise_install": False,
            "channel": {"id": channel, "name": "approvals"},
            "message": copy.deepcopy(card),
            "state": {"values": {}},
            "response_url": self.slack.new_response_url(channel, member.id),
            "actions": [{
                "action_id": action_id, "block_id": "decide", "type": "button", "text": button["text"],
                "value": button.get("value"), "action_ts": f"{time.time():.6f}",
            }],
        }

    def submission(self, view: Json, member: Member, comment: str | None = None, **typed: str) -> Json:
        """`view_submission` of a dialog: what is typed or chosen in each input, by its block. `comment` is short for the first
        text; a choice that must be made and is not named is the last option."""
        entries = [block for block in view["blocks"] if block["type"] == "input"]
        texts = [block["block_id"] for block in entries if block["element"]["type"] == "plain_text_input"]
        given = {texts[0]: comment} | typed
        assert given.keys() <= {block["block_id"] for block in entries}, given
        values = {block["block_id"]: {block["element"]["action_id"]: answered(block, given)} for block in entries}
        state = {"values": values}
        return {
            "type": "view_submission",
            "team": {"id": self.slack.team, "domain": "acme"},
            "user": member.as_user,
            "api_app_id": self.slack.app_id,
            "token": "legacy-verification-token",
            "trigger_id": self.slack.new_trigger(),
            "view": copy.deepcopy(view) | {"state": state, "hash": "1.x", "root_view_id": view["id"]},
            "response_urls": [],
            "is_enterprise_install": False,
            "enterprise": None,
        }

    def signed(self, payload: Json, *, secret: str | None = None, age: float = 0) -> tuple[str, dict[str, str]]:
        """Body and headers of an interaction, signed `age` seconds ago."""
        body = urllib.parse.urlencode({"payload": json.dumps(payload)})
        timestamp = str(int(time.time() - age))
        signature = SignatureVerifier(secret or self.secret).generate_signature(timestamp=timestamp, body=body)
        assert signature
        return body, {
            "Content-Type": "application/x-www-form-urlencoded",
            "X-Slack-Request-Timestamp": timestamp,
            "X-Slack-Signature": signature,
        }

    def send(self, payload: Json, **options: Any) -> httpx.Response:
        """Posts an interaction."""
        body, headers = self.signed(payload, **options)
        return self.post(body, headers)

    def post(self, body: str | bytes, headers: dict[str, str]) -> httpx.Response:
        """Posts what is given. Slack waits 3 s for the answer; a machine that runs tests may stand still for that long, and
        what hangs on purpose hangs for 12 s."""
        return httpx.post(self.url, content=body, headers=headers, timeout=10, trust_env=False)

    def click(self, channel: str, approval: str, action_id: str, member: Member, change: Change | None = None,
              **options: Any) -> httpx.Response:
        """A click on the newest card of an approval."""
        payload = self.payload(self.slack.card(channel, approval), channel, action_id, member)
        if change:
            change(payload)
        return self.send(payload, **options)


def answered(block: Json, given: dict[str, str | None]) -> Json:
    """What Slack sends of an input."""
    element, value = block["element"], given.get(block["block_id"])
    if element["type"] == "plain_text_input":
        assert value is None or len(value) <= element.get("max_length", 3000), "Slack would refuse it"
        return {"type": "plain_text_input", "value": value}
    options = element["options"]
    chosen = next(option for option in options if option["value"] == value) if value else options[-1]
    return {"type": element["type"], "selected_option": chosen}
