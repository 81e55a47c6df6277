"""The command line.

Modules:

    main.py             reads the arguments and runs one command; the only place that exits
    commands/           one module per command
    version.py          the output of ``--version``
    doctor/             the checks of ``doctor``
    typed_name.py       the program's name in the user's shell
    init_files.py       the files that ``init`` writes
    local_ca.py         a local certificate authority
    terminal_view.py    the frames of ``top``
    tour.py             the steps of ``demo``
    admin_client.py     a client of a running proxy's admin port
"""
