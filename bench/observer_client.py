"""Clients of an observer, in a process of their own: ``python -m bench.observer_client``.

``follow PLACE`` reads until the stream ends and prints what came as JSON; ``slow PLACE COUNT``
opens so many streams and reads nothing.
"""

from __future__ import annotations

import json
import sys
import time

_METHOD = "/observer.Observer/GetFlows"
_FOLLOW = b"\x18\x01"
_LOST = b"\x1a"  # the first byte of a response with lost events


def _follow(place: str) -> None:
    import grpc

    flows = lost = 0
    with grpc.insecure_channel(place) as channel:
        method: grpc.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(_METHOD)
        stream = method(_FOLLOW)
        print("ready", flush=True)
        try:
            for response in stream:
                if response[:1] == _LOST:
                    lost += 1
                else:
                    flows += 1
        except grpc.RpcError:
            pass  # the server ends the stream when the run is over
    print(json.dumps({"flows": flows, "told_of_loss": lost, "cpu": time.process_time()}))


def _slow(place: str, count: int) -> None:
    import grpc

    # A channel for each: within one they would share a window.
    channels = [
        grpc.insecure_channel(place, [("grpc.use_local_subchannel_pool", 1)]) for _ in range(count)
    ]
    methods: list[grpc.UnaryStreamMultiCallable[bytes, bytes]] = [
        channel.unary_stream(_METHOD) for channel in channels
    ]
    streams = [method(_FOLLOW) for method in methods]
    print("ready", flush=True)
    sys.stdin.read()
    for stream in streams:
        stream.cancel()


if __name__ == "__main__":
    if sys.argv[1] == "follow":
        _follow(sys.argv[2])
    else:
        _slow(sys.argv[2], int(sys.argv[3]))
