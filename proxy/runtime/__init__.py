"""The life of the process: build from a configuration, start, reload, stop.

Modules:

    serve.py                 runs until SIGTERM or SIGINT
    app.py                   the ports, the core behind them, start and stop
    core.py                  forwarding and tokens, built from one configuration
    origin.py                what each address of the bank has of its own
    build.py                 builds the components, one function each
    build_fleet.py           builds the components of a shared token store
    listeners.py             the ports for callers
    reload.py                reload of a changed configuration, verified before it is used
    metric_sources.py        gauges and counters that are read at each scrape
    about.py                 what the status page shows of the process
    terminal.py              whether SIGHUP means that a terminal was closed
    rlimits.py               open files, core dumps
    systemd.py               readiness and watchdog messages
    exposed_files.py         files with secrets that others can read
    certificate_expiry.py    when certificates expire
    clock.py                 the machine's clocks
"""
