"""Gob, the encoding of Go's own programs, as far as the messages of a Cilium agent need it.

A stream is a sequence of messages, each with its length in front: definitions of types, and values
of types that were defined before. Nothing has to be known in advance: a struct becomes a
dictionary with the names of the sender, without the fields that are zero.

Decoding is total. A message that cannot be read is one `GobError`, and the messages after it are
read; a stream that cannot be followed is one `GobStreamError`. `GobLimits` bounds what any bytes
can cost.
"""

from __future__ import annotations

from trireme_datapath.monitor.gob._decode import GobStream, decode_gob
from trireme_datapath.monitor.gob._encode import GobSchema
from trireme_datapath.monitor.gob._errors import GobError, GobLimits, GobStreamError
from trireme_datapath.monitor.gob._fields import (
    bytes_field,
    list_field,
    number_field,
    struct_field,
    text_field,
    texts_field,
)
from trireme_datapath.monitor.gob._types import (
    ArrayType,
    Basic,
    Field,
    GobStruct,
    GobType,
    GobValue,
    MapType,
    OpaqueKind,
    OpaqueType,
    SliceType,
    StructType,
)

__all__ = [
    "ArrayType",
    "Basic",
    "Field",
    "GobError",
    "GobLimits",
    "GobSchema",
    "GobStream",
    "GobStreamError",
    "GobStruct",
    "GobType",
    "GobValue",
    "MapType",
    "OpaqueKind",
    "OpaqueType",
    "SliceType",
    "StructType",
    "bytes_field",
    "decode_gob",
    "list_field",
    "number_field",
    "struct_field",
    "text_field",
    "texts_field",
]
