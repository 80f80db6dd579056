"""Our Slack stand-in, judged by Slack's own Python clients: else the tests would only show what we believe of Slack."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from slack_bolt import App, BoltRequest
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackObjectFormationError
from slack_sdk.models.blocks import Block
from slack_sdk.models.metadata import Metadata
from support.fakeslack import FakeSlack
from support.slack_clicks import Clicks, Member

SECRET = "signing-secret"
KIM = Member("U1", "T0123456789")
BUTTON = {"type": "button", "action_id": "approve", "text": {"type": "plain_text", "text": "Approve"}, "value": "{}"}
BLOCKS: list[dict[str, Any]] = [
    {"type": "header", "text": {"type": "plain_text", "text": "Approval needed"}},
    {"type": "section", "fields": [{"type": "plain_text", "text": "Agent\nbot"}]},
    {"type": "actions", "block_id": "decide", "elements": [BUTTON]},
]
METADATA = Metadata("countersign_approval", {"approval_id": "apr-1"})


@pytest.fixture
def slack() -> Iterator[FakeSlack]:
    with FakeSlack() as slack:
        slack.channel("C1")
        yield slack


@pytest.fixture
def web(slack: FakeSlack) -> WebClient:
    """Slack's own client, as its users have it."""
    return WebClient(slack.token, base_url=slack.api_url + "/", retry_handlers=[], timeout=60)


def post(web: WebClient, **over: Any) -> Any:
    return web.chat_postMessage(**({"channel": "C1", "text": "t", "blocks": BLOCKS, "metadata": METADATA} | over))


def refusal(call: Any) -> str:
    with pytest.raises(SlackApiError) as refused:
        call()
    return refused.value.response["error"]


def test_slack_sdk_posts_updates_and_reads_back(slack: FakeSlack, web: WebClient) -> None:
    ts = post(web)["ts"]
    web.chat_update(channel="C1", ts=ts, text="done", blocks=BLOCKS[:1], metadata=METADATA)
    post(web, text="second")
    page = web.conversations_history(channel="C1", include_all_metadata=True, limit=1)
    assert [m["text"] for m in page["messages"]] == ["second"] and page["has_more"]
    rest = web.conversations_history(channel="C1", cursor=page["response_metadata"]["next_cursor"])
    assert [m["text"] for m in rest["messages"]] == ["done"]
    assert "metadata" not in rest["messages"][0]
    assert slack.card("C1", "apr-1")["text"] == "second"
    assert slack.violations == []


def test_slack_sdk_reads_the_codes(slack: FakeSlack, web: WebClient) -> None:
    slack.channel("C2", member=False)
    slack.channel("C3", archived=True)
    assert refusal(lambda: post(web, channel="C9")) == "channel_not_found"
    assert refusal(lambda: post(web, channel="C2")) == "not_in_channel"
    assert refusal(lambda: post(web, channel="C3")) == "is_archived"
    assert refusal(lambda: web.chat_update(channel="C1", ts="1.1", text="t")) == "message_not_found"
    assert refusal(lambda: WebClient("xoxb-other", base_url=slack.api_url + "/").auth_test()) == "invalid_auth"
    assert refusal(lambda: WebClient(base_url=slack.api_url + "/").auth_test()) == "not_authed"
    slack.scopes.remove("channels:history")
    assert refusal(lambda: web.conversations_history(channel="C1")) == "missing_scope"
    slack.trouble("chat.postMessage", "ratelimited", retry_after=7)
    with pytest.raises(SlackApiError) as limited:
        post(web)
    assert (limited.value.response.status_code, limited.value.response.headers["Retry-After"]) == (429, "7")
    assert post(web)["ok"]


def test_triggers_work_once_and_not_for_long(slack: FakeSlack, web: WebClient) -> None:
    view = {"type": "modal", "title": {"type": "plain_text", "text": "Why?"}, "blocks": BLOCKS[:2]}
    trigger = slack.new_trigger()
    assert web.views_open(trigger_id=trigger, view=view)["view"]["id"]
    assert refusal(lambda: web.views_open(trigger_id=trigger, view=view)) == "exchanged_trigger_id"
    slack._triggers[(late := slack.new_trigger())] -= 40
    assert refusal(lambda: web.views_open(trigger_id=late, view=view)) == "expired_trigger_id"
    assert refusal(lambda: web.views_open(trigger_id="1.2.3", view=view)) == "invalid_trigger_id"


def test_response_urls_are_used_up(slack: FakeSlack) -> None:
    url = slack.new_response_url("C1", "U1")
    body = {"text": "only you", "response_type": "ephemeral", "replace_original": False}
    statuses = [httpx.post(url, json=body, timeout=30, trust_env=False).status_code for _ in range(6)]
    assert statuses == [200] * 5 + [404]
    assert slack.told("U1") == ["only you"] * 5
    late = slack.new_response_url("C1", "U1")
    slack.responses[late.rsplit("/", 1)[1]].made -= 31 * 60
    assert httpx.post(late, json=body, timeout=30, trust_env=False).status_code == 404


WRONG: dict[str, Any] = {
    "51 blocks": [{"type": "divider"}] * 51,
    "header too long": [{"type": "header", "text": {"type": "plain_text", "text": "x" * 151}}],
    "header in mrkdwn": [{"type": "header", "text": {"type": "mrkdwn", "text": "x"}}],
    "empty text": [{"type": "section", "text": {"type": "plain_text", "text": ""}}],
    "section too long": [{"type": "section", "text": {"type": "plain_text", "text": "x" * 3001}}],
    "11 fields": [{"type": "section", "fields": [{"type": "plain_text", "text": "x"}] * 11}],
    "field too long": [{"type": "section", "fields": [{"type": "plain_text", "text": "x" * 2001}]}],
    "value too long": [{"type": "actions", "elements": [BUTTON | {"value": "x" * 2001}]}],
    "style unknown": [{"type": "actions", "elements": [BUTTON | {"style": "green"}]}],
    "same action_id": [{"type": "actions", "elements": [BUTTON, BUTTON]}],
    "type unknown": [{"type": "button_row", "elements": [BUTTON]}],
    "member unknown": [{"type": "divider", "color": "red"}],
    "number for a text": [{"type": "header", "text": {"type": "plain_text", "text": 7}}],
}
#: What Slack's models refuse too; the others they pass on to the server.
REFUSED_BY_MODELS = {"header too long", "section too long", "11 fields", "value too long", "style unknown"}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_blocks_are_refused_where_slacks_models_refuse_them(slack: FakeSlack, web: WebClient, name: str) -> None:
    assert refusal(lambda: post(web, blocks=WRONG[name])) == "invalid_blocks"
    assert len(slack.violations) == 1
    if name in REFUSED_BY_MODELS:
        with pytest.raises(SlackObjectFormationError):
            check_with_models(WRONG[name])


def check_with_models(blocks: list[dict[str, Any]]) -> None:
    """Slack's own models read the blocks, and validate what they know of their limits."""
    for block in blocks:
        model = Block.parse(copy.deepcopy(block))
        assert model is not None and model.type == block["type"]
        model.validate_json()
        model.to_dict()


def test_good_blocks_are_good_for_slacks_models(web: WebClient) -> None:
    check_with_models(BLOCKS)
    assert post(web)["ok"]


def test_clicks_are_what_slack_bolt_takes(slack: FakeSlack, web: WebClient) -> None:
    """The payloads and signatures that the tests send to us are those that Slack's own framework accepts and reads."""
    clicked: list[Any] = []
    app = App(signing_secret=SECRET, client=web, token_verification_enabled=False)
    app.action("approve")(lambda ack, body: (ack(), clicked.append(body["user"]["id"])))
    app.view("comment")(lambda ack, body: (ack(), clicked.append(body["view"]["callback_id"])))
    clicks = Clicks(slack, "http://127.0.0.1:1/", SECRET)
    post(web)
    click = clicks.payload(slack.card("C1", "apr-1"), "C1", "approve", KIM)
    entry = {"type": "input", "block_id": "comment", "element": {"type": "plain_text_input", "action_id": "comment"}}
    view = {"id": "V1", "type": "modal", "callback_id": "comment", "blocks": [entry]}
    submission = clicks.submission(view, KIM, "no")

    def status(payload: Any, change: str = "", **options: Any) -> int:
        body, headers = clicks.signed(payload, **options)
        return app.dispatch(BoltRequest(body=body + change, headers=headers)).status

    assert status(click) == 200 and status(submission) == 200
    deadline = time.monotonic() + 60
    while len(clicked) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sorted(clicked) == ["U1", "comment"]
    assert status(click, change="&") == 401
    assert status(click, secret="another") == 401
    assert status(click, age=400) == 401
    assert status(click, age=-400) == 401
