"""One token for many proxies, shared by way of Redis or Valkey.

Modules:

    source.py          a token source that asks the store first
    lease_policy.py    who asks the bank, who waits and for how long
    records.py         the records in the store
    encryption.py      token entries, encrypted
    store.py           steps on the store, each one script
    store_settings.py  the settings of the store
    script.py          that script
    clients.py         connections to a server, Sentinels or a cluster
    url.py             the store's address
    follower.py        takes tokens that other proxies fetched
    events.py          what happened, as plain values
"""
