"""Logs, the access log, traces."""
