"""P22: the page docs/operate/three-hosts.md, command by command, on three hosts and a balancer; then any one of them is lost."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from several.hosts import Hosts

from support import event, until
from support.manual import ROOT, Block, blocks

PAGE = "docs/operate/three-hosts.md"
HOSTS = ("a", "b", "c")
AGAIN_SECONDS = 90.0


def steps() -> list[Block]:
    """Its blocks, in order."""
    return [block for block in blocks(PAGE) if block.option("on")]


class Outside:
    """A client of the service, by its name, with the authority's certificate."""

    def __init__(self, hosts: Hosts) -> None:
        self.hosts = hosts
        self.key = self._key()

    def curl(self, path: str, *options: str, stdin: str = "", key: str = "") -> tuple[int, str]:
        """Status and body; status 0 without an answer."""
        url = f"https://log.example.com{path}"
        header = f'-H "Authorization: Bearer {key}"' if key else ""
        command = f"curl -sS -m 5 --cacert /etc/haproxy/ca.pem --resolve log.example.com:443:10.0.0.9 -w '\\n%{{http_code}}' {header} {' '.join(options)} {url}"
        told = self.hosts.run("balancer", command, stdin=stdin, check=False)
        body, _, status = told.rpartition("\n")
        return int(status or 0), body

    def _key(self) -> str:
        admin = self.hosts.run("a", "cat /etc/countersign-setup/admin.key").strip()
        body = json.dumps({"roles": ["publisher"], "producer": "gw-1", "person": None, "name": ""})
        status, told = self.curl("/v1/tenants/acme/keys", "-H 'Content-Type: application/json'", "--data @-", stdin=body, key=admin)
        assert status == 201, told
        return str(json.loads(told)["key"])

    def post(self) -> tuple[int, str, float]:
        """Posts an event until it is acknowledged: index, receipt, seconds."""
        body, begun = json.dumps(event()), time.monotonic()

        def look() -> tuple[int, str] | None:
            status, told = self.curl(
                "/v1/tenants/acme/events?receipts=full", "-H 'Content-Type: application/cloudevents+json'", "--data @-", stdin=body, key=self.key
            )
            if status != 200:
                return None
            (result,) = json.loads(told)["results"]
            return result["index"], result["receipt"]

        index, receipt = until("an event to be acknowledged", look, AGAIN_SECONDS)
        return index, receipt, time.monotonic() - begun


def test_p22_the_page_of_three_hosts_and_any_plug_is_pulled(namespaces: None, tmp_path: Path) -> None:
    """Its commands give a service; each host in turn loses everything that runs, and the service goes on; what the page says of one host
    that is lost brings it back. Every receipt verifies with the policy file that the page made."""
    lost = [block for block in steps() if block.option("on") == "c"]
    assert len(lost) == 1, "the block of the host that is lost"
    with Hosts(tmp_path / "hosts") as hosts:
        for block in steps():
            if block in lost:
                continue
            for name in block.option("on").split(","):
                hosts.run(name, block.text)
        outside, told = Outside(hosts), []
        told.append(outside.post())
        for name in HOSTS:
            hosts.pull_the_plug(name)
            told.append(outside.post())
            print(f"an event after the plug of {name} was pulled: {told[-1][2]:.1f} s")
            for unit in ("nats-server", "countersign"):
                hosts.run(name, f"rm -f /var/lib/units/{unit}.pid; systemctl start {unit}")
            ready(hosts, name)
        hosts.run("c", lost[0].text)
        ready(hosts, "c")
        told.append(outside.post())
        indexes = [index for index, _, _ in told]
        assert indexes == sorted(set(indexes))
        vkey = json.loads(hosts.run("a", "cat /etc/countersign-setup/acme.json"))["vkey"]
        for number, (_, receipt, _) in enumerate(told):
            hosts.run("a", f"cat > /etc/countersign-setup/{number}.tlog-proof", stdin=receipt)
        done = hosts.run("a", f"cd /etc/countersign-setup && countersign verify --key '{vkey}' --policy tlog-policy --json *.tlog-proof")
        assert [item["grade"] for line in done.splitlines() for item in json.loads(line)["items"]] == ["cosigned"] * len(told)


def ready(hosts: Hosts, name: str) -> None:
    """Waits until the replica of a host is ready."""
    address = hosts.network.addresses[name]
    command = f"curl -sS -m 5 --cacert /etc/countersign/nats-ca.pem -o /dev/null -w '%{{http_code}}' https://{address}:8470/readyz"
    until(f"{name} to be ready", lambda: hosts.run(name, command, check=False) == "200", 120)


@pytest.mark.parametrize("unit", ["docs/operate/countersign.service", "docs/operate/three-machines/nats-server.service"])
def test_p22_systemd_reads_the_units(unit: str, tmp_path: Path) -> None:
    """By systemd's own reader, where it is installed."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze: apt-get install systemd")
    # What it starts need not be installed here.
    text = (ROOT / unit).read_text().replace("/usr/local/bin/nats-server", "/bin/true").replace("/usr/local/bin/countersign", "/bin/true")
    (path := tmp_path / Path(unit).name).write_text(text)
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(path)], capture_output=True, text=True, check=False)
    complaints = [line for line in done.stderr.splitlines() if path.name in line]
    assert done.returncode == 0 and not complaints, done.stderr
