"""What operators look at, tried out: a bank, proxies, faults, and a real Prometheus over them.

``make observe`` runs it for people, ``test_*.py`` run it for themselves:

    faster.py     PURE  rules whose minutes are seconds
    cases.py      PURE  from cases.yaml to a file for `promtool test rules`
    panels.py     PURE  the dashboard's queries, as Grafana would send them
    servers.py    Prometheus and Alertmanager as processes
    setup.py      a bank, and proxies as processes in front of it, with callers
    faults.py     what can go wrong, and which alerts have to say so
    scenario.py   one fault after another, for people to look at
    pictures.py   the dashboard's panels, drawn from what Prometheus has
"""
