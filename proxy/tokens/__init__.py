"""A token's way: from the bank's endpoint through the cache, kept fresh, to the request.

Modules:

    credentials.py       which login gets the tokens of an institution
    secret_files.py      files with secrets, read and written
    token.py             a token, and its state at a moment
    refresh_policy.py    when tokens are renewed, how failures are waited out
    v1_settings.py       what V1 token calls send about the application
    grants.py            the forms of a token request and of its response, V1 and V2
    endpoint.py          asks the bank
    static.py            a token that was configured
    fleet/               tokens shared between proxies
    cache.py             one request in flight per key; a token is served until it expires
    refresher.py         keeps the cache ahead of expiry
    rate_limit.py        how often a key may ask
    refresh_tokens.py    refresh tokens and authorization codes
    events.py            what happened to tokens, as plain values
"""
