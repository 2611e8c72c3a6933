"""YAML read strictly and within bounds, into the same form of document as TOML.

Only the parser of PyYAML runs: it turns text into events, and nothing in a text can make it build
an object or nest more deeply than we allow. Values are what JSON knows; what YAML has beyond that
(tags, merge keys, keys that are no texts) is refused with its place.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeAlias, cast

from trireme_collector.strict_toml import (
    MAX_NESTING,
    Document,
    DocumentError,
    Position,
    Positions,
    Problem,
    quote,
)
from trireme_datapath.policy._yaml_package import yaml_package

if TYPE_CHECKING:
    from typing import Any

    from trireme_collector.strict_toml import KeyPath

__all__ = ["MAX_VALUES", "MAX_YAML_BYTES", "YamlDocument", "parse_yaml"]

MAX_YAML_BYTES: Final = 16 * 1024 * 1024
"""The longest text: some thousand pods as the API prints them."""
MAX_VALUES: Final = 1_000_000
"""The most values, those behind aliases counted wherever they appear."""

_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
# Booleans to some readers of YAML and texts to others: whoever writes one has to say which.
_AMBIGUOUS = frozenset(
    form for word in ("yes", "no", "on", "off") for form in (word, word.title(), word.upper())
)
_TEXT_TAGS = frozenset({"!", "tag:yaml.org,2002:str"})

Plain: TypeAlias = "dict[str, object] | list[object] | str | int | float | bool | None"


class YamlDocument(Document):
    """The documents of a YAML text, as the array ``document`` of one table.

    Attributes:
        nulls: Where a value is null; tables are without such keys, arrays have None there.
    """

    def __init__(
        self,
        name: str,
        text: str,
        data: dict[str, object],
        positions: Positions,
        nulls: tuple[KeyPath, ...],
    ) -> None:
        """Take what the parser made; use `parse_yaml` instead."""
        super().__init__(name, text, data)
        self.nulls = nulls
        self._positions = positions


def parse_yaml(text: str, name: str) -> YamlDocument:
    """Parse a YAML text of any number of documents.

    Args:
        text: The text.
        name: What messages call it.

    Returns:
        The documents, without any check of their content yet.

    Raises:
        ConfigError: The text is not YAML, has what we refuse, or is too large.
        MissingExtraError: PyYAML is not installed.
    """
    yaml = yaml_package()
    if len(text) > MAX_YAML_BYTES:
        raise _refused(
            name, 1, 1, f"{len(text)} characters", f"at most {MAX_YAML_BYTES}: fewer objects"
        )
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    builder = _Builder(name, text)
    try:
        for event in yaml.parse(text, Loader=loader):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        found = f"text that is not YAML ({quote(error.problem or 'it ends too early')})"
        raise _refused(name, line, column, found, "YAML 1.1") from error
    except yaml.YAMLError as error:  # a character that may not stand in YAML
        position = getattr(error, "position", 0)
        before = text[: position if isinstance(position, int) else 0]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        found = "a character that YAML does not allow"
        raise _refused(name, line, column, found, "printable text") from error
    return builder.document()


class _Open:
    """A table or an array whose end was not reached yet."""

    __slots__ = ("anchor", "key", "path", "size", "value")

    def __init__(self, value: dict[str, object] | list[object], path: KeyPath, anchor: str) -> None:
        self.value = value
        self.path = path
        self.anchor = anchor
        self.key: str | None = None
        self.size = 1

    def next_path(self) -> KeyPath:
        """Give the path of the value that comes next."""
        if isinstance(self.value, list):
            return (*self.path, len(self.value))
        return (*self.path, self.key or "")


class _Builder:
    """Makes values out of events, without recursion."""

    def __init__(self, name: str, text: str) -> None:
        self._name = name
        self._text = text
        self._documents: list[object] = []
        self._stack: list[_Open] = [_Open(self._documents, ("document",), "")]
        self._anchors: dict[str, tuple[object, int] | None] = {}
        self._keys: dict[KeyPath, int] = {}
        self._values: dict[KeyPath, int] = {}
        self._nulls: list[KeyPath] = []
        self._line_starts = [0, *(match.end() for match in re.finditer(r"\n", text))]

    def document(self) -> YamlDocument:
        positions = Positions(self._text, self._keys, self._values)
        data: dict[str, object] = {"document": self._documents}
        return YamlDocument(self._name, self._text, data, positions, tuple(self._nulls))

    def take(self, event: Any) -> None:  # noqa: ANN401  PyYAML's events have no common type
        """Take one event of the parser."""
        kind = type(event).__name__
        if kind == "DocumentStartEvent":
            self._anchors.clear()
        elif kind == "AliasEvent":
            self._alias(event)
        elif kind == "ScalarEvent":
            self._scalar(event)
        elif kind in {"MappingStartEvent", "SequenceStartEvent"}:
            self._begin(event, {} if kind == "MappingStartEvent" else [])
        elif kind in {"MappingEndEvent", "SequenceEndEvent"}:
            self._end(event)

    def _begin(self, event: Any, value: dict[str, object] | list[object]) -> None:  # noqa: ANN401
        standard = "tag:yaml.org,2002:map" if isinstance(value, dict) else "tag:yaml.org,2002:seq"
        self._check_tag(event, frozenset({standard}))
        self._check_key_wanted(event)
        if len(self._stack) > MAX_NESTING:
            raise self._refuse(
                event, f"tables or arrays nested more than {MAX_NESTING} deep", "fewer levels"
            )
        path = self._stack[-1].next_path()
        self._note(event, path)
        if event.anchor is not None:
            self._anchors[event.anchor] = None  # being built: nothing may contain itself
        self._stack.append(_Open(value, path, event.anchor or ""))

    def _end(self, event: Any) -> None:  # noqa: ANN401
        done = self._stack.pop()
        if done.anchor:
            self._anchors[done.anchor] = (done.value, done.size)
        self._put(event, done.value, done.size)

    def _alias(self, event: Any) -> None:  # noqa: ANN401
        self._check_key_wanted(event)
        if event.anchor not in self._anchors:
            raise self._refuse(event, f"the unknown alias {quote(event.anchor)}", "a known anchor")
        known = self._anchors[event.anchor]
        if known is None:
            raise self._refuse(event, "a value that contains itself", "no such alias")
        self._note(event, self._stack[-1].next_path())
        self._put(event, *known)

    def _scalar(self, event: Any) -> None:  # noqa: ANN401
        self._check_tag(event, _TEXT_TAGS)
        top = self._stack[-1]
        if isinstance(top.value, dict) and top.key is None:
            self._key(event, top)
            return
        self._note(event, top.next_path())
        value = self._resolve(event)
        if value is None:
            self._nulls.append(top.next_path())
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, 1)
        self._put(event, value, 1)

    def _key(self, event: Any, top: _Open) -> None:  # noqa: ANN401
        if event.value == "<<" and event.implicit[0]:
            raise self._refuse(event, "a merge key", "the keys themselves")
        path = (*top.path, event.value)
        if path in self._keys:
            raise self._refuse(event, f"the key {quote(event.value)} again", "each key once")
        top.key = event.value
        self._keys[path] = self._offset(event)

    def _resolve(self, event: Any) -> Plain:  # noqa: ANN401
        text = cast("str", event.value)
        if not event.implicit[0]:  # in quotes, a block, or with the tag of a text
            return text
        if text in _NULLS:
            return None
        if text in _BOOLEANS:
            return _BOOLEANS[text]
        if text in _AMBIGUOUS:
            raise self._refuse(
                event, f"{text}, which is true or false to some and a text to others", quote(text)
            )
        return int(text) if _INTEGER.fullmatch(text) else text

    def _put(self, event: Any, value: object, size: int) -> None:  # noqa: ANN401
        top = self._stack[-1]
        top.size += size
        if top.size > MAX_VALUES:
            raise self._refuse(event, f"more than {MAX_VALUES} values", "fewer")
        if isinstance(top.value, list):
            top.value.append(value)
            return
        if value is not None:
            top.value[top.key or ""] = value
        top.key = None

    def _check_key_wanted(self, event: Any) -> None:  # noqa: ANN401
        top = self._stack[-1]
        if isinstance(top.value, dict) and top.key is None:
            raise self._refuse(event, "a key that is not a plain text", "a text")

    def _check_tag(self, event: Any, allowed: frozenset[str]) -> None:  # noqa: ANN401
        if event.tag is not None and event.tag not in allowed:
            raise self._refuse(event, f"the tag {quote(event.tag)}", "a value without a tag")

    def _note(self, event: Any, path: KeyPath) -> None:  # noqa: ANN401
        self._values[path] = self._offset(event)
        if isinstance(path[-1], int):
            self._keys[path] = self._values[path]

    def _offset(self, event: Any) -> int:  # noqa: ANN401
        mark = event.start_mark
        # The C parser and ours disagree on what ends a line in rare cases: stay inside the text.
        line = min(int(mark.line), len(self._line_starts) - 1)
        return min(self._line_starts[line] + int(mark.column), len(self._text))

    def _refuse(self, event: Any, found: str, expected: str) -> DocumentError:  # noqa: ANN401
        line, column = self._place(event)
        return _refused(self._name, line, column, found, expected)

    def _place(self, event: Any) -> Position:  # noqa: ANN401
        return Positions(self._text, {}, {}).at(self._offset(event))


def _refused(name: str, line: int, column: int, found: str, expected: str) -> DocumentError:
    problem = Problem(file=name, line=line, column=column, key="", found=found, expected=expected)
    return DocumentError([problem])
