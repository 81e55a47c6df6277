"""Probes and metrics, on a port of their own that no caller needs."""
