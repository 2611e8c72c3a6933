"""Settings that may be shown: without what is secret."""

from __future__ import annotations

from trireme_collector.strict_toml import REDACTED_WORDS

__all__ = ["redact"]

_HIDDEN = "(not shown)"


def redact(value: object, *, hidden: bool = False) -> object:
    """Replace the values of keys that name secrets, at any depth."""
    if isinstance(value, dict):
        return {
            key: redact(item, hidden=hidden or _names_secret(str(key)))
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [redact(item, hidden=hidden) for item in value]
    return _HIDDEN if hidden and value not in (None, "") else value


def _names_secret(key: str) -> bool:
    lowered = key.lower().replace("-", "_")
    return any(word in lowered for word in REDACTED_WORDS)
