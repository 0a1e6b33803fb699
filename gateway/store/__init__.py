"""Stores of cache entries: of one process, or shared by replicas."""
