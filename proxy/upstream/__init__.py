"""The upstream side: connections to the bank, with one HTTP/1.1 exchange at a time on each.

Modules:

    pool.py           the connections to one origin
    pool_share.py     how many of them a listener may use
    dialer.py         opens connections, for requests, the proxy's own calls and the doctor
    resolver.py       DNS look-ups, shared and kept
    connection.py     one exchange after another on a connection
    response_parser.py  HTTP/1.1 responses: bytes in, events out
    head_whitespace.py  refuses heads with spaces that parsers read differently
    upstream_settings.py  timeouts, limits and certificates of these connections
    tls.py            the TLS context
    failures.py       the error for a failed connection
    tunnel.py         connections through an outbound proxy (CONNECT, SOCKS 5)
    proxy_environment.py  HTTPS_PROXY, ALL_PROXY and NO_PROXY
    events.py         DNS look-ups, failed addresses, opened connections
    bank_client.py    the proxy's own calls to the bank
    bank_errors.py    reads and classifies the bank's error responses
"""
