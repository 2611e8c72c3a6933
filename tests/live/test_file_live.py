"""The file collector on a real disk that is full, and under a real logrotate."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from trireme_collector import DeliveryConfig, PacketReport, Pipeline
from trireme_collector_file import FileCollector, FileOptions

pytestmark = [pytest.mark.live, pytest.mark.patient]

RESUMED_SECONDS = 5.0


@pytest.mark.parametrize("compression", ["none", "gzip"])
@pytest.mark.parametrize("fsync", ["always", "interval"])
def test_a_full_disk_costs_time_only(tmp_path: Path, fsync: str, compression: str) -> None:
    unshare = shutil.which("unshare")
    assert unshare, "unshare is not installed: apt-get install util-linux"
    script = 'mount -t tmpfs -o size=512k none "$1" && exec "$2" -P "$3" "$1" "$4" "$5"'
    program = str(Path(__file__).with_name("full_disk.py"))
    words = [str(tmp_path), sys.executable, program, fsync, compression]
    # A namespace of its own: the mount is gone with the process, whatever becomes of it.
    done = subprocess.run(
        [unshare, "--mount", "--propagation", "private", "sh", "-c", script, "sh", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])  # before it stands what was logged
    assert seen["accepted"] == seen["delivered"] == seen["given"]
    assert seen["once"], "each record in the files, once"
    assert not seen["torn"]
    assert max(seen["resumed_seconds"]) < RESUMED_SECONDS
    assert not list(tmp_path.iterdir())


class Logrotate:
    """Moves the file again and again, as the page on the collector shows it."""

    def __init__(self, directory: Path, path: Path) -> None:
        program = shutil.which("logrotate", path="/usr/sbin:/sbin:/usr/bin:/bin")
        assert program, "logrotate is not installed: apt-get install logrotate"
        configuration = directory / "logrotate.conf"
        configuration.write_text(
            f"{path} {{\n  size 1\n  rotate 100\n  compress\n  delaycompress\n  missingok\n"
            f"  postrotate\n    echo >> {directory}/asked\n  endscript\n}}\n"
        )
        self.asked = directory / "asked"
        self.command = [program, "--force", "--state", str(directory / "state"), str(configuration)]

    def run(self) -> None:
        subprocess.run(self.command, check=True, capture_output=True, text=True)


@pytest.mark.parametrize("told", [True, False])
def test_logrotate_loses_nothing(tmp_path: Path, told: bool) -> None:
    logs = tmp_path / "logs"
    logs.mkdir(mode=0o700)
    path = logs / "flows.jsonl"
    rotate = Logrotate(tmp_path, path)
    collector = FileCollector(FileOptions(path=str(path)), name="file")
    config = DeliveryConfig(batch_records=50, batch_age_seconds=0.01)
    pipeline = Pipeline({"file": collector}, delivery=config).start()
    total, moves = 6000, 6
    for number in range(total):
        pipeline.collect_packet_event(PacketReport(packet_id=number))
        if number % (total // moves) == 500:
            rotate.run()
            if told:
                pipeline.reopen()
    assert pipeline.close(30).complete
    files = sorted(logs.iterdir())
    texts = [
        gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        for file in files
    ]
    lines = [line for text in texts for line in text.splitlines()]
    assert sorted(json.loads(line)["packet_id"] for line in lines) == list(range(total))
    # It leaves a file alone that nothing was written to yet.
    moved = len(rotate.asked.read_bytes())
    assert 2 <= moved <= moves
    assert len(files) == moved + 1
    assert sum(file.suffix == ".gz" for file in files) == moved - 1
