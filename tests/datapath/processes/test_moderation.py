"""When an enforcer waits a moment so that packets come together."""

from __future__ import annotations

from trireme_datapath.processes._moderation import Moderation

MS = 1_000_000


def arrive(moderation: Moderation, *, each_ns: int, turns: int, packets: int = 1) -> None:
    for turn in range(1, turns + 1):
        moderation.note(turn * packets, 5_000 * MS + turn * each_ns)


def test_few_packets_wait_for_nobody() -> None:
    moderation = Moderation(0.001)
    arrive(moderation, each_ns=MS, turns=100)  # a thousand a second
    assert moderation.pause == 0


def test_many_packets_wait_for_others() -> None:
    moderation = Moderation(0.001)
    arrive(moderation, each_ns=MS // 4, turns=100)
    assert moderation.pause == 0.001


def test_a_burst_after_a_silence_is_not_many() -> None:
    moderation = Moderation(0.001)
    moderation.note(0, 0)
    moderation.note(10, 10_000 * MS)
    assert moderation.pause == 0


def test_it_ends_when_fewer_come() -> None:
    moderation = Moderation(0.001)
    arrive(moderation, each_ns=MS // 4, turns=100)
    for turn in range(40):
        moderation.note(100 + turn, 6_000 * MS + turn * MS)
    assert moderation.pause == 0


def test_who_has_enough_to_do_does_not_wait() -> None:
    moderation = Moderation(0.001)
    arrive(moderation, each_ns=MS, turns=100, packets=64)
    assert moderation.pause == 0


def test_it_can_be_turned_off() -> None:
    moderation = Moderation(0)
    arrive(moderation, each_ns=MS // 100, turns=1000)
    assert moderation.pause == 0
