"""The configuration of conversation tracking, as the original program reads it."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

import msgspec

from trireme_collector.errors import ConfigError
from trireme_collector.netobserv._config_form import as_read
from trireme_collector.netobserv._durations import parse_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "FieldGroup",
    "HashDefinition",
    "KeyDefinition",
    "OutputField",
    "Profile",
    "SchedulingGroup",
    "TcpFlags",
    "TrackingConfig",
    "default_tracking_config",
    "read_key_definition",
    "read_tracking_config",
]

Profile: TypeAlias = Literal["strict", "default"]
"""``strict`` behaves as the original does; ``default`` without its documented defects."""

RECORD_TYPES = ("newConnection", "endConnection", "heartbeat", "flowLog")
_OPERATIONS = ("sum", "count", "min", "max", "first", "last")
# They take one value of one flow log, so there is nothing to divide between directions.
_UNSPLIT = ("first", "last")

StructT = TypeVar("StructT", bound=msgspec.Struct)


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class FieldGroup(_Section, frozen=True, kw_only=True):
    """Fields that are hashed together.

    Attributes:
        name: What the hash refers to.
        fields: The fields, in the order in which they are hashed.
    """

    name: str = ""
    fields: tuple[str, ...] = ()


class HashDefinition(_Section, frozen=True, kw_only=True, rename="camel"):
    """Which groups make the id of a conversation.

    Attributes:
        field_group_refs: Groups that both directions have alike.
        field_group_a_ref: The group of side A; together with B, both directions get one id.
        field_group_b_ref: The group of side B.
    """

    field_group_refs: tuple[str, ...] = ()
    field_group_a_ref: str = ""
    field_group_b_ref: str = ""


class KeyDefinition(_Section, frozen=True, kw_only=True, rename="camel"):
    """Which fields tell conversations apart.

    Attributes:
        field_groups: The groups of fields.
        hash: How they make an id.
    """

    field_groups: tuple[FieldGroup, ...] = ()
    hash: HashDefinition = HashDefinition()

    @property
    def fields(self) -> tuple[str, ...]:
        """Every key field, once, in the order of the definition."""
        return tuple(dict.fromkeys(name for group in self.field_groups for name in group.fields))

    def side(self, name: str) -> tuple[str, ...]:
        """Give the fields of a group; of the last one if several have the name."""
        found: tuple[str, ...] = ()
        for group in self.field_groups:
            if group.name == name:
                found = group.fields
        return found


class OutputField(_Section, frozen=True, kw_only=True):
    """A field of conversation records that is put together from flow logs.

    Attributes:
        name: What it is called; ``_AB`` and ``_BA`` are added when it is split.
        operation: ``sum``, ``count``, ``min``, ``max``, ``first`` or ``last``.
        split_ab: Whether each direction has its own.
        input: The field of flow logs; ``name`` if empty.
        report_missing: Whether a flow log without it counts as an error.
    """

    name: str = ""
    operation: str = ""
    split_ab: bool = msgspec.field(default=False, name="splitAB")
    input: str = ""
    report_missing: bool = msgspec.field(default=False, name="reportMissing")

    @property
    def names(self) -> tuple[str, ...]:
        """The names in records, one or two."""
        return (f"{self.name}_AB", f"{self.name}_BA") if self.split_ab else (self.name,)

    @property
    def source(self) -> str:
        """The field of flow logs."""
        return self.input or self.name


class SchedulingGroup(_Section, frozen=True, kw_only=True, rename="camel"):
    """When conversations of one kind end and beat.

    Attributes:
        selector: The key values that conversations of this group have; empty for all others.
        end_connection_timeout: How long after its last flow log a conversation ends.
        terminating_timeout: How long after its end was seen.
        heartbeat_interval: How often it is reported meanwhile.
    """

    selector: dict[str, object] = {}
    end_connection_timeout: str | int | float = 0
    terminating_timeout: str | int | float = 0
    heartbeat_interval: str | int | float = 0


class TcpFlags(_Section, frozen=True, kw_only=True):
    """What TCP flags are used for.

    Attributes:
        field_name: The field with the flags.
        detect_end_connection: Whether flags end a conversation.
        swap_ab: Whether a conversation that begins with SYN and ACK is turned round.
    """

    field_name: str = msgspec.field(default="", name="fieldName")
    detect_end_connection: bool = msgspec.field(default=False, name="detectEndConnection")
    swap_ab: bool = msgspec.field(default=False, name="swapAB")


class TrackingConfig(_Section, frozen=True, kw_only=True, rename="camel"):
    """All of it.

    Attributes:
        key_definition: Which fields tell conversations apart.
        output_record_types: The kinds of records to give out.
        output_fields: What conversation records contain besides the key.
        scheduling: When conversations end and beat; the first group that matches is used.
        max_connections_tracked: How many conversations are kept; 0 for the limit of the profile.
        tcp_flags: What TCP flags are used for.
    """

    key_definition: KeyDefinition = KeyDefinition()
    output_record_types: tuple[str, ...] = ()
    output_fields: tuple[OutputField, ...] = ()
    scheduling: tuple[SchedulingGroup, ...] = ()
    max_connections_tracked: int = 0
    tcp_flags: TcpFlags = TcpFlags()


def default_tracking_config() -> dict[str, object]:
    """Give the configuration that the operator of a cluster gets by default."""
    sums: list[dict[str, object]] = [
        {"name": name, "operation": "sum", "splitAB": split}
        for name in ("Bytes", "Packets")
        for split in (False, True)
    ]
    return {
        "keyDefinition": {
            "fieldGroups": [
                {"name": "src", "fields": ["SrcAddr", "SrcPort"]},
                {"name": "dst", "fields": ["DstAddr", "DstPort"]},
                {"name": "common", "fields": ["Proto"]},
            ],
            "hash": {
                "fieldGroupRefs": ["common"],
                "fieldGroupARef": "src",
                "fieldGroupBRef": "dst",
            },
        },
        "outputRecordTypes": ["newConnection", "heartbeat", "endConnection"],
        "outputFields": [
            *sums,
            {"name": "numFlowLogs", "operation": "count"},
            {"name": "TimeFlowStartMs", "operation": "min", "reportMissing": True},
            {"name": "TimeFlowEndMs", "operation": "max", "reportMissing": True},
            {"name": "FlowDirection", "operation": "first", "reportMissing": True},
            {"name": "IfDirection", "operation": "first", "reportMissing": True},
            {"name": "AgentIP", "operation": "first", "reportMissing": True},
        ],
        "scheduling": [
            {"heartbeatInterval": "30s", "endConnectionTimeout": "10s", "terminatingTimeout": "5s"}
        ],
        "tcpFlags": {"fieldName": "Flags", "detectEndConnection": True, "swapAB": True},
    }


def read_tracking_config(config: Mapping[str, object], profile: Profile) -> TrackingConfig:
    """Check a configuration.

    Args:
        config: The configuration as JSON gives it.
        profile: The default one refuses more: what would make the original run in circles.

    Raises:
        ConfigError: It cannot be used; ``problems`` lists every reason.
    """
    if profile not in ("strict", "default"):
        msg = f"the profile of a tracker is 'strict' or 'default', not {profile!r}"
        raise ConfigError(msg)
    read = _convert(config, TrackingConfig, "conversation tracking")
    problems = [
        *_key_problems(read.key_definition),
        *_field_problems(read),
        *_record_type_problems(read),
        *_scheduling_problems(read),
        *_flag_problems(read),
    ]
    if profile == "default":
        problems += _default_profile_problems(read)
    _raise("conversation tracking", problems)
    return read


def read_key_definition(config: Mapping[str, object]) -> KeyDefinition:
    """Check a key definition alone.

    Raises:
        ConfigError: It cannot be used.
    """
    read = _convert(config, KeyDefinition, "keyDefinition")
    _raise("keyDefinition", _key_problems(read))
    return read


def _convert(config: Mapping[str, object], kind: type[StructT], what: str) -> StructT:
    try:
        return msgspec.convert(as_read(config, kind), kind, strict=True)
    except msgspec.ValidationError as error:
        msg = f"{what}: {_nearest(str(error), kind)}"
        raise ConfigError(msg) from error


def _nearest(message: str, kind: type[msgspec.Struct]) -> str:
    """Add the key that was probably meant to a message about an unknown one."""
    found = re.search(r"unknown field `([^`]*)`", message)
    if not found:
        return message
    near = difflib.get_close_matches(found[1], _all_keys(kind) - {found[1]}, n=1)
    return f"{message}; did you mean {near[0]!r}?" if near else message


def _all_keys(kind: type[msgspec.Struct]) -> set[str]:
    keys = set(kind.__struct_encode_fields__)
    sections = (KeyDefinition, FieldGroup, HashDefinition, OutputField, SchedulingGroup, TcpFlags)
    for section in sections:
        keys.update(section.__struct_encode_fields__)
    return keys


def _raise(what: str, problems: Iterable[str]) -> None:
    listed = tuple(f"{what}: {problem}" for problem in problems)
    if listed:
        raise ConfigError("\n".join(listed), problems=listed)


def _key_problems(definition: KeyDefinition) -> Iterable[str]:
    names = [group.name for group in definition.field_groups]
    for name in _repeated(names):
        yield f"two field groups are called {name!r}; give each a name of its own"
    hashing = definition.hash
    a, b = hashing.field_group_a_ref, hashing.field_group_b_ref
    if bool(a) != bool(b):
        yield "fieldGroupARef and fieldGroupBRef go together; set both or none"
    for key, name in (("fieldGroupARef", a), ("fieldGroupBRef", b)):
        if name and name not in names:
            yield f"{key} names the group {name!r}, which is not defined"
    for name in hashing.field_group_refs:
        if name not in names:
            yield f"fieldGroupRefs names the group {name!r}, which is not defined"
    if a in names and b in names and len(definition.side(a)) != len(definition.side(b)):
        yield f"the groups {a!r} and {b!r} need as many fields as one another"


def _field_problems(config: TrackingConfig) -> Iterable[str]:
    two_sided = bool(config.key_definition.hash.field_group_a_ref)
    for field in config.output_fields:
        if not field.name:
            yield "an output field has no name"
        if field.operation not in _OPERATIONS:
            known = ", ".join(_OPERATIONS)
            yield f"output field {field.name!r}: no operation {field.operation!r}; use {known}"
        elif field.split_ab and field.operation in _UNSPLIT:
            yield f"output field {field.name!r}: {field.operation!r} cannot be split"
        if field.split_ab and not two_sided:
            yield f"output field {field.name!r}: splitAB needs fieldGroupARef and fieldGroupBRef"
    for name in _repeated(name for field in config.output_fields for name in field.names):
        yield f"two output fields are called {name!r}"


def _record_type_problems(config: TrackingConfig) -> Iterable[str]:
    for name in config.output_record_types:
        if name not in RECORD_TYPES:
            yield f"no record type {name!r}; there are {', '.join(RECORD_TYPES)}"


def _scheduling_problems(config: TrackingConfig) -> Iterable[str]:
    keys = config.key_definition.fields
    last = len(config.scheduling) - 1
    defaults = 0
    for index, group in enumerate(config.scheduling):
        for name in group.selector:
            if name not in keys:
                yield f"scheduling group {index}: the selector's {name!r} is no key field"
        if not group.selector:
            defaults += 1
            if index != last:
                yield f"scheduling group {index}: only the last group can be without a selector"
        for duration in (
            group.end_connection_timeout,
            group.terminating_timeout,
            group.heartbeat_interval,
        ):
            try:
                parse_duration(duration)
            except ValueError as error:
                yield f"scheduling group {index}: {error}"
    if defaults != 1:
        yield f"one scheduling group has to be without a selector, not {defaults}"


def _flag_problems(config: TrackingConfig) -> Iterable[str]:
    flags = config.tcp_flags
    if not flags.field_name and (flags.detect_end_connection or flags.swap_ab):
        yield "tcpFlags needs fieldName for detectEndConnection and swapAB"
    if flags.swap_ab and not config.key_definition.hash.field_group_a_ref:
        yield "tcpFlags.swapAB needs fieldGroupARef and fieldGroupBRef"


def _default_profile_problems(config: TrackingConfig) -> Iterable[str]:
    if config.max_connections_tracked < 0:
        yield "maxConnectionsTracked cannot be negative"
    beats = "heartbeat" in config.output_record_types
    for index, group in enumerate(config.scheduling):
        for key, duration in (
            ("endConnectionTimeout", group.end_connection_timeout),
            ("terminatingTimeout", group.terminating_timeout),
            ("heartbeatInterval", group.heartbeat_interval),
        ):
            try:
                length = parse_duration(duration)
            except ValueError:
                continue  # reported with the others
            if length < 0:
                yield f"scheduling group {index}: {key} cannot be negative, or beyond 64 bits"
            elif beats and not length and key == "heartbeatInterval":
                yield (
                    f"scheduling group {index}: heartbeatInterval has to be above 0 for heartbeats,"
                    " such as '30s'"
                )


def _repeated(names: Iterable[str]) -> list[str]:
    seen: dict[str, int] = {}
    for name in names:
        seen[name] = seen.get(name, 0) + 1
    return [name for name, count in seen.items() if count > 1]
