"""Attacks on a proxy under the sidecar chart's memory limit (`make limits`)."""
