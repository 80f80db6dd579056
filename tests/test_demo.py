"""The demo tells its story to the end: the first thing that anybody sees of the product."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import httpx
from support import cli, countersign_bin, free_port, until


def test_p7_p8_the_whole_story(tmp_path: Path) -> None:
    """Refusals are shown as such, what is taken along verifies, and no colours go into a file."""
    done = cli("demo", "--once", "--dir", tmp_path / "d", seconds=180).ok()
    parts = ["REFUSED", "[REDACTED:us-ssn]", "denied research/no-secrets", "budget_exceeded research/day", "pending", "granted by p-ana", "refused (digest_mismatch)", "released", "refused (already_redeemed)", "completed", "not checked", "10. A SIEM", "bank.transfer", "entries are there"]
    places = [done.out.index(part) for part in parts]
    assert places == sorted(places) and "\x1b" not in done.out and done.err == ""
    verified = cli("verify", "--key", tmp_path / "d/log.vkey", "--approval", tmp_path / "d/approval", "--json").ok().json()
    assert verified["items"][0]["state"] == "completed"


def test_p9_the_demo_waits_for_a_person(tmp_path: Path) -> None:
    """It prints a page and a sign-in; a no ends in nothing but a history; the server stays up until it is told to end."""
    port, said = free_port(), tmp_path / "said"
    with said.open("wb") as out:
        command = [str(countersign_bin()), "demo", "--dir", str(tmp_path / "d"), "--port", str(port)]
        demo = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
    try:
        until("the story waits", lambda: "continues by itself" in said.read_text(), 120)
        told = said.read_text()
        page = re.search(r"page +(\S+)", told)
        sign_in = re.search(r"sign in +person (\S+) +key (\S+)", told)
        assert page and sign_in and sign_in[1] == "p-ana"
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as http:
            assert http.get(page[1], follow_redirects=True).status_code == 200
            http.headers["Authorization"] = "Bearer " + sign_in[2]
            approval = f"/v1/tenants/acme/approvals/{page[1].rpartition('/')[2]}"
            seen = http.get(approval).json()
            no = {"decision": "deny", "digest": seen["call"]["digest"], "version": seen["version"]}
            assert http.post(approval + "/reviews", json=no).status_code == 200
            until("the story ends", lambda: "stays up at" in said.read_text())
            assert http.get("/readyz").status_code == 200
        told = said.read_text()
        assert "denied: nothing is released" in told and "After message 2: Denied" in told and "7. The gateway" not in told
    finally:
        os.killpg(demo.pid, signal.SIGINT)  # as Ctrl-C does
        demo.wait(timeout=20)
    files = {path.name for path in (tmp_path / "d/approval").iterdir()}
    assert {"1.tlog-proof", "2.tlog-proof"} <= files and "3.tlog-proof" not in files
    assert json.loads((tmp_path / "d/approval/keys.json").read_text())["origin"].startswith("127.0.0.1")
