"""Fuzzing: inputs that nobody thought of, for everything that reads what others send.

``make fuzz ARGS="--minutes 10"`` runs the targets in turn for so long and keeps what it has learned
in ``build/fuzz``; ``make test`` runs each of them a hundred times. What it finds becomes an
``@example`` beside its target, or a test of its own.

    reference    HTTP/1.1 as the RFCs have it, slow and plain: what both parsers are held against
    bytes_of     strategies: messages, almost messages, and ways to cut them into pieces
    drive        our two connections without a network, fed a piece at a time
    test_*       the targets
"""
