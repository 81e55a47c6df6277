"""The checks of ``candescent-proxy doctor``: what is wrong with an installation, and the fix.

Each check yields results. ``remedies`` has every cause with its fix, ``checks`` the order and the
dependencies of the checks, and ``report`` the output.
"""
