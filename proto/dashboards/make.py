"""Makes the dashboard, the rules and the tables of the page from the one list of metrics.

    countersign metrics > ../metrics.json
    python3 make.py            writes countersign.json, rules.yml, and the tables in docs/operate/observability.md
    python3 make.py --check    fails if one of them is not what it would write

Needs nothing but Python. `alerts.py` and `panels.py` name metrics by `of("halted")`, which fails if the list has no such metric.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

sys.dont_write_bytecode = True

from alerts import BURNS, WINDOWS, Alert, alerts, objectives, quantiles  # noqa: E402
from panels import dashboard  # noqa: E402

HERE = Path(__file__).parent
PAGE = HERE.parent.parent / "docs" / "operate" / "observability.md"
LIST = json.loads((HERE.parent / "metrics.json").read_text())["metrics"]


def of(name: str) -> str:
    """The series of a metric, by its name without prefix; of a histogram its buckets."""
    full = name if name.startswith("process_") else f"countersign_{name}"
    return next(metric["series"] for metric in LIST if metric["name"] == full)


def all_alerts() -> list[Alert]:
    """Those that are written down, and those of the objectives."""
    burning = []
    for objective in objectives(of):
        for factor, long, short, wait, severity in BURNS:
            bound = f"{factor * (1 - objective.target):.6g}"
            expr = f"{objective.record(long)} > {bound} and {objective.record(short)} > {bound}"
            burning.append(Alert(f"{objective.alert}{long}", expr, wait, severity, f"{objective.means}: {factor:g} times, over {long}", objective.do))
    return [*alerts(of), *burning]


def plain(text: str) -> str:
    """Markdown without its links."""
    return re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text)


def rules() -> str:
    """The file of rules. Every text is quoted as JSON has it, which YAML reads the same."""
    out = [
        "# Made by make.py from the list of metrics (../metrics.json) and alerts.py. Copy it; change the copy's thresholds.",
        "groups:", "  - name: countersign-objectives", "    rules:",
    ]  # fmt: skip
    recorded = [(objective.record(window), objective.bad.replace("WINDOW", window)) for objective in objectives(of) for window in WINDOWS]
    for name, expr in [*recorded, *((name, expr) for name, expr, _ in quantiles(of))]:
        out += [f"      - record: {name}", f"        expr: {json.dumps(expr)}"]
    out += ["  - name: countersign-alerts", "    rules:"]
    for alert in all_alerts():
        out += [
            f"      - alert: {alert.name}", f"        expr: {json.dumps(alert.expr)}", f"        for: {alert.wait}", "        labels:", f"          severity: {alert.severity}",
            "        annotations:", f"          summary: {json.dumps(plain(alert.means)[0].upper() + plain(alert.means)[1:], ensure_ascii=False)}",
            f"          action: {json.dumps(plain(alert.do), ensure_ascii=False)}", f"          page: docs/operate/observability.md#alerts",
        ]  # fmt: skip
    return "\n".join(out) + "\n"


def row(*cells: str) -> str:
    """A row of a table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def tables() -> dict[str, str]:
    """The tables of the page, by their name there."""
    metrics = [row("metric", "type", "labels", "unit", "what"), "|---|---|---|---|---|"]
    for metric in LIST:
        shown = metric["series"].removesuffix("_bucket") if metric["type"] == "histogram" else metric["series"]
        metrics.append(row(f"`{shown}`", metric["type"], ", ".join(f"`{label}`" for label in metric["labels"]), metric["unit"], metric["help"]))
    alerts_ = [row("alert", "severity", "after", "means", "do"), "|---|---|---|---|---|"]
    alerts_ += [row(f"`{alert.name}`", alert.severity, alert.wait, alert.means, alert.do) for alert in all_alerts()]
    targets = [row("objective", "recorded as the share that is not"), "|---|---|"]
    targets += [row(objective.words, f"`{objective.record('5m')}`, … `{WINDOWS[-1]}`") for objective in objectives(of)]
    targets += [row(words, f"`{name}`") for name, _, words in quantiles(of)]
    return {"metrics": "\n".join(metrics), "alerts": "\n".join(alerts_), "objectives": "\n".join(targets)}


def page(text: str) -> str:
    """The page with its tables made anew."""
    for name, table in tables().items():
        begin, end = f"<!-- made by proto/dashboards/make.py: {name} -->", f"<!-- end: {name} -->"
        before, rest = text.split(begin)
        text = f"{before}{begin}\n\n{table}\n\n{end}{rest.split(end)[1]}"
    return text


def main(check: bool) -> int:
    """Writes, or compares."""
    made = {
        HERE / "countersign.json": json.dumps(dashboard(of), indent=1, ensure_ascii=False) + "\n",
        HERE / "rules.yml": rules(),
        PAGE: page(PAGE.read_text()),
    }
    wrong = [path for path, text in made.items() if not path.exists() or path.read_text() != text]
    if check:
        for path in wrong:
            print(f"{path.relative_to(HERE.parent.parent)} is not what make.py writes", file=sys.stderr)
        return 1 if wrong else 0
    for path in wrong:
        path.write_text(made[path])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] == ["--check"]))
