"""A real OPA, built from its module, and what it says of calls."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

from .binary import cli
from .judges import go_bin

MODULE, VERSION = "github.com/open-policy-agent/opa", "1.21.3"


def opa_bin() -> Path:
    """OPA of this version: built once, kept for later runs. Go compares the module with its checksum database."""
    root = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "countersign" / "opa"
    binary = root / VERSION / "opa"
    if binary.exists():
        return binary
    binary.parent.mkdir(parents=True, exist_ok=True)
    with (root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not binary.exists():
            env = os.environ | {
                "GOTOOLCHAIN": "local", "CGO_ENABLED": "0", "GOFLAGS": "-trimpath", "GOPATH": str(root / "path"),
                "GOBIN": str(binary.parent),
            }  # fmt: skip
            done = subprocess.run([go_bin(), "install", f"{MODULE}@v{VERSION}"], cwd=root, env=env, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
    return binary


def opa(*arguments: str | Path, ok: bool = True) -> subprocess.CompletedProcess[str]:
    """Runs OPA."""
    done = subprocess.run([str(opa_bin()), *map(str, arguments)], capture_output=True, text=True, timeout=1200, check=False)
    assert not ok or done.returncode == 0, f"{done.stderr}\n{done.stdout[:2000]}"
    return done


def unpacked(bundle: Path, into: Path) -> Path:
    """The files of a bundle, without its signature."""
    with tarfile.open(bundle) as archive:
        archive.extractall(into, filter="data")
    (into / ".signatures.json").unlink()
    return into


def decisions(folder: Path, calls: list[dict[str, Any]], scratch: Path) -> list[dict[str, Any]]:
    """What the Rego of an unpacked bundle says of each call: one evaluation for all of them."""
    given = scratch / "input.json"
    given.write_text(json.dumps({"calls": calls}))
    done = opa("eval", "--fail", "--strict-builtin-errors=false", "--format", "json", "--bundle", folder, "--input", given, "data.countersign.decisions")
    return json.loads(done.stdout)["result"][0]["expressions"][0]["value"]


def exported(folder: Path, into: Path, *arguments: str | Path) -> Path:
    """The bundle of a folder of policies, and its key beside it (`opa.key`, `opa.key.pub`)."""
    into.mkdir(exist_ok=True)
    cli("policy", "export-opa", "--new-key", "--key", into / "opa.key", "--key-id", "prod-1", "--out", into / "bundle.tar.gz", *arguments, folder).ok()
    return into / "bundle.tar.gz"


def judged(folder: Path, calls: list[dict[str, Any]], scratch: Path) -> list[dict[str, Any]]:
    """What we say of each call."""
    given = scratch / "calls.jsonl"
    given.write_text("".join(json.dumps(call) + "\n" for call in calls))
    return [json.loads(line) for line in cli("policy", "judge", folder, given).ok().out.splitlines()]


def in_order(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer with its redactions in one order: Rego walks through objects in another one."""
    return answer | {"redactions": sorted(answer.get("redactions", []), key=lambda one: (one["at"], one["detector"]))}


def is_left(answer: dict[str, Any]) -> bool:
    """Whether OPA says that it can't judge the call: it denies."""
    assert answer["reason"]["code"] != "not_in_opa" or answer["verdict"] == "deny", answer
    return answer["reason"]["code"] == "not_in_opa"


def differing(calls: list[dict[str, Any]], ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> list[tuple[Any, Any, Any]]:
    """Calls with another answer, apart from those that OPA leaves."""
    assert len(calls) == len(ours) == len(theirs)
    return [(call, a, b) for call, a, b in zip(calls, ours, theirs, strict=True) if not is_left(b) and in_order(a) != in_order(b)]
