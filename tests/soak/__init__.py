"""The soak: minutes of mixed load in all weathers, and every request's fate held to the promises.

``make soak ARGS="--minutes 10"`` runs it; ``tests/promises.md`` holds what it last said. The
real program runs as a process of its own; bank, network and callers are here. One idea a module::

    promises          what may become of a request, and which fault explains what
    fault_schedule    when which fault was
    setup             a bank, a network before it, the proxy, and all that can be changed of them
    faults            faults of the bank, of its token endpoint, of the network
    reconfiguration   secrets that rotate, reloads, good and bad
    arrivals          the bank's side: every request judged (expired? foreign? a second time?)
    callers           the load: each response judged (whole? ours? as promised?)
    run               all of it together, for so long
    report            the outcome as JSON and as a table

Words: an *act* is calm or stormy; in a calm one, once what was before has passed, every request
must succeed. A *fate* is what became of a request. Times are seconds, sizes bytes.
"""
