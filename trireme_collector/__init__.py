"""One event pipeline for a Linux host that enforces network policy."""
