"""Tests alert rules and dashboard with a bank, proxies, faults and a real Prometheus.

``make observe`` and ``test_*.py`` run these modules:

    faster.py     rules with shorter durations
    cases.py      converts cases.yaml for `promtool test rules`
    panels.py     the dashboard's queries, as Grafana sends them
    servers.py    Prometheus and Alertmanager as processes
    setup.py      a bank, proxies as processes, and clients
    faults.py     faults, and the alerts that must fire
    scenario.py   one fault after another
    pictures.py   the dashboard's panels, drawn with data from Prometheus
"""
