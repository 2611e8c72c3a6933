"""Figures, measured side by side in one run: ``python -m bench [NAME ...]``."""
