"""Selectors of labels, as Kubernetes writes them: ``app=web, tier in (a, b), !old, size>3``.

A label is ``SOURCE:KEY=VALUE``; a selector without a source means any.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Selector: TypeAlias = Callable[[Sequence[str]], bool]

__all__ = ["compile_selector"]

_KEY: Final = r"(?P<key>[A-Za-z0-9](?:[A-Za-z0-9_./:-]{0,300}))"
_VALUE: Final = re.compile(r"[A-Za-z0-9_./:@-]{0,300}")
_SET: Final = re.compile(rf"{_KEY}\s+(?P<operator>in|notin)\s*\((?P<values>[^()]*)\)")
_COMPARISON: Final = re.compile(rf"{_KEY}\s*(?P<operator>==|=|!=|>|<)\s*(?P<values>\S*)")
_EXISTS: Final = re.compile(rf"(?P<operator>!?)\s*{_KEY}(?P<values>)")
_NUMBER: Final = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_ANY_SOURCE: Final = frozenset({"", "any"})


def compile_selector(selector: str) -> Selector:
    """Make a selector a function that takes the labels of an endpoint.

    Raises:
        ValueError: It is none; the message says where.
    """
    requirements = [_requirement(part.strip()) for part in _parts(selector)]
    return lambda labels: all(fits(labels) for fits in requirements)


def _parts(selector: str) -> list[str]:
    """Divide at the commas that are in no parentheses."""
    parts, inside = [""], False
    for character in selector:
        if character == "," and not inside:
            parts.append("")
            continue
        inside = character == "(" or (inside and character != ")")
        parts[-1] += character
    if len(parts) > 1 and not parts[-1].strip():
        raise ValueError("found '', expected: identifier after ','")
    return [part for part in parts if part.strip()]


def _requirement(part: str) -> Selector:
    found = _SET.fullmatch(part) or _COMPARISON.fullmatch(part) or _EXISTS.fullmatch(part)
    if found is None:
        raise ValueError(f"found {part!r}, expected KEY=VALUE, KEY in (VALUES), KEY or !KEY")
    source, key = _divide(found["key"])
    operator = found["operator"]
    if operator in {">", "<"}:
        return _bound(source, key, operator, found["values"])
    values = frozenset(value.strip() for value in found["values"].split(","))
    if not all(_VALUE.fullmatch(value) for value in values):
        raise ValueError(f"found {found['values']!r}, which is no value of a label")
    if operator in {"", "!"}:
        wanted = not operator
        return lambda labels: (_lookup(labels, source, key) is not None) is wanted
    if operator in {"=", "==", "in"}:
        return lambda labels: _lookup(labels, source, key) in values
    return lambda labels: _lookup(labels, source, key) not in values


def _bound(source: str, key: str, operator: str, limit: str) -> Selector:
    """Compare the value of a label as a number; one that is none never fits."""
    if limit.startswith("-") or not _NUMBER.fullmatch(limit):
        raise ValueError(f"for 'Gt', 'Lt' operators, the value must be an integer, found {limit!r}")
    least = int(limit)

    def fits(labels: Sequence[str]) -> bool:
        value = _lookup(labels, source, key)
        if value is None or not _NUMBER.fullmatch(value):
            return False
        return int(value) > least if operator == ">" else int(value) < least

    return fits


def _divide(key: str) -> tuple[str, str]:
    source, colon, name = key.partition(":")
    return (source, name) if colon else ("", key)


def _lookup(labels: Sequence[str], source: str, key: str) -> str | None:
    """Give the value of a label, or None if there is none."""
    for label in labels:
        name, _, value = label.partition("=")
        label_source, label_key = _divide(name)
        if label_key == key and (source in _ANY_SOURCE or source == label_source):
            return value
    return None
