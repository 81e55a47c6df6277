"""Simple proxies for comparison: they stream bodies and cache the token."""
