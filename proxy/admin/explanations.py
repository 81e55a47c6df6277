"""The page that explains every error, from the catalogue, at ``/errors`` of the admin port."""

import html

from proxy.errors import ErrorKind, kinds

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Errors · candescent-proxy</title>
<link rel="icon" href="/page/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/page/status.css">
</head>
<body>
<header class="top"><p class="brand"><a href="/">candescent-proxy</a></p></header>
<main>
<h1>Errors</h1>
<dl class="explanations">
{entries}
</dl>
</main>
</body>
</html>
"""


def page() -> bytes:
    """Return the page, with an anchor for the name of each kind."""
    return _PAGE.format(entries="\n".join(map(_entry, kinds.KINDS))).encode()


def _entry(kind: ErrorKind) -> str:
    status = f" · {kind.status}" if kind.status else ""
    cause, remedy = html.escape(kind.cause), html.escape(kind.remedy)
    return (
        f'<dt id="{kind.name}"><code>{kind.name}</code>{status}</dt>'
        f"<dd><p>{cause}</p><p>{remedy}</p></dd>"
    )
