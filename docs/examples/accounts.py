"""Lists a member's accounts through the proxy, with requests. No token, no credentials."""

import os
import sys
import uuid

import requests

PROXY = os.environ.get("PROXY", "http://127.0.0.1:8080")

answer = requests.get(
    f"{PROXY}/v1/accounts",
    params={"hostUserId": "880017"},
    headers={"transactionId": str(uuid.uuid4())},  # so that you can find the call again
    timeout=30,
)
if answer.status_code != 200:
    whose = answer.headers.get("x-proxy-error-source", "bank")
    sys.exit(f"{answer.status_code}, by {whose}: {answer.text}")
for account in answer.json()["accounts"]:
    print(account["accountId"], account["name"], account["availableBalance"])
