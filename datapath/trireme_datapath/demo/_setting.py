"""What both forms of the demo share: a directory with a configuration, a file and a socket."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from trireme_collector.registry import Registry
from trireme_datapath.agent import OutputError, load_agent_config
from trireme_datapath.demo._screen import PLUGIN_NAME
from trireme_datapath.demo._syslog import SyslogSocket

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trireme_collector.config import LoadedConfiguration
    from trireme_datapath.agent import AgentConfiguration
    from trireme_datapath.demo._screen import Screen

__all__ = ["CAPTURE", "POLICY", "Setting", "setting"]

_DATA: Final = Path(__file__).parent.parent / "data"
POLICY: Final = _DATA / "demo.toml"
CAPTURE: Final = _DATA / "demo.pcap"

# Literal strings: no character of a path has a meaning in them.
_CONFIG: Final = """\
instance = "demo"
checkpoint_seconds = 0

[datapath]
policy = '{policy}'
counter_report_seconds = 0
unit_events = false
backend = "{backend}"
refuse = {refuse}

[control]
enabled = false

[datapath.accounting]
enabled = false

[datapath.rules]
hooks = ["forward"]

[aggregation]
window_seconds = 0.2

[delivery]
batch_age_seconds = 0.02

[collectors.{screen}]

[collectors.file]
path = '{directory}/flows.json'

[collectors.syslog]
address = '{directory}/log.socket'
"""


class Setting:
    """The directory of a demo.

    Attributes:
        config: The configuration in it.
        syslog: The socket in it.
    """

    def __init__(
        self,
        directory: Path,
        config: LoadedConfiguration[AgentConfiguration],
        syslog: SyslogSocket,
    ) -> None:
        """Hold what `setting` made."""
        self._directory = directory
        self.config = config
        self.syslog = syslog

    def file_lines(self) -> tuple[str, ...]:
        """Read what landed in the file."""
        text = (self._directory / "flows.json").read_text(encoding="utf-8")
        return tuple(text.splitlines())


@contextlib.contextmanager
def setting(screen: Screen, *, backend: str = "netlink", refuse: bool = False) -> Iterator[Setting]:
    """Make the directory, and remove it afterwards.

    Args:
        screen: The collector that prints.
        backend: Where packets come from.
        refuse: Whether rejected clients are told so.
    """
    registry = Registry()
    registry.register(screen, name=PLUGIN_NAME)
    with _directory() as name:
        directory = Path(name)
        path = directory / "agent.toml"
        text = _CONFIG.format(
            policy=POLICY,
            backend=backend,
            refuse=str(refuse).lower(),
            screen=PLUGIN_NAME,
            directory=directory,
        )
        path.write_text(text, encoding="utf-8")
        with SyslogSocket(directory / "log.socket") as syslog:
            yield Setting(directory, load_agent_config(path, registry=registry), syslog)


def _directory() -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory(prefix="trireme-demo-")
    except OSError as error:
        msg = f"no directory for temporary files: {error}; set TMPDIR to one that can be written"
        raise OutputError(msg) from error
