"""The bench: what a forwarded request costs here, beside what others ask for it.

``make bench`` runs it; ``bench/README.md`` holds what it last said. One idea a module::

    machine     the cores, the programs that have to be there, what a report says of both
    measure     what /proc knows of a process: CPU, memory, wake-ups
    processes   starting a program on a core, and ending it
    upstream    the bank of these measurements: nginx with static answers, and its certificates
    envoy       Envoy's configuration
    peers       the proxies that are compared, each as a command line
    running     a proxy at work, known to bring the token
    load        as much as a proxy will take (wrk)
    openloop    so many requests a second, whatever the proxy does
    samples     one measurement of one proxy, of each kind
    cases       what is measured: the list;  rounds  the peers in turn
    figures     medians, percentiles, ratios
    report      results as JSON and Markdown;  chart  as SVG
    naive/      the proxies that one would write in an afternoon
    fleet/      what many proxies ask of the bank: another bench, with a map of its own

Apart from these stands the guard that works on noisy machines: ``counting`` is a proxy that
counts its own function calls and memory blocks, ``cost`` drives it, and ``budget`` holds the counts
against ``budget.toml``.

Words: a *peer* is a proxy under test, ours among them; a *case* is a question asked of several
peers; a *round* asks each of them once, in turn; a *sample* is one answer. Only peers of the same
round are compared, so that what the machine does meanwhile happens to all of them. Times are
seconds and sizes bytes, unless a name says otherwise.
"""
