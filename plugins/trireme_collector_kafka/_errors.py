"""What an error of the library or of a broker means for records, and how it is told."""

from __future__ import annotations

import enum
import re
from typing import Protocol

from trireme_collector.formats import escape_text

__all__ = ["KafkaFault", "Meaning", "Troubles", "explain", "judge"]

_SHOWN_CHARACTERS = 300
# Times and counts: with them, the same failure would read differently each time.
_VARIABLE = re.compile(r" ?\((?:after|\d+ identical|\d+/\d+ )[^)]*\)|, \d+ identical error\(s\)\S*")

_ALL_BROKERS_DOWN = -187
_RESOLVE = -193
_TRANSPORT = -195
_SSL = -181
_MISSING = {
    -188: "the topic does not exist",  # known here, from metadata
    3: "the topic does not exist",  # a broker says so
    -190: "the topic has no such partition",
}
_NOT_ALLOWED = {
    -169: "the brokers do not accept the user and password",
    58: "the brokers do not accept the user and password",
    33: "the brokers do not speak this sasl_mechanism",
    34: "the brokers want another sasl_mechanism, or none",
    29: "this user may not write to the topic",
    30: "this user may not commit offsets of the group",
    31: "this user may not produce idempotently to the cluster",
    53: "this user may not produce idempotently to the cluster",
}
_REFUSED = {
    10: "the message is larger than allowed",
    18: "the batch of messages is larger than a segment of the topic",
    21: "the brokers refuse the acknowledgement of all replicas",
    32: "the time of the message is out of the range that the topic allows",
    43: "the brokers are too old for such messages",
    44: "the message is against a policy of the brokers",
    76: "the brokers do not know this compression",
    87: "the brokers refuse the message",
}
_REMEDIES = {
    -188: "create it, or let this user describe it",
    3: "create it, or let this user describe it",
    29: "give it the right WRITE",
    30: "give it the right READ on the group",
    31: "give it the right WRITE on the topic, or IDEMPOTENT_WRITE on the cluster",
    10: "see max_message_bytes, and max.message.bytes of the topic",
    76: "set another compression",
}


_AUTHENTICATION, _UNSUPPORTED_MECHANISM = -169, 33
_NO_MECHANISM = "Unsupported SASL mechanism"


class KafkaFault(Protocol):
    """An error as the library gives it."""

    def code(self) -> int:
        """Give its number."""
        ...

    def str(self) -> str:
        """Give its text."""
        ...

    def fatal(self) -> bool:
        """Whether the producer cannot be used any more."""
        ...


class Meaning(enum.Enum):
    """What an error means for the records that it concerns."""

    RETRY = "retry"
    NOT_ALLOWED = "not allowed"
    REFUSED = "refused"


def judge(code: int) -> Meaning:
    """Tell what is to be done after an error."""
    if code in _NOT_ALLOWED:
        return Meaning.NOT_ALLOWED
    return Meaning.REFUSED if code in _REFUSED else Meaning.RETRY


def explain(fault: KafkaFault, *, tls: bool) -> str:
    """Say what went wrong, the same words for the same trouble."""
    code = fault.code()
    said = escape_text(" ".join(_VARIABLE.sub("", fault.str()).split()))[:_SHOWN_CHARACTERS]
    if code in (_ALL_BROKERS_DOWN, _TRANSPORT):
        hint = "" if tls else ", and whether they want tls"
        return f"no broker can be reached; start them or check brokers{hint}"
    if code == _RESOLVE:
        return "the name of a broker cannot be resolved; check brokers"
    if code == _SSL:
        return f"TLS failed ({said}); check ca_file, the certificates of both sides and the clocks"
    if code == _AUTHENTICATION and _NO_MECHANISM in said:
        code = _UNSUPPORTED_MECHANISM  # the library takes it for a wrong password
    meaning = _MISSING.get(code) or _NOT_ALLOWED.get(code) or _REFUSED.get(code)
    if meaning is None:
        return f"the brokers or the library report: {said} (error {code})"
    if code in _NOT_ALLOWED and code not in _REMEDIES:
        return f"{meaning} ({said}); mend them"
    remedy = _REMEDIES.get(code, "see the settings of the topic")
    return f"{meaning} ({said}); {remedy}"


class Troubles:
    """What keeps a producer from its brokers, as far as the library told.

    Attributes:
        worst: The error that says most, or None.
        are_fatal: Whether nothing can be produced any more.
    """

    def __init__(self) -> None:
        """Start without any."""
        self.worst: KafkaFault | None = None
        self.are_fatal = False

    def note(self, fault: KafkaFault) -> None:
        """Take an error that concerns no single message."""
        if fault.fatal():
            self.are_fatal = True
        elif fault.code() == _TRANSPORT:
            return  # one broker of several; when it was the last one, that is said, too
        if self.worst is None or _weight(fault) >= _weight(self.worst):
            self.worst = fault

    def forget(self) -> None:
        """Take note that things go well."""
        self.worst = None


def _weight(fault: KafkaFault) -> int:
    if fault.fatal() or judge(fault.code()) is Meaning.NOT_ALLOWED:
        return 2
    return 0 if fault.code() == _ALL_BROKERS_DOWN else 1
