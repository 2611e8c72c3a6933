"""Notifications of a Cilium datapath: decoded, printed, and turned into records."""
