"""``python -m proxy.cli``: the same as the ``candescent-proxy`` command."""

from proxy.cli.main import main

if __name__ == "__main__":
    main()
