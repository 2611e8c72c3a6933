"""Options of sources and sinks, from a file or from words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
import pytest

from trireme_collector import ConfigError
from trireme_collector.cli._part_options import read_part_options

if TYPE_CHECKING:
    from pathlib import Path


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a part might want."""

    names: Annotated[list[str], msgspec.Meta(min_length=1)]
    count: Annotated[int, msgspec.Meta(ge=1)] = 1
    seconds: float = 1.0
    loud: bool = False
    word: str = ""


def read(*words: str, path: str | None = None) -> Options:
    return read_part_options(Options, "source", path, words)


def test_words() -> None:
    found = read("names=a:1,b:2", "count=3", "seconds=0.5", "loud=true", 'word="7, x=y')
    assert found == Options(names=["a:1", "b:2"], count=3, seconds=0.5, loud=True, word='"7, x=y')


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["names"], "expected KEY=VALUE"),
        (["=x"], "expected KEY=VALUE"),
        ([], "names"),
        (["names=a", "count=0"], "count"),
        (["names=a", "count=x"], "count"),
        (["names=a", "coun=1"], "count"),
        (["names=a", "loud=yes"], "loud|value"),
    ],
)
def test_mistakes(words: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read(*words)


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "options.toml"
    path.write_text('[source]\nnames = ["a"]\n[sink]\nx = 1\n', encoding="utf-8")
    assert read(path=str(path)) == Options(names=["a"])
    with pytest.raises(ConfigError, match="not both"):
        read("count=1", path=str(path))
    path.write_text("[sink]\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"no table \[source\]"):
        read(path=str(path))
    path.write_text('[source]\nname = ["a"]\n', encoding="utf-8")
    with pytest.raises(ConfigError, match="names"):
        read(path=str(path))
