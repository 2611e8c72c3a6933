"""Escaping makes any text harmless and loses nothing."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trireme_collector.formats import escape_text, unescape_text
from trireme_collector.testing.strategies import NASTY_TEXT

ANY_TEXT = st.one_of(NASTY_TEXT, st.text(st.characters()), st.text("\\uU0aAd8\n/", max_size=30))


@given(ANY_TEXT)
def test_what_was_escaped_comes_back(text: str) -> None:
    assert unescape_text(escape_text(text)) == text


@given(ANY_TEXT)
def test_what_is_escaped_is_harmless(text: str) -> None:
    escaped = escape_text(text)
    assert escaped.isprintable()
    assert {unicodedata.category(c) for c in escaped}.isdisjoint(
        {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
    )
    escaped.encode()


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("", ""),
        ("GET /käse?q=字", "GET /käse?q=字"),
        ("a\nb", "a\\u000ab"),
        ("\x1b[2J", "\\u001b[2J"),
        ("\x9b", "\\u009b"),
        ("user\u202eexe", "user\\u202eexe"),
        ("\ud800", "\\ud800"),
        ("\U000e0001", "\\U000e0001"),
        ("C:\\new", "C:\\new"),
        ("\\u000a", "\\u005cu000a"),
        ("\\\n", "\\\\u000a"),
    ],
)
def test_golden(text: str, escaped: str) -> None:
    assert escape_text(text) == escaped
    assert unescape_text(escaped) == text


def test_what_is_no_escape_stays() -> None:
    assert unescape_text("\\Uffffffff \\u00 \\") == "\\Uffffffff \\u00 \\"
