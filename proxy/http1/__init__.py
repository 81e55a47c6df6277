"""What the listening side and the upstream side of HTTP/1.1 share.

Modules:

    deadline.py        a deadline that moves with every byte
    flow_control.py    back-pressure, both ways
    writer.py          status lines, body framing, chunks
    fields.py          header fields
    bounded_cache.py   a cache bounded in bytes
"""
