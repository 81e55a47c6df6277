"""Probes, metrics and the status page, on a port of their own that no caller needs.

The status page is put together when somebody looks; a request costs one append.

    readiness.py     whether it is ready, and why not
    admin_server.py  the port and its routes
    exchange.py      a request to it and the response
    history.py       what the status page remembers: rings of bounded length
    rates.py         the last minute, and the last quarter of an hour
    health_summary.py PURE  is it working? one sentence
    advice.py        PURE  what to do about an error, by its name
    masking.py       PURE  a path as it may be shown
    document.py      what ``/api/status`` answers, as a model
    status.py        builds it
    page_access.py   PURE  who may see the page
    status_page.py   gives it out; what it is made of stands in ``page/``
"""
