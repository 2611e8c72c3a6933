"""The conversation hash: FNV-1a over Go's gob form of the key fields."""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from msgspec import UNSET

from trireme_collector.netobserv._config import KeyDefinition, read_key_definition

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "SIGNED_FIELDS",
    "SMALL_UNSIGNED_FIELDS",
    "UNSIGNED_FIELDS",
    "KeyHash",
    "KeyHasher",
    "Numbers",
    "UnencodableError",
    "conversation_hash",
    "encode_value",
    "fnv1a",
    "typed_number",
]

Numbers: TypeAlias = Literal["json", "agent"]
"""How numbers got in: ``agent`` as integers of the agent's protocol, ``json`` all as floats."""

SMALL_UNSIGNED_FIELDS = frozenset(
    {"DstPort", "Dscp", "Etype", "Flags", "IcmpCode", "IcmpType", "Proto", "SrcPort"}
)
"""The fields that the agent's protocol carries as integers of up to 16 bits."""
UNSIGNED_FIELDS = SMALL_UNSIGNED_FIELDS | {"Bytes", "Packets", "Sampling"}
"""The fields that it carries as integers without a sign."""
SIGNED_FIELDS = frozenset(
    {"FlowDirection", "TimeFlowEndMs", "TimeFlowRttNs", "TimeFlowStartMs", "TimeReceived"}
)
"""The fields that it carries as integers with a sign."""

_OFFSET_BASIS = 14695981039346656037
_PRIME = 1099511628211
_MASK = 0xFFFFFFFFFFFFFFFF
_INT64_MIN = -(1 << 63)
_FLOAT = struct.Struct("<d")

# Type ids of gob, as it writes them.
_BOOL, _SIGNED, _UNSIGNED, _FLOATING, _TEXT = (
    b"\x02\x00",
    b"\x04\x00",
    b"\x06\x00",
    b"\x08\x00",
    b"\x0c\x00",
)
# A length or a number below this stands for itself.
_ONE_BYTE = 128


class UnencodableError(ValueError):
    """A key field has a value that has no encoding: null, a list or an object."""


class KeyHash(NamedTuple):
    """What a flow log's key fields come to.

    Attributes:
        total: The id of the conversation, the same for both directions.
        a: The hash of side A, 0 without sides.
        b: The hash of side B, 0 without sides.
        missing: The key fields that the flow log does not have.
    """

    total: int
    a: int
    b: int
    missing: tuple[str, ...]


def fnv1a(data: bytes) -> int:
    """Hash bytes to 64 bits with FNV-1a."""
    value = _OFFSET_BASIS
    for byte in data:
        value = ((value ^ byte) * _PRIME) & _MASK
    return value


def _uint(number: int) -> bytes:
    if number < _ONE_BYTE:
        return bytes((number,))
    size = (number.bit_length() + 7) // 8
    return bytes((256 - size,)) + number.to_bytes(size, "big")


def _message(kind: bytes, payload: bytes) -> bytes:
    body = kind + payload
    return _uint(len(body)) + body


def encode_value(value: object, *, signed: bool = False) -> bytes:
    """Encode a value as one gob message.

    Args:
        value: Text, a boolean, an integer or a float.
        signed: Whether an integer counts as one with a sign, even if it is positive.

    Raises:
        UnencodableError: It is something else, or more than 64 bits.
    """
    match value:
        case str():
            text = value.encode("utf-8", "surrogatepass")
            return _message(_TEXT, _uint(len(text)) + text)
        case bool():
            return _message(_BOOL, _uint(value))
        case int():
            if not _INT64_MIN <= value <= _MASK:
                msg = f"{value} has more than 64 bits"
                raise UnencodableError(msg)
            if not signed and value >= 0:
                return _message(_UNSIGNED, _uint(value))
            return _message(_SIGNED, _uint(value << 1 if value >= 0 else (~value << 1) | 1))
        case float():
            # The bits backwards: trailing zeros of the fraction become leading ones and vanish.
            return _message(_FLOATING, _uint(int.from_bytes(_FLOAT.pack(value), "big")))
        case _:
            msg = f"a value of type {type(value).__name__} cannot be part of a key"
            raise UnencodableError(msg)


def typed_number(field: str, value: object, numbers: Numbers) -> object:
    """Give a number the type with which it would have got in; leave anything else.

    Returns:
        An integer for the fields that the agent's protocol carries as such, else a float.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return value
    is_integer = numbers == "agent" and (field in UNSIGNED_FIELDS or field in SIGNED_FIELDS)
    if is_integer and _INT64_MIN <= value <= _MASK and value == int(value):
        return int(value)
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _integer_kind(field: str, numbers: Numbers) -> tuple[bool, bool]:
    """Say with which types a field's numbers are encoded."""
    is_agent = numbers == "agent"
    return is_agent and field in UNSIGNED_FIELDS, is_agent and field in SIGNED_FIELDS


class KeyHasher:
    """Hashes the key fields of flow logs.

    Args:
        definition: Which fields make the key, and how.
        numbers: With which types numbers got in.
    """

    def __init__(self, definition: KeyDefinition, numbers: Numbers) -> None:
        """Work out where each field stands in the row of key fields."""
        self.fields = definition.fields
        self._numbers: Numbers = numbers
        place = {name: index for index, name in enumerate(self.fields)}
        self._groups = [
            (group.name, tuple((place[name], name) for name in group.fields))
            for group in definition.field_groups
        ]
        self._refs = definition.hash.field_group_refs
        self._a = definition.hash.field_group_a_ref
        self._b = definition.hash.field_group_b_ref

    def mirror(self) -> tuple[int, ...]:
        """Say how the key fields of the other direction stand, if their hash is known with it.

        Returns:
            For each key field the one that takes its place, or nothing if the other direction
            has to be hashed by itself.
        """
        groups = dict(self._groups)
        a, b = groups.get(self._a, ()), groups.get(self._b, ())
        sides = [field for _, field in (*a, *b)]
        shared = [field for name in self._refs for _, field in groups[name]]
        if not sides or len(set(sides)) < len(sides) or set(sides) & set(shared):
            return ()
        order = list(range(len(self.fields)))
        for (one, name), (other, other_name) in zip(a, b, strict=True):
            if _integer_kind(name, self._numbers) != _integer_kind(other_name, self._numbers):
                return ()
            order[one], order[other] = other, one
        return tuple(order)

    def hash(self, row: Sequence[object]) -> KeyHash:
        """Hash the values of the key fields, in the order of `fields`; UNSET is missing.

        Raises:
            UnencodableError: A value has no encoding.
        """
        missing: list[str] = []
        hashes: dict[str, int] = {}
        for name, members in self._groups:
            encoded = []
            for index, field in members:
                value = row[index]
                if value is UNSET:
                    missing.append(field)
                else:
                    typed = typed_number(field, value, self._numbers)
                    encoded.append(encode_value(typed, signed=field in SIGNED_FIELDS))
            hashes[name] = fnv1a(b"".join(encoded))
        parts = [hashes[name] for name in self._refs]
        a = b = 0
        if self._a:
            a, b = hashes[self._a], hashes[self._b]
            parts += sorted((a, b))
        total = fnv1a(b"".join([part.to_bytes(8, "big") for part in parts]))
        return KeyHash(total, a, b, tuple(missing))


def conversation_hash(
    flow: Mapping[str, object],
    key_definition: Mapping[str, object],
    *,
    numbers: Numbers = "agent",
) -> str:
    """Give the id of the conversation that a flow log belongs to.

    Both directions of a conversation have the same id if the key has sides A and B.

    Args:
        flow: The flow log. A field that is not there does not count.
        key_definition: The ``keyDefinition`` of a configuration: ``fieldGroups`` and ``hash``.
        numbers: With which types numbers got in: ``agent`` gives the ids of a cluster, ``json``
            those of a pipeline that reads JSON.

    Returns:
        The text of ``_HashId``: lower-case hexadecimal digits, without leading zeros.

    Raises:
        ConfigError: The key definition cannot be used.
        UnencodableError: A key field is null, a list or an object.
    """
    hasher = KeyHasher(read_key_definition(key_definition), numbers)
    return f"{hasher.hash([flow.get(name, UNSET) for name in hasher.fields]).total:x}"
