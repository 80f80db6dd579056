"""What the server refuses ends with 1, also where evidence asks; 3 is for files, 69 for a server that is not there (`proto/errors.md`)."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import Server, cli, event, free_port


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory):  # noqa: ANN201
    """A server with a few entries."""
    with Server.ready(tmp_path_factory.mktemp("codes") / "server") as made:
        made.as_("publisher").publish(event(), event())
        made.as_("publisher").publish(event())
        yield made


COMMANDS = {
    "evidence": lambda folder: ["evidence", "--tenant", "acme", "-o", folder],
    "evidence with payload": lambda folder: ["evidence", "--tenant", "acme", "-o", folder, "--disclose", "all"],
    "evidence of every month": lambda folder: ["evidence", "--tenant", "acme", "--every", "month", "--to", folder.parent],
    "an export": lambda folder: ["export", "--tenant", "acme", folder],
    "an export with payload": lambda folder: ["export", "--tenant", "acme", "--disclosures", folder],
    "a range": lambda folder: ["export", "--tenant", "acme", "--from", "0", folder],
    "an approval": lambda folder: ["export", "--tenant", "acme", "--approval", "apr-wrqsxuw6ggfammj6ata2w6smpu", folder],
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("refusal", ["403", "404"])
def test_what_the_server_refuses_ends_with_1(server: Server, tmp_path: Path, command: str, refusal: str) -> None:
    """A key without the role, a tenant that is none."""
    words = [str(word) for word in COMMANDS[command](tmp_path / "folder")]
    key = server.admin_key
    if refusal == "403":
        key = server.add_key(["publisher"], producer="gw-9")
        if "--disclos" in " ".join(words):
            key = server.add_key(["auditor", "exporter"])
    else:
        words = ["nobody" if word == "acme" else word for word in words]
    done = server.remote(words[0], *words[1:], key=key)
    assert done.code == 1, done
    assert refusal in done.err or "404" in done.err, done


@pytest.mark.parametrize("command", COMMANDS)
def test_a_server_that_is_not_there_ends_with_69(server: Server, tmp_path: Path, command: str) -> None:
    """Nobody listens."""
    words = [str(word) for word in COMMANDS[command](tmp_path / "folder")]
    url = f"http://127.0.0.1:{free_port()}"
    done = cli(*words, "--server", url, "--api-key-file", server.key_file(server.admin_key), seconds=300)
    assert done.code == 69, done


def test_a_file_that_can_not_be_read_ends_with_3(server: Server, tmp_path: Path) -> None:
    """A key file that is not there."""
    done = cli("evidence", "--tenant", "acme", "-o", tmp_path / "e", "--server", server.url, "--api-key-file", tmp_path / "none")
    assert done.code == 3, done
