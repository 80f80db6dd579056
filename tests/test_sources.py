"""Sources that must report: declared by an entry, judged from the posted log, an alarm when one is silent (P20)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from support import Key, Server, event, until

EU, US = "/gateways/eu-1", "/gateways/us-1"


def declared(source: str = EU, **over: Any) -> dict[str, Any]:
    """One source that must report."""
    return {"producer": "gw-1", "source": source, "title": "Gateway", "owner": "team-payments", "silent_after": 3600} | over


def declare(server: Server, *sources: dict[str, Any], key: Key | None = None, reason: Any = "first list") -> httpx.Response:
    """`POST T/sources`."""
    client = server.client(key) if key else server.admin
    return client.http.post(f"{client.t}/sources", json={"sources": sources, "reason": reason})


def shown(server: Server) -> dict[str, Any]:
    """`GET T/sources`."""
    answer = server.admin.get("/sources")
    assert answer.status_code == 200, answer.text
    return answer.json()


def troubles(server: Server) -> dict[str, str]:
    """The troubles of the tenant: what an operator sees."""
    headers = {"Authorization": f"Bearer {server.operator_key.text}"}
    health = httpx.get(f"{server.url}/healthz", headers=headers, timeout=60, trust_env=False).json()
    mine = [tenant["troubles"] for tenant in health["tenants"] if tenant["tenant"] == server.tenant]
    return {trouble["code"]: trouble["detail"] for all_of_it in mine for trouble in all_of_it}


def metric(server: Server, state: str) -> int:
    """`countersign_sources` of one state."""
    headers = {"Authorization": f"Bearer {server.operator_key.text}"}
    text = httpx.get(f"{server.url}/metrics", headers=headers, timeout=60, trust_env=False).text
    name = f'countersign_sources{{tenant="{server.tenant}",state="{state}"}} '
    return int(next(line for line in text.splitlines() if line.startswith(name)).rsplit(" ", 1)[1])


def entries(server: Server, kind: str = "sources") -> list[tuple[int, dict[str, Any]]]:
    """Entries of a kind, with their indexes."""
    return [(index, json.loads(leaf)) for index, leaf in server.admin.feed(kind=kind)]


def test_p20_a_declaration_is_an_entry_that_says_who_and_why(server: Server, tmp_path: Path, repository: Path) -> None:
    """By the command, from the example file; replaced as a whole; the history stays; the same list again writes nothing."""
    example = repository / "proto" / "examples" / "sources.toml"
    apply = lambda path: server.remote("sources apply", "--tenant", "acme", "--reason", "the OPA is new", "--json", path)  # noqa: E731
    first = apply(example).ok().json()
    assert first["status"] == "applied"
    (index, entry), *none = entries(server)
    assert not none and index == first["index"] and entry["producer"] is None and entry["payload"] == []
    said = entry["event"]
    assert [source["producer"] for source in said["sources"]] == ["gw-1", "opa-eu"] and said["v"] == 1
    assert said["by"] == {"key": server.admin_key.id}
    words = server.as_("discloser").get(f"/entries/{said['reason']['index']}/disclosures").text
    assert '"the OPA is new"' in words and '"sources"' in words
    size = server.admin.size()
    assert apply(example).ok().json() == {"index": index, "status": "unchanged"}
    assert server.admin.size() == size
    fewer = tmp_path / "fewer.toml"
    fewer.write_text(example.read_text().partition("\n\n")[2].partition("\n\n")[0])
    second = apply(fewer).ok().json()
    assert second["status"] == "applied" and [at for at, _ in entries(server)] == [index, second["index"]]
    now = shown(server)
    assert now["declaration"]["index"] == second["index"] and len(now["declared"]) == 1
    assert (now["declared"][0]["state"], now["declared"][0]["last"]) == ("awaited", None)
    told = server.remote("sources show", "--tenant", "acme").ok().out
    assert "Frankfurt" in told and "awaited" in told and "nothing came yet" in told
    server.stop()
    server.fsck().ok()


def test_p20_a_silent_source_is_an_alarm_that_survives_a_restart(server: Server) -> None:
    """Judged by the last entry of the source: a restart forgets nothing, and an event of it ends the alarm."""
    server.as_("publisher").publish(event(source=EU), event(source=US), event(source="/unknown"))
    assert declare(server, declared(EU), declared(US), declared("/never")).status_code == 200
    assert [source["state"] for source in shown(server)["declared"]] == ["reporting", "reporting", "awaited"]
    assert "source_silent" not in troubles(server)
    assert [metric(server, state) for state in ("declared", "seen", "silent", "undeclared")] == [3, 2, 0, 1]
    before = shown(server)
    assert [other["source"] for other in before["undeclared"]["sources"]] == ["/unknown"] and before["undeclared"]["complete"]
    last = before["declared"][0]["last"]
    assert last["entries"] == 1 and json.loads(server.admin.get(f"/entries/{last['index']}").content)["event"]["source"] == EU

    brief = [declared(EU, title="Gateway \u202eEU"), declared(US, silent_after=1), declared("/never", silent_after=1)]
    assert declare(server, *brief).status_code == 200
    until("both are silent", lambda: metric(server, "silent") == 2)
    assert "nothing since" in troubles(server)["source_silent"] and "nothing yet" in troubles(server)["source_silent"]
    server.restart(kill=True)
    assert shown(server)["declared"][1]["last"] == before["declared"][1]["last"]
    until("the alarm is there again", lambda: "source_silent" in troubles(server))
    assert httpx.get(f"{server.url}/healthz", timeout=60, trust_env=False).json()["silent_sources"] == 1
    assert server.admin.get("/readyz").status_code == 200, "it stops no request"

    # A report of the source, and a longer time for it: both count.
    server.as_("publisher").publish(event(source="/never"))
    assert declare(server, declared("/never"), declared(US), declared(EU)).status_code == 200
    assert "source_silent" not in troubles(server)
    assert [source["state"] for source in shown(server)["declared"]] == ["reporting"] * 3
    assert shown(server)["declared"][0]["last"]["entries"] == 1
    server.stop()
    server.fsck().ok()


def test_p3_repetitions_report_nothing_and_heartbeats_do(server: Server) -> None:
    """A source reports by its entries: an event that was posted before gives none."""
    from support.events import heartbeat

    publisher, once = server.as_("publisher"), event(source=EU)
    publisher.publish(once)
    assert declare(server, declared(EU)).status_code == 200
    first = shown(server)["declared"][0]["last"]
    assert publisher.publish(once)[0]["status"] == "duplicate"
    assert shown(server)["declared"][0]["last"] == first
    publisher.publish(heartbeat(5, source=EU))
    second = shown(server)["declared"][0]["last"]
    assert second["entries"] == 2 and second["index"] > first["index"]


@pytest.mark.parametrize(("wrong", "words"), [
    ([declared(), declared(title="again")], "declared before"),
    ([declared(silent_after=0)], "silent_after"),
    ([declared(title="")], "title"),
    ([declared(title="a\nb")], "title"),
    ([declared(source="")], "source must have"),
    ([declared(source=f"/{n}") for n in range(257)], "257 sources"),
    ([declared(owner="Dan Roth")], ""),
    ([declared(reason="why")], ""),
    ("none", ""),
])
def test_p13_what_is_no_list_is_refused_and_nothing_is_recorded(shared: Server, wrong: Any, words: str) -> None:
    """Each mistake has a clear error."""
    size = shared.admin.size()
    answer = shared.admin.http.post(f"{shared.admin.t}/sources", json={"sources": wrong, "reason": "why not"})
    assert answer.status_code == 400 and words in answer.json()["detail"], answer.text
    assert declare(shared, declared(), reason="").status_code == 400
    assert shared.admin.http.post(f"{shared.admin.t}/sources", json={"sources": []}).status_code == 400, "no reason"
    assert shared.admin.size() == size


def test_p12_another_tenant_sees_nothing_of_it(shared: Server) -> None:
    """Its own list is empty, and its sources are its own."""
    shared.as_("publisher").publish(event(source=EU))
    assert declare(shared, declared()).status_code == 200
    other = shared.client(Key(shared.add_tenant("globex")["key"]), tenant="globex")
    assert other.get("/sources").json() == {"declaration": None, "declared": [], "undeclared": {"count": 0, "complete": True, "sources": []}}
    assert other.http.get("/v1/tenants/acme/sources").status_code == 404


def test_a_file_with_mistakes_is_refused_before_the_server_is_asked(shared: Server, tmp_path: Path) -> None:
    """The command names the file and the mistake."""
    file = tmp_path / "sources.toml"
    for text, words in [
        ('[[source]]\nproducer = "gw-1"\n', "missing field"),
        ('[[sources]]\n', "unknown field"),
        ("not toml", "sources.toml"),
        ('[[source]]\nproducer = "gw-1"\nsource = "/a"\ntitle = ""\nowner = "o"\nsilent_after = 5\n', "source 1: its title"),
    ]:
        file.write_text(text)
        done = shared.remote("sources apply", "--tenant", "acme", "--reason", "x", file)
        assert done.code == 64 and words in done.err and "sources.toml" in done.err, done.err
    assert shared.remote("sources apply", "--tenant", "acme", "--reason", "x", tmp_path / "none").code == 3
