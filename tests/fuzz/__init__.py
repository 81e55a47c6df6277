"""Property-based fuzzing of everything that parses external input.

``make fuzz ARGS="--minutes 10"`` runs the targets in turn and stores its examples in
``build/fuzz``; ``make test`` runs each target a hundred times. A found failure becomes an
``@example`` of its target, or a test.

    reference    a simple HTTP/1.1 parser after RFC 9112, with which both parsers are compared
    bytes_of     strategies: valid and invalid messages, and ways to split them
    drive        feeds both connection classes without a network, piece by piece
    test_*       the targets
"""
