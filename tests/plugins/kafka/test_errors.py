"""Errors are told in the same words each time, and mean what they should for records."""

from __future__ import annotations

import pytest

from trireme_collector_kafka._errors import Meaning, Troubles, explain, judge

DOWN, SSL, TRANSPORT, AUTHENTICATION, TOO_LARGE, NOT_LEADER = -187, -181, -195, -169, 10, 6


class Fault:
    """An error as the library gives it."""

    def __init__(self, code: int, text: str = "", *, fatal: bool = False) -> None:
        self._code = code
        self._text = text
        self._fatal = fatal

    def code(self) -> int:
        return self._code

    def str(self) -> str:
        return self._text

    def fatal(self) -> bool:
        return self._fatal


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        (DOWN, Meaning.RETRY),
        (SSL, Meaning.RETRY),
        (NOT_LEADER, Meaning.RETRY),
        (3, Meaning.RETRY),
        (-188, Meaning.RETRY),
        (-152, Meaning.RETRY),
        (12345, Meaning.RETRY),
        (AUTHENTICATION, Meaning.NOT_ALLOWED),
        (29, Meaning.NOT_ALLOWED),
        (31, Meaning.NOT_ALLOWED),
        (58, Meaning.NOT_ALLOWED),
        (TOO_LARGE, Meaning.REFUSED),
        (87, Meaning.REFUSED),
    ],
)
def test_what_nobody_knows_is_tried_again(code: int, meaning: Meaning) -> None:
    assert judge(code) is meaning


@pytest.mark.parametrize(
    ("code", "text", "said"),
    [
        (DOWN, "3/3 brokers are down", "no broker can be reached"),
        (SSL, "ssl://a:1: handshake failed: \x1b[31mcertificate verify failed", "TLS failed"),
        (-193, "a: Name or service not known", "the name of a broker cannot be resolved"),
        (29, "Broker: Topic authorization failed", "give it the right WRITE"),
        (TOO_LARGE, "Broker: Message size too large", "see max_message_bytes"),
        (44, "Broker: Policy violation", "see the settings of the topic"),
        (77, "Broker: something", "(error 77)"),
    ],
)
def test_a_message_says_what_to_do(code: int, text: str, said: str) -> None:
    message = explain(Fault(code, text), tls=False)
    assert said in message
    assert message.isprintable()
    assert len(message) < 500


def test_the_same_trouble_has_the_same_words() -> None:
    texts = [
        f"ssl://a:9093/1: Connect failed: refused (after {n}ms in state CONNECT,"
        f" {n} identical error(s) suppressed)"
        for n in (3, 14)
    ]
    assert len({explain(Fault(SSL, text), tls=True) for text in texts}) == 1


def test_tls_is_asked_for_where_it_may_be_missing() -> None:
    assert "whether they want tls" in explain(Fault(DOWN), tls=False)
    assert "whether they want tls" not in explain(Fault(DOWN), tls=True)


def worst(troubles: Troubles) -> int | None:
    return None if troubles.worst is None else troubles.worst.code()


def test_the_trouble_that_says_most_is_kept() -> None:
    troubles = Troubles()
    troubles.note(Fault(TRANSPORT))
    assert worst(troubles) is None
    for code, kept in (
        (DOWN, DOWN),
        (SSL, SSL),
        (DOWN, SSL),
        (AUTHENTICATION, AUTHENTICATION),
        (SSL, AUTHENTICATION),
    ):
        troubles.note(Fault(code))
        assert worst(troubles) == kept
    troubles.forget()
    assert worst(troubles) is None


def test_an_error_may_end_a_producer() -> None:
    troubles = Troubles()
    assert not troubles.are_fatal
    troubles.note(Fault(TRANSPORT, fatal=True))
    assert worst(troubles) == TRANSPORT
    assert (troubles.are_fatal, worst(troubles)) == (True, TRANSPORT)
