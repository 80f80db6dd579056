"""A real OpenTelemetry collector, built from its modules."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import httpx

from .judges import go_bin
from .waits import free_port, until

SOURCE = Path(__file__).parent.parent / "judges" / "otelcol"

CONFIG = """
receivers:
  otlp:
    protocols:
      http: {{endpoint: "127.0.0.1:{port}"}}
      grpc: {{endpoint: "127.0.0.1:{grpc_port}", max_recv_msg_size_mib: 1{tls}}}
exporters:
  otlp_http:
    endpoint: {to}
    compression: none
    # It answers when the next one has answered.
    sending_queue: {{enabled: false}}
    retry_on_failure: {{enabled: false}}
service:
  telemetry: {{metrics: {{level: none}}, logs: {{level: error}}}}
  pipelines:
    logs: {{receivers: [otlp], exporters: [otlp_http]}}
    traces: {{receivers: [otlp], exporters: [otlp_http]}}
"""


def otelcol_bin() -> Path:
    """The collector: built once, kept for later runs. Go compares its modules with `go.sum`."""
    root = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "countersign" / "otelcol"
    digest = hashlib.sha256(b"\0".join(path.read_bytes() for path in sorted(SOURCE.iterdir()))).hexdigest()[:16]
    binary = root / digest / "otelcol"
    if binary.exists():
        return binary
    binary.parent.mkdir(parents=True, exist_ok=True)
    with (root / "lock").open("w") as lock, tempfile.TemporaryDirectory() as work:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not binary.exists():
            build = Path(work) / "otelcol"
            shutil.copytree(SOURCE, build)
            env = os.environ | {"GOTOOLCHAIN": "local", "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -trimpath", "GOPATH": str(root / "path")}
            made = binary.with_suffix(".part")
            done = subprocess.run([go_bin(), "build", "-o", made, "."], cwd=build, env=env, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            made.rename(binary)
    return binary


class Otelcol:
    """A collector that takes OTLP over HTTP and gRPC, and gives it on to an address. With a folder of `certificates` its gRPC is
    over TLS."""

    def __init__(self, folder: Path, to: str, certificates: Path | None = None) -> None:
        self.port, self.grpc_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.grpc_url = f"{'https' if certificates else 'http'}://127.0.0.1:{self.grpc_port}"
        tls = f', tls: {{cert_file: "{certificates}/server.pem", key_file: "{certificates}/server.key"}}' if certificates else ""
        self._config, self._log = folder / "otelcol.yaml", (folder / "otelcol.log").open("wb")
        self._config.write_text(CONFIG.format(port=self.port, grpc_port=self.grpc_port, to=to, tls=tls))
        self._process: subprocess.Popen[Any] | None = None
        self.start()

    def start(self) -> None:
        """Listens, always on the same ports."""
        self._process = subprocess.Popen([otelcol_bin(), "--config", self._config], stdout=self._log, stderr=self._log)
        until("the collector", self._listens)

    def _listens(self) -> bool:
        assert self._process and self._process.poll() is None, Path(self._log.name).read_text()
        try:
            return httpx.get(self.url, timeout=5, trust_env=False).status_code > 0
        except httpx.TransportError:
            return False

    def kill9(self) -> None:
        """Ends it as a crash does."""
        assert self._process
        self._process.kill()
        self._process.wait(30)

    def stop(self) -> None:
        """Ends it."""
        assert self._process
        self._process.terminate()
        self._process.wait(30)
        self._log.close()
