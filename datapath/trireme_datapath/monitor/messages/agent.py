"""Agent notifications: what the agent tells about itself."""

from __future__ import annotations

import json
from typing import Final

from msgspec import Struct

from trireme_datapath.monitor._errors import MessageError
from trireme_datapath.monitor._go_text import json_text
from trireme_datapath.monitor.display import PLAIN_DISPLAY, Display, Level
from trireme_datapath.monitor.gob import GobError, number_field, text_field
from trireme_datapath.monitor.messages._inner_stream import read_struct
from trireme_datapath.monitor.tables.agent_events import agent_event_name

__all__ = ["AgentNotify", "decode_agent_notify"]

_MAX_TYPE: Final = 0xFFFFFFFF


class AgentNotify(Struct, frozen=True, kw_only=True, gc=False):
    """Something that happened in the agent.

    Attributes:
        type: What, an `AgentEvent`.
        text: More about it, as a rule JSON.
    """

    type: int = 0
    text: str = ""

    def endpoints(self) -> tuple[int, int]:
        """Give the endpoints that filters compare, of which there are none."""
        del self
        return 0, 0

    def show(self, level: Level, data: bytes, prefix: str, display: Display) -> str:
        """Give the form of a level."""
        del data, prefix
        return self.dump_json(display) if level is Level.JSON else self.dump_info(display)

    def dump_info(self, display: Display = PLAIN_DISPLAY) -> str:
        """Give the line."""
        text = display.outside(self.text)
        return f">> {agent_event_name(self.type)}: {text}\n"

    def dump_json(self, display: Display = PLAIN_DISPLAY) -> str:
        """Give the JSON form, a line: the text stands in it as it is."""
        text = _valid_json(self.text) if display.fixed else self.text
        name = agent_event_name(self.type)
        return f'{{"type":"agent","subtype":"{name}","message":{text}}}\n'


def _valid_json(text: str) -> str:
    """Give JSON for a text that should be JSON, on one line."""
    try:
        value = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return json_text(text)
    return json_text(value)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def decode_agent_notify(data: bytes) -> AgentNotify:
    """Read an agent notification: the byte of its type and a gob stream.

    Raises:
        MessageError: The stream does not hold one.
    """
    value = read_struct(data)
    try:
        number = number_field(value, "Type")
        text = text_field(value, "Text")
    except GobError as error:
        raise MessageError(str(error)) from error
    if not 0 <= number <= _MAX_TYPE:
        raise MessageError(f"gob: value for field Type is out of range: {number}")
    return AgentNotify(type=number, text=text)
