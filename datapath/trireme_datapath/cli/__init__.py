"""The commands that the datapath adds to `trireme-collector`."""
