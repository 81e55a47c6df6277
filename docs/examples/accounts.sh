#!/bin/sh
# Lists a member's accounts through the proxy, with curl. No token, no credentials.
set -eu
curl --silent --show-error --fail-with-body --max-time 30 \
    --header "transactionId: $(cat /proc/sys/kernel/random/uuid 2>/dev/null || uuidgen)" \
    "${PROXY:-http://127.0.0.1:8080}/v1/accounts?hostUserId=880017"
