"""Forwards requests: authentication, routing, token, headers, exchange, response.

Modules:

    forwarder.py          all steps of one request, in order
    context.py            the state of one request
    authentication.py     authentication of callers
    browser_policy.py     allowed host names and web origins
    caller_settings.py    settings: secrets and certificates of callers
    forwarding_settings.py  settings: access, replay, routes, CORS, headers
    upstream.py           one address of the bank, as the requests of a listener use it
    routing.py            the kind of token and the upstream target of a request
    access_policy.py      allow and deny lists of resources
    paths.py              how different servers may read a path
    patterns.py           path patterns of the configuration
    headers.py            the headers of the outbound request and of the response
    user_context.py       the user a call is made for
    business_users.py     customer ids of business users, looked up at the bank
    url_rewriting.py      replaces the bank's URLs by the proxy's, in headers
    json_links.py         the same in JSON bodies, while they stream
    bodies.py             request bodies, with back-pressure
    second_try.py         the budget of second tries
    response.py           the response to the caller
    retry_budget.py       how many requests may be retried
    record.py             the record of one request, for log and metrics
    transaction_ids.py    new transaction ids
"""
