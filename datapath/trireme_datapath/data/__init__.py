"""Data that the datapath ships: the capture that the demo replays."""
