"""Who looks at an attacked directory: `fsck`, the server that is started on it, `countersign verify`, and a verifier that is not ours."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from support import ServerExited, cli, rfc6962, until
from support.server import Server

from .sound import Sound, World

#: What the server logs before a halt that the scrub has brought about.
SCRUB = "the scrub found damage"
#: Tree sizes up to which a key signs, where it has no successor.
EVER = 1 << 62


@dataclass
class Verdicts:
    """What each of them said; "" where nothing was noticed, "-" where there was nothing to look at."""

    fsck: str = ""
    serve: str = ""
    scrub: str = ""
    verify: str = ""
    third: str = ""
    #: What the attacker got.
    gain: str = ""
    #: What happened, for whoever reads a failure.
    notes: list[str] = field(default_factory=list)

    def caught(self) -> set[str]:
        """Who noticed."""
        return {name for name in ("fsck", "serve", "scrub", "verify", "third") if getattr(self, name) not in ("", "-")}


Probe = Callable[[World], str]


def judge(world: World, probe: Probe | None) -> Verdicts:
    """Everybody in turn, on a directory that was attacked."""
    verdicts = Verdicts()
    verdicts.fsck = fsck(world.server)
    try:
        world.server.start(ready=False)
        verdicts.serve = serve(world.server)
        if world.server.alive():
            try:
                verdicts.gain = probe(world) if probe is not None else ""
            except (AssertionError, httpx.HTTPError) as refused:
                verdicts.notes.append(f"refused: {refused}"[:400])
            verdicts.serve = verdicts.serve or halted(world.server)
            verdicts.scrub = scrubbed(world.server) if not verdicts.serve else "-"
            # What the log is read for at the start may be found while the scrub is on its way: it halts, and is read no more.
            verdicts.serve = verdicts.serve or halted(world.server)
            verify(world, verdicts)
        else:
            verdicts.verify = verdicts.third = "-"
    finally:
        world.server.__exit__()
    return verdicts


def fsck(server: Server) -> str:
    """"" for a sound directory, else the first finding."""
    done = server.run("fsck", "--json")
    if done.code == 0:
        return ""
    try:
        told = done.json()
    except json.JSONDecodeError:
        return f"exit {done.code}: {done.err.strip()}"
    findings = [*told["lost"], *filter(None, [told.get("damage")]), *(finding for log in told["logs"] for finding in log["log"]["findings"])]
    return findings[0] if findings else f"exit {done.code}: {done.err.strip()}"


def health(server: Server) -> dict[str, Any] | None:
    """`/healthz` in full, or `None` if nobody answers yet."""
    try:
        answer = httpx.get(f"{server.url}/healthz", headers={"Authorization": f"Bearer {server.operator_key.text}"}, timeout=30, trust_env=False)
        plain = answer if answer.status_code != 401 else httpx.get(f"{server.url}/healthz", timeout=30, trust_env=False)
        return plain.json()
    except httpx.TransportError:
        return None


def start_again(server: Server) -> None:
    """Starts it and waits until it answers or has ended."""
    server.start(ready=False)
    until("an answer of the server", lambda: not server.alive() or health(server) is not None)


def serve(server: Server) -> str:
    """Waits for the start; how it refuses, if it does."""
    until("an answer of the server", lambda: not server.alive() or health(server) is not None)
    if not server.alive():
        code = server.wait_exit()
        return f"exit {code}: {server.log.strip().splitlines()[-1] if server.log.strip() else ''}"
    try:
        return halted(server)
    except ServerExited as exited:
        return str(exited)


def halted(server: Server) -> str:
    """Why the log stands still, if it does; or that the process has ended."""
    if not server.alive():
        return f"exit {server.wait_exit()}"
    before, _, _ = server.log.partition(SCRUB)
    found = [line for line in before.splitlines() if "log halted" in line]
    return found[-1].split("log halted")[-1].strip() if found else ""


def scrubbed(server: Server) -> str:
    """Waits for the first pass of the scrub; what it found."""
    def passed() -> str | None:
        if not server.alive():
            return "the process ended"
        if halted(server):
            return "-"
        for scrub in (health(server) or {}).get("scrub", [{"passes": 1, "findings": []}]):
            if scrub["passes"] > 0 or scrub["findings"]:
                return scrub["findings"][0] if scrub["findings"] else "-"
        return None

    found = until("a pass of the scrub", passed)
    return "" if found == "-" else found


# what leaves the server


def verify(world: World, verdicts: Verdicts) -> None:
    """Receipts, a consistency proof and a whole export of what the server serves now, against what was kept before."""
    server, kept = world.server, world.sound.evidence
    folder = world.root / "auditor"
    folder.mkdir()
    with httpx.Client(base_url=server.url, timeout=60, trust_env=False) as http:
        get = lambda path, **query: http.get(  # noqa: E731
            f"/v1/tenants/{server.tenant}{path}", params=query, headers={"Authorization": f"Bearer {server.admin_key.text}"})
        newest = get("/logs/1/checkpoint")
        keys = get("/logs/1/keys")
        if newest.status_code != 200 or keys.status_code != 200:
            verdicts.verify = verdicts.third = "-"
            return
        (folder / "new.checkpoint").write_text(newest.text)
        (folder / "keys.json").write_text(keys.text)
        for index in [*kept.receipts, *world.touched]:
            answer = get("/receipts", index=index)
            if answer.status_code == 200:
                (folder / f"{index}.tlog-proof").write_text(answer.text)
            elif not verdicts.serve and not verdicts.scrub:
                verdicts.verify = verdicts.verify or f"receipt {index}: {answer.status_code} {answer.json()['code']}"
        size = int((newest.text.split("\n") + ["", "0"])[1] or 0)
        if kept.size <= size:
            answer = get("/proofs/consistency", **{"from": kept.size, "to": size})
            if answer.status_code == 200:
                (folder / "proof.json").write_text(answer.text)
    export = lambda *options: server.remote(  # noqa: E731
        "export", "--tenant", server.tenant, *options, folder / "export", key=server.keys["discloser"])
    done = export("--disclosures")
    if done.code != 0 and verdicts.serve:
        # A log that stands still gives no payload, for nothing would tell who read it; entries leave all the same.
        verdicts.notes.append(f"export with payload: {done.err.strip()}")
        done = export()
    if done.code != 0 and not verdicts.serve and not verdicts.scrub:
        verdicts.verify = verdicts.verify or f"export: {done.err.strip()}"
    elif done.code != 0:
        verdicts.notes.append(f"export: {done.err.strip()}")
    verdicts.verify = verdicts.verify or ours(world.sound, folder)
    verdicts.third = third(world.sound, folder)


def ours(sound: Sound, folder: Path) -> str:
    """What `countersign verify` refuses, with the key that was written down first."""
    base = ("verify", "--key", sound.vkey, "--keys", folder / "keys.json")
    calls = [(receipt,) for receipt in sorted(folder.glob("*.tlog-proof"))]
    if (folder / "proof.json").exists():
        calls.append(("--checkpoint", sound.evidence.folder / "old.checkpoint", "--checkpoint", folder / "new.checkpoint",
                      "--proof", folder / "proof.json"))  # fmt: skip
    if (folder / "export" / "checkpoint").exists():
        calls.append(("--export", folder / "export"))
    for call in calls:
        done = cli(*base, *call)
        if done.code != 0:
            return (done.out + done.err).strip().replace("\n", " ")
    return ""


def third(sound: Sound, folder: Path) -> str:
    """The same in plain Python, written from the RFC and C2SP texts (`support/rfc6962.py`)."""
    try:
        keys = [(rfc6962.Vkey.parse(key["vkey"]), key["first_size"], key["last_size"] or EVER)
                for key in json.loads((folder / "keys.json").read_text())["keys"]]  # fmt: skip

        def opened(text: str) -> rfc6962.Checkpoint:
            size = int(text.split("\n")[1])
            last = [key for key, first, until_size in keys if first <= size <= until_size][-1]
            return rfc6962.open_checkpoint(text, last)

        for name in folder.glob("*.tlog-proof"):
            receipt = rfc6962.Receipt.parse(name.read_text())
            checkpoint = opened(receipt.checkpoint)
            leaf = rfc6962.leaf_hash(receipt.entry)
            assert rfc6962.included(leaf, receipt.index, checkpoint.size, receipt.path, checkpoint.root), f"{name.name}: not included"
            kept = sound.evidence.receipts.get(receipt.index)
            assert kept is None or rfc6962.Receipt.parse(kept).entry == receipt.entry, f"{name.name}: another entry than before"
        if (folder / "export" / "checkpoint").exists():
            whole(sound, folder / "export", opened)
    except Exception as wrong:  # noqa: BLE001: whatever a verifier stumbles over is a refusal
        return f"{type(wrong).__name__}: {wrong}"
    return ""


def whole(sound: Sound, export: Path, opened: Callable[[str], rfc6962.Checkpoint]) -> None:
    """Every entry of an export, against its checkpoint, the kept one, and every disclosure."""
    checkpoint = opened((export / "checkpoint").read_text())
    leaves: list[bytes] = []
    for number in range((checkpoint.size + 255) // 256):
        width = min(256, checkpoint.size - 256 * number)
        path = export / "tile" / "entries" / f"{number:03d}{'' if width == 256 else f'.p/{width}'}"
        leaves += rfc6962.split_bundle(path.read_bytes())
    assert len(leaves) == checkpoint.size, "entries are missing"
    hashes = [rfc6962.leaf_hash(leaf) for leaf in leaves]
    assert rfc6962.root(hashes) == checkpoint.root, "another root than is signed"
    kept = opened(sound.evidence.checkpoint)
    assert checkpoint.size >= kept.size, "older than the checkpoint that was kept"
    assert rfc6962.root(hashes[: kept.size]) == kept.root, "another history than the checkpoint that was kept"
    for file in (export / "disclosures").glob("*"):
        digests = json.loads(leaves[int(file.name.split(".")[0])])["payload"]
        for line in file.read_bytes().splitlines():
            made = hashlib.sha256(line).digest()
            assert any(rfc6962_b64(made) == digest for digest in digests), f"{file.name}: a disclosure of nothing"


def rfc6962_b64(raw: bytes) -> str:
    """Base64url without padding."""
    import base64

    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
