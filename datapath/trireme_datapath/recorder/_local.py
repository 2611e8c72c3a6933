"""Recording without a server: from the interfaces of this host into one file or pipe."""

from __future__ import annotations

import os
import stat
import sys
import time
from typing import TYPE_CHECKING, BinaryIO, cast

from trireme_collector.exit_codes import ExitCode
from trireme_datapath.recorder._awaited_input import AwaitedInput
from trireme_datapath.recorder._errors import RecorderError, Refusal
from trireme_datapath.recorder._output import StreamOutput
from trireme_datapath.recorder._recording import Recording, capture_length
from trireme_datapath.recorder._runner import RecordingRunner
from trireme_datapath.recorder.capture_formats import (
    MAX_CAPTURE_BYTES,
    CaptureFormat,
    encoder_of,
)

if TYPE_CHECKING:
    from trireme_datapath.recorder._recording import RecordingRequest
    from trireme_datapath.recorder._source import PacketSource

__all__ = ["STANDARD_OUTPUT", "LocalRecording", "open_local", "open_output", "open_replay"]

STANDARD_OUTPUT = "-"


class _OutputError(RecorderError):
    """The packets cannot be written."""

    exit_code = ExitCode.OUTPUT


class LocalRecording:
    """A recording of this process.

    Args:
        source: Where packets come from.
        request: What is wanted.
        path: The file, which must not be there yet; ``-`` for standard output.

    Raises:
        RecorderError: The file cannot be made.
    """

    def __init__(self, source: PacketSource, request: RecordingRequest, path: str) -> None:
        """Make the file; nothing is recorded yet."""
        self.path = path
        self._descriptor = open_output(path)
        try:
            now_ns = time.monotonic_ns()
            encoder = encoder_of(
                request.capture_format or CaptureFormat.PCAP,
                source.interfaces,
                max_bytes=capture_length(request.max_capture_length, 0),
            )
            output = StreamOutput(self._descriptor, encoder, now_ns)
        except OSError as error:
            os.close(self._descriptor)
            raise _refused(path, error) from error
        self.runner = RecordingRunner(Recording(request.stop_condition, now_ns), source, output)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def open_local(
    request: RecordingRequest, path: str, *, interfaces: tuple[str, ...]
) -> LocalRecording:
    """Tap interfaces of this host.

    Raises:
        RecorderError: They cannot be tapped, or the file cannot be made.
    """
    from trireme_datapath.recorder._tap import open_taps  # noqa: PLC0415  loads ctypes

    source = open_taps(
        interfaces,
        request.include,
        capture_bytes=capture_length(request.max_capture_length, MAX_CAPTURE_BYTES),
    )
    try:
        return LocalRecording(source, request, path)
    except BaseException:
        source.close()
        raise


def open_replay(
    request: RecordingRequest, path: str, *, capture: str, policy: str = ""
) -> LocalRecording:
    """Record the packets of a capture file.

    Args:
        request: What is wanted.
        path: Where to write.
        capture: The capture; ``-`` for standard input.
        policy: A policy file: packets get the verdict that it gives them.

    Raises:
        CaptureError: The capture cannot be read.
        ConfigError: The policy cannot be read, or has mistakes.
        RecorderError: The file cannot be made.
    """
    from trireme_datapath.backends.pcap import STANDARD_INPUT, CaptureReader  # noqa: PLC0415  only here
    from trireme_datapath.engine import Engine  # noqa: PLC0415
    from trireme_datapath.policy import compile_policy, load_policy  # noqa: PLC0415
    from trireme_datapath.recorder.replay_source import ReplaySource  # noqa: PLC0415

    engine = Engine(compile_policy(load_policy(policy))) if policy else None
    # Nobody knows when the next packet comes that way: it is recorded then, and not waited for.
    awaited = None
    if capture == STANDARD_INPUT and sys.stdin is not None:
        awaited = AwaitedInput(sys.stdin.fileno())
    source = ReplaySource(
        CaptureReader(cast("BinaryIO", awaited) if awaited else capture, name="standard input"),
        request.include,
        capture_bytes=capture_length(request.max_capture_length, 0),
        engine=engine,
        awaited=awaited,
    )
    try:
        return LocalRecording(source, request, path)
    except BaseException:
        source.close()
        raise


def open_output(path: str) -> int:
    """Open a file that is not there yet, a named pipe, or standard output (``-``).

    Raises:
        RecorderError: It cannot be opened.
    """
    if path == STANDARD_OUTPUT:
        return os.dup(sys.stdout.fileno())
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
    try:
        if stat.S_ISFIFO(os.lstat(path).st_mode):
            return os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise _refused(path, error) from error
    try:
        return os.open(path, flags | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise _refused(path, error) from error


def _refused(path: str, error: OSError) -> RecorderError:
    remedy = "choose another name" if isinstance(error, FileExistsError) else "choose another place"
    reason = (error.strerror or str(error)).lower()
    shown = "standard output" if path == STANDARD_OUTPUT else path
    return _OutputError(f"cannot write to {shown}: {reason}; {remedy}", Refusal.FAILED)
