"""The services that every server has: ``grpc.health.v1.Health`` and reflection."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import grpc
from google.protobuf import descriptor_pb2

from trireme_datapath.grpc_server._grpc_messages import Messages
from trireme_datapath.grpc_server._grpc_service import Service, unary, unary_stream
from trireme_datapath.grpc_server._schema import parse_schema

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from google.protobuf.message import Message

__all__ = ["health_service", "reflection_services"]

_HEALTH: Final = """\
file grpc/health/v1/health.proto
package grpc.health.v1
message HealthCheckRequest
  service 1 string
message HealthCheckResponse
  status 1 HealthCheckResponse.ServingStatus
enum HealthCheckResponse.ServingStatus
  UNKNOWN 0
  SERVING 1
  NOT_SERVING 2
  SERVICE_UNKNOWN 3
service Health
  Check HealthCheckRequest -> HealthCheckResponse
  Watch HealthCheckRequest -> stream HealthCheckResponse
"""
_REFLECTION: Final = """\
file grpc/reflection/{version}/reflection.proto
package grpc.reflection.{version}
message ServerReflectionRequest
  host 1 string
  file_by_filename 3 string @message_request
  file_containing_symbol 4 string @message_request
  file_containing_extension 5 ExtensionRequest @message_request
  all_extension_numbers_of_type 6 string @message_request
  list_services 7 string @message_request
message ExtensionRequest
  containing_type 1 string
  extension_number 2 int32
message ServerReflectionResponse
  valid_host 1 string
  original_request 2 ServerReflectionRequest
  file_descriptor_response 4 FileDescriptorResponse @message_response
  all_extension_numbers_response 5 ExtensionNumberResponse @message_response
  list_services_response 6 ListServiceResponse @message_response
  error_response 7 ErrorResponse @message_response
message FileDescriptorResponse
  file_descriptor_proto 1 bytes*
message ExtensionNumberResponse
  base_type_name 1 string
  extension_number 2 int32*
message ListServiceResponse
  service 1 ServiceResponse*
message ServiceResponse
  name 1 string
message ErrorResponse
  error_code 1 int32
  error_message 2 string
service ServerReflection
  ServerReflectionInfo stream ServerReflectionRequest -> stream ServerReflectionResponse
"""
_NOT_FOUND: Final = 5
_SERVING: Final = 1
_SERVICE_UNKNOWN: Final = 3


def health_service(names: Iterable[str]) -> Service:
    """Make the service that tells that others are served.

    Args:
        names: Which; the server as a whole is always among them.
    """
    messages = Messages(parse_schema([_HEALTH]))
    request, response = (
        messages[f"grpc.health.v1.HealthCheck{kind}"] for kind in ("Request", "Response")
    )
    known = frozenset({"", *names})

    async def check(asked: Message, context: grpc.aio.ServicerContext[Message, Message]) -> Message:
        if _text(asked, "service") not in known:
            await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return response(status=_SERVING)

    async def watch(
        asked: Message, context: grpc.aio.ServicerContext[Message, Message]
    ) -> AsyncIterator[Message]:
        del context
        serving = _text(asked, "service") in known
        yield response(status=_SERVING if serving else _SERVICE_UNKNOWN)
        await asyncio.get_running_loop().create_future()  # nothing changes until the end

    return Service(
        name="grpc.health.v1.Health",
        handlers={"Check": unary(check, request), "Watch": unary_stream(watch, request)},
        files=messages.files,
    )


def reflection_services(services: Iterable[Service]) -> list[Service]:
    """Make the services that describe others, in both versions that clients ask for.

    Args:
        services: Which to describe.
    """
    described = list(services)
    made = []
    for version in ("v1alpha", "v1"):
        package = f"grpc.reflection.{version}"
        messages = Messages(parse_schema([_REFLECTION.format(version=version)]))
        made.append((package, messages))
        described.append(
            Service(name=f"{package}.ServerReflection", handlers={}, files=messages.files)
        )
    catalogue = _Catalogue(described)
    return [_reflection(package, messages, catalogue) for package, messages in made]


class _Catalogue:
    """What servers have: names of services, files, and what files declare."""

    def __init__(self, services: Iterable[Service]) -> None:
        self.names: list[str] = []
        self._files: dict[str, bytes] = {}
        self._dependencies: dict[str, list[str]] = {}
        self._symbols: dict[str, str] = {}
        for service in services:
            self.names.append(service.name)
            self._files.update(service.files)
        self.names.sort()
        for name, content in self._files.items():
            file = descriptor_pb2.FileDescriptorProto.FromString(content)
            self._dependencies[name] = list(file.dependency)
            self._declare(file.package, name, file.message_type, file.enum_type)
            for one in file.service:
                self._symbols[f"{file.package}.{one.name}"] = name
                for method in one.method:
                    self._symbols[f"{file.package}.{one.name}.{method.name}"] = name

    def _declare(
        self,
        scope: str,
        file: str,
        messages: Iterable[descriptor_pb2.DescriptorProto],
        enums: Iterable[descriptor_pb2.EnumDescriptorProto],
    ) -> None:
        for message in messages:
            full = f"{scope}.{message.name}"
            self._symbols[full] = file
            for field in message.field:
                self._symbols[f"{full}.{field.name}"] = file
            self._declare(full, file, message.nested_type, message.enum_type)
        for enum in enums:
            self._symbols[f"{scope}.{enum.name}"] = file

    def declaring(self, symbol: str) -> str:
        """Name the file that declares something, or give ``""``."""
        return self._symbols.get(symbol, "")

    def with_dependencies(self, name: str) -> list[bytes]:
        """Give a file and all that it needs; nothing if there is none."""
        wanted, found = [name], dict[str, bytes]()
        while wanted:
            one = wanted.pop()
            if one in self._files and one not in found:
                found[one] = self._files[one]
                wanted += self._dependencies[one]
        return list(found.values())


def _reflection(package: str, messages: Messages, catalogue: _Catalogue) -> Service:
    request = messages[f"{package}.ServerReflectionRequest"]
    response = messages[f"{package}.ServerReflectionResponse"]

    async def inform(
        asked: AsyncIterator[Message], context: grpc.aio.ServicerContext[Message, Message]
    ) -> AsyncIterator[Message]:
        del context
        async for one in asked:
            answer = response(
                valid_host=_text(one, "host"), original_request=one, **_answer(one, catalogue)
            )
            yield answer

    handler = grpc.stream_stream_rpc_method_handler(
        inform,
        request_deserializer=request.FromString,
        response_serializer=response.SerializeToString,
    )
    return Service(
        name=f"{package}.ServerReflection",
        handlers={"ServerReflectionInfo": handler},
        files=messages.files,
    )


def _answer(one: Message, catalogue: _Catalogue) -> Mapping[str, dict[str, object]]:
    kind = one.WhichOneof("message_request")
    if kind == "list_services":
        names: list[object] = [{"name": name} for name in catalogue.names]
        return {"list_services_response": {"service": names}}
    files: list[bytes] = []
    if kind == "file_by_filename":
        files = catalogue.with_dependencies(_text(one, kind))
    elif kind == "file_containing_symbol":
        files = catalogue.with_dependencies(catalogue.declaring(_text(one, kind)))
    elif kind == "all_extension_numbers_of_type" and catalogue.declaring(_text(one, kind)):
        return {"all_extension_numbers_response": {"base_type_name": _text(one, kind)}}
    if files:
        return {"file_descriptor_response": {"file_descriptor_proto": files}}
    return {"error_response": {"error_code": _NOT_FOUND, "error_message": "not found"}}


def _text(message: Message, field: str) -> str:
    return str(getattr(message, field))
