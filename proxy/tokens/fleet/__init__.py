"""Shares tokens between proxies through Redis or Valkey.

Modules:

    source.py          a token source that reads the store before it calls the bank
    lease_policy.py    which proxy calls the bank, and how long the others wait
    records.py         decrypts the records of the store
    encryption.py      names of records, and encryption of their entries
    store.py           operations on the store, with deadline and circuit breaker
    store_settings.py  the settings of the store
    script.py          the Lua script of all operations
    clients.py         connections to a server, Sentinels or a cluster
    url.py             the store's address
    follower.py        takes tokens that other proxies fetched
    events.py          events, as plain values
"""
