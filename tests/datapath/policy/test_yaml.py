"""YAML becomes what JSON knows, each value with its place; the rest is refused."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trireme_collector.errors import ConfigError, MissingExtraError
from trireme_datapath.policy import _yaml
from trireme_datapath.policy._yaml import parse_yaml

if TYPE_CHECKING:
    from pytest_mock import MockerFixture

pytest.importorskip("yaml")

TEXTS = st.text(st.characters(categories=("L", "N", "P")), max_size=5)
JSON = st.recursive(
    st.booleans() | st.integers(-(10**9), 10**9) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner),
    max_leaves=8,
)


def message_of(text: str) -> str:
    try:
        parse_yaml(text, "f")
    except ConfigError as error:
        return str(error)
    return ""


def test_values_and_their_places() -> None:
    document = parse_yaml('a: 1\nb:\n- x: "1"\n- ~\n--- # next\nc: true\n', "f")
    assert document.data == {"document": [{"a": 1, "b": [{"x": "1"}, None]}, {"c": True}]}
    assert document.position(("document", 0, "b", 0, "x")) == (3, 6)
    assert document.position(("document", 1, "c")) == (6, 4)
    assert document.nulls == (("document", 0, "b", 1),)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("80", 80),
        ("-1", -1),
        ("0777", "0777"),
        ("0x1f", "0x1f"),
        ("1_000", "1_000"),
        ("8:30", "8:30"),
        ("1.5", "1.5"),
        ("2026-01-01", "2026-01-01"),
        ("False", False),
        ("'true'", "true"),
        ("!!str 80", "80"),
        ("|\n  a\n", "a\n"),
    ],
)
def test_plain_texts_are_numbers_only_where_nobody_can_doubt_it(
    text: str, *, value: object
) -> None:
    assert parse_yaml(f"a: {text}", "f").get(("document", 0, "a")) == value


@given(st.dictionaries(TEXTS, JSON))
def test_json_is_yaml(value: dict[str, object]) -> None:
    text = json.dumps(value, ensure_ascii=False)
    assert parse_yaml(text, "f").data == {"document": [value]}


def test_aliases_stand_for_what_they_name() -> None:
    document = parse_yaml("a: &x {b: [1]}\nc: *x\n", "f")
    assert document.get(("document", 0, "c", "b")) == [1]
    assert document.position(("document", 0, "c", "b", 0)) == (2, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", 'f:2:1: found text that is not YAML ("did not find expected node content")'),
        ("a: b: c", "f:1:5: found text that is not YAML"),
        ("a: &x [*x]", "f:1:8: found a value that contains itself"),
        ("a: *x", 'f:1:4: found the unknown alias "x"'),
        ("a: &x 1\n---\nb: *x", 'f:3:4: found the unknown alias "x"'),
        ("a: !!python/object/apply:os.abort []", "f:1:4: found the tag"),
        ("!secret a: 1", 'f:1:1: found the tag "!secret"'),
        ("a: 1\na: 2", 'f:2:1: found the key "a" again'),
        ("a: &x {b: 1}\nc: {<<: *x}", "f:2:5: found a merge key"),
        ("{[1]: 2}", "f:1:2: found a key that is not a plain text"),
        ("a: on", "f:1:4: found on, which is true or false to some"),
        ("a: \x00", "f:1:4: found a character that YAML does not allow"),
        ("[" * 65 + "]" * 65, "f:1:65: found tables or arrays nested more than 64 deep"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    assert message_of(text).startswith(message)


def test_aliases_cannot_make_much_of_little() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 20)]
    began = time.process_time()
    assert "found more than 1000000 values" in message_of("\n".join(lines))
    assert "nested more than 64 deep" in message_of("[" * 1_000_000)
    assert "nested more than 64 deep" in message_of("{a: " * 300_000)
    assert time.process_time() - began < 2


def test_a_text_has_a_longest_length(mocker: MockerFixture) -> None:
    mocker.patch.object(_yaml, "MAX_YAML_BYTES", 4)
    assert message_of("a: b") == ""
    assert message_of("a: bc") == "f:1:1: found 5 characters, expected at most 4: fewer objects"


def test_without_the_package_the_message_names_the_extra(mocker: MockerFixture) -> None:
    mocker.patch("importlib.import_module", side_effect=ImportError)
    with pytest.raises(MissingExtraError, match=r"trireme-collector\[yaml\]"):
        parse_yaml("a: 1", "f")


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_with_its_place(text: str) -> None:
    message = message_of(text)
    assert not message or message.startswith("f:")
