"""One line of JSON asks, one line answers: as functions over bytes, without a socket.

::

    {"version": 1, "command": "reload", "arguments": {}}
    {"version": 1, "ok": true, "result": {"revision": "5d1a...", ...}}
    {"version": 1, "ok": false, "error": {"kind": "config", "message": "...", "problems": [...]}}
"""

from __future__ import annotations

import enum
from typing import Final, Literal

import msgspec

__all__ = [
    "MAX_ANSWER_BYTES",
    "MAX_REQUEST_BYTES",
    "PROTOCOL_VERSION",
    "Answer",
    "ErrorKind",
    "Failure",
    "Request",
    "read_answer",
    "read_request",
    "write_failure",
    "write_request",
    "write_result",
]

PROTOCOL_VERSION: Final = 1
MAX_REQUEST_BYTES: Final = 16_384
"""A longer request is refused; the longest sound one has a few file names and addresses."""
MAX_ANSWER_BYTES: Final = 1_048_576
"""A longer answer is not sent, and not read: a thousand collectors take less."""


class ErrorKind(enum.StrEnum):
    """Why there is no result."""

    BAD_REQUEST = "bad_request"
    UNKNOWN_COMMAND = "unknown_command"
    BAD_ARGUMENTS = "bad_arguments"
    CONFIG = "config"
    FAILED = "failed"
    TIMEOUT = "timeout"
    ENDING = "ending"
    INTERNAL = "internal"


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is asked for.

    Attributes:
        version: The version of this protocol.
        command: The name of the command.
        arguments: An object with its arguments, not read yet.
    """

    version: Literal[1] = 1
    command: str
    arguments: msgspec.Raw = msgspec.Raw(b"{}")


class Failure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why there is no result.

    Attributes:
        kind: An `ErrorKind`, or one of a later version.
        message: What failed, on what, what to do.
        problems: One line per mistake, each with its place, where there are several.
    """

    kind: str
    message: str
    problems: tuple[str, ...] = ()


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What comes back.

    Attributes:
        version: The version of this protocol.
        ok: Whether there is a result.
        result: The result as JSON, not read yet.
        error: Why there is none.
    """

    version: int
    ok: bool
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: Failure | None = None


_requests: Final = msgspec.json.Decoder(Request)
_answers: Final = msgspec.json.Decoder(Answer)


def read_request(data: bytes | bytearray) -> Request | Failure | None:
    """Read a request as far as it is there.

    Args:
        data: What the client has sent.

    Returns:
        The request or its refusal, or None while the line is not whole.
    """
    end = data.find(b"\n", 0, MAX_REQUEST_BYTES)
    if end < 0:
        if len(data) < MAX_REQUEST_BYTES:
            return None
        return _bad(f"the request is longer than {MAX_REQUEST_BYTES} bytes")
    try:
        return _requests.decode(bytes(data[:end]))
    except RecursionError:
        return _bad("the request is nested too deeply")
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return _bad(f"the request is not one of this protocol: {error}")


def read_answer(line: bytes) -> Answer:
    """Read a whole answer.

    Raises:
        ValueError: It is none.
    """
    try:
        return _answers.decode(line)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(str(error)) from error


def write_request(command: str, arguments: msgspec.Struct | None = None) -> bytes:
    """Write a request with its line end."""
    raw = msgspec.Raw(b"{}" if arguments is None else msgspec.json.encode(arguments))
    return msgspec.json.encode(Request(command=command, arguments=raw)) + b"\n"


def write_result(result: msgspec.Struct) -> bytes:
    """Write an answer that has a result, with its line end."""
    raw = msgspec.Raw(msgspec.json.encode(result))
    line = msgspec.json.encode(Answer(version=PROTOCOL_VERSION, ok=True, result=raw)) + b"\n"
    if len(line) > MAX_ANSWER_BYTES:
        msg = f"the answer is longer than {MAX_ANSWER_BYTES} bytes"
        return write_failure(Failure(kind=ErrorKind.INTERNAL, message=msg))
    return line


def write_failure(failure: Failure) -> bytes:
    """Write an answer without a result, with its line end."""
    answer = Answer(version=PROTOCOL_VERSION, ok=False, error=failure)
    line = msgspec.json.encode(answer) + b"\n"
    if len(line) > MAX_ANSWER_BYTES:
        short = msgspec.structs.replace(
            failure, message=failure.message[:1000], problems=failure.problems[:20]
        )
        cut = tuple(problem[:1000] for problem in short.problems)
        short = msgspec.structs.replace(short, problems=cut)
        line = msgspec.json.encode(msgspec.structs.replace(answer, error=short)) + b"\n"
    return line


def _bad(message: str) -> Failure:
    return Failure(kind=ErrorKind.BAD_REQUEST, message=message)
