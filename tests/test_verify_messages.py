"""What `verify` says of files that are not what they should be: which file, what is wrong with it, and what to do (P5)."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from support import Finished, Server, cli, event

BOM = b"\xef\xbb\xbf"


@pytest.fixture(scope="module")
def kit(shared: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rotated log: receipts from before and after, a checkpoint, keys document, disclosures, two keys."""
    folder = tmp_path_factory.mktemp("kit")
    index = shared.as_("publisher").publish(event())[0]["index"]
    (folder / "old").write_text(shared.admin.receipt(index))
    new_key = shared.admin.rotate("log")["vkey"]
    answer = shared.as_("publisher").post_events(json.dumps(event()).encode(), receipts=True)
    (folder / "answer").write_bytes(answer.content)
    index = answer.json()["results"][0]["index"]
    (folder / "new").write_text(shared.admin.receipt(index))
    (folder / "checkpoint").write_text(shared.admin.checkpoint())
    (folder / "keys").write_text(json.dumps(shared.admin.keys_document(), indent=1))
    (folder / "disclosures").write_text(shared.as_("discloser").disclosures(index))
    (folder / "proof").write_bytes(shared.admin.get("/proofs/consistency", **{"from": 2, "to": 3}).content)
    (folder / "problem").write_bytes(shared.admin.get("/receipts", index=10**9).content)
    (folder / "first").write_text(shared.vkey + "\n")
    (folder / "second").write_text(new_key + "\n")
    return folder


def label(vkey: str) -> str:
    """Name and id of a key."""
    return "+".join(vkey.split("+", 2)[:2])


def says(done: Finished, code: int, *words: object) -> str:
    told = done.out + done.err
    assert done.code == code, done
    for word in words:
        assert str(word).lower() in told.lower(), (word, told)
    return told


def test_whose_signature_it_is(kit: Path, shared: Server, tmp_path: Path) -> None:
    """Name and id of who signed and of the key that was given; `--keys` where the log is the same; the other log's name."""
    first, second = (kit / "first").read_text().strip(), (kit / "second").read_text().strip()
    for args in ([kit / "new"], ["--checkpoint", kit / "checkpoint"]):
        told = says(cli("verify", "--key", first, *args), 1, args[-1], label(first), label(second), "rotated", "--keys")
        assert "signed by" in told
    says(cli("verify", "--key", second, kit / "old"), 1, label(first), label(second))
    stale = json.loads((kit / "keys").read_text())
    stale["keys"] = stale["keys"][:1]
    (tmp_path / "stale").write_text(json.dumps(stale))
    says(cli("verify", "--key", first, "--keys", tmp_path / "stale", kit / "new"), 1, label(second), "older", "fetch it again")
    other = "other.example/v1/tenants/acme/logs/1"
    with Server(tmp_path / "other", public_url="https://other.example") as stranger:
        stranger.init()
        says(cli("verify", "--key", stranger.vkey, kit / "new"), 1, other, shared.origin, "another log")
        says(cli("verify", "--key", stranger.vkey, "--keys", kit / "keys", kit / "new"), 1, other, shared.origin)
    assert cli("verify", "--key", first, "--keys", kit / "keys", kit / "new", kit / "old").code == 0


@pytest.mark.parametrize("kind", ["receipt", "checkpoint"])
def test_what_became_of_a_file(kit: Path, tmp_path: Path, kind: str) -> None:
    good = (kit / ("new" if kind == "receipt" else "checkpoint")).read_bytes()
    option = [] if kind == "receipt" else ["--checkpoint"]
    path = tmp_path / "it"

    def check(data: bytes, code: int, *words: str) -> None:
        path.write_bytes(data)
        told = says(cli("verify", "--key", kit / "second", *option, path), code, path, *words)
        assert "line 1: no empty line" not in told or "cut off" in told

    check(good, 0)
    check(b"", 1, "empty")
    check(b"\n \n", 1, "white space")
    check(BOM + good, 1, "byte order mark")
    check(good.replace(b"\n", b"\r\n"), 1, "CR LF", "tr -d")
    check(good.decode().encode("utf-16"), 3, "UTF-16")
    check(gzip.compress(good), 3, "gzip")
    check(b"PK\3\4rest", 3, "zip")
    check(b"\0\x80\xff", 3, "UTF-8")
    check(b"<!DOCTYPE html>\n<html><body>Sign in</body></html>\n", 1, "web page", "API key")
    check((kit / "problem").read_bytes(), 1, "error that the server answered", "404", "not_found")
    check((kit / "answer").read_bytes(), 1, "answer to publishing", "receipts=full")
    check((kit / "keys").read_bytes(), 1, "keys document", "--keys")
    check((kit / "proof").read_bytes(), 1, "consistency proof", "--proof")
    check((kit / "disclosures").read_bytes(), 1, "disclosures", "--disclosures")
    check((kit / "second").read_bytes(), 1, "public key", "--key")
    check(b'{"a": 1}', 1, "JSON")
    check(good[:-1], 1, "cut off")
    for cut in range(60, len(good) - 1, 97):
        check(good[:cut], 1, "cut off")
    if kind == "receipt":
        check((kit / "checkpoint").read_bytes(), 1, "it is a checkpoint", "--checkpoint")
    else:
        check((kit / "new").read_bytes(), 1, "it is a receipt", "without an option")


def test_documents_that_are_none(kit: Path, tmp_path: Path) -> None:
    """Keys documents, proofs and disclosures: Windows line ends do no harm in JSON; everything else is named."""
    path = tmp_path / "it"

    def keys(data: bytes, code: int, *words: str) -> None:
        path.write_bytes(data)
        says(cli("verify", "--key", kit / "first", "--keys", path, kit / "new"), code, *words)

    good = (kit / "keys").read_bytes()
    keys(good.replace(b"\n", b"\r\n"), 0)
    keys(b"", 3, path, "empty")
    keys(BOM + good, 3, path, "byte order mark")
    keys(good[:-9], 3, path, "cut off")
    keys((kit / "problem").read_bytes(), 3, path, "404")
    keys((kit / "new").read_bytes(), 3, path, "it is a receipt")
    keys(b"{}", 3, path, "origin")
    path.write_bytes(b"<html>")
    says(cli("verify", "--key", kit / "second", "--checkpoint", kit / "checkpoint", "--proof", path), 1, path, "web page")
    path.write_bytes(BOM + (kit / "disclosures").read_bytes())
    says(cli("verify", "--key", kit / "second", "--disclosures", path, kit / "new"), 1, path, "byte order mark")
    path.write_bytes((kit / "new").read_bytes())
    says(cli("verify", "--key", kit / "second", "--disclosures", path, kit / "new"), 1, path, "it is a receipt")


def test_keys_that_are_none(kit: Path, shared: Server, tmp_path: Path) -> None:
    """Of a broken key it is said what is broken; a secret in its place is never printed."""
    good = (kit / "second").read_text().strip()
    verify = lambda key: cli("verify", "--key", key, kit / "new")  # noqa: E731
    assert verify(good + "\r\n").code == 0
    name, hexed, key = good.split("+", 2)
    for broken, word in {
        good[:-3]: "cut off",
        f"{name}+{hexed}+{key[:-8]}": "cut off",
        f"{name}+00000000+{key}": "digits do not fit",
        f"x{good}": "digits do not fit",
        f"{name}+{key}": "three parts" if "+" not in key else "",
    }.items():
        told = says(verify(broken), 3, "--key", word)
        assert "No such file or directory" not in told
    says(verify(tmp_path / "absent"), 3, tmp_path / "absent", "no such file")
    file = tmp_path / "key"
    for text, words in {good[:-3]: ("cut off",), "": ("empty",), "\ufeff" + good: ("byte order mark",), (kit / "new").read_text(): ("it is a receipt",)}.items():
        file.write_text(text)
        says(verify(file), 3, file, *words)
    private = (shared.keys_dir / "acme" / "log-2.key").read_text().strip()
    for secret in (private, shared.admin_key.text):
        file.write_text(secret + "\n")
        for given in (secret, file):
            told = says(verify(given), 3, "public key" if secret.startswith("cs_") else "public one")
            assert secret not in told and secret[-20:] not in told


def test_folders_that_are_none(kit: Path, shared: Server, tmp_path: Path) -> None:
    """An unfinished export, an archive, an approval given as an export and the other way round."""
    verify = lambda *args: cli("verify", "--key", kit / "first", *args)  # noqa: E731
    says(verify("--export", tmp_path), 3, tmp_path, "checkpoint", "incomplete")
    says(verify("--approval", tmp_path), 3, tmp_path, "checkpoint", "incomplete")
    archive = tmp_path / "export.zip"
    archive.write_bytes(b"PK\3\4")
    says(verify("--export", archive), 3, archive, "folder")
    whole = tmp_path / "whole"
    shared.remote("export", "--tenant", "acme", whole, key=shared.add_key(["auditor"])).ok()
    says(verify("--approval", whole), 3, whole, "--export")
    one = tmp_path / "one"
    one.mkdir()
    (one / "opening.tlog-proof").write_text("")
    says(verify("--export", one), 3, one, "--approval")
    (whole / "checkpoint").write_bytes((whole / "checkpoint").read_bytes().replace(b"\n", b"\r\n"))
    says(verify("--export", whole), 1, whole / "checkpoint", "CR LF")


def test_json_says_what_could_not_be_read(kit: Path, tmp_path: Path) -> None:
    answer: Any = cli("verify", "--json", "--key", kit / "first", tmp_path / "absent").json()
    assert answer["verified"] is False and "absent" in answer["error"] and answer["items"] == []
