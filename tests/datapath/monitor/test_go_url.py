"""URLs are taken apart and put together as Go does it.

The expected values follow from the source of `net/url` and its own tests.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trireme_datapath.monitor._go_url import GoURL, URLError, parse_url, url_form, url_text


@pytest.mark.parametrize(
    ("text", "url", "again"),
    [
        ("", GoURL(), ""),
        ("*", GoURL(path="*"), "*"),
        ("/", GoURL(path="/"), "/"),
        ("http://x", GoURL(scheme="http", host="x"), "http://x"),
        ("HTTP://X", GoURL(scheme="http", host="X"), "http://X"),
        ("http://x?", GoURL(scheme="http", host="x", force_query=True), "http://x?"),
        ("http://x??", GoURL(scheme="http", host="x", raw_query="?"), "http://x??"),
        ("/a?b=<c>", GoURL(path="/a", raw_query="b=<c>"), "/a?b=<c>"),
        ("/a b", GoURL(path="/a b", raw_path="/a b"), "/a%20b"),
        ("/a%2fb", GoURL(path="/a/b", raw_path="/a%2fb"), "/a%2fb"),
        ("/a%62", GoURL(path="/ab", raw_path="/a%62"), "/a%62"),
        ("/(a)!", GoURL(path="/(a)!", raw_path="/(a)!"), "/(a)!"),
        ("//h/p", GoURL(host="h", path="/p"), "//h/p"),
        ("///p", GoURL(path="///p"), "///p"),
        ("file:///p", GoURL(scheme="file", path="/p"), "file:///p"),
        ("file:/p", GoURL(scheme="file", path="/p", omit_host=True), "file:/p"),
        ("mailto:a@b.c", GoURL(scheme="mailto", opaque="a@b.c"), "mailto:a@b.c"),
        ("a/b:c", GoURL(path="a/b:c"), "a/b:c"),
        ("%3a", GoURL(path=":", raw_path="%3a"), "%3a"),
        ("http://u@h", GoURL(scheme="http", user="u", host="h"), "http://u@h"),
        ("http://u:@h", GoURL(scheme="http", user="u:", host="h"), "http://u:@h"),
        ("http://@h", GoURL(scheme="http", user="", host="h"), "http://@h"),
        ("http://a@b@h", GoURL(scheme="http", user="a%40b", host="h"), "http://a%40b@h"),
        ("http://u:p%20s@h", GoURL(scheme="http", user="u:p%20s", host="h"), "http://u:p%20s@h"),
        ("http://[::1]:80/", GoURL(scheme="http", host="[::1]:80", path="/"), "http://[::1]:80/"),
        (
            "http://[fe80::1%25e%6e0]/",
            GoURL(scheme="http", host="[fe80::1%en0]", path="/"),
            "http://[fe80::1%25en0]/",
        ),
        ("http://h:/", GoURL(scheme="http", host="h:", path="/"), "http://h:/"),
        ("http://%D7%A9/", GoURL(scheme="http", host="\u05e9", path="/"), "http://%D7%A9/"),
        ("#f", GoURL(fragment="f"), "#f"),
        ("/#a b", GoURL(path="/", fragment="a b", raw_fragment="a b"), "/#a%20b"),
        ("/#(x)", GoURL(path="/", fragment="(x)"), "/#(x)"),
        ("/#%3F", GoURL(path="/", fragment="?", raw_fragment="%3F"), "/#%3F"),
        ("/%FF", GoURL(path="/\udcff"), "/%FF"),
    ],
)
def test_parts(text: str, url: GoURL, again: str) -> None:
    assert parse_url(text.encode()) == url
    assert url_text(url) == again


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (":x", 'parse ":x": missing protocol scheme'),
        ("http://[::1", "parse \"http://[::1\": missing ']' in host"),
        ("http://h:8x/", 'parse "http://h:8x/": invalid port ":8x" after host'),
        ("http://[::1]x/", 'invalid port "x" after host'),
        ("/%zz", 'parse "/%zz": invalid URL escape "%zz"'),
        ("/%2", 'invalid URL escape "%2"'),
        ("http://a b/", 'invalid character " " in host name'),
        ("http://%41/", 'invalid URL escape "%41"'),
        ("http://u[@h/", "net/url: invalid userinfo"),
        ("a:b/c".replace("a", "1"), "first path segment in URL cannot contain colon"),
        ("/\x7f", "net/url: invalid control character in URL"),
        ("/#%", 'parse "/#%": invalid URL escape "%"'),
        ('/"%', 'parse "/\\"%": invalid URL escape "%"'),
    ],
)
def test_what_is_no_url(text: str, error: str) -> None:
    with pytest.raises(URLError) as raised:
        parse_url(text.encode())
    assert error in str(raised.value)


def test_an_error_can_be_printed() -> None:
    with pytest.raises(URLError) as raised:
        parse_url(b"/\xec\n%")
    assert str(raised.value).startswith('parse "/\\xec\\n%": net/url: invalid control')


@given(
    st.one_of(
        st.binary(max_size=60),
        st.text("/:@?#%[]0aA.!\u00e9 *", max_size=30).map(str.encode),
    )
)
def test_a_url_that_was_put_together_is_the_same_url(raw: bytes) -> None:
    try:
        url = parse_url(raw)
    except URLError:
        return
    text = url_text(url)
    if "\ufffd" in text:
        return  # a query may hold bytes that are no text
    again = parse_url(text.encode())
    assert (again.scheme, again.host, again.raw_query) == (url.scheme, url.host, url.raw_query)
    assert url_text(again) == text


def test_the_json_form_keeps_the_password_to_itself() -> None:
    form = url_form(parse_url(b"http://me:secret@h/"), omit_host=False)
    assert "secret" not in str(form)
    assert form["User"] == {}
    assert "OmitHost" not in form
