"""Sources of packets: thin loops around the engine."""
