"""What others build on, as lines: hooks, records, public names and their arguments.

The file ``interface.txt`` beside this module holds the lines as they were announced last. After a
change that users were told about in a news fragment::

    python -m tests.project.interface changelog.d/+few-words.added.md

writes it anew. A change that could break somebody's code needs a fragment that is called
``changed`` or ``removed``.
"""

from __future__ import annotations

import dataclasses
import enum
import importlib
import inspect
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from trireme_collector import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parents[2]
SNAPSHOT = Path(__file__).with_name("interface.txt")
OWN = ("trireme_collector", "trireme_datapath")
BREAKING_KINDS = {"changed", "removed"}
MODULES = (
    "trireme_collector",
    "trireme_collector.aggregation",
    "trireme_collector.collector",
    "trireme_collector.config",
    "trireme_collector.delivery",
    "trireme_collector.errors",
    "trireme_collector.exit_codes",
    "trireme_collector.filters",
    "trireme_collector.formats",
    "trireme_collector.hashing",
    "trireme_collector.hookspecs",
    "trireme_collector.http_client",
    "trireme_collector.option_files",
    "trireme_collector.option_formats",
    "trireme_collector.option_secrets",
    "trireme_collector.pipeline",
    "trireme_collector.records",
    "trireme_collector.registry",
    "trireme_collector.testing",
    "trireme_collector.testing.strategies",
    "trireme_datapath.backends.fake",
    "trireme_datapath.backends.netlink",
    "trireme_datapath.backends.replay",
    "trireme_datapath.datapath",
    "trireme_datapath.engine",
    "trireme_datapath.kernel.install",
    "trireme_datapath.kernel.rules",
    "trireme_datapath.packets",
    "trireme_datapath.policy",
    "trireme_datapath.policy.model",
    "trireme_datapath.processes.supervisor",
    "trireme_datapath.record_stream",
    "trireme_datapath.testing",
    "trireme_datapath.testing.strategies",
)


class Difference(NamedTuple):
    """How an interface differs from the one that was announced."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    breaking: tuple[str, ...]

    def __str__(self) -> str:
        groups = (("added", self.added), ("removed", self.removed), ("changed", self.changed))
        return "\n".join(f"  {word}: {line}" for word, lines in groups for line in lines)


def describe() -> dict[str, str]:
    """Describe every public name: a line for each, and for each argument and field of it."""
    found: dict[str, str] = {}
    first: dict[int, str] = {}
    for name in MODULES:
        module = importlib.import_module(name)
        for public in sorted(module.__all__):
            path = f"{name}.{public}"
            value: object = getattr(module, public)
            if isinstance(value, ModuleType):
                found[path] = "module"
            elif callable(value) and id(value) in first:
                found[path] = f"is {first[id(value)]}"
            else:
                first[id(value)] = path
                found.update(_describe(path, value))
    return found


def compare(old: Mapping[str, str], new: Mapping[str, str]) -> Difference:
    """Compare two interfaces; additions that callers must know about are breaking, too."""
    added = tuple(f"{path}: {new[path]}" for path in sorted(new.keys() - old.keys()))
    removed = tuple(sorted(old.keys() - new.keys()))
    both = sorted(old.keys() & new.keys())
    changed = tuple(
        f"{path}: {old[path]} -> {new[path]}" for path in both if old[path] != new[path]
    )
    required = tuple(
        f"{path} is required"
        for path in sorted(new.keys() - old.keys())
        if re.search(r"[(\[]", path) and " = " not in new[path] and _owner(path) in old
    )
    return Difference(added, removed, changed, (*removed, *changed, *required))


def read_snapshot() -> tuple[dict[str, str], dict[str, str]]:
    """Read the lines that were announced, and with what."""
    head: dict[str, str] = {}
    lines: dict[str, str] = {}
    for line in SNAPSHOT.read_text(encoding="utf-8").splitlines():
        target = head if line.startswith("# ") else lines
        path, _, text = line.removeprefix("# ").partition(": ")
        target[path] = text
    return head, lines


def announce(fragment: Path) -> str:
    """Write the snapshot anew, if a news fragment tells of the change.

    Raises:
        ValueError: There is no such fragment, or it is of the wrong kind.
    """
    new = describe()
    old = read_snapshot()[1] if SNAPSHOT.exists() else {}
    difference = compare(old, new)
    kind = fragment.name.split(".")[-2]
    if not fragment.is_file() or fragment.parent.name != "changelog.d":
        msg = f"{fragment} is no news fragment: write one into changelog.d first"
        raise ValueError(msg)
    if difference.breaking and kind not in BREAKING_KINDS:
        lines = "\n".join(f"  {line}" for line in difference.breaking)
        msg = f"this could break somebody's code; the fragment must be changed or removed:\n{lines}"
        raise ValueError(msg)
    head = f"# version: {__version__}\n# news: {fragment.name}\n"
    body = "".join(f"{path}: {text}\n" for path, text in sorted(new.items()))
    SNAPSHOT.write_text(head + body, encoding="utf-8")
    return str(difference)


def _owner(path: str) -> str:
    return re.split(r"[(\[]", path)[0]


def _describe(path: str, value: object) -> dict[str, str]:
    if isinstance(value, type):
        return _describe_class(path, value)
    if inspect.isroutine(value):
        return _describe_callable(path, value, "function")
    if isinstance(value, (str, int, float, bytes)):
        return {path: f"constant {value!r}"}
    return {path: "constant"}


def _describe_class(path: str, kind: type) -> dict[str, str]:
    if issubclass(kind, enum.Enum):
        words = {f"{path}.{member.name}": f"word {member.value!r}" for member in kind}
        return {path: "enum", **words}
    if issubclass(kind, msgspec.Struct):
        config = kind.__struct_config__
        tag = f" {config.tag_field}={config.tag}" if config.tag else ""
        frozen = " frozen" if config.frozen else ""
        found = {path: f"struct{tag}{frozen}"}
        fields = _struct_fields(kind)
    elif dataclasses.is_dataclass(kind):
        found = {path: "dataclass"}
        fields = _dataclass_fields(kind)
    elif issubclass(kind, tuple) and hasattr(kind, "_fields"):
        found = {path: "named tuple"}
        types = inspect.get_annotations(kind)
        fields = ((name, f"{types.get(name, '')}") for name in kind._fields)
    else:
        found = {path: "class"}
        found.update(_arguments(path, kind))
        fields = iter(())
    by_name = _is_by_name_only(kind)
    for number, (name, text) in enumerate(fields):
        found[f"{path}[{name}]" if by_name else f"{path}[{number:02} {name}]"] = text
    for name, member in _members(kind):
        if isinstance(member, property):
            found[f"{path}.{name}"] = "property"
        elif isinstance(member, (classmethod, staticmethod)):
            word = type(member).__name__
            found.update(_describe_callable(f"{path}.{name}", member.__func__, word))
        elif inspect.isfunction(member):
            found.update(_describe_callable(f"{path}.{name}", member, "method"))
    return found


def _is_by_name_only(kind: type) -> bool:
    """Whether the order of its fields means nothing to anybody; in records, they are written so."""
    if kind.__module__.startswith("trireme_collector.records"):
        return False
    is_made_of_fields = issubclass(kind, msgspec.Struct) or dataclasses.is_dataclass(kind)
    return is_made_of_fields and not getattr(kind, "__match_args__", ())  # those with a place


def _members(kind: type) -> Iterator[tuple[str, object]]:
    """Give the public members that a class, or one of its bases of ours, defines."""
    seen: dict[str, object] = {}
    for one in kind.__mro__:
        if one.__module__.startswith(OWN):
            for name, member in vars(one).items():
                if not name.startswith("_"):
                    seen.setdefault(name, member)
    return iter(sorted(seen.items()))


def _struct_fields(kind: type[msgspec.Struct]) -> Iterator[tuple[str, str]]:
    types: dict[str, object] = {}
    for one in reversed(kind.__mro__):
        types.update(inspect.get_annotations(one))
    defaults = (msgspec.NODEFAULT,) * len(kind.__struct_fields__) + kind.__struct_defaults__
    pairs = zip(
        kind.__struct_fields__,
        kind.__struct_encode_fields__,
        defaults[-len(kind.__struct_fields__) :] if kind.__struct_fields__ else (),
        strict=True,
    )
    for name, encoded, default in pairs:
        spelled = "" if name == encoded else f" as {encoded}"
        given = "" if default is msgspec.NODEFAULT else f" = {_value(default)}"
        yield name, f"{types[name]}{spelled}{given}"


def _dataclass_fields(kind: type) -> Iterator[tuple[str, str]]:
    for field in dataclasses.fields(kind):
        given = ""
        if field.default is not dataclasses.MISSING:
            given = f" = {_value(field.default)}"
        elif field.default_factory is not dataclasses.MISSING:
            given = " = ..."
        yield field.name, f"{field.type}{given}"


def _describe_callable(path: str, function: object, word: str) -> dict[str, str]:
    result = inspect.get_annotations(function).get("return", "")  # type: ignore[arg-type]  # it is a function
    return {path: f"{word} -> {result}", **_arguments(path, function)}


def _arguments(path: str, function: object) -> dict[str, str]:
    try:
        signature = inspect.signature(function)  # type: ignore[arg-type]  # it is a function or a class
    except (TypeError, ValueError):
        return {}
    found = {}
    for number, parameter in enumerate(signature.parameters.values()):
        if parameter.name == "self":
            continue
        is_placed = parameter.kind in {parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD}
        place = f"{number} " if is_placed else {3: "", 2: "*", 4: "**"}[parameter.kind]
        kind = "" if parameter.annotation is parameter.empty else str(parameter.annotation)
        given = "" if parameter.default is parameter.empty else f" = {_value(parameter.default)}"
        if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}:
            given = " = any"
        found[f"{path}({place}{parameter.name})"] = kind + given
    return found


def _value(value: object) -> str:
    """Write a default as every version of Python does."""
    if isinstance(value, enum.Enum):
        return f"{type(value).__name__}.{value.name}"
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        return repr(value)
    if value is msgspec.UNSET:
        return "UNSET"
    if isinstance(value, (tuple, list)):
        return f"{type(value).__name__}({', '.join(map(_value, value))})"
    if isinstance(value, (set, frozenset)):
        return f"{type(value).__name__}({', '.join(sorted(map(_value, value)))})"
    if isinstance(value, dict):
        pairs = (f"{_value(key)}: {_value(one)}" for key, one in value.items())
        return f"dict({', '.join(pairs)})"
    if isinstance(value, msgspec.Struct):
        given = zip(value.__struct_fields__, msgspec.structs.astuple(value), strict=True)
        return f"{type(value).__name__}({', '.join(f'{name}={_value(x)}' for name, x in given)})"
    made_by = getattr(value, "factory", value)  # of msgspec, for values that are made anew
    name = str(getattr(made_by, "__name__", "_"))
    return "..." if name.startswith("_") else name


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        sys.stdout.write(announce(Path(sys.argv[1])) + "\n")
    except ValueError as problem:
        sys.exit(str(problem))
