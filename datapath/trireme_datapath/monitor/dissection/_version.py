"""Which version's rules a packet is read by."""

from __future__ import annotations

from trireme_datapath.monitor.profiles import PROFILE_1_9, Profile, find_profile

__all__ = ["speaks_1_9"]


def speaks_1_9(profile: str | Profile) -> bool:
    """Whether the quirks of profile 1.9 apply.

    Raises:
        ValueError: There is no such profile.
    """
    return find_profile(profile) is PROFILE_1_9
