"""Forwards requests to the Candescent API and adds an access token to each.

Two things move through this program::

    a request:  caller -> server -> authentication -> routing -> token -> headers -> upstream
                -> response -> caller
    a token:    credentials -> endpoint -> (fleet store) -> cache, kept fresh by the refresher
                -> request

The packages, from the top; each imports only those below it (docs/architecture.md)::

    cli/           the command line: commands, the doctor, the terminal view
    runtime/       process life: start, ports, reload, stop
    admin/         probes, metrics and status page on a separate port
    config/        one model, read from file, environment and flags
    telemetry/     events, metrics, logs and spans
    forwarding/    forwards requests
    tokens/        fetches and renews tokens; fleet/ shares them between proxies
    server/        the listening side
    upstream/      connections to the bank
    http1/         what both sides of HTTP/1.1 share
    errors/        every error, with its cause, remedy and response
    settings.py    how a component declares its settings
    tasks.py       creates tasks, with a name and an owner

    sandbox/       an embedded bank to try the proxy, independent of the rest

Glossary:

    caller         the application that calls the proxy
    upstream       the bank's API behind the proxy
    institution    the bank or credit union that a token is for
    key            what a token is for: the generation of the API (V1 or V2) and an institution
    lifetime       how long the bank says that a token is valid
    margin         how long before its expiry a token is refreshed
    replay         sending a request again that the bank may have received
    retry          sending a request again of which nothing had been sent
    fleet          proxies that share tokens by way of a store
    lease          the right of one proxy of a fleet to fetch a token for all

Times are seconds, sizes are bytes.
"""

__version__ = "0.1.0"
