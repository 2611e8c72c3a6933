"""The look-up `kubernetes` against an API server on loopback, through the official client."""

from __future__ import annotations

import importlib.util
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.plugins.kubernetes.api_server import ApiServer, recorded, recorded_changes
from trireme_collector import ConfigError, Registry
from trireme_collector.cli.errors import exit_code_of
from trireme_collector.exit_codes import ExitCode
from trireme_collector.netobserv import Enricher, KubernetesObject, ObjectLookup
from trireme_collector_kubernetes import _watcher, cluster
from trireme_collector_kubernetes.cluster import ClusterOptions, ClusterWatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_PATIENCE_SECONDS = 20.0


@pytest.fixture
def server() -> Iterator[ApiServer]:
    if importlib.util.find_spec("kubernetes") is None:
        pytest.skip("the extra kubernetes is not installed")
    with ApiServer() as started:
        yield started


@pytest.fixture
def connect(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., ClusterWatch]]:
    monkeypatch.setattr(_watcher, "_BACK_OFF_SECONDS", (0.01, 0.02))
    made: list[ClusterWatch] = []

    def build(**options: Any) -> ClusterWatch:  # noqa: ANN401  whatever a test sets
        kubeconfig = server.kubeconfig(tmp_path)
        watch = ClusterWatch.connect(ClusterOptions(kubeconfig=kubeconfig, **options))
        made.append(watch)
        return watch

    yield build
    server.fails = []
    for watch in made:
        watch.close()
        for kind in server.pages:
            server.end(kind)


def eventually(what: Callable[[], object]) -> None:
    limit = time.monotonic() + _PATIENCE_SECONDS
    while not what():
        assert time.monotonic() < limit
        time.sleep(0.005)


def pod(name: str, address: str, version: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "n", "uid": name, "resourceVersion": version},
        "spec": {"nodeName": "worker-7"},
        "status": {"phase": "Running", "podIP": address, "hostIP": "198.51.100.7"},
    }


def name_of(watch: ClusterWatch, address: str) -> str | None:
    found = watch.find(address)
    return None if found is None else found.name


def test_what_was_recorded(server: ApiServer, connect: Callable[..., ClusterWatch]) -> None:
    watch = connect()
    assert isinstance(watch, ObjectLookup)
    assert watch.find("10.244.1.5") == KubernetesObject(
        name="web-7d9f8b6c5d-x2x4k",
        type="Pod",
        namespace="shop",
        owner_name="web",
        owner_type="Deployment",
        host_ip="198.51.100.7",
        host_name="worker-7",
        zone="zone-b",
    )
    assert watch.find("2001:DB8:0::5") == watch.find("2001:db8::5") == watch.find("10.244.1.5")
    assert watch.find("::ffff:10.244.1.5") == watch.find("10.244.1.5")
    names = {
        "10.244.1.6": "db-0",
        "10.244.1.7": "alone",
        "10.244.1.9": None,
        "198.51.100.7": "worker-7",
        "10.96.0.20": "web",
        "2001:db8:96::20": "web",
        "2001:db8:51::7": "worker-7",
        "203.0.113.5": "web",
        "203.0.113.9": "web",
        "10.96.0.1": "kubernetes",
        "None": None,
        "worker-7": None,
        "": None,
    }
    assert {address: name_of(watch, address) for address in names} == names
    pages = [p.get("continue") for path, p in server.asked if path == "pods" and "watch" not in p]
    tokens = [recorded(f"pods page {number}")["metadata"].get("continue") for number in (1, 2)]
    assert pages == [None, *tokens]
    record = Enricher(watch).enrich({"SrcAddr": "10.244.1.6", "DstAddr": "10.96.0.20"}, 0)
    assert (record["SrcK8S_OwnerType"], record["DstK8S_Type"]) == ("StatefulSet", "Service")


def test_changes(server: ApiServer, connect: Callable[..., ClusterWatch]) -> None:
    watch = connect()
    server.change("pods", {"type": "ADDED", "object": pod("new", "10.0.0.1", "1001")})
    eventually(lambda: name_of(watch, "10.0.0.1") == "new")
    server.change("pods", {"type": "MODIFIED", "object": pod("new", "10.0.0.2", "1002")})
    eventually(lambda: name_of(watch, "10.0.0.2") == "new")
    assert watch.find("10.0.0.1") is None
    server.change("pods", {"type": "ADDED", "object": pod("heir", "10.0.0.2", "1003")})
    server.change("pods", {"type": "DELETED", "object": pod("new", "10.0.0.2", "1004")})
    bookmark = {"metadata": {"resourceVersion": "1005"}, "kind": "Pod"}
    server.change("pods", {"type": "BOOKMARK", "object": bookmark})
    server.end("pods")
    eventually(lambda: server.watches("pods") == [server.version("pods"), "1005"])
    assert name_of(watch, "10.0.0.2") == "heir"
    assert watch.watchers["pods"].lists == 1


def test_changes_that_were_recorded(
    server: ApiServer, connect: Callable[..., ClusterWatch]
) -> None:
    watch = connect()
    assert name_of(watch, "10.244.1.7") == "alone"
    bookmarks = {}
    for kind in server.pages:
        changes = recorded_changes(f"{kind} watch")
        bookmarks[kind] = changes[-1]["object"]["metadata"]["resourceVersion"]
        assert changes[-1]["type"] == "BOOKMARK"
        for change in changes:
            server.change(kind, change)
        server.end(kind)
    eventually(lambda: all(server.watches(k)[-1:] == [v] for k, v in bookmarks.items()))
    names = {
        "10.244.1.5": "web-7d9f8b6c5d-x2x4k",
        "10.244.1.7": None,  # deleted
        "10.244.2.1": None,  # came, and is over
        "10.96.0.30": "cache",
        "198.51.100.8": None,
        "198.51.100.9": "worker-9",
    }
    assert {address: name_of(watch, address) for address in names} == names
    # Its node is gone, and with it what is known of the zone.
    assert watch.find("10.244.1.6") == KubernetesObject(
        name="db-0",
        type="Pod",
        namespace="shop",
        owner_name="db",
        owner_type="StatefulSet",
        host_ip="198.51.100.8",
        host_name="worker-8",
    )
    assert {watcher.lists for watcher in watch.watchers.values()} == {1}


def test_the_end_does_not_wait_for_the_server(
    server: ApiServer, connect: Callable[..., ClusterWatch]
) -> None:
    watch = connect()
    eventually(lambda: all(server.watches(kind) for kind in server.pages))
    threads = [t for t in threading.enumerate() if t.name.startswith("kubernetes-")]
    assert len(threads) == 3
    watch.close()
    assert not any(thread.is_alive() for thread in threads)


@pytest.mark.parametrize(("code", "why"), [(401, "Unauthorized"), (403, "pods is forbidden")])
def test_who_has_no_rights_is_told(
    server: ApiServer,
    connect: Callable[..., ClusterWatch],
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    why: str,
) -> None:
    told: list[str] = []
    monkeypatch.setattr(cluster, "_warn", lambda text, _failures: told.append(text))
    server.fails = [code] * 100_000
    connect(wait_seconds=0.05)
    eventually(lambda: any(f"{code}" in text and why in text for text in told))


def test_a_page_of_a_forgotten_state_means_listing_again(
    server: ApiServer, connect: Callable[..., ClusterWatch]
) -> None:
    asked: list[str] = []
    answer = server.answer

    def forget_once(request: Any) -> None:  # noqa: ANN401  a handler of the standard library
        if "continue=" in request.path and "/pods" in request.path and not asked:
            asked.append(request.path)
            server.fails = [410]
        answer(request)

    server.answer = forget_once  # type: ignore[method-assign]  # the next answer alone
    watch = connect()
    assert asked
    assert name_of(watch, "10.244.1.6") == "db-0"


def test_gone_means_listing_again(server: ApiServer, connect: Callable[..., ClusterWatch]) -> None:
    watch = connect()
    server.pages["pods"] = [
        {"metadata": {"resourceVersion": "2000"}, "items": [pod("other", "10.0.0.9", "1999")]}
    ]
    (gone,) = recorded_changes("pods watch of a forgotten state")
    server.change("pods", gone)
    eventually(lambda: name_of(watch, "10.0.0.9") == "other")
    assert watch.find("10.244.1.5") is None
    eventually(lambda: server.watches("pods")[-1] == "2000")


def test_a_server_that_fails(server: ApiServer, connect: Callable[..., ClusterWatch]) -> None:
    """What is known stays known, and nobody waits for it."""
    server.fails = [500, 503, 429, 410, 403, 401, 500]
    watch = connect()
    eventually(lambda: server.watches("pods"))
    server.fails = [500, 500, 410]
    server.end("pods")
    eventually(lambda: not server.fails)
    assert name_of(watch, "10.244.1.6") == "db-0"
    server.change("pods", {"type": "ADDED", "object": pod("new", "10.0.0.1", "1001")})
    eventually(lambda: name_of(watch, "10.0.0.1") == "new")


def test_what_cannot_be_read(server: ApiServer, connect: Callable[..., ClusterWatch]) -> None:
    watch = connect()
    server.change("pods", {"type": 7})
    eventually(lambda: watch.watchers["pods"].lists == 2)
    assert name_of(watch, "10.244.1.6") == "db-0"


def test_more_than_may_be_kept(server: ApiServer, connect: Callable[..., ClusterWatch]) -> None:
    watch = connect(max_objects=2)
    assert sorted(watch.watchers["pods"].by_address) == ["10.244.1.6", "10.244.1.7"]
    assert watch.watchers["pods"].passed_over == 1
    server.change("pods", {"type": "ADDED", "object": pod("new", "10.0.0.1", "1001")})
    eventually(lambda: watch.watchers["pods"].passed_over == 2)
    assert watch.find("10.0.0.1") is None


def test_nobody_waits_for_a_server_that_is_not_there(
    server: ApiServer, connect: Callable[..., ClusterWatch]
) -> None:
    server.fails = [500] * 100_000
    watch = connect(wait_seconds=0.05)
    assert watch.find("10.244.1.5") is None
    server.fails = []
    assert watch.wait(_PATIENCE_SECONDS)
    assert watch.find("10.244.1.5") is not None


def test_what_is_configured_wrong(server: ApiServer, tmp_path: Path) -> None:
    del server
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(ConfigError, match="cannot use"):
            ClusterWatch.connect(ClusterOptions(kubeconfig=str(path)))
    with pytest.raises(ConfigError, match="service account"):
        ClusterWatch.connect(ClusterOptions())


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", {}.get)
    with pytest.raises(ConfigError, match=r"trireme-collector\[kubernetes\]") as caught:
        ClusterWatch.connect(ClusterOptions())
    assert exit_code_of(caught.value) == ExitCode.MISSING_EXTRA


def test_it_is_offered() -> None:
    spec = Registry().enricher_spec("kubernetes")
    assert spec.config_type is ClusterOptions
