"""What the listening side and the upstream side of HTTP/1.1 share."""
