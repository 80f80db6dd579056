"""The exported policies in a real OPA: the same verdict, clause and redactions, or a denial that says why."""

from __future__ import annotations

import collections
import datetime
import json
import random
import re
import shutil
import time
import zoneinfo
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.manual import ROOT
from support.opa import decisions, differing, exported, is_left, judged, opa, unpacked
from support.opa_calls import CONDITIONS, WITHOUT_ERRORS, Calls, write_policies

PACK = sorted(path.parent for path in (ROOT / "docs" / "policies").glob("*/agents.yaml"))
#: Calls of one evaluation: OPA has the answers of all of them in memory.
AT_ONCE = 2_500
#: What a code says of the condition of a clause that is alone for its call.
TRUTHS = {"allowed": "true", "approval": "true", "denied": "true", "no_clause": "false", "condition_error": "error"}
#: Kinds of conditions with bounds → the parameter, and the bounds.
BOUNDS = {"integer": ("n", (5, 9)), "integer-2": ("n", (5, 9)), "amount": ("n", (5, 9)), "amount-2": ("n", (5, 9))}


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Policies with every kind of condition (`policies`), and their unpacked bundle (`opa`)."""
    root = tmp_path_factory.mktemp("wide")
    unpacked(exported(write_policies(root / "policies"), root / "out"), root / "opa")
    return root


def test_p15_opa_agrees_on_generated_calls(wide: Path, rng: random.Random, tmp_path: Path, long: bool) -> None:
    """Verdict, code, clauses, messages, obligations and redactions. What OPA leaves is a denial, and there is little of it."""
    count = 70_000 if long else 2_500
    made = Calls(rng.randrange(2**32))
    calls = made.many(count)
    # Each bound with its neighbours, whatever the seed.
    for kind, (name, bounds) in BOUNDS.items():
        for value in [bound + by for bound in bounds for by in (-1, 0, 1)]:
            call = made.of_kind(kind)
            calls.append(call | {"params": {name: value, "currency": "EUR"}})
    ours = judged(wide / "policies", calls, tmp_path)
    theirs: list[dict[str, Any]] = []
    for at in range(0, len(calls), AT_ONCE):
        theirs += decisions(wide / "opa", calls[at : at + AT_ONCE], tmp_path)
    wrong = differing(calls, ours, theirs)
    assert wrong == [], f"{len(wrong)} of {count}; the first: {json.dumps(wrong[0])}"
    left = sum(is_left(answer) for answer in theirs)
    verdicts = collections.Counter(answer["verdict"] for answer in ours)
    print(f"{count} calls, {left} left by OPA; {dict(verdicts)}")
    assert left * 20 < count, f"OPA leaves less than 5 %, and not {left} of {count}"
    share = 0.1 if long else 0.08
    assert min(verdicts[name] for name in ("allow", "approval_needed", "sanitize", "deny")) >= share * count, verdicts
    truths: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    near: collections.Counter[tuple[str, int, int]] = collections.Counter()
    for call, answer in zip(calls, ours, strict=True):
        kind = kind_of(call)
        if kind is None:
            continue
        clauses = [name for name in answer["reason"]["clauses"] if not name.endswith("-other")]
        truths[kind]["true" if clauses else TRUTHS.get(answer["reason"]["code"], "false")] += 1
        if kind in BOUNDS and isinstance(call["params"], dict):
            name, bounds = BOUNDS[kind]
            near.update((kind, bound, by) for bound in bounds for by in (-1, 0, 1) if call["params"].get(name) == bound + by)
    for kind, (_, bounds) in BOUNDS.items():
        assert all(near[kind, bound, by] for bound in bounds for by in (-1, 0, 1)), (kind, near)
    families: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for kind, met in truths.items():
        families[kind.split("-")[0]] += met
    for family, met in sorted(families.items()):
        wanted = ("true", "false") if family in WITHOUT_ERRORS else ("true", "false", "error")
        print(f"{family:12} {dict(met)}")
        assert not long or all(met[truth] >= 200 for truth in wanted), (family, met)


def kind_of(call: dict[str, Any]) -> str | None:
    """The kind of condition that a call is for."""
    tool = call.get("tool")
    name = tool.get("name") if isinstance(tool, dict) else None
    return name[2:] if isinstance(name, str) and name[2:] in CONDITIONS else None


#: A changed operator of the export → file, what is changed, what it becomes, and the tools whose calls show it.
MUTANTS: list[tuple[str, str, str, str]] = [
    ("policies", "[v > 5, v <= 9]", "[v > 5, v < 9]", "integer"),
    ("policies", "[v > 5, v <= 9]", "[v >= 5, v <= 9]", "integer"),
    ("policies", "[v >= 5, v < 9]", "[v >= 5, v <= 9]", "integer-2"),
    ("policies", "\"EUR\": [minor > 5, minor <= 9]", "\"EUR\": [minor > 5, minor < 9]", "amount"),
    ("policies", "decimal(v) > ", "decimal(v) >= ", "decimal"),
    ("policies", "characters(v) <= 5", "characters(v) < 5", "length"),
    ("policies", "elements(v) > 1", "elements(v) >= 1", "items"),
    ("policies", ":= not3(", ":= all3([", "not"),
    ("policies", ":= any3([", ":= all3([", "any"),
    ("policies", "all_of(values", "any_of(values", "all"),
    ("policies", "now(c) >= ", "now(c) > ", "period"),
    ("policies", "now(c) < ", "now(c) <= ", "period"),
    ("policies", "count(chain_of(c)) <= 2", "count(chain_of(c)) < 2", "chain-depth"),
    ("conditions", "minor >= 0", "minor > 0", "amount-2"),
    ("conditions", "\tlocal.minute < when_.to\n", "\tlocal.minute <= when_.to\n", "hours"),
    ("conditions", "\tlocal.minute >= when_.from\n", "\tlocal.minute > when_.from\n", "hours"),
    ("conditions", "tier) <= rank(", "tier) < rank(", "tier"),
    ("conditions", "not is_within(agent, names)", "is_within(agent, names)", "chain-only"),
    ("conditions", "not regex.match(`[\\\\#]`", "regex.match(`[\\\\#]`", "egress"),
    ("conditions", "abs(value) <= 9007199254740991", "abs(value) < 9007199254740991", "integer"),
    ("conditions", "not is_sound_chain(", "is_sound_chain(", "chain-root"),
    ("verdict", "not says(w, \"allow\")", "says(w, \"allow\")", "integer"),
    ("verdict", "strictness(second.verdict) > ", "strictness(second.verdict) >= ", "mail"),
    ("verdict", "left(c, limit) < 0", "left(c, limit) <= 0", "shop"),
    ("verdict", "not clause.then in", "clause.then in", "mixed"),
    ("verdict", "every name in names {\n\t\tis_name(name)\n\t}", "some name in names\n\tis_name(name)", "classes"),
    ("redaction", "every i, one in steps {\n\t\tis_step(one, sprintf(\"%v\", [path[i]]))\n\t}", "some i, one in steps\n\tis_step(one, sprintf(\"%v\", [path[i]]))", "mail"),
    ("redaction", "before_.end > ordered[i].start", "before_.end >= ordered[i].start", "mail"),
    ("redaction", "digit > 4", "digit >= 4", "mail"),
    ("redaction", "not is_article(digits)", "is_article(digits)", "mail"),
    ("redaction", "sizes[0] >= 13", "sizes[0] > 13", "mail"),
    ("redaction", "end_before(spans, i), span.start - end", "end_before(spans, i), span.start + end", "mail"),
]  # fmt: skip


def calls_for(tool: str, seed: int, count: int) -> list[dict[str, Any]]:
    """Calls of one tool."""
    calls = Calls(seed)
    make = {"mail": calls.mail, "shop": calls.shop, "mixed": calls.mixed}.get(tool, lambda: calls.of_kind(tool))
    found = [make() for _ in range(count)]
    if tool == "classes":
        for call in found[::3]:
            call["context"]["classes"] = ["", "health"]
    if tool == "mail":
        for call in found[::9]:
            call["params"]["text"] = calls.pick(["M-12345674M-12345674", "4222222222222", "x 4111111111111111"])
    if tool == "integer":
        for call in found[::9]:
            call["params"] = {"n": calls.pick([9007199254740991, 4, 9])}
    if tool == "amount-2":
        for call in found[::5]:
            call["params"] = {"n": 0, "currency": "EUR"}
    return found


def test_every_changed_operator_of_the_export_is_noticed(wide: Path, tmp_path: Path, long: bool) -> None:
    """One operator of the Rego changed: OPA then says something else of some call, so the comparison is no formality."""
    unnoticed, sound = [], {}
    for nth, (file, old, new, tool) in enumerate(MUTANTS):
        calls = calls_for(tool, 7, 400 if tool in ("mail", "shop") else 150)
        if tool not in sound:
            sound[tool] = judged(wide / "policies", calls, tmp_path)
            assert differing(calls, sound[tool], decisions(wide / "opa", calls, tmp_path)) == [], tool
        folder = shutil.copytree(wide / "opa", tmp_path / f"m{nth}")
        path = folder / "countersign" / f"{file}.rego"
        text = path.read_text()
        if file == "policies":
            # The functions of the tool's own clauses.
            own = re.search(rf"# wide/{tool}-al\n.*?(?=\n# wide/(?!{tool}-(?:ap|de|other)\n))", text, re.DOTALL)
            assert own and old in own[0], (tool, old)
            part = own[0].replace(old, new)
            if new.endswith("all3(["):
                part = re.sub(r"all3\(\[(c\d+_\d+\(c\))\)(?!\])", r"all3([\1])", part)
            path.write_text(text.replace(own[0], part))
        else:
            assert old in text, old
            path.write_text(text.replace(old, new))
        found = differing(calls, sound[tool], decisions(folder, calls, tmp_path))
        print(f"{file}: {old!r} → {new!r}: {len(found)} of {len(calls)} calls ({tool})")
        if not found:
            unnoticed.append((file, old, new, tool))
    assert unnoticed == [] and len(MUTANTS) >= 20


def with_changes(call: dict[str, Any], test: dict[str, Any]) -> dict[str, Any]:
    """The call of a test of policies."""
    call = json.loads(json.dumps(call))
    changes = list((test.get("with") or {}).items()) + [(at, json.loads(text)) for at, text in (test.get("with_json") or {}).items()]
    for pointer, value in [*changes, *((pointer, ...) for pointer in test.get("without") or [])]:
        *way, last = [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]
        place: Any = call
        for step in way:
            if isinstance(place, list):
                place = place[int(step)]
            else:
                place = place.setdefault(step, {})
        if isinstance(place, list):
            place[int(last) : int(last) + 1] = [] if value is ... else [value]
        elif value is ...:
            place.pop(last, None)
        else:
            place[last] = value
    return call


def pack_calls(folder: Path) -> list[dict[str, Any]]:
    """Every test of a folder as an input for OPA."""
    text = "".join(path.read_text() for path in sorted(folder.glob("policies/*.yaml")))
    budgets, rates = re.search(r"^budgets:.*?(?=^\w|\Z)", text, re.M | re.S), re.search(r"^rates:.*?(?=^\w|\Z)", text, re.M | re.S)
    policy = yaml.safe_load(text.split("\n---")[0])["policy"]
    calls = []
    for path in sorted(folder.glob("tests/*.yaml")):
        read = yaml.safe_load(path.read_text())
        for test in read["tests"]:
            call = with_changes(read["calls"][test["call"]], test)
            now = test.get("now", read["now"])
            at = datetime.datetime.fromisoformat(now)
            facts: dict[str, Any] = {"now": now, "verified": test.get("verified", False), "local": {}, "booked": {}, "rates": {}, "windows": {}}
            for zone in set(re.findall(r"zone: ([A-Za-z_/]+)", text)):
                local = at.astimezone(zoneinfo.ZoneInfo(zone))
                offset = int((local.utcoffset() or datetime.timedelta()).total_seconds())
                facts["local"][zone] = {"date": local.strftime("%Y-%m-%d"), "weekday": local.weekday(), "minute": local.hour * 60 + local.minute, "offset": offset}
                for length in ("day", "week", "month"):
                    facts["windows"][f"{length} {zone}"] = {"from": now, "to": now}
            facts["windows"]["hour"] = {"from": now, "to": now}
            for block, name in ((budgets, "booked"), (rates, "rates")):
                for id in re.findall(r"id: ([a-z-]+)", block[0]) if block else []:
                    full = f"{policy}/{id}"
                    before = (test.get("booked") or {}).get(full, 0)
                    booked = round(float(before) * 1_000_000) if isinstance(before, str) else before
                    facts[name][full] = booked if name == "booked" else full not in (test.get("used_up") or [])
            calls.append(call | {"facts": facts})
    return calls


def test_p15_opa_agrees_on_every_test_of_the_pack(tmp_path: Path) -> None:
    """The policies to copy: what OPA leaves are texts that may hold what it has no detector for."""
    counted = {}
    for folder in PACK:
        scratch = tmp_path / folder.name
        scratch.mkdir()
        calls = pack_calls(folder)
        ours = judged(folder, calls, scratch)
        theirs = decisions(unpacked(exported(folder, scratch / "out"), scratch / "opa"), calls, scratch)
        wrong = differing(calls, ours, theirs)
        assert wrong == [], f"{folder.name}: {len(wrong)} of {len(calls)}; the first: {json.dumps(wrong[0])}"
        counted[folder.name] = (len(calls), sum(is_left(answer) for answer in theirs))
    print(counted)
    assert sum(count for count, _ in counted.values()) > 300
    assert {name for name, (_, left) in counted.items() if left} <= {"egress", "email", "health-records", "new-payee", "web-search"}, counted


def nanoseconds(*arguments: str | Path) -> float:
    """What one evaluation takes, by OPA's own measure: the median."""
    measured = json.loads(opa("bench", "--format", "json", *arguments).stdout)
    return float(measured["Extra"]["histogram_timer_rego_query_eval_ns_median"])


@pytest.mark.parametrize("name", ["payments", "health-records", "daily-budget", "egress"])
def test_how_long_opa_takes_is_printed(name: str, tmp_path: Path, long: bool) -> None:
    """Beside Rego that was written by hand, and beside `policy judge`, which reads and writes JSON too. Nothing depends on a time."""
    if not long:
        pytest.skip("a measurement: --long")
    folder = ROOT / "docs/policies" / name
    call = pack_calls(folder)[0]
    given = tmp_path / "call.json"
    given.write_text(json.dumps(call))
    bundle = unpacked(exported(folder, tmp_path / "out"), tmp_path / "opa")
    hand = ROOT / "tests/judges/rego" / f"{name}.rego"
    said = judged(folder, [call], tmp_path)[0]["verdict"]
    by_hand = opa("eval", "--format", "raw", "--data", hand, "--input", given, "data.hand.decision").stdout.strip()
    assert by_hand == said, "the same question"
    count = 20_000
    begun = time.monotonic()
    judged(folder, [call] * count, tmp_path)
    ours = (time.monotonic() - begun) / count * 1e9
    export = nanoseconds("--bundle", bundle, "--input", given, "data.countersign.decision")
    written = nanoseconds("--data", hand, "--input", given, "data.hand.decision")
    print(f"{name}: exported {export / 1000:.0f} µs, by hand {written / 1000:.0f} µs, policy judge {ours / 1000:.0f} µs; exported takes {export / ours:.0f} times as long as ours, by hand {written / ours:.1f} times")
