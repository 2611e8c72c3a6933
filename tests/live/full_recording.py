"""Records on a small disk until it is full, from a source that never ends; prints what it saw."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))

from tests.datapath.recorder.sources import ScriptedSource, frames
from trireme_datapath.backends.pcap import CaptureError, CaptureReader
from trireme_datapath.recorder import (
    Recorder,
    RecorderConfig,
    RecorderError,
    RecordingRequest,
    RecordingStore,
    StoreLimits,
    build_filter,
)


def main(directory: Path) -> None:
    store = RecordingStore(directory, node_name="small", limits=StoreLimits(min_free_bytes=0))
    source = ScriptedSource()
    recorder = Recorder(
        RecorderConfig(directory=str(directory)), store, open_source=lambda *_: source
    )
    everything = (build_filter("0.0.0.0/0", "0.0.0.0/0"),)
    active = recorder.start(RecordingRequest(include=everything), "test")
    sent = 0
    while not active.ended.is_set() and sent < 100_000:
        if source.waits < 5:
            source.put(frames(100, 500))
            sent += 100
        else:
            time.sleep(0.001)
    active.ended.wait(10)
    refusal = ""
    try:
        active.raise_error()
    except RecorderError as error:
        refusal = error.refusal.name
    whole, counted = True, 0
    with CaptureReader(active.path) as reader:
        try:
            list(reader)
        except CaptureError:
            whole = False
        counted = reader.frames
    seen = active.statistics
    sys.stdout.write(
        json.dumps(
            {
                "errno": getattr(active.error, "errno", None),
                "reason": active.reason,
                "refusal": refusal,
                "captured": seen.packets_captured,
                "lost": seen.packets_lost,
                "sent": sent - 100 * source.waits,
                "in_file": counted,
                "whole": whole,
            }
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
