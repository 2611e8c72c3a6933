"""The same against a Loki of yours, if TRIREME_TEST_LOKI is its URL."""

from __future__ import annotations

import json
import os
import time
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING

import pytest

from tests.plugins.loki.flows import flows

if TYPE_CHECKING:
    from collections.abc import Callable

    from trireme_collector_loki import LokiCollector

URL = os.environ.get("TRIREME_TEST_LOKI", "").rstrip("/")
PATIENCE_SECONDS = 30.0

pytestmark = pytest.mark.skipif(not URL, reason="TRIREME_TEST_LOKI names no Loki")


@pytest.mark.parametrize("encoding", ["protobuf", "json"])
def test_lines_can_be_queried(make: Callable[..., LokiCollector], encoding: str) -> None:
    now_ns = time.time_ns()
    site = f"test-{now_ns}"
    collector = make(
        URL, encoding=encoding, static_labels={"site": site}, tenant="trireme", labels=["Proto"]
    )
    collector.deliver(flows(100, time_ns=now_ns - 1000))
    query = urllib.parse.urlencode(
        {"query": f'{{site="{site}"}}', "limit": 1000, "start": now_ns - 10**10}
    )
    request = urllib.request.Request(  # the URL is the operator's own
        f"{URL}/loki/api/v1/query_range?{query}", headers={"X-Scope-OrgID": "trireme"}
    )
    limit = time.monotonic() + PATIENCE_SECONDS
    found: set[int] = set()
    while len(found) < 100 and time.monotonic() < limit:
        with urllib.request.urlopen(request, timeout=5) as response:
            answer = json.load(response)
        found = {int(value[0]) for stream in answer["data"]["result"] for value in stream["values"]}
        time.sleep(0.2)
    assert found == {now_ns - 1000 + n for n in range(1, 101)}
