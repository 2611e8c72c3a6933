"""Schemas of protocols as short texts, for whoever has no compiler of protobuf.

A text is one file of protobuf::

    file recorder/recorder.proto
    package recorder
    import google/protobuf/timestamp.proto
    message RecordResponse
      node_name 1 string
      time 2 google.protobuf.Timestamp
      running 3 RecordingRunningResponse @response_type
    enum Protocol
      PROTOCOL_ANY 0
    service Recorder
      Record stream RecordRequest -> stream RecordResponse

A star after a type makes a field repeated, ``@`` names the oneof that it belongs to, and a dot in
the name of a message puts it inside another. Types are looked for in the package first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "SCALARS",
    "WELL_KNOWN",
    "EnumSchema",
    "FieldSchema",
    "FileSchema",
    "MessageSchema",
    "MethodSchema",
    "Schema",
    "ServiceSchema",
    "parse_schema",
]

SCALARS: Final = frozenset(
    {"bool", "bytes", "double", "int32", "int64", "string", "uint32", "uint64"}
)
WELL_KNOWN: Final[Mapping[str, str]] = {
    "google.protobuf.Any": "google/protobuf/any.proto",
    "google.protobuf.BoolValue": "google/protobuf/wrappers.proto",
    "google.protobuf.Duration": "google/protobuf/duration.proto",
    "google.protobuf.FieldMask": "google/protobuf/field_mask.proto",
    "google.protobuf.Int32Value": "google/protobuf/wrappers.proto",
    "google.protobuf.Timestamp": "google/protobuf/timestamp.proto",
    "google.protobuf.UInt32Value": "google/protobuf/wrappers.proto",
}
"""The messages of protobuf itself that schemas may use, and their files."""


class FieldSchema(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A field of a message.

    Attributes:
        name: Its name.
        number: Its number.
        type: A scalar, or the full name of a message or an enumeration.
        repeated: Whether it is a list.
        oneof: The oneof that it belongs to, or ``""``.
    """

    name: str
    number: int
    type: str
    repeated: bool = False
    oneof: str = ""


class MessageSchema(msgspec.Struct, frozen=True, kw_only=True):
    """A message: its fields by name, in the order of their declaration."""

    name: str
    fields: dict[str, FieldSchema]


class EnumSchema(msgspec.Struct, frozen=True, kw_only=True):
    """An enumeration: its numbers by name."""

    name: str
    numbers: dict[str, int]


class MethodSchema(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A method of a service."""

    name: str
    request: str
    response: str
    request_stream: bool
    response_stream: bool


class ServiceSchema(msgspec.Struct, frozen=True, kw_only=True):
    """A service."""

    name: str
    methods: tuple[MethodSchema, ...]


class FileSchema(msgspec.Struct, frozen=True, kw_only=True):
    """A file. The names of what it declares are full names."""

    name: str
    package: str
    imports: tuple[str, ...]
    messages: tuple[MessageSchema, ...]
    enums: tuple[EnumSchema, ...]
    services: tuple[ServiceSchema, ...]


class Schema(msgspec.Struct, frozen=True, kw_only=True):
    """Files that belong together, and what they declare by full name."""

    files: tuple[FileSchema, ...]
    messages: dict[str, MessageSchema]
    enums: dict[str, EnumSchema]


def parse_schema(texts: Iterable[str]) -> Schema:
    """Read schemas; each may use what those before it declare.

    Raises:
        ValueError: A text is none; the message says where.
    """
    files: list[FileSchema] = []
    messages: dict[str, MessageSchema] = {}
    enums: dict[str, EnumSchema] = {}
    for text in texts:
        file = _Parser(text, frozenset(messages) | frozenset(enums)).file()
        files.append(file)
        messages.update((message.name, message) for message in file.messages)
        enums.update((enum.name, enum) for enum in file.enums)
    return Schema(files=tuple(files), messages=messages, enums=enums)


class _Parser:
    """Reads one text."""

    def __init__(self, text: str, known: frozenset[str]) -> None:
        self._lines = [
            (number, line.startswith(" "), line.split())
            for number, line in enumerate(text.splitlines(), 1)
            if line.strip()
        ]
        self._heads = {"file": "", "package": ""}
        self._imports: list[str] = []
        self._blocks: dict[str, list[tuple[str, list[tuple[int, list[str]]]]]] = {
            "enum": [],
            "message": [],
            "service": [],
        }
        self._collect()
        package = self._heads["package"]
        declared = (
            f"{package}.{name}" for kind in ("message", "enum") for name, _ in self._blocks[kind]
        )
        self._known = known | frozenset(declared) | frozenset(WELL_KNOWN)

    def _collect(self) -> None:
        block: list[tuple[int, list[str]]] | None = None
        for number, inside, words in self._lines:
            if inside:
                if block is None:
                    raise ValueError(f"line {number}: found {words[0]!r} outside of any block")
                block.append((number, words))
            elif len(words) == 2 and words[0] in self._blocks:
                block = []
                self._blocks[words[0]].append((words[1], block))
            elif len(words) == 2 and words[0] in self._heads:
                self._heads[words[0]] = words[1]
            elif len(words) == 2 and words[0] == "import":
                self._imports.append(words[1])
            else:
                raise ValueError(f"line {number}: found {' '.join(words)!r}, expected a block")

    def file(self) -> FileSchema:
        """Give the file."""
        package = self._heads["package"]
        return FileSchema(
            name=self._heads["file"],
            package=package,
            imports=tuple(self._imports),
            messages=tuple(
                MessageSchema(name=f"{package}.{name}", fields=self._fields(lines))
                for name, lines in self._blocks["message"]
            ),
            enums=tuple(
                EnumSchema(
                    name=f"{package}.{name}",
                    numbers={words[0]: int(words[1]) for _, words in lines},
                )
                for name, lines in self._blocks["enum"]
            ),
            services=tuple(
                ServiceSchema(
                    name=f"{package}.{name}",
                    methods=tuple(self._method(number, words) for number, words in lines),
                )
                for name, lines in self._blocks["service"]
            ),
        )

    def _fields(self, lines: list[tuple[int, list[str]]]) -> dict[str, FieldSchema]:
        fields = {}
        for number, words in lines:
            if not 3 <= len(words) <= 4:
                raise ValueError(f"line {number}: expected NAME NUMBER TYPE [@ONEOF]")
            name, tag, kind = words[:3]
            fields[name] = FieldSchema(
                name=name,
                number=int(tag),
                type=self._type(number, kind.removesuffix("*")),
                repeated=kind.endswith("*"),
                oneof=words[3].removeprefix("@") if len(words) == 4 else "",
            )
        return fields

    def _method(self, number: int, words: list[str]) -> MethodSchema:
        name, *rest = words
        before, arrow, after = " ".join(rest).partition(" -> ")
        if not arrow:
            raise ValueError(f"line {number}: expected NAME [stream] TYPE -> [stream] TYPE")
        return MethodSchema(
            name=name,
            request=self._type(number, before.removeprefix("stream ")),
            response=self._type(number, after.removeprefix("stream ")),
            request_stream=before.startswith("stream "),
            response_stream=after.startswith("stream "),
        )

    def _type(self, number: int, name: str) -> str:
        if name in SCALARS:
            return name
        for full in (f"{self._heads['package']}.{name}", name):
            if full in self._known:
                return full
        raise ValueError(f"line {number}: nothing declares {name}")
