"""What an answer means, and what of it may be repeated."""

from __future__ import annotations

import email.utils

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trireme_collector.http_client import (
    Answer,
    Meaning,
    explain,
    judge,
    retry_after_seconds,
)

URL = "https://collector.example/records"
NOW_NS = 1_767_323_045_000_000_000
NOW = NOW_NS // 1_000_000_000


@pytest.mark.parametrize(
    ("meaning", "statuses"),
    [
        (Meaning.DELIVERED, [200, 201, 202, 204, 299]),
        (Meaning.REFUSED, [300, 301, 302, 303, 304, 307, 308, 402, 404, 405, 410, 415, 431, 451]),
        (Meaning.DIVIDE, [400, 413, 422]),
        (Meaning.CREDENTIAL_REFUSED, [401, 403, 407]),
        (Meaning.RETRY, [408, 421, 425, 429, 500, 501, 502, 503, 504, 507, 599, 0, 101, 600, 999]),
    ],
)
def test_each_status_has_one_meaning(meaning: Meaning, statuses: list[int]) -> None:
    assert {status: judge(Answer(status, {})) for status in statuses} == dict.fromkeys(
        statuses, meaning
    )


def test_a_status_may_be_taken_for_a_passing_trouble() -> None:
    assert judge(Answer(404, {}), [404]) is Meaning.RETRY
    assert judge(Answer(405, {}), [404]) is Meaning.REFUSED
    assert judge(Answer(204, {}), [404]) is Meaning.DELIVERED


@pytest.mark.parametrize(
    "text", [b"400 No required SSL certificate was sent", b"The plain HTTP request was sent"]
)
def test_a_400_about_tls_is_not_about_the_records(text: bytes) -> None:
    assert judge(Answer(400, {}, b"<title>" + text)) is Meaning.CREDENTIAL_REFUSED


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1", 1.0),
        ("120", 120.0),
        ("0120", 120.0),
        ("3600", 3600.0),
        ("3601", 3600.0),
        ("86400", 3600.0),
        ("9" * 10_000, 3600.0),
        (email.utils.formatdate(NOW + 90, usegmt=True), 90.0),
        (email.utils.formatdate(NOW + 90_000, usegmt=True), 3600.0),
        ("Friday, 02-Jan-26 03:05:05 GMT", 60.0),
        ("Fri Jan  2 03:05:05 2026", 60.0),
        # Nothing useful is said:
        ("0", None),
        ("000", None),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("+5", None),
        ("soon", None),
        ("١٢", None),
        (email.utils.formatdate(NOW - 1, usegmt=True), None),
        ("Fri, 99 Jan 2026 03:05:05 GMT", None),
        ("Fri, 02 Jan 99999 03:05:05 GMT", None),
    ],
)
def test_retry_after_is_read_in_both_forms(text: str, seconds: float | None) -> None:
    assert retry_after_seconds({"retry-after": text}, NOW_NS) == seconds


def test_a_date_counts_from_the_clock_of_the_server() -> None:
    headers = {
        "date": email.utils.formatdate(NOW - 7200, usegmt=True),
        "retry-after": email.utils.formatdate(NOW - 7200 + 45, usegmt=True),
    }
    assert retry_after_seconds(headers, NOW_NS) == 45.0


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_header_gives_a_pause_within_an_hour_or_none(text: str, date: str) -> None:
    seconds = retry_after_seconds({"retry-after": text, "date": date}, NOW_NS)
    assert seconds is None or 0 < seconds <= 3600


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("https://other.example/login?token=abc", "to 'other.example' (status 302)"),
        ("//other.example:8443/x", "to 'other.example':8443 (status 302)"),
        ("/login", "to 'collector.example' (status 302)"),
        ("http://[::bad", "to an impossible place"),
        ("https://user:pw@evil.example/", "to 'evil.example' (status 302)"),
    ],
)
def test_a_redirect_is_told_by_the_host_it_names(location: str, shown: str) -> None:
    message = explain(Answer(302, {"location": location}), URL)
    assert shown in message
    assert "redirects are not followed" in message
    assert "abc" not in message
    assert "pw" not in message


def test_what_an_answer_says_is_shown_short_and_harmless() -> None:
    message = explain(Answer(422, {}, b"bad\r\n\x1b[31mfield\xff " + b"x" * 1000), URL)
    assert message.startswith("it answered with status 422: bad \\u001b[31mfield")
    assert message.isprintable()
    assert len(message) < 300


def test_secrets_that_an_answer_repeats_are_not_shown() -> None:
    body = b'{"sent": "Bearer s3cret-token", "again": "s3cret-token"}'
    message = explain(Answer(400, {}, body), URL, [b"s3cret-token", b"Bearer s3cret-token"])
    assert "s3cret" not in message
    assert message.count("(not shown)") == 2


@given(st.binary(max_size=400), st.dictionaries(st.sampled_from(["location"]), st.text()))
def test_any_answer_is_explained_in_one_printable_line(
    body: bytes, headers: dict[str, str]
) -> None:
    for status in (302, 400, 500):
        assert explain(Answer(status, headers, body), URL).isprintable()
