"""The listening side: callers' connections, one HTTP/1.1 request after another on each.

Requests are parsed by llhttp in strict mode, as responses are on the upstream side.

Modules:

    port.py          accepts connections, and does their TLS handshakes
    sockets.py       sockets that listen
    server.py        keeps connections up to a limit
    memory.py        how much memory input may hold
    refusals.py      connections that were ended for a limit, counted and logged
    connection.py    reads requests and writes responses on one connection
    request_parser.py  HTTP/1.1 requests: bytes in, events out
    messages.py      a request, its body, and a response
    limits.py        limits on sizes, times and numbers for callers
    address.py       listen addresses
"""
