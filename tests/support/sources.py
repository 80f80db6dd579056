"""The Rust sources, read as text: which modules there are, and what each names. Enough for rules about the house; no compiler."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

#: Comments, and text in quotes: a word in them names nothing. A lifetime (`'a`) is not a quote.
PROSE = re.compile(
    r"""//[^\n]* | /\*.*?\*/ | b?r(?P<hashes>\#*)".*?"(?P=hashes) | [bc]?"(?:\\.|[^"\\])*" | b?'(?:\\[^']+|[^'\\])'""", re.S | re.X
)
#: What is compiled for tests alone.
TEST_ONLY = re.compile(r"#\[cfg\((?:all\()?test\b[^\n]*\]")
#: A path begins in lower case; it may begin with `::`, but not in the middle of one.
PATH = re.compile(r"(?<![\w:.'])(?:::)?([a-z_]\w*(?:::\w+)+)")
USE = re.compile(r"\buse\s+([^;]+);")
MODULE = re.compile(r"\bmod\s+(\w+)\s*;")

#: A module's place: its crate, then its names. `("ledger", "post", "holes")`
Place = tuple[str, ...]


@dataclass
class Module:
    """A file of production code."""

    place: Place
    file: Path
    #: Its code without comments, quoted text and what only tests compile; lines are where they were.
    code: str
    parts: dict[str, "Module"] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """As the lists write it: `ledger/post/holes`; a crate's first file is `ledger/lib` or `api/main`."""
        return "/".join(self.place if self.place[1:] else (*self.place, self.file.stem))

    @cached_property
    def uses(self) -> list[tuple[str, tuple[str, ...]]]:
        """What its `use` lines bring: the name here, and the path it stands for."""
        return [bound for tree in USE.findall(self.code) for bound in branches(tree)]

    @cached_property
    def paths(self) -> set[tuple[str, ...]]:
        """All paths that it names, in `use` lines and elsewhere."""
        elsewhere = PATH.findall(USE.sub("", self.code))
        return {path for _, path in self.uses} | {tuple(path.split("::")) for path in elsewhere}

    @cached_property
    def full_paths(self) -> set[tuple[str, ...]]:
        """The same, where a path that begins with a name from a `use` line begins with what that stands for."""
        bound = dict(self.uses)
        return {(*bound.get(path[0], path[:1]), *path[1:]) for path in self.paths}


def branches(tree: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The leaves of a `use` tree: `a::{b, c::{self, d as e}}` gives `b`, `c` and `e` with their paths."""
    tree = tree.strip()
    head, brace, rest = tree.partition("{")
    before = tuple(part.strip() for part in head.split("::") if part.strip())
    if not brace:
        path, _, other_name = tree.partition(" as ")
        names = tuple(part.strip() for part in path.split("::") if part.strip())
        yield other_name.strip() or names[-1], names
        return
    for branch in split(rest.rpartition("}")[0]):
        for name, path in branches(branch):
            if path == ("self",):
                yield (name if name != "self" else before[-1]), before
            else:
                yield name, before + path


def split(text: str) -> Iterator[str]:
    """The branches between commas that are in no inner braces."""
    depth, begin = 0, 0
    for at, char in enumerate(text):
        depth += (char == "{") - (char == "}")
        if char == "," and depth == 0:
            yield text[begin:at]
            begin = at + 1
    if text[begin:].strip():
        yield text[begin:]


def production(text: str) -> str:
    """Code without comments, quoted text, and what only tests compile. Lines stay where they are."""
    code = PROSE.sub(lambda found: '""' + "\n" * found[0].count("\n"), text)
    while found := TEST_ONLY.search(code):
        end = end_of_item(code, found.end())
        code = code[: found.start()] + "\n" * code.count("\n", found.start(), end) + code[end:]
    return code


def end_of_item(code: str, begin: int) -> int:
    """Where the item ends that begins here: after its `;`, or after its braces."""
    depth = 0
    for at in range(begin, len(code)):
        depth += (code[at] in "([{") - (code[at] in ")]}")
        if depth == 0 and code[at] in ";}":
            return at + 1
    return len(code)


class House:
    """All crates, and what their modules name of each other."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.crates: dict[str, Module] = {}
        self.manifests = {path.parent.name: tomllib.loads(path.read_text()) for path in sorted((root / "crates").glob("*/Cargo.toml"))}
        for crate in self.manifests:
            source = root / "crates" / crate / "src"
            first = source / "lib.rs" if (source / "lib.rs").exists() else source / "main.rs"
            self.crates[crate] = self._read((crate,), first, source)

    def _read(self, place: Place, file: Path, folder: Path) -> Module:
        module = Module(place, file, production(file.read_text()))
        for name in MODULE.findall(module.code):
            own, beside = folder / name / "mod.rs", folder / f"{name}.rs"
            module.parts[name] = self._read((*place, name), own if own.exists() else beside, folder / name)
        return module

    @cached_property
    def modules(self) -> list[Module]:
        """Every module of production code, whole crates first."""
        found = list(self.crates.values())
        for module in found:
            found += module.parts.values()
        return found

    @cached_property
    def arrows(self) -> dict[str, set[str]]:
        """Module → modules that it names. Not those that it is a part of: a part may use what its room defines."""
        return {module.name: {other.name for other in self._named_by(module)} for module in self.modules}

    def _named_by(self, module: Module) -> Iterator[Module]:
        for path in module.paths:
            other = self._find(module, path)
            if other is not None and module.place[: len(other.place)] != other.place:
                yield other

    def _find(self, here: Module, path: tuple[str, ...], depth: int = 0) -> Module | None:
        """The module that defines what a path names; `None` for what is not ours."""
        first, *rest = path
        at: Module | None
        if first in ("crate", "self", "super"):
            at = self.crates[here.place[0]] if first == "crate" else here
            names = [first, *rest] if first == "super" else rest
            while names and names[0] == "super":
                at, names = self._module(at.place[:-1]), names[1:]
            rest = names
        elif first in here.parts:
            at = here.parts[first]
        elif depth < 8 and (bound := dict(here.uses).get(first)) and bound[0] != first:
            return self._find(here, (*bound, *rest), depth + 1)
        else:
            at = self.crates.get(first)
        for number, name in enumerate(rest):
            if at is None:
                return None
            if name in at.parts:
                at = at.parts[name]
                continue
            bound = dict(at.uses).get(name)
            if bound and depth < 8 and (further := self._find(at, (*bound, *rest[number + 1 :]), depth + 1)):
                return further
            return at
        return at

    def _module(self, place: Place) -> Module:
        found = self.crates[place[0]]
        for name in place[1:]:
            found = found.parts[name]
        return found


def circles(arrows: dict[str, set[str]]) -> list[set[str]]:
    """The groups in which each leads to each other along arrows (Tarjan); what is in no circle is left out."""
    numbers: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[set[str]] = []

    def visit(name: str) -> None:
        numbers[name] = lowest[name] = len(numbers)
        stack.append(name)
        for other in sorted(arrows.get(name, ())):
            if other not in numbers:
                visit(other)
            if other in stack:
                lowest[name] = min(lowest[name], lowest[other])
        if lowest[name] == numbers[name]:
            at = stack.index(name)
            group, stack[at:] = set(stack[at:]), []
            if len(group) > 1:
                found.append(group)

    for name in sorted(arrows):
        if name not in numbers:
            visit(name)
    return found


def shortest_circle(arrows: dict[str, set[str]], among: set[str], through: str) -> list[str]:
    """A shortest way from a member of a group along arrows within the group back to it."""
    ways = [[through]]
    seen: set[str] = set()
    for way in ways:
        for other in sorted(arrows[way[-1]] & among):
            if other == through:
                return [*way, other]
            if other not in seen:
                seen.add(other)
                ways.append([*way, other])
    raise ValueError(f"{through} is in no circle")
