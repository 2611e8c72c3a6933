"""What options a collector has, read from its configuration type."""

from __future__ import annotations

import inspect as python_inspect
import re
import textwrap

import msgspec
from msgspec import inspect

from trireme_collector.strict_toml import REDACTED_WORDS

__all__ = ["Option", "describe_options"]

_SECTION = re.compile(r"^[A-Z][A-Za-z ]*:\s*$")
_ENTRY = re.compile(r"^(\w+)(?: \([^)]*\))?: ?(.*)$")


class Option(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One option of a collector.

    Attributes:
        name: The key in the configuration file.
        type: What the value may be, in words.
        required: Whether there is no default.
        default: The default as TOML writes it, empty when there is none.
        help: What it does.
    """

    name: str
    type: str
    required: bool
    default: str = ""
    help: str = ""


def describe_options(config_type: type[msgspec.Struct]) -> tuple[Option, ...]:
    """List the options of a configuration type in the order of its fields."""
    kind = inspect.type_info(config_type)
    if not isinstance(kind, inspect.StructType):
        return ()
    documented = _attributes_of(config_type)
    return tuple(
        Option(
            name=field.encode_name,
            type=_name_type(field.type),
            required=field.required,
            default="" if field.required else _default(field),
            help=_description(field.type) or documented.get(field.name, ""),
        )
        for field in kind.fields
    )


def _default(field: inspect.Field) -> str:
    value = field.default
    if value is msgspec.NODEFAULT:
        value = field.default_factory() if field.default_factory is not msgspec.NODEFAULT else None
    if value is None or value is msgspec.UNSET:
        return ""
    if value and any(word in field.name.lower() for word in REDACTED_WORDS):
        return "(not shown)"
    return msgspec.json.encode(value, enc_hook=str).decode()


def _name_type(kind: inspect.Type) -> str:
    match kind:
        case inspect.Metadata():
            expected = (kind.extra or {}).get("expected")
            return str(expected) if expected else _name_type(kind.type)
        case inspect.UnionType():
            names = [_name_type(t) for t in kind.types if not isinstance(t, inspect.NoneType)]
            return " or ".join(dict.fromkeys(names))
        case inspect.EnumType():
            return _choices([member.value for member in kind.cls])
        case inspect.LiteralType():
            return _choices(kind.values)
        case inspect.IntType() | inspect.FloatType():
            return _number(kind)
        case inspect.ListType() | inspect.VarTupleType() | inspect.SetType():
            return f"array of {_name_type(kind.item_type)}"
        case inspect.FrozenSetType():
            return f"array of {_name_type(kind.item_type)}"
    words: tuple[tuple[type[inspect.Type], str], ...] = (
        (inspect.BoolType, "true or false"),
        (inspect.StrType, "string"),
        (inspect.DictType, "table"),
        (inspect.StructType, "table"),
    )
    return next((word for known, word in words if isinstance(kind, known)), "value")


def _number(kind: inspect.IntType | inspect.FloatType) -> str:
    name = "integer" if isinstance(kind, inspect.IntType) else "number"
    if kind.ge is not None and kind.le is not None:
        return f"{name} from {kind.ge} to {kind.le}"
    limits = (
        ("at least", kind.ge),
        ("above", kind.gt),
        ("at most", kind.le),
        ("below", kind.lt),
    )
    said = " and ".join(f"{words} {limit}" for words, limit in limits if limit is not None)
    return f"{name} {said}".rstrip()


def _choices(values: object) -> str:
    listed = values if isinstance(values, (list, tuple)) else ()
    return ", ".join(msgspec.json.encode(value).decode() for value in listed)


def _description(kind: inspect.Type) -> str:
    if isinstance(kind, inspect.Metadata):
        text = (kind.extra_json_schema or {}).get("description")
        return str(text) if text else _description(kind.type)
    return ""


def _attributes_of(config_type: type) -> dict[str, str]:
    """Read the ``Attributes:`` sections of a type and its bases; the nearest class wins."""
    found: dict[str, str] = {}
    for kind in config_type.__mro__:
        if kind.__doc__ and kind is not msgspec.Struct:
            for name, text in _attributes(python_inspect.cleandoc(kind.__doc__)).items():
                found.setdefault(name, text)
    return found


def _attributes(docstring: str) -> dict[str, str]:
    head, separator, section = docstring.partition("Attributes:\n")
    del head
    if not separator:
        return {}
    lines = []
    for line in section.splitlines():
        if _SECTION.match(line):
            break
        lines.append(line)
    found: dict[str, str] = {}
    name = ""
    for line in textwrap.dedent("\n".join(lines)).splitlines():
        match = _ENTRY.match(line)
        if match:
            name = match[1]
            found[name] = match[2]
        elif name and line.strip():
            found[name] = f"{found[name]} {line.strip()}".strip()
    return found
