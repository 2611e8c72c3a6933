"""The default collector reports to syslog."""

from __future__ import annotations

import pytest

from trireme_collector import (
    CollectorContext,
    CollectorSpec,
    DefaultCollector,
    EventCollector,
    NoOptions,
    PacketReport,
    PluginError,
    Registry,
    hookimpl,
    new_default_collector,
)
from trireme_collector.testing import MemoryCollector


class Plugin:
    def __init__(self) -> None:
        self.memory = MemoryCollector()

    @hookimpl
    def trireme_register_collectors(self) -> list[CollectorSpec[NoOptions]]:
        def build(_options: NoOptions, context: CollectorContext) -> MemoryCollector:
            assert context.name == "syslog"
            return self.memory

        return [CollectorSpec(name="syslog", factory=build)]


def test_its_only_collector_is_syslog() -> None:
    plugin = Plugin()
    registry = Registry(entry_points=[])
    registry.register(plugin, name="syslog")
    collector = DefaultCollector(registry=registry, threads=False).start()
    collector.collect_packet_event(PacketReport())
    assert collector.flush()
    assert isinstance(collector, EventCollector)
    assert len(plugin.memory.packets) == 1
    assert [account.name for account in collector.status().collectors] == ["syslog"]


def test_a_new_one_is_started() -> None:
    plugin = Plugin()
    registry = Registry(entry_points=[])
    registry.register(plugin, name="syslog")
    collector = new_default_collector(registry=registry)
    collector.collect_packet_event(PacketReport())
    assert collector.close(30).complete
    assert len(plugin.memory.packets) == 1


def test_without_the_plugin_it_says_so() -> None:
    with pytest.raises(PluginError, match="there is no plugin 'syslog'"):
        DefaultCollector(registry=Registry(entry_points=[]))
