"""Whatever stands in a script or a flow is read, or refused with a reason; nothing else."""

from __future__ import annotations

import contextlib

from hypothesis import example, given
from hypothesis import strategies as st

from tests.datapath.testing.policies import SHOP
from trireme_datapath.policy import compile_policy, parse_policy
from trireme_datapath.testing import FlowError, ScriptError, craft, explain_flow, play

POLICY = compile_policy(parse_policy(SHOP))
VOCABULARY = """
tcp udp icmp icmpv6 sctp dns raw open close wait 47 > < -> | * ... accept drop repeat reject default
policy http packet flow 192.0.2.1:1000 10.0.0.2:80 10.0.0.2 [fd00::2]:80 fd00::2 S SA FA mark=0x1
size=100 type=3 code=4 in=eth0 data=x answer=1.2.3.4 a.example.com 4500 name = # ' source.port=1
count=2 web office web:80/tcp web/icmp:3/4 api.example.com:443/tcp @ / 60 nothing
"""
WORDS = st.sampled_from(VOCABULARY.split())
LINES = st.lists(WORDS | st.text(max_size=6), max_size=10).map(" ".join)


@given(LINES)
@example("open tcp 1.1.1.1:1 >")
@example("dns 1.1.1.1:1 > 1.1.1.2:53 " + "a" * 64)
@example("dns 1.1.1.1:1 > 1.1.1.2:53 é.example")
@example("raw ٤٥")
@example("tcp 1.1.1.1:٤ > 1.1.1.2:1")
@example("tcp 1.1.1.1:1 > 1.1.1.2:1 mark=1_0")
def test_any_line_is_a_packet_or_refused(line: str) -> None:
    with contextlib.suppress(ScriptError):
        craft(line)


@given(st.lists(LINES, max_size=3).map("\n".join))
@example("wait 9" + "9" * 400)
@example("x = 1.1.1.1\nopen tcp x:1 > x:2 -> drop | ...")
@example("tcp 1.1.1.1:1 > 1.1.1.2:1 -> * | packet source=1")
def test_any_script_runs_or_is_refused(script: str) -> None:
    with contextlib.suppress(ScriptError, AssertionError):
        play(POLICY, script)


@given(LINES)
@example("web -> web:80/tcp")
@example("office -> guest:80/tcp")
@example("guest -> guest:80/tcp")
@example("web -> ٤:80/tcp")
@example("web -> web:80/٤")
@example("192.0.2.1 -> web/0x6")
@example("192.0.2.1 -> web/icmp:" + "9" * 30)
@example("web -> " + "a." * 200 + "b:1/tcp")
def test_any_flow_is_explained_or_refused(flow: str) -> None:
    with contextlib.suppress(FlowError):
        assert explain_flow(POLICY, flow).action in {"accept", "reject"}
