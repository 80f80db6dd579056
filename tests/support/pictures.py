"""Pictures in the pages: each carries the words that it shows, so that a test knows when it is out of date."""

from __future__ import annotations

import html
import re
import struct
import zlib
from pathlib import Path
from typing import Any

from .manual import ROOT

#: What differs from run to run → what stands for it.
CHANGING = {
    r"apr-[a-z2-7]{26}": "apr-…",
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z| UTC)?": "(time)",
    r"\d\d? [A-Z][a-z]{2} \d{4}, \d\d:\d\d UTC": "(time)",
    r"(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-])": "(digest)",
    r'"nonce":"[A-Za-z0-9_-]{22}"': '"nonce":"(nonce)"',
    r"\d\d? [A-Z][a-z]{2},? \d\d:\d\d UTC": "(time)",
    r"\bin \d+ (?:h|min|s)(?: \d+ min)?": "(distance)",
    r"\b(Asked) [^(]*\(time\)": r"\1 (time)",
    r"\bcall [A-Za-z0-9_-]{8}(?![A-Za-z0-9_-])": "call (digest)",
}
KEYWORD = b"words"
STYLE = """
body { margin: 0; font: 15px/1.45 "Lato", "Noto Sans", "Liberation Sans", sans-serif; color: #1d1c1d; background: #fff }
#card { width: 660px; padding: 14px 18px 16px }
header { font-weight: 700 } header small { background: #ddd; padding: 0 4px; border-radius: 2px; font-size: 10px }
h1 { font-size: 18px; margin: 4px 0 8px }
.fields { display: grid; grid-template-columns: 1fr 1fr; gap: 8px 20px; margin: 8px 0 }
.text, .fields div { white-space: pre-line; overflow-wrap: anywhere } .text { margin: 8px 0 }
.context { font-size: 12px; color: #616061; margin-top: 10px }
button { font: inherit; font-weight: 700; padding: 3px 12px; margin: 4px 8px 0 0; border-radius: 6px; border: 1px solid #bbb; background: #fff; color: #1d1c1d }
.primary { background: #007a5a; border-color: #007a5a; color: #fff } .danger { background: #e01e5a; border-color: #e01e5a; color: #fff }
"""


def words(text: str) -> str:
    """The words of a picture without what differs from run to run."""
    text = " ".join(text.split())
    for changing, stays in CHANGING.items():
        text = re.sub(changing, stays, text)
    return text


def check_picture(name: str, png: bytes, text: str, is_written: bool) -> None:
    """The picture in docs/images shows these words; or it is written now."""
    path = ROOT / "docs/images" / name
    if is_written:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(with_words(png, words(text)))
    assert path.exists(), f"{path}: make it with --pictures"
    again = "make the pictures again: python -m pytest tests/approvals/test_pictures.py --pictures"
    assert words_of(path) == words(text), f"{name} does not show what is shown now; {again}"


def with_words(png: bytes, text: str) -> bytes:
    """A PNG with the words in a chunk of text, before its end."""
    body = b"iTXt" + KEYWORD + b"\0\0\0\0\0" + text.encode()
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return png[:-12] + chunk + png[-12:]


def words_of(path: Path) -> str:
    """The words that a PNG carries."""
    data = path.read_bytes()
    at = 8
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        if kind == b"iTXt" and body.startswith(KEYWORD + b"\0"):
            return body[len(KEYWORD) + 5 :].decode()
        at += 12 + length
    return ""


def slack_card(card: dict[str, Any]) -> str:
    """The blocks of a message as a page. Like Slack's in order and words; the colours are ours."""
    parts = [draw(block) for block in card["blocks"]]
    return f"<!doctype html><meta charset=utf-8><style>{STYLE}</style><div id=card><header>Countersign <small>APP</small></header>{''.join(parts)}</div>"


def draw(block: dict[str, Any]) -> str:
    """One block. A kind that is not known here fails: a picture leaves nothing out."""
    kind = block["type"]
    if kind == "header":
        return f"<h1>{shown(block['text'])}</h1>"
    if kind == "section":
        fields = "".join(f"<div>{shown(field)}</div>" for field in block.get("fields", []))
        text = f"<div class=text>{shown(block['text'])}</div>" if "text" in block else ""
        return text + (f"<div class=fields>{fields}</div>" if fields else "")
    if kind == "actions":
        return "".join(f"<button class={b.get('style', 'plain')}>{shown(b['text'])}</button>" for b in block["elements"])
    assert kind == "context", kind
    return f"<div class=context>{' '.join(map(shown, block['elements']))}</div>"


def shown(text: dict[str, Any]) -> str:
    """A text as Slack shows it: of `mrkdwn` our cards have dates only."""
    plain = text["text"]
    if text["type"] == "mrkdwn":
        plain = re.sub(r"<!date\^\d+\^[^|]*\|([^>]*)>", r"\1", plain)
    label, line, rest = plain.partition("\n")
    return f"<b>{html.escape(label)}</b>\n{html.escape(rest)}" if line else html.escape(plain)
