"""The API of a cluster on loopback: what a real one answered, and changes on command."""

from __future__ import annotations

import functools
import gzip
import http.server
import json
import queue
import threading
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

__all__ = ["ApiServer", "recorded", "recorded_changes"]

_FILE = Path(__file__).parents[2] / "data" / "kubernetes_api.json.gz"
_KINDS = ("pods", "services", "nodes")
_REFUSALS = {
    401: "pods with a wrong token",
    403: "pods without rights",
    410: "pods page of a forgotten state",
}


@functools.cache
def _exchanges() -> dict[str, Any]:
    content = json.loads(gzip.decompress(_FILE.read_bytes()))
    return {exchange["name"]: exchange for exchange in content["exchanges"]}


def recorded(name: str) -> Any:  # noqa: ANN401  whatever stands there
    """Give the body of a recorded answer."""
    return _exchanges()[name]["body"]


def recorded_changes(name: str) -> list[dict[str, Any]]:
    """Give the lines of a recorded watch."""
    lines: list[dict[str, Any]] = _exchanges()[name]["lines"]
    return lines


class ApiServer:
    """Lists what a real one listed, page by page, and sends the changes that a test gives it.

    Attributes:
        asked: The requests: path and parameters.
        fails: HTTP codes for the next requests.
        pages: The pages of each kind.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.fails: list[int] = []
        self.pages: dict[str, list[Any]] = {
            kind: [e["body"] for n, e in _exchanges().items() if n.startswith(f"{kind} page ")]
            for kind in _KINDS
        }
        # The page of a forgotten state is an answer of its own.
        self.pages["pods"].remove(recorded(_REFUSALS[410]))
        self._changes: dict[str, queue.Queue[bytes | None]] = {
            kind: queue.Queue() for kind in _KINDS
        }
        api = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                api.answer(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  its name
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for kind_ in _KINDS:
            self.end(kind_)
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def kubeconfig(self, directory: Path) -> str:
        """Write the file that leads here."""
        path = directory / "kubeconfig"
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": self.url}}],
            "users": [{"name": "test", "user": {"token": "secret"}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        }
        path.write_text(json.dumps(content), encoding="utf-8")
        return str(path)

    def version(self, kind: str) -> str:
        """Give the state of the cluster that a list of a kind shows."""
        version: str = self.pages[kind][-1]["metadata"]["resourceVersion"]
        return version

    def change(self, kind: str, event: dict[str, Any]) -> None:
        """Send a change to whoever watches, or will."""
        self._changes[kind].put(json.dumps(event).encode() + b"\n")

    def end(self, kind: str) -> None:
        """End a watch, as servers do every few minutes."""
        self._changes[kind].put(None)

    def watches(self, kind: str) -> list[str]:
        """List the states from which a kind was watched."""
        return [p["resourceVersion"] for path, p in self.asked if path == kind and "watch" in p]

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        url = urllib.parse.urlsplit(request.path)
        kind = url.path.rpartition("/")[2]
        parameters = dict(urllib.parse.parse_qsl(url.query))
        self.asked.append((kind, parameters))
        if self.fails:
            code = self.fails.pop(0)
            name = _REFUSALS.get(code)
            said = recorded(name) if name else {"kind": "Status", "message": "broken"}
            self._send(request, code, said)
        elif "watch" in parameters:
            self._send_changes(request, kind)
        else:
            previous = [None, *(page["metadata"].get("continue") for page in self.pages[kind])]
            place = previous.index(parameters.get("continue"))
            self._send(request, 200, self.pages[kind][place])

    def _send(self, request: http.server.BaseHTTPRequestHandler, code: int, said: object) -> None:
        content = json.dumps(said).encode()
        request.send_response(code)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    def _send_changes(self, request: http.server.BaseHTTPRequestHandler, kind: str) -> None:
        request.send_response(200)
        request.send_header("Content-Type", "application/json")
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        request.wfile.flush()
        while (line := self._changes[kind].get()) is not None:
            request.wfile.write(b"%x\r\n%b\r\n" % (len(line), line))
            request.wfile.flush()
        request.wfile.write(b"0\r\n\r\n")
