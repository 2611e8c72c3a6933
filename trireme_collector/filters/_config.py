"""The table ``[collectors.NAME.filter]``."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec

from trireme_collector._toml_checker import Unfit
from trireme_collector._toml_values import quote
from trireme_collector.filters._compile import compile_expression
from trireme_collector.filters._expression import ExpressionError
from trireme_collector.filters._masks import check_blank, check_hash

__all__ = ["FilterConfig", "MaskConfig", "SampleConfig"]

_MAX_EXPRESSIONS = 100


def _check_expression(value: object) -> object:
    try:
        compile_expression(str(value))
    except ExpressionError as error:
        found = f"{quote(str(value))}, at character {error.at + 1} {error.found}"
        raise Unfit(error.expected, found=found, nearest=error.nearest) from error
    return value


_Text: TypeAlias = Annotated[
    str, msgspec.Meta(extra={"validate": _check_expression, "expected": "an expression"})
]
_Expressions: TypeAlias = Annotated[list[_Text], msgspec.Meta(max_length=_MAX_EXPRESSIONS)]
_Blank: TypeAlias = Annotated[
    str, msgspec.Meta(extra={"validate": check_blank, "expected": "a field"})
]
_Hash: TypeAlias = Annotated[
    str, msgspec.Meta(extra={"validate": check_hash, "expected": "a field"})
]
_Name: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
_Rate: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1)]


class MaskConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fields that a collector does not get as they are.

    Attributes:
        blank: Fields that are emptied.
        hash: Fields with text whose values are replaced by a keyed hash: equal values stay equal.
        key_file: The file with the key of the hash, 16 to 64 bytes. Without it a key is made at
            each start, and hashes cannot be compared across starts and hosts.
    """

    blank: list[_Blank] = []
    hash: list[_Hash] = []
    key_file: str = ""


class SampleConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The part of the flows that a collector gets, from 0 to 1, by verdict.

    Attributes:
        accept: Of the accepted flows.
        reject: Of the rejected flows.
        other: Of the flows that were neither.
        seed: Another number chooses other flows; the same number chooses the same everywhere.
    """

    accept: _Rate = 1.0
    reject: _Rate = 1.0
    other: _Rate = 1.0
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] = 0


class FilterConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which records a collector gets.

    Attributes:
        allow: Expressions; a record passes that matches one of them. All pass where there is none.
        deny: Expressions; a record that matches one of them does not pass, whatever `allow` says.
        sample: How many of the flows that are left pass.
        mask: What is taken out of the records that pass.
        plugins: Filters of plugins with their options, by name; ``type`` names the plugin, the
            name itself by default. A record passes if all of them let it.
    """

    allow: _Expressions = []
    deny: _Expressions = []
    sample: SampleConfig = SampleConfig()
    mask: MaskConfig = MaskConfig()
    plugins: dict[_Name, dict[str, object]] = {}
