"""Reads one rule of a policy file: how its parts go together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET, UnsetType

from trireme_collector.strict_toml import Unfit, nearest, quote
from trireme_datapath.policy import spellings as spell
from trireme_datapath.policy.model import (
    ANY_ADDRESS,
    AddressSet,
    ClauseOperator,
    IcmpMatch,
    PortRange,
    Prefix,
    Rule,
    RuleAction,
    RuleObservation,
    TagClause,
)

if TYPE_CHECKING:
    from collections.abc import Collection

    from trireme_collector.strict_toml import Document, KeyPath
    from trireme_datapath.policy._file import ClauseTable, RuleTable

__all__ = ["read_rule"]

_FAMILIES = {1: 4, 58: 16}
_VALUED = frozenset({ClauseOperator.EQUAL, ClauseOperator.NOT_EQUAL})


def read_rule(
    document: Document,
    path: KeyPath,
    key: str,
    addresses: list[str] | str | UnsetType,
    table: RuleTable,
    networks: Collection[str],
    *,
    whole: bool = True,
) -> Rule:
    """Turn the table of a rule into a rule, noting what does not go together.

    Args:
        document: Where problems are noted.
        path: Where the table stands.
        key: ``from`` or ``to``.
        addresses: The value of that key.
        table: The table; each of its values is sound by itself.
        networks: The names under ``[networks]``.
        whole: Whether the table has all keys of the file: if not, others had problems, and
            what is missing is no further mistake.

    Returns:
        The rule; not to be used if a problem was noted.
    """
    if whole and addresses is UNSET and not table.peer_tags:
        expected = f'{key} or peer_tags; {key} = "any" for every peer'
        document.add_problem((*path, key), found="nothing", expected=expected)
    protocols = _protocols(document, path, table)
    return Rule(
        id=table.id,
        action=RuleAction(table.action),
        addresses=_addresses(document, (*path, key), addresses, protocols, networks),
        peer_tags=tuple(
            _clause(document, (*path, "peer_tags", index), clause)
            for index, clause in enumerate(table.peer_tags)
        ),
        protocols=protocols,
        ports=_ports(document, path, table, protocols) if whole else (),
        icmp=_icmp(document, path, table, protocols) if whole else (),
        observe=RuleObservation(table.observe),
        log=table.log,
        service="" if isinstance(table.service, UnsetType) else table.service,
    )


def _protocols(document: Document, path: KeyPath, table: RuleTable) -> tuple[int, ...]:
    place = (*path, "protocol")
    numbers = [spell.parse_protocol(value) for value in _scalars(table.protocol)]
    if None in numbers and len(numbers) > 1:
        expected = '"any" alone, or the protocols without it'
        document.add_problem(place, found='"any" beside other protocols', expected=expected)
    known = [number for number in numbers if number is not None]
    return tuple(dict.fromkeys(known))


def _addresses(
    document: Document,
    path: KeyPath,
    value: list[str] | str | UnsetType,
    protocols: tuple[int, ...],
    networks: Collection[str],
) -> tuple[AddressSet, ...]:
    if isinstance(value, UnsetType):
        return ()
    listed = _texts(value)
    named: dict[str, None] = {}
    literal: dict[Prefix, None] = {}
    dns_names: dict[str, None] = {}
    for index, text in enumerate(listed):
        place = (*path, index) if isinstance(value, list) else path
        if text == "any":
            if len(listed) > 1:
                expected = '"any" alone, or the addresses without it'
                document.add_problem(place, found='"any" beside other addresses', expected=expected)
            literal.update(dict.fromkeys(ANY_ADDRESS))
        elif text.startswith("@"):
            name = text[1:]
            if name not in networks:
                near = nearest(name, networks)
                known = ", ".join(quote(f"@{n}") for n in sorted(networks)[:10])
                document.add_problem(
                    place,
                    found=f"the unknown network {quote(text)}",
                    expected=f"one of {known}" if known else "a name defined under [networks]",
                    nearest=quote(f"@{near}") if near else "",
                )
            named[name] = None
        elif text.startswith("dns:"):
            if path[-1] != "to":
                document.add_problem(
                    place,
                    found=f"the DNS name {quote(text)}",
                    expected="DNS names only in to: who comes is known by the address",
                )
            dns_names[spell.parse_dns_name(text[4:])] = None
        else:
            prefix = spell.parse_prefix(text)
            literal[prefix] = None
            _check_family(document, place, prefix, protocols)
    sets = [AddressSet(network=name) for name in named]
    if literal:
        sets.append(AddressSet(prefixes=tuple(literal)))
    sets += [AddressSet(dns_name=name) for name in dns_names]
    return tuple(sets)


def _check_family(
    document: Document, path: KeyPath, prefix: Prefix, protocols: tuple[int, ...]
) -> None:
    """Refuse an address with which no protocol of the rule can appear."""
    families = {_FAMILIES.get(number, 0) for number in protocols}
    if families and 0 not in families and len(prefix.network) not in families:
        right = "icmpv6" if len(prefix.network) == 16 else "icmp"
        document.add_problem(
            path,
            found=f"{quote(str(prefix))} in a rule for {spell.protocol_name(protocols[0])}",
            expected=f"an address of the protocol's own family, or protocol = {quote(right)}",
        )


def _clause(document: Document, path: KeyPath, table: ClauseTable) -> TagClause:
    operator = ClauseOperator(table.operator)
    place = (*path, "values")
    if operator in _VALUED and table.values is UNSET:
        expected = f"the values that {quote(operator.value)} compares with"
        document.add_problem(place, found="nothing", expected=expected)
    if operator not in _VALUED and table.values is not UNSET:
        expected = f"no values with the operator {quote(operator.value)}"
        document.add_problem(place, expected=expected, of_key=True)
    if "=" in table.key:
        document.add_problem((*path, "key"), expected='a key without "="')
    values = [] if isinstance(table.values, UnsetType) else _texts(table.values)
    return TagClause(key=table.key, operator=operator, values=tuple(dict.fromkeys(values)))


def _ports(
    document: Document, path: KeyPath, table: RuleTable, protocols: tuple[int, ...]
) -> tuple[PortRange, ...]:
    if isinstance(table.ports, UnsetType):
        return ()
    without = [number for number in protocols if number not in spell.PORT_PROTOCOLS]
    if without or not protocols:
        name = spell.protocol_name(without[0]) if without else "any"
        document.add_problem(
            (*path, "ports"),
            found=f"ports in a rule for protocol {quote(name)}",
            expected="them only with tcp, udp, udplite or sctp",
            of_key=True,
        )
    return tuple(dict.fromkeys(spell.parse_ports(value) for value in _scalars(table.ports)))


def _icmp(
    document: Document, path: KeyPath, table: RuleTable, protocols: tuple[int, ...]
) -> tuple[IcmpMatch, ...]:
    if isinstance(table.icmp, UnsetType):
        return ()
    place = (*path, "icmp")
    without = [number for number in protocols if number not in spell.ICMP_PROTOCOLS]
    if without or not protocols:
        name = spell.protocol_name(without[0]) if without else "any"
        document.add_problem(
            place,
            found=f"icmp in a rule for protocol {quote(name)}",
            expected="it only with icmp or icmpv6",
            of_key=True,
        )
        return ()
    matches: dict[IcmpMatch, None] = {}
    for index, value in enumerate(_scalars(table.icmp)):
        where = (*path, "icmp", index) if isinstance(table.icmp, list) else place
        if len(protocols) > 1 and str(value)[:1].isdigit():
            document.add_problem(
                where,
                found=f"the number {quote(str(value))}, which differs in icmp and icmpv6",
                expected="a name that both have, or one rule for each protocol",
            )
            continue
        for protocol in protocols:
            try:
                matches[spell.parse_icmp(value, protocol)] = None
            except Unfit as unfit:
                document.add_problem(where, expected=unfit.expected, nearest=unfit.nearest)
    return tuple(matches)


def _texts(value: list[str] | str) -> list[str]:
    return [value] if isinstance(value, str) else value


def _scalars(value: list[int | str] | int | str) -> list[int | str]:
    return value if isinstance(value, list) else [value]
