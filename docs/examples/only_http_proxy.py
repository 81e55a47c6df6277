"""An application that calls the bank by its own name and can only be configured with an HTTP proxy.

Instead of ``proxies`` the variable HTTP_PROXY does it too, without a change to the program.
"""

import os

import requests

# The base URL with http:// in front: from the proxy on, the request goes by TLS.
BANK = os.environ.get("BANK", "http://api.candescent.com/digitalbanking/stage")
PROXY = os.environ.get("PROXY", "http://127.0.0.1:8080")

answer = requests.get(
    f"{BANK}/v1/accounts",
    params={"hostUserId": "880017"},
    proxies={"http": PROXY},
    timeout=30,
)
answer.raise_for_status()
for account in answer.json()["accounts"]:
    print(account["accountId"], account["name"], account["availableBalance"])
