"""What is shipped beside the packages fits them: manifest, image, unit, Debian package."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import msgspec
import pytest

from trireme_collector.cli._group import root

ROOT = Path(__file__).parents[2]
PACKAGING = ROOT / "packaging"
MANIFESTS = ("daemonset.yaml", "names.yaml")
UNIT = PACKAGING / "trireme-collector.service"


class Container(msgspec.Struct):
    """What we look at in a container of the manifest."""

    name: str
    image: str
    args: list[str]
    security: dict[str, object] = msgspec.field(name="securityContext")
    mounts: list[dict[str, object]] = msgspec.field(name="volumeMounts")


@pytest.fixture(scope="module")
def objects() -> dict[str, dict[str, object]]:
    yaml = pytest.importorskip("yaml", reason="the manifest is YAML")
    texts = [(PACKAGING / "kubernetes" / name).read_text("utf-8") for name in MANIFESTS]
    return {str(one["kind"]): one for text in texts for one in yaml.safe_load_all(text)}


def at(tree: object, path: str) -> object:
    """Follow keys, divided by dots."""
    for key in path.split("."):
        assert isinstance(tree, dict)
        tree = tree[key]
    return tree


def containers(objects: dict[str, dict[str, object]]) -> list[Container]:
    pod = at(objects["DaemonSet"], "spec.template.spec")
    found = [at(pod, "initContainers"), at(pod, "containers")]
    return [one for part in found for one in msgspec.convert(part, list[Container])]


def command_line(words: list[str]) -> click.Context:
    """Parse a command line as the program would, and run nothing."""
    context: click.Context = root.make_context("trireme-collector", list(words))
    while isinstance(context.command, click.Group):
        rest = [*context._protected_args, *context.args]
        name, command, rest = context.command.resolve_command(context, rest)
        assert command is not None
        context = command.make_context(name, rest, parent=context)
    return context


def test_the_manifest_says_what_an_agent_needs(objects: dict[str, dict[str, object]]) -> None:
    assert list(objects)[:3] == ["Namespace", "ConfigMap", "DaemonSet"]
    assert at(objects["DaemonSet"], "spec.template.spec.hostNetwork") is True
    labels = at(objects["DaemonSet"], "spec.template.metadata.labels")
    assert at(objects["DaemonSet"], "spec.selector.matchLabels") == labels
    for container in containers(objects):
        rights = container.security
        assert rights["capabilities"] == {"drop": ["ALL"], "add": ["NET_ADMIN"]}
        assert rights["allowPrivilegeEscalation"] is False


def test_the_manifest_mounts_only_what_it_has(objects: dict[str, dict[str, object]]) -> None:
    volumes = at(objects["DaemonSet"], "spec.template.spec.volumes")
    assert isinstance(volumes, list)
    names = {volume["name"] for volume in volumes}
    for container in containers(objects):
        assert {mount["name"] for mount in container.mounts} == names


def test_the_manifest_starts_commands_that_exist(objects: dict[str, dict[str, object]]) -> None:
    lines = [command_line(container.args).info_name for container in containers(objects)]
    assert lines == ["check", "run"]
    assert len({container.image for container in containers(objects)}) == 1


def test_the_configuration_of_the_manifest_is_sound(
    objects: dict[str, dict[str, object]], tmp_path: Path
) -> None:
    pytest.importorskip("prometheus_client", reason="the manifest asks for metrics")
    data = at(objects["ConfigMap"], "data")
    assert isinstance(data, dict)
    for name, text in data.items():
        here = text.replace("/etc/trireme", str(tmp_path))
        here = here.replace("/var/lib/trireme-collector", str(tmp_path / "state"))
        (tmp_path / name).write_text(here, encoding="utf-8")
    program = Path(sys.executable).with_name("trireme-collector")
    done = subprocess.run(
        [program, "check", "-c", tmp_path / "agent.toml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def unknown_keys(tree: object, kind: str, path: str = "") -> list[str]:
    """List the keys that the client of Kubernetes does not know, for the model of an object."""
    models = pytest.importorskip("kubernetes.client.models", reason="it knows the models")
    if nested := re.fullmatch(r"list\[(\w+)\]", kind):
        assert isinstance(tree, list)
        return [
            key
            for i, one in enumerate(tree)
            for key in unknown_keys(one, nested[1], f"{path}[{i}]")
        ]
    model = getattr(models, kind, None)
    if model is None or not isinstance(tree, dict):
        return []
    kinds = {json: model.openapi_types[name] for name, json in model.attribute_map.items()}
    return [
        found
        for key, value in tree.items()
        for found in (
            unknown_keys(value, kinds[key], f"{path}.{key}") if key in kinds else [f"{path}.{key}"]
        )
    ]


def test_the_right_to_read_names_is_no_more_than_that(
    objects: dict[str, dict[str, object]],
) -> None:
    assert objects["ClusterRole"]["rules"] == [
        {"apiGroups": [""], "resources": ["pods", "services", "nodes"], "verbs": ["list", "watch"]}
    ]
    account = at(objects["ServiceAccount"], "metadata")
    assert objects["ClusterRoleBinding"]["subjects"] == [
        {"kind": "ServiceAccount", **msgspec.convert(account, dict[str, str])}
    ]
    assert at(objects["ClusterRoleBinding"], "roleRef.name") == at(
        objects["ClusterRole"], "metadata.name"
    )


@pytest.mark.parametrize(
    "kind",
    [
        "Namespace",
        "ConfigMap",
        "DaemonSet",
        "ServiceAccount",
        "ClusterRole",
        "ClusterRoleBinding",
    ],
)
def test_kubernetes_knows_every_key(objects: dict[str, dict[str, object]], kind: str) -> None:
    assert unknown_keys(objects[kind], f"V1{kind}") == []
    assert unknown_keys({"spec": {"nonsense": 1}}, "V1DaemonSet") == [".spec.nonsense"]


@pytest.mark.parametrize("unit", sorted(PACKAGING.glob("*.service")), ids=lambda unit: unit.stem)
def test_units_start_commands_that_exist(unit: Path) -> None:
    text = unit.read_text("utf-8")
    lines = re.findall(r"^Exec\w+=/opt/trireme/bin/trireme-collector (.+)$", text, re.MULTILINE)
    names = [command_line(shlex.split(line)).info_name for line in lines]
    assert names == (["check", "run"] if unit == UNIT else ["serve"])


def test_the_image_starts_a_command_that_exists() -> None:
    text = (PACKAGING / "Containerfile").read_text("utf-8")
    words = re.search(r"^CMD (\[.+\])$", text, re.MULTILINE)
    assert words is not None
    assert command_line(msgspec.json.decode(words[1], type=list[str])).info_name == "run"


def test_the_debian_package_finds_what_the_wheel_brings() -> None:
    """The script moves what the wheel installs below ``share``, and the unit to its place."""
    script = (PACKAGING / "debian" / "build").read_text("utf-8")
    assert "/opt/trireme/bin/" in script
    assert "/opt/trireme/bin/" in UNIT.read_text("utf-8")
    setup = (ROOT / "setup.cfg").read_text("utf-8")
    for place in ("man", "bash-completion", "zsh/site-functions", "fish", "trireme-collector"):
        assert f"share/{place}" in setup
        assert f"share/{place}" in script


@pytest.mark.parametrize("name", ["build", "postinst", "prerm", "postrm"])
def test_scripts_of_the_debian_package_are_shell(name: str) -> None:
    path = PACKAGING / "debian" / name
    shell = path.read_text("utf-8").splitlines()[0]
    words = ["bash" if "bash" in shell else "sh", "-n", str(path)]
    assert subprocess.run(words, check=False).returncode == 0
    assert path.stat().st_mode & 0o100
