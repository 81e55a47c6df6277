#!/bin/sh
# An application that calls the bank by its own name and can only be configured with an HTTP proxy.
# BANK is the base URL with http:// in front: from the proxy on, the request goes by TLS.
set -eu
export http_proxy="${PROXY:-http://127.0.0.1:8080}" no_proxy=
curl --silent --show-error --fail-with-body --max-time 30 \
    "${BANK:-http://api.candescent.com/digitalbanking/stage}/v1/accounts?hostUserId=880017"
