"""Drives the tool wrappers of `proto/examples`, in Python and in TypeScript."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import playwright
import pytest

from .binary import Finished
from .answers import SMALL
from .fakecountersign import KEY, Answer, FakeCountersign

EXAMPLES = Path(__file__).parent.parent.parent / "proto/examples"
#: Node, which playwright carries. It runs TypeScript by leaving out the types.
NODE = Path(playwright.__file__).parent / "driver/node"

#: Guard a function that prints its params, and call it. What the guard raises is printed too.
PYTHON = """
import json, sys
sys.path.insert(0, {folder})
from tool_wrapper import Client, NotPermitted, guarded, obligations
told = json.loads(sys.argv[1])
answers = told.pop("before", None)
if answers is not None:
    told["options"]["as_before"] = lambda tool, action, params: answers

@guarded(Client(told["url"], told["key"], agent="payments-bot", **told["options"]), tool=told["tool"], action=told["action"])
def run(amount=None, currency="EUR", reference=None, note=None):
    print(json.dumps({{"ran": dict(amount=amount, currency=currency, reference=reference, note=note), "obligations": obligations.get()}}), flush=True)
    if told["fails"]:
        raise RuntimeError("out of order")
    return "done"

try:
    print(json.dumps({{"returned": run(**told["params"])}}))
except NotPermitted as refused:
    print(json.dumps({{"not_permitted": refused.code}}))
except RuntimeError as error:
    print(json.dumps({{"raised": str(error)}}))
"""
TYPESCRIPT = """
import {{ Client, NotPermitted, guarded }} from {file};
const told = JSON.parse(process.argv[2]!);
const camel = {{ answer_within: "answerWithin", people_within: "peopleWithin" }} as Record<string, string>;
const options = Object.fromEntries(Object.entries(told.options).map(([name, value]) => [camel[name] ?? name, value]));
if (told.before !== null) options.asBefore = () => told.before;
const client = new Client({{ url: told.url, key: told.key, agent: "payments-bot", ...options }});
const run = guarded(client, told, async (given: object, obligations) => {{
  const ran = {{ amount: null, currency: "EUR", reference: null, note: null, ...given }};
  console.log(JSON.stringify({{ ran, obligations }}));
  if (told.fails) throw new Error("out of order");
  return "done";
}});
try {{
  console.log(JSON.stringify({{ returned: await run({{ currency: "EUR", ...told.params }}) }}));
}} catch (error) {{
  console.log(JSON.stringify(error instanceof NotPermitted ? {{ not_permitted: error.code }} : {{ raised: (error as Error).message }}));
}}
"""


@dataclass(frozen=True)
class Wrapper:
    """One of the two files, and a script that uses it."""

    example: list[str]
    script: list[str]

    def start(self, url: str, params: dict[str, Any], *, key: str = KEY, tool: str = "payments", action: str = "transfer",
              fails: bool = False, before: Any = None, **options: Any) -> subprocess.Popen[bytes]:
        """Calls the guarded function with params."""
        told = {"url": url, "key": key, "tool": tool, "action": action, "params": params, "fails": fails, "before": before, "options": options}
        return subprocess.Popen([*self.script, json.dumps(told)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(process: subprocess.Popen[bytes]) -> tuple[dict[str, Any], Finished]:
    """What it printed, joined, and how it ended."""
    out, err = process.communicate(timeout=90)
    done = Finished(process.returncode, out.decode(), err.decode())
    assert done.code == 0, done.err
    said: dict[str, Any] = {}
    for line in done.lines():
        assert not set(said) & set(line), "it ran twice"
        said |= line
    return said, done


@pytest.fixture(params=["python", "typescript"])
def wrapper(request: pytest.FixtureRequest, tmp_path: Path) -> Wrapper:
    """Each of the two."""
    if request.param == "python":
        script = tmp_path / "script.py"
        script.write_text(PYTHON.format(folder=repr(str(EXAMPLES))))
        return Wrapper([sys.executable, "-I", str(EXAMPLES / "tool_wrapper.py")], [sys.executable, str(script)])
    assert NODE.is_file(), "tests/requirements.txt brings it"
    script = tmp_path / "script.mts"
    script.write_text(TYPESCRIPT.format(file=json.dumps(str(EXAMPLES / "tool-wrapper.ts"))))
    return Wrapper([str(NODE), str(EXAMPLES / "tool-wrapper.ts")], [str(NODE), str(script)])


def ran(params: dict[str, Any], **obligations: Any) -> dict[str, Any]:
    """What is printed when the function ran with these params."""
    return {"ran": {"amount": None, "currency": "EUR", "reference": None, "note": None} | params, "obligations": obligations}


# Against a script.


@pytest.fixture
def scripted(wrapper: Wrapper) -> Callable[..., tuple[FakeCountersign, dict[str, Any], str]]:
    """Runs it against a script; what it said, and its messages. `told`: members of the verdict."""

    def scripted(
        *phases: str, told: dict[str, Any] | None = None, call: dict[str, Any] | None = None, **faults: list[Answer]
    ) -> tuple[FakeCountersign, dict[str, Any], str]:
        script = FakeCountersign(list(phases), faults, told)
        try:
            said, done = finish(wrapper.start(script.url, SMALL, **{"people_within": 20} | (call or {})))
            return script, said, done.err
        finally:
            script.close()

    return scripted
