"""Kernel rules as text, and how they are put in place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec import structs

from trireme_collector.errors import ConfigError, DatapathError, PrivilegeError
from trireme_datapath.kernel.install import KernelRules, run_iptables
from trireme_datapath.kernel.marks import ConnectionMark
from trireme_datapath.kernel.rules import (
    CgroupMark,
    QueueMode,
    QueueRules,
    RuleHook,
    chain_rules,
    install_text,
    problems_in,
    remove_text,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

INPUT_ONLY = QueueRules(queue=3, hooks=(RuleHook.INPUT,))


def test_the_whole_text_of_one_hook() -> None:
    assert install_text(INPUT_ONLY, 4) == (
        "*security\n"
        ":TRIREME-KEEP - [0:0]\n"
        "-A TRIREME-KEEP -i lo -j RETURN\n"
        "-A TRIREME-KEEP -o lo -j RETURN\n"
        "-A TRIREME-KEEP -m conntrack --ctstate NEW,ESTABLISHED"
        " -j CONNMARK --set-xmark 0x1000000/0x3000000\n"
        "-A TRIREME-KEEP -j MARK --set-xmark 0x0/0x40000\n"
        "-I INPUT 1 -m mark --mark 0x40000/0x40000 -j TRIREME-KEEP\n"
        "COMMIT\n"
        "*filter\n"
        ":TRIREME-IN - [0:0]\n"
        ":TRIREME-OUT - [0:0]\n"
        "-A TRIREME-IN -i lo -j RETURN\n"
        "-A TRIREME-IN -m conntrack --ctstatus CONFIRMED"
        " -m connmark --mark 0x1000000/0x3000000 -j ACCEPT\n"
        "-A TRIREME-IN -m conntrack --ctstatus CONFIRMED"
        " -m connmark --mark 0x2000000/0x3000000 -j ACCEPT\n"
        "-A TRIREME-IN -j NFQUEUE --queue-num 3\n"
        "-I INPUT 1 -j TRIREME-IN\n"
        "-A TRIREME-OUT -o lo -j RETURN\n"
        "-A TRIREME-OUT -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN"
        " -m conntrack --ctstate NEW -j CONNMARK --set-xmark 0x2000000/0x3000000\n"
        "-A TRIREME-OUT ! -p tcp -m conntrack --ctstate NEW"
        " -j CONNMARK --set-xmark 0x2000000/0x3000000\n"
        "-I OUTPUT 1 -j TRIREME-OUT\n"
        "COMMIT\n"
    )


def test_every_hook_that_is_judged_needs_no_exemption() -> None:
    for hooks in (tuple(RuleHook), (RuleHook.FORWARD,), (RuleHook.INPUT, RuleHook.OUTPUT)):
        rules = QueueRules(hooks=hooks)
        assert rules.exempt_hook is None
        assert "0x2000000" not in install_text(rules, 4)
    only_out = QueueRules(hooks=(RuleHook.OUTPUT,))
    assert only_out.exempt_hook is RuleHook.INPUT
    assert chain_rules(only_out, RuleHook.INPUT, 6)[0] == "-i lo -j RETURN"


def test_no_packet_passes_for_a_state_or_a_mark_alone() -> None:
    for hook in RuleHook:
        for line in chain_rules(QueueRules(loopback=True), hook, 4):
            assert "NFQUEUE" in line or ("CONFIRMED" in line and "connmark" in line)


def test_marks_can_be_chosen() -> None:
    rules = QueueRules(
        hooks=(RuleHook.INPUT,),
        accept_mark=0x8,
        connection_mark=ConnectionMark(mask=0xFFFFFFFF),
    )
    text = install_text(rules, 4)
    assert "--mark 0x8/0x8 -j TRIREME-KEEP" in text
    assert "-m connmark --mark 0x1 -j ACCEPT" in text
    assert "--set-xmark 0x2\n" in text


def test_opening_packets_have_their_own_queue_where_that_is_wanted() -> None:
    lines = chain_rules(QueueRules(queue=3, opening_queue=9, fail_open=True), RuleHook.INPUT, 4)
    assert lines[-2:] == [
        "-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j NFQUEUE --queue-num 9 --queue-bypass",
        "-j NFQUEUE --queue-num 3 --queue-bypass",
    ]
    several = QueueRules(queue=3, queues=2, opening_queue=9)
    assert [line.split("-j ")[1] for line in chain_rules(several, RuleHook.INPUT, 4)[-2:]] == [
        "NFQUEUE --queue-balance 9:10",
        "NFQUEUE --queue-balance 3:4",
    ]


def test_what_every_packet_needs_replaces_what_accepted_connections_needed() -> None:
    saved = as_saved(install_text(INPUT_ONLY, 4))
    rules = QueueRules(queue=3, hooks=(RuleHook.INPUT,), mode=QueueMode.ALL)
    text = install_text(rules, 4, saved)
    assert "*security\n:TRIREME-KEEP - [0:0]\n" in text
    assert "-D INPUT -m mark --mark 0x40000/0x40000 -j TRIREME-KEEP\n-X TRIREME-KEEP\n" in text
    assert "-X TRIREME-OUT" in text
    assert len(problems_in(rules, 4, saved)) == 3


def test_packets_pass_by_only_if_that_was_asked_for() -> None:
    for hook in RuleHook:
        for mode in QueueMode:
            closed = chain_rules(QueueRules(mode=mode), hook, 4)
            assert not any("bypass" in line for line in closed)
            open_ = chain_rules(QueueRules(mode=mode, fail_open=True), hook, 4)
            assert open_[-1] == "-j NFQUEUE --queue-num 0 --queue-bypass"
            assert open_[:-1] == closed[:-1]


@pytest.mark.parametrize("hook", list(RuleHook))
@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("mode", list(QueueMode))
def test_refusals_come_first_and_the_queue_last(
    hook: RuleHook, family: int, mode: QueueMode
) -> None:
    lines = chain_rules(QueueRules(refuse_mark=0x10, mode=mode), hook, family)
    assert lines[0] == "-p tcp -m mark --mark 0x10/0x10 -j REJECT --reject-with tcp-reset"
    answer = "icmp-admin-prohibited" if family == 4 else "icmp6-adm-prohibited"
    assert lines[1] == f"-m mark --mark 0x10/0x10 -j REJECT --reject-with {answer}"
    assert lines[-1] == "-j NFQUEUE --queue-num 0"
    assert sum("NFQUEUE" in line for line in lines) == 1


def test_neighbour_discovery_passes_where_it_happens_and_can_be_judged() -> None:
    kinds = [f"--icmpv6-type {kind} -j ACCEPT" for kind in (133, 134, 135, 136)]
    for hook in (RuleHook.INPUT, RuleHook.OUTPUT):
        text = "\n".join(chain_rules(QueueRules(mode=QueueMode.ALL), hook, 6))
        assert all(kind in text for kind in kinds)
        assert "icmpv6-type" not in "\n".join(chain_rules(QueueRules(), hook, 4))
        judged = chain_rules(QueueRules(neighbour_discovery=False), hook, 6)
        assert not any("icmpv6-type" in line for line in judged)
    assert not any("icmpv6-type" in line for line in chain_rules(QueueRules(), RuleHook.FORWARD, 6))


def test_every_packet_means_every_packet() -> None:
    rules = QueueRules(mode=QueueMode.ALL, loopback=True)
    for hook in RuleHook:
        assert chain_rules(rules, hook, 4) == ["-j NFQUEUE --queue-num 0"]
    followed = QueueRules(mode=QueueMode.ALL, loopback=True, follow_connections=True)
    assert chain_rules(followed, RuleHook.INPUT, 4) == [
        "-m conntrack --ctstate NEW",
        "-j NFQUEUE --queue-num 0",
    ]


def test_queues_share_packets() -> None:
    rules = QueueRules(queue=4, queues=4, mode=QueueMode.ALL, loopback=True)
    assert chain_rules(rules, RuleHook.INPUT, 4) == ["-j NFQUEUE --queue-balance 4:7"]


def test_interfaces_are_entered_one_by_one() -> None:
    text = install_text(QueueRules(interfaces=("eth0", "veth+"), hooks=(RuleHook.FORWARD,)), 4)
    kept, _, text = text.partition("*filter")
    assert [line for line in kept.splitlines() if line.startswith("-I")] == [
        f"-I FORWARD {place} -{side} {name} -m mark --mark 0x40000/0x40000 -j TRIREME-KEEP"
        for place, (side, name) in enumerate([(a, b) for a in "io" for b in ("eth0", "veth+")], 1)
    ]
    assert [line for line in text.splitlines() if line.startswith("-I")] == [
        "-I FORWARD 1 -i eth0 -j TRIREME-FWD",
        "-I FORWARD 2 -i veth+ -j TRIREME-FWD",
        "-I FORWARD 3 -o eth0 -j TRIREME-FWD",
        "-I FORWARD 4 -o veth+ -j TRIREME-FWD",
    ]


def test_control_groups_are_marked_before_they_are_queued() -> None:
    rules = QueueRules(cgroups=(CgroupMark(path="system.slice/web", value=0x20, mask=0xF0),))
    text = install_text(rules, 4)
    assert text.index("*mangle") < text.index("*filter")
    assert (
        '-A TRIREME-MARK -m cgroup --path "system.slice/web" -j MARK --set-xmark 0x20/0xf0\n'
        in text
    )


SAVED = """\
*mangle
:OUTPUT ACCEPT [0:0]
:TRIREME-MARK - [0:0]
-A OUTPUT -j TRIREME-MARK
COMMIT
*filter
:INPUT ACCEPT [0:0]
:TRIREME-IN - [0:0]
:TRIREME-OUT - [0:0]
-A INPUT -i eth9 -j TRIREME-IN
-A INPUT -s 192.0.2.0/24 -j DROP
-A OUTPUT -j TRIREME-OUT
-A TRIREME-IN -j NFQUEUE --queue-num 3
COMMIT
"""


def test_an_earlier_installation_is_replaced_in_the_same_transaction() -> None:
    text = install_text(INPUT_ONLY, 4, SAVED)
    mangle, security, filter_ = text.split("COMMIT\n", 2)
    assert security.startswith("*security\n")
    assert mangle == "*mangle\n:TRIREME-MARK - [0:0]\n-D OUTPUT -j TRIREME-MARK\n-X TRIREME-MARK\n"
    assert filter_.count("COMMIT") == 1
    lines = filter_.splitlines()
    assert "-D INPUT -i eth9 -j TRIREME-IN" in lines
    assert "-D OUTPUT -j TRIREME-OUT" in lines
    assert "-X TRIREME-IN" not in lines
    assert "192.0.2.0" not in text, "the rules of others are left alone"


def test_removal_takes_what_is_there_and_no_more() -> None:
    assert remove_text(INPUT_ONLY, "*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n") == ""
    assert remove_text(INPUT_ONLY, SAVED).splitlines() == [
        "*filter",
        ":TRIREME-IN - [0:0]",
        ":TRIREME-OUT - [0:0]",
        "-D INPUT -i eth9 -j TRIREME-IN",
        "-D OUTPUT -j TRIREME-OUT",
        "-X TRIREME-IN",
        "-X TRIREME-OUT",
        "COMMIT",
        "*mangle",
        ":TRIREME-MARK - [0:0]",
        "-D OUTPUT -j TRIREME-MARK",
        "-X TRIREME-MARK",
        "COMMIT",
    ]


def as_saved(text: str) -> str:
    return "\n".join(
        f"-A {line.split()[1]} {line.split(maxsplit=3)[3]}" if line.startswith("-I") else line
        for line in text.splitlines()
    )


def test_what_is_in_place_is_sound() -> None:
    assert problems_in(INPUT_ONLY, 4, as_saved(install_text(INPUT_ONLY, 4))) == []


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        (":TRIREME-IN - [0:0]\n", "", "TRIREME-IN is missing"),
        ("queue-num 3", "queue-num 4", "another queue"),
        ("queue-num 3", "queue-num 3 --queue-bypass", "another queue"),
        ("-A TRIREME-IN -i lo -j RETURN\n", "-A TRIREME-IN -j ACCEPT\n", "were changed"),
        ("-A TRIREME-IN -i lo -j RETURN\n", "", "were changed"),
        ("-A INPUT -j TRIREME-IN", "-A INPUT -j ACCEPT\n-A INPUT -j TRIREME-IN", "not enter"),
        (":TRIREME-IN", ":TRIREME-FWD - [0:0]\n:TRIREME-IN", "should not be"),
        ("--mark 0x1000000/0x3000000 -j ACCEPT", "-j ACCEPT", "other marks"),
        ("-j MARK --set-xmark 0x0/0x40000", "-j ACCEPT", "rules of TRIREME-KEEP were changed"),
        ("0x40000 -j TRIREME-KEEP", "0x40000 -j ACCEPT", "INPUT does not enter TRIREME-KEEP"),
    ],
)
def test_what_was_changed_is_told(before: str, after: str, problem: str) -> None:
    saved = as_saved(install_text(INPUT_ONLY, 4))
    assert before in saved
    (found,) = problems_in(INPUT_ONLY, 4, saved.replace(before, after, 1))
    assert problem in found


@pytest.mark.parametrize(
    "rules",
    [
        QueueRules(queue=-1),
        QueueRules(queue=65_535, queues=2),
        QueueRules(queues=0),
        QueueRules(hooks=()),
        QueueRules(interfaces=("eth0\n-A INPUT -j ACCEPT",)),
        QueueRules(interfaces=("-j",)),
        QueueRules(interfaces=("a" * 16,)),
        QueueRules(refuse_mark=0),
        QueueRules(refuse_mark=2**32),
        QueueRules(prefix="a b"),
        QueueRules(accept_mark=3),
        QueueRules(accept_mark=4, refuse_mark=4),
        QueueRules(connection_mark=ConnectionMark(mask=4)),
        QueueRules(connection_mark=ConnectionMark(mask=2**33)),
        QueueRules(queue=3, queues=2, opening_queue=4),
        QueueRules(queue=3, queues=2, opening_queue=2),
        QueueRules(opening_queue=65_536),
        QueueRules(queues=2, opening_queue=65_535),
        QueueRules(cgroups=(CgroupMark(path='x"\n-F', value=1, mask=1),)),
        QueueRules(cgroups=(CgroupMark(path="x", value=2, mask=1),)),
    ],
)
def test_what_can_not_be_a_rule_is_refused(rules: QueueRules) -> None:
    with pytest.raises(ConfigError) as caught:
        install_text(rules, 4)
    assert len(caught.value.problems) == 1


class FakeIptables:
    """Remembers what it was given; refuses one of the families if told to."""

    def __init__(self, refuse: str = "") -> None:
        self.calls: list[tuple[str, str]] = []
        self.saved = {"iptables": "", "ip6tables": ""}
        self.refuse = refuse

    def __call__(self, command: Sequence[str], text: str) -> str:
        program, _, what = command[0].rpartition("-")
        if what == "save":
            return self.saved[program]
        assert list(command[1:]) == ["--noflush", "-w", "5"]
        self.calls.append((program, text))
        if program == self.refuse:
            raise DatapathError("no")
        self.saved[program] = as_saved(text) if "-X" not in text else ""
        return ""


def test_both_ip_versions_are_installed_and_removed() -> None:
    iptables = FakeIptables()
    rules = KernelRules(INPUT_ONLY, run=iptables)
    rules.install()
    assert [program for program, _ in iptables.calls] == ["iptables", "ip6tables"]
    assert rules.verify() == []
    rules.remove()
    rules.remove()
    assert len(iptables.calls) == 4
    assert len(rules.verify()) == 6  # three chains in both


@pytest.mark.parametrize(
    ("before", "after", "chain"),
    [
        ("-A INPUT -j TRIREME-IN", "-A INPUT -s 203.0.113.9 -j TRIREME-IN", "INPUT"),
        ("-A TRIREME-IN -j NFQUEUE", "-A TRIREME-IN ! -p udp -j NFQUEUE", "TRIREME-IN"),
        ("--ctstatus CONFIRMED", "--ctstatus EXPECTED,CONFIRMED", "TRIREME-IN"),
        ("NEW,ESTABLISHED -j CONNMARK", "INVALID,NEW -j CONNMARK", "TRIREME-KEEP"),
        ("-A OUTPUT -j TRIREME-MARK\n", "", "OUTPUT"),
        (
            "-A OUTPUT -j TRIREME-MARK\n",
            "-A OUTPUT -j TRIREME-MARK\n-A OUTPUT -j TRIREME-MARK\n",
            "OUTPUT",
        ),
    ],
)
def test_a_rule_that_takes_other_packets_than_before_is_told(
    before: str, after: str, chain: str
) -> None:
    iptables = FakeIptables()
    group = CgroupMark(path="web", value=1 << 18, mask=1 << 18)
    rules = KernelRules(structs.replace(INPUT_ONLY, cgroups=(group,)), run=iptables)
    rules.install()
    assert rules.verify() == []
    saved = iptables.saved["ip6tables"]
    assert before in saved
    iptables.saved["ip6tables"] = saved.replace(before, after)
    assert rules.verify() == [f"IPv6: our rules in {chain} have other conditions"]
    rules.install()
    assert rules.verify() == []


def test_rules_in_another_order_are_told() -> None:
    iptables = FakeIptables()
    rules = KernelRules(structs.replace(INPUT_ONLY, loopback=True), run=iptables)
    rules.install()
    lines = iptables.saved["iptables"].splitlines()
    one, other = (i for i, line in enumerate(lines) if line.startswith("-A TRIREME-OUT"))
    lines[one], lines[other] = lines[other], lines[one]
    iptables.saved["iptables"] = "\n".join(lines)
    assert rules.verify()


def test_all_or_none() -> None:
    iptables = FakeIptables(refuse="ip6tables")
    with pytest.raises(DatapathError):
        KernelRules(INPUT_ONLY, run=iptables).install()
    assert iptables.saved["iptables"] == ""


def test_a_program_that_is_missing_is_named() -> None:
    with pytest.raises(PrivilegeError, match=r"no-such-iptables.*package iptables"):
        run_iptables(["no-such-iptables"])


def test_a_program_that_fails_says_why() -> None:
    with pytest.raises(DatapathError, match="refused the kernel rules: wrong"):
        run_iptables(["sh", "-c", "echo wrong >&2; exit 2"])
    with pytest.raises(PrivilegeError, match="CAP_NET_ADMIN"):
        run_iptables(["sh", "-c", "echo 'Permission denied (you must be root)' >&2; exit 4"])
    assert run_iptables(["cat"], "text") == "text"
