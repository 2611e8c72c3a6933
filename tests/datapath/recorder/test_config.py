"""The section `[recorder]`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from trireme_collector.errors import ConfigError
from trireme_datapath.agent import load_agent_config
from trireme_datapath.cli._record_options import DEFAULT_SERVER
from trireme_datapath.recorder import CaptureFormat, load_recorder_config
from trireme_datapath.recorder.config import DEFAULT_ADDRESS

if TYPE_CHECKING:
    from pathlib import Path

TLS = """
tls_certificate_file = "/c"
tls_key_file = "/k"
tls_client_ca_file = "/a"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "recorder.toml"


def test_everything_has_a_default(file: Path) -> None:
    file.write_text("")
    config = load_recorder_config(file)
    assert config.listen == [DEFAULT_ADDRESS] == [DEFAULT_SERVER]
    assert config.default_capture_bytes == config.kept_bytes == 128
    assert config.capture_format is CaptureFormat.PCAP
    assert not config.strict_compat


def test_the_file_of_an_agent_will_do(file: Path) -> None:
    file.write_text(
        '[datapath]\npolicy = "p.toml"\n[collectors.x]\ntype = "nobody"\n'
        '[recorder]\ninterfaces = ["eth0"]\nlimits = { max_files = 3 }\n'
    )
    config = load_recorder_config(file)
    assert config.interfaces == ("eth0",)
    assert config.limits.max_files == 3


def test_an_agent_knows_the_section(file: Path) -> None:
    file.write_text('[datapath]\npolicy = "p.toml"\n[recorder]\npackets_socket = "/run/p.sock"\n')
    assert load_agent_config(file).settings.recorder.packets_socket == "/run/p.sock"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('listen = ["192.0.2.1:4244"]', "nobody records packets of others unasked"),
        (
            'listen = ["192.0.2.1:4244"]' + TLS.replace("tls_client_ca_file", "group"),
            "nobody records packets of others unasked",
        ),
        ("record_queue = true", "record_queue needs packets_socket"),
        ('directory = "here"', "recorder.toml:2:13"),
        ("update_seconds = 5", "recorder.toml:2:18"),
        ('capture_format = "zip"', "pcapng"),
        ("max_recordings = 0", "recorder.toml:2:18"),
        ('diretory = "/x"', "directory"),
        ("[recorder.limits]\nmin_free = 1", "min_free_bytes"),
    ],
)
def test_mistakes_are_told_with_their_place(file: Path, text: str, why: str) -> None:
    file.write_text(f"[recorder]\n{text}\n")
    with pytest.raises(ConfigError) as caught:
        load_recorder_config(file)
    assert why in str(caught.value)


def test_tcp_with_certificates_of_clients_is_fine(file: Path) -> None:
    file.write_text(f'[recorder]\nlisten = ["192.0.2.1:4244"]\n{TLS}')
    assert load_recorder_config(file).listen == ["192.0.2.1:4244"]
