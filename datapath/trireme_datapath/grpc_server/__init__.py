"""gRPC: servers that several services share, and messages without generated code.

`GrpcServers`, `Messages`, `Service`, `unary` and `unary_stream` need the extra ``grpc``: they are
loaded when they are first imported from here, and `MissingExtraError` says what is missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trireme_collector.errors import MissingExtraError
from trireme_datapath.grpc_server._config import (
    Address,
    ListenConfig,
    parse_address,
)
from trireme_datapath.grpc_server._schema import (
    SCALARS,
    WELL_KNOWN,
    EnumSchema,
    FieldSchema,
    FileSchema,
    MessageSchema,
    MethodSchema,
    Schema,
    ServiceSchema,
    parse_schema,
)

if TYPE_CHECKING:
    from trireme_datapath.grpc_server._grpc_messages import Messages as Messages
    from trireme_datapath.grpc_server._grpc_servers import GrpcServers as GrpcServers
    from trireme_datapath.grpc_server._grpc_service import Service as Service
    from trireme_datapath.grpc_server._grpc_service import unary as unary
    from trireme_datapath.grpc_server._grpc_service import unary_stream as unary_stream

__all__ = [
    "SCALARS",
    "WELL_KNOWN",
    "Address",
    "EnumSchema",
    "FieldSchema",
    "FileSchema",
    "ListenConfig",
    "MessageSchema",
    "MethodSchema",
    "Schema",
    "ServiceSchema",
    "parse_address",
    "parse_schema",
    "require_grpc",
]

_LOADED_LATER = {
    "GrpcServers": "servers",
    "Messages": "messages",
    "Service": "service",
    "unary": "service",
    "unary_stream": "service",
}


def require_grpc() -> None:
    """See to it that what needs the extra can be loaded.

    Raises:
        MissingExtraError: The packages are not installed.
    """
    import os  # noqa: PLC0415  only here
    from importlib import import_module  # noqa: PLC0415

    # We start programs and never fork a server; its handlers would complain all the same.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    # Else everybody who reaches a port writes a line into our log with each handshake that fails.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    try:
        import_module("grpc")
        import_module("google.protobuf")
    except ImportError as error:
        msg = (
            f"gRPC needs a package that is not installed ({error.name}):"
            " pip install 'trireme-collector[grpc]'"
        )
        raise MissingExtraError(msg) from error


def __getattr__(name: str) -> object:
    """Load what needs the extra."""
    module = _LOADED_LATER.get(name)
    if module is None:
        raise AttributeError(name)
    from importlib import import_module  # noqa: PLC0415  rarely called

    require_grpc()
    return getattr(import_module(f"trireme_datapath.grpc_server._grpc_{module}"), name)
