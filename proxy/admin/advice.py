"""PURE: what to do about an error, by its name: the last part of its ``type``.

An error's own sentence says what happened; these say what a person can do about it.
"""

_WAIT = "Nothing to do here: it is tried again by itself."
_CALLER = "Mend the application that sent it; its log line has the path and the transactionId."

_ADVICE = {
    # No token.
    "token-bad-client": "Compare client_id and client_secret with the Shared Key and Secret Key in "
    "the vendor's console, and whether they are for this environment.",
    "token-bad-institution": "Compare institution_id, leading zeros included, with the "
    "institutions that the vendor's console lists for this application.",
    "token-bad-user": "Check username and password; for a person's login, run "
    "candescent-proxy login again.",
    "token-bad-request": "Read the bank's code in the sentence; scopes and the grant are the usual "
    "causes.",
    "token-throttled": "Wait, and find out who else uses this client id: the quota is shared. Many "
    "proxies can share one token.",
    "token-server": "Look at the bank's status. A token in hand is used until it expires.",
    "token-malformed": "Check base_url: something other than the bank's token endpoint may be "
    "answering, such as a company proxy's web page.",
    "token-unreachable": "Check base_url, DNS, the firewall and upstream.proxy; "
    "candescent-proxy doctor finds where it stops.",
    "token-timeout": "Look at the network and at the bank's status; token.timeout sets the "
    "patience.",
    "token-internal": "Look for `internal error` in the proxy's log, and report it.",
    # The bank's side of a request.
    "upstream-resolve": "Check the host name in base_url, and DNS on this machine.",
    "upstream-connect": "Check base_url and the firewall; candescent-proxy doctor finds "
    "where it stops.",
    "upstream-connect-timeout": "Check the firewall and the route to the bank; packets get lost.",
    "upstream-proxy-resolve": "Check the host name in upstream.proxy.",
    "upstream-proxy-connect": "Check that the outbound proxy runs, and upstream.proxy.",
    "upstream-proxy-login": "Check upstream.proxy_user and upstream.proxy_password_file.",
    "upstream-proxy-refused": "Ask those who run the outbound proxy to allow the bank's host.",
    "upstream-proxy-malformed": "Check upstream.proxy: what answers there is no HTTP proxy.",
    "upstream-proxy-timeout": "Look at the outbound proxy; it answers too slowly.",
    "upstream-tls": "Compare upstream.certificate_file with what the bank asks for; read the log.",
    "upstream-tls-expired": "The bank must renew its certificate; check this machine's clock too.",
    "upstream-tls-name": "Check base_url: the server's certificate is for another name.",
    "upstream-tls-untrusted": "Set upstream.ca_file to the authority that signs for the bank, or "
    "for the company's inspecting firewall.",
    "upstream-first-byte-timeout": "The bank is slow. Look at its status; "
    "upstream.first_byte_timeout sets the patience.",
    "upstream-idle-timeout": "The bank stopped in mid-answer. Look at its status and the network.",
    "upstream-total-timeout": "The exchange took too long as a whole; upstream.total_timeout sets "
    "the patience.",
    "upstream-closed": "The bank closed the connection. If it goes on, look at its status.",
    "upstream-malformed": "What answers does not speak HTTP as it should; check base_url and what "
    "stands between.",
    "upstream-truncated": "The answer broke off; the caller saw a cut connection. If it goes on, "
    "look at the network.",
    # Our own.
    "upstream-busy": "The bank is slow, or upstream.max_connections is too small for the load.",
    "overloaded": "More requests than limits.max_in_flight; find who sends them, or add proxies.",
    "out-of-files": "Raise the limit of open files (ulimit -n, LimitNOFILE=).",
    "business-user": "Compare login_id and member_number with the bank's institution users.",
    "internal": "Look for `internal error` in the proxy's log, and report it.",
    # Callers.
    "caller": "Give the caller the shared secret or a certificate that callers.client_names has. "
    "If nobody should be calling, find out who is.",
    "cross-site": "A web page tried to call through the proxy. Find out which, and close it.",
    "institution": "Compare the institution that the application asks for with "
    "allowed_institutions.",
    "path-policy": "Add the resource to access.allow if the application is meant to use it.",
    "reserved": "Remove the token calls from the application; the proxy adds tokens by itself.",
    "tls-on-http": "Use http:// in the application, or set callers.certificate_file.",
    "body-too-large": "Send less, or raise limits.max_body.",
    "target-too-long": "Send a shorter path and query, or raise limits.max_line.",
    "too-large": "Send fewer or shorter headers, or raise limits.max_head.",
    "slow-head": "The caller connects and sends nothing, or too slowly; see limits.header_timeout.",
    "slow-body": "The caller sends its body too slowly; see limits.idle_timeout.",
    # The rest.
    "bank-answer": "Look at the bank's status; ask those who run it, with the transactionId.",
    "token-refused": "The bank refused a token before its time; a new one is asked for by itself. "
    "If it goes on, somebody revokes tokens, or the application may not use the resource.",
    "reload": "Mend what the sentence names; candescent-proxy check-config lists every mistake. "
    "The configuration before stays in force.",
}


def advice_for(name: str, source: str = "") -> str:
    """Return what to do about the error of this name; ``source`` says whose it is."""
    return _ADVICE.get(name) or (_CALLER if source == "caller" else _WAIT)
