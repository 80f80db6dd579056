"""P21, outside witnesses: a witness and verifiers that nobody here wrote, the whole road to `verify --policy`; hostile witnesses;
a second history of the same log."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import Server, cli, event, until
from support.witnesses import Hostile, Witness, cosigners, judge

Road = tuple[Server, Witness]


def publish(server: Server, count: int = 1) -> int:
    """Publishes events; the index of the last one."""
    return [server.as_("publisher").publish(event())[0]["index"] for _ in range(count)][-1]


def get(server: Server, path: str, **query: Any) -> Any:
    """What the server answers to a read of the tenant."""
    return server.admin.http.get(f"/v1/tenants/acme/{path}", params=query)


def witnessed(server: Server, size: int) -> str:
    """The witnessed checkpoint of a size or larger, once there is one."""
    found: list[str] = []

    def look() -> bool:
        answer = get(server, "logs/1/checkpoint", witnessed="true", covers=size)
        found[:] = [answer.text] if answer.status_code == 200 else []
        return bool(found)

    until(f"a witnessed checkpoint of {size}", look)
    return found[0]


def metric(server: Server, name: str, witness: str) -> float:
    """A metric of a witness."""
    text = server.client(server.operator_key).http.get("/metrics").text
    line = next(line for line in text.splitlines() if line.startswith(f'countersign_{name}{{tenant="acme",witness="{witness}"}}'))
    return float(line.split()[-1])


def health(server: Server) -> str:
    """What health says to the operator."""
    return server.client(server.operator_key).http.get("/healthz").text


def refused(*arguments: object) -> str:
    """What `verify` says of something that it refuses."""
    done = cli("verify", *arguments)
    assert done.code == 1, done
    return done.out


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Road]:
    """A server whose checkpoints a real witness cosigns."""
    root = tmp_path_factory.mktemp("witness")
    witness = Witness(root / "a")
    with Server(root / "server", sections={"witness.a": witness.table}) as server:
        server.init()
        witness.knows(server.origin, server.vkey)
        server.start()
        yield server, witness
    witness.close()


def policy_of(server: Server, path: Path) -> Path:
    """The first policy, as `log policy` prints it."""
    path.write_text(cli("log", "policy", "--config", server.config, "--key", server.vkey).ok().out)
    return path


def test_p21_the_whole_road_to_a_verified_quorum(road: Road, tmp_path: Path) -> None:
    server, witness = road
    index = publish(server, 3)
    note = witnessed(server, index + 1)
    # Verifiers that nobody here wrote: x/mod's note, and the cosignature of transparency-dev.
    signed = cosigners(note, [server.vkey, witness.vkey], tmp_path)
    assert signed[server.origin] == 0 and signed[witness.name] > 1_700_000_000, signed
    policy = policy_of(server, tmp_path / "policy")
    (tmp_path / "note").write_text(note)
    judge("policy", policy, tmp_path / "note")
    receipt = get(server, "receipts", index=index, witnessed="true")
    assert receipt.status_code == 200, receipt.text
    (path := tmp_path / "r.tlog-proof").write_text(receipt.text)
    done = cli("verify", "--key", server.vkey, "--policy", policy, path, "--json").ok().json()
    (item,) = done["items"]
    assert item["grade"] == "witnessed" and item["policy"]["quorum"] == "a", item
    assert [(by["witness"], by["key"], by["time"]) for by in item["policy"]["by"]] == [("a", witness.name, signed[witness.name])]
    text = cli("verify", "--key", server.vkey, "--policy", policy, path).ok().out
    assert f"grade: witnessed. Quorum a of the policy met; cosigned by a ({witness.name}, at " in text
    # Without a policy it is what it was: logged.
    alone = cli("verify", "--key", server.vkey, path, "--json").ok().json()["items"][0]
    assert alone["grade"] == "logged" and alone["policy"] is None


def test_p21_every_kind_of_thing_needs_the_quorum(road: Road, tmp_path: Path) -> None:
    server, witness = road
    index = publish(server)
    note = witnessed(server, index + 1)
    policy = policy_of(server, tmp_path / "policy")
    until("the newest checkpoint to be cosigned", lambda: witness.name in get(server, "logs/1/checkpoint").text)
    export = tmp_path / "export"
    server.remote("export", "--tenant", "acme", export).ok()
    assert witness.name in (export / "checkpoint").read_text()
    (tmp_path / "note").write_text(note)
    given = [("--export", export), ("--checkpoint", tmp_path / "note")]
    for option, path in given:
        items = cli("verify", "--key", server.vkey, "--policy", policy, option, path, "--json").ok().json()["items"]
        assert [item["grade"] for item in items] == ["witnessed"]
    # The same without the witness's line.
    for path in [export / "checkpoint", tmp_path / "note"]:
        text, lines = path.read_text().split("\n\n")
        path.write_text(text + "\n\n" + lines.split("\n")[0] + "\n")
    for option, path in given:
        cli("verify", "--key", server.vkey, option, path).ok()
        said = refused("--key", server.vkey, "--policy", policy, option, path)
        assert f"quorum a not met: witness a ({witness.name}+" in said and "has not cosigned" in said


def test_p21_exports_and_evidence_wait_for_a_witness(road: Road, tmp_path: Path) -> None:
    """Each is made at once after events were published, while the newest checkpoint has no cosignature yet; it meets the policy."""
    server, _ = road
    policy = policy_of(server, tmp_path / "policy")
    of = ("--tenant", "acme", "--witnessed")
    for name, more in [("whole", ()), ("range", ("--from", "1", "--to", "3"))]:
        publish(server, 3)
        server.remote("export", *of, *more, tmp_path / name).ok()
        items = cli("verify", "--key", server.vkey, "--policy", policy, "--export", tmp_path / name, "--json").ok().json()["items"]
        assert [item["grade"] for item in items] == ["witnessed"]
    publish(server, 3)
    server.remote("evidence", *of, "-o", tmp_path / "evidence").ok()
    items = cli("verify", "--key", server.vkey, "--policy", policy, "--evidence", tmp_path / "evidence", "--json").ok().json()["items"]
    assert [item["grade"] for item in items] == ["witnessed"]


def test_p21_the_feed_says_how_far_witnesses_are(road: Road) -> None:
    server, _ = road
    size = publish(server) + 1

    def end() -> dict[str, Any]:
        return json.loads(get(server, "entries", limit=1).text.splitlines()[-1])

    until("the feed to say that all is witnessed", lambda: end()["witnessed"] >= size)
    assert end()["witnessed"] <= end()["size"] and "cosigned" not in end()


def test_p21_a_log_without_witnesses_says_so(tmp_path: Path) -> None:
    with Server.ready(tmp_path / "server") as server:
        answer = get(server, "logs/1/checkpoint", witnessed="true")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found") and "asks no witness" in answer.text
        done = server.remote("export", "--tenant", "acme", "--witnessed", tmp_path / "export")
        assert done.code == 1 and "[witness.NAME]" in done.err, done
        assert "witnessed" not in json.loads(get(server, "entries").text.splitlines()[-1])


def test_p21_a_wrong_line_of_the_witness_is_refused(road: Road, tmp_path: Path) -> None:
    server, witness = road
    index = publish(server)
    one, two = witnessed(server, index + 1), witnessed(server, publish(server, 2) + 1)
    text, lines = two.split("\n\n")
    stolen = next(line for line in one.split("\n") if witness.name in line and line.startswith("\u2014"))
    (path := tmp_path / "note").write_text(f"{text}\n\n{lines.splitlines()[0]}\n{stolen}\n")
    policy = policy_of(server, tmp_path / "policy")
    assert f"the signature of {witness.name} is wrong" in refused("--key", server.vkey, "--policy", policy, "--checkpoint", path)
    # Whoever has no policy does not know that key, and ignores its line.
    cli("verify", "--key", server.vkey, "--checkpoint", path).ok()


def test_p21_policies_that_count_nothing_here(road: Road, tmp_path: Path) -> None:
    server, witness = road
    (path := tmp_path / "note").write_text(witnessed(server, publish(server) + 1))
    policy = tmp_path / "policy"
    other = judge("vkey", "w2.example", "22" * 32, "-").strip()
    check = ("--key", server.vkey, "--policy", policy, "--checkpoint", path)
    lines = f"witness a {witness.vkey}\nwitness b {other}\n"
    policy.write_text(lines + "group both all a b\nquorum both\n")
    assert "group both needs 2 of a, b: a of them has cosigned; missing: b" in refused(*check)
    judge("policy", _with_urls(policy, tmp_path), path, code=1)
    policy.write_text(lines + "group one any a b\nquorum one\n")
    cli("verify", *check).ok()
    judge("policy", _with_urls(policy, tmp_path), path)
    policy.write_text(f"log {server.vkey}x\nquorum none\n")
    done = cli("verify", *check)
    assert done.code == 3 and "line 1: not an Ed25519 verifier key" in done.err, done
    policy.write_text("quorum none")
    assert "line 1: the last line" in cli("verify", *check).err
    stranger = json.loads((Path(__file__).parent.parent / "proto/vectors/keys.json").read_text())["keys"][0]["vkey"]
    policy.write_text(f"log {stranger}\nquorum none\n")
    assert "name other keys" in refused(*check)


def _with_urls(policy: Path, folder: Path) -> Path:
    """The same policy with the addresses that Tessera's reader asks for."""
    lines = [f"{line} https://w.example" if line.startswith("witness") else line for line in policy.read_text().splitlines()]
    (path := folder / "with-urls").write_text("\n".join(lines) + "\n")
    return path


def test_p21_a_policy_in_an_export_is_shown_and_not_trusted(road: Road, tmp_path: Path) -> None:
    server, _ = road
    publish(server)
    export = tmp_path / "export"
    server.remote("export", "--tenant", "acme", export).ok()
    (export / "tlog-policy").write_text("quorum none\n")
    text = cli("verify", "--key", server.vkey, "--export", export).ok().out
    assert "its own tlog-policy: 0 logs, witnesses none, quorum none. Shown, and not used" in text and "grade: logged" in text


def test_p21_a_witness_that_was_away_cosigns_the_newest_then(tmp_path: Path) -> None:
    witness = Witness(tmp_path / "a")
    with Server(tmp_path / "server", sections={"witness.a": witness.table}) as server:
        server.init()
        witness.knows(server.origin, server.vkey)
        server.start()
        first = publish(server)
        witnessed(server, first + 1)
        witness.stop()
        index = publish(server, 20)
        assert get(server, "receipts", index=index).status_code == 200
        answer = get(server, "receipts", index=index, witnessed="true")
        assert answer.status_code == 404 and answer.json()["code"] == "not_witnessed", answer.text
        # At the second one, a whole round has passed: what was cosigned is stored.
        until("two failed attempts", lambda: metric(server, "witness_failures_total", "a") >= 2)
        # What was cosigned is kept over a restart of the server; the size that the witness has is learned from its 409.
        server.restart()
        assert get(server, "receipts", index=first, witnessed="true").status_code == 200
        witness.start()
        witnessed(server, index + 1)
        assert metric(server, "witness_size", "a") > index and metric(server, "witness_lag_entries", "a") == 0
        assert '"witness_conflict"' not in health(server)
        server.stop()
        assert server.fsck().code == 0
    witness.close()


def test_p21_hostile_witnesses_delay_and_break_nothing(tmp_path: Path) -> None:
    real, hostile = Witness(tmp_path / "real"), Hostile()
    key = judge("vkey", "w2.example", "22" * 32, "-").strip()
    sections = {"witness.a": real.table, "witness.b": {"vkey": key, "url": hostile.url}}
    with Server(tmp_path / "server", sections=sections) as server:
        server.init()
        real.knows(server.origin, server.vkey)
        server.start()

        def signed(body: str, seed: str = "22" * 32, change: tuple[str, str] = ("", "")) -> bytes:
            (path := tmp_path / "asked").write_text(body.split("\n\n", 1)[1].replace(*change) if change[0] else body.split("\n\n", 1)[1])
            return judge("cosign", "w2.example", seed, path).splitlines()[-1].encode() + b"\n"

        answers: dict[str, Any] = {
            "a wrong signature": lambda body: (200, {}, signed(body, "33" * 32).replace(b"w2.example", b"w2.example")),
            "another checkpoint": lambda body: (200, {}, signed(body, change=(server.origin, server.origin + "x"))),
            "a huge answer": lambda _: (200, {}, b"\xe2\x80\x94 x " + b"A" * (1 << 20) + b"\n"),
            "no text": lambda _: (200, {}, b"\xff\xfe\n"),
            "more than a line": lambda body: (200, {}, b"\n" + body.encode()),
            "nothing": lambda _: (200, {}, b""),
            "elsewhere": lambda _: (302, {"location": real.url + "/add-checkpoint"}, b""),
            "a size that is none": lambda _: (409, {"content-type": "text/x.tlog.size"}, b"-1\n"),
            "too many requests": lambda _: (429, {"retry-after": "0"}, b"slow down\n"),
            "it never answers": lambda _: None,
        }
        for name, answer in answers.items():
            hostile.answer = answer
            before = metric(server, "witness_failures_total", "b") if hostile.asked else 0
            index = publish(server)
            note = witnessed(server, index + 1)
            assert real.name in note and "w2.example" not in note, name
            if name != "it never answers":
                until(name, lambda before=before: metric(server, "witness_failures_total", "b") > before)
            # Its pauses grow: a server that starts asks at once.
            server.restart()
        # It says that it has another size than this server: a second history, and a person must act.
        hostile.answer = lambda _: (409, {}, b"1000000\n")
        publish(server)
        until("the alarm", lambda: '"witness_conflict"' in health(server))
        assert metric(server, "witness_conflict", "b") == 1 and metric(server, "witness_conflict", "a") == 0
        # Once it cosigns, all is well; both are attached.
        server.restart()
        hostile.answer = lambda body: (200, {}, signed(body))
        index = publish(server)
        until("both", lambda: "w2.example" in witnessed(server, index + 1))
        assert '"witness_conflict"' not in health(server)
        signers = cosigners(witnessed(server, index + 1), [server.vkey, real.vkey, key], tmp_path)
        assert set(signers) == {server.origin, real.name, "w2.example"}
    hostile.close()
    real.close()


def test_p21_a_second_history_is_refused_by_the_witness_and_told(tmp_path: Path) -> None:
    witness = Witness(tmp_path / "a")
    with Server(tmp_path / "server", sections={"witness.a": witness.table}) as server:
        server.init()
        witness.knows(server.origin, server.vkey)
        fork = tmp_path / "fork"
        shutil.copytree(tmp_path / "server", fork)
        server.start()
        index = publish(server, 5)
        honest = witnessed(server, index + 1)
        server.stop()
        policy = policy_of(server, tmp_path / "policy")
        # The same keys and the same beginning; other entries.
        with Server(fork, sections={"witness.a": witness.table}) as other:
            other.keys, other.vkey, other.origin = dict(server.keys), server.vkey, server.origin
            other.keys.pop("publisher", None)
            other.start()
            # Shorter than what the witness has: it says so.
            publish(other)
            until("the alarm", lambda: '"witness_conflict"' in health(other))
            assert "another server signs this log" in health(other)
            assert other.client(other.operator_key).http.get("/healthz").status_code == 503
            # Longer: the proof from there can't be made.
            publish(other, 10)
            until("the refused proof", lambda: "it was shown another history of this log" in health(other))
            assert metric(other, "witness_conflict", "a") == 1
            note = get(other, "logs/1/checkpoint").text
            assert witness.name not in note and get(other, "logs/1/checkpoint", witnessed="true").status_code == 404
            (path := tmp_path / "note").write_text(note)
        cli("verify", "--key", server.vkey, "--checkpoint", path).ok()
        assert "has not cosigned" in refused("--key", server.vkey, "--policy", policy, "--checkpoint", path)
        path.write_text(honest)
        cli("verify", "--key", server.vkey, "--policy", policy, "--checkpoint", path).ok()
    witness.close()


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"vkey": "none"}, "witness.a.vkey: not an Ed25519 verifier key"),
        ({"url": "http://witness.example"}, "witness.a.url: https://"),
        ({"url": "https://user:pass@witness.example"}, "witness.a.url: https://"),
        ({"tenants": ["Acme"]}, "witness.a.tenants"),
        ({"proxy": "http://127.0.0.1:1"}, "witness.a.proxy: only to an https:// url"),
        ({"key": "x"}, "unknown field"),
    ],
)
def test_p21_mistakes_in_the_configuration(tmp_path: Path, change: dict[str, Any], what: str) -> None:
    table = {"vkey": judge("vkey", "w.example", "22" * 32, "-").strip(), "url": "http://127.0.0.1:1"}
    server = Server(tmp_path, sections={"witness.a": table | change})
    done = server.run("check-config")
    assert done.code == 64 and what in done.err, done


def test_p21_one_witness_counts_once(tmp_path: Path) -> None:
    table = {"vkey": judge("vkey", "w.example", "22" * 32, "-").strip(), "url": "http://127.0.0.1:1"}
    twin = {"vkey": judge("vkey", "w.example/other", "22" * 32, "-").strip(), "url": "http://127.0.0.1:2"}
    done = Server(tmp_path, sections={"witness.a": table, "witness.b": twin}).run("check-config")
    assert done.code == 64 and "another witness has this key" in done.err, done
