"""The configuration file: every mistake at once, with its place; plugins by their own types."""

from __future__ import annotations

import importlib.metadata
import re
import sys
import types
from pathlib import Path
from typing import Annotated

import msgspec
import pytest

from trireme_collector import CollectorSpec, NullCollector, hookimpl
from trireme_collector.config import Configuration, LoadedConfiguration, load_config, redact
from trireme_collector.errors import ConfigError, DeliveryError, PluginError
from trireme_collector.registry import Registry


class ProbeOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    path: str
    size: Annotated[int, msgspec.Meta(ge=1)] = 10
    password: str = ""


class ProbePlugin:
    """Offers one collector."""

    def __init__(self, name: str, config_type: type[msgspec.Struct]) -> None:
        self.spec = CollectorSpec(
            name=name,
            factory=lambda config, context: NullCollector(),  # noqa: ARG005  keyword-free on purpose
            config_type=config_type,
        )

    @hookimpl
    def trireme_register_collectors(self) -> list[CollectorSpec[msgspec.Struct]]:
        return [self.spec]


class SyslogOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    address: str = "/dev/log"


@pytest.fixture
def registry() -> Registry:
    registry = Registry(entry_points=())
    registry.register(ProbePlugin("probe", ProbeOptions), name="probe")
    registry.register(ProbePlugin("syslog", SyslogOptions), name="syslog")
    return registry


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "agent.toml"


def load(file: Path, text: str, registry: Registry) -> LoadedConfiguration[Configuration]:
    file.write_text(text, encoding="utf-8")
    return load_config(file, Configuration, registry=registry)


def problems(file: Path, text: str, registry: Registry) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(file, text, registry)
    return [problem.removeprefix(f"{file}:") for problem in caught.value.problems]


def test_an_empty_file_reports_to_syslog(file: Path, registry: Registry) -> None:
    loaded = load(file, "", registry)
    assert [(c.name, c.spec.name) for c in loaded.collectors] == [("syslog", "syslog")]
    assert loaded.collectors[0].options == SyslogOptions()
    assert loaded.settings.aggregation.window_seconds == 1.0
    assert loaded.settings.instance


def test_a_full_file(file: Path, registry: Registry) -> None:
    text = """
        instance = "host-7"
        [plugins]
        deny = ["other"]
        [aggregation]
        window_seconds = 0.5
        [delivery]
        queue_records = 7
        batch_records = 5
        [collectors.archive]
        type = "probe"
        path = "flows.json"
        delivery = { batch_records = 3 }
        [collectors.local]
        type = "syslog"
    """
    loaded = load(file, text, registry)
    archive, local = loaded.collectors
    assert loaded.settings.instance == "host-7"
    assert loaded.settings.aggregation.window_seconds == 0.5
    assert archive.name == "archive"
    assert archive.options == ProbeOptions(path="flows.json")
    assert type(archive.options) is ProbeOptions
    assert (archive.delivery.queue_records, archive.delivery.batch_records) == (7, 3)
    assert (local.delivery.queue_records, local.delivery.batch_records) == (7, 5)


def test_every_mistake_is_listed_at_once(file: Path, registry: Registry) -> None:
    text = """\
instnce = "x"
[agregation]
[aggregation]
max_keys = 0
[collectors.a]
type = "probe"
sise = 3
[collectors.b]
type = "probe"
path = "x"
size = 0
delivery = { batch_record = 1 }
[collectors.c]
type = 3
"""
    found = problems(file, text, registry)
    places = [re.match(r"(\d+:\d+): ([^:]+):", problem) for problem in found]
    assert [(m[1], m[2]) for m in places if m] == [
        ("1:1", "instnce"),
        ("2:2", "agregation"),
        ("4:12", "aggregation.max_keys"),
        ("5:13", "collectors.a.path"),
        ("7:1", "collectors.a.sise"),
        ("11:8", "collectors.b.size"),
        ("12:14", "collectors.b.delivery.batch_record"),
        ("14:8", "collectors.c.type"),
    ]
    assert "did you mean instance?" in found[0]
    assert "did you mean aggregation?" in found[1]
    assert "did you mean size?" in found[4]
    assert "did you mean batch_records?" in found[6]
    assert "expected the name of a plugin" in found[7]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("collectors = 3", "1:14: collectors: found integer 3, expected a table"),
        ("[collectors]\nfile = 3", "2:8: collectors.file: found integer 3, expected a table"),
        ('instance = "a b"', "1:12: instance: found string"),
        ("plugins = []", "1:11: plugins: found an empty array, expected a table"),
        ('[plugins]\nallow = "syslog"', "2:9: plugins.allow: found string"),
        ("[delivery]\nqueue_records = true", "2:17: delivery.queue_records: found true"),
        ("instance = ", "1:12: found text that is not TOML"),
        ('[collectors."a b"]\ntype = "syslog"', '1:13: collectors."a b": found'),
    ],
)
def test_one_mistake(file: Path, registry: Registry, text: str, expected: str) -> None:
    (problem,) = problems(file, text, registry)
    assert problem.startswith(expected)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml: cannot be read: no such file"):
        load_config(tmp_path / "absent.toml", Configuration)


def test_a_file_that_everybody_can_change_is_refused(file: Path, registry: Registry) -> None:
    file.write_text("", encoding="utf-8")
    file.chmod(0o666)
    with pytest.raises(ConfigError, match="chmod o-w"):
        load_config(file, Configuration, registry=registry)


def test_an_unknown_plugin_has_its_place_and_its_own_error(file: Path, registry: Registry) -> None:
    with pytest.raises(PluginError) as caught:
        load(file, '[collectors.x]\ntype = "sislog"', registry)
    message = str(caught.value)
    assert message.startswith(f"{file}:2:8: collectors.x.type: there is no plugin 'sislog'")
    assert 'did you mean "syslog"?' in message


def test_an_unknown_plugin_beside_other_mistakes_is_listed_with_them(
    file: Path, registry: Registry
) -> None:
    found = problems(file, 'instnce = "x"\n[collectors.x]\ntype = "none"', registry)
    assert len(found) == 2
    assert "there is no plugin 'none'" in found[1]


@pytest.fixture
def broken() -> importlib.metadata.EntryPoint:
    return importlib.metadata.EntryPoint(
        name="broken", value="module_that_is_not_there", group="trireme_collector"
    )


def test_a_broken_plugin_that_is_not_named_harms_nobody(
    file: Path, broken: importlib.metadata.EntryPoint
) -> None:
    registry = Registry(entry_points=[broken])
    registry.register(ProbePlugin("syslog", SyslogOptions), name="syslog")
    loaded = load(file, '[collectors.x]\ntype = "syslog"', registry)
    assert len(loaded.collectors) == 1
    assert registry.describe("broken").error is not None


def test_a_broken_plugin_that_is_named_stops_the_start(
    file: Path, broken: importlib.metadata.EntryPoint
) -> None:
    registry = Registry(entry_points=[broken])
    with pytest.raises(PluginError, match=r"plugin 'broken' .* is broken: ModuleNotFoundError"):
        load(file, '[collectors.x]\ntype = "broken"', registry)


def test_the_deny_list_of_the_file_is_obeyed(file: Path) -> None:
    file.write_text('[plugins]\ndeny = ["syslog"]\n', encoding="utf-8")
    with pytest.raises(PluginError, match=r"syslog.* is on the deny list"):
        load_config(file, Configuration)


def test_the_allow_list_of_the_file_is_obeyed_and_nothing_else_is_imported(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("probe_plugin_module")
    plugin = ProbePlugin("probe", ProbeOptions)
    module.trireme_register_collectors = plugin.trireme_register_collectors  # type: ignore[attr-defined]  # a module made here
    monkeypatch.setitem(sys.modules, module.__name__, module)
    points = [
        importlib.metadata.EntryPoint("probe", module.__name__, "trireme_collector"),
        importlib.metadata.EntryPoint("evil", "module_that_is_not_there", "trireme_collector"),
    ]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda *, group: points)  # noqa: ARG005  its signature
    file.write_text(
        '[plugins]\nallow = ["probe"]\n[collectors.x]\ntype = "probe"\npath = "p"\n',
        encoding="utf-8",
    )
    loaded = load_config(file, Configuration)
    assert loaded.collectors[0].options == ProbeOptions(path="p")
    assert loaded.registry.describe("evil").state == "blocked"


def test_the_name_of_a_collector_is_its_type_by_default(file: Path, registry: Registry) -> None:
    loaded = load(file, '[collectors.probe]\npath = "x"', registry)
    assert loaded.collectors[0].spec.name == "probe"


def test_the_pipeline_has_the_collectors_and_their_delivery(file: Path, registry: Registry) -> None:
    text = '[collectors.a]\ntype = "probe"\npath = "x"\ndelivery = { batch_records = 3 }'
    pipeline = load(file, 'instance = "i"\n' + text, registry).pipeline()
    status = pipeline.status()
    assert status.instance == "i"
    assert [account.name for account in status.collectors] == ["a"]


def test_outputs_are_opened_and_closed_by_a_probe(file: Path) -> None:
    calls: list[str] = []

    class Output(NullCollector):
        def __init__(self, path: str) -> None:
            self.path = path

        def open(self) -> None:
            calls.append(f"open {self.path}")
            if self.path == "full":
                msg = "full: no space; make room"
                raise DeliveryError(msg)
            if self.path == "bug":
                raise KeyError(self.path)

        def close(self) -> None:
            calls.append(f"close {self.path}")

    plugin = ProbePlugin("probe", ProbeOptions)
    plugin.spec = CollectorSpec(
        name="probe",
        factory=lambda config, context: Output(config.path),  # type: ignore[attr-defined]  # noqa: ARG005  it is ProbeOptions
        config_type=ProbeOptions,
    )
    registry = Registry(entry_points=())
    registry.register(plugin, name="probe")
    tables = [f'[collectors.{n}]\ntype = "probe"\npath = "{n}"\n' for n in ("ok", "full", "bug")]
    wrong = load(file, "".join(tables), registry).probe_outputs()
    assert calls == ["open ok", "close ok", "open full", "open bug"]
    assert [(name, type(error)) for name, error in wrong] == [
        ("full", DeliveryError),
        ("bug", PluginError),
    ]


def test_secrets_are_not_in_messages(file: Path, registry: Registry) -> None:
    text = '[collectors.x]\ntype = "probe"\npath = "x"\npassword = 12345'
    (problem,) = problems(file, text, registry)
    assert "12345" not in problem
    assert "a value that is not shown" in problem


def test_secrets_are_not_in_what_is_shown(file: Path, registry: Registry) -> None:
    text = '[collectors.x]\ntype = "probe"\npath = "x"\npassword = "hunter2"'
    loaded = load(file, text, registry)
    assert "hunter2" not in str(loaded.redacted())
    assert loaded.collectors[0].options == ProbeOptions(path="x", password="hunter2")


def test_redaction_reaches_every_depth() -> None:
    tables = {"a": [{"api-key": ["x", ""]}], "token": {"b": 1}, "c": "kept", "secret": None}
    assert redact(tables) == {
        "a": [{"api-key": ["(not shown)", ""]}],
        "token": {"b": "(not shown)"},
        "c": "kept",
        "secret": None,
    }


def test_paths_are_seen_from_the_file(file: Path, registry: Registry) -> None:
    loaded = load(file, "", registry)
    assert loaded.resolve("policy.toml") == file.parent / "policy.toml"
    assert loaded.resolve("/etc/policy.toml") == Path("/etc/policy.toml")
