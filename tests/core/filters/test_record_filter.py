"""A collector gets what it asked for; all that it does not get is counted."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trireme_collector import (
    ActionType,
    Checkpoint,
    ConfigError,
    ContainerRecord,
    DNSRequestReport,
    EndPoint,
    FlowRecord,
    Pipeline,
    Record,
    Registry,
    UserRecord,
    build_pipeline,
    encode_json,
)
from trireme_collector.config import Configuration, load_config
from trireme_collector.filters import FilterConfig, RecordFilter, sample_hash
from trireme_collector.records import Direction
from trireme_collector.testing import FakeClock, MemoryCollector
from trireme_collector.testing.strategies import records

if TYPE_CHECKING:
    from pathlib import Path

KEY = b"k" * 32
SAMPLE_OF_FLOW_1 = 0x349DEE296F626936


def chosen(**settings: object) -> RecordFilter:
    return RecordFilter(msgspec.convert(settings, FilterConfig))


def passed(choice: RecordFilter, *given_records: Record) -> list[Record]:
    return list(choice.sift(given_records, [1] * len(given_records))[0])


def flow(number: int, action: ActionType = ActionType.ACCEPT) -> FlowRecord:
    return FlowRecord(
        source=EndPoint(ip=f"10.0.{number >> 8}.{number & 255}", port=number, id="a"),
        destination=EndPoint(ip="192.0.2.1", port=443, uri="GET /secret"),
        action=action,
        l4_protocol=6,
        count=1,
    )


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_bytes(KEY + b"\n")
    path.chmod(0o600)
    return path


def test_nothing_configured_changes_nothing() -> None:
    choice = chosen()
    assert choice.passes_all
    given_records = (flow(1), UserRecord())
    assert choice.sift(given_records, (1, 2)) == (given_records, (1, 2), {})


def test_deny_comes_before_allow() -> None:
    choice = chosen(allow=["destination.port == 443", "count == 7"], deny=["source.port == 2"])
    assert passed(choice, flow(1), flow(2), UserRecord()) == [flow(1)]


def test_the_counts_pass_whatever_is_allowed_but_not_what_is_denied() -> None:
    counts = Checkpoint(final=True)
    assert passed(chosen(allow=['type == "user"']), flow(1), counts) == [counts]
    assert passed(chosen(allow=['type == "flow"', "count == 7"]), flow(1), counts)[1] is counts
    assert passed(chosen(deny=['type == "checkpoint"']), flow(1), counts) == [flow(1)]
    assert chosen(allow=['type == "flow"']).passes_all is False


def test_what_is_left_out_is_counted_with_its_reason() -> None:
    choice = chosen(deny=["source.port < 10"], sample={"accept": 0, "reject": 1})
    flows = [flow(n, ActionType.ACCEPT if n % 2 else ActionType.REJECT) for n in range(20)]
    kept, sizes, left_out = choice.sift(flows, range(20))
    assert list(sizes) == [10, 12, 14, 16, 18]
    assert [record for record in flows if record in kept] == list(kept)
    assert left_out == {"filtered": 10, "sampled": 5}


@given(st.lists(records(), max_size=20), st.floats(0, 1))
def test_every_record_passes_or_is_counted(given_records: list[Record], rate: float) -> None:
    choice = chosen(
        deny=['type == "dns"'], sample={"accept": rate, "other": rate}, mask={"blank": ["tags"]}
    )
    kept, sizes, left_out = choice.sift(given_records, [1] * len(given_records))
    assert len(kept) == len(sizes)
    assert len(kept) + sum(left_out.values()) == len(given_records)


def test_the_same_flow_is_kept_everywhere() -> None:
    accept = chosen(sample={"accept": 0.3})
    there = chosen(sample={"accept": 0.3, "reject": 0.1})
    flows = [flow(n) for n in range(2000)]
    kept = passed(accept, *flows)
    assert 500 < len(kept) < 700
    # The other end of the connection has units, tags and a direction of its own.
    others = [
        msgspec.structs.replace(f, context_id="b", tags=("x=y",), direction=Direction.INGRESS)
        for f in flows
    ]
    ends = [
        (f.source.ip, f.source.port) for f in passed(there, *others) if isinstance(f, FlowRecord)
    ]
    assert ends == [(f.source.ip, f.source.port) for f in kept if isinstance(f, FlowRecord)]


def test_a_higher_rate_keeps_what_a_lower_one_kept() -> None:
    flows = [flow(n) for n in range(500)]
    few = passed(chosen(sample={"accept": 0.2}), *flows)
    more = passed(chosen(sample={"accept": 0.6}), *flows)
    assert set(map(encode_json, few)) < set(map(encode_json, more))


def test_another_seed_chooses_other_flows() -> None:
    flows = [flow(n) for n in range(500)]
    one = passed(chosen(sample={"accept": 0.2}), *flows)
    two = passed(chosen(sample={"accept": 0.2, "seed": 1}), *flows)
    assert one != two


def test_the_hash_of_a_flow_is_the_one_that_is_documented() -> None:
    # xxhsum -H1 of the bytes that the documentation names.
    assert sample_hash(flow(1)) == SAMPLE_OF_FLOW_1
    assert sample_hash(flow(1), 1) != SAMPLE_OF_FLOW_1


def test_only_flows_are_sampled() -> None:
    choice = chosen(sample={"accept": 0, "reject": 0, "other": 0})
    assert passed(choice, flow(1), UserRecord(id="u")) == [UserRecord(id="u")]


def test_masks_blank_and_hash(key_file: Path) -> None:
    mask = {
        "blank": ["destination.uri", "tags", "source.port", "interface", "ip_address", "ips"],
        "hash": ["source.ip", "claims", "interface"],
        "key_file": str(key_file),
    }
    choice = chosen(mask=mask)
    before = msgspec.structs.replace(flow(7), tags=("a=b",), interface="eth0", sequence=5)
    (after,) = passed(choice, before)
    assert isinstance(after, FlowRecord)
    digest = hashlib.blake2b(b"10.0.0.7", digest_size=12, key=KEY).hexdigest()
    assert after.source == EndPoint(ip=f"hash-{digest}", id="a")
    assert after.destination == EndPoint(ip="192.0.2.1", port=443)
    assert (after.tags, after.interface, after.sequence) == ((), msgspec.UNSET, 5)
    container = ContainerRecord(ip_address={"bridge": "10.0.0.1"})
    assert passed(choice, container) == [ContainerRecord()]
    (user,) = passed(choice, UserRecord(claims=("sub=x", "")))
    assert isinstance(user, UserRecord)
    assert user.claims[0].startswith("hash-")
    assert user.claims[1] == ""
    # What is not there stays away.
    assert passed(choice, DNSRequestReport()) == [DNSRequestReport()]


def test_filters_see_what_masks_take_away(key_file: Path) -> None:
    mask = {"hash": ["source.ip"], "key_file": str(key_file)}
    choice = chosen(allow=['source.ip in "10.0.0.0/8"'], mask=mask)
    assert len(passed(choice, flow(1))) == 1


def test_without_a_key_hashes_hold_for_one_start_only() -> None:
    first, second = (chosen(mask={"hash": ["source.ip"]}) for _ in range(2))
    assert passed(first, flow(1)) == passed(first, flow(1))
    assert passed(first, flow(1)) != passed(second, flow(1))


@given(records())
def test_masked_records_are_still_records(record: Record) -> None:
    mask = {"blank": ["destination.ip", "destination.port", "claims", "lines"], "hash": ["tags"]}
    (after,) = passed(chosen(mask=mask), record)
    assert type(after) is type(record)
    encode_json(after)


@pytest.mark.parametrize(
    ("content", "mode", "reason"),
    [
        (None, 0o600, "no such file"),
        (b"short\n", 0o600, "give it 16 to 64 bytes"),
        (b"x" * 65, 0o600, "give it 16 to 64 bytes"),
        (KEY, 0o604, "open to everybody"),
    ],
)
def test_an_unusable_key_is_a_mistake(
    tmp_path: Path, content: bytes | None, mode: int, reason: str
) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
        path.chmod(mode)
    with pytest.raises(ConfigError, match=reason):
        chosen(mask={"hash": ["source.ip"], "key_file": str(path)})


def test_a_record_that_is_not_what_it_promises_cannot_pass() -> None:
    choice = chosen(allow=["source.port > 1"], mask={"blank": ["tags"]})
    broken = FlowRecord(source=EndPoint(port="x"))  # type: ignore[arg-type]  # on purpose
    assert choice.sift([broken, flow(2)], [1, 1])[2] == {"filtered": 1}


def test_each_collector_gets_what_it_asked_for_and_its_account_balances() -> None:
    few, all_of_them = MemoryCollector(), MemoryCollector()
    pipeline = Pipeline(
        {"few": few, "all": all_of_them},
        filters={"few": chosen(deny=["source.port > 2"])},
        clock=FakeClock(),
        threads=False,
    ).start()
    for number in range(5):
        pipeline.collect_flow_event(flow(number))
    pipeline.collect_user_event(UserRecord(id="u"))
    report = pipeline.close()
    assert len(few.records) == 4
    assert len(all_of_them.records) == 6
    one, two = report.status.collectors
    assert one.dropped_by_reason == {"filtered": 2}
    for account in (one, two):
        assert account.accepted == 6
        assert account.accepted == account.delivered + account.dropped


def test_a_flush_does_not_wait_for_what_was_left_out() -> None:
    memory = MemoryCollector()
    config = {"m": chosen(deny=['type == "user"'])}
    pipeline = Pipeline({"m": memory}, filters=config, clock=FakeClock(), threads=False).start()
    pipeline.collect_user_event(UserRecord(id="u"))
    assert pipeline.flush()
    pipeline.collect_container_event(ContainerRecord())
    assert pipeline.flush()
    assert memory.records
    pipeline.close()


def test_tables_become_filters(tmp_path: Path) -> None:
    table = {
        "type": "file",
        "path": str(tmp_path / "flows.jsonl"),
        "filter": {"deny": ['type == "user"']},
    }
    with build_pipeline({"archive": table}, Registry()) as pipeline:
        pipeline.collect_user_event(UserRecord(id="u"))
        pipeline.flush()
    assert pipeline.status().collectors[0].dropped_by_reason == {"filtered": 1}
    table["filter"] = {"dney": []}
    with pytest.raises(ConfigError, match=r"collectors\.archive\.filter\.dney.*deny"):
        build_pipeline({"archive": table}, Registry())


def load(tmp_path: Path, text: str) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    loaded = load_config(path, Configuration)
    loaded.pipeline().close()


HEAD = '[collectors.a]\ntype = "file"\npath = "/dev/null"\n[collectors.a.filter]\n'


def test_a_sound_filter_loads(tmp_path: Path) -> None:
    load(tmp_path, HEAD + "deny = ['destination.port == 53']\nsample = { accept = 0.1 }\n")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "deny = ['destination.prot == 1']",
            'agent.toml:5:9: collectors.a.filter.deny[0]: found "destination.prot == 1", at char',
        ),
        ("deny = ['destination.prot == 1']", 'at character 1 "destination.prot", expected a field'),
        ("deny = ['destination.prot == 1']", "(did you mean destination.port?)"),
        ("sample = { accpt = 1 }", "did you mean accept?"),
        ("sample = { accept = 1.5 }", "expected a number from 0 to 1"),
        ("mask.blank = ['source.prt']", "emptied (did you mean source.port?)"),
        ("mask.blank = ['sequence']", "expected a field that can be emptied"),
        ("mask.hash = ['source.port']", "expected a field that can be hashed"),
        ("mask = { hash = ['tags'], key_file = '/nowhere' }", "mask.key_file: found"),
    ],
)
def test_mistakes_are_reported_with_their_place(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, HEAD + line + "\n")
    assert message in str(caught.value)
