"""What nginx takes is what was sent: over HTTP/1.1 and HTTP/2, with its own limits and refusals.

A private nginx runs in the foreground on loopback, with its files in a temporary directory, in
front of a server that keeps what it is given; the system's own configuration is not touched.
"""

from __future__ import annotations

import base64
import contextlib
import logging
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
import trustme

from tests.plugins.http.servers import HonestServer
from trireme_collector import (
    PacketReport,
    PermanentDeliveryError,
    RefusedCredentialsError,
    RetryableDeliveryError,
)
from trireme_collector.delivery import DeliveryConfig, DeliveryWorker, adapt
from trireme_collector_http import HttpCollector, HttpOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.live, pytest.mark.patient]

DEADLINE_SECONDS = 30.0
CONFIGURATION = """
daemon off;
worker_processes 1;
pid {directory}/pid;
error_log {directory}/error.log info;
events {{ worker_connections 64; }}
http {{
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  log_format seen "$connection $server_protocol $ssl_protocol $status $ssl_client_s_dn";
  access_log {directory}/access.log seen;
  ssl_protocols TLSv1.2 TLSv1.3;
  ssl_certificate {directory}/server.pem;
  ssl_certificate_key {directory}/server.pem;
  server {{
    listen 127.0.0.1:{port} ssl http2;
    location /records {{ proxy_pass {upstream}; }}
    location /short {{ client_max_body_size 20k; proxy_pass {upstream}; }}
    location /moved {{ return 301 https://other.example/records; }}
    location /guarded {{
      auth_basic "records";
      auth_basic_user_file {directory}/users;
      proxy_pass {upstream};
    }}
  }}
  server {{
    listen 127.0.0.1:{guarded_port} ssl http2;
    ssl_verify_client on;
    ssl_client_certificate {directory}/ca.pem;
    location / {{ proxy_pass {upstream}; }}
  }}
}}
"""


class Nginx:
    """A server that runs, and its certificates."""

    def __init__(self, directory: Path, upstream: HonestServer) -> None:
        program = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/sbin:/usr/bin")
        assert program, (
            "nginx is not installed: apt-get install --no-install-recommends nginx-light"
        )
        self.directory = directory
        self.upstream = upstream
        self.port, self.guarded_port = free_ports()
        self.authority = trustme.CA()
        self.authority.cert_pem.write_to_path(str(directory / "ca.pem"))
        server = self.authority.issue_cert("127.0.0.1")
        server.private_key_and_cert_chain_pem.write_to_path(str(directory / "server.pem"))
        (directory / "users").write_text("agent:{PLAIN}pass word\n", encoding="utf-8")
        configuration = directory / "nginx.conf"
        configuration.write_text(
            CONFIGURATION.format(
                directory=directory,
                port=self.port,
                guarded_port=self.guarded_port,
                upstream=upstream.url.removesuffix("/records"),
            ),
            encoding="utf-8",
        )
        self._command = [program, "-p", str(directory), "-c", str(configuration)]
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        with (self.directory / "err").open("wb") as err:
            self._process = subprocess.Popen(self._command, stderr=err, stdout=err)
        end = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < end:
            assert self._process.poll() is None, (self.directory / "err").read_text()
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            time.sleep(0.05)
        pytest.fail((self.directory / "err").read_text())

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(DEADLINE_SECONDS)

    def seen(self, count: int) -> list[list[str]]:
        """Wait for lines of the access log, which is written after the answer."""
        end = time.monotonic() + DEADLINE_SECONDS
        path = self.directory / "access.log"
        while time.monotonic() < end:
            lines = path.read_text(encoding="utf-8").splitlines()
            if len(lines) >= count:
                return [line.split(" ", 4) for line in lines]
            time.sleep(0.02)
        pytest.fail(path.read_text(encoding="utf-8"))


def free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        return one.getsockname()[1], two.getsockname()[1]


@pytest.fixture
def nginx() -> Iterator[Nginx]:
    upstream = HonestServer()
    with tempfile.TemporaryDirectory(prefix="nginx-") as name:
        Path(name).chmod(0o755)  # the worker is another user
        server = Nginx(Path(name), upstream)
        try:
            yield server
        finally:
            server.stop()
            upstream.close()


@pytest.fixture
def make(nginx: Nginx) -> Iterator[Callable[..., HttpCollector]]:
    made: list[HttpCollector] = []

    def build(path: str = "/records", scheme: str = "https", **options: object) -> HttpCollector:
        options = {"url": f"{scheme}://127.0.0.1:{nginx.port}{path}", **options}
        if scheme == "https":
            options["ca_file"] = str(nginx.directory / "ca.pem")
        config = msgspec.convert(options, HttpOptions)
        collector = HttpCollector(config, name="live")
        made.append(collector)
        collector.open()
        return collector

    yield build
    for collector in made:
        collector.close()


def reports(count: int, start: int = 0) -> list[PacketReport]:
    return [
        PacketReport(packet_id=number, payload=b"\xff" * 64, instance="h", epoch=1, sequence=number)
        for number in range(start + 1, start + count + 1)
    ]


def deliver_all(collector: HttpCollector, records: list[PacketReport]) -> None:
    """Deliver one batch as a worker does, in parts if need be."""
    worker = DeliveryWorker(
        "live", adapt(collector, name="live"), DeliveryConfig(batch_records=len(records))
    )
    worker.put(records, [1] * len(records))
    now_ns: int | None = 0
    for _ in range(100):
        if now_ns is not None and worker.status().queued:
            now_ns = worker.step(now_ns)
    assert worker.status().delivered == len(records)


def ids(count: int) -> list[int]:
    return list(range(1, count + 1))


@pytest.mark.parametrize("http2", [False, True])
@pytest.mark.parametrize("compression", ["none", "gzip"])
@pytest.mark.parametrize("layout", ["json", "ndjson"])
def test_batches_arrive_over_one_connection(
    nginx: Nginx, make: Callable[..., HttpCollector], http2: bool, compression: str, layout: str
) -> None:
    collector = make(http2=http2, compression=compression, format=layout)
    for start in range(0, 1000, 100):
        collector.deliver(reports(100, start))
    assert nginx.upstream.taken == ids(1000)
    lines = nginx.seen(10)
    assert len({line[0] for line in lines}) == 1
    assert {line[1] for line in lines} == {"HTTP/2.0" if http2 else "HTTP/1.1"}
    assert {line[2] for line in lines} == {"TLSv1.3"}


def test_a_body_that_is_too_large_is_divided(
    nginx: Nginx, make: Callable[..., HttpCollector]
) -> None:
    deliver_all(make("/short"), reports(500))
    assert nginx.upstream.taken == ids(500)
    assert "413" in {line[3] for line in nginx.seen(2)}


def test_an_answer_in_the_middle_of_a_request_is_heard_over_http1(
    nginx: Nginx, make: Callable[..., HttpCollector]
) -> None:
    """Nginx refuses a long body at once, and takes no more of it."""
    collector = make("/short", http2=True, timeout_seconds=1)
    with pytest.raises(RetryableDeliveryError, match=r"HTTP/1\.1 is spoken from now on"):
        collector.deliver(reports(500))
    deliver_all(collector, reports(500))
    assert nginx.upstream.taken == ids(500)


@pytest.mark.parametrize("http2", [False, True])
def test_a_body_of_megabytes_arrives(
    nginx: Nginx, make: Callable[..., HttpCollector], http2: bool
) -> None:
    """Flow control of HTTP/2, and the limit of nginx at 1 MiB, which max_body_bytes respects."""
    make(http2=http2).deliver(reports(10_000))
    assert nginx.upstream.taken == ids(10_000)
    assert {line[3] for line in nginx.seen(3)} == {"204"}


@pytest.mark.parametrize("http2", [False, True])
def test_a_client_certificate_is_asked_for(
    nginx: Nginx, make: Callable[..., HttpCollector], tmp_path: Path, http2: bool
) -> None:
    url = f"https://127.0.0.1:{nginx.guarded_port}/records"
    with pytest.raises(RefusedCredentialsError, match=r"status 400.*mend it"):
        make(url=url, http2=http2).deliver(reports(3))
    assert nginx.upstream.taken == []
    identity = tmp_path / "client.pem"
    nginx.authority.issue_cert(common_name="host-7").private_key_and_cert_chain_pem.write_to_path(
        str(identity)
    )
    make(url=url, http2=http2, client_certificate_file=str(identity)).deliver(reports(3))
    assert nginx.upstream.taken == ids(3)
    assert "CN=host-7" in nginx.seen(2)[-1][4]


def test_a_password_is_asked_for(
    nginx: Nginx,
    make: Callable[..., HttpCollector],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PASSWORD_HERE", "wrong")
    collector = make("/guarded", user="agent", password_env="PASSWORD_HERE")
    with pytest.raises(RefusedCredentialsError, match=r"status 401.*mend it"):
        collector.deliver(reports(3))
    monkeypatch.setenv("PASSWORD_HERE", "pass word")
    collector.deliver(reports(3))
    assert nginx.upstream.taken == ids(3)


@pytest.mark.parametrize("http2", [False, True])
def test_connections_are_not_kept_if_so_configured(
    nginx: Nginx, make: Callable[..., HttpCollector], http2: bool
) -> None:
    collector = make(http2=http2, keep_alive_seconds=0)
    collector.deliver(reports(3))
    collector.deliver(reports(3, 3))
    assert nginx.upstream.taken == ids(6)
    assert len({line[0] for line in nginx.seen(2)}) == 2


@pytest.mark.parametrize("http2", [False, True])
def test_no_log_holds_a_secret(
    make: Callable[..., HttpCollector],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    http2: bool,
) -> None:
    monkeypatch.setenv("PASSWORD_HERE", "pass word")
    key = tmp_path / "key"
    key.write_text("s3cr3t-value", encoding="utf-8")
    with caplog.at_level(logging.DEBUG):
        make(
            "/guarded",
            http2=http2,
            user="agent",
            password_env="PASSWORD_HERE",
            header_files={"X-Api-Key": str(key)},
        ).deliver(reports(3))
    assert "pass word" not in caplog.text
    assert "s3cr3t" not in caplog.text
    assert base64.b64encode(b"agent:pass word").decode() not in caplog.text


def test_http_on_a_port_of_https_discards_nothing(make: Callable[..., HttpCollector]) -> None:
    with pytest.raises(RefusedCredentialsError, match=r"status 400"):
        make(scheme="http").deliver(reports(3))


@pytest.mark.parametrize("http2", [False, True])
def test_a_redirect_is_not_followed(make: Callable[..., HttpCollector], http2: bool) -> None:
    with pytest.raises(PermanentDeliveryError, match=r"it redirects to 'other\.example'"):
        make("/moved", http2=http2).deliver(reports(3))


@pytest.mark.parametrize("http2", [False, True])
def test_a_restarted_server_is_found_again(
    nginx: Nginx, make: Callable[..., HttpCollector], http2: bool
) -> None:
    collector = make(http2=http2)
    collector.deliver(reports(3))
    nginx.stop()
    with pytest.raises(RetryableDeliveryError):
        collector.deliver(reports(3, 3))
    nginx.start()
    collector.deliver(reports(3, 3))
    assert nginx.upstream.taken == ids(6)


def test_a_receiver_that_is_away_is_waited_for(
    nginx: Nginx, make: Callable[..., HttpCollector]
) -> None:
    nginx.upstream.close()
    with pytest.raises(RetryableDeliveryError, match="status 502"):
        make().deliver(reports(3))
