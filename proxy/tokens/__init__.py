"""A token's way: from the bank's endpoint through the cache, kept fresh, to the request."""
