"""The `trireme-collector` command line."""
