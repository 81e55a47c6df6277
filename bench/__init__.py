"""Benchmarks: the cost of a forwarded request, compared with other proxies.

``make bench`` runs them; ``bench/README.md`` has the latest results. Modules::

    machine     cores and required programs of this machine
    measure     CPU, memory and wake-ups of a process, from /proc
    processes   starts a program on a core, and ends it
    upstream    the upstream: nginx with static responses, and its certificates
    envoy       Envoy's configuration
    peers       the compared proxies, each a command line
    running     a running proxy that is known to add the token
    load        closed-loop load (wrk): maximal throughput
    openloop    open-loop load: a fixed request rate
    samples     one measurement of one proxy, a function for each kind
    cases       the list of measurements;  rounds  runs them, peer by peer
    figures     medians, percentiles, ratios
    report      results as JSON and Markdown;  chart  as SVG
    naive/      simple proxies for comparison
    fleet/      another benchmark: token requests of many proxies

Independent of these is a check that also works on noisy machines: ``counting`` is a proxy that
counts its function calls and memory blocks, ``cost`` drives it, and ``budget`` compares the counts
with ``budget.toml``.

Terms: a *peer* is a proxy under test, ours included; a *case* is a measurement of several
peers; a *round* measures each of them once, in turn; a *sample* is one result. Only peers of the
same round are compared, so that other load of the machine affects all of them. Times are seconds
and sizes bytes, unless a name says otherwise.
"""
