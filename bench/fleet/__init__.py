"""The fleet bench: what many proxies cost a token endpoint, with and without a shared store.

``make fleet`` runs it; ``bench/fleet/README.md`` holds what it last said. One idea a module::

    plan        a fleet, its bank, its store, and what goes wrong when: plain values
    plans       the plans that are played, by the question that they ask
    heap        a clock of one's own: what happens next, happens now
    bank        the simulated bank, with the sandbox's own quota and spike limits
    store       the simulated store: one record for each institution
    pods        the simulated proxies, which decide by ``proxy.tokens`` and nothing else
    books       who asked when, who had no token, and the figures that come of it
    play        a plan, played by the simulation
    real        a plan, played by real proxies, a real sandbox bank and a real redis-server
    report      results as JSON and Markdown;  plots  as SVG

What the simulation and the real proxies share are the decisions: ``RefreshPolicy``, ``Allowance``,
``SharingPolicy`` and ``Circuit`` are the program's own. What the simulation adds is a network
without loss, calls that take a random time, and no cost of computing; what it leaves out is the
bound on calls under way. A test plays the same small plans both ways and holds the counts against
each other.
"""
