"""The way to the bank: connections of our own, one HTTP/1.1 exchange at a time on each.

Modules:

    pool.py           the connections to one origin
    connection.py     one exchange after another on a connection
    upstream_settings.py  time limits, numbers and files of these connections
    tls.py            the TLS context
    failures.py       what a failed connection means
    tunnel.py         connections through a company's HTTP proxy
    bank_client.py    the proxy's own calls to the bank
    bank_errors.py    what the bank's errors mean
"""
