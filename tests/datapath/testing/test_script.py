"""Packet scripts: what they expect, and what they say when it goes another way."""

from __future__ import annotations

import pytest

from tests.datapath.testing.policies import SHOP
from trireme_collector.records import DNSRequestReport, FlowRecord, PacketReport
from trireme_datapath.engine import Engine
from trireme_datapath.policy import compile_policy, parse_policy
from trireme_datapath.testing import SECOND_NS, START_NS, ScriptError, play, tell

REFUSED = "drop | reject default policy"


def engine(*, refuse_mark: int | None = None, accept_mark: int | None = None) -> Engine:
    policy = compile_policy(parse_policy(SHOP))
    return Engine(policy, refuse_mark=refuse_mark, accept_mark=accept_mark)


def failure(script: str, judge: Engine | str = SHOP) -> list[str]:
    with pytest.raises(AssertionError) as caught:
        play(judge, script)
    return str(caught.value).splitlines()


def test_lines_of_packets_and_decisions() -> None:
    records = play(
        SHOP,
        f"""
        # Comments and empty lines say nothing.
        client = 192.0.2.1:1000
        web    = 10.0.0.2
        again  = client

        tcp client > web:80 S                 -> accept | accept http
        tcp client < web:80 SA                -> accept   # back again
        tcp again > web:80 A                  -> accept
        tcp 192.0.2.1:1001 > web:22 S         -> {REFUSED}
        icmp 192.0.2.1 > web                  -> accept | accept ping
        icmp 2001:db8:1::1 > fd00::2          -> accept | accept ping
        raw 45                                -> drop | packet malformed:truncated
        """,
    )
    assert [type(record) for record in records] == [FlowRecord] * 4 + [PacketReport]
    first = records[0]
    assert isinstance(first, FlowRecord)
    assert first.start_time_ns == START_NS + SECOND_NS


def test_an_engine_keeps_what_it_saw_from_script_to_script() -> None:
    judge = engine()
    play(judge, "tcp 192.0.2.1:1 > 10.0.0.2:80 S -> accept | accept http")
    play(judge, "tcp 192.0.2.1:1 > 10.0.0.2:80 A -> accept")
    play(judge, "tcp 192.0.2.1:2 > 10.0.0.2:80 A -> drop | reject default state")


def test_a_connection_opens_and_closes() -> None:
    judge = engine()
    play(
        judge,
        f"""
        open  tcp 192.0.2.1:1 > 10.0.0.2:80 mark=0x1   -> accept | accept http
        close tcp 192.0.2.1:1 > 10.0.0.2:80 mark=0x1   -> accept
        open  tcp 10.0.0.2:80 < 192.0.2.1:2            -> accept | accept http source.port=2
        open  tcp 192.0.2.1:3 > 10.0.0.2:22            -> {REFUSED}
        """,
    )
    assert judge.counters["packets"] == 3 + 3 + 3 + 1


def test_marks_are_compared_where_they_are_named() -> None:
    judge = engine(refuse_mark=0x400, accept_mark=0x200)
    play(
        judge,
        """
        tcp 192.0.2.1:1 > 10.0.0.2:80 S mark=0x1 -> accept mark=0x201 | accept http
        tcp 192.0.2.1:2 > 10.0.0.2:22 S          -> repeat mark=0x400 | reject default policy
        tcp 192.0.2.1:2 > 10.0.0.2:22 S mark=0x400 -> drop
        """,
    )
    lines = failure("tcp 192.0.2.1:3 > 10.0.0.2:80 S -> accept mark=0x1 | *", judge)
    assert lines[1].endswith("-> accept mark=0x1 | *")
    assert lines[2].endswith("-> accept mark=0x200 | *")


@pytest.mark.parametrize(
    "expected",
    [
        "*",
        "accept | *",
        "* | *",
        "accept | accept http",
        "accept | accept *",
        "accept | flow",
        "accept | FlowRecord policy_id=http",
        "accept | accept http destination.port=80 direction=ingress tcp_flags=0x2",
        "accept | accept http context_id=ctx-* interface=absent count=1",
        "accept | accept 'http'",
        "accept | ...",
        "accept | accept http | ...",
    ],
)
def test_a_record_can_be_told_in_many_ways(expected: str) -> None:
    play(SHOP, f"tcp 192.0.2.1:1 > 10.0.0.2:80 S -> {expected}")


@pytest.mark.parametrize(
    ("expected", "got"),
    [
        ("drop", "accept | accept http"),
        ("drop | *", "accept | *"),
        ("accept", "accept | accept http"),
        ("accept | accept htp", "accept | accept http"),
        ("accept | accept http policy", "accept | accept http"),
        ("accept | packet x", "accept | accept http"),
        ("accept | dns", "accept | accept http"),
        ("accept | accept http | *", "accept | accept http"),
        ("accept | * | ...", None),
        ("accept | * | * | ...", "accept | *"),
        ("accept | accept http destination.port=81", "accept | accept http destination.port=80"),
        ("accept | accept http interface=eth0", "accept | accept http interface=absent"),
        ("* | packet", "* | accept http"),
    ],
)
def test_what_went_another_way_is_shown_on_two_lines(expected: str, got: str | None) -> None:
    line = "tcp 192.0.2.1:1 > 10.0.0.2:80 S"
    if got is None:
        play(SHOP, f"{line} -> {expected}")
        return
    lines = failure(f"{line} -> {expected}")
    assert lines[0].startswith("1 of 1 lines of the script went another way")
    assert lines[1:3] == [f"-    1  {line} -> {expected}", f"+    1  {line} -> {got}"]
    assert lines[3:] == ["?       the deciding rule is http"]


def test_lines_that_went_well_are_shown_between_the_others() -> None:
    lines = failure(
        """
        tcp 192.0.2.1:1 > 10.0.0.2:80 S   -> accept | accept http
        tcp 192.0.2.1:1 > 10.0.0.2:80 A   -> drop
        """
    )
    assert lines == [
        "1 of 2 lines of the script went another way (- expected, + got)",
        "     2  tcp 192.0.2.1:1 > 10.0.0.2:80 S -> accept | accept http",
        "-    3  tcp 192.0.2.1:1 > 10.0.0.2:80 A -> drop",
        "+    3  tcp 192.0.2.1:1 > 10.0.0.2:80 A -> accept",
        "?       the deciding rule is http",
    ]


def test_time_passes_and_what_is_due_then_can_be_expected() -> None:
    script = """
        dns 10.0.0.2:5000 > 10.0.0.53:53 api.example.com -> accept | accept dns
        dns 10.0.0.2:5000 < 10.0.0.53:53 api.example.com answer=203.0.113.5 -> accept
        tcp 10.0.0.2:6000 > 203.0.113.5:443 S            -> accept | accept api
        wait 60 {records}
    """
    records = play(SHOP, script.format(records="-> dns name_lookup=api.example.com. count=1"))
    assert isinstance(records[-1], DNSRequestReport)
    play(SHOP, script.format(records=""))
    play(SHOP, script.format(records="-> *"))
    lines = failure(script.format(records="-> nothing"))
    assert [" ".join(line.split()) for line in lines[-2:]] == [
        "- 5 wait 60 -> nothing",
        "+ 5 wait 60 -> DNSRequestReport",
    ]
    play(SHOP, "wait 0.5s -> nothing")
    assert failure("wait 5 -> dns")[-1].split() == ["+", "1", "wait", "5", "->", "nothing"]


def test_time_between_lines_can_be_chosen() -> None:
    (record,) = play(
        SHOP,
        "tcp 192.0.2.1:1 > 10.0.0.2:80 S -> accept | *",
        start_ns=5 * SECOND_NS,
        step_seconds=0.25,
    )
    assert isinstance(record, FlowRecord)
    assert record.start_time_ns == 5_250_000_000


def test_a_policy_id_with_blanks_is_quoted() -> None:
    policy = SHOP.replace('id = "http"', 'id = "web for all"')
    (record,) = play(policy, "tcp 192.0.2.1:1 > 10.0.0.2:80 S -> accept | accept 'web for all'")
    assert tell(record) == "accept 'web for all'"


def test_a_sign_of_comments_may_stand_in_quotes() -> None:
    policy = SHOP.replace('id = "http"', 'id = "web #1"')
    play(policy, "tcp 192.0.2.1:1 > 10.0.0.2:80 S -> accept | accept 'web #1'  # it's the first")


def test_a_connection_that_goes_round_again_is_not_opened() -> None:
    judge = engine(refuse_mark=0x400)
    play(judge, "open tcp 192.0.2.1:1 > 10.0.0.2:22 -> repeat | reject default policy")
    assert judge.counters["packets"] == 1


def test_combined_actions_are_told_as_they_are() -> None:
    policy = SHOP.replace('id = "http"', 'id = "http"\nlog = true')
    play(policy, "tcp 192.0.2.1:1 > 10.0.0.2:80 S -> accept | accept|log http")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("tcp 1.1.1.1:1 > 2.2.2.2:2", "expected -> and what is expected"),
        ("tcp 1.1.1.1:1 > 2.2.2.2:2 ->", "expected a verdict after ->"),
        ("tcp 1.1.1.1:1 > 2.2.2.2:2 -> allow", "one of drop, accept, repeat or *, found 'allow'"),
        ("tcp 1.1.1.1:1 > 2.2.2.2:2 -> drop now", "expected mark=NUMBER after the verdict"),
        ("tcp 1.1.1.1:1 > 2.2.2.2:2 -> drop mark=x", "expected a number as mark"),
        ("tcp 1.1.1.1:1 > 2.2.2.2:2 -> drop | reject 'x", "No closing quotation"),
        ("tcp 1.1.1.1:1 > 2.2.2.2:2 -> drop | rejected x", "expected a record (ACTION POLICY"),
        ("tcp 1.1.1.1:1 > 2.2.2.2:2 -> drop | dns x", "expected field=value after dns"),
        ("tcp 1.1.1.1:1 > 2.2.2.2:2 -> drop | flow port=1", "FlowRecord has no field 'port'"),
        ("tcp 1.1.1.1:1 > 2.2.2.2:2 -> drop | flow source.prt=1", "EndPoint has no field 'prt'"),
        ("tcp web > 2.2.2.2:2 -> drop", "expected an address, found 'web'"),
        ("wait", "expected wait SECONDS, found ''"),
        ("wait long", "expected wait SECONDS, found 'long'"),
        ("open udp 1.1.1.1:1 > 2.2.2.2:2 -> drop", "expected open tcp SOURCE:PORT"),
        ("close tcp 1.1.1.1:1 -> drop", "expected close tcp SOURCE:PORT"),
        ("open tcp 1.1.1.1:1 ! 2.2.2.2:2 -> drop", "expected > between"),
    ],
)
def test_a_line_that_cannot_be_read_says_which(line: str, said: str) -> None:
    with pytest.raises(ScriptError) as caught:
        play(SHOP, f"\n{line}")
    assert str(caught.value).startswith("line 2: ")
    assert said in str(caught.value)
