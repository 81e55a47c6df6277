"""Benchmarks of a fleet: the token requests of many proxies, with and without a store.

``make fleet`` runs them; ``bench/fleet/README.md`` has the latest results. Modules::

    plan        a fleet, its bank, its store and their faults, as plain values
    plans       all plans, by the question that they answer
    heap        the simulated clock
    bank        the simulated bank, with the sandbox's own quota and spike limits
    store       the simulated store: one record for each institution
    pods        the simulated proxies, whose decisions are those of ``proxy.tokens``
    call_log    the log of token calls, and figures from it
    play        simulates a plan
    real        runs a plan with real proxies, sandbox bank and redis-server
    report      results as JSON and Markdown;  plots  as SVG

Simulated and real proxies share their decisions: ``RefreshPolicy``, ``TokenBucket``,
``LeasePolicy`` and ``CircuitBreaker`` are the program's own. The simulation has a network
without loss, calls of random duration, and no CPU cost; it does not have the
limit of concurrent calls. A test runs small plans both ways and compares the counts.
"""
