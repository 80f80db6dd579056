"""`countersign publish` from files: positions that know their file, files that are not one event a line, `--check`, and what
a network does on the way (P1 P2 P3 P13)."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support import FlakyFront, Server, cli, event, heartbeat

EXAMPLES = Path(__file__).parent.parent / "proto/examples"


def write(path: Path, *events: Any) -> list[str]:
    """One event a line; the ids."""
    path.write_text("".join(json.dumps(one) + "\n" for one in events))
    return [one["id"] for one in events]


def many(count: int, **over: Any) -> list[dict[str, Any]]:
    return [event(**over) for _ in range(count)]


def publish(server: Server, *args: object, **options: Any) -> Any:
    return server.remote("publish", "--tenant", "acme", *args, key=server.as_("publisher").key, **options)


def posted(server: Server) -> list[str]:
    return [entry["event"]["id"] for entry in server.admin.entries(kind="decision")]


# Positions


def test_p1_a_position_knows_its_file(server: Server, tmp_path: Path) -> None:
    """Rotated, cut, written anew, shorter or longer: noticed, told, and nothing skipped or destroyed. A file that only
    grew goes on."""
    file, mark = tmp_path / "day.ndjson", tmp_path / "day.position"
    ids = write(file, *many(30))
    publish(server, "--resume", mark, file).ok()
    assert posted(server) == ids
    kept = mark.read_bytes()
    assert stat.S_IMODE(mark.stat().st_mode) == 0o600
    whole = file.read_text()
    others = {
        "fewer lines of other events": "".join(json.dumps(one) + "\n" for one in many(10)),
        "more lines of other events": "".join(json.dumps(one) + "\n" for one in many(40)),
        "its own beginning alone": "".join(whole.splitlines(keepends=True)[:20]),
        "one byte shorter": whole[:-1],
        "one byte changed": whole.replace("950.00", "951.00", 1),
        "a line in front": json.dumps(event()) + "\n" + whole,
        "empty": "",
    }
    for what, text in others.items():
        file.write_text(text)
        done = publish(server, "--resume", mark, file)
        assert done.code == 3 and str(mark) in done.err and "remove the position's file" in done.err, (what, done)
        assert mark.read_bytes() == kept and file.read_text() == text, what
        assert posted(server) == ids, what
    more = many(3)
    file.write_text(whole + "".join(json.dumps(one) + "\n" for one in more))
    assert publish(server, "--resume", mark, file).ok().out.startswith("3 posted, 0 duplicate")
    assert posted(server) == ids + [one["id"] for one in more]
    mark.unlink()
    assert publish(server, "--resume", mark, file).ok().out.startswith("0 posted, 33 duplicate"), "begun anew, nothing twice"


@pytest.mark.parametrize("content", ["30\n", "99999999999\n", "", "nonsense", "{}", '{"v":2}', "[]", '{"v":1,"lines":1}', "x" * 100_000])
def test_p1_what_is_no_position_is_left_alone(shared: Server, tmp_path: Path, content: str) -> None:
    write(tmp_path / "f", event())
    (tmp_path / "mark").write_text(content)
    shared.as_("publisher")
    size = shared.admin.size()
    done = publish(shared, "--resume", tmp_path / "mark", tmp_path / "f", seconds=30.0)
    assert done.code == 3 and "mark" in done.err, done
    assert (tmp_path / "mark").read_text() == content and shared.admin.size() == size


def test_p1_a_position_beyond_the_file_ends_at_once(server: Server, tmp_path: Path) -> None:
    """A number that no file reaches is no reason to count for ever."""
    file, mark = tmp_path / "f", tmp_path / "mark"
    write(file, event())
    publish(server, "--resume", mark, file).ok()
    position = json.loads(mark.read_text())
    for bytes_ in (2**40, 2**63, 2**64 - 1):
        mark.write_text(json.dumps(position | {"bytes": bytes_}))
        assert publish(server, "--resume", mark, file, seconds=30.0).code == 3


def test_p1_a_position_is_of_one_log(server: Server, tmp_path: Path) -> None:
    """The same file, another tenant: its log has none of it. (The position names the log that took the events.)"""
    file, mark = tmp_path / "f", tmp_path / "mark"
    write(file, *many(3))
    publish(server, "--resume", mark, file).ok()
    position = json.loads(mark.read_text())
    made = server.add_tenant("globex")
    key = server.client(type(server.admin_key)(made["key"]), "globex").add_key(["publisher"], "gw-1")
    done = server.remote("publish", "--tenant", "globex", "--resume", mark, file, key=key)
    assert done.code == 3 and "/tenants/globex/" in done.err and "/tenants/acme/" in done.err, done
    mark.write_text(json.dumps(position | {"size": 10_000}))
    done = publish(server, "--resume", mark, file)
    assert done.code == 3 and "10000" in done.err, "a log with fewer entries than it had"


def test_p13_a_position_destroys_nothing(server: Server, tmp_path: Path) -> None:
    """Neither its temporary name nor a link leads to another file: the input, a file beside it, one elsewhere."""
    pad = "x" * 8000
    count = 400  # 3 MiB: more than is read at once
    ids = write(tmp_path / "day.new", *(event(payload={"pad": pad}) for _ in range(count)))
    before = (tmp_path / "day.new").read_bytes()
    publish(server, "--batch", 50, "--resume", tmp_path / "day.pos", tmp_path / "day.new").ok()
    assert posted(server) == ids and (tmp_path / "day.new").read_bytes() == before
    file = tmp_path / "f"
    write(file, event())
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "victim").write_text("precious")
    for name in ("f.new", "f.tmp", "f~", ".f.new"):
        (tmp_path / name).write_text("precious")
    publish(server, "--resume", tmp_path / "f.pos", file).ok()
    for name in ("f.new", "f.tmp", "f~", ".f.new", "elsewhere/victim"):
        assert (tmp_path / name).read_text() == "precious"
    size = server.admin.size()
    write(file, event())
    (tmp_path / "hard").hardlink_to(file)
    (tmp_path / "to-victim").symlink_to(elsewhere / "victim")
    (tmp_path / "to-input").symlink_to(file)
    (tmp_path / "to-nothing").symlink_to(elsewhere / "none")
    text = file.read_text()
    for name in ("f", "hard", "to-input", "to-victim", "to-nothing", "elsewhere"):
        done = publish(server, "--resume", tmp_path / name, file)
        assert done.code in (2, 3), (name, done)
        assert file.read_text() == text and (elsewhere / "victim").read_text() == "precious"
    assert sorted(path.name for path in elsewhere.iterdir()) == ["victim"]
    done = publish(server, "--resume", tmp_path / "absent" / "mark", file)
    assert done.code == 3 and server.admin.size() == size, "known before anything is sent"


def test_p3_a_line_that_is_still_being_written_waits(server: Server, tmp_path: Path) -> None:
    """The last line ends in the middle: it is not posted as garbage; once it is whole, it is posted."""
    file, mark = tmp_path / "f", tmp_path / "mark"
    first, second = event(), event()
    text = json.dumps(second)
    for cut in (1, len(text) // 2, len(text) - 1):
        file.write_text(json.dumps(first) + "\n" + text[:cut])
        done = publish(server, "--resume", mark, file).ok()
        assert "line 2" in done.err, done
        alone = publish(server, file)
        assert alone.code == 1 and "line 2" in alone.err and "0 rejected" in alone.out + "0 rejected"
        assert posted(server) == [first["id"]]
    file.write_text(json.dumps(first) + "\n" + text)
    assert publish(server, "--resume", mark, file).ok().out.startswith("1 posted")
    assert publish(server, "--resume", mark, file).ok().out.startswith("0 posted, 0 duplicate")
    file.write_text(json.dumps(first) + "\n" + text + "\n" + json.dumps(event()) + "\n")
    assert publish(server, "--resume", mark, file).ok().out.startswith("1 posted, 0 duplicate")
    assert server.admin.entries(kind="rejected") == []


# What is not one event a line


def test_p3_events_as_people_write_them(server: Server, tmp_path: Path) -> None:
    """One pretty event, several, an array, a file of Windows: each is one entry, none is rejected line by line."""
    events = many(7)
    pretty = [json.dumps(one, indent=2) for one in events]
    array = tmp_path / "array"
    forms = {
        "one": pretty[0],
        "several": "\n".join(pretty[1:3]) + "\n",
        "array": "[\n" + ",\n".join(pretty[3:5]) + "\n]\n",
        "array on a line": json.dumps(events[5:6]) + "\n",
        "bom and crlf": "\ufeff" + json.dumps(events[6]) + "\r\n\r\n",
    }
    for name, text in forms.items():
        path = tmp_path / name
        path.write_bytes(text.encode())
        done = publish(server, "--batch", 1, path).ok()
        assert "0 duplicate, 0 conflict, 0 rejected" in done.out, (name, done)
    assert posted(server) == [one["id"] for one in events]
    assert publish(server, "-", stdin=pretty[0].encode()).ok().out.startswith("0 posted, 1 duplicate")
    assert publish(server, "--resume", tmp_path / "mark", tmp_path / "one").code == 2, "a position counts lines"
    array.write_text("[" + ",".join(pretty) + "]")
    lines = publish(server, "--json", array).ok().lines()
    assert [line["id"] for line in lines] == [one["id"] for one in events]
    example = publish(server, EXAMPLES / "event.json").ok()
    assert example.out.startswith("1 posted") and server.admin.entries(kind="rejected") == []


@pytest.mark.parametrize(
    "text",
    [
        "# A file\n\nof something else\nthan events.\n",
        '{"id": "1",\n "source": 5\n',
        '[{"id": "1"},\n nonsense]\n',
        '{\n}\n5\n',
        '[\n[{"id": "1"}]\n]',
        "id,source\n1,2\n",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    ],
)
def test_p3_the_wrong_file_leaves_no_trace(shared: Server, tmp_path: Path, text: str) -> None:
    """What is no file of events is refused before anything is sent: rejected entries are for ever."""
    (tmp_path / "f").write_text(text)
    shared.as_("publisher")
    size = shared.admin.size()
    done = publish(shared, tmp_path / "f")
    assert done.code == 1 and "nothing was sent" in done.err and shared.admin.size() == size, done


def test_p3_bad_lines_among_good_ones_are_recorded(server: Server, tmp_path: Path) -> None:
    """A file of events with garbage in it, at its beginning too: recorded as before."""
    good = event()
    (tmp_path / "f").write_text("garbage\n" + json.dumps(good) + "\n{}\n")
    done = publish(server, tmp_path / "f")
    assert done.code == 1 and done.out.startswith("1 posted, 0 duplicate, 0 conflict, 2 rejected"), done
    assert "line 1:" in done.err and "line 3:" in done.err


def test_p13_a_line_that_is_too_long_is_named(server: Server, tmp_path: Path) -> None:
    """What stands before it is posted, nothing of it is sent, and the message has its line."""
    before = many(3)
    for size in (262_145, 300_000, 5_000_000):
        big = json.dumps(event(payload={"pad": "x" * size}))
        (tmp_path / "f").write_text("".join(json.dumps(one) + "\n" for one in before) + big + "\n" + json.dumps(event()) + "\n")
        done = publish(server, tmp_path / "f")
        assert done.code == 1 and "line 4:" in done.err and "262144" in done.err, done
        assert publish(server, "--check", tmp_path / "f").code == 1
    assert posted(server) == [one["id"] for one in before]


# --check


def test_p3_check_judges_as_the_server_does(server: Server, tmp_path: Path) -> None:
    """`--check` needs no server, sends nothing, and says of each event what the server would."""
    wrong: list[str] = [
        json.dumps(event(data={"verdict": "maybe"})), json.dumps(event(sequence=5)), "{", "[]", json.dumps(event(id=...)),
        json.dumps(event(payload={"n": 2**53})), json.dumps(event()).replace('"mode"', '"verdict": "allow", "mode"'),
    ]  # fmt: skip
    good = [json.dumps(event()), json.dumps(heartbeat(3))]
    path = tmp_path / "f"
    path.write_text("\n".join([good[0], *wrong, good[1]]) + "\n")
    told = cli("publish", "--check", path)
    assert told.code == 1 and told.out == "2 right, 7 wrong; nothing was sent\n"
    results = cli("publish", "--check", "--json", path).lines()
    assert [line["line"] for line in results] == list(range(1, 10))
    sent = publish(server, "--json", path).lines()
    assert [one.get("reason") for one in sent] == [one["reason"] for one in results]
    for number, one in enumerate(results, 1):
        assert (one["reason"] is None) == (number in (1, 9))
        assert one["reason"] is None or f"line {number}: {one['reason']}" in told.err
    for name in ("event.json", "events.ndjson", "approval-needed.json"):
        assert cli("publish", "--check", EXAMPLES / name).code == 0, name
    assert cli("publish", "--check", "-", stdin=b"").code == 1, "no event is no success"
    assert cli("publish", "--check", tmp_path / "absent").code == 3
    assert cli("publish", path).code == 2, "without --check it must know where to send"


# The network


@pytest.mark.parametrize("what", [502, 504, 503, 429, "reset", "cut"])
def test_p1_publishers_go_on_after_a_failure(server: Server, tmp_path: Path, what: int | str) -> None:
    """A lone answer of a proxy, a broken connection, half an answer: sent again, and in the log once."""
    key = server.key_file(server.as_("publisher").key)  # type: ignore[arg-type]
    with FlakyFront(server.url) as front:
        for publisher in ("command", "publish.py"):
            one = event()
            path = tmp_path / "one.json"
            path.write_text(json.dumps(one) + "\n")
            front.fail = [what, what]
            if publisher == "command":
                done = cli("publish", "--server", front.url, "--api-key-file", key, "--tenant", "acme", path).ok()
                assert "1 posted" in done.out or "1 duplicate" in done.out
                assert "again in" in done.err and front.url in done.err
            else:
                command = [sys.executable, EXAMPLES / "publish.py", "--url", f"{front.url}/v1/tenants/acme", "--key-file", key, path]
                subprocess.run(command, check=True, capture_output=True, timeout=60)
            assert front.fail == [] and posted(server).count(one["id"]) == 1


def test_p1_retry_after_is_kept(server: Server, tmp_path: Path) -> None:
    """A pause that the server asks for is at least kept."""
    (tmp_path / "f").write_text(json.dumps(event()) + "\n")
    key = server.key_file(server.as_("publisher").key)  # type: ignore[arg-type]
    with FlakyFront(server.url) as front:
        front.fail, front.retry_after = [429], "2"
        done = cli("publish", "--server", front.url, "--api-key-file", key, "--tenant", "acme", tmp_path / "f").ok()
        assert "again in 2.0 s" in done.err, done


@pytest.mark.parametrize("answer", [b"<html>welcome</html>", b"{}", b'{"results":[]}', b'{"results":[{"status":"fine"}]}', b'{"results":5}', b"\xff"])
def test_p1_an_answer_that_tells_nothing_is_no_success(server: Server, tmp_path: Path, answer: bytes) -> None:
    """200 from something that is no server of ours: not counted, and the position stays where it was."""
    file, mark = tmp_path / "f", tmp_path / "mark"
    write(file, event())
    key = server.key_file(server.as_("publisher").key)  # type: ignore[arg-type]
    with FlakyFront(server.url) as front:
        front.fail = [answer]
        done = cli("publish", "--server", front.url, "--api-key-file", key, "--tenant", "acme", "--resume", mark, file)
        assert done.code == 1 and front.url in done.err, done
        assert json.loads(mark.read_text())["bytes"] == 0
    assert publish(server, "--resume", mark, file).ok().out.startswith("1 posted")


def test_p1_what_can_not_succeed_is_not_repeated(server: Server, tmp_path: Path) -> None:
    """A refusal stands: one request, exit 1. A redirect is followed by no key."""
    write(tmp_path / "f", event())
    key = server.key_file(server.as_("publisher").key)  # type: ignore[arg-type]
    with FlakyFront(server.url) as front:
        for status in (400, 401, 403, 404, 409, 413, 500, 501, 301, 302, 307):
            front.fail, front.seen = [status, 502, 502], 0
            done = cli("publish", "--server", front.url, "--api-key-file", key, "--tenant", "acme", tmp_path / "f")
            assert done.code == 1 and front.seen == 1 and str(status) in done.err, (status, done)


def test_p13_a_file_that_is_cut_while_it_is_published(server: Server, tmp_path: Path) -> None:
    """`copytruncate` in the middle of a run: it ends with an error, and what was read is in the log, whole."""
    file, mark = tmp_path / "f", tmp_path / "mark"
    ids = write(file, *many(600, payload={"pad": "x" * 4000}))
    key = server.key_file(server.as_("publisher").key)  # type: ignore[arg-type]
    with FlakyFront(server.url) as front:
        front.before_first = lambda: os.truncate(file, 100)
        done = cli("publish", "--server", front.url, "--api-key-file", key, "--tenant", "acme", "--batch", 10, "--resume", mark, file)
    assert done.code == 3 and "shorter" in done.err, done
    there = posted(server)
    assert there == ids[: len(there)] and server.admin.entries(kind="rejected") == []
