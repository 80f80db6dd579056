"""Hosts of the page docs/operate/three-hosts.md: network namespaces with a system of their own on top of this machine's files, so that
commands run as they stand there, and what they write to /etc, /usr or /var goes with the host."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

from support import countersign_bin, until
from support.manual import ROOT
from support.nats import nats_server_bin

from .network import Network

#: Folders of a host that are its own.
OWN = ("etc", "usr", "var", "root")
#: `systemctl` where no systemd runs: it does what the unit file says in these lines, and restarts nothing.
SYSTEMCTL = r"""#!/bin/bash
set -e
act=$1; shift; [ "$1" = --now ] && shift
unit=$1 pid=/var/lib/units/$1.pid; mkdir -p /var/lib/units
if [ "$act" = stop ] || [ "$act" = restart ]; then
  if [ -s $pid ]; then kill $(cat $pid) || true; tail --pid=$(cat $pid) -f /dev/null; rm $pid; fi
fi
[ "$act" = stop ] && exit 0
for file in /etc/systemd/system/$unit.service /usr/lib/systemd/system/$unit.service /lib/systemd/system/$unit.service; do
  [ -f $file ] && break
done
line() { sed -n "s/^$1=//p" $file | head -1; }
environment=$(line EnvironmentFile | sed 's/^-//')
user=$(line User) command=$(line ExecStart)
if [ "$unit" = haproxy ]; then user= command="haproxy -db -f /etc/haproxy/haproxy.cfg" environment=; fi
(
  set -a; [ -n "$environment" ] && . $environment; set +a
  cd /; umask $(line UMask || echo 0022) 2>/dev/null || true
  if [ -n "$user" ]; then exec setsid setpriv --reuid=$user --regid=$user --init-groups --no-new-privs $command; fi
  exec setsid $command
) >> /var/lib/units/$unit.log 2>&1 </dev/null &
echo $! > $pid
"""
#: `scp FILE… root@ADDRESS:FOLDER/` between these hosts.
SCP = r"""#!/bin/bash
set -e
[ "$1" = -q ] && shift
to=${!#}; files=("${@:1:$#-1}"); address=${to#root@}; folder=${address#*:}; address=${address%%:*}
for file in "${files[@]}"; do
  nsenter -t $(cat %(pids)s/$address) --mount --net --uts -- sh -c "cat > $folder/$(basename $file)" < "$file"
done
"""


class Hosts:
    """The machines of the page, from `with` to its end."""

    def __init__(self, root: Path) -> None:
        self.root, self.network = root, Network()
        self.holders: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> "Hosts":
        self.network.__enter__()
        try:
            (self.root / "pids").mkdir(parents=True)
            for name, address in self.network.addresses.items():
                self._boot(name, address)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _boot(self, name: str, address: str) -> None:
        place = self.root / name
        place.mkdir()
        mounts = [f"mount -t tmpfs own {place}"]
        for folder in OWN:
            upper, work = place / folder, place / f"{folder}-work"
            mounts += [f"mkdir {upper} {work}", f"mount -t overlay own -o lowerdir=/{folder},upperdir={upper},workdir={work} /{folder}"]
        script = " && ".join([*mounts, f"hostname {name}", f"touch {place}/up", "exec sleep infinity"])
        holder = subprocess.Popen(
            [*self.network.on(name), "unshare", "--mount", "--uts", "--propagation", "private", "sh", "-c", script], start_new_session=True
        )
        self.holders[name] = holder
        (self.root / "pids" / address).write_text(str(holder.pid))

        def is_up() -> bool:
            assert holder.poll() is None, f"{name} did not come up"
            return self.run(name, f"test -e {place}/up && echo yes", check=False).startswith("yes")

        until(f"{name} to be up", is_up)
        files = {"/usr/bin/systemctl": SYSTEMCTL, "/usr/bin/scp": SCP % {"pids": self.root / "pids"}}
        for path, text in files.items():
            self.run(name, f"cat > {path} && chmod 755 {path}", stdin=text)
        self.run(name, f"install -m 755 {nats_server_bin()} {countersign_bin()} /usr/local/bin/")
        documents = "/usr/share/doc/countersign/operate"
        self.run(name, f"mkdir -p {documents} && cp -r {ROOT}/docs/operate/three-machines {documents}/")
        self.run(name, f"install -D -m 644 {ROOT}/docs/operate/countersign.service /usr/lib/systemd/system/countersign.service")

    def run(self, name: str, script: str, *, stdin: str | None = None, check: bool = True) -> str:
        """A script of root on a host, in bash; what it prints."""
        enter = ["nsenter", "-t", str(self.holders[name].pid), "--mount", "--net", "--uts", "--"]
        env = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}
        done = subprocess.run(
            [*enter, "bash", "-c", f"set -e -o pipefail\ncd /\n{script}"], input=stdin, capture_output=True, text=True, env=env, timeout=300, check=False
        )
        assert not check or done.returncode == 0, f"on {name}: exit {done.returncode}\n{script}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def pull_the_plug(self, name: str) -> None:
        """Everything on a host ends, at once."""
        space = os.stat(f"/proc/{self.holders[name].pid}/ns/uts").st_ino
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if int(process.name) != self.holders[name].pid and os.stat(process / "ns" / "uts").st_ino == space:
                    os.kill(int(process.name), signal.SIGKILL)
            except (FileNotFoundError, PermissionError, ProcessLookupError):
                continue

    def __exit__(self, *_: object) -> None:
        for name, holder in self.holders.items():
            if holder.poll() is None:
                self.pull_the_plug(name)
                holder.kill()
                holder.wait(timeout=30)
        self.network.__exit__()
        for name in self.holders:
            shutil.rmtree(self.root / name, ignore_errors=True)
