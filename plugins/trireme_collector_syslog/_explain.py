"""What went wrong on a connection, for people: what failed, on what, what to do."""

from __future__ import annotations

import errno
import os
import socket
import stat
from typing import TYPE_CHECKING

from trireme_collector_syslog._relp_frames import RelpError
from trireme_collector_syslog._senders import PeerClosedError

if TYPE_CHECKING:
    from trireme_collector_syslog._options import SyslogOptions

__all__ = ["explain"]


def explain(error: OSError, options: SyslogOptions, name: str) -> str:
    """Say what failed, on what, and what to do."""
    if options.transport == "unix":
        return _explain_unix(error, options.address, name)
    where = f"{options.transport} {options.host} port {options.server_port}"
    return f"collector {name!r} cannot send to syslog at {where}: {_reason(error, options)}"


def _reason(error: OSError, options: SyslogOptions) -> str:
    if isinstance(error, socket.gaierror):
        return f"the name cannot be resolved ({error.strerror}); check host"
    if isinstance(error, TimeoutError):
        return "no answer in time; check that the server runs and is not stalled"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there; start the server or check host and port"
    if isinstance(error, PeerClosedError):
        return (
            "the server closed the new connection before it took anything; it may refuse this"
            " client: see its log, and check client_certificate_file"
        )
    if isinstance(error, RelpError):
        return f"{error}; check that port is one for RELP"
    if options.has_tls:
        # Imported where TLS is used already: it is not for nothing.
        from trireme_collector_syslog._tls import explain_tls  # noqa: PLC0415

        if reason := explain_tls(error):
            return reason
    return f"{error.strerror or error}; check that the server runs"


def _explain_unix(error: OSError, address: str, name: str) -> str:
    start = f"collector {name!r} cannot send to syslog at {address!r}"
    if error.errno == errno.ENOENT:
        return f"{start}: it does not exist; is a syslog daemon running? Start one or set address"
    if error.errno in (errno.ECONNREFUSED, errno.ENOTCONN):
        if _is_other_file(address):
            return f"{start}: it is not a socket; set address"
        return f"{start}: nobody reads from it; start the syslog daemon again"
    if isinstance(error, (TimeoutError, BlockingIOError)):
        return f"{start}: its reader has stalled; check the syslog daemon"
    if isinstance(error, PermissionError):
        return f"{start}: permission denied; give the agent's user the right to write to it"
    return f"{start}: {error.strerror or error}; check the syslog daemon"


def _is_other_file(address: str) -> bool:
    try:
        return not stat.S_ISSOCK(os.stat(address).st_mode)  # noqa: PTH116  an abstract address is no path
    except (OSError, ValueError):
        return False
