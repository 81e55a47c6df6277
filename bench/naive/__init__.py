"""Proxies as one would write them in an afternoon, to be measured: streaming, token cached."""
