"""P22: an upgrade replaces the binary of one replica after the other, under load, as docs/operate/upgrade.md says. What was acknowledged
is in the log once, and the service never stops for longer than a client repeats.

`COUNTERSIGN_BEFORE_BIN` names the binary of the release before: then the replicas begin with it, and each of the three mixtures is met.
Without it the same binary is started again."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from rig.cluster import Cluster
from rig.trio import Eye, Trio

from support import countersign_bin, until
from test_any_one_may_die import Balancer, Load

#: Acknowledged events between two replacements.
BETWEEN = 15


def test_p22_binaries_are_replaced_one_after_the_other(cluster: Cluster, tmp_path: Path) -> None:
    """Upgrade, and back: each replica stops by SIGTERM, and is ready again before the next one stops."""
    before = Path(os.environ.get("COUNTERSIGN_BEFORE_BIN") or countersign_bin())
    with Trio(tmp_path / "replicas", cluster.url) as trio:
        for server in trio.servers.values():
            server.binary = before
        trio.start()
        eye = Eye(trio)
        eye.start()
        with Load(Balancer(trio)) as load:

            def goes_on() -> None:
                seen = len(load.told)
                until("work to go on", lambda: len(load.told) >= seen + BETWEEN, 120)

            goes_on()
            for binary in (countersign_bin(), before):
                for name, server in trio.servers.items():
                    assert server.process is not None
                    # Its clients stay: those of the load are among them.
                    os.killpg(server.process.pid, signal.SIGTERM)
                    assert server.wait_exit() == 0, server.log[-2000:]
                    goes_on()
                    server.start(binary=binary, ready=False)
                    server.wait_ready(120)
                    assert trio.troubles(name).keys().isdisjoint({"log_halted", "replicas_differ"}), trio.troubles(name)
                    goes_on()
        seen = eye.stop()
        indexes = [index for _, index in load.told]
        assert len(set(indexes)) == len(indexes), "an event was acknowledged at the index of another one"
        trio.reach(max(indexes) + 1)
        trio.judge(seen, tmp_path, "a")
        logs = {name: [leaf for _, leaf in server.admin.feed()] for name, server in trio.servers.items()}
        assert logs["a"] == logs["b"] == logs["c"]
        trio.stop()
        trio.fsck()
