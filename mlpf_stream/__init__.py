"""Distributed streaming training for machine-learned particle flow."""

__version__ = "0.1.0"
