"""Records what the interface ``in`` receives into a directory until it is told to stop."""

from __future__ import annotations

import signal
import sys

from trireme_datapath.recorder import (
    CaptureFormat,
    Recorder,
    RecorderConfig,
    RecordingRequest,
    RecordingStore,
    StoreLimits,
    build_filter,
)


def main(directory: str, capture_format: str) -> None:
    """Record."""
    store = RecordingStore(directory, node_name="bench", limits=StoreLimits(min_free_bytes=0))
    config = RecorderConfig(
        directory=directory, interfaces=("in",), max_file_bytes=0, default_capture_bytes=0
    )
    recorder = Recorder(config, store)
    # Before the thread of the recording is there, so that the signal waits for this one.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    request = RecordingRequest(
        include=(build_filter("0.0.0.0/0", "0.0.0.0/0"), build_filter("::/0", "::/0")),
        capture_format=CaptureFormat(capture_format),
    )
    active = recorder.start(request, "bench")
    print("ready", flush=True)
    signal.sigwait({signal.SIGINT})
    active.stop()
    active.ended.wait()
    counted = active.statistics
    print(counted.packets_captured, counted.packets_lost, flush=True)
    recorder.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
