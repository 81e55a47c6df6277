"""The listening side: callers' connections, one HTTP/1.1 request after another on each.

On llhttp in its strict mode, like the upstream side, so that both read a message alike.

Modules:

    port.py          a port or Unix socket, and its certificate
    server.py        accepts connections up to a limit
    connection.py    reads requests and writes responses on one connection
    messages.py      a request, its body, and a response
    limits.py        what a caller may send, and in what time
    address.py       where to listen
"""
