"""Enumerations of the records, with the spelling of the wire as value.

Sources: the documentation of Trireme's ``collector`` package and the ``policy`` and
``claimsheader`` types that its records refer to.
"""

from __future__ import annotations

import enum
from typing import Self

__all__ = [
    "ActionType",
    "ContainerEvent",
    "Direction",
    "EndPointType",
    "FlowDropReason",
    "FlowPhase",
    "ObserveActionType",
    "PacketEvent",
    "PingType",
    "ServiceType",
    "Stage",
]

_ACTION_BITS = {"accept": 0x01, "reject": 0x02, "encrypt": 0x04, "log": 0x08, "observe": 0x10}


class ActionType(enum.Enum):
    """What a policy does with a flow: a set of bits, each combination a member.

    The value names every bit (``"accept|log"``) and is what JSON and MessagePack carry.
    ``str()`` is the upstream text, which knows single bits only and calls any
    combination ``unknown``; `describe` never does. ``ActionType(0x09)`` takes the number.
    """

    NONE = "none"
    ACCEPT = "accept"
    REJECT = "reject"
    ACCEPT_REJECT = "accept|reject"
    ENCRYPT = "encrypt"
    ACCEPT_ENCRYPT = "accept|encrypt"
    REJECT_ENCRYPT = "reject|encrypt"
    ACCEPT_REJECT_ENCRYPT = "accept|reject|encrypt"
    LOG = "log"
    ACCEPT_LOG = "accept|log"
    REJECT_LOG = "reject|log"
    ACCEPT_REJECT_LOG = "accept|reject|log"
    ENCRYPT_LOG = "encrypt|log"
    ACCEPT_ENCRYPT_LOG = "accept|encrypt|log"
    REJECT_ENCRYPT_LOG = "reject|encrypt|log"
    ACCEPT_REJECT_ENCRYPT_LOG = "accept|reject|encrypt|log"
    OBSERVE = "observe"
    ACCEPT_OBSERVE = "accept|observe"
    REJECT_OBSERVE = "reject|observe"
    ACCEPT_REJECT_OBSERVE = "accept|reject|observe"
    ENCRYPT_OBSERVE = "encrypt|observe"
    ACCEPT_ENCRYPT_OBSERVE = "accept|encrypt|observe"
    REJECT_ENCRYPT_OBSERVE = "reject|encrypt|observe"
    ACCEPT_REJECT_ENCRYPT_OBSERVE = "accept|reject|encrypt|observe"
    LOG_OBSERVE = "log|observe"
    ACCEPT_LOG_OBSERVE = "accept|log|observe"
    REJECT_LOG_OBSERVE = "reject|log|observe"
    ACCEPT_REJECT_LOG_OBSERVE = "accept|reject|log|observe"
    ENCRYPT_LOG_OBSERVE = "encrypt|log|observe"
    ACCEPT_ENCRYPT_LOG_OBSERVE = "accept|encrypt|log|observe"
    REJECT_ENCRYPT_LOG_OBSERVE = "reject|encrypt|log|observe"
    ACCEPT_REJECT_ENCRYPT_LOG_OBSERVE = "accept|reject|encrypt|log|observe"

    bits: int
    text: str

    def __init__(self, value: str) -> None:
        """Work out the bits and the upstream text once."""
        self.bits = sum(_ACTION_BITS.get(name, 0) for name in value.split("|"))
        self.text = value if value in _ACTION_BITS and value != "observe" else "unknown"

    @classmethod
    def _missing_(cls, value: object) -> ActionType | None:
        return _ACTIONS.get(value) if isinstance(value, int) else None

    @classmethod
    def from_bits(cls, bits: int) -> ActionType:
        """Give the action with exactly these bits (seed ``policy.ActionType``).

        Raises:
            ValueError: A bit is set that has no meaning.
        """
        action = _ACTIONS.get(bits)
        if action is None:
            msg = f"{bits:#x} is not an action: only the bits of 0x1f have a meaning"
            raise ValueError(msg)
        return action

    # A member is one object, so its identity will do: Enum's own hash is a Python function, and
    # actions are part of the key of every flow that is merged.
    __hash__ = object.__hash__

    def __str__(self) -> str:
        """Give the upstream text: a single bit's name, or ``unknown``."""
        return self.text

    def __or__(self, other: ActionType) -> ActionType:
        """Give the action that has the bits of both."""
        return _ACTIONS[self.bits | other.bits]

    def __and__(self, other: ActionType) -> ActionType:
        """Give the action that has the bits common to both."""
        return _ACTIONS[self.bits & other.bits]

    def describe(self) -> str:
        """Name every bit, ``none`` for no bit."""
        return str(self.value)

    @property
    def action_string(self) -> str:
        """The second upstream text: ``accept``, ``reject`` or ``passthrough``."""
        return {0x01: "accept", 0x02: "reject"}.get(self.bits & 0x03, "passthrough")

    @property
    def accepted(self) -> bool:
        """Whether the accept bit is set."""
        return bool(self.bits & 0x01)

    @property
    def rejected(self) -> bool:
        """Whether the reject bit is set."""
        return bool(self.bits & 0x02)

    @property
    def encrypted(self) -> bool:
        """Whether the encrypt bit is set."""
        return bool(self.bits & 0x04)

    @property
    def logged(self) -> bool:
        """Whether the log bit is set."""
        return bool(self.bits & 0x08)

    @property
    def observed(self) -> bool:
        """Whether the observe bit is set."""
        return bool(self.bits & 0x10)


_ACTIONS = {action.bits: action for action in ActionType}


class _Numbered(enum.Enum):
    """A text on our wire that was a number upstream; the number finds the member too."""

    number: int

    def __new__(cls, value: str) -> Self:
        """Number the members in the order of their definition, from 0, as Go's iota does."""
        member = object.__new__(cls)
        member._value_ = value
        member.number = len(cls.__members__)
        return member

    @classmethod
    def _missing_(cls, value: object) -> _Numbered | None:
        if isinstance(value, int):
            return next((member for member in cls if member.number == value), cls._unknown())
        return None

    @classmethod
    def _unknown(cls) -> _Numbered | None:
        """Say which member stands for a number that has none."""
        return None

    def __str__(self) -> str:
        """Give the upstream text."""
        return str(self.value)


class EndPointType(_Numbered):
    """The kind of an endpoint; a number that is none of the three reads as a PU, as upstream."""

    EXTERNAL_IP = "ext"
    PU = "pu"
    CLAIMS = "claims"

    @classmethod
    def _unknown(cls) -> EndPointType:
        return cls.PU


class ObserveActionType(_Numbered):
    """How a rule observes: not, as a dry run (continue), or only when nothing else matched."""

    NONE = "none"
    CONTINUE = "continue"
    APPLY = "apply"
    UNKNOWN = "unknown"

    @classmethod
    def _unknown(cls) -> ObserveActionType:
        return cls.UNKNOWN

    @property
    def observed(self) -> bool:
        """Whether the rule observes at all."""
        return self is not ObserveActionType.NONE


class ServiceType(_Numbered):
    """The layer at which a flow was judged."""

    L3 = "L3"
    HTTP = "HTTP"
    TCP = "TCP"
    SECRETS_PROXY = "SecretsProxy"


class Stage(_Numbered):
    """The checkpoint of a ping at which a report is made."""

    ORIGIN = "origin"
    REPLY = "reply"
    UNKNOWN = "unknown"

    @classmethod
    def _unknown(cls) -> Stage:
        return cls.UNKNOWN


class PingType(_Numbered):
    """How a ping identifies itself; an unknown number reads as none, as upstream."""

    NONE = "None"
    DEFAULT_IDENTITY = "DefaultIdentity"
    CUSTOM_IDENTITY = "CustomIdentity"
    DEFAULT_IDENTITY_PASSTHROUGH = "DefaultIdentityPassthrough"

    @classmethod
    def _unknown(cls) -> PingType:
        return cls.NONE


class PacketEvent(enum.StrEnum):
    """What became of a traced packet."""

    NONE = ""
    DROPPED = "Dropped"
    RECEIVED = "Received"
    TRANSMITTED = "Transmitted"


class Direction(enum.StrEnum):
    """The way of a flow as seen from the processing unit that judged it (ours)."""

    INGRESS = "ingress"
    EGRESS = "egress"


class FlowPhase(enum.StrEnum):
    """What a record says about an accepted flow after the one that opened it (ours).

    The packets and bytes of all records of a flow add up to what the flow carried.
    """

    CONTINUED = "continued"
    """It is open, and carried this much since its last record."""
    EVICTED = "evicted"
    """It is open, but had to make room: later records find out anew whose it is."""
    ENDED = "ended"
    """It ended, and carried this much since its last record."""


class FlowDropReason(enum.StrEnum):
    """Why a flow or packet was not let through: the flow event descriptions of the seed."""

    NONE = ""
    FLOW_REJECT = "reject"
    FLOW_ACCEPT = "accept"
    MISSING_TOKEN = "missingtoken"  # noqa: S105  the seed's word, not a secret
    INVALID_TOKEN = "token"  # noqa: S105  the seed's word, not a secret
    INVALID_FORMAT = "format"
    INVALID_HEADER = "header"
    INVALID_PAYLOAD = "payload"
    INVALID_CONTEXT = "context"
    INVALID_CONNECTION = "connection"
    INVALID_STATE = "state"
    INVALID_NONCE = "nonse"
    INVALID_NONSE = "nonse"  # the seed's spelling, an alias
    POLICY_DROP = "policy"
    API_POLICY_DROP = "api"
    UNABLE_TO_DIAL = "dial"
    COMPRESSED_TAG_MISMATCH = "compressedtagmismatch"
    ENCRYPTION_MISMATCH = "encryptionmismatch"
    DATAPATH_VERSION_MISMATCH = "datapathversionmismatch"
    PACKET_DROP = "packetdrop"


class ContainerEvent(enum.StrEnum):
    """What happened to a container: the container event descriptions of the seed."""

    START = "start"
    STOP = "stop"
    CREATE = "create"
    DELETE = "delete"
    UPDATE = "update"
    FAILED = "forcestop"
    IGNORED = "ignore"
    DELETE_UNKNOWN = "unknowncontainer"
