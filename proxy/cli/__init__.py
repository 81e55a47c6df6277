"""The command line.

Modules:

    main.py             reads the arguments and runs one command; the only place that exits
    commands/           one module per command
    version.py          what ``--version`` prints
    doctor/             finds out what is wrong with a set-up, and says what cures it
    typed_name.py       what a user types to start this program
    init_files.py       the files that ``init`` writes
    local_ca.py         a local certificate authority
    terminal_view.py    the frames of ``top``
    tour.py             what ``demo`` shows
    admin_client.py     asks the admin port of a running proxy
"""
