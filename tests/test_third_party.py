"""Everything we serve is verified by code that is not ours, and every change of it is refused (P5, P11)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import rfc8785
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from sigstore._internal.merkle import verify_merkle_inclusion
from sigstore._internal.rekor.checkpoint import SignedCheckpoint, verify_checkpoint
from sigstore._internal.trust import Keyring
from sigstore.errors import VerificationError
from sigstore_models.common import v1 as common_v1
from support import NatsServer, Server, cli, event, heartbeat
from support.client import Client
from support.judges import judge
from support.rfc6962 import Receipt, Vkey, leaf_hash, open_checkpoint, root, split_bundle

BASE64URL = str.maketrans("+/", "-_")


def b64url(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=").translate(BASE64URL)


class Log:
    """A log of about 900 leaves, what was collected while it grew, and the events that were sent."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.sent: dict[int, dict[str, Any]] = {}
        folder.mkdir()
        publisher, admin = server.as_("publisher"), server.admin
        server.as_("discloser")
        source, self.number = "/numbered", 0
        for batch in [1, 1, 3, 120, 128, 1, 300, 255, 60]:
            events = []
            for _ in range(batch):
                self.number += 1 + (self.number % 40 == 0)
                events.append(event(source=source, sequence=str(self.number), payload={"params": {"n": self.number}, "memo": "é\u2028\x00"}))
            for sent, result in zip(events, publisher.publish(*events), strict=True):
                self.sent[result["index"]] = sent
            publisher.publish(b'"bad"', events[0], events[0] | {"time": "2020-01-01T00:00:00Z"}, heartbeat(self.number + 2, source=source))
            self.number += 2
            self.collect(admin)
        self.sizes = sorted(int(p.stem) for p in folder.glob("*.checkpoint"))
        for first in self.sizes:
            for to in self.sizes:
                if first <= to:
                    proof = {"from": first, "to": to, "proof": admin.consistency(first, to)}
                    (folder / f"{first}-{to}.consistency").write_text(json.dumps(proof))

    def collect(self, client: Client) -> None:
        """Keeps the checkpoint and some receipts of now."""
        text = client.checkpoint()
        size = int(text.split("\n")[1])
        (self.folder / f"{size}.checkpoint").write_text(text)
        for index in {0, 1, size // 3, size // 2, size - 2, size - 1}:
            (self.folder / f"{index}-of-{size}.tlog-proof").write_text(client.receipt(index))

    @property
    def receipts(self) -> list[str]:
        return [path.read_text() for path in sorted(self.folder.glob("*.tlog-proof"))]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory, shared: Server) -> Log:
    return Log(shared, tmp_path_factory.mktemp("collected") / "log")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, log: Log) -> Path:
    """An export of the log, with disclosures."""
    folder = tmp_path_factory.mktemp("export") / "acme"
    key = log.server.add_key(["auditor", "exporter", "discloser"])
    log.server.remote("export", "--tenant", "acme", "--disclosures", folder, key=key).ok()
    return folder


# Go


def test_p5_go_sumdb_over_http(log: Log) -> None:
    """note: every checkpoint. tlog: every pair of checkpoints consistent (from tiles and from our proofs), every entry
    of every bundle and every receipt included, all tiles authenticated. Every flipped bit of root, hashes, leaf, entry,
    index, signature, text and tiles is refused."""
    server = log.server
    where = f"{server.url}/v1/tenants/acme/logs/1"
    counts = judge(where, [server.vkey], log.folder, server.key_file(server.admin_key))
    print(counts)
    size = server.admin.size()
    assert counts["inclusions"] == size and counts["bundles"] == (size + 255) // 256
    assert counts["receipts"] == len(log.receipts) and counts["checkpoints"] == len(log.sizes) >= 9
    assert counts["served consistency"] == len(log.sizes) * (len(log.sizes) + 1) // 2
    assert counts["refused changes"] > 100_000


def test_p5_go_sumdb_on_an_export(log: Log, exported: Path) -> None:
    """The same judge reads an export from plain files."""
    counts = judge(str(exported), [log.server.vkey], log.folder)
    assert counts["inclusions"] == int((exported / "checkpoint").read_text().split("\n")[1])


def test_p5_the_go_judge_can_fail(log: Log, exported: Path, tmp_path: Path) -> None:
    """Another key, a changed receipt, a changed bundle: the judge says no."""
    import shutil

    stranger = tmp_path / "stranger"
    with Server(stranger) as other:
        other.init()
        with pytest.raises(AssertionError, match="Go refuses"):
            judge(str(exported), [other.vkey], log.folder)
    changed = tmp_path / "changed"
    shutil.copytree(exported, changed)
    bundle = changed / "tile" / "entries" / "001"
    data = bytearray(bundle.read_bytes())
    data[-5] ^= 1
    bundle.write_bytes(data)
    with pytest.raises(AssertionError, match="Go refuses: judge: entry 511"):
        judge(str(changed), [log.server.vkey], log.folder)


# sigstore


def keyring(vkey: Vkey) -> Any:
    der = Ed25519PublicKey.from_public_bytes(vkey.public).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    details = common_v1.PublicKeyDetails.PKIX_ED25519
    return Keyring([common_v1.PublicKey(raw_bytes=base64.b64encode(der), key_details=details)])


def as_sigstore(receipt: Receipt, vkey: Vkey) -> Any:
    """A receipt as sigstore's transparency log entry holds it."""
    opened = SignedCheckpoint.from_text(receipt.checkpoint)
    proof = SimpleNamespace(
        log_index=receipt.index, tree_size=opened.checkpoint.log_size, hashes=receipt.path,
        root_hash=bytes.fromhex(opened.checkpoint.log_hash), checkpoint=SimpleNamespace(envelope=receipt.checkpoint),
    )  # fmt: skip
    inner = SimpleNamespace(
        inclusion_proof=proof, canonicalized_body=receipt.entry, log_id=SimpleNamespace(key_id=vkey.id + bytes(28))
    )
    return SimpleNamespace(_inner=inner)


def sigstore_says(entry: Any, ring: Any) -> bool:
    try:
        verify_checkpoint(ring, entry)
        verify_merkle_inclusion(entry)
    except VerificationError:
        return False
    return True


def test_p5_sigstore_python(log: Log) -> None:
    """sigstore's checkpoint and Merkle verification accept every receipt and refuse changes of what they read."""
    vkey = Vkey.parse(log.server.vkey)
    ring, refused = keyring(vkey), 0
    for text in log.receipts:
        receipt = Receipt.parse(text)
        entry = as_sigstore(receipt, vkey)
        assert sigstore_says(entry, ring)
        proof = entry._inner.inclusion_proof
        if not proof.hashes:
            continue

        def check(what: str) -> None:
            assert not sigstore_says(entry, ring), what

        for bit in range(0, 256, 17):
            flip = (1 << bit).to_bytes(32, "big")

            def flipped(value: bytes, flip: bytes = flip) -> bytes:
                return bytes(a ^ b for a, b in zip(value, flip, strict=True))

            kept = proof.root_hash
            proof.root_hash = flipped(kept)
            check("root")
            proof.root_hash = kept
            for at, kept in enumerate(proof.hashes):
                proof.hashes[at] = flipped(kept)
                check("hash")
                proof.hashes[at] = kept
                refused += 1
        for other in (receipt.index ^ 1, receipt.index + 1, receipt.index + proof.tree_size):
            proof.log_index = other
            check("index")
        proof.log_index = receipt.index
        kept, entry._inner.canonicalized_body = entry._inner.canonicalized_body, receipt.entry + b" "
        check("entry")
        entry._inner.canonicalized_body = kept
        note, _, signature = receipt.checkpoint.partition("\n\n")
        raw = bytearray(base64.b64decode(signature.split(" ")[2]))
        for at in range(4, len(raw)):
            raw[at] ^= 1
            line = f"\u2014 {vkey.name} {base64.b64encode(raw).decode()}\n"
            proof.checkpoint.envelope = f"{note}\n\n{line}"
            check(f"signature byte {at}")
            raw[at] ^= 1
        digits = note.split("\n")
        for changed in ([digits[0] + "x", *digits[1:]], [digits[0], str(int(digits[1]) + 1), digits[2]]):
            proof.checkpoint.envelope = "\n".join(changed) + "\n\n" + signature
            check("note")
        proof.checkpoint.envelope = receipt.checkpoint
        assert sigstore_says(entry, ring)
    assert refused > 1000


# Plain Python


def test_p5_python_root_and_receipts(log: Log) -> None:
    """The root of all leaves by RFC 6962's definition, at every size we kept a checkpoint of, and every receipt."""
    client, vkey = log.server.admin, Vkey.parse(log.server.vkey)
    size = client.size()
    leaves = [leaf for _, leaf in client.feed()][:size]
    hashes = [leaf_hash(leaf) for leaf in leaves]
    for path in log.folder.glob("*.checkpoint"):
        opened = open_checkpoint(path.read_text(), vkey)
        assert opened.origin == log.server.origin == vkey.name
        assert root(hashes[: opened.size]) == opened.root
    for number in range(size // 256):
        assert client.tile(f"0/{number:03}") == b"".join(hashes[256 * number : 256 * (number + 1)])
    for index in range(0, size, 13):
        receipt = Receipt.parse(client.receipt(index))
        assert receipt.entry == leaves[index] and receipt.index == index
        receipt.verify(vkey)
    for text in log.receipts:
        receipt = Receipt.parse(text)
        receipt.verify(vkey)
        for changed in [
            replace(receipt, entry=receipt.entry + b" "), replace(receipt, index=receipt.index + 1),
            replace(receipt, path=receipt.path[1:]) if receipt.path else replace(receipt, path=[bytes(32)]),
            replace(receipt, checkpoint=receipt.checkpoint.replace("acme", "acm3")),
        ]:  # fmt: skip
            with pytest.raises((AssertionError, InvalidSignature)):
                changed.verify(vkey)


MEMBERS = {"v", "tenant", "kind", "producer", "journal", "commit", "event", "payload", "prior"}


def test_p5_p11_python_canonical_and_disclosures(log: Log) -> None:
    """Every leaf is its own RFC 8785 form (by another implementation) and has exactly its members; every digest opens
    to a disclosure, every disclosure has a digest, values are those that were sent; nothing of the payload is plain."""
    client, discloser = log.server.admin, log.server.as_("discloser")
    last = ""
    salts: set[str] = set()
    for index, leaf in client.feed():
        entry = json.loads(leaf)
        assert rfc8785.dumps(entry) == leaf, index
        assert set(entry) - {"salt", "sequence"} == MEMBERS and len(leaf) <= 65_535
        assert entry["payload"] == sorted(entry["payload"])
        assert len(base64.urlsafe_b64decode(entry["commit"] + "=")) == 32
        assert entry["journal"]["time"] >= last
        last = entry["journal"]["time"]
        if index % 7 and index not in list(log.sent)[:20]:
            continue
        lines = discloser.disclosures(index).splitlines() if entry["payload"] else []
        digests = []
        values = {}
        for line in discloser.disclosures(index).split("\n")[:-1]:
            salt, name, value = json.loads(line)
            assert rfc8785.dumps([salt, name, value]) == line.encode()
            assert len(base64.urlsafe_b64decode(salt + "=")) == 32 and salt not in salts and name not in values
            salts.add(salt)
            values[name] = value
            digests.append(b64url(hashlib.sha256(line.encode()).digest()))
        assert sorted(digests) == entry["payload"], lines
        if index in log.sent:
            assert values == log.sent[index]["data"]["payload"]
            plain = log.sent[index] | {"data": {k: v for k, v in log.sent[index]["data"].items() if k != "payload"}}
            assert entry["event"] == plain
    assert len(salts) > 100


def test_p5_schemas(log: Log, repository: Path) -> None:
    """Everything served keeps the published JSON Schemas; the schemas refuse what is changed."""
    folder = repository / "proto" / "schemas"
    schemas = {path.name.removesuffix(".schema.json"): json.loads(path.read_text()) for path in folder.glob("*.schema.json")}
    registry = Registry().with_resources([(s["$id"], Resource.from_contents(s)) for s in schemas.values() if "$id" in s])
    check = {name: Draft202012Validator(schema, registry=registry) for name, schema in schemas.items()}
    client = log.server.admin
    for _, leaf in client.feed():
        entry = json.loads(leaf)
        check["entry"].validate(entry)
        if entry["kind"] == "decision":
            check["event"].validate(entry["event"])
    check["keys"].validate(client.keys_document())
    check["feed-end"].validate(client.page(kind="journal_gap").end)
    check["problem"].validate(client.get("/entries/x").json())
    sent = [event(), event(), b'"x"']
    body = b"[" + b",".join(one if isinstance(one, bytes) else json.dumps(one).encode() for one in [*sent, sent[0], sent[1] | {"time": "2020-01-01T00:00:00Z"}]) + b"]"
    answer = log.server.as_("publisher").post_events(body, "application/cloudevents-batch+json", receipts=True).json()
    assert {one["status"] for one in answer["results"]} == {"posted", "rejected", "duplicate", "conflict"}
    check["results"].validate(answer)
    for name, good in [("entry", client.entry(0)), ("results", answer), ("keys", client.keys_document())]:
        for member in list(good):
            assert not check[name].is_valid({k: v for k, v in good.items() if k != member}), (name, member)
        assert not check[name].is_valid(good | {next(iter(good)): 5.5}), name


def salts_of(seed: bytes, producer: str, sent: dict[str, Any], name: str) -> str:
    """salt = HMAC-SHA256(seed, JCS[producer, source, id, name])."""
    return b64url(hmac.digest(seed, rfc8785.dumps([producer, sent["source"], sent["id"], name]), "sha256"))


def test_p6_p11_salts_and_commit_from_the_message_alone(nats: NatsServer, make_server: Any) -> None:
    """Over NATS: with a `Countersign-Salt` header, everything in the leaf follows from the message; without it, from the
    message and the tenant's salt key, and the entry says so. Recomputed here from the format pages alone."""
    import asyncio

    import nats as nats_py

    server = make_server(nats=nats.url)
    seed = bytes(range(16))
    sent = [event(source=f"/nats/{n}", payload={"params": {"n": n}, "memo": "x"}) for n in range(4)]

    async def publish() -> None:
        connection = await nats_py.connect(nats.url, connect_timeout=30)
        stream = connection.jetstream(timeout=30)
        for n, one in enumerate(sent):
            headers = {"Countersign-Salt": b64url(seed)} if n % 2 == 0 else None
            await stream.publish("countersign.acme.decisions.gw-9", json.dumps(one).encode(), headers=headers)
        await connection.close()

    asyncio.run(publish())
    from support import until

    client = server.admin
    until("posted", lambda: len(client.entries(kind="decision")) == len(sent))
    discloser = server.as_("discloser")
    salt_key = bytes.fromhex((server.keys_dir / "acme" / "salt.key").read_text().strip())
    genesis = client.entry(0)["event"]
    assert genesis["salt_key_id"] == hashlib.sha256(salt_key).hexdigest()[:16]
    for index, leaf in client.feed(kind="decision"):
        entry = json.loads(leaf)
        n = int(entry["event"]["source"].split("/")[-1])
        if n % 2 == 0:
            assert "salt" not in entry
            used = seed
        else:
            assert entry["salt"] == "derived"
            place = entry["journal"]["epoch"].to_bytes(8, "big") + entry["journal"]["seq"].to_bytes(8, "big")
            used = hmac.digest(salt_key, place, "sha256")
        commit = rfc8785.dumps([salts_of(used, "gw-9", sent[n], ""), "", sent[n]])
        assert entry["commit"] == b64url(hashlib.sha256(commit).digest())
        texts = [
            rfc8785.dumps([salts_of(used, "gw-9", sent[n], name), name, value])
            for name, value in sorted(sent[n]["data"]["payload"].items())
        ]
        assert entry["payload"] == sorted(b64url(hashlib.sha256(text).digest()) for text in texts)
        assert discloser.disclosures(index).encode() == b"".join(text + b"\n" for text in texts)


# Our own verifier refuses every changed byte


def refused(*args: object) -> bool:
    """Whether `verify` refuses (1) or can't read (3) something, and says so."""
    done = cli("verify", *args)
    assert done.code in (0, 1, 3), done
    return done.code != 0


def sweep(original: bytes, path: Path, changes: list[tuple[int, int]], *args: object) -> list[tuple[int, int]]:
    """Writes each changed byte to a file of its own and verifies it; what was accepted."""
    def try_one(job: tuple[int, tuple[int, int]]) -> tuple[int, int] | None:
        number, (at, value) = job
        copy = path.with_name(f"{path.name}.{number}")
        copy.write_bytes(original[:at] + bytes([value]) + original[at + 1 :])
        try:
            return None if refused(*args, copy) else (at, value)
        finally:
            copy.unlink()

    with ThreadPoolExecutor(2 * (os.cpu_count() or 1)) as pool:
        return [found for found in pool.map(try_one, enumerate(changes)) if found]


def all_changes(original: bytes, flips: list[int]) -> list[tuple[int, int]]:
    return [(at, byte ^ flip) for at, byte in enumerate(original) for flip in flips]


def test_p5_verify_refuses_every_changed_byte_of_a_receipt(log: Log, tmp_path: Path) -> None:
    """Every position of one receipt, every bit; and some longer, shorter and re-spelled ones. The unchanged one verifies."""
    vkey = log.server.vkey
    text = min(log.receipts, key=lambda t: (len(Receipt.parse(t).path) == 0, len(t))).encode()
    good = tmp_path / "good.tlog-proof"
    good.write_bytes(text)
    assert cli("verify", "--key", vkey, good).code == 0
    accepted = sweep(text, good, all_changes(text, [1 << bit for bit in range(8)]), "--key", vkey)
    assert not accepted, [(at, text[at : at + 1], bytes([value])) for at, value in accepted[:10]]
    for number, changed in enumerate([text + b"\n", text + b"x", text[:-1], b"\n" + text, text[1:], text.replace(b"\n", b"\r\n"), text * 2, b"",
                                      text.replace(b"index ", b"index 0"), text.replace(b"\n\n", b"\n\n\n", 1)]):  # fmt: skip
        copy = tmp_path / f"changed-{number}"
        copy.write_bytes(changed)
        assert refused("--key", vkey, copy), changed[:80]


def test_p5_verify_refuses_every_changed_byte_of_a_checkpoint(log: Log, tmp_path: Path) -> None:
    """Every position, every bit."""
    vkey = log.server.vkey
    text = (log.folder / f"{log.sizes[-1]}.checkpoint").read_bytes()
    good = tmp_path / "checkpoint"
    good.write_bytes(text)
    assert cli("verify", "--key", vkey, "--checkpoint", good).code == 0
    accepted = sweep(text, good, all_changes(text, [1 << bit for bit in range(8)]), "--key", vkey, "--checkpoint")
    assert not accepted, [(at, text[at : at + 1], bytes([value])) for at, value in accepted[:10]]


def test_p5_verify_refuses_changed_tiles_and_bundles(log: Log, exported: Path, tmp_path: Path) -> None:
    """Every tile and bundle of an export: the first and last bytes and many between, a bit each; cut off, longer, missing.
    The place is named."""
    import shutil

    folder = tmp_path / "export"
    shutil.copytree(exported, folder)
    key = ["--key", log.server.vkey, "--export", folder]
    assert cli("verify", *key).code == 0
    tiles = sorted(path for path in (folder / "tile").rglob("*") if path.is_file())
    assert len(tiles) >= 9
    copies = [tmp_path / f"copy-{n}" for n in range(4)]
    for copy in copies:
        shutil.copytree(folder, copy)

    def try_all(job: tuple[int, Path]) -> list[str]:
        number, tile = job
        copy = copies[number % 4] / tile.relative_to(folder)
        data, bad = tile.read_bytes(), []
        last = len(data) - 1
        places = {0, 1, 2, 3, last, last - 1, last // 2} | {(last * k) // 24 for k in range(24)}
        variants = [(f"byte {at}", data[:at] + bytes([data[at] ^ (1 << at % 8)]) + data[at + 1 :]) for at in sorted(places)]
        variants += [("cut", data[:-1]), ("longer", data + b"\0"), ("empty", b"")]
        for what, changed in variants:
            copy.write_bytes(changed)
            done = cli("verify", "--key", log.server.vkey, "--export", copies[number % 4])
            if done.code not in (1, 3) or "tile/" not in done.out + done.err and "entr" not in done.out + done.err:
                bad.append(f"{tile.relative_to(folder)} {what}: {done}")
        copy.unlink()
        if not refused("--key", log.server.vkey, "--export", copies[number % 4]):
            bad.append(f"{tile.relative_to(folder)} missing")
        copy.write_bytes(data)
        return bad

    def worker(share: int) -> list[str]:
        return [bad for number, tile in enumerate(tiles) if number % 4 == share for bad in try_all((number, tile))]

    with ThreadPoolExecutor(4) as pool:
        found = [bad for share in pool.map(worker, range(4)) for bad in share]
    assert not found, found[:5]


def test_p5_verify_refuses_a_changed_disclosure(log: Log, exported: Path, tmp_path: Path) -> None:
    """Every byte of a disclosure; another entry's disclosure; the same twice; the right ones verify and are shown."""
    index, sent = next(iter(log.sent.items()))
    good = tmp_path / "r.tlog-proof"
    good.write_text(log.server.admin.receipt(index))
    text = log.server.as_("discloser").disclosures(index).encode()
    shown = tmp_path / "r.disclosures"
    shown.write_bytes(text)
    key = ["--key", log.server.vkey]
    done = cli("verify", *key, "--disclosures", shown, "--json", good).ok().json()
    assert done["items"][0]["disclosed"] == sent["data"]["payload"]
    assert "payload" not in done["items"][0]["not_checked"]
    without = cli("verify", *key, "--json", good).ok().json()
    assert "payload" in without["items"][0]["not_checked"]

    def try_one(change: tuple[int, int]) -> tuple[int, int] | None:
        at, value = change
        copy = tmp_path / f"d{at}-{value}"
        copy.write_bytes(text[:at] + bytes([value]) + text[at + 1 :])
        return None if refused(*key, "--disclosures", copy, good) else change

    changes = [c for c in all_changes(text, [1]) if c[0] != len(text) - 1]
    with ThreadPoolExecutor(4) as pool:
        accepted = [found for found in pool.map(try_one, changes) if found]
    assert not accepted, [(at, text[at : at + 1]) for at, _ in accepted]
    stranger = log.server.as_("discloser").disclosures(list(log.sent)[1]).encode()
    first = text.split(b"\n")[0] + b"\n"
    for number, changed in enumerate([stranger, text + first, text + b"{}\n", text + b"\n\n", b"[]\n", first.replace(b",", b", ", 1)]):
        copy = tmp_path / f"x{number}"
        copy.write_bytes(changed)
        assert refused(*key, "--disclosures", copy, good), changed
    fewer = tmp_path / "fewer"
    fewer.write_bytes(first)
    assert not refused(*key, "--disclosures", fewer, good), "a holder may show a part"
    assert (exported / "disclosures").is_dir()


def test_p5_bundles_hold_nothing_else(exported: Path, log: Log) -> None:
    """An export's bundles, split here, give its signed root."""
    opened = open_checkpoint((exported / "checkpoint").read_text(), Vkey.parse(log.server.vkey))
    leaves: list[bytes] = []
    for path in sorted((exported / "tile" / "entries").rglob("*")):
        if path.is_file():
            leaves += split_bundle(path.read_bytes())
    assert len(leaves) == opened.size and root([leaf_hash(leaf) for leaf in leaves]) == opened.root
