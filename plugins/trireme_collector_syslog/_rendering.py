"""Records as messages, in the format that the options name."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import msgspec

from trireme_collector.formats import (
    Facility,
    Rfc3164Options,
    Rfc5424Options,
    Severity,
    render_rfc3164,
    render_rfc5424,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from trireme_collector import Record
    from trireme_collector_syslog._options import SyslogOptions

__all__ = ["renderer"]


def renderer(options: SyslogOptions) -> Callable[[Record, int], bytes]:
    """Give the function that renders a record, with the time for those that know none."""
    new = Rfc5424Options(
        facility=Facility[options.facility.upper()],
        accepted=Severity[options.severity_accepted.upper()],
        rejected=Severity[options.severity_rejected.upper()],
        observed=Severity[options.severity_observed.upper()],
        other=Severity[options.severity_other.upper()],
        hostname=options.hostname or socket.gethostname(),
        app_name=options.app_name,
        procid=str(os.getpid()),
        enterprise_id=options.enterprise_id,
        max_bytes=options.max_bytes,
    )
    if options.format == "rfc5424":
        return lambda record, now_ns: render_rfc5424(record, new, now_ns=now_ns)
    # A daemon takes the first word of a local message for the tag: there is no place for a host.
    hostname = options.hostname if options.transport == "unix" else new.hostname
    old = Rfc3164Options(**{**msgspec.structs.asdict(new), "hostname": hostname})
    return lambda record, now_ns: render_rfc3164(record, old, now_ns=now_ns)
