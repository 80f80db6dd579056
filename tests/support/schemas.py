"""The schemas of `proto/schemas`, for answers and entries of a real server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import referencing

SCHEMAS = {
    path.name.removesuffix(".schema.json"): json.loads(path.read_text())
    for path in (Path(__file__).parent.parent.parent / "proto/schemas").glob("*.schema.json")
}
REGISTRY = referencing.Registry().with_resources(
    (schema["$id"], referencing.Resource.from_contents(schema)) for schema in SCHEMAS.values()
)
VALIDATORS = {
    name: jsonschema.Draft202012Validator(schema, registry=REGISTRY, format_checker=jsonschema.FormatChecker())
    for name, schema in SCHEMAS.items()
}


def check(name: str, value: Any) -> None:
    """The value fits the schema of this name, and has no member at its top that the schema does not name."""
    wrong = [f"{error.json_path}: {error.message}" for error in VALIDATORS[name].iter_errors(value)]
    assert not wrong, f"{name}: {wrong}\n{json.dumps(value)}"
    unknown = set(value) - set(SCHEMAS[name]["properties"])
    assert not unknown, f"{name}: {unknown} is not in the schema"
