"""The life of the process: built from a configuration, started, reloaded, stopped.

Modules:

    serve.py                 runs until SIGTERM or SIGINT
    app.py                   the ports, the core behind them, start and stop
    core.py                  both ways, built from one configuration
    build.py                 the components, one function each
    build_fleet.py           those of a token store that proxies share
    listeners.py             the ports that callers use
    reload.py                a changed configuration, tried before it is used
    metric_sources.py        numbers that are read when metrics are asked for
    about.py                 what the status page says of the process
    rlimits.py               open files, core dumps
    systemd.py               readiness and watchdog messages
    certificate_expiry.py    when certificates expire
    clock.py                 the machine's clocks
"""
