"""``--collector TYPE[:key=value,...]``."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trireme_collector.errors import ConfigError
from trireme_datapath.cli._collector_option import read_collectors


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("syslog", {"type": "syslog"}),
        ("syslog:", {"type": "syslog"}),
        ("file:path=/var/log/x.json", {"type": "file", "path": "/var/log/x.json"}),
        ("file:path=a=b", {"type": "file", "path": "a=b"}),
        ("x:a=5,b=true,c=1.5", {"type": "x", "a": 5, "b": True, "c": 1.5}),
        ('x:a="5",b=', {"type": "x", "a": "5", "b": ""}),
        (
            'x:a="1,2",b=[1, 2],c={d=1,e=2}',
            {"type": "x", "a": "1,2", "b": [1, 2], "c": {"d": 1, "e": 2}},
        ),
        (
            "x:filter={deny=['type == \"user\"'], sample={accept=0.1}},path=p",
            {
                "type": "x",
                "filter": {"deny": ['type == "user"'], "sample": {"accept": 0.1}},
                "path": "p",
            },
        ),
        ("x:path={instance}.json", {"type": "x", "path": "{instance}.json"}),
        ("x:a='it, too'", {"type": "x", "a": "it, too"}),
        ("x:address=[2001:db8::1]:514", {"type": "x", "address": "[2001:db8::1]:514"}),
        ("x:address=127.0.0.1", {"type": "x", "address": "127.0.0.1"}),
        ("x:day=2026-01-01", {"type": "x", "day": "2026-01-01"}),
        ("x:a=1\nb = 2", {"type": "x", "a": "1\nb = 2"}),
        ("x: a =1", {"type": "x", "a": 1}),
    ],
)
def test_options(word: str, expected: dict[str, object]) -> None:
    assert list(read_collectors([word]).values()) == [expected]


def test_collectors_of_one_type_have_names_of_their_own() -> None:
    assert list(read_collectors(["file:path=a", "syslog", "file:path=b", "file:path=c"])) == [
        "file",
        "syslog",
        "file-2",
        "file-3",
    ]


def test_all_mistakes_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        read_collectors([":path=x", "file:path", "file:=x", "file:a=1,a=2", "file:a=1,,b=2"])
    assert caught.value.problems == (
        "--collector ':path=x': found no type, expected TYPE or TYPE:key=value,...",
        "--collector 'file:path': found 'path', expected key=value",
        "--collector 'file:=x': found '=x', expected key=value",
        "--collector 'file:a=1,a=2': found a twice, expected it once",
        "--collector 'file:a=1,,b=2': found '', expected key=value",
    )


@given(words=st.lists(st.text(max_size=40), max_size=3))
def test_any_text_is_tables_or_a_config_error(words: list[str]) -> None:
    tables: dict[str, dict[str, object]] | None = None
    with contextlib.suppress(ConfigError):
        tables = read_collectors(words)
    assert tables is None or len(tables) == len(words)
