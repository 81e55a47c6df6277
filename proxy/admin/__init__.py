"""Probes, metrics and the status page, on a separate port.

The status document is built per request to it; a forwarded request costs one append.

    health.py          how healthy the proxy is: state, reason, sentence
    readiness.py       whether the proxy is ready, and why not
    admin_server.py    the port and its routes
    exchange.py        requests to the port and responses
    history.py         recent requests, events and errors, in bounded memory
    rates.py           rates of the last minute and the last quarter of an hour
    masking.py         hides account numbers and names in paths
    document.py        the model of ``/api/status``
    status.py          builds that document
    page_access.py     which clients may see the page
    explanations.py    the page that explains every error
    status_page.py     serves the page; its files are in ``page/``
"""
