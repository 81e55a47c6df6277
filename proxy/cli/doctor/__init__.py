"""What is wrong with a set-up, why, and what cures it: what ``candescent-proxy doctor`` asks.

Each check looks at one thing and yields findings; ``remedies`` has every cause with its cure, and
``checks`` says in which order the checks come and which wait for which. ``report`` tells it.
"""
