"""A request's way: authenticated, routed, given a token and headers, sent, and answered.

Modules:

    forwarder.py          the way from top to bottom
    context.py            what is decided about one request on its way
    authentication.py     which callers may call
    caller_settings.py    secrets and certificates of callers
    forwarding_settings.py  what may be called, replayed and routed
    routing.py            which token a request takes, and its target upstream
    access_policy.py      what may be called
    paths.py              how a path may be read by servers behind
    patterns.py           path patterns of the configuration
    headers.py            the headers of the outbound request and of the response
    user_context.py       the user a call is made for
    business_users.py     customer ids of business users, looked up at the bank
    url_rewriting.py      the bank's URLs as the proxy's own
    json_links.py         the same in JSON bodies, while they stream
    bodies.py             request bodies, with back-pressure
    response.py           the response to the caller
    record.py             what is recorded of one request
    transaction_ids.py    new transaction ids
"""
