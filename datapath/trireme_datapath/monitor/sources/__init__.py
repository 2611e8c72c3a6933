"""Where messages come from: files and standard input in four forms, and the agent's socket."""

from __future__ import annotations

from trireme_datapath.monitor.sources._file import STANDARD_INPUT, FileSource, InputError
from trireme_datapath.monitor.sources._forms import (
    InputForm,
    MessageDecoder,
    decoder_for,
    detect_form,
)
from trireme_datapath.monitor.sources._payload import (
    MAX_MESSAGE_BYTES,
    PAYLOAD_SCHEMA,
    Event,
    Payload,
    PayloadType,
    SourceError,
    SourceFault,
)
from trireme_datapath.monitor.sources._session import SessionDecoder
from trireme_datapath.monitor.sources._socket import (
    DEFAULT_SOCKET,
    MonitorSocket,
    reconnect_delay_seconds,
)

__all__ = [
    "DEFAULT_SOCKET",
    "MAX_MESSAGE_BYTES",
    "PAYLOAD_SCHEMA",
    "STANDARD_INPUT",
    "Event",
    "FileSource",
    "InputError",
    "InputForm",
    "MessageDecoder",
    "MonitorSocket",
    "Payload",
    "PayloadType",
    "SessionDecoder",
    "SourceError",
    "SourceFault",
    "decoder_for",
    "detect_form",
    "reconnect_delay_seconds",
]
