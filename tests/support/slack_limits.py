"""What Slack takes in Block Kit, and refuses: types, members, limits.

Ours, from its documentation; stricter where it is vague.

Checked against Slack's own Python models in `test_slack.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

MESSAGE_BLOCKS_MAX = 50
VIEW_BLOCKS_MAX = 100
#: Undocumented: `msg_blocks_too_long` was seen from 11,341 characters of text on.
MESSAGE_CHARS_MAX = 11_000

Json = dict[str, Any]


class Invalid(Exception):
    """Why Slack would answer `invalid_blocks`."""


def need(condition: bool, why: str) -> None:
    """Refuses."""
    if not condition:
        raise Invalid(why)


def thread(args: Json, messages: list[Json]) -> Json:
    """Of a reply: its thread, which begins with a message of the channel that is no reply itself."""
    if "thread_ts" not in args:
        return {}
    need(any(m["ts"] == args["thread_ts"] and "thread_ts" not in m for m in messages), "thread_ts: no thread")
    return {"thread_ts": args["thread_ts"]}


def length(text: str) -> int:
    """UTF-16 units: the larger of the ways to count."""
    return len(text.encode("utf-16-le")) // 2


def members(value: Any, where: str, required: set[str], optional: set[str]) -> Json:
    """An object with exactly these members."""
    need(isinstance(value, dict), f"{where}: not an object")
    need(required <= value.keys(), f"{where}: missing {required - value.keys()}")
    need(value.keys() <= required | optional, f"{where}: unknown {value.keys() - required - optional}")
    return value


def string(value: Any, where: str, most: int, least: int = 1) -> str:
    """A text of so many characters."""
    need(isinstance(value, str), f"{where}: not a string")
    need(least <= length(value) <= most, f"{where}: {length(value)} characters, {least} to {most}")
    return value


def text(value: Any, where: str, most: int, *, plain: bool = False) -> int:
    """A text object; returns its length."""
    kind = value.get("type") if isinstance(value, dict) else None
    need(kind in (("plain_text",) if plain else ("plain_text", "mrkdwn")), f"{where}: a text object, not {kind}")
    extra = {"emoji"} if kind == "plain_text" else {"verbatim"}
    members(value, where, {"type", "text"}, extra)
    need(all(isinstance(value.get(name, False), bool) for name in extra), f"{where}: {extra} is a boolean")
    return length(string(value["text"], where, most))


def button(value: Json, where: str) -> int:
    """A button element."""
    members(value, where, {"type", "text"}, {"action_id", "url", "value", "style", "confirm", "accessibility_label"})
    total = text(value["text"], where, 75, plain=True)
    for name, most in (("action_id", 255), ("url", 3000), ("value", 2000)):
        if name in value:
            string(value[name], f"{where}.{name}", most)
    need(value.get("style", "primary") in ("primary", "danger"), f"{where}.style")
    if "confirm" in value:
        confirm = members(value["confirm"], where, {"title", "text", "confirm", "deny"}, {"style"})
        for name, most in (("title", 100), ("text", 300), ("confirm", 30), ("deny", 30)):
            text(confirm[name], f"{where}.confirm.{name}", most, plain=True)
    return total


def header(block: Json, where: str) -> int:
    """A header block."""
    members(block, where, {"type", "text"}, {"block_id"})
    return text(block["text"], where, 150, plain=True)


def section(block: Json, where: str) -> int:
    """A section: a text, or fields, or both."""
    members(block, where, {"type"}, {"text", "fields", "block_id", "accessory", "expand"})
    need("text" in block or "fields" in block, f"{where}: text or fields")
    if "accessory" in block:
        need(block["accessory"].get("type") == "button", f"{where}.accessory: a button, here")
        button(block["accessory"], f"{where}.accessory")
    total = text(block["text"], where, 3000) if "text" in block else 0
    fields = block.get("fields", [None])
    need(isinstance(fields, list) and 1 <= len(fields) <= 10, f"{where}: 1 to 10 fields")
    return total + sum(text(field, f"{where}.fields", 2000) for field in fields if field is not None)


def actions(block: Json, where: str) -> int:
    """A block of buttons."""
    members(block, where, {"type", "elements"}, {"block_id"})
    elements = block["elements"]
    need(isinstance(elements, list) and 1 <= len(elements) <= 25, f"{where}: 1 to 25 elements")
    need(all(isinstance(e, dict) and e.get("type") == "button" for e in elements), f"{where}: buttons only, here")
    names = [e.get("action_id") for e in elements]
    need(len(set(names)) == len(names), f"{where}: action_id twice")
    return sum(button(element, f"{where}.elements") for element in elements)


def context(block: Json, where: str) -> int:
    """Small print."""
    members(block, where, {"type", "elements"}, {"block_id"})
    elements = block["elements"]
    need(isinstance(elements, list) and 1 <= len(elements) <= 10, f"{where}: 1 to 10 elements")
    return sum(text(element, where, 2000) for element in elements)


def entry(block: Json, where: str) -> int:
    """An input block, of dialogs."""
    members(block, where, {"type", "label", "element"}, {"block_id", "hint", "optional", "dispatch_action"})
    need(isinstance(block.get("optional", False), bool), f"{where}.optional: a boolean")
    kind = block["element"].get("type") if isinstance(block["element"], dict) else None
    need(kind in ELEMENTS, f"{where}: not {kind}, here")
    ELEMENTS[kind](block["element"], where)
    total = text(block["label"], where, 2000, plain=True)
    return total + (text(block["hint"], where, 2000, plain=True) if "hint" in block else 0)


def typed(element: Json, where: str) -> None:
    """A field for a text."""
    members(element, where, {"type", "action_id"}, {"multiline", "min_length", "max_length", "initial_value", "placeholder"})
    need(1 <= element.get("max_length", 3000) <= 3000, f"{where}: max_length 1 to 3000")


def select(element: Json, where: str) -> None:
    """A choice among options."""
    members(element, where, {"type", "action_id", "options"}, {"placeholder", "initial_option"})
    if "placeholder" in element:
        text(element["placeholder"], f"{where}.placeholder", 150, plain=True)
    options = element["options"]
    need(isinstance(options, list) and 1 <= len(options) <= 100, f"{where}: 1 to 100 options")
    for option in options:
        members(option, where, {"text", "value"}, set())
        text(option["text"], f"{where}.option", 75, plain=True)
        string(option["value"], f"{where}.option", 150)
    need(len({option["value"] for option in options}) == len(options), f"{where}: a value twice")


ELEMENTS: dict[str, Callable[[Json, str], None]] = {"plain_text_input": typed, "static_select": select}
KINDS: dict[str, Callable[[Json, str], int]] = {
    "header": header, "section": section, "actions": actions, "context": context,
    "divider": lambda block, where: 0 * len(members(block, where, {"type"}, {"block_id"})),
}


def blocks(value: Any, most: int = MESSAGE_BLOCKS_MAX, kinds: dict[str, Callable[[Json, str], int]] = KINDS) -> int:
    """The blocks of a message; returns how many characters of text they have."""
    need(isinstance(value, list) and 1 <= len(value) <= most, f"1 to {most} blocks")
    total, ids = 0, []
    for at, block in enumerate(value):
        kind = block.get("type") if isinstance(block, dict) else None
        need(kind in kinds, f"/blocks/{at}: unknown type {kind}")
        total += kinds[kind](block, f"/blocks/{at}")
        if "block_id" in block:
            ids.append(string(block["block_id"], f"/blocks/{at}/block_id", 255))
    need(len(set(ids)) == len(ids), "block_id twice")
    return total


def view(value: Any) -> None:
    """A dialog."""
    members(value, "view", {"type", "title", "blocks"},
            {"callback_id", "private_metadata", "submit", "close", "clear_on_close", "notify_on_close", "external_id"})
    need(value["type"] == "modal", "view: modal only, here")
    for name in ("title", "submit", "close"):
        if name in value:
            text(value[name], f"view.{name}", 24, plain=True)
    string(value.get("callback_id", ""), "view.callback_id", 255, 0)
    string(value.get("private_metadata", ""), "view.private_metadata", 3000, 0)
    blocks(value["blocks"], VIEW_BLOCKS_MAX, KINDS | {"input": entry})
    has_input = any(block["type"] == "input" for block in value["blocks"])
    need("submit" in value or not has_input, "view: inputs need submit")


def metadata(value: Any) -> None:
    """`metadata` of a message."""
    members(value, "metadata", {"event_type", "event_payload"}, set())
    string(value["event_type"], "metadata.event_type", 255)
    need(isinstance(value["event_payload"], dict), "metadata.event_payload: an object")
