"""The agent: one process that runs a backend, an engine and a pipeline."""
