"""What `scripts/release` makes: a Debian package that unpacks and runs, the list of its parts, and checksums that hold."""

from __future__ import annotations

import gzip
import json
import os
import platform
import re
import shutil
import subprocess
import tomllib
import zlib
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import referencing

from support import cli, countersign_bin, free_port

#: What an installation has.
CONTENTS = {
    "usr/bin/countersign",
    "usr/lib/systemd/system/countersign.service",
    "usr/share/countersign/example.toml",
    "usr/share/doc/countersign/LICENSE",
    "usr/share/doc/countersign/changelog.gz",
    "usr/share/doc/countersign/copyright",
    "usr/share/doc/countersign/countersign.cdx.json",
    "usr/share/doc/countersign/operate/runbook.md",
    "usr/share/doc/countersign/third-party-licences.txt",
    "usr/share/man/man1/countersign.1.gz",
}
#: Members whose licences must be printed with a binary: each from a package of its own.
NOTICES = ["rocksdb/LICENSE.Apache", "zstd/LICENSE", "liblz4/lib/LICENSE", "ring 0."]


def run(*command: object, code: int = 0, cwd: Path | None = None) -> str:
    """What a command prints."""
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == code, f"{command}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def needs(*tools: str) -> None:
    """Skips where this system is not one that releases are made on."""
    missing = [tool for tool in tools if not shutil.which(tool)]
    if missing:
        pytest.skip(f"no {missing} here")


@pytest.fixture(scope="module")
def release(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release of the binary under test."""
    needs("cargo", "dpkg-deb", "objdump", "strip")
    folder = tmp_path_factory.mktemp("release") / "out"
    run(repository / "scripts/release", "--binary", countersign_bin(), folder)
    return folder


@pytest.fixture(scope="module")
def package(release: Path) -> Path:
    """The package."""
    (found,) = release.glob("*.deb")
    return found


@pytest.fixture(scope="module")
def installed(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, unpacked."""
    folder = tmp_path_factory.mktemp("installed")
    run("dpkg-deb", "--extract", package, folder)
    return folder


@pytest.fixture(scope="module")
def control(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the package says of itself, and its scripts."""
    folder = tmp_path_factory.mktemp("control") / "DEBIAN"
    run("dpkg-deb", "--control", package, folder)
    return folder


@pytest.fixture(scope="module")
def parts(release: Path) -> dict[str, Any]:
    """The list of parts."""
    (found,) = release.glob("*.cdx.json")
    return dict(json.loads(found.read_text()))


def version(repository: Path) -> str:
    """Ours."""
    return str(tomllib.loads((repository / "Cargo.toml").read_text())["workspace"]["package"]["version"])


def test_checksums_name_every_file(release: Path) -> None:
    """And each of them is right."""
    run("sha256sum", "--check", "--strict", "SHA256SUMS", cwd=release)
    named = {line.split()[1] for line in (release / "SHA256SUMS").read_text().splitlines()}
    assert named == {path.name for path in release.iterdir()} - {"SHA256SUMS"} and len(named) == 4


def test_package_says_what_it_is(repository: Path, package: Path) -> None:
    """Version, the libraries that it needs, and files that belong to root."""
    control = run("dpkg-deb", "--field", package)
    assert f"Version: {version(repository)}\n" in control
    assert re.search(r"^Depends: libc6 \(>= 2\.\d+\), libgcc-s1, passwd(, libstdc\+\+6 \(>= [\d.]+\))?$", control, re.M), control
    assert "@" not in control.replace("@countersign.invalid", "")
    lines = run("dpkg-deb", "--contents", package).splitlines()
    assert all(line.split()[1] == "root/root" for line in lines), lines
    assert CONTENTS <= {line.split()[5].removeprefix("./") for line in lines}
    assert not [line for line in lines if "/etc/" in line], "the configuration is the operator's"
    assert "Package: countersign" in run("dpkg-deb", "--info", package)


def test_package_runs(repository: Path, installed: Path, control: Path, tmp_path: Path) -> None:
    """The unpacked binary makes a tenant from the unpacked example."""
    run("md5sum", "--check", "--quiet", control / "md5sums", cwd=installed)
    binary = installed / "usr/bin/countersign"
    assert cli("--version", binary=binary).ok().out == f"countersign {version(repository)}\n"
    example = (installed / "usr/share/countersign/example.toml").read_text()
    config = tmp_path / "countersign.toml"
    config.write_text(example.replace("/var/lib/", f"{tmp_path}/").replace("8470", str(free_port())))
    made = cli("init", "--config", config, "--tenant", "acme", binary=binary).ok()
    assert "log.example.com/v1/tenants/acme/logs/1+" in made.out + made.err
    assert (tmp_path / "countersign/data").is_dir() and (tmp_path / "countersign-guard/guard").exists()


def test_scripts_of_the_package_are_sound(control: Path) -> None:
    """A shell reads them, and none of them removes evidence."""
    for name in ("postinst", "prerm", "postrm"):
        run("sh", "-n", control / name)
        assert not re.search(r"\brm\b|userdel|deluser", re.sub("#.*", "", (control / name).read_text())), name


def test_unit_is_the_one_of_the_page(repository: Path, installed: Path, tmp_path: Path) -> None:
    """It starts the packaged binary, and systemd finds nothing wrong with it."""
    unit = (installed / "usr/lib/systemd/system/countersign.service").read_text()
    page = (repository / "docs/operate/countersign.service").read_text()
    assert unit.splitlines()[1:] == page.replace("/usr/local/bin/", "/usr/bin/").splitlines()[1:]
    documentation = re.search(r"^Documentation=file:/(.*)$", unit, re.M)
    assert documentation and (installed / documentation[1]).is_file()
    needs("systemd-analyze")
    copy = tmp_path / "countersign.service"
    copy.write_text(unit.replace("=/usr/bin/", f"={installed}/usr/bin/"))
    told = run("systemd-analyze", "verify", "--man=no", copy)
    assert "countersign" not in told, told


def test_manual_has_every_command(installed: Path) -> None:
    """Those that `--help` lists."""
    text = gzip.decompress((installed / "usr/share/man/man1/countersign.1.gz").read_bytes()).decode().replace("\\-", "-")
    listed = re.findall(r"^  ([a-z-]+) ", cli("--help").ok().out.split("Commands:")[1].split("\n\n")[0], re.M)
    assert len(listed) > 10 and all(f".B {name}\n" in text for name in listed), text
    assert "@" not in text


def test_licences_of_what_is_linked(installed: Path, parts: dict[str, Any]) -> None:
    """The text has every package of the list that is linked, and the licences of the C and C++ sources in them."""
    text = (installed / "usr/share/doc/countersign/third-party-licences.txt").read_text()
    assert not [notice for notice in NOTICES if notice not in text]
    assert "Permission is hereby granted" in text and "Redistribution and use in source and binary forms" in text
    named = set(re.findall(r"^(\S+ \S+): ", text.split("-" * 100)[0], re.M))
    listed = {f"{part['name']} {part['version']}" for part in parts["components"]}
    assert len(named) > 100 and named <= listed, named - listed


def test_parts_are_cyclonedx(parts: dict[str, Any]) -> None:
    """By the schema that is published for its version."""
    schemas = {
        name: json.loads((files("cyclonedx.schema._res") / f"{name}.SNAPSHOT.schema.json").read_text())
        for name in (f"bom-{parts['specVersion']}", "spdx", "jsf-0.82")
    }
    registry = referencing.Registry().with_resources(
        (schema["$id"], referencing.Resource.from_contents(schema)) for schema in schemas.values()
    )
    check = jsonschema.Draft7Validator(schemas[f"bom-{parts['specVersion']}"], registry=registry)
    assert not [f"{wrong.json_path}: {wrong.message}" for wrong in check.iter_errors(parts)]
    assert list(check.iter_errors(parts | {"bomFormat": "another"})), "the schema judges nothing"


def test_parts_are_those_of_the_lock_file(repository: Path, release: Path, parts: dict[str, Any]) -> None:
    """Each with its version and checksum; of the tests' packages none, and no path of the machine that made it."""
    lock = tomllib.loads((repository / "Cargo.lock").read_text())["package"]
    locked = {(one["name"], one["version"]): one.get("checksum") for one in lock}
    listed = {(part["name"], part["version"]): part for part in parts["components"]}
    assert set(listed) <= set(locked)
    names = {name for name, _ in listed}
    assert {"librocksdb-sys", "ring", "rocksdb", "slack-morphism", "tokio"} <= names
    assert not {"ct-merkle", "proptest", "stateright", "tempfile"} & names
    for one in ("rocksdb", "tokio"):
        (found,) = [part for (name, _), part in listed.items() if name == one]
        assert {"alg": "SHA-256", "content": locked[one, found["version"]]} in found["hashes"]
    assert parts["metadata"]["component"]["version"] == version(repository)
    for path in (*release.glob("*.txt"), *release.glob("*.cdx.json")):
        assert str(Path.home()) not in path.read_text() and str(repository) not in path.read_text(), path


def test_list_in_the_binary_is_the_same(installed: Path, parts: dict[str, Any], tmp_path: Path) -> None:
    """Of a binary that `scripts/release` built: what a scanner reads from it."""
    binary = installed / "usr/bin/countersign"
    if ".dep-v0" not in run("objdump", "-h", binary):
        pytest.skip("this binary holds no list: it was not built by scripts/release")
    run("objcopy", "--dump-section", f".dep-v0={tmp_path / 'list'}", binary, tmp_path / "copy")
    packages = json.loads(zlib.decompress((tmp_path / "list").read_bytes()))["packages"]
    linked = {(one["name"], one["version"]) for one in packages if one.get("kind", "runtime") == "runtime"}
    assert len(linked) > 100
    assert linked - {(part["name"], part["version"]) for part in parts["components"]} <= {("api", parts["metadata"]["component"]["version"])}


def test_release_names_the_oldest_processor(release: Path, installed: Path) -> None:
    """In the binary, where the system's loader reads it and refuses an older one; and in the facts beside it."""
    binary = installed / "usr/bin/countersign"
    (facts,) = release.glob("*.txt")
    told = re.search(r"^processor {7}(\S.*)$", facts.read_text(), re.M)
    needed = re.search(r"x86 ISA needed: .*(x86-64-\w+)", run("readelf", "-nW", binary))
    assert told and told[1] == (needed[1] if needed else "any of this architecture")
    if ".dep-v0" in run("objdump", "-h", binary) and platform.machine() == "x86_64":
        assert told[1] == "x86-64-v2"


def test_same_input_gives_the_same_bytes(repository: Path, release: Path, tmp_path: Path) -> None:
    """Packaged again, later, from another folder: the same checksums."""
    again = tmp_path / "again"
    os.symlink(countersign_bin(), tmp_path / "binary")
    run(repository / "scripts/release", "--binary", "binary", "again", cwd=tmp_path)
    assert (again / "SHA256SUMS").read_text() == (release / "SHA256SUMS").read_text()


def test_release_refuses(repository: Path, tmp_path: Path) -> None:
    """A folder in the checkout, a folder with something in it, another program, no folder."""
    script = repository / "scripts/release"
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    assert "is in the checkout" in run(script, "--binary", countersign_bin(), repository / "out", code=65)
    assert "is not empty" in run(script, "--binary", countersign_bin(), tmp_path / "full", code=65)
    assert "is not version" in run(script, "--binary", shutil.which("strip"), tmp_path / "new", code=65)
    assert "scripts/release FOLDER" in run(script, code=64)
    assert not (repository / "out").exists() and not (tmp_path / "new").exists()
