"""What ARCHITECTURE.md says of the house is true: which room names which foreign crate, nothing goes in circles, who reads files,
environment and clock, how long a file may be.

The lists are in `support/rooms.py`. The sources are read as text (`support/sources.py`); nothing is built.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest
from support.rooms import (
    ALONE, ANYWHERE, CIRCLES, CLOCK, ENVIRONMENT, FILES, LONG, ROOM_CIRCLES, TOWER, UNNAMED,
)  # fmt: skip
from support.sources import PROSE, House, Module, circles, shortest_circle

ROOT = Path(__file__).parent.parent

#: The paths and methods by which they are known.
FILE_PATHS = (("std", "fs"), ("tokio", "fs"), ("rustix", "fs"))
FILE_METHODS = re.compile(r"\.(?:exists|try_exists|is_file|is_dir|is_symlink|symlink_metadata|canonicalize|read_dir|read_link)\(\)")
ENVIRONMENT_PATHS = (("std", "env"),)
CLOCK_PATHS = (("std", "time", "SystemTime"), ("chrono", "Utc", "now"), ("chrono", "Local", "now"), ("rustix", "time"))
#: Our own reading of the clock; who calls it reads the clock.
OUR_CLOCK = ("clock", "wall_clock")

LINES_MAX = 400


@pytest.fixture(scope="module")
def house() -> House:
    """The sources."""
    return House(ROOT)


def is_in(name: str, rooms: Iterable[str]) -> bool:
    """Whether a module is one of these rooms or a part of one. The name of a crate alone stands for all of it."""
    return any(f"{name}/".startswith(f"{room}/") for room in rooms)


def compare(found: Iterable[str], listed: Iterable[str], new: str, gone: str) -> None:
    """Both are the same; else says what to do about each."""
    found, listed = set(found), set(listed)
    told = [f"{new}: {name}" for name in sorted(found - listed)] + [f"{gone}: {name}" for name in sorted(listed - found)]
    assert not told, "\n".join(told)


# Crates


def test_crates_form_a_tower(house: House) -> None:
    """Each crate depends on those below it alone."""
    ours = {crate: set(manifest["dependencies"]) & set(house.crates) for crate, manifest in house.manifests.items()}
    assert circles(ours) == []
    assert ours == TOWER, "a crate depends on another one than before: change TOWER and ARCHITECTURE.md, if that is meant"


def test_one_room_alone_names_each_foreign_crate(house: House) -> None:
    """A foreign system has one room, so that it can be replaced there."""
    for crate, manifest in house.manifests.items():
        for dependency in {name.replace("-", "_") for name in manifest["dependencies"]} - set(house.crates) - ANYWHERE:
            names = {module.name for module in house.modules if module.place[0] == crate and named(module, dependency)}
            rooms = {room for room in ALONE.get(dependency, ()) if is_in(room, [crate])}
            strangers = {name for name in names if not is_in(name, rooms)}
            assert not strangers, f"{sorted(strangers)} name {dependency}: let {sorted(rooms) or 'one room'} do it, or list them in ALONE"
            idle = {room for room in rooms if not any(is_in(name, [room]) for name in names)}
            assert not idle, f"{sorted(idle)} no longer name {dependency}: take them out of ALONE"
            if (crate, dependency) in UNNAMED:
                assert not names, f"{sorted(names)} name {dependency}: take it out of UNNAMED"
            else:
                assert names, f"no module of {crate} names {dependency}: remove it from crates/{crate}/Cargo.toml"
    known = {name.replace("-", "_") for manifest in house.manifests.values() for name in manifest["dependencies"]}
    gone = {*ALONE, *(dependency for _, dependency in UNNAMED)} - known
    assert not gone, f"no crate depends on {sorted(gone)} any more: take them out of ALONE and UNNAMED"


def named(module: Module, dependency: str) -> bool:
    """Whether a module names a foreign crate."""
    return any(path[0] == dependency for path in module.full_paths)


def test_what_architecture_says_of_foreign_crates() -> None:
    """`x` alone names y: as listed here."""
    said = re.findall(r"`([\w/]+)` \(?alone names ([\w-]+)", (ROOT / "ARCHITECTURE.md").read_text())
    assert len(said) > 3
    for room, dependency in said:
        rooms = ALONE[dependency.replace("-", "_")]
        assert len(rooms) == 1 and next(iter(rooms)).endswith(f"/{room.strip('/')}"), f"{room} and {dependency}: {rooms}"


# Circles


def test_no_new_circle_of_files(house: House) -> None:
    """Files are read from the bottom up."""
    hold(circles(house.arrows), CIRCLES, "CIRCLES", house.arrows)


def test_no_new_circle_of_rooms(house: House) -> None:
    """So are the rooms of a crate."""
    arrows: dict[str, set[str]] = {}
    for name, others in house.arrows.items():
        room = "/".join(name.split("/")[:2])
        arrows.setdefault(room, set()).update({"/".join(other.split("/")[:2]) for other in others} - {room})
    hold(circles(arrows), ROOM_CIRCLES, "ROOM_CIRCLES", arrows)


def hold(found: list[set[str]], listed: list[set[str]], title: str, arrows: dict[str, set[str]]) -> None:
    """Each circle is a listed one, and no listed one has become smaller without leaving the list."""
    for group in found:
        known = max(listed, key=lambda one: len(one & group), default=set())
        new = sorted(group - known)
        # In no circle until now: so the arrow that is new is in any circle of theirs.
        begin = sorted(set(new).difference(*listed)) or new
        ways = sorted((shortest_circle(arrows, group, one) for one in begin), key=len)
        do = "cut one of these arrows, or move what both ends need into a room below them"
        assert not new, f"a new circle: {' -> '.join(ways[0])}\n{do}; new in a circle: {', '.join(new)}"
    for group in listed:
        left = max(found, key=lambda one: len(one & group), default=set())
        assert group <= left, f"no longer in the circle, so take them out of {title}: {', '.join(sorted(group - left))}"


# Files, environment, clock


def reads(house: House, paths: Iterable[tuple[str, ...]], methods: re.Pattern[str] | None = None) -> set[str]:
    """The modules that name one of the paths, or call one of the methods."""
    return {
        module.name for module in house.modules
        if any(path[: len(one)] == one for path in module.full_paths for one in paths) or methods and methods.search(module.code)
    }  # fmt: skip


def test_who_reads_files(house: House) -> None:
    """All other modules get what they need."""
    do = "touches files; let the caller do it, or list it in FILES with a reason"
    compare(reads(house, FILE_PATHS, FILE_METHODS), FILES, do, "no longer touches files, so take it out of FILES")


def test_who_reads_the_environment(house: House) -> None:
    """All else is configured by the file."""
    do = "reads the environment; make it a key of the configuration, or list it in ENVIRONMENT with a reason"
    gone = "no longer reads the environment, so take it out of ENVIRONMENT"
    compare(reads(house, ENVIRONMENT_PATHS), ENVIRONMENT, do, gone)


def test_who_reads_the_clock(house: House) -> None:
    """All other modules are given the time."""
    by_us = {module.name for module in house.modules if any(path[-2:] == OUR_CLOCK for path in module.full_paths)}
    do = "reads the clock; take the time as an argument, or list it in CLOCK with a reason"
    compare(reads(house, CLOCK_PATHS) | by_us, CLOCK, do, "no longer reads the clock, so take it out of CLOCK")


# ARCHITECTURE.md


def test_architecture_names_every_room(house: House) -> None:
    """Its tables have every module that is a room of its own, and none that is not there."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    for crate, top in house.crates.items():
        table = re.search(rf"^`crates/{crate}`.*?\n\|[^\n]*\n\|---[^\n]*\n(.*?)\n\n", text, re.M | re.S)
        assert table, f"ARCHITECTURE.md has no table of the rooms of {crate}"
        names = [name for row in table[1].splitlines() for name in listed_in(row.split("|")[1])]
        missing = [name for name in names if not is_there(top, name)]
        assert not missing, f"ARCHITECTURE.md names modules of {crate} that are not there: {missing}"
        left_out = set(top.parts) - {name.split("/")[0] for name in names}
        assert not left_out, f"ARCHITECTURE.md says nothing of these modules of {crate}: {sorted(left_out)}"


def listed_in(cell: str) -> list[str]:
    """The modules of a table's cell: `log/{merkle,tile}`, `post/`, `seal`."""
    found: list[str] = []
    for name in re.findall(r"`([^`]+)`", cell):
        room, brace, parts = name.rstrip("/").partition("/{")
        found += [f"{room}/{part}" for part in parts.rstrip("}").split(",")] if brace else [room]
    return found


def is_there(top: Module, name: str) -> bool:
    """Whether a crate has this module."""
    for part in name.split("/"):
        if part not in top.parts:
            return False
        top = top.parts[part]
    return True


# Files and functions


def sources() -> list[Path]:
    """All code of ours."""
    return sorted([*ROOT.glob("crates/**/*.rs"), *ROOT.glob("tests/**/*.py")])


def test_files_are_short() -> None:
    """Under 400 lines; a longer one gets no longer."""
    found = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in sources()}
    long = {name: lines for name, lines in found.items() if lines >= LINES_MAX}
    told = []
    for name in sorted({*long, *LONG}):
        now, before = long.get(name), LONG.get(name)
        if before is None:
            told.append(f"{name} has {now} lines: move a part of it to a file of its own")
        elif now is None:
            told.append(f"{name} has less than {LINES_MAX} lines now: take it out of LONG")
        elif now > before:
            told.append(f"{name} has {now} lines, {now - before} more than before: move a part of it to a file of its own")
        elif now < before:
            told.append(f"{name} has {now} lines now: write {now} in LONG, so that it gets no longer again")
    assert not told, "\n".join(told)


def test_test_files_have_names_of_their_own() -> None:
    """pytest can't tell two files of one name apart, whatever their folders."""
    names = Counter(path.name for path in ROOT.glob("tests/**/test_*.py"))
    twice = [name for name, count in names.items() if count > 1]
    assert not twice, f"rename one of each: {twice}"


def test_functions_are_short() -> None:
    """clippy counts 70 lines, and nobody is excused."""
    assert "too-many-lines-threshold = 70\n" in (ROOT / "clippy.toml").read_text()
    assert manifest_of_all()["lints"]["clippy"]["too_many_lines"] in ("warn", "deny")
    excused = [str(path.relative_to(ROOT)) for path in ROOT.glob("crates/**/*.rs") if "too_many_lines" in path.read_text()]
    assert not excused, f"take the function apart instead of excusing it: {excused}"


def test_nothing_is_unsafe(house: House) -> None:
    """The compiler forbids it in each crate, and no code has the word."""
    assert manifest_of_all()["lints"]["rust"]["unsafe_code"] == "forbid"
    for crate, manifest in house.manifests.items():
        assert manifest["lints"] == {"workspace": True}, f"crates/{crate}/Cargo.toml: its lints must be those of the workspace"
    has = [str(path.relative_to(ROOT)) for path in ROOT.glob("crates/**/*.rs") if re.search(r"\bunsafe\b", PROSE.sub("", path.read_text()))]
    assert not has, f"use a crate that does it safely: {has}"


def manifest_of_all() -> dict[str, dict[str, dict[str, object]]]:
    """The workspace's part of Cargo.toml."""
    return dict(tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"])


def test_room_files_have_one_style() -> None:
    """A room is `room.rs` beside the folder `room/`."""
    found = [str(path.relative_to(ROOT)) for path in ROOT.glob("crates/*/src/**/mod.rs")]
    assert not found, "call it like its folder, beside it"


def test_the_key_table_is_complete() -> None:
    """`store.rs` names every family and every key of `meta` that the sources write, and no other."""
    text = (ROOT / "crates/ledger/src/store.rs").read_text()
    rows = re.findall(r'^//! \| `(\w+)` \| `(?:"(\w+)")?', text, re.MULTILINE)
    compare(
        re.findall(r'\(Self::\w+, "(\w+)"\)', text), (family for family, _ in rows),
        "a family without a row in the key table", "a row of the key table without a family",
    )  # fmt: skip
    sources = [path.read_text() for path in ROOT.glob("crates/*/src/**/*.rs") if path.name != "tests.rs"]
    constants = {name: value for source in sources for name, value in re.findall(r'const (\w+): &(?:str|\[u8\]) = b?"(\w+)";', source)}
    written = {name.strip('"') if name.startswith('"') else constants[name] for source in sources for name in re.findall(r'\.meta\(("\w+"|[A-Z_]+)\)', source)}
    # Those that belong to no log.
    written |= {"format", constants["LOG_PREFIX"], constants["OPERATOR"]}
    compare(written, (key for _, key in rows if key), "a key of `meta` without a row in the key table", "a row for a key that nothing writes")


# How the sources are read


SAMPLE = {
    "lib.rs": "//! rocksdb::Db\npub mod a;\npub mod b;\n#[cfg(test)]\nmod tests;\n",
    "a.rs": """
mod part;
pub use part::{Thing, other as renamed};
use std::{fs::{self, File}, io};
// use crate::c::X;
fn quote<'a>(x: &'a str) -> char { let s = "crate::b::f {"; let r = r#"rocksdb::"Db"#; '{' }
#[cfg(test)]
mod tests { use crate::b::x; fn f() { x(&[1; 2]) } }
fn after() { ::zip::x(); fs::read(File::open(io::stdin())) }
""",
    "a/part.rs": "pub struct Thing; pub fn other() { super::after(); crate::b::f() }",
    "b.rs": "use crate::a::{renamed, Thing};\npub fn f() { renamed() }",
    "tests.rs": "use crate::a;",
}


def test_sources_are_read_as_the_compiler_reads_them(tmp_path: Path) -> None:
    """Names in comments, quotes and tests count for nothing; a name that is passed on counts where it is defined."""
    source = tmp_path / "crates/ours/src"
    for name, text in SAMPLE.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(text)
    (tmp_path / "crates/ours/Cargo.toml").write_text("[dependencies]\n")
    house = House(tmp_path)
    assert [module.name for module in house.modules] == ["ours/lib", "ours/a", "ours/b", "ours/a/part"]
    assert house.arrows == {"ours/lib": set(), "ours/a": {"ours/a/part"}, "ours/a/part": {"ours/b"}, "ours/b": {"ours/a/part"}}
    assert circles(house.arrows) == [{"ours/a/part", "ours/b"}]
    names = lambda crate: [module.name for module in house.modules if named(module, crate)]  # noqa: E731
    assert names("rocksdb") == [] and names("zip") == ["ours/a"]
    assert reads(house, FILE_PATHS) == {"ours/a"}
    with pytest.raises(AssertionError, match="a new circle: ours/a/part -> ours/b -> ours/a/part\n"):
        hold(circles(house.arrows), [], "CIRCLES", house.arrows)
    with pytest.raises(AssertionError, match="take them out of CIRCLES: ours/c"):
        hold(circles(house.arrows), [{"ours/a/part", "ours/b", "ours/c"}], "CIRCLES", house.arrows)
