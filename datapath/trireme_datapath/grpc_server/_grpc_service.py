"""A service that a server offers."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, NamedTuple

import grpc
from google.protobuf.message import DecodeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from google.protobuf.message import Message

__all__ = ["Service", "unary", "unary_stream"]


def _nothing() -> None:
    return None


class Service(NamedTuple):
    """A service.

    Attributes:
        name: Its full name.
        handlers: Its methods by name. Coroutines and asynchronous generators run in the thread
            of the servers; plain functions and generators in threads of their own.
        files: The files of protobuf that describe it, encoded, by name; see `Messages`.
        health_names: What the health service says is served, besides the name.
        stop: Called in the thread of the servers before they end: streams that have no end
            should be given one.
    """

    name: str
    handlers: Mapping[str, grpc.RpcMethodHandler[Message, Message]]
    files: Mapping[str, bytes]
    health_names: tuple[str, ...] = ()
    stop: Callable[[], None] = _nothing


# What is no message must not end in a traceback, as an exception of a deserializer does.
def unary(
    behaviour: Callable[..., object], request: type[Message]
) -> grpc.RpcMethodHandler[Message, Message]:
    """Make the handler of a method that takes a message and gives one."""

    async def later(content: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> object:
        try:
            message = request.FromString(content)
        except DecodeError:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, _complaint(request))
        return await behaviour(message, context)  # type: ignore[misc]  # a coroutine, see below

    def at_once(content: bytes, context: grpc.ServicerContext) -> object:
        try:
            message = request.FromString(content)
        except DecodeError:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, _complaint(request))
        return behaviour(message, context)

    wrapped: Callable[..., object] = later if inspect.iscoroutinefunction(behaviour) else at_once
    return grpc.unary_unary_rpc_method_handler(wrapped, response_serializer=_encode)


def unary_stream(
    behaviour: Callable[..., object], request: type[Message]
) -> grpc.RpcMethodHandler[Message, Message]:
    """Make the handler of a method that takes a message and gives many.

    What it gives may be encoded already.
    """

    async def later(content: bytes, context: grpc.aio.ServicerContext[bytes, object]) -> None:
        try:
            message = request.FromString(content)
        except DecodeError:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, _complaint(request))
        async for answer in behaviour(message, context):  # type: ignore[attr-defined]  # see below
            await context.write(answer)

    def at_once(content: bytes, context: grpc.ServicerContext) -> Iterator[object]:
        try:
            message = request.FromString(content)
        except DecodeError:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, _complaint(request))
        yield from behaviour(message, context)  # type: ignore[misc]  # a generator, see below

    wrapped: Callable[..., object] = later if inspect.isasyncgenfunction(behaviour) else at_once
    return grpc.unary_stream_rpc_method_handler(wrapped, response_serializer=_encode)


def _complaint(request: type[Message]) -> str:
    return f"the request is no {request.DESCRIPTOR.full_name}"


def _encode(message: Message | bytes) -> bytes:
    return message if isinstance(message, bytes) else message.SerializeToString()
