"""When an enforcer waits a moment so that packets come together."""

from __future__ import annotations

from trireme_datapath.processes._moderation import Moderation

MS = 1_000_000
PAUSE = 0.0005


class Enforcer:
    """Turns that take a twentieth of a millisecond, and the pauses before them."""

    def __init__(self, seconds: float = PAUSE) -> None:
        self.moderation = Moderation(seconds)
        self.now_ns = 5_000 * MS
        self.packets = self.paused = self.turns = 0

    def turn(self, packets: int, *, after_ns: int) -> None:
        self.now_ns += after_ns
        self.packets += packets
        self.turns += 1
        self.moderation.note(self.packets, self.now_ns)

    def receive(self, per_second: int, *, seconds: float) -> None:
        """Packets come whatever becomes of those before; give how often there was a pause."""
        end, arrived = self.now_ns + int(seconds * 1e9), 0.0
        while self.now_ns < end:
            pause = self.moderation.pause
            self.paused += pause > 0
            passed = max(int(pause * 1e9) + MS // 20, int(1e9 / per_second))
            arrived += passed * per_second / 1e9
            taken, arrived = int(arrived), arrived % 1
            self.turn(taken, after_ns=passed)

    def answer(self, clients: int, *, seconds: float) -> None:
        """Each client sends again when it was answered."""
        end = self.now_ns + int(seconds * 1e9)
        while self.now_ns < end:
            pause = self.moderation.pause
            self.paused += pause > 0
            together = clients if pause else 1
            self.turn(together, after_ns=int(pause * 1e9) + MS // 20)


def test_few_packets_wait_for_nobody() -> None:
    enforcer = Enforcer()
    enforcer.receive(1_500, seconds=1)
    assert enforcer.paused == 0


def test_many_packets_wait_for_others() -> None:
    enforcer = Enforcer()
    enforcer.receive(8_000, seconds=1)
    assert enforcer.paused > enforcer.turns * 0.9
    assert enforcer.packets / enforcer.turns > 3
    assert enforcer.moderation.pause == PAUSE


def test_who_waits_for_an_answer_is_hardly_held_up() -> None:
    for clients in (1, 2):
        enforcer = Enforcer()
        enforcer.answer(clients, seconds=1)
        assert 0 < enforcer.paused < enforcer.turns * 0.01


def test_many_who_wait_for_answers_are_read_together() -> None:
    enforcer = Enforcer()
    enforcer.answer(16, seconds=1)
    assert enforcer.paused > enforcer.turns * 0.8


def test_a_burst_after_a_silence_is_not_many() -> None:
    enforcer = Enforcer()
    enforcer.turn(1, after_ns=MS)
    enforcer.turn(10, after_ns=10_000 * MS)
    assert enforcer.moderation.pause == 0


def test_it_ends_when_fewer_come() -> None:
    enforcer = Enforcer()
    enforcer.receive(8_000, seconds=0.1)
    enforcer.receive(1_000, seconds=0.1)
    assert enforcer.moderation.pause == 0


def test_who_has_enough_to_do_does_not_wait() -> None:
    enforcer = Enforcer()
    for _ in range(100):
        enforcer.turn(64, after_ns=MS)
    assert enforcer.moderation.pause == 0


def test_it_can_be_turned_off() -> None:
    enforcer = Enforcer(0)
    enforcer.receive(50_000, seconds=0.1)
    assert enforcer.paused == 0
