"""The soak test: minutes of mixed load under faults; every outcome is checked for being permitted.

``make soak ARGS="--minutes 10"`` runs it; ``tests/promises.md`` has the latest result. The program
runs as a process; bank, network and clients are in this process. Modules::

    promises          the outcomes of a request, and which fault permits which
    fault_schedule    the periods of faults
    setup             bank, network, proxy, and their settings
    faults            faults of the bank, of its token endpoint, of the network
    reconfiguration   rotated secrets and reloads, valid and invalid
    arrivals          checks each request at the bank (expired or wrong token, repeated request)
    callers           the clients, which check each response
    run               runs all of it
    report            the result as JSON and as a table

Phases with faults and quiet phases alternate; in a quiet phase, after a settling time, every
request must succeed. Times are seconds, sizes bytes.
"""
