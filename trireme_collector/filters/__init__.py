"""Which records a collector gets, and with which fields: filters, sampling and masks.

All of it happens before a record is queued. What is left out is counted.
"""

from __future__ import annotations

from trireme_collector.filters._compile import compile_expression
from trireme_collector.filters._config import FilterConfig, MaskConfig, SampleConfig
from trireme_collector.filters._expression import (
    MAX_DEPTH,
    MAX_EXPRESSION_CHARACTERS,
    And,
    Comparison,
    Expression,
    ExpressionError,
    Not,
    Or,
    parse_expression,
)
from trireme_collector.filters._fields import FieldKind, RecordField, record_fields
from trireme_collector.filters._glob import compile_glob
from trireme_collector.filters._record_filter import (
    DROPPED_FILTER_FAILED,
    DROPPED_FILTERED,
    DROPPED_SAMPLED,
    RecordFilter,
)
from trireme_collector.filters._sample import sample_hash

__all__ = [
    "DROPPED_FILTERED",
    "DROPPED_FILTER_FAILED",
    "DROPPED_SAMPLED",
    "MAX_DEPTH",
    "MAX_EXPRESSION_CHARACTERS",
    "And",
    "Comparison",
    "Expression",
    "ExpressionError",
    "FieldKind",
    "FilterConfig",
    "MaskConfig",
    "Not",
    "Or",
    "RecordField",
    "RecordFilter",
    "SampleConfig",
    "compile_expression",
    "compile_glob",
    "parse_expression",
    "record_fields",
    "sample_hash",
]
