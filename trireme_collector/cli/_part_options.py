"""Options of sources and sinks: a table of a file, or words of the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import msgspec
from msgspec import inspect

from trireme_collector.errors import ConfigError
from trireme_collector.strict_toml import load_document, parse_document

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trireme_collector.strict_toml import Document

__all__ = ["read_part_options"]

ConfigT = TypeVar("ConfigT", bound=msgspec.Struct)


def read_part_options(
    kind: type[ConfigT], table: str, path: str | None, words: Sequence[str]
) -> ConfigT:
    """Read the options of a part.

    Args:
        kind: Their type.
        table: The table of the file, which is also the name of the option for words.
        path: A TOML file, or None.
        words: ``KEY=VALUE``; elements of an array are divided by commas.

    Raises:
        ConfigError: They cannot be used; each mistake is listed with its place.
    """
    if path and words:
        msg = f"give --options or --{table}, not both: one of them would be overlooked"
        raise ConfigError(msg)
    if path:
        document = load_document(path)
        read = document.convert((table,), kind) if document.get((table,)) else None
        if read is None and not document.problems:
            msg = f"{path}: there is no table [{table}]"
            raise ConfigError(msg)
    else:
        document = _from_words(kind, table, words)
        read = document.convert((), kind)
    document.raise_problems()
    if read is None:
        msg = f"the options of the {table} cannot be used"
        raise ConfigError(msg)
    return read


def _from_words(kind: type[msgspec.Struct], table: str, words: Sequence[str]) -> Document:
    info = inspect.type_info(kind)
    fields = {f.encode_name: f.type for f in getattr(info, "fields", ())}
    lines = []
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key.strip():
            msg = f"--{table} {word!r}: expected KEY=VALUE"
            raise ConfigError(msg)
        lines.append(f"{_text(key.strip())} = {_value(fields.get(key.strip()), value)}")
    return parse_document("\n".join(lines), f"--{table}")


def _value(kind: inspect.Type | None, value: str) -> str:
    while isinstance(kind, inspect.Metadata):
        kind = kind.type
    if isinstance(kind, inspect.BoolType) and value in {"true", "false"}:
        return value
    if isinstance(kind, (inspect.IntType, inspect.FloatType)) and _is_number(value):
        return value
    if isinstance(kind, inspect.ListType):
        return f"[{', '.join(map(_text, value.split(',')))}]"
    return _text(value)


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _text(value: str) -> str:
    # A string of JSON is a basic string of TOML.
    return msgspec.json.encode(value).decode()
