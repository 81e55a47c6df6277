"""Access tokens: fetched from the bank's token endpoint, cached, and renewed before they expire.

Modules:

    credentials.py       the login for each institution
    secret_files.py      reads and writes files with secrets
    token.py             tokens, their keys and lifetimes
    refresh_policy.py    settings: when tokens are renewed, and back-off after failures
    v1_settings.py       settings: what V1 token calls send about the application
    client_authentication.py  how a token call proves the client
    grants.py            grants, and the token request of each, V1 and V2
    token_response.py    parses the responses of token endpoints
    endpoint.py          calls the bank's token endpoints
    static.py            a static bearer token
    fleet/               tokens shared between proxies
    held.py              the tokens of one key, and the reaction to a refused one
    cache.py             one call in flight per key; a token is served until it expires
    refresher.py         renews cached tokens before they expire
    rate_limit.py        the rate of renewals
    refresh_tokens.py    keeps refresh tokens, in memory and in a file
    events.py            events, as plain values
"""
