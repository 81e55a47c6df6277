#!/bin/sh
# Sends an event by the legacy V1 API: XML as .NET's XmlSerializer writes it, from event.xml.
# The path has /fis/ in it, so the proxy sends a V1 token and di_tid; the institution is the path's.
set -eu
curl --silent --show-error --fail-with-body --max-time 30 \
    --header "Content-Type: application/xml; charset=utf-8" \
    --data-binary "@$(dirname "$0")/event.xml" \
    --output /dev/null --write-out '%{http_code}\n' \
    "${PROXY:-http://127.0.0.1:8080}/subscriptions/v1/fis/00016/fiCustomers/5f1d7a8e-0c54-4b1e-9d0a-6f2f6f7c1a01/events"
