"""What is sent, what each answer leads to, and what is sent again."""

from __future__ import annotations

import base64
import email.utils
import hashlib
import hmac
import json
import math
from typing import TYPE_CHECKING

import pytest
import structlog

from tests.plugins.http.servers import HonestServer, Request, ScriptedServer, Step, answer, numbers
from trireme_collector import (
    EndPoint,
    FlowRecord,
    PacketReport,
    PermanentDeliveryError,
    RefusedCredentialsError,
    RetryableDeliveryError,
)
from trireme_collector.delivery import DeliveryConfig, DeliveryWorker, adapt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from trireme_collector import Record
    from trireme_collector.testing import FakeClock
    from trireme_collector_http import HttpCollector

pytest.importorskip("httpx2", reason="the extra http is not installed")


def reports(*packet_ids: int) -> list[PacketReport]:
    """Make reports as the pipeline numbers them."""
    return [
        PacketReport(packet_id=number, instance="host-7", epoch=1, sequence=number + 1)
        for number in packet_ids
    ]


def test_a_batch_is_one_request(
    make: Callable[..., HttpCollector], scripted: ScriptedServer
) -> None:
    make(scripted.url + "?tenant=7", headers={"X-Site": "a b"}).deliver(reports(1, 2, 3))
    (request,) = scripted.requests
    assert (request.method, request.target) == ("POST", "/records?tenant=7")
    assert request.packet_ids == [1, 2, 3]
    assert request.headers["x-site"] == "a b"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["accept-encoding"] == "identity"
    assert request.headers["user-agent"] == "trireme-collector"
    assert int(request.headers["content-length"]) == len(request.body)


@pytest.mark.parametrize("layout", ["json", "ndjson"])
@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_both_forms_arrive(
    make: Callable[..., HttpCollector], honest: HonestServer, layout: str, compression: str
) -> None:
    make(honest.url, format=layout, compression=compression, method="POST").deliver(reports(1, 2))
    assert honest.taken == [1, 2]


def test_an_empty_batch_sends_nothing(
    make: Callable[..., HttpCollector], scripted: ScriptedServer
) -> None:
    make(scripted.url, method="PUT").deliver([])
    assert scripted.requests == []


def test_a_name_of_its_own_takes_the_place_of_ours(
    make: Callable[..., HttpCollector], honest: HonestServer
) -> None:
    make(honest.url, headers={"user-agent": "agent-7"}).deliver(reports(1))
    assert honest.requests[0].headers["user-agent"] == "agent-7"


def test_what_an_answer_repeats_of_a_password_is_not_shown(
    make: Callable[..., HttpCollector], scripted: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PASSWORD_HERE", "s3cr3t word")
    encoded = base64.b64encode(b"agent:s3cr3t word")
    scripted.script = [answer(401, b"s3cr3t word / " + encoded + b" / Basic " + encoded)]
    with pytest.raises(RefusedCredentialsError) as caught:
        make(scripted.url, user="agent", password_env="PASSWORD_HERE").deliver(reports(1))
    assert "s3cr3t" not in str(caught.value)
    assert encoded.decode() not in str(caught.value)


def test_connections_are_kept(make: Callable[..., HttpCollector], honest: HonestServer) -> None:
    collector = make(honest.url)
    for number in range(5):
        collector.deliver(reports(number))
    assert len({request.connection for request in honest.requests}) == 1
    collector.reopen()
    collector.deliver(reports(5))
    assert len({request.connection for request in honest.requests}) == 2


def test_connections_are_not_kept_if_so_configured(
    make: Callable[..., HttpCollector], scripted: ScriptedServer
) -> None:
    collector = make(scripted.url, keep_alive_seconds=0)
    collector.deliver(reports(1))
    collector.deliver(reports(2))
    assert [request.connection for request in scripted.requests] == [1, 2]
    assert scripted.requests[0].headers["connection"] == "close"


def test_a_connection_that_the_server_has_closed_is_replaced(
    make: Callable[..., HttpCollector], scripted: ScriptedServer
) -> None:
    scripted.script = [Step(answer(), then_close=True)]
    collector = make(scripted.url)
    collector.deliver(reports(1))
    while scripted.connections < 2:
        # Whether the end has arrived yet is not ours to say; a refusal is retried.
        try:
            collector.deliver(reports(2))
        except RetryableDeliveryError:
            continue
    assert numbers(scripted.requests)[-1] == [2]


def test_cookies_are_not_kept(make: Callable[..., HttpCollector], scripted: ScriptedServer) -> None:
    scripted.script = [answer(200, Set_Cookie="a=b")]
    collector = make(scripted.url)
    collector.deliver(reports(1))
    collector.deliver(reports(2))
    assert "cookie" not in scripted.requests[1].headers


def test_credentials_are_sent(
    make: Callable[..., HttpCollector], scripted: ScriptedServer, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("first\n", encoding="utf-8")
    collector = make(scripted.url, token_file=str(token), header_files={"X-Key": str(token)})
    collector.deliver(reports(1))
    token.write_text("second\n", encoding="utf-8")
    collector.deliver(reports(2))
    assert [r.headers["authorization"] for r in scripted.requests] == [
        "Bearer first",
        "Bearer second",
    ]
    assert [r.headers["x-key"] for r in scripted.requests] == ["first", "second"]


def test_a_vanished_secret_holds_the_records_back(
    make: Callable[..., HttpCollector], scripted: ScriptedServer, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("first\n", encoding="utf-8")
    collector = make(scripted.url, token_file=str(token))
    token.unlink()
    with pytest.raises(RetryableDeliveryError, match=r"the token .* cannot be used: no such file"):
        collector.deliver(reports(1))
    assert scripted.requests == []


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_requests_are_signed_as_they_are_sent(
    make: Callable[..., HttpCollector],
    scripted: ScriptedServer,
    clock: FakeClock,
    tmp_path: Path,
    compression: str,
) -> None:
    keys = [bytes(range(24)), bytes(range(32))]
    path = tmp_path / "secret"
    path.write_bytes(b"".join(b"whsec_" + base64.b64encode(key) + b"\n" for key in keys))
    make(scripted.url, signing_secret_file=str(path), compression=compression).deliver(reports(1))
    (request,) = scripted.requests
    message_id, timestamp = request.headers["webhook-id"], request.headers["webhook-timestamp"]
    assert timestamp == str(clock.time_ns() // 1_000_000_000)
    assert request.headers["idempotency-key"] == message_id
    content = f"{message_id}.{timestamp}.".encode() + request.body
    expected = [
        "v1," + base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
        for key in keys
    ]
    assert request.headers["webhook-signature"].split(" ") == expected


def test_the_key_is_the_same_for_the_same_records_only(
    make: Callable[..., HttpCollector], scripted: ScriptedServer
) -> None:
    make(scripted.url).deliver(reports(1, 2))
    make(scripted.url).deliver(reports(1, 2))
    make(scripted.url).deliver(reports(1, 3))
    one, same, other = (request.headers["idempotency-key"] for request in scripted.requests)
    assert one == same != other


def test_records_without_identity_are_never_taken_for_others(
    make: Callable[..., HttpCollector], scripted: ScriptedServer
) -> None:
    alike = [PacketReport(packet_id=1)]
    collector = make(scripted.url)
    scripted.script = [answer(503), answer(), answer()]
    with pytest.raises(RetryableDeliveryError):
        collector.deliver(alike)
    collector.deliver(alike)
    collector.deliver(alike)
    first, again, another = (request.headers["idempotency-key"] for request in scripted.requests)
    assert first == again != another


@pytest.mark.parametrize("trouble", [Step(answer(503)), Step(b"", then_close=True)])
def test_what_goes_out_again_is_the_same_request(
    make: Callable[..., HttpCollector],
    scripted: ScriptedServer,
    tmp_path: Path,
    clock: FakeClock,
    trouble: Step,
) -> None:
    """More records may have come by then: they make a request of their own."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"whsec_" + base64.b64encode(bytes(24)))
    collector = make(scripted.url, signing_secret_file=str(secret), compression="gzip")
    scripted.script = [trouble]
    with pytest.raises(RetryableDeliveryError):
        collector.deliver(reports(1, 2))
    clock.advance(60)
    collector.deliver(reports(1, 2, 3, 4))
    first, again, more = scripted.requests
    assert again.body == first.body
    for name in ("idempotency-key", "webhook-id"):
        assert again.headers[name] == first.headers[name]
        assert more.headers[name] != first.headers[name]
    # The time of a signature is that of the attempt, or receivers refuse it as too old.
    assert int(again.headers["webhook-timestamp"]) == int(first.headers["webhook-timestamp"]) + 60
    assert more.packet_ids == [3, 4]


def test_other_records_than_those_that_failed_are_a_request_of_their_own(
    make: Callable[..., HttpCollector], scripted: ScriptedServer
) -> None:
    collector = make(scripted.url)
    scripted.script = [answer(503)]
    with pytest.raises(RetryableDeliveryError):
        collector.deliver(reports(1, 2))
    collector.deliver(reports(2, 3))
    assert (
        scripted.requests[0].headers["idempotency-key"]
        != (scripted.requests[1].headers["idempotency-key"])
    )


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
def test_passing_troubles_are_retried(
    make: Callable[..., HttpCollector], scripted: ScriptedServer, status: int
) -> None:
    scripted.script = [answer(status, b"later")]
    with pytest.raises(RetryableDeliveryError, match=f"status {status}: later") as caught:
        make(scripted.url).deliver(reports(1, 2))
    assert caught.value.delivered == 0
    assert caught.value.retry_after is None


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_obeyed(
    make: Callable[..., HttpCollector], scripted: ScriptedServer, clock: FakeClock, status: int
) -> None:
    now = clock.time_ns() // 1_000_000_000
    collector = make(scripted.url)
    for text, at_least, at_most in (
        ("7", 7, 7),
        (email.utils.formatdate(now + 90, usegmt=True), 89, 90),
        ("7200", 3600, 3600),
        ("nonsense", None, None),
    ):
        scripted.script = [answer(status, Retry_After=text)]
        with pytest.raises(RetryableDeliveryError) as caught:
            collector.deliver(reports(1))
        asked = caught.value.retry_after
        if at_least is None or at_most is None:
            assert asked is None
        else:
            assert asked is not None
            assert at_least <= asked <= at_most


@pytest.mark.parametrize("status", [401, 403, 407])
def test_a_refused_credential_pauses_and_discards_nothing(
    make: Callable[..., HttpCollector], scripted: ScriptedServer, tmp_path: Path, status: int
) -> None:
    token = tmp_path / "token"
    token.write_text("s3cr3t", encoding="utf-8")
    scripted.script = [answer(status, b"you sent Bearer s3cr3t, again: s3cr3t")]
    with pytest.raises(RefusedCredentialsError, match=f"status {status}.*: mend it") as caught:
        make(scripted.url, token_file=str(token)).deliver(reports(1, 2))
    assert (caught.value.delivered, caught.value.retry_after) == (0, None)
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("status", [402, 404, 405, 410, 415, 431])
def test_what_is_refused_for_good_is_not_sent_again(
    make: Callable[..., HttpCollector], scripted: ScriptedServer, status: int
) -> None:
    scripted.script = [answer(status)]
    with pytest.raises(PermanentDeliveryError, match=f"status {status}") as caught:
        make(scripted.url).deliver(reports(1, 2))
    assert (caught.value.delivered, caught.value.rejected) == (0, 2)
    assert len(scripted.requests) == 1


def test_a_status_is_retried_if_so_configured(
    make: Callable[..., HttpCollector], scripted: ScriptedServer
) -> None:
    scripted.script = [answer(404)]
    with pytest.raises(RetryableDeliveryError, match="status 404"):
        make(scripted.url, retry_statuses=[404]).deliver(reports(1))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(
    make: Callable[..., HttpCollector], scripted: ScriptedServer, honest: HonestServer, status: int
) -> None:
    scripted.script = [answer(status, Location=honest.url)]
    with pytest.raises(PermanentDeliveryError, match=r"it redirects to '127\.0\.0\.1':") as caught:
        make(scripted.url).deliver(reports(1))
    assert f"status {status}" in str(caught.value)
    assert honest.requests == []


def test_a_long_batch_becomes_several_requests(
    make: Callable[..., HttpCollector], honest: HonestServer
) -> None:
    make(honest.url, max_body_bytes=4096).deliver(reports(*range(100)))
    assert honest.taken == list(range(100))
    assert len(honest.requests) > 1
    assert max(len(request.body) for request in honest.requests) <= 4096


def test_what_was_taken_before_a_failure_is_told(
    make: Callable[..., HttpCollector], scripted: ScriptedServer
) -> None:
    collector = make(scripted.url, max_body_bytes=1024)
    scripted.script = [answer(), answer(503)]
    with pytest.raises(RetryableDeliveryError) as caught:
        collector.deliver(reports(*range(30)))
    taken = numbers(scripted.requests)[0]
    assert caught.value.delivered == len(taken) > 0
    scripted.script = [answer(404)]
    with pytest.raises(PermanentDeliveryError) as refused:
        collector.deliver(reports(*range(len(taken), 30)))
    assert refused.value.rejected == len(numbers(scripted.requests)[1])


def poison(*packet_ids: int, status: int = 422) -> Callable[[Request], int]:
    return lambda request: status if set(packet_ids) & set(request.packet_ids) else 204


class KeptLetters:
    """Keeps the numbers of what was refused."""

    place = "here"

    def __init__(self) -> None:
        self.numbers: list[int] = []

    def open(self) -> None:
        """Nothing has to be opened."""

    def add(
        self, records: Sequence[Record], *, reason: str, time_ns: int, attempts: int
    ) -> Mapping[str, int]:
        del reason, time_ns, attempts
        self.numbers += [record.packet_id for record in records if isinstance(record, PacketReport)]
        return {}


def deliver_all(collector: HttpCollector, packet_ids: list[int]) -> list[int]:
    """Deliver one batch through a worker; give the numbers that were refused."""
    letters = KeptLetters()
    worker = DeliveryWorker(
        "h",
        adapt(collector, name="h"),
        DeliveryConfig(batch_records=len(packet_ids)),
        dead_letters=letters,
        random=lambda: 0.0,
    )
    worker.put(reports(*packet_ids), [1] * len(packet_ids))
    now_ns: int | None = 0
    for _ in range(100):
        if now_ns is not None and worker.status().queued:
            now_ns = worker.step(now_ns)
    state = worker.status()
    assert (state.accepted, state.queued, state.dropped) == (len(packet_ids), 0, 0)
    assert state.dead_lettered == len(letters.numbers)
    return letters.numbers


@pytest.mark.parametrize("status", [400, 422, 413])
@pytest.mark.parametrize("where", [0, 1, 499, 500, 501, 731, 998, 999])
def test_one_bad_record_costs_one_record(
    make: Callable[..., HttpCollector], honest: HonestServer, status: int, where: int
) -> None:
    honest.refuse = poison(where, status=status)
    assert deliver_all(make(honest.url), list(range(1000))) == [where]
    assert honest.taken == [number for number in range(1000) if number != where]
    assert len(honest.requests) - 1 <= 2 * math.log2(1000) + 2


@pytest.mark.parametrize("bad", [[3], [0, 7], [2, 3], [1, 4, 6], list(range(8))])
def test_several_bad_records_cost_as_many(
    make: Callable[..., HttpCollector], honest: HonestServer, bad: list[int]
) -> None:
    honest.refuse = poison(*bad)
    assert deliver_all(make(honest.url), list(range(8))) == bad
    assert honest.taken == [number for number in range(8) if number not in bad]
    assert len(honest.requests) - 1 <= len(bad) * (2 * math.log2(8) + 2)


def test_a_record_is_given_up_only_when_it_was_refused_alone(
    make: Callable[..., HttpCollector], honest: HonestServer
) -> None:
    """A server that takes few records at once refuses none of them."""
    honest.refuse = lambda request: 422 if len(request.packet_ids) > 3 else 204
    assert deliver_all(make(honest.url), list(range(50))) == []
    assert honest.taken == list(range(50))


def test_what_was_refused_together_or_alone_is_told(
    make: Callable[..., HttpCollector], scripted: ScriptedServer
) -> None:
    collector = make(scripted.url)
    for status in (400, 413, 422):
        for count, rejected in ((2, None), (1, 1)):
            scripted.script = [answer(status)]
            with pytest.raises(PermanentDeliveryError, match=f"status {status}") as caught:
                collector.deliver(reports(*range(count)))
            assert (caught.value.delivered, caught.value.rejected) == (0, rejected)
            assert caught.value.splittable


def test_a_body_that_is_too_large_is_told_with_a_remedy(
    make: Callable[..., HttpCollector], honest: HonestServer
) -> None:
    honest.refuse = lambda request: 413 if len(request.packet_ids) > 3 else 204
    with structlog.testing.capture_logs() as logs:
        assert deliver_all(make(honest.url), list(range(20))) == []
    (entry,) = (entry for entry in logs if entry["event"] == "body_too_large")
    assert "max_body_bytes" in entry["remedy"]


def test_a_trouble_while_dividing_keeps_what_was_taken(
    make: Callable[..., HttpCollector], scripted: ScriptedServer
) -> None:
    scripted.script = [answer(422), answer(), answer(503)]
    assert deliver_all(make(scripted.url), list(range(8))) == []
    assert numbers(scripted.requests) == [[*range(8)], [0, 1, 2, 3], [4, 5, 6, 7], [4, 5, 6, 7]]
    assert (
        scripted.requests[2].headers["idempotency-key"]
        == (scripted.requests[3].headers["idempotency-key"])
    )


def test_redirects_and_unknown_places_are_not_divided(
    make: Callable[..., HttpCollector], scripted: ScriptedServer
) -> None:
    scripted.script = [answer(308, Location="https://other.example/"), answer(404)]
    assert deliver_all(make(scripted.url), [1, 2]) == [1, 2]
    assert deliver_all(make(scripted.url), [3, 4]) == [3, 4]
    assert len(scripted.requests) == 2


def test_nothing_raw_from_the_network_is_sent(
    make: Callable[..., HttpCollector], scripted: ScriptedServer
) -> None:
    uri = "a\r\nX: y\0\x1b[2J\u202e\ud800\u2028 ok"
    make(scripted.url).deliver([FlowRecord(destination=EndPoint(uri=uri))])
    body = scripted.requests[0].body.decode()
    assert body.isprintable()
    assert json.loads(body)[0]["destination"]["uri"] == uri.replace("\ud800", "\ufffd")
