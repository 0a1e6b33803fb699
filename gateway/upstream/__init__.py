"""Turns queries into requests to the provider, within its limits."""
