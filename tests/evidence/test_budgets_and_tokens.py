"""P20: budgets that were warned of, refused and decided by people, and agents' tokens, each in a table of the folder."""

from __future__ import annotations

from pathlib import Path

from support import Server, event
from support.identity import Proving
from test_budgets import CENTS, LLM, PAY, cost, folder
from test_availability import rows
from test_hard_periods import make, times, verified


def test_p20_p18_budgets_and_agents_tokens_are_listed(tmp_path: Path) -> None:
    """Each row names its entry; what was given in silence is none."""
    with Server(tmp_path / "server") as server:
        desk = Proving(server, tmp_path / "first")
        desk.activate(folder(tmp_path / "p", [cost("0.10", warn_at="80"), PAY]))
        since = times(server)[-1]
        answers = [desk.told(**LLM, cost=CENTS(3)) for _ in range(4)]
        assert [answer["verdict"] for answer in answers] == ["allow", "allow", "allow", "deny"]
        over = desk.told(**LLM | {"tool": {"name": "payments", "action": "transfer"}, "params": {"amount": 1001, "currency": "EUR"}})
        assert over["verdict"] == "approval_needed"
        issued = desk.issued("llm-agent", by=server.admin, scope=["llm"], region="eu")
        assert desk.revoke("llm-agent", issued["jti"]).status_code == 200
        assert desk.revoke("llm-agent").status_code == 200
        server.as_("publisher").publish(event())
        until = times(server)[-1]
        server.as_("publisher").publish(event())
        out = tmp_path / "e"
        make(server, out, "--from", since, "--to", until).ok()
        told = [tuple(row[name] for name in ("what", "budget", "key", "unit", "currency", "sum", "max")) for row in rows(out, "population/budgets.csv")]
        assert sorted(told) == [
            ("asked people", "p/pay", "", "minor", "EUR", "1001", "1000"),
            ("budget_exceeded", "p/day", "llm-agent", "cost", "USD", "90000", "100000"),
            ("budget_exceeded", "p/pay", "", "minor", "EUR", "0", "1000"),
            ("budget_warned", "p/day", "llm-agent", "cost", "USD", "90000", "100000"),
            ("refused", "p/day", "llm-agent", "cost", "USD", "30000", "100000"),
        ], told
        refused = next(row for row in rows(out, "population/budgets.csv") if row["what"] == "refused")
        assert refused["decision"] == refused["index"] == str(answers[-1]["decision"]["index"])
        tokens = rows(out, "approvals/agent-tokens.csv")
        assert [(row["what"], row["agent"], row["scope"], row["region"], row["token"]) for row in tokens] == [
            ("issued", "llm-agent", "llm", "eu", str(issued["index"])),
            ("revoked", "llm-agent", "", "", str(issued["index"])),
            ("revoked", "llm-agent", "", "", ""),
        ]
        assert tokens[0]["valid_from"] < tokens[0]["valid_until"] and tokens[0]["by"].startswith("key ")
        verified(server, out)
