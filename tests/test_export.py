"""Exports and key rotations: what an auditor takes away, and follows from the first key (P5)."""

from __future__ import annotations

import functools
import http.server
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import Server, cli, event
from support.judges import judge
from support.rfc6962 import Receipt, Vkey, leaf_hash, open_checkpoint, root, split_bundle


def names(size: int) -> set[str]:
    """The files of an export of `size` leaves, without disclosures (`proto/formats/export.md`)."""
    found = {"README.txt", "checkpoint", "keys.json"}
    for prefix, count in [("entries", size), *((str(level), size >> 8 * level) for level in range(8))]:
        for number in range((count + 255) // 256):
            width = min(256, count - 256 * number)
            assert number < 1000
            found.add(f"tile/{prefix}/{number:03}" + ("" if width == 256 else f".p/{width}"))
    return found


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def export(server: Server, folder: Path, *args: object, **options: Any) -> Any:
    key = server.keys.get("exporter of all") or server.add_key(["auditor", "exporter", "discloser"])
    server.keys["exporter of all"] = key
    return server.remote("export", "--tenant", "acme", *args, folder, key=key, **options)


def verified(server: Server, folder: Path) -> dict[str, Any]:
    answer = cli("verify", "--key", server.vkey, "--export", folder, "--json").ok().json()
    (item,) = answer["items"]
    return item


@pytest.fixture(scope="module")
def grown(shared: Server) -> Server:
    publisher = shared.as_("publisher")
    publisher.publish(*(event(source="/e", sequence=str(n)) for n in range(600) if n % 50))
    publisher.publish(b"5")
    return shared


def test_p5_export_is_exactly_what_the_page_says(grown: Server, tmp_path: Path) -> None:
    folder = tmp_path / "e"
    done = export(grown, folder).ok()
    size = int((folder / "checkpoint").read_text().split("\n")[1])
    assert str(size) in done.out and files(folder) == names(size)
    item = verified(grown, folder)
    assert item["size"] == size and item["summary"]["kinds"]["decision"] >= 588 and item["summary"]["kinds"]["rejected"] >= 1
    assert sum(item["summary"]["open_gaps"].values()) == 11 and "truth_of_the_events" in item["not_checked"]
    leaves = [leaf for n in sorted(files(folder)) if n.startswith("tile/entries/") for leaf in split_bundle((folder / n).read_bytes())]
    opened = open_checkpoint((folder / "checkpoint").read_text(), Vkey.parse(grown.vkey))
    assert root([leaf_hash(leaf) for leaf in leaves]) == opened.root
    told = cli("verify", "--key", grown.vkey, "--export", folder).ok().out
    assert "Not checked" in told and "decision" in told


def test_p5_export_from_any_file_server(grown: Server, tmp_path: Path) -> None:
    """Go's judge reads the directory over a static file server."""
    folder = tmp_path / "e"
    export(grown, folder).ok()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    handler.log_message = lambda *_: None  # type: ignore[attr-defined]
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as static:
        threading.Thread(target=static.serve_forever, daemon=True).start()
        counts = judge(f"http://127.0.0.1:{static.server_address[1]}", [grown.vkey], tmp_path)
        static.shutdown()
    assert counts["inclusions"] == int((folder / "checkpoint").read_text().split("\n")[1])


def test_p5_export_resumes(grown: Server, tmp_path: Path) -> None:
    """An unfinished export is completed: kept files are not fetched again, missing ones are. Without a checkpoint it is
    not taken for complete."""
    folder = tmp_path / "e"
    export(grown, folder).ok()
    whole = {name: (folder / name).read_bytes() for name in files(folder)}
    kept = folder / "tile/0/000"
    before = kept.stat().st_mtime_ns
    for name in ["checkpoint", "tile/0/001", "tile/entries/001", "keys.json"]:
        (folder / name).unlink()
    assert cli("verify", "--key", grown.vkey, "--export", folder).code == 3
    export(grown, folder).ok()
    assert kept.stat().st_mtime_ns == before
    assert verified(grown, folder)["verified"]
    assert whole["tile/0/001"] == (folder / "tile/0/001").read_bytes()


def test_p5_export_of_a_grown_log_into_the_same_directory(grown: Server, tmp_path: Path) -> None:
    """Afterwards it is exactly the export of the new size: no partial tiles of the old one are left."""
    folder = tmp_path / "e"
    export(grown, folder).ok()
    grown.as_("publisher").publish(*(event() for _ in range(200)))
    export(grown, folder).ok()
    size = int((folder / "checkpoint").read_text().split("\n")[1])
    assert verified(grown, folder)["size"] == size
    assert files(folder) - names(size) == set(), "left over from the smaller log"
    assert files(folder) == names(size)


def test_p11_export_with_disclosures(make_server: Any, tmp_path: Path) -> None:
    """Disclosures are there for entries that have some; after an erasure a new run into the same directory drops them."""
    server = make_server()
    sent = [event(), event(payload={}), event()]
    indexes = [r["index"] for r in server.as_("publisher").publish(*sent)]
    folder = tmp_path / "e"
    export(server, folder, "--disclosures").ok()
    size = int((folder / "checkpoint").read_text().split("\n")[1])
    shown = {f"disclosures/{index}.disclosures" for index in (indexes[0], indexes[2])}
    assert files(folder) == names(size) | shown
    item = verified(server, folder)
    assert item["disclosures"] == 4
    path = folder / f"disclosures/{indexes[0]}.disclosures"
    good = path.read_text()
    for bad in [good.replace("kim", "tom"), good + good.split("\n")[0] + "\n", "{}\n"]:
        path.write_text(bad)
        assert cli("verify", "--key", server.vkey, "--export", folder).code in (1, 3), bad
    path.write_text(good)
    moved = folder / f"disclosures/{size + 5}.disclosures"
    shutil.copy(path, moved)
    assert cli("verify", "--key", server.vkey, "--export", folder).code in (1, 3), "of an entry that is not there"
    moved.unlink()
    without = tmp_path / "f"
    key = server.as_("exporter").key
    server.remote("export", "--tenant", "acme", without, key=key).ok()
    assert not (without / "disclosures").exists()
    assert server.remote("export", "--tenant", "acme", "--disclosures", tmp_path / "g", key=key).code == 1, "needs the role"
    assert not (tmp_path / "g" / "checkpoint").exists()
    server.admin.erase(indexes[0])
    server.admin.erase(indexes[2], "owner")
    export(server, folder, "--disclosures").ok()
    assert verified(server, folder)["disclosures"] == 1
    assert not path.exists() and "kim" not in (folder / f"disclosures/{indexes[2]}.disclosures").read_text()


def test_p5_tampered_exports_are_refused_with_the_place(grown: Server, tmp_path: Path) -> None:
    """Swapped entries, an entry less, a checkpoint of another log or size, files in each other's place."""
    folder = tmp_path / "e"
    export(grown, folder).ok()
    size = int((folder / "checkpoint").read_text().split("\n")[1])
    partial = next(name for name in files(folder) if name.startswith("tile/entries/") and ".p/" in name)

    def swap_first_two(data: bytes) -> bytes:
        a, b, *rest = split_bundle(data)
        return b"".join(len(leaf).to_bytes(2, "big") + leaf for leaf in (b, a, *rest))

    def changed(change: Any) -> None:
        copy = tmp_path / "c"
        shutil.copytree(folder, copy)
        change(copy)
        done = cli("verify", "--key", grown.vkey, "--export", copy)
        assert done.code in (1, 3), done
        assert "tile/" in done.out + done.err or "entr" in done.out + done.err or "checkpoint" in done.out + done.err, done
        shutil.rmtree(copy)

    changed(lambda c: (c / "tile/entries/000").write_bytes(swap_first_two((c / "tile/entries/000").read_bytes())))
    changed(lambda c: (c / partial).write_bytes(b"".join(len(x).to_bytes(2, "big") + x for x in [*split_bundle((c / partial).read_bytes())][:-1])))
    changed(lambda c: shutil.copy(c / "tile/entries/000", c / "tile/entries/001"))
    changed(lambda c: shutil.copy(c / "tile/0/000", c / "tile/0/001"))
    changed(lambda c: (c / "checkpoint").write_text((c / "checkpoint").read_text().replace(f"\n{size}\n", f"\n{size - 1}\n")))
    changed(lambda c: (c / "checkpoint").unlink())
    changed(lambda c: shutil.rmtree(c / "tile/0"))
    changed(lambda c: (c / "tile/entries/000").write_bytes((c / "tile/entries/000").read_bytes().replace(b'"deny"', b'"DENY"', 1)))


# Rotation


@pytest.fixture
def rotated(make_server: Any, tmp_path: Path) -> Iterator[tuple[Server, dict[str, Any]]]:
    """A log whose key was replaced twice: at once and with an overlap; receipts from each time."""
    server = make_server()
    publisher, admin = server.as_("publisher"), server.admin
    taken: dict[str, Any] = {"vkeys": [server.vkey]}

    def take(name: str) -> None:
        index = publisher.publish(event())[0]["index"]
        (tmp_path / f"{name}.tlog-proof").write_text(admin.receipt(index))
        (tmp_path / f"{name}.checkpoint").write_text(admin.checkpoint())
        taken[name] = index

    take("before")
    taken["vkeys"].append(server.remote("key rotate", "--tenant", "acme", "--overlap", 0).ok().out.split()[3])
    take("after-first")
    # As many entries as any overlap that was not asked for may have.
    for _ in range(10):
        publisher.publish(*(event() for _ in range(1000)))
    take("long-after-first")
    taken["vkeys"].append(server.remote("key rotate", "--tenant", "acme", "--overlap", 20_000).ok().out.split()[3])
    take("in-second-overlap")
    for _ in range(21):
        publisher.publish(*(event() for _ in range(1000)))
    take("after-second")
    server.restart(kill=True)
    publisher, admin = server.as_("publisher"), server.admin
    take("after-restart")
    (tmp_path / "keys.json").write_text(json.dumps(admin.keys_document()))
    (tmp_path / "first.vkey").write_text(server.vkey)
    yield server, taken
    server.stop()
    server.fsck().ok()


def signers(checkpoint: str, vkeys: list[str]) -> set[int]:
    """Which of the keys signed a checkpoint, verified in plain Python."""
    found = set()
    for number, vkey in enumerate(vkeys):
        try:
            open_checkpoint(checkpoint, Vkey.parse(vkey))
            found.add(number)
        except Exception:  # noqa: BLE001  any failure is a no
            pass
    return found


def test_p5_log_key_rotation(rotated: tuple[Server, dict[str, Any]], tmp_path: Path) -> None:
    """Old receipts verify with the first key alone, for ever; new ones with the first key and the keys document; without
    it they are refused; during an overlap both keys signed. Every Go and Python judge agrees."""
    server, taken = rotated
    vkeys = taken["vkeys"]
    assert len(set(vkeys)) == 3 and all(vkey.startswith(server.origin + "+") for vkey in vkeys)
    names = ["before", "after-first", "long-after-first", "in-second-overlap", "after-second", "after-restart"]
    by = {name: signers((tmp_path / f"{name}.checkpoint").read_text(), vkeys) for name in names}
    assert by["before"] == {0}
    assert 1 in by["after-first"] and 2 not in by["after-first"]
    assert by["long-after-first"] == {1}
    assert by["in-second-overlap"] == {1, 2}
    assert by["after-second"] == by["after-restart"] == {2}
    key, keys = tmp_path / "first.vkey", tmp_path / "keys.json"
    for name in names:
        receipt, checkpoint = tmp_path / f"{name}.tlog-proof", tmp_path / f"{name}.checkpoint"
        assert cli("verify", "--key", key, "--keys", keys, receipt).code == 0, name
        assert cli("verify", "--key", key, "--keys", keys, "--checkpoint", checkpoint).code == 0, name
        alone = cli("verify", "--key", key, receipt).code
        assert alone == (0 if 0 in by[name] else 1), name
        latest = tmp_path / "latest"
        latest.write_text(vkeys[2])
        assert cli("verify", "--key", latest, receipt).code == (0 if 2 in by[name] else 1), name
        second = cli("verify", "--key", vkeys[1], "--keys", keys, receipt).code
        assert second == (0 if by[name] & {1, 2} else 1), name
    document = json.loads(keys.read_text())
    assert [one["vkey"] for one in document["keys"]] == vkeys
    assert [one["last_size"] is None for one in document["keys"]] == [False, False, True]
    assert document["keys"][0]["receipt"] is None
    for one, before in zip(document["keys"][1:], document["keys"], strict=False):
        assert one["first_size"] == one["index"] + 1 <= before["last_size"]
        entry = server.admin.entry(one["index"])
        assert entry["kind"] == "key" and entry["event"]["vkey"] == one["vkey"] and entry["event"]["old_last_size"] == before["last_size"]
        Receipt.parse(one["receipt"]).verify(Vkey.parse(before["vkey"]))
    assert document["keys"][2]["first_size"] + 20_000 <= document["keys"][1]["last_size"] + 1
    for path in tmp_path.glob("*.tlog-proof"):
        receipt = Receipt.parse(path.read_text())
        assert any(signers(receipt.checkpoint, [vkey]) for vkey in vkeys)
    export(server, tmp_path / "e").ok()
    assert verified(server, tmp_path / "e")["verified"], "an export carries its keys document"
    (tmp_path / "e" / "keys.json").unlink()
    assert cli("verify", "--key", key, "--export", tmp_path / "e").code == 1
    assert cli("verify", "--key", key, "--keys", keys, "--export", tmp_path / "e").code == 0


def test_p5_forged_keys_documents_are_refused(rotated: tuple[Server, dict[str, Any]], tmp_path: Path) -> None:
    """A stranger's key, left out links, other sizes, another entry's receipt: none makes a key believed."""
    server, taken = rotated
    key, receipt = tmp_path / "first.vkey", tmp_path / "after-second.tlog-proof"
    with Server(tmp_path / "stranger") as stranger:
        stranger.init()
        foreign = stranger.vkey
    good = json.loads((tmp_path / "keys.json").read_text())

    def refused(change: Any) -> None:
        document = json.loads(json.dumps(good))
        change(document["keys"], document)
        path = tmp_path / "forged.json"
        path.write_text(json.dumps(document))
        done = cli("verify", "--key", key, "--keys", path, receipt)
        assert done.code in (1, 3), (document, done)

    refused(lambda k, d: k[1].update(vkey=foreign))
    refused(lambda k, d: k[2].update(vkey=foreign))
    refused(lambda k, d: k[2].update(vkey=k[1]["vkey"]))
    refused(lambda k, d: k.pop(1))
    refused(lambda k, d: k.pop(0))
    refused(lambda k, d: k.pop(2))
    refused(lambda k, d: k.reverse())
    refused(lambda k, d: k[1].update(receipt=None))
    refused(lambda k, d: k[2].update(receipt=k[1]["receipt"]))
    refused(lambda k, d: k[2].update(receipt=(tmp_path / "after-second.tlog-proof").read_text()))
    refused(lambda k, d: k[2].update(first_size=k[2]["first_size"] - 1))
    refused(lambda k, d: k[2].update(index=k[2]["index"] + 1))
    refused(lambda k, d: d.update(origin="other"))
    refused(lambda k, d: k.insert(1, dict(k[1], vkey=foreign)))
    # What the document may grow by is not believed, and no reason to refuse it.
    (tmp_path / "grown.json").write_text(json.dumps(good | {"more": 1}))
    assert cli("verify", "--key", key, "--keys", tmp_path / "grown.json", receipt).code == 0


def test_p5_a_replaced_key_signs_nothing_later(rotated: tuple[Server, dict[str, Any]], tmp_path: Path) -> None:
    """Whoever steals the first key later can't make a checkpoint of a size it no longer signs. (The thief has the file.)"""
    import base64

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    server, taken = rotated
    text = (server.keys_dir / "acme" / "log-1.key").read_text().strip()
    seed = base64.b64decode(text.split("+", 4)[4])[1:]
    thief = Ed25519PrivateKey.from_private_bytes(seed)
    vkey = Vkey.parse(server.vkey)
    body = (tmp_path / "after-second.checkpoint").read_text().partition("\n\n")[0] + "\n"
    forged = tmp_path / "forged"
    key, keys = tmp_path / "first.vkey", tmp_path / "keys.json"

    def sign(body: str) -> None:
        signature = base64.b64encode(vkey.id + thief.sign(body.encode())).decode()
        forged.write_text(f"{body}\n\u2014 {vkey.name} {signature}\n")

    sign(body)
    assert cli("verify", "--key", key, "--checkpoint", forged).code == 0, "without the document nobody knows"
    done = cli("verify", "--key", key, "--keys", keys, "--checkpoint", forged)
    assert done.code == 1 and "size" in done.out
    before = (tmp_path / "before.checkpoint").read_text().partition("\n\n")[0] + "\n"
    sign(before)
    assert cli("verify", "--key", key, "--keys", keys, "--checkpoint", forged).code == 0


def test_p6_journal_and_token_keys_rotate(server: Server) -> None:
    """After rotating the journal key, everything signed by it works: keys, erasures, rotations; also after kill -9."""
    for kill in (True, False):
        before = server.admin.entries()[0]["event"]
        for use in ("journal", "token"):
            made = server.remote("key rotate", "--tenant", "acme", "--use", use).ok().out.split()[3]
            assert made.startswith(f"{server.origin}/{use}+") and made not in str(before)
            entry = server.admin.entries(kind="key")[-1]
            assert (entry["event"]["use"], entry["event"]["vkey"]) == (use, made)
        server.restart(kill=kill)
        key = server.add_key(["auditor"])
        assert server.client(key).get("/entries").status_code == 200
        index = server.as_("publisher").publish(event())[0]["index"]
        server.admin.erase(index)
        assert [entry["kind"] for entry in server.admin.entries()[-4:]].count("rejected") == 0
    assert server.client(None).http.get("/healthz").json()["status"] == "green"
    assert server.remote("key rotate", "--tenant", "acme", "--use", "other").code == 1
    assert len(list((server.keys_dir / "acme").glob("journal-*.key"))) == 3
    server.stop()
    server.fsck().ok()


def test_p5_changed_signature_lines_during_an_overlap(server: Server, tmp_path: Path) -> None:
    """Two keys sign. A note's reader must ignore lines of keys it does not know (C2SP signed-note), so a change that turns
    one of the two lines into a stranger's is ignored while the other holds. No other change is, and never one of the
    text or of a signature whose key is known."""
    server.as_("publisher").publish(event())
    server.admin.rotate("log", 10_000)
    text = server.admin.checkpoint().encode()
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps(server.admin.keys_document()))
    begin = text.index(b"\n\n") + 2
    lines = text[begin:].split(b"\n")
    assert len(lines) == 3 and lines[2] == b""
    copy = tmp_path / "checkpoint"
    for known in ([], ["--keys", keys]):
        accepted = set()
        for at in range(len(text)):
            copy.write_bytes(text[:at] + bytes([text[at] ^ 1]) + text[at + 1 :])
            if cli("verify", "--key", server.vkey, *known, "--checkpoint", copy).code == 0:
                accepted.add(at)
        # Of the first line: the name, and the six characters that hold the key id.
        head = len("\u2014 ".encode())
        mine = set(range(begin + head, begin + lines[0].rindex(b" ") + 7))
        second = begin + len(lines[0]) + 1
        theirs = set(range(second + head, second + len(lines[1])))
        if known:
            theirs = set(range(second + head, second + lines[1].rindex(b" ") + 7))
            assert accepted <= mine | theirs, sorted(accepted - mine - theirs)
        else:
            assert accepted <= theirs, sorted(accepted - theirs)
