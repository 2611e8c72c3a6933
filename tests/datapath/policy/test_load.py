"""A policy file with a mistake gives one line that says where, what, and what would be right."""

from __future__ import annotations

import copy
import json
import re
import string
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trireme_collector.errors import ConfigError
from trireme_datapath.policy import compile_policy, load_policy, parse_policy
from trireme_datapath.policy.model import IcmpMatch, MarkMatch, PortRange, RuleAction

if TYPE_CHECKING:
    from collections.abc import Iterator

Plain: TypeAlias = Any  # what a TOML parser returns: nested, and of no certain type
EXAMPLES = Path(__file__).parents[3] / "examples" / "policies"

BASE = string.Template("""version = 1
$head
[networks]
office = ["198.51.100.0/24", "2001:db8:1::/48"]
$networks
[[unit]]
id = "web"
select = { $select }
$unit
[[unit.ingress]]
id = "in"
action = "accept"
$rule
$more
""")
SOUND = {
    "head": "",
    "networks": "",
    "select": 'address = "10.0.0.10"',
    "unit": "",
    "rule": 'from = "any"',
    "more": "",
}


def problems_of(**parts: str) -> list[str]:
    text = BASE.substitute({**SOUND, **parts})
    try:
        parse_policy(text, "p")
    except ConfigError as error:
        return list(error.problems)
    return []


TCP = 'from = "any"\nprotocol = "tcp"\n'
ICMP = 'from = "any"\nprotocol = "icmp"\n'
# part of the file, what stands there, the key and a piece of the message
MISTAKES = [
    ("head", 'naem = "x"', "naem", 'unknown key "naem"', "(did you mean name?)"),
    ("head", 'default = "drop"', "default", 'string "drop"', 'one of "accept", "reject"'),
    ("head", 'default = "acccept"', "default", '"acccept"', '(did you mean "accept"?)'),
    ("head", 'midstream = "accept"', "midstream", '"accept"', 'one of "judge", "reject"'),
    ("head", "observe_only = 1", "observe_only", "integer 1", "true or false"),
    ("head", "name = 1", "name", "integer 1", "a text"),
    ("head", 'name = " x"', "name", '" x"', "neither begins nor ends with a blank"),
    ("head", 'name = "a\\nb"', "name", '"a\\nb"', "printable"),
    ("networks", "a = []", "networks.a", "an empty array", "an array of at least 1"),
    ("networks", 'a = ["10.0.0.1/8"]', "networks.a[0]", "bits beyond", '"10.0.0.0/8"'),
    ("networks", 'a = ["10.0.0.0/33"]', "networks.a[0]", '"33"', "0 to 32"),
    ("networks", 'a = ["::/129"]', "networks.a[0]", '"129"', "0 to 128"),
    ("networks", 'a = ["10.0.0.0/+8"]', "networks.a[0]", '"+8"', "0 to 32"),
    ("networks", 'a = ["10.0.0.0/255.0.0.0"]', "networks.a[0]", '"255.0.0.0"', "0 to 32"),
    ("networks", 'a = ["10.0.0.256"]', "networks.a[0]", '"10.0.0.256"', "an IPv4 or IPv6 address"),
    ("networks", 'a = ["10.0.0.01"]', "networks.a[0]", '"10.0.0.01"', "an IPv4 or IPv6 address"),
    ("networks", 'a = ["10.0.0"]', "networks.a[0]", '"10.0.0"', "an IPv4 or IPv6 address"),
    ("networks", 'a = ["example.com"]', "networks.a[0]", '"example.com"', "an IPv4 or IPv6"),
    ("networks", 'a = ["fe80::1%eth0"]', "networks.a[0]", "with a zone", "an IPv4 or IPv6"),
    ("networks", 'a = ["::ffff:1.2.3.4"]', "networks.a[0]", "inside IPv6", '"1.2.3.4"'),
    ("networks", 'a = ["2001:db8::1::2"]', "networks.a[0]", "2001:db8::1::2", "an IPv4 or IPv6"),
    ("networks", 'a = [""]', "networks.a[0]", '""', "an IPv4 or IPv6"),
    ("networks", 'a = ["any"]', "networks.a[0]", '"any"', "an IPv4 or IPv6"),
    ("networks", "a = [10]", "networks.a[0]", "integer 10", "an address or a network"),
    ("networks", '" a" = "1.2.3.4"', 'networks." a"', '" a"', "blank"),
    ("select", "", "unit[0].select", "no selector", "address, interface, mark, cgroup or local"),
    ("select", "addres = '1.2.3.4'", "unit[0].select.addres", "unknown key", "mean address?"),
    ("select", "address = []", "unit[0].select.address", "an empty array", "at least 1"),
    ("select", "address = '@office'", "unit[0].select.address", '"@office"', "an IPv4 or IPv6"),
    ("select", "interface = 'eth+'", "unit[0].select.interface", "pattern", "whole name"),
    ("select", "interface = 'a/b'", "unit[0].select.interface", '"a/b"', "name of an interface"),
    ("select", "interface = '0123456789abcdef'", "unit[0].select.interface", "string", "15 bytes"),
    ("select", "mark = '0x100/0xff'", "unit[0].select.mark", "outside of the mask", "0x1ff"),
    ("select", "mark = 4294967296", "unit[0].select.mark", "integer 4294967296", "32 bits"),
    ("select", "mark = -1", "unit[0].select.mark", "integer -1", "32 bits"),
    ("select", "mark = '0/0'", "unit[0].select.mark", "without any bit", "at least one bit"),
    ("select", "mark = '1/'", "unit[0].select.mark", '"1/"', "a mark such as"),
    ("select", "mark = true", "unit[0].select.mark", "true", "a mark such as"),
    ("select", "cgroup = '../x'", "unit[0].select.cgroup", '"../x"', "path of a control group"),
    ("select", "cgroup = '/'", "unit[0].select.cgroup", '"/"', "path of a control group"),
    ("unit", "tags = ['app']", "unit[0].tags[0]", '"app"', 'a tag such as "app=web"'),
    ("unit", "tags = ['=x']", "unit[0].tags[0]", '"=x"', "a tag such as"),
    ("unit", "tags = ['app=']", "unit[0].tags[0]", '"app="', "a tag such as"),
    ("unit", "tags = 'app=web'", "unit[0].tags", '"app=web"', "an array"),
    ("unit", "context = ''", "unit[0].context", '""', "printable"),
    ("unit", f"context = '{'x' * 256}'", "unit[0].context", "string", "1 to 255"),
    ("unit", "ingres = 1", "unit[0].ingres", "unknown key", "mean ingress?"),
    ("rule", "", "unit[0].ingress[0].from", "nothing", 'from or peer_tags; from = "any"'),
    ("rule", 'to = "any"', "unit[0].ingress[0].to", 'unknown key "to"', "from"),
    ("rule", 'form = "any"', "unit[0].ingress[0].form", "unknown key", "mean from?"),
    ("rule", 'from = "@ofice"', "unit[0].ingress[0].from", '"@ofice"', 'mean "@office"?'),
    ("rule", 'from = ["any", "1.2.3.4"]', "unit[0].ingress[0].from[0]", '"any" beside', "alone"),
    ("rule", 'from = ["1.2.3.4/8"]', "unit[0].ingress[0].from[0]", "beyond", '"1.0.0.0/8"'),
    ("rule", "from = []", "unit[0].ingress[0].from", "an empty array", "at least 1"),
    ("rule", f'{TCP}ports = "9-8"', "unit[0].ingress[0].ports", "reversed", '"8-9"'),
    ("rule", f'{TCP}ports = "8:9"', "unit[0].ingress[0].ports", '"8:9"', '"8-9"'),
    ("rule", f"{TCP}ports = 70000", "unit[0].ingress[0].ports", "integer 70000", "0 to 65535"),
    ("rule", f"{TCP}ports = [1, -1]", "unit[0].ingress[0].ports[1]", "-1", "0 to 65535"),
    ("rule", f'{TCP}ports = "80-"', "unit[0].ingress[0].ports", '"80-"', "a port from"),
    ("rule", f'{TCP}ports = "http"', "unit[0].ingress[0].ports", '"http"', "a port from"),
    ("rule", f"{TCP}ports = []", "unit[0].ingress[0].ports", "an empty array", "at least 1"),
    ("rule", f"{TCP}ports = 80.0", "unit[0].ingress[0].ports", "number 80.0", "a port or a range"),
    ("rule", f"{ICMP}ports = 80", "unit[0].ingress[0].ports", 'protocol "icmp"', "only with tcp"),
    ("rule", 'from = "any"\nports = 80', "unit[0].ingress[0].ports", '"any"', "only with tcp"),
    ("rule", f"{TCP}icmp = 8", "unit[0].ingress[0].icmp", 'protocol "tcp"', "only with icmp"),
    ("rule", 'from = "any"\nicmp = 8', "unit[0].ingress[0].icmp", '"any"', "only with icmp"),
    ("rule", f"{ICMP}icmp = 256", "unit[0].ingress[0].icmp", "integer 256", "0 to 255"),
    ("rule", f'{ICMP}icmp = "3/256"', "unit[0].ingress[0].icmp", '"3/256"', "a code of icmp"),
    ("rule", f'{ICMP}icmp = "echo-reqest"', "unit[0].ingress[0].icmp", "reqest", '"echo-request"'),
    (
        "rule",
        f'{ICMP}icmp = "packet-too-big"',
        "unit[0].ingress[0].icmp",
        "too-big",
        "type of icmp",
    ),
    (
        "rule",
        'from = "any"\nprotocol = ["icmp", "icmpv6"]\nicmp = [8]',
        "unit[0].ingress[0].icmp[0]",
        'the number "8"',
        "a name that both have",
    ),
    ("rule", 'from = "any"\nprotocol = "tpc"', "unit[0].ingress[0].protocol", '"tpc"', '"tcp"'),
    (
        "rule",
        'from = "any"\nprotocol = "icmp6"',
        "unit[0].ingress[0].protocol",
        "icmp6",
        '"icmpv6"',
    ),
    ("rule", 'from = "any"\nprotocol = 256', "unit[0].ingress[0].protocol", "256", "0 to 255"),
    (
        "rule",
        'from = "any"\nprotocol = ["any", "tcp"]',
        "unit[0].ingress[0].protocol",
        '"any" beside',
        "alone",
    ),
    (
        "rule",
        'from = "2001:db8::/32"\nprotocol = "icmp"',
        "unit[0].ingress[0].from",
        "in a rule for icmp",
        'protocol = "icmpv6"',
    ),
    (
        "rule",
        'from = ["10.0.0.0/8"]\nprotocol = "icmpv6"',
        "unit[0].ingress[0].from[0]",
        "in a rule for icmpv6",
        'protocol = "icmp"',
    ),
    ("rule", "peer_tags = []", "unit[0].ingress[0].peer_tags", "an empty array", "at least 1"),
    ("rule", "peer_tags = ['a']", "unit[0].ingress[0].peer_tags[0]", '"a"', "a table"),
    ("rule", "peer_tags = [{}]", "unit[0].ingress[0].peer_tags[0].key", "nothing", "a text"),
    (
        "rule",
        "peer_tags = [{key='a'}]",
        "unit[0].ingress[0].peer_tags[0].values",
        "nothing",
        "compares with",
    ),
    (
        "rule",
        "peer_tags = [{key='a', operator='!=', values=['b']}]",
        "unit[0].ingress[0].peer_tags[0].operator",
        '"!="',
        '"=!"',
    ),
    (
        "rule",
        "peer_tags = [{key='a', operator='*', values=['b']}]",
        "unit[0].ingress[0].peer_tags[0].values",
        "an array of 1",
        "no values",
    ),
    (
        "rule",
        "peer_tags = [{key='a=b', values='c'}]",
        "unit[0].ingress[0].peer_tags[0].key",
        '"a=b"',
        'a key without "="',
    ),
    ("rule", 'from = "any"\nobserve = "log"', "unit[0].ingress[0].observe", '"log"', '"apply"'),
    ("rule", 'from = "any"\nlog = "yes"', "unit[0].ingress[0].log", '"yes"', "true or false"),
    ("rule", 'from = "any"\nservice = ""', "unit[0].ingress[0].service", '""', "printable"),
    ("rule", 'from = "any"\nencrypt = true', "unit[0].ingress[0].encrypt", "unknown key", "action"),
    ("more", "[[unit.ingress]]", "unit[0].ingress[1].id", "nothing", "an id"),
    (
        "more",
        "[[unit.ingress]]\nid='x'\naction='acept'\nfrom='any'",
        "unit[0].ingress[1].action",
        '"acept"',
        'mean "accept"?',
    ),
    (
        "more",
        "[[unit.ingress]]\nid='in'\naction='accept'\nfrom='any'",
        "unit[0].ingress[1].id",
        '"in" again',
        "an id of its own",
    ),
    (
        "more",
        "[[unit.ingress]]\nid='default'\naction='accept'\nfrom='any'",
        "unit[0].ingress[1].id",
        "reserved",
        "another id",
    ),
    (
        "more",
        "[[unit.egress]]\nid='x'\naction='accept'\nfrom='any'",
        "unit[0].egress[0].from",
        "unknown key",
        "to",
    ),
    ("more", "[[unit]]\nselect={mark=1}", "unit[1].id", "nothing", "an id"),
    ("more", "[[unit]]\nid='x'", "unit[1].select", "nothing", "a table"),
    ("more", "[[unit]]\nid='web'\nselect={mark=1}", "unit[1].id", '"web"', "id of its own"),
    (
        "more",
        "[[unit]]\nid='x'\ncontext='web'\nselect={mark=1}",
        "unit[1].context",
        "unit[0]",
        "a context of its own",
    ),
    (
        "more",
        "[[unit]]\nid='x'\nselect={address=['10.0.0.10/32']}",
        "unit[1].select.address[0]",
        'unit[0] ("web")',
        "of this one alone",
    ),
    (
        "more",
        "[[peer]]\nid='x'\naddress='10.0.0.10'",
        "peer[0].address",
        "10.0.0.10/32",
        "of this one alone",
    ),
    ("more", "[[peer]]\nid='web'\naddress='10.0.0.11'", "peer[0].id", '"web"', "id of its own"),
    ("more", "[[peer]]\nid='x'", "peer[0].address", "nothing", "an address or a network"),
    ("more", "[[peers]]\nid='x'", "peers", "unknown key", "mean peer?"),
    ("more", "[unit.select]", "", "not TOML", "TOML 1.0"),
]


@pytest.mark.parametrize(
    ("part", "text", "key", "found", "expected"),
    MISTAKES,
    ids=[f"{part} {text}"[:60] for part, text, *_ in MISTAKES],
)
def test_one_mistake_is_one_problem(
    part: str, text: str, key: str, found: str, expected: str
) -> None:
    (problem,) = [p for p in problems_of(**{part: text}) if not key or f" {key}: " in p] or [""]
    match = re.fullmatch(r"p:(\d+):(\d+): (?:(\S.*?): )?found (.*), expected (.*)", problem)
    assert match, problems_of(**{part: text})
    assert found in match[4], problem
    assert expected in match[5], problem
    # The place is on the line of the mistake, or on the table that lacks a key.
    lines = BASE.substitute({**SOUND, part: text}).split("\n")
    assert int(match[1]) <= len(lines)
    assert 1 <= int(match[2]) <= len(lines[int(match[1]) - 1]) + 1


def test_the_base_of_these_mistakes_is_sound() -> None:
    assert problems_of() == []


def test_all_mistakes_of_a_file_are_told_at_once() -> None:
    found = problems_of(
        head='defualt = "accept"',
        networks='bad = ["10.0.0.1/8"]',
        unit="tags = ['a']\ncontext = 'c'",
        rule="from = '@nobody'\nprotocol = 'tcp'\nports = [70000, '9-8']",
        more="[[unit.egress]]\nid='x'\naction='accept'\nto='@nowhere'\n"
        "[[unit]]\nid='d'\ncontext='c'\ntags=['x']\nselect={mark=1}\n[[peer]]\nid=1\naddress='x'",
    )
    keys = [re.fullmatch(r"p:\d+:\d+: (.*?): found .*", problem) for problem in found]
    assert [match[1] for match in keys if match] == [
        "defualt",
        "networks.bad[0]",
        "unit[0].tags[0]",
        "unit[0].ingress[0].from",
        "unit[0].ingress[0].ports[0]",
        "unit[0].ingress[0].ports[1]",
        "unit[0].egress[0].to",
        "unit[1].context",
        "unit[1].tags[0]",
        "peer[0].id",
        "peer[0].address",
    ]


def test_an_empty_file_says_what_is_missing() -> None:
    with pytest.raises(ConfigError, match=r"p:1:1: version: found an empty file, expected 1"):
        parse_policy("", "p")


def test_the_least_policy_has_no_units() -> None:
    policy = parse_policy("version = 1")
    assert policy.default is RuleAction.REJECT
    assert policy.unmatched is RuleAction.REJECT
    assert not policy.judge_midstream
    assert compile_policy(policy).units == ()


def test_spellings_are_resolved() -> None:
    policy = parse_policy(
        BASE.substitute(
            SOUND,
            select="mark = ['0x100/0xff00', 7], cgroup = '/a/b/'",
            rule=f"{TCP}ports = [80, '80', '8000-8080']",
            more="""
            [[unit.ingress]]
            id = "ping"
            action = "reject"
            from = ["@office", "10.0.0.0/8"]
            protocol = ["icmp", "icmpv6"]
            icmp = ["echo-request", "destination-unreachable/port-unreachable"]
            log = true
            observe = "apply"
            service = "svc"
            """,
        )
    )
    unit = policy.units[0]
    assert unit.context_id == "web"
    assert unit.select.marks == (
        MarkMatch(value=0x100, mask=0xFF00),
        MarkMatch(value=7, mask=0xFFFFFFFF),
    )
    assert unit.select.cgroups == ("a/b",)
    assert unit.ingress[0].ports == (
        PortRange(first=80, last=80),
        PortRange(first=8000, last=8080),
    )
    assert unit.ingress[1].icmp == (
        IcmpMatch(protocol=1, type=8),
        IcmpMatch(protocol=58, type=128),
        IcmpMatch(protocol=1, type=3, code=3),
        IcmpMatch(protocol=58, type=1, code=4),
    )
    assert [a.network for a in unit.ingress[1].addresses] == ["office", ""]
    assert str(policy.networks["office"][1]) == "2001:db8:1::/48"


def test_a_policy_that_everybody_can_change_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text("version = 1\n")
    file.chmod(0o646)
    with pytest.raises(ConfigError, match="every user of this machine can change it"):
        load_policy(file)
    assert load_policy(file, allow_world_writable=True).units == ()


# --- mutation -------------------------------------------------------------------------------


def to_toml(value: Plain) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {to_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(to_toml, value)) + "]"
    return str(value) if isinstance(value, float) else json.dumps(value)


def places(value: Plain) -> Iterator[tuple[Any, Any]]:
    """Give every (container, key) of a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, element in list(items):
        yield value, key
        if isinstance(element, dict | list):
            yield from places(element)


REPLACEMENTS = st.one_of(
    st.sampled_from(
        ["", "any", "@office", "tcp", "10.0.0.0/8", "::/0", "80-90", "echo-request", "*", "=!"]
    ),
    st.integers(-2, 300),
    st.booleans(),
    st.sampled_from([1.5, [], {}, [[]], ["a=b"], [80], {"key": "x"}, [{"key": "x"}]]),
    st.text(max_size=6),
)


@given(st.data())
def test_a_mutated_policy_loads_or_is_refused_with_places(data: st.DataObject) -> None:
    example = data.draw(st.sampled_from(sorted(EXAMPLES.glob("*.toml"))))
    document = copy.deepcopy(tomllib.loads(example.read_text()))
    for _ in range(data.draw(st.integers(1, 3))):
        found = list(places(document))
        container, key = found[data.draw(st.integers(0, len(found) - 1))]
        change = data.draw(st.sampled_from(["delete", "replace", "rename", "repeat"]))
        if change == "delete":
            del container[key]
        elif change == "replace":
            container[key] = copy.deepcopy(data.draw(REPLACEMENTS))
        elif change == "rename" and isinstance(container, dict):
            name = data.draw(st.sampled_from([f"{key}x", key[:-1], "from", "ports", "icmp"]))
            container[name] = container.pop(key)
        elif change == "repeat" and isinstance(container, list):
            container.append(copy.deepcopy(container[key]))
        if not document:
            break
    text = "".join(f"{json.dumps(key)} = {to_toml(value)}\n" for key, value in document.items())
    problems: tuple[str, ...] = ()
    try:
        compile_policy(parse_policy(text, "p"))
    except ConfigError as error:
        problems = error.problems
        assert problems
    lines = text.split("\n")
    for problem in problems:
        match = re.match(r"p:(\d+):(\d+): (.+?: )?found .+, expected .+", problem)
        assert match, problem
        assert 1 <= int(match[2]) <= len(lines[int(match[1]) - 1]) + 1


@given(st.text(max_size=200))
def test_any_text_loads_or_is_refused(text: str) -> None:
    message = "p:"
    try:
        parse_policy(f"version = 1\n{text}", "p")
    except ConfigError as error:
        message = str(error)
    assert message.startswith("p:")


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.toml")), ids=lambda file: file.name)
def test_the_examples_are_sound(file: Path) -> None:
    assert compile_policy(load_policy(file, allow_world_writable=True)).units
