"""The section ``[recorder]``: who may record, what, and how much of it is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from trireme_collector.metrics import MetricsConfig
from trireme_collector.strict_toml import load_document
from trireme_datapath.grpc_server import ListenConfig
from trireme_datapath.recorder._store import StoreLimits
from trireme_datapath.recorder.capture_formats import MAX_CAPTURE_BYTES, CaptureFormat

if TYPE_CHECKING:
    import os

__all__ = ["DEFAULT_ADDRESS", "DEFAULT_DIRECTORY", "RecorderConfig", "load_recorder_config"]

DEFAULT_DIRECTORY: Final = "/var/lib/trireme-collector/recordings"
"""Where recordings lie if nothing else is said."""
DEFAULT_ADDRESS: Final = "unix:///run/trireme-collector/recorder.sock"
"""Where clients look for a recorder, and where it listens if nothing else is said."""

_ABSOLUTE: Final = msgspec.Meta(
    pattern=r"^/[^\x00]*$", max_length=4096, extra={"expected": "an absolute path"}
)


class RecorderConfig(ListenConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How packets are recorded.

    Attributes:
        directory: Where recordings lie: a directory of the recorder's own, mode 0700, made if its
            parent is there.
        read_group: The group that may read recordings; nobody but the owner if not given.
        listen: Where clients connect to: ``unix:///PATH``, which the group may open besides the
            owner, or ``HOST:PORT``, which needs all three files of TLS.
        node_name: What this host is called in answers and names of files; its host name if empty.
        interfaces: What is recorded if a client does not say: names of interfaces, or ``any``.
        packets_socket: Where an agent hands over the packets that it judges, with their verdict;
            it listens there if its configuration says so, and the recorder connects.
        record_queue: Record those instead of interfaces if a client does not say.
        default_capture_bytes: Bytes that are kept of a packet if a client does not say; 0 for all.
        capture_format: How recordings are written if a client does not say.
        max_recordings: How many may run at once.
        max_file_bytes: A recording ends when its files have so many bytes; 0 is no limit.
        max_seconds: A recording ends after this time; 0 is no limit.
        ring_bytes: Memory that the kernel fills for each recording and interface before packets
            are lost.
        update_seconds: How often a client hears how its recording goes.
        strict_compat: Answer as Cilium does: every refusal has the status UNKNOWN, whole packets
            are kept if a client does not say.
        limits: How much the directory may hold.
        metrics: Where metrics and health can be read, of the process that serves the recorder.
    """

    directory: Annotated[str, _ABSOLUTE] = DEFAULT_DIRECTORY
    read_group: Annotated[str, msgspec.Meta(max_length=64)] = ""
    listen: list[str] = msgspec.field(default_factory=lambda: [DEFAULT_ADDRESS])
    node_name: Annotated[str, msgspec.Meta(max_length=255)] = ""
    interfaces: tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=15)], ...] = ("any",)
    packets_socket: Annotated[str, msgspec.Meta(pattern=r"^(/[^\x00]*)?$", max_length=107)] = ""
    record_queue: bool = False
    default_capture_bytes: Annotated[int, msgspec.Meta(ge=0, le=MAX_CAPTURE_BYTES)] = 128
    capture_format: CaptureFormat = CaptureFormat.PCAP
    max_recordings: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 16
    max_file_bytes: Annotated[int, msgspec.Meta(ge=0)] = 1024**3
    max_seconds: Annotated[int, msgspec.Meta(ge=0)] = 0
    ring_bytes: Annotated[int, msgspec.Meta(ge=2 * 1024**2, le=1024**3)] = 16 * 1024**2
    update_seconds: Annotated[float, msgspec.Meta(ge=0.1, le=1.0)] = 1.0
    strict_compat: bool = False
    limits: StoreLimits = StoreLimits()
    metrics: MetricsConfig = MetricsConfig()

    def __post_init__(self) -> None:
        """Check what belongs together."""
        if any(not one.startswith(("unix:", "/")) for one in self.listen) and not (
            self.tls_certificate_file and self.tls_key_file and self.tls_client_ca_file
        ):
            msg = (
                "HOST:PORT needs tls_certificate_file, tls_key_file and tls_client_ca_file: nobody"
                " records packets of others unasked"
            )
            raise ValueError(msg)
        if self.record_queue and not self.packets_socket:
            msg = "record_queue needs packets_socket: where the agent hands packets over"
            raise ValueError(msg)

    @property
    def kept_bytes(self) -> int:
        """Bytes that are kept of a packet if a client does not say; 0 for all."""
        return 0 if self.strict_compat else self.default_capture_bytes


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    recorder: RecorderConfig = RecorderConfig()


def load_recorder_config(path: str | os.PathLike[str]) -> RecorderConfig:
    """Read the section ``[recorder]`` of a file; the others are left to those who read them.

    Raises:
        ConfigError: The file cannot be read or has mistakes; all of them are listed.
    """
    document = load_document(path, refuse_world_writable=True)
    for key in document.data.keys() - {"recorder"}:
        del document.data[key]
    found = document.convert((), _File)
    document.raise_problems()
    if found is None:
        raise AssertionError("a configuration without a value and without a problem")
    return found.recorder
