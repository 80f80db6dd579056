"""A real Prometheus and its `promtool`, from Debian's package `prometheus`."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import httpx
import yaml

from .waits import free_port, until


def tool(name: str) -> str:
    """`prometheus` or `promtool`."""
    found = shutil.which(name)
    if not found:
        raise FileNotFoundError(f"{name}: apt-get install prometheus")
    return found


def promtool(*args: object, stdin: str | None = None, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Runs `promtool` with arguments."""
    command = [tool("promtool"), *map(str, args)]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=120, check=False, cwd=cwd)


class Prometheus:
    """One that scrapes one server every second and judges rules as often."""

    def __init__(self, root: Path, target: str, key: Path, rules: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.port, self.log_path = free_port(), root / "prometheus.log"
        config: dict[str, Any] = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(rules)],
            "scrape_configs": [{
                "job_name": "countersign", "authorization": {"credentials_file": str(key)}, "static_configs": [{"targets": [target]}],
            }],
        }  # fmt: skip
        path = root / "prometheus.yml"
        path.write_text(yaml.safe_dump(config))
        command = [
            tool("prometheus"), f"--config.file={path}", f"--storage.tsdb.path={root / 'data'}", f"--web.listen-address=127.0.0.1:{self.port}",
            "--enable-feature=exemplar-storage", "--log.level=warn",
        ]  # fmt: skip
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}/api/v1", timeout=60, trust_env=False)
        until(f"prometheus on {self.port} (see {self.log_path})", self._answers)

    def _answers(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"prometheus ended: {self.log_path.read_text()[-2000:]}")
        try:
            return self.http.get("/status/buildinfo").status_code == 200
        except httpx.TransportError:
            return False

    def get(self, path: str, **query: str) -> Any:
        """`data` of an answer that is no error."""
        answer = self.http.get(path, params=query)
        body = answer.json()
        assert (answer.status_code, body["status"]) == (200, "success"), f"{query}: {json.dumps(body)}"
        return body["data"]

    def ask(self, expr: str) -> list[dict[str, Any]]:
        """The samples of an expression now."""
        return list(self.get("/query", query=expr)["result"])

    def stop(self) -> None:
        """Ends it."""
        self.http.close()
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
