"""What is tested is what ships: every build of ours has its packages with the same features, and gives the same results (P5)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support import cli

#: The selections of packages: the server as it ships, the verifier alone (both as the pages say), and all that the tests build.
SERVER, VERIFIER, TESTS = ["-p", "api"], ["-p", "api", "--no-default-features"], ["--workspace"]
#: Features that the verifier does without: package → feature → why no result depends on it.
WITHOUT = {
    "chrono": dict.fromkeys(("clock", "iana-time-zone", "js-sys", "now", "wasm-bindgen", "wasmbind", "winapi", "windows-link"), "the clock; clippy forbids to read it here")
    | {"serde": "a form of times that none of ours has"},
    "digest": {"const-oid": "names of hashes in certificates", "oid": "as above"},
    "ed25519": {"pem": "another form of key files", "pkcs8": "as above"},
    "ed25519-dalek": {"digest": "another signature scheme", "pem": "another form of key files", "pkcs8": "as above", "signature": "a trait"},
    "elliptic-curve": {"ecdh": "key agreement; the verifier only checks signatures"},
    "generic-array": {"zeroize": "wipes memory"},
    "hmac": {"reset": "a trait"},
    "libc": {"default": "std", "std": "bindings alone, no code"},
    "memchr": {"default": "std"},
    "num-traits": {"i128": "nothing since Rust 1.26", "libm": "std comes first"},
    "ppv-lite86": {"std": "chooses the processor's instructions, same numbers"},
    "rand": dict.fromkeys(("alloc", "default", "getrandom", "libc", "std"), "random numbers; the verifier draws none"),
    "rand_chacha": {"std": "as of rand"},
    "regex-automata": {"dfa-build": "faster engines, same matches", "dfa-search": "as above"},
    "serde": {"alloc": "in std"},
    "serde_core": {"alloc": "in std", "default": "std"},
    "serde_json": {"alloc": "in std"},
    "sha2": {"oid": "names of hashes in certificates"},
    "signature": {"digest": "another signature scheme", "rand_core": "another signature scheme"},
    "smallvec": {"const_generics": "an API", "const_new": "an API"},
    "subtle": {"default": "std", "i128": "a type", "std": "nothing here"},
    "typenum": {"const-generics": "an API"},
}
#: Ours: their features are the parts that a build has.
OURS = {"api", "approvals", "decider", "ledger"}


def features(root: Path, selection: list[str], edges: str) -> dict[str, list[set[str]]]:
    """Package and version → sets of features it is built with."""
    command = ["cargo", "tree", "--offline", "--locked", "--prefix", "none", "-e", edges, "-f", "{p}|{f}", *selection]
    told = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    found: dict[str, list[set[str]]] = {}
    for line in filter(None, told.stdout.splitlines()):
        package, _, names = line.removesuffix(" (*)").partition("|")
        sets = found.setdefault(" ".join(package.split()[:2]), [])
        names = {name for name in names.split(",") if name}
        if names not in sets:
            sets.append(names)
    return found


@pytest.fixture(scope="module")
def tested(repository: Path) -> dict[str, list[set[str]]]:
    if not shutil.which("cargo"):
        pytest.skip("no cargo here")
    return features(repository, TESTS, "normal,build,dev")


def test_p5_the_server_that_is_tested_is_the_one_that_ships(repository: Path, tested: dict[str, list[set[str]]]) -> None:
    """Package by package the same features, so also RocksDB is compiled once for both."""
    shipped = features(repository, SERVER, "normal,build")
    other = {name: (sets, tested.get(name)) for name, sets in shipped.items() if any(one not in tested.get(name, []) for one in sets)}
    assert not other, f"only a test's package switches these on; say so in Cargo.toml: {other}"


def test_p5_the_verifier_alone_lacks_nothing_that_counts(repository: Path, tested: dict[str, list[set[str]]]) -> None:
    """What the verifier's packages lack changes no result, for a reason that is named here; and they have nothing else."""
    wrong = {}
    for name, sets in features(repository, VERIFIER, "normal,no-proc-macro").items():
        package = name.split()[0]
        full = set().union(*tested[name])
        for one in sets:
            lacking = full - one - set(WITHOUT.get(package, {}))
            if package not in OURS and (lacking or one - full):
                wrong[name] = (sorted(lacking), sorted(one - full))
    assert not wrong
    (json_features,) = features(repository, VERIFIER, "normal,no-proc-macro")[next(name for name in tested if name.startswith("serde_json "))]
    assert {"float_roundtrip", "raw_value"} <= json_features


def test_p5_both_builds_say_the_same_of_every_vector(repository: Path, tmp_path: Path) -> None:
    """Each receipt of proto/vectors, good and bad: byte for byte the same answer."""
    alone = os.environ.get("COUNTERSIGN_VERIFY_BIN")
    if not alone:
        pytest.skip("COUNTERSIGN_VERIFY_BIN is not set")
    folder = repository / "proto/vectors/receipt"
    for case in json.loads((folder / "cases.json").read_text())["cases"]:
        arguments = ["verify", "--json", "--key", folder / "log.key", folder / case["file"]]
        full, verifier = cli(*arguments), cli(*arguments, binary=Path(alone))
        assert (full.code, full.out) == (verifier.code, verifier.out), case
        assert (full.code == 0) == (case["error"] is None), case
