"""The status gateway for SMSC."""

__version__ = "0.1.0"
