"""A client of observers: ours, or Hubble's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import quote

import grpc

from trireme_collector.errors import ConfigError, TriremeError
from trireme_collector.exit_codes import ExitCode
from trireme_datapath.observer._grpc_forms import messages, read_form, write_form
from trireme_datapath.observer._times import json_time
from trireme_datapath.observer.flow_filter import filter_fields
from trireme_datapath.observer.json_form import RESPONSE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Self

    from google.protobuf.message import Message

    from trireme_datapath.grpc_server import Address
    from trireme_datapath.observer.reader import FlowsRequest

__all__ = ["ClientTls", "ObserverClient", "ObserverError"]

_MAX_RESPONSE_BYTES: Final = 16 << 20
_QUICK_SECONDS: Final = 12.0


class ObserverError(TriremeError):
    """An observer cannot be asked, or refuses to answer."""

    exit_code = ExitCode.INPUT


class ClientTls(NamedTuple):
    """How to know a server on TCP, and to be known: files in PEM, or ``""``.

    Attributes:
        ca_file: The authorities to trust; those of the system if empty.
        server_name: The name in the server's certificate, if it is not the host's.
        certificate_file: Our certificate.
        key_file: Its key.
    """

    ca_file: str = ""
    server_name: str = ""
    certificate_file: str = ""
    key_file: str = ""


class ObserverClient:
    """Asks an observer; a context manager.

    Args:
        address: Where it is.
        tls: TLS, which every address but a unix socket needs.
    """

    def __init__(self, address: Address, tls: ClientTls | None = None) -> None:
        """Connect with the first question."""
        self._address = address
        self._interrupted = False
        self._call: grpc.Call | None = None
        options: list[tuple[str, str | int]] = [
            ("grpc.max_receive_message_length", _MAX_RESPONSE_BYTES)
        ]
        if address.path:
            self._channel = grpc.insecure_channel(f"unix:{quote(address.path)}", options)
            return
        tls = tls or ClientTls()
        if tls.server_name:
            options.append(("grpc.ssl_target_name_override", tls.server_name))
        credentials = grpc.ssl_channel_credentials(
            root_certificates=_read(tls.ca_file),
            private_key=_read(tls.key_file),
            certificate_chain=_read(tls.certificate_file),
        )
        self._channel = grpc.secure_channel(str(address), credentials, options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End everything that is under way."""
        self._channel.close()

    def interrupt(self) -> None:
        """End `flows` with KeyboardInterrupt; for the handler of a signal.

        The library holds locks while it waits, and an exception out of a handler would tear it out
        of them.

        Raises:
            KeyboardInterrupt: It was asked for before.
        """
        if self._interrupted:
            raise KeyboardInterrupt
        self._interrupted = True
        if self._call is not None:
            self._call.cancel()

    def flows(
        self, request: FlowsRequest, *, mask: Sequence[str] = ()
    ) -> Iterator[dict[str, object]]:
        """Ask for flows, and give each response in its JSON form.

        Raises:
            ObserverError: It cannot be asked, or refuses.
            KeyboardInterrupt: It was interrupted.
        """
        method = self._channel.unary_stream(
            "/observer.Observer/GetFlows",
            request_serializer=_encode,
            response_deserializer=messages()[RESPONSE].FromString,
        )
        try:
            asked = write_form("observer.GetFlowsRequest", _form(request, mask))
            call = self._call = method(asked)
            if self._interrupted:
                call.cancel()
            for response in call:
                yield read_form(response)
        except grpc.RpcError as error:
            if self._interrupted:
                raise KeyboardInterrupt from error
            raise self._explain(error) from error

    def ask(self, name: str) -> dict[str, object]:
        """Ask a question without arguments, such as ``ServerStatus``.

        Raises:
            ObserverError: It cannot be asked, or refuses.
        """
        method = self._channel.unary_unary(
            f"/observer.Observer/{name}",
            request_serializer=_encode,
            response_deserializer=messages()[f"observer.{name}Response"].FromString,
        )
        try:
            answer = method(messages()[f"observer.{name}Request"](), timeout=_QUICK_SECONDS)
        except grpc.RpcError as error:
            raise self._explain(error) from error
        return read_form(answer)

    def _explain(self, error: grpc.RpcError) -> ObserverError:
        code, details = _status(error)
        if code == "UNAVAILABLE":
            msg = (
                f"the observer at {self._address} cannot be reached: {details}; start the agent"
                " with listen in its section [observer], or give another --server"
            )
        elif code == "INVALID_ARGUMENT":
            msg = f"the observer at {self._address} refuses: {details}"
        else:
            msg = f"the observer at {self._address} answers {code}: {details}"
        return ObserverError(msg)


def _status(error: grpc.RpcError) -> tuple[str, str]:
    # What calls raise is a call, too; the stubs do not know it.
    code = getattr(error, "code", None)
    details = getattr(error, "details", None)
    if code is None or details is None:
        return "UNKNOWN", str(error)
    return str(code().name), str(details())


def _encode(message: Message) -> bytes:
    return message.SerializeToString()


def _form(request: FlowsRequest, mask: Sequence[str]) -> Mapping[str, object]:
    form: dict[str, object] = {
        "number": str(request.number),
        "first": request.first,
        "follow": request.follow,
        "blacklist": [filter_fields(one) for one in request.deny],
        "whitelist": [filter_fields(one) for one in request.allow],
    }
    for name, time_ns in (("since", request.since_ns), ("until", request.until_ns)):
        if time_ns is not None:
            form[name] = json_time(time_ns)
    if mask:
        # Servers from 1.17 on look at the first, older ones at the second.
        form["field_mask"] = ",".join(mask)
        form["experimental"] = {"field_mask": ",".join(mask)}
    return form


def _read(name: str) -> bytes | None:
    if not name:
        return None
    try:
        return Path(name).read_bytes()
    except OSError as error:
        msg = f"{name} cannot be read: {error.strerror}; check the path and its rights"
        raise ConfigError(msg) from error
