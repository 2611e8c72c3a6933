"""The look-up ``kubernetes``: what stands behind addresses, as the API of a cluster tells it."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import threading
import time
from typing import TYPE_CHECKING, Annotated, Protocol, TypeAlias, cast

import msgspec

from trireme_collector import ConfigError, EnricherSpec, MissingExtraError, Stability, hookimpl
from trireme_collector_kubernetes._objects import text_of
from trireme_collector_kubernetes._watcher import ApiError, Watcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from structlog.typing import FilteringBoundLogger

    from trireme_collector.netobserv import KubernetesObject
    from trireme_collector_kubernetes._objects import Kind
    from trireme_collector_kubernetes._watcher import ClusterApi

    _Call: TypeAlias = Callable[..., "_Response"]

__all__ = ["ClusterOptions", "ClusterWatch", "trireme_register_enrichers"]

# The first that knows an address is believed: a node has it behind everything else.
_KINDS: tuple[Kind, ...] = ("pods", "services", "nodes")
_CONNECT_SECONDS = 10.0
# Longer than a watch lasts: what is silent for so long is dead.
_READ_SECONDS = 330.0
_CLOSE_SECONDS = 2.0
_TELL_EVERY = 10
_MAX_TEXT = 200
_REMEDIES = {
    401: "; look at the credentials in the kubeconfig, or at the service account",
    403: "; allow list and watch on pods, services and nodes of the whole cluster",
}


class ClusterOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options of the look-up ``kubernetes``.

    Attributes:
        kubeconfig: The file that says where the cluster is and who we are; without it, that is
            the service account of the pod that this runs in.
        context: Which context of the file; its current one if empty.
        wait_seconds: How long the start waits for the first lists.
        max_objects: How many pods, services and nodes are kept, of each kind.
    """

    kubeconfig: str = ""
    context: str = ""
    wait_seconds: Annotated[float, msgspec.Meta(ge=0, le=600)] = 10.0
    max_objects: Annotated[int, msgspec.Meta(ge=1)] = 200_000


class ClusterWatch:
    """Watches pods, services and nodes, and finds them by address without waiting.

    Args:
        api: The API.
        max_objects: How many objects of each kind are kept.

    Attributes:
        lifetime_ms: How long an answer should be believed: asking again costs nothing.
        watchers: What is known of each kind.
    """

    lifetime_ms = 1_000

    def __init__(self, api: ClusterApi, *, max_objects: int = 200_000) -> None:
        """Start to watch."""
        self._stop = threading.Event()
        self.watchers = {
            kind: Watcher(kind, api, max_objects=max_objects, warn=_warn, stop=self._stop)
            for kind in _KINDS
        }
        self._threads = [
            threading.Thread(target=watcher.run, name=f"kubernetes-{kind}", daemon=True)
            for kind, watcher in self.watchers.items()
        ]
        for thread in self._threads:
            thread.start()

    @classmethod
    def connect(cls, options: ClusterOptions) -> ClusterWatch:
        """Watch a cluster.

        Raises:
            ConfigError: The extra is missing, or the file cannot be used.
        """
        watch = cls(_ClientApi(options), max_objects=options.max_objects)
        if not watch.wait(options.wait_seconds):
            _logger().warning(
                "cluster_not_known_yet",
                waited_seconds=options.wait_seconds,
                meaning="records go without names until the cluster answers",
            )
        return watch

    def wait(self, seconds: float) -> bool:
        """Wait until everything was listed once; give whether it was."""
        limit = time.monotonic() + seconds
        return all(
            watcher.is_ready.wait(max(0.0, limit - time.monotonic()))
            for watcher in self.watchers.values()
        )

    def find(self, address: str) -> KubernetesObject | None:
        """Give the object of an address, or None."""
        for watcher in self.watchers.values():
            found = watcher.by_address.get(address)
            if found is not None:
                return self._with_zone(found)
        # Other ways to write it are rare.
        text = None if "." in address and ":" not in address else text_of(address)
        return self.find(text) if text is not None and text != address else None

    def close(self) -> None:
        """End the threads. One that connects is left to itself: it ends with its attempt."""
        self._stop.set()
        for watcher in self.watchers.values():
            watcher.interrupt()
        limit = time.monotonic() + _CLOSE_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, limit - time.monotonic()))

    def _with_zone(self, found: KubernetesObject) -> KubernetesObject:
        node = self.watchers["nodes"].by_name.get(found.host_name) if found.host_name else None
        if found.zone or node is None or not node.zone:
            return found
        return msgspec.structs.replace(found, zone=node.zone)


class _Response(Protocol):
    """What the client's transport gives."""

    status: int

    def read(self) -> bytes: ...

    def stream(self, amt: int, *, decode_content: bool) -> Iterator[bytes]: ...

    def close(self) -> None: ...


class _ClientAnswer:
    """An answer as the client's transport gives it."""

    def __init__(self, response: _Response) -> None:
        self._response = response

    def read(self) -> bytes:
        try:
            return self._response.read()
        except Exception as error:
            raise ApiError(_text(error)) from error

    def pieces(self) -> Iterator[bytes]:
        try:
            yield from self._response.stream(65_536, decode_content=False)
        except ApiError:
            raise
        except Exception as error:
            raise ApiError(_text(error)) from error

    def interrupt(self) -> None:
        # A thread that still reads when the interpreter ends would end it with an error.
        shutdown = getattr(self._response, "shutdown", None)
        if shutdown is not None:
            with contextlib.suppress(Exception):
                shutdown()

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._response.close()


class _ClientApi:
    """The official client: who we are and how the server is reached is its business."""

    def __init__(self, options: ClusterOptions) -> None:
        if importlib.util.find_spec("kubernetes") is None:
            msg = (
                "the look-up 'kubernetes' needs the package kubernetes:"
                " pip install 'trireme-collector[kubernetes]'"
            )
            raise MissingExtraError(msg)
        from kubernetes import client, config  # noqa: PLC0415  belongs to the extra

        try:
            if options.kubeconfig:
                made = config.new_client_from_config(  # type: ignore[no-untyped-call]  # it has no annotations
                    config_file=options.kubeconfig, context=options.context or None
                )
            else:
                settings = client.Configuration()
                config.load_incluster_config(client_configuration=settings)  # type: ignore[no-untyped-call]  # nor has this
                made = client.ApiClient(configuration=settings)
        except Exception as error:
            where = options.kubeconfig or "the service account of this pod"
            msg = (
                f"the look-up 'kubernetes' cannot use {where}: {_text(error)}; name a file with"
                " kubeconfig=, or run in a pod"
            )
            raise ConfigError(msg) from error
        core = client.CoreV1Api(made)
        # Without _preload_content they give the answer as it is, whatever their annotations say.
        self._calls = cast(
            "Mapping[Kind, _Call]",
            {
                "pods": core.list_pod_for_all_namespaces,
                "services": core.list_service_for_all_namespaces,
                "nodes": core.list_node,
            },
        )

    def ask(self, kind: Kind, parameters: Mapping[str, object]) -> _ClientAnswer:
        try:
            response = self._calls[kind](
                **parameters,
                _preload_content=False,
                _request_timeout=(_CONNECT_SECONDS, _READ_SECONDS),
            )
        except Exception as error:
            status, body = getattr(error, "status", None), getattr(error, "body", None)
            if status and isinstance(body, (str, bytes)):
                raise _refusal(int(status), body) from error
            raise ApiError(_text(error), int(status or 0)) from error
        answer = _ClientAnswer(getattr(response, "response", response))
        status = int(response.status)
        if status >= 400:
            try:
                raise _refusal(status, answer.read())
            finally:
                answer.close()
        return answer


class _Status(msgspec.Struct):
    """What the server says instead of an answer."""

    message: str = ""


def _refusal(status: int, content: str | bytes) -> ApiError:
    try:
        said = msgspec.json.decode(content, type=_Status).message
    except (ValueError, RecursionError):
        said = content if isinstance(content, str) else content.decode("utf-8", "replace")
    text = f"the server answers {status}: {said[:_MAX_TEXT]}{_REMEDIES.get(status, '')}"
    return ApiError(" ".join(text.split()), status)


def _text(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:_MAX_TEXT]


def _warn(text: str, failures: int) -> None:
    """Say what goes wrong, and not every time that it goes on."""
    if failures == 1 or failures % _TELL_EVERY == 0:
        _logger().warning("cluster_not_answering", reason=text, times=failures)


@functools.cache
def _logger() -> FilteringBoundLogger:
    import structlog  # noqa: PLC0415  not needed as long as all is well

    logger: FilteringBoundLogger = structlog.get_logger("trireme_collector.kubernetes")
    return logger


@hookimpl
def trireme_register_enrichers() -> list[EnricherSpec[ClusterOptions]]:
    """Offer the look-up."""
    return [
        EnricherSpec(
            name="kubernetes",
            factory=ClusterWatch.connect,
            config_type=ClusterOptions,
            summary="Names addresses after the pods, services and nodes of a cluster.",
            stability=Stability.BETA,
        )
    ]
