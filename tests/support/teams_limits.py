"""What Teams takes of a message: Adaptive Cards 1.5. And what a reader finds on a card."""

from __future__ import annotations

import json
import re
from typing import Any

CARD = "application/vnd.microsoft.card.adaptive"
#: Largest message, in bytes of UTF-16.
MESSAGE_BYTES_MAX = 28 << 10

#: Element → members it must have.
ELEMENTS = {
    "TextBlock": {"text"}, "RichTextBlock": {"inlines"}, "Container": {"items"}, "ColumnSet": {"columns"},
    "FactSet": {"facts"}, "Input.Text": {"id"}, "Input.ChoiceSet": {"id", "choices"}, "ActionSet": {"actions"},
}
ACTIONS = {"Action.OpenUrl": {"url"}, "Action.Execute": {"verb"}, "Action.ShowCard": {"card"}}
CHOICES = {
    "color": {"default", "dark", "light", "accent", "good", "warning", "attention"},
    "size": {"default", "small", "medium", "large", "extraLarge"},
    "weight": {"default", "lighter", "bolder"},
    "fontType": {"default", "monospace"},
    "spacing": {"none", "small", "default", "medium", "large", "extraLarge", "padding"},
}
STYLES = {
    "Input.ChoiceSet": {"compact", "expanded", "filtered"},
    "Container": {"default", "emphasis", "good", "attention", "warning", "accent"},
    "TextBlock": {"default", "heading", "columnHeader"},
    "Action": {"default", "positive", "destructive"},
}
#: Most buttons that Teams shows on a card.
ACTIONS_MAX = 6


def message_wrong(body: Any, bytes_max: int = MESSAGE_BYTES_MAX) -> list[str]:
    """What Teams would not take of a message; the first entry begins with `size` when it is too big."""
    if not isinstance(body, dict) or body.get("type") != "message":
        return ["type: message"]
    size = len(json.dumps(body, ensure_ascii=False).encode("utf-16-le"))
    if size > bytes_max:
        return [f"size: {size} bytes of UTF-16"]
    attachments = body.get("attachments")
    if not isinstance(attachments, list) or len(attachments) != 1 or attachments[0].get("contentType") != CARD:
        return ["attachments: one Adaptive Card"]
    return card_wrong(attachments[0].get("content"))


def card_wrong(card: Any) -> list[str]:
    """What is wrong with a card."""
    wrong: list[str] = []
    ids: list[str] = []
    if not isinstance(card, dict) or card.get("type") != "AdaptiveCard":
        return ["no AdaptiveCard"]
    if card.get("version") not in ("1.2", "1.3", "1.4", "1.5"):
        wrong.append(f"version {card.get('version')}")

    def choices(item: dict[str, Any], where: str) -> None:
        wrong.extend(f"{where}.{name}: {item[name]}" for name, known in CHOICES.items() if name in item and item[name] not in known)

    def action(item: dict[str, Any], where: str) -> None:
        kind = item.get("type")
        if kind not in ACTIONS or not ACTIONS[kind] <= item.keys():
            wrong.append(f"{where}: {kind}")
        if not item.get("title") or item.get("style", "default") not in STYLES["Action"]:
            wrong.append(f"{where}: title or style")
        if kind == "Action.OpenUrl" and not re.match(r"https?://[^/]", str(item.get("url"))):
            wrong.append(f"{where}: url")
        if kind == "Action.ShowCard":
            shown = item["card"]
            if shown.get("type") != "AdaptiveCard" or "refresh" in shown:
                wrong.append(f"{where}.card: an AdaptiveCard without refresh")
            inside(shown, f"{where}.card.")

    def inside(card: dict[str, Any], where: str = "") -> None:
        for n, item in enumerate(card.get("body", [])):
            element(item, f"{where}body[{n}]")
        for n, item in enumerate(card.get("actions", [])):
            action(item, f"{where}actions[{n}]")
        if len(card.get("actions", [])) > ACTIONS_MAX:
            wrong.append(f"{where}: too many actions")

    def element(item: dict[str, Any], where: str) -> None:
        kind = item.get("type", "")
        if kind not in ELEMENTS or not ELEMENTS[kind] <= item.keys():
            wrong.append(f"{where}: {kind}")
            return
        choices(item, where)
        if item.get("style", "default") not in STYLES.get(kind, {"default"}):
            wrong.append(f"{where}.style: {item['style']}")
        if "id" in item:
            ids.append(item["id"])
        if kind.startswith("Input.") and (not item.get("label") or item.get("isRequired") and not item.get("errorMessage")):
            wrong.append(f"{where}: a label, and what is said where nothing was typed")
        values = [choice.get("value") for choice in item.get("choices", []) if choice.get("title")]
        if kind == "Input.ChoiceSet" and (not all(values) or len(set(values)) != len(item["choices"])):
            wrong.append(f"{where}: choices with a title and a value of its own")
        for n, run in enumerate(item.get("inlines", [])):
            if not isinstance(run, dict) or run.get("type") != "TextRun" or not isinstance(run.get("text"), str):
                wrong.append(f"{where}.inlines[{n}]")
            else:
                choices(run, f"{where}.inlines[{n}]")
        for n, column in enumerate(item.get("columns", [])):
            for m, inner in enumerate(column.get("items", [])):
                element(inner, f"{where}.columns[{n}].items[{m}]")
        for n, inner in enumerate(item.get("items", [])):
            element(inner, f"{where}.items[{n}]")

    inside(card)
    if len(ids) != len(set(ids)):
        wrong.append("an id twice")
    refresh = card.get("refresh")
    if refresh is not None:
        action(refresh.get("action", {}), "refresh")
        if refresh.get("action", {}).get("type") != "Action.Execute" or len(refresh.get("userIds", [])) > 60:
            wrong.append("refresh")
    return wrong


def presses(card: dict[str, Any]) -> list[dict[str, Any]]:
    """The buttons that record something, on the card or in what its buttons open."""
    found = []
    for action in card["actions"]:
        found += presses(action["card"]) if action["type"] == "Action.ShowCard" else [action] if "verb" in action else []
    return found


def inputs(card: dict[str, Any], verb: str) -> list[dict[str, Any]]:
    """What is typed or chosen beside a button."""
    opened = [action["card"] for action in card["actions"] if action["type"] == "Action.ShowCard"]
    shown = next(inner for inner in opened if any(action.get("verb") == verb for action in inner["actions"]))
    return [item for item in shown["body"] if item["type"].startswith("Input.")]
