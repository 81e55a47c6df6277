"""HTTP/1.1 as both sides speak it: the listening side and the way to the bank."""
