"""candescent-proxy: one port for everything Candescent, tokens included.

Two things move through this package, each along one way::

    a request:  client → routing → token → headers → upstream → client
    a token:    credentials → endpoint → (shared) → cache → refresher keeps it fresh → request

The request's way, in the order a request meets it:

    callers/    the listening side: callers' connections, read strictly;  doors: a port for each
    forwarder   the story: route, token, headers, send, the 401 rule, relay
    admission   who may call;  policy, paths, patterns: what may be called
    routing     PURE  (method, target) → Route, or why it is refused
    users       PURE  for whom the call is made;  business looks business users up
    headers     PURE  hop-by-hop out, the caller's credentials out, ours in
    upstream/   one HTTP/1.1 exchange on a connection of our own; the pool; TLS; tunnels
    origins     PURE  what the two ends are called, and the bank's URLs told as ours
    relay       the bank's answer back to the caller;  bodies streams both ways
    links       PURE  the bank's URLs in JSON bodies, while they stream

The token's way:

    credentials    secret files, read into memory
    tokens/token   PURE  Token, its state at a moment, when to refresh
    tokens/grants  PURE  what a token request and its answer look like, V1 and V2
    bank_errors    PURE  what the bank's errors mean, here and on resource calls
    tokens/endpoint      asks the bank
    tokens/cache         one request in flight, served until expiry
    tokens/refresher     keeps the cache ahead of expiry
    tokens/shared        one token for a fleet, by way of a store; fleet builds it, where one is set
    tokens/sharing PURE  who asks the bank for all, who waits, and for how long
    tokens/sealing PURE  what the store sees: names that tell nothing, entries that only we open

Beside the two ways stand ``config/`` (one model), ``errors`` (the one mapping from what went wrong
to what the caller reads), ``facts`` (what happened, as plain values), ``metrics/`` and ``logs/``
(which turn facts into Prometheus series and log lines), ``tracing`` (which makes spans of them,
where somebody collects those), ``admin/`` (probes, metrics and status page on a port of their
own), ``sandbox/`` (a bank to try it on), ``core``, which puts both ways together from one
configuration, and ``app``, which gives them ports and a life; ``reload`` replaces one core by
another. ``cli`` and ``commands/`` are what a person types, ``desk/`` is what helps that person:
set up, examine, watch, show.

Words: *caller* is the application in front of us, *upstream* the bank's API behind us,
*institution* the bank or credit union a token is for, *lifetime* what the bank says a token
lives, *margin* how long before its end we renew it, *replay* sending a request a second time.
Times are seconds, sizes are bytes.
"""

__version__ = "0.1.0"
