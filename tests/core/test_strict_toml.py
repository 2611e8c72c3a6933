"""TOML is read strictly: every mistake at once, at its place, without giving secrets away."""

from __future__ import annotations

import datetime
import enum
import json
import math
import tomllib
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from trireme_collector.errors import ConfigError
from trireme_collector.strict_toml import (
    MAX_NESTING,
    Document,
    DocumentError,
    Unfit,
    load_document,
    parse_document,
)

if TYPE_CHECKING:
    from pathlib import Path


Plain: TypeAlias = Any  # what the parser returns: nested, and of no certain type


def paths_of(value: object, path: tuple[str | int, ...] = ()) -> set[tuple[str | int, ...]]:
    found = {path} if path else set()
    if isinstance(value, dict):
        for key, element in value.items():
            found |= paths_of(element, (*path, key))
    elif isinstance(value, list):
        for index, element in enumerate(value):
            found |= paths_of(element, (*path, index))
    return found


# --- positions ------------------------------------------------------------------------------

HANDMADE = '''
# a comment = 1
title = "TOML \\" # not a comment"
"quoted key" = 1
'literal.key' = 2
"\\u0041\\t" = 3
a.b . "c d".e = true
a.b.f = [1, [2, 3], {x = 1, y.z = "}"}, # ] comment
  """multi
  ]line \\""" quote""""" , 07:32:00, 1979-05-27 07:32:00, ]
lit = \'\'\'
it\'s ]] \'\'\'
empty = []
none = {}
inf = -inf
[table]
key = 1 # why
[table.sub."x.y"]
"" = ""
[[array]]
n = 1
[array.child]
deep = 1
[[array.list]]
m = 1
[[array.list]]
m = 2
[[array]]
n = 2
[array.child]
[super.above]
[super]
late = 1
'''


def test_every_path_of_a_handmade_document_has_its_place() -> None:
    document = parse_document(HANDMADE)
    assert document.positions.paths == paths_of(document.data)
    lines = HANDMADE.split("\n")

    def at(*path: str | int) -> str:
        line, column = document.position(path)
        return lines[line - 1][column - 1 :]

    assert at("title").startswith('"TOML')
    assert at("a", "b", "f", 1, 1).startswith("3]")
    assert at("a", "b", "f", 2, "y", "z").startswith('"}"}')
    assert at("a", "b", "f", 3) == '"""multi'
    assert at("a", "b", "f", 5).startswith("1979")
    assert at("lit") == "'''"
    assert at("array") == "[[array]]"
    assert document.position(("array",)) == document.position(("array", 0))
    assert at("array", 1, "n") == "2"
    assert at("array", 0, "list", 1, "m") == "2"
    assert lines[document.position(("array", 1))[0]] == "n = 2"
    assert at("table", "sub", "x.y").startswith("[table.sub")
    assert document.positions.of_key(("table", "key")).column == 1
    assert document.position(("table", "key")).column == 7


def test_what_is_not_there_is_placed_at_the_table_around_it() -> None:
    document = parse_document("a = 1\n\n[t]\nx = 2\n")
    assert document.position(("t", "missing")) == (3, 2)
    assert document.position(("t", "x", "deeper", 3)) == (4, 1)
    assert document.position(("missing",)) == (1, 1)


bare_keys = st.text("abcXYZ019_-", min_size=1, max_size=4)
any_keys = st.one_of(bare_keys, st.text(st.characters(codec="utf-8"), max_size=4))
texts = st.text(st.characters(codec="utf-8"), max_size=8)
scalars = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    texts,
    st.datetimes(timezones=st.just(datetime.UTC)),
    st.dates(),
    st.times(),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_keys, inner, max_size=4),
    max_leaves=8,
)


class Writer:
    """Writes data as TOML in one of the many ways, as the drawn choices say."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.lines: list[str] = []

    def choose(self, *ways: Plain) -> Plain:
        return self.draw(st.sampled_from(ways))

    def space(self) -> str:
        return str(self.choose("", " ", "\t", "  "))

    def blank(self) -> str:
        return str(self.choose("", " ", "\n", " # ] } , = comment\n", "\n\n\t"))

    def basic(self, text: str) -> str:
        encoded = json.dumps(text, ensure_ascii=self.choose(False, True))
        # JSON writes astral characters as two surrogates, which TOML does not know.
        if any(ord(c) > 0xFFFF for c in text):
            encoded = json.dumps(text, ensure_ascii=False)
        return encoded.replace("\x7f", "\\u007f")

    def text(self, text: str) -> str:
        plain = all(c.isprintable() for c in text)
        ways = ["basic", "long"]
        if plain and "'" not in text:
            ways += ["literal", "long literal"]
        way = self.choose(*ways)
        if way == "literal":
            return f"'{text}'"
        if way == "long literal":
            return f"'''{self.choose('', chr(10))}{text}'''"
        if way == "long":
            quotes = '"' if self.choose(False, True) and text else ""
            body = self.basic(text)[1:-1]
            newline = "" if body.startswith("\n") else self.choose("", "\n", "\\\n  ")
            if newline.startswith("\\") and text[:1] in {" ", "\t", "\n"}:
                newline = ""
            return f'"""{newline}{body}{quotes}"""' if not quotes else f'"""{body}"""'
        return self.basic(text)

    def key(self, key: str) -> str:
        if key and all(c in "abcXYZ019_-" for c in key) and self.choose(True, True, False):
            return key
        if all(c.isprintable() for c in key) and "'" not in key and self.choose(True, False):
            return f"'{key}'"
        return self.basic(key)

    def value(self, value: Plain) -> str:
        match value:
            case bool():
                return "true" if value else "false"
            case int():
                return str(value)
            case float():
                return repr(value) if math.isfinite(value) else str(value)
            case str():
                return self.text(value)
            case datetime.datetime():
                return value.isoformat(sep=self.choose(" ", "T"))
            case datetime.date() | datetime.time():
                return value.isoformat()
            case list():
                parts = [f"{self.blank()}{self.value(v)}{self.blank()}" for v in value]
                end = "," if parts and self.choose(True, False) else ""
                return "[" + ",".join(parts) + end + self.blank() + "]"
        pairs = [self.pair(k, v) for k, v in value.items()]
        return "{" + self.space() + ", ".join(pairs) + self.space() + "}"

    def pair(self, key: str, value: Plain) -> str:
        words = self.space() + self.key(key) + self.space()
        while isinstance(value, dict) and len(value) == 1 and self.choose(True, False):
            ((key, value),) = value.items()
            words += "." + self.space() + self.key(key) + self.space()
        return f"{words}={self.space()}{self.value(value)}{self.space()}"

    def table(self, path: list[str], table: dict[str, Any]) -> None:
        later: list[tuple[str, Any]] = []
        for key, value in table.items():
            tables = isinstance(value, list) and value and all(isinstance(v, dict) for v in value)
            if (isinstance(value, dict) or tables) and self.choose(True, True, False):
                later.append((key, value))
            else:
                self.lines.append(self.pair(key, value) + self.choose("", "# x"))
        for key, value in later:
            words = [*path, self.space() + self.key(key) + self.space()]
            name = ".".join(words)
            for element in value if isinstance(value, list) else [value]:
                self.lines.append(f"[[{name}]]" if isinstance(value, list) else f"[{name}]")
                self.table(words, element)


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    data = draw(st.dictionaries(any_keys, values, max_size=5))
    writer = Writer(draw)
    writer.table([], data)
    return "\n".join(writer.lines) + draw(st.sampled_from(["", "\n"])), data


@given(documents())
def test_paths_are_those_of_the_parser_and_places_hold_the_values(
    drawn: tuple[str, dict[str, Any]],
) -> None:
    text, data = drawn
    document = parse_document(text)
    assert paths_of(document.data) == paths_of(data)
    assert document.positions.paths == paths_of(document.data)
    lines = text.replace("\r\n", "\n").split("\n")
    for path in document.positions.paths:
        value = document.get(path)
        line, column = document.position(path)
        rest = "\n".join([lines[line - 1][column - 1 :], *lines[line:]])
        if not isinstance(value, dict | list | str):
            word = rest.split(",")[0].split("]")[0].split("}")[0].split("#")[0].split("\n")[0]
            read = tomllib.loads(f"x = {word}")["x"]
            assert read == value, (path, word)
        elif isinstance(value, str):
            assert rest[0] in "\"'", path


# --- conversion -----------------------------------------------------------------------------


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Square(msgspec.Struct, tag_field="type", tag="square"):
    side: int


class Circle(msgspec.Struct, tag_field="type", tag="circle"):
    radius: float


def check_even(value: int) -> None:
    if value % 2:
        raise Unfit("an even number", nearest=str(value + 1))


class Inner(msgspec.Struct):
    name: str
    size: Annotated[int, Meta(ge=1, le=9)] = 1

    def __post_init__(self) -> None:
        if self.name == "bad":
            raise ValueError("the name bad is taken")


class Everything(msgspec.Struct, kw_only=True):
    flag: bool = False
    count: Annotated[int, Meta(ge=0, le=65535)] = 0
    ratio: Annotated[float, Meta(gt=0)] = 1.0
    word: Annotated[str, Meta(min_length=1, max_length=5)] = "x"
    code: Annotated[str, Meta(pattern="^[a-z]+$")] = "a"
    mode: Literal["accept", "reject"] = "accept"
    color: Color = Color.RED
    inner: list[Inner] = []
    table: dict[str, int] = {}
    either: int | list[str] = 0
    shape: Square | Circle | None = None
    pair: tuple[int, str] = (1, "a")
    some: Annotated[list[int], Meta(max_length=2, min_length=1)] = msgspec.field(
        default_factory=lambda: [1]
    )
    even: Annotated[int, Meta(extra={"validate": check_even, "expected": "an even integer"})] = 2
    when: datetime.datetime | None = None
    day: datetime.date | None = None
    whatever: Any = None
    hyphened: int = msgspec.field(name="hy-phened", default=0)


def problems_of(text: str, kind: type = Everything) -> list[str]:
    document = parse_document(text, "f")
    value = document.convert((), kind)
    assert (value is None) == bool(document.problems)
    return [str(problem) for problem in document.problems]


def test_the_only_element_without_brackets() -> None:
    class Named(msgspec.Struct):
        names: list[str] = []
        numbers: list[int] = []

    (problem,) = problems_of("names = 'x'", Named)
    assert problem == 'f:1:9: names: found string "x", expected an array (did you mean ["x"]?)'
    (problem,) = problems_of("numbers = 'x'", Named)
    assert problem == 'f:1:11: numbers: found string "x", expected an array'


MISTAKES = [
    ("flag = 1", "f:1:8: flag: found integer 1, expected true or false"),
    ("count = true", "f:1:9: count: found true, expected an integer from 0 to 65535"),
    ("count = 70000", "f:1:9: count: found integer 70000, expected an integer from 0 to 65535"),
    ("count = 1.0", "f:1:9: count: found number 1.0, expected an integer from 0 to 65535"),
    ("ratio = 0", "f:1:9: ratio: found integer 0, expected a number above 0"),
    ("ratio = nan", "f:1:9: ratio: found number nan, expected a number above 0"),
    ('word = ""', 'f:1:8: word: found string "", expected a string of 1 to 5 characters'),
    ('code = "A"', 'f:1:8: code: found string "A", expected a string matching ^[a-z]+$'),
    (
        'mode = "acept"',
        (
            'f:1:8: mode: found string "acept", expected one of "accept", "reject" '
            '(did you mean "accept"?)'
        ),
    ),
    (
        'color = "bleu"',
        'f:1:9: color: found string "bleu", expected one of "red", "blue" (did you mean "blue"?)',
    ),
    ("inner = 1", "f:1:9: inner: found integer 1, expected an array"),
    ("[inner]\nname = 'x'", "f:1:1: inner: found a table, expected an array"),
    ("[[inner]]", "f:1:1: inner[0].name: found nothing, expected a string"),
    (
        "inner = [{name = 'a'}, {nome = 'b', name = 'c'}]",
        (
            'f:1:25: inner[1].nome: found unknown key "nome", expected one of name, size '
            "(did you mean name?)"
        ),
    ),
    (
        "[[inner]]\nname = 'bad'",
        "f:1:1: inner[0]: found what does not go together, expected the name bad is taken",
    ),
    ("[table]\na = 'x'", 'f:2:5: table.a: found string "x", expected an integer'),
    ("either = 'x'", 'f:1:10: either: found string "x", expected an integer or an array'),
    ("either = ['x', 1]", "f:1:16: either[1]: found integer 1, expected a string"),
    ("shape = {side = 1}", 'f:1:1: shape.type: found nothing, expected one of "square", "circle"'),
    (
        "shape = {type = 'circl', radius = 1}",
        (
            'f:1:17: shape.type: found string "circl", expected one of "square", "circle" '
            '(did you mean "circle"?)'
        ),
    ),
    (
        "shape = {type = 'square', side = 'x'}",
        'f:1:34: shape.side: found string "x", expected an integer',
    ),
    ("shape = 1", 'f:1:9: shape: found integer 1, expected a table with type = "square" or'),
    ("pair = [1]", "f:1:8: pair: found an array of 1, expected an array of 2"),
    ("pair = [1, 2]", "f:1:12: pair[1]: found integer 2, expected a string"),
    ("some = []", "f:1:8: some: found an empty array, expected an array of 1 to 2"),
    ("even = 3", "f:1:8: even: found integer 3, expected an even number (did you mean 4?)"),
    ("even = 'x'", 'f:1:8: even: found string "x", expected an even integer'),
    ("when = 1979-05-27", "f:1:8: when: found date 1979-05-27, expected a date and time"),
    ("day = 07:32:00", "f:1:7: day: found time 07:32:00, expected a date"),
    ("hyphened = 1", 'f:1:1: hyphened: found unknown key "hyphened", expected one of'),
    ('"a b" = 1', 'f:1:1: "a b": found unknown key "a b"'),
    ("count = 99999999999999999999", "f:1:9: count: found integer 99999999999999999999"),
    ('word = "a\\u001b[31m\\u009b"', 'f:1:8: word: found string "a\\u001b[31m\\u009b"'),
]


@pytest.mark.parametrize(("text", "expected"), MISTAKES, ids=[text for text, _ in MISTAKES])
def test_a_mistake_is_named_with_its_place(text: str, expected: str) -> None:
    (problem,) = problems_of(text)
    assert problem.startswith(expected)


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file() -> None:
    text = "mode = 'x'\n[[inner]]\nsize = 0\n[[inner]]\nname = 1\n[table]\na = true"
    document = parse_document(text, "many.toml")
    assert document.convert((), Everything) is None
    with pytest.raises(ConfigError) as caught:
        document.raise_problems()
    assert [p.split(":")[1] for p in caught.value.problems] == ["1", "2", "3", "5", "7"]
    assert str(caught.value) == "\n".join(caught.value.problems)


def test_a_sound_document_converts() -> None:
    document = parse_document(
        "flag = true\nratio = 2\ncolor = 'blue'\npair = [3, 'b']\nshape = {type='square', side=1}\n"
        "when = 1979-05-27T07:32:00Z\nday = 1979-05-27\nhy-phened = 4\n[[inner]]\nname = 'n'"
    )
    value = document.convert((), Everything)
    document.raise_problems()
    assert value is not None
    assert (value.flag, value.ratio, value.color) == (True, 2.0, Color.BLUE)
    assert value.inner == [Inner(name="n")]
    assert value.shape == Square(side=1)
    assert value.hyphened == 4


def test_an_empty_file_is_called_empty() -> None:
    (problem,) = problems_of("# only a comment\n", Inner)
    assert problem == "f:1:1: name: found an empty file, expected a string"


def test_sound_parts_of_an_unsound_document_can_be_taken() -> None:
    document = parse_document("[[inner]]\nname = 'a'\n[[inner]]\nname = 1\n")
    assert document.convert((), Everything) is None
    assert document.part(("inner", 0), Inner) == Inner(name="a")
    assert document.part(("inner", 1), Inner) is None
    assert document.part((), Everything, without=("inner",)) == Everything()
    assert document.length(("inner",)) == 2
    assert document.length(("inner", 0)) == 0


def test_a_problem_of_ones_own_joins_the_others() -> None:
    document = parse_document("[a]\nport = 1\n", "f")
    document.add_problem(("a", "port"), expected="another port", nearest="2")
    document.add_problem(("a", "port"), expected="another port", nearest="2")
    document.add_problem(("a", "prot"), expected="a key", of_key=True)
    assert [str(p) for p in document.problems] == [
        "f:1:2: a.prot: found nothing, expected a key",
        "f:2:8: a.port: found integer 1, expected another port (did you mean 2?)",
    ]


class Login(msgspec.Struct):
    password: int
    api_token: list[int]
    url: int
    auth: dict[str, int]


def test_secrets_are_not_shown() -> None:
    text = (
        'password = "hunter2"\napi_token = [1, "hunter2"]\nurl = "https://joe:hunter2@x/"\n'
        'auth = {client-secret = "hunter2"}'
    )
    problems = problems_of(text, Login)
    assert len(problems) == 4
    assert "hunter2" not in "".join(problems)
    assert "https://***@x/" in problems[2]
    open_document = parse_document(text, redacted=())
    open_document.convert((), Login)
    assert "hunter2" in str(open_document.problems[0])


# --- files and syntax -----------------------------------------------------------------------

SYNTAX = [
    ("a = ", 1, 5),
    ("a = 1\na = 2", 2, 6),
    ("[a]\n[a]", 2, 3),
    ("[[a]\n", 1, 4),
    ("a = 'x", 1, 7),
    ("\n\na b = 1", 3, 3),
    ("\ufeffa = 1", 1, 1),
    ("a = 2024-13-01", 1, 9),
    (f"a = {'9' * 5000}", 1, 1),
    ("a = " + "[" * 200 + "]" * 200, 1, 1),
    ("a = " + "[" * 100_000, 1, 1),
    (".".join("a" * (MAX_NESTING + 1)) + " = 1", 1, 1),
]


@pytest.mark.parametrize(("text", "line", "column"), SYNTAX, ids=[t[:12] for t, _, _ in SYNTAX])
def test_what_is_not_toml_has_a_place(text: str, line: int, column: int) -> None:
    with pytest.raises(DocumentError) as caught:
        parse_document(text, "f.toml")
    (problem,) = caught.value.details
    assert problem.line == line
    assert abs(problem.column - column) <= 1  # versions of the parser differ by one
    assert str(caught.value).startswith(f"f.toml:{line}:")


@given(st.text(max_size=60))
def test_any_text_is_a_document_or_a_config_error_with_a_place(text: str) -> None:
    message = "f:"
    try:
        document = parse_document(text, "f")
    except ConfigError as error:
        message = str(error)
    else:
        assert document.positions.paths == paths_of(document.data)
    assert message.startswith("f:")


def test_a_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_bytes(b"a = 1\r\nb = '\xc3\xa9'\r\n")
    document = load_document(file)
    assert isinstance(document, Document)
    assert document.data == {"a": 1, "b": "é"}
    assert document.position(("b",)) == (2, 5)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_document(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="a directory"):
        load_document(tmp_path)
    with pytest.raises(ConfigError, match="not a regular file"):
        load_document("/dev/null")
    with pytest.raises(ConfigError, match="embedded null"):
        load_document("a\0b")
    with pytest.raises(ConfigError, match="not a directory"):
        load_document("/dev/null/x")


def test_a_file_that_is_not_utf8_says_where(tmp_path: Path) -> None:
    file = tmp_path / "latin.toml"
    file.write_bytes(b"a = 1\nb = '\xe9'\n")
    with pytest.raises(ConfigError, match=r"latin.toml:2:6: found byte 0xe9"):
        load_document(file)


def test_a_file_that_everybody_can_change_is_refused_when_asked(tmp_path: Path) -> None:
    file = tmp_path / "open.toml"
    file.write_text("a = 1\n")
    file.chmod(0o666)
    assert load_document(file).data == {"a": 1}
    with pytest.raises(ConfigError, match="chmod o-w"):
        load_document(file, refuse_world_writable=True)
    file.chmod(0o664)
    assert load_document(file, refuse_world_writable=True).data == {"a": 1}
