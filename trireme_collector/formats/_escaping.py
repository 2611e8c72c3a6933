r"""Text from the network, made safe for a line of text, and back.

Whatever is not printable (control characters, line ends, terminal escapes, direction overrides,
invisible characters, lone surrogates) becomes ``\uXXXX`` or ``\UXXXXXXXX``. A text that
contains such a sequence by itself gets its backslash escaped, so `unescape_text` is exact.
"""

from __future__ import annotations

import re

__all__ = ["escape_text", "json_escape", "unescape_text"]

_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8}))")
_BACKSLASH = r"\u005c"


def escape_text(text: str) -> str:
    """Make a text printable, on one line, without losing anything.

    Args:
        text: Any text, lone surrogates included.

    Returns:
        The same text when it was harmless.
    """
    if "\\" in text:
        text = _ESCAPE.sub(lambda match: _BACKSLASH + match.group()[1:], text)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def unescape_text(text: str) -> str:
    """Give the text that `escape_text` was given."""
    return _ESCAPE.sub(_unescape, text)


def json_escape(character: str) -> str:
    """Give the JSON escape of one character, a surrogate pair beyond U+FFFF."""
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _unescape(match: re.Match[str]) -> str:
    digits = match[1] or match[2]
    code = int(digits, base=16)
    # Beyond Unicode: nothing that escape_text has written.
    return chr(code) if code <= 0x10FFFF else match.group()
