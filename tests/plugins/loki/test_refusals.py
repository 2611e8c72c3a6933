"""What Loki complains about is understood; any other text is no complaint that we know."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trireme_collector.http_client import Answer
from trireme_collector_loki._refusals import oldest_accepted_ns, refuses_metadata

TOO_OLD = (
    "entry for stream '{app=\"x\"}' has timestamp too old: 2023-11-07T00:00:00Z,"
    " oldest acceptable timestamp is: "
)


def answer(text: str, status: int = 400) -> Answer:
    return Answer(status, {}, text.encode())


@given(
    st.datetimes(
        datetime.datetime(1970, 1, 1),  # noqa: DTZ001  the strategy wants it so
        datetime.datetime(2200, 1, 1),  # noqa: DTZ001  the strategy wants it so
    ),
    st.integers(0, 999_999_999),
)
def test_the_oldest_time_is_read(moment: datetime.datetime, nanoseconds: int) -> None:
    moment = moment.replace(microsecond=0, tzinfo=datetime.UTC)
    fraction = f".{nanoseconds:09}".rstrip("0").rstrip(".")
    said = f"{TOO_OLD}{moment.strftime('%Y-%m-%dT%H:%M:%S')}{fraction}Z\n"
    expected = round(moment.timestamp()) * 1_000_000_000 + nanoseconds
    assert oldest_accepted_ns(answer(said)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        TOO_OLD,
        TOO_OLD + "yesterday",
        TOO_OLD + "2023-11-14T22:13:20",
        TOO_OLD + "2023-13-14T22:13:20Z",
        TOO_OLD + "2023-11-14T22:13:20.xZ",
        TOO_OLD + "2023-11-14T22:13:20.5é",
        "oldest acceptable timestamp is: 2023-11-14T22:13:20Z",
        "entry too far behind, oldest acceptable timestamp is: 2023-11-14T22:13:20Z",
    ],
)
def test_other_complaints_name_no_time(text: str) -> None:
    assert oldest_accepted_ns(answer(text)) is None


def test_only_a_refusal_counts() -> None:
    text = TOO_OLD + "2023-11-14T22:13:20Z"
    assert oldest_accepted_ns(answer(text)) == 1_700_000_000_000_000_000
    assert oldest_accepted_ns(answer(text, 500)) is None


@given(st.binary(max_size=300) | st.binary(max_size=60).map(lambda b: TOO_OLD.encode() + b))
def test_any_answer_is_read(body: bytes) -> None:
    oldest_accepted_ns(Answer(400, {}, body))
    refuses_metadata(Answer(400, {}, body))


def test_structured_metadata_is_named() -> None:
    said = "stream '{}' includes structured metadata, but this feature is disallowed. Please see"
    assert refuses_metadata(answer(said))
    assert not refuses_metadata(answer(said, 500))
    assert not refuses_metadata(answer("structured metadata is too large"))
    assert not refuses_metadata(answer("disallowed"))
