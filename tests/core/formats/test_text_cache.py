"""The cache answers as the function does, and stays small."""

from __future__ import annotations

from trireme_collector.formats._text_cache import _MAX_CHARACTERS, _MAX_ENTRIES, TextCache


def test_the_function_is_asked_once() -> None:
    asked: list[str] = []

    def double(text: str) -> str:
        asked.append(text)
        return text * 2

    cache = TextCache(double)
    assert [cache["a"], cache["a"], cache["b"]] == ["aa", "aa", "bb"]
    assert asked == ["a", "b"]


def test_it_is_bounded_in_entries_and_in_their_length() -> None:
    cache = TextCache(str.upper)
    for number in range(_MAX_ENTRIES + 1):
        assert cache[f"x{number}"] == f"X{number}"
    assert len(cache) <= _MAX_ENTRIES
    long = "a" * (_MAX_CHARACTERS + 1)
    assert cache[long] == long.upper()
    assert long not in cache


def test_what_is_no_text_is_made_one() -> None:
    cache = TextCache(str.upper)
    assert cache[True] == "TRUE"  # type: ignore[index]  # records are not checked where they are made
    assert not cache
