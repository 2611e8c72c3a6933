"""The versions of Cilium whose output can be had, and what they do differently.

A difference that is data stands here; the rest of the code asks the profile and does not compare
versions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from msgspec import Struct

from trireme_datapath.monitor.tables.debug_messages import DEBUG_TEXTS, DEBUG_TEXTS_1_9
from trireme_datapath.monitor.tables.dns_types import DNS_TYPES, DNS_TYPES_1_9
from trireme_datapath.monitor.tables.drop_reasons import DROP_REASONS, DROP_REASONS_1_9
from trireme_datapath.monitor.tables.identities import RESERVED_IDENTITIES
from trireme_datapath.monitor.tables.message_types import MESSAGE_NAMES, MESSAGE_NAMES_1_9
from trireme_datapath.monitor.tables.traces import TRACE_REASONS, TRACE_REASONS_1_9
from trireme_datapath.monitor.tables.verdicts import MATCH_TYPES, MATCH_TYPES_1_9

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trireme_datapath.monitor.tables.message_types import MessageType

__all__ = [  # noqa: RUF022  sorted as text, the numbers too
    "PROFILE_1_16",
    "PROFILE_1_9",
    "Profile",
    "ProfileName",
    "find_profile",
    "get_all_types",
]

ProfileName = Literal["1.16", "1.9"]


class Profile(Struct, frozen=True, kw_only=True):
    """What one version of Cilium knows and prints.

    Attributes:
        name: The version.
        message_names: The types of messages, by the name that filters know them by.
        drop_reasons: Why a packet was dropped.
        trace_reasons: Why a packet was forwarded.
        match_types: What part of a policy matched.
        debug_texts: The texts of debug messages.
        dns_types: The names of DNS record types.
        identities: The identities that are printed by name.
        identity_lead: What stands before the word "identity" in front of two of them.
        drop_length: How long the header of a drop notification is.
        has_drop_details: Whether drops come with file, line, interface and a second error.
        has_proxy_ports: Whether a trace to a proxy names its port.
        has_authentication: Whether a policy verdict says how a connection authenticates.
        packet_before_header: Whether the verbose form shows a packet before its line.
        length_errors: Whether a trace that is too short is told how long it should be.
        structured_labels: Whether the labels of an access log have a key, a value and a source.
        response_to_destination: Whether a response goes to the destination of its request.
        observation_source: Whether a DNS line shows the source of the observation as it came.
        omit_host: Whether a URL in JSON has the key OmitHost.
        checks_endpoints: Whether the number of an endpoint in a filter has to be one.
    """

    name: ProfileName
    message_names: Mapping[str, MessageType]
    drop_reasons: Mapping[int, str]
    trace_reasons: Mapping[int, str]
    match_types: Mapping[int, str]
    debug_texts: Mapping[int, str]
    dns_types: Mapping[int, str]
    identities: Mapping[int, str]
    identity_lead: str
    drop_length: int
    has_drop_details: bool
    has_proxy_ports: bool
    has_authentication: bool
    packet_before_header: bool
    length_errors: bool
    structured_labels: bool
    response_to_destination: bool
    observation_source: bool
    omit_host: bool
    checks_endpoints: bool

    def drop_reason(self, code: int, ext_error: int = 0) -> str:
        """Give the text of a drop reason, with the second error if there is one."""
        text = self.drop_reasons.get(code)
        if not self.has_drop_details:
            return text or str(code)
        if text is None:
            return f"{code}, {ext_error}"
        return f"{text}, {ext_error}" if ext_error else text


PROFILE_1_16: Final = Profile(
    name="1.16",
    message_names=MESSAGE_NAMES,
    drop_reasons=DROP_REASONS,
    trace_reasons=TRACE_REASONS,
    match_types=MATCH_TYPES,
    debug_texts=DEBUG_TEXTS,
    dns_types=DNS_TYPES,
    identities=RESERVED_IDENTITIES,
    identity_lead=", ",
    drop_length=36,
    has_drop_details=True,
    has_proxy_ports=True,
    has_authentication=True,
    packet_before_header=True,
    length_errors=True,
    structured_labels=True,
    response_to_destination=True,
    observation_source=True,
    omit_host=True,
    checks_endpoints=True,
)

PROFILE_1_9: Final = Profile(
    name="1.9",
    message_names=MESSAGE_NAMES_1_9,
    drop_reasons=DROP_REASONS_1_9,
    trace_reasons=TRACE_REASONS_1_9,
    match_types=MATCH_TYPES_1_9,
    debug_texts=DEBUG_TEXTS_1_9,
    dns_types=DNS_TYPES_1_9,
    identities={},
    identity_lead="",
    drop_length=32,
    has_drop_details=False,
    has_proxy_ports=False,
    has_authentication=False,
    packet_before_header=False,
    length_errors=False,
    structured_labels=False,
    response_to_destination=False,
    observation_source=False,
    omit_host=False,
    checks_endpoints=False,
)

# The exact versions that the profiles were taken from name them too.
_PROFILES: Final[Mapping[str, Profile]] = {
    "1.16": PROFILE_1_16,
    "1.16.2": PROFILE_1_16,
    "1.9": PROFILE_1_9,
    "1.9.18": PROFILE_1_9,
}


def find_profile(profile: str | Profile) -> Profile:
    """Give the profile of a version.

    Raises:
        ValueError: There is none.
    """
    if isinstance(profile, Profile):
        return profile
    found = _PROFILES.get(profile)
    if found is None:
        known = ", ".join(_PROFILES)
        raise ValueError(f"no profile {profile!r}; there are {known}")
    return found


def get_all_types(profile: str | Profile = "1.16") -> list[str]:
    """List the names of all types of messages, sorted."""
    return sorted(find_profile(profile).message_names)
