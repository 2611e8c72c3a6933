"""Patterns of names: ``*`` stands for any letters, digits, dots, hyphens and underscores."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from trireme_collector.filters import compile_glob
from trireme_datapath.monitor._go_text import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["compile_names", "compile_node_names"]

_NO_NAME: Final = re.compile(r"[^-a-z0-9_.*]")
_NAME: Final = re.compile(r"[-a-z0-9_.]*")
_DEFAULT_CLUSTER: Final = "default"


def compile_names(patterns: Iterable[str]) -> Callable[[str], bool]:
    """Make patterns of domain names a function.

    Raises:
        ValueError: A pattern has characters that names have not.
    """
    tests = [compile_glob(_checked(pattern)) for pattern in patterns]

    def fits(name: str) -> bool:
        lowered = name.lower().rstrip(".")
        return _NAME.fullmatch(lowered) is not None and any(test(lowered) for test in tests)

    return fits


def compile_node_names(patterns: Iterable[str]) -> Callable[[str], bool]:
    """Make patterns ``[CLUSTER/][NODE]`` a function; an empty part is any.

    Raises:
        ValueError: A pattern has more than one slash, or other characters than names.
    """
    tests: list[tuple[Callable[[str], bool], Callable[[str], bool]]] = []
    for pattern in patterns:
        if pattern.count("/") > 1:
            raise ValueError("too many slashes in pattern")
        if not pattern:
            raise ValueError("empty pattern")
        cluster, slash, node = pattern.partition("/")
        if not slash:
            cluster, node = "", pattern
        tests.append((compile_names([cluster or "*"]), compile_names([node or "*"])))

    def fits(name: str) -> bool:
        if not name:
            return False
        cluster, slash, node = name.partition("/")
        if not slash:
            cluster, node = _DEFAULT_CLUSTER, name
        return any(first(cluster) and second(node) for first, second in tests)

    return fits


def _checked(pattern: str) -> str:
    tidy = pattern.strip().lower().removesuffix(".")
    if not tidy:
        raise ValueError("empty pattern")
    if tidy.endswith("."):
        raise ValueError("multiple trailing dots in pattern")
    found = _NO_NAME.search(tidy)
    if found is not None:
        rune = "\\'" if found[0] == "'" else quoted(found[0])[1:-1].replace('\\"', '"')
        raise ValueError(f"'{rune}': invalid rune in pattern")
    return tidy
