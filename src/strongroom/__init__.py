"""Strongroom: a medical-image archive (PACS) that cannot be left open."""

__version__ = "0.1.0.dev0"
