"""docs/operate/configuration.md is the whole configuration: every key, whether it is required, and its default."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

from support import countersign_bin
from support.manual import table, text_of

#: Keys that stand in tables of the configuration that are named by the operator.
NAMED = ("slack", "teams", "webhook", "evidence", "sink", "oidc", "witness")


def test_configuration_lists_every_key() -> None:
    """The reference has every key of the code and of example.toml, with its default, and nothing else."""
    shown = {}
    for part in text_of("docs/operate/configuration.md").split("\n## ")[1:]:
        for key, default, meaning in table(part, "| key | default | meaning |"):
            assert meaning and key.strip("`") not in shown, key
            shown[key.strip("`")] = default.strip("`")
    example = re.sub(r"^# (?=[\w.\[\]-]+(?: *=|\]))", "", text_of("example.toml"), flags=re.M)
    example = example.replace('kind = "embedded"\n', "")  # jetstream has more keys
    assert set(shown) == keys_of(tomllib.loads(example)) | {"journal.kind"}
    code = text_of("crates/api/src/config/file.rs") + text_of("crates/api/src/sinks/setup.rs") + text_of("crates/api/src/witness/setup.rs")
    code += text_of("crates/api/src/replicas/setup.rs") + text_of("crates/api/src/oidc/setup.rs")
    # Members of the structs, and of the one variant that has some.
    fields = set(re.findall(r"^(?:    pub |        )(\w+): [\w<>:, ]+,$", code, re.M))
    last = {key.rpartition(".")[2] for key in shown} | {"tls", "journal", "approvals", "opa", "limits", "log", "replica", *NAMED}
    assert last == fields


def keys_of(value: dict[str, object], before: str = "") -> set[str]:
    """All keys of a configuration, with their tables."""
    found: set[str] = set()
    for key, member in value.items():
        if before.rstrip(".") in NAMED:
            key = "NAME"
        # The members of a replica are one key: their names are the operator's.
        inner = isinstance(member, dict) and member and before + key != "replica.members"
        found |= keys_of(member, f"{before}{key}.") if inner else {before + key}  # type: ignore[arg-type]
    return found


def test_configuration_defaults_are_those_of_the_program(tmp_path: Path) -> None:
    """A key that is required is refused when it is missing, and every default is what `check-config` prints."""
    shown = {}
    for part in text_of("docs/operate/configuration.md").split("\n## ")[1:]:
        shown |= {key.strip("`"): default for key, default, _ in table(part, "| key | default | meaning |")}
    least = {"": {key: "x" for key, default in shown.items() if "." not in key and default == "required"}}
    for key, default in shown.items():
        name, _, member = key.rpartition(".")
        if name and default == "required":
            least.setdefault(name, {})[member] = "approvals" if key == "approvals.dir" else "x"
    # A folder instead of an address: that is there.
    least["sink.NAME"] |= {"kind": "file", "dir": "."}
    least["journal"] = {"kind": "jetstream"} | least["journal"]
    # Replicas need three copies of the journal, which are not the default: `test_replicas.py` has what is required there.
    least.pop("replica")
    said = checked(tmp_path, least)
    effective = tomllib.loads(said)
    for key, default in shown.items():
        member: object = effective
        for part in named(key).split("."):
            member = member.get(part) if isinstance(member, dict) else None
        if key == "sink.NAME.dir":
            assert member == str(tmp_path)
        elif default == "none":
            assert member is None, key
        elif default != "required" and key != "journal.kind":
            assert member == tomllib.loads(f"x = {default.strip('`')}")["x"], key
    for name, members in least.items():
        for member in members:
            if member != "kind":
                without = {table: {k: v for k, v in known.items() if (table, k) != (name, member)} for table, known in least.items()}
                assert member in checked(tmp_path, without, is_right=False), f"{name}.{member} is not required"


def named(key: str) -> str:
    """With a name for the connection; each name is used once."""
    return key.replace("NAME", "a-" + key.split(".")[0])


#: A value for each required key that is not a text.
VALUES = {
    "data_dir": "/d", "keys_dir": "/k", "guard_path": "/g", "public_url": "https://log.example.com", "tenant": "acme",
    "workspaces": ["T1"], "signing_secret_files": ["/s"], "password_files": ["/p"], "journal.url": "nats://127.0.0.1:4222",
    "oidc.NAME.issuer": "https://id.example.com", "witness.NAME.url": "https://witness.example.com", "witness.NAME.vkey": "witness.example/a+6f370740+BNBKsjJ0K7SrOhNovUYV5ObQIkq3GgFrr4UgozLJd4c3",
}  # fmt: skip


def checked(root: Path, tables: dict[str, dict[str, str]], is_right: bool = True) -> str:
    """What `check-config` says of these keys."""
    (root / "x").touch()
    (root / "approvals/acme").mkdir(parents=True, exist_ok=True)
    for name in ("rules", "people"):
        (root / f"approvals/acme/{name}.toml").write_text(text_of(f"proto/examples/{name}.toml").replace("acme-slack", "a-slack").replace("acme-teams", "a-teams"))
    lines = []
    for name, members in tables.items():
        lines += [f"[{named(name)}]"] if name else []
        for key, value in members.items():
            given = VALUES.get(f"{name}.{key}", VALUES.get(key, value if key == "kind" else str(root / value)))
            lines.append(f"{key} = {given!r}")
    (root / "c.toml").write_text("\n".join(lines) + "\n")
    done = subprocess.run([countersign_bin(), "check-config", "--config", root / "c.toml"], capture_output=True, text=True, timeout=60)
    assert (done.returncode == 0) == is_right, done.stdout + done.stderr
    # Before the configuration come lines about rules.
    return done.stdout.split("\n# ", 1)[1].partition("\n")[2] if is_right else done.stdout + done.stderr
