"""docs/operate/Containerfile: what its last stage says is done on a system of its own, and the server runs there as in a container. No
container engine is needed: an overlay of this machine's files, other namespaces, no rights."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from support import Key, countersign_bin, event, free_port, until
from support.manual import ROOT

RECIPE = ROOT / "docs" / "operate" / "Containerfile"
STAGE_SECONDS = 300


def stage() -> list[tuple[str, str]]:
    """The last stage: (instruction, its text)."""
    text = re.sub(r"\\\n\s*", "", RECIPE.read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    begin = max(at for at, line in enumerate(lines) if line.startswith("FROM "))
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in lines[begin + 1 :])]


class Container:
    """The system that the last stage makes, on top of this machine's."""

    def __init__(self, root: Path) -> None:
        self.root, self.merged = root, root / "merged"
        self.volumes: list[str] = []
        self.user = self.entrypoint = ""
        self.command: list[str] = []

    def build(self) -> "Container":
        """What each instruction says."""
        for instruction, text in stage():
            match instruction:
                case "RUN":
                    # The list of packages is the machine's: what the recipe installs is there, and nothing is fetched.
                    steps = [step for step in text.split(" && ") if "apt" not in step]
                    self.inside("sh", "-c", " && ".join(steps)).check_returncode()
                case "COPY":
                    target = self.merged / text.split()[-1].lstrip("/")
                    subprocess.run(["install", "-D", "-m", "755", countersign_bin(), target / "countersign"], check=True)
                case "USER":
                    self.user = text
                case "VOLUME":
                    self.volumes = json.loads(text)
                case "ENTRYPOINT":
                    (self.entrypoint,) = json.loads(text)
                case "CMD":
                    self.command = json.loads(text)
                case "EXPOSE" | "STOPSIGNAL":
                    pass
                case other:
                    raise AssertionError(f"the test does not know {other}")
        return self

    def inside(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Root, while it is built."""
        done = subprocess.run(["chroot", self.merged, *command], capture_output=True, text=True, timeout=STAGE_SECONDS, check=False)
        assert done.returncode == 0, done.stderr
        return done

    def run(self, *arguments: str) -> list[str]:
        """The command that runs it: root read-only, volumes writable, the recipe's account, no capability."""
        place = shlex.quote(str(self.merged))
        mounts = [f"mount --bind {place} {place}", f"mount -o remount,bind,ro {place}"]
        for number, volume in enumerate(self.volumes):
            mounts.append(f"mount --bind {shlex.quote(str(self.root / f'volume-{number}'))} {place}{volume}")
        drop = f"setpriv --reuid={self.user} --regid={self.user} --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs"
        said = " ".join(shlex.quote(word) for word in (self.entrypoint, *(arguments or self.command)))
        script = " && ".join([*mounts, f"exec chroot {place} {drop} {said}"])
        return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Container]:
    """Built; its volumes are empty, as an engine makes them: owned as in the image."""
    layers = tmp_path / "layers"
    layers.mkdir()
    made = Container(tmp_path)
    made.merged.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "layers", layers], check=True, capture_output=True)
        for name in ("upper", "work"):
            (layers / name).mkdir()
        options = f"lowerdir=/,upperdir={layers}/upper,workdir={layers}/work"
        subprocess.run(["mount", "-t", "overlay", "container", "-o", options, made.merged], check=True, capture_output=True)
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        subprocess.run(["umount", "-l", layers], check=False, capture_output=True)
        pytest.skip(f"an overlay can't be mounted here: {error}")
    try:
        made.build()
        for number, volume in enumerate(made.volumes):
            (folder := tmp_path / f"volume-{number}").mkdir(mode=0o700)
            owner = (made.merged / volume.lstrip("/")).stat()
            subprocess.run(["chown", f"{owner.st_uid}:{owner.st_gid}", folder], check=True)
        yield made
    finally:
        for mounted in (made.merged, layers):
            subprocess.run(["umount", "-l", mounted], check=False, capture_output=True)


def test_p13_the_container_recipe(container: Container, tmp_path: Path) -> None:
    """The server starts without rights on a read-only system, answers both probes, takes an event, and ends in order."""
    port = free_port()
    config = container.merged / "etc" / "countersign" / "countersign.toml"
    config.write_text(
        'data_dir = "/var/lib/countersign/data"\nkeys_dir = "/var/lib/countersign/keys"\nguard_path = "/var/lib/countersign-guard/guard"\n'
        f'backup_dir = "/var/lib/countersign/backups"\nlisten = "0.0.0.0:{port}"\npublic_url = "https://log.example.com"\nplaintext_behind_proxy = true\n'
    )
    config.chmod(0o644)
    made = subprocess.run(
        container.run("init", "--config", "/etc/countersign/countersign.toml", "--tenant", "acme", "--json"), capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    admin = Key(json.loads(made.stdout)["admin_key"])
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(container.run(), stdout=log, stderr=log, start_new_session=True)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10, trust_env=False, headers={"Authorization": f"Bearer {admin.text}"}) as http:
            for probe in ("/livez", "/readyz"):
                until(f"{probe}: {(tmp_path / 'log').read_text()[-500:]}", lambda probe=probe: answers(http, probe))
            rights = Path(f"/proc/{server.pid}/status").read_text()
            assert re.search(r"^Uid:\s8470\s8470\s8470\s8470$", rights, re.M), rights
            assert re.search(r"^CapBnd:\s0+$", rights, re.M) and re.search(r"^NoNewPrivs:\s1$", rights, re.M), rights
            root = next(line for line in Path(f"/proc/{server.pid}/mountinfo").read_text().splitlines() if line.split()[4] == "/")
            assert root.split()[5].startswith("ro"), root
            key = http.post("/v1/tenants/acme/keys", json={"roles": ["publisher"], "producer": "gw-1", "person": None, "name": ""}).json()["key"]
            headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/cloudevents+json"}
            answer = http.post("/v1/tenants/acme/events", content=json.dumps(event()), headers=headers)
            assert answer.json()["results"][0]["status"] == "posted", answer.text
    finally:
        server.send_signal(signal.SIGTERM)
        code = server.wait(timeout=60)
    assert code == 0, (tmp_path / "log").read_text()


def answers(http: httpx.Client, probe: str) -> bool:
    """200."""
    try:
        return http.get(probe).status_code == 200
    except httpx.HTTPError:
        return False
