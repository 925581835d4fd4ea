"""Waves through granular matter, computed exactly once and forecast ever after."""

__version__ = "0.1.0"
