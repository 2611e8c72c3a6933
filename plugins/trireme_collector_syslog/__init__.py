"""The syslog collector."""
