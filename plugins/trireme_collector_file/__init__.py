"""The file collector."""
