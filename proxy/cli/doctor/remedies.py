"""PURE: every cause that the doctor knows, with what is seen and what cures it.

In braces stands what the check has seen: a file, a setting, a status. Never a secret.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Remedy:
    """What is seen, what cures it, and whether the proxy works all the same."""

    text: str
    cure: str
    is_warning: bool = False


_SETTINGS = {
    "config-unreadable": Remedy(
        "{error}.",
        "Name the right file with --config or CANDESCENT_CONFIG, or write one with "
        "candescent-proxy init.",
    ),
    "config-mistake": Remedy(
        "{error}.", "Correct it; docs/configuration.md has every setting and its meaning."
    ),
    "config-overridden": Remedy(
        "{variable} in the environment takes the place of {setting} in {file}.",
        "If you mean the file: unset {variable}.",
        is_warning=True,
    ),
    "config-writable": Remedy(
        "{file} can be changed by others on this machine, who could send your requests elsewhere.",
        "chmod go-w {file}",
        is_warning=True,
    ),
    "file-unusable": Remedy("{error}.", "Put the right file there, or name the one that is."),
}

_SECRETS = {
    "secret-missing": Remedy(
        "{setting}: {file} is not there.",
        "Write the secret into it, or let {setting} name the file that holds it.",
    ),
    "secret-unreadable": Remedy(
        "{setting}: {file} cannot be read ({why}).",
        "Let it be a plain file that belongs to the user who runs the proxy.",
    ),
    "secret-empty": Remedy(
        "{setting}: {file} is empty.", "Write the secret into it: one line, nothing else."
    ),
    "secret-mark": Remedy(
        "{setting}: {file} is not plain text; it begins with a byte-order mark.",
        "Save it as ASCII without a mark; in PowerShell with Set-Content -Encoding ascii.",
    ),
    "secret-lines": Remedy(
        "{setting}: {file} holds {count} lines.", "Leave only the line with the secret."
    ),
    "secret-letters": Remedy(
        "{setting}: {file} holds something that is no printable ASCII.",
        "Copy the secret anew, as the console shows it: one line of plain letters and signs.",
    ),
    "secret-wrapped": Remedy(
        "{setting}: what {file} holds begins or ends with a {what}, and that is sent along.",
        "Take the {what} away, unless the console shows it too.",
        is_warning=True,
    ),
    "secret-exposed": Remedy(
        "{setting}: {file} can be read or changed by others on this machine (mode {mode}).",
        "chmod 600 {file}",
        is_warning=True,
    ),
    "login-folder": Remedy(
        "refresh_token_file: nothing can be written in {folder}.",
        "Make the folder, and let it belong to the user who runs the proxy.",
    ),
    "login-needed": Remedy(
        "Nobody is logged in for {key}, or the login has run out.",
        "candescent-proxy login",
    ),
}

_NETWORK = {
    "name": Remedy(
        "The name {host} does not resolve ({why}).",
        "Check base_url for a typing mistake; if it is right, this machine's DNS does not know it.",
    ),
    "connect-refused": Remedy(
        "Nothing listens on {host}:{port}.",
        "Check host and port of base_url; for the sandbox, start candescent-proxy sandbox.",
    ),
    "connect-timeout": Remedy(
        "{host}:{port} does not take a connection within {seconds} s.",
        "A firewall drops it, most likely: ask for the way to be opened, or set upstream.proxy to "
        "your company's HTTP proxy.",
    ),
    "connect-unreachable": Remedy(
        "There is no way from here to {host}:{port} ({why}).",
        "Check this machine's network, VPN and routes; or set upstream.proxy.",
    ),
    "proxy-unset": Remedy(
        "{host}:{port} is not reached, and {variable} names an HTTP proxy, which this program "
        "does not read.",
        "Set upstream.proxy: {proxy}",
    ),
    "proxy-name": Remedy(
        "The name of the outbound proxy {proxy} does not resolve.", "Check upstream.proxy."
    ),
    "proxy-connect": Remedy(
        "The outbound proxy {proxy} cannot be reached.",
        "Check host and port of upstream.proxy, and that it runs.",
    ),
    "proxy-login": Remedy(
        "The outbound proxy {proxy} wants a user and password, or other ones (407).",
        "Set upstream.proxy_user, and put the password into upstream.proxy_password_file.",
    ),
    "proxy-refused": Remedy(
        "The outbound proxy {proxy} refused the way to {host}:{port}. {why}",
        "Ask its keepers to allow CONNECT {host}:{port}.",
    ),
    "proxy-strange": Remedy(
        "What answers at {proxy} is no HTTP proxy.",
        "Check upstream.proxy: host, port, and that it speaks plain HTTP itself.",
    ),
    "proxy-timeout": Remedy(
        "The outbound proxy {proxy} did not connect within {seconds} s.",
        "Check upstream.proxy; if it is right, its keepers have to see whether it reaches "
        "{host}:{port}.",
    ),
    "tls-self-signed": Remedy(
        "{host}:{port} shows a certificate that nobody but itself vouches for.",
        "If it is your own (or a company's that looks into TLS): set upstream.ca_file to its "
        "PEM file. If not, do not go on: somebody stands between you and the bank.",
    ),
    "tls-untrusted": Remedy(
        "{host}:{port} shows a certificate of an authority that is not trusted here ({why}).",
        "Set upstream.ca_file to that authority's PEM file; without one, install this machine's "
        "ca-certificates.",
    ),
    "tls-expired": Remedy(
        "The certificate of {host}:{port} ran out on {until}.",
        "If this machine's clock is right, only the bank can renew it: tell them.",
    ),
    "tls-early": Remedy(
        "The certificate of {host}:{port} is not valid before {since}.",
        "Set this machine's clock; it says {now}.",
    ),
    "tls-name": Remedy(
        "The certificate of {host}:{port} is for {names}, not for {host}.",
        "Write one of those names into base_url, if it leads to the same server.",
    ),
    "tls-plain": Remedy(
        "{host}:{port} does not speak TLS, but plain HTTP.",
        "Check the port of base_url; for a sandbox on this machine write http://.",
    ),
    "tls-certificate-wanted": Remedy(
        "{host}:{port} wants a client certificate, or another one.",
        "Set upstream.certificate_file and upstream.key_file to those that the bank has "
        "registered.",
    ),
    "tls-failed": Remedy(
        "{host}:{port} and this machine find no common TLS ({why}).",
        "The other side must speak TLS 1.2 or later; check base_url, and what stands between.",
    ),
    "plain-tls": Remedy(
        "{host}:{port} speaks TLS, and base_url says http://.", "Write https:// in base_url."
    ),
    "answer-strange": Remedy(
        "What answers on {host}:{port} is not HTTP.", "Check host and port of base_url."
    ),
    "answer-none": Remedy(
        "{host}:{port} closes the connection without an answer.",
        "Check host and port of base_url, and what stands between.",
    ),
    "answer-slow": Remedy(
        "{host}:{port} takes the connection but does not answer within {seconds} s.",
        "The bank is slow or hangs: wait and look again; token.timeout says how long is waited.",
        is_warning=True,
    ),
    "clock": Remedy(
        "This machine's clock is {seconds} s {direction} the bank's.",
        "Let the clock be set from the network (timedatectl set-ntp true; on Windows w32tm "
        "/resync).",
        is_warning=True,
    ),
}

_TOKENS = {
    "token-bad-client": Remedy(
        "{key}: the bank refused the client id and secret ({said}).",
        "Compare both with Shared Key and Secret Key in the console of this environment; stage "
        "and production have different ones.",
    ),
    "token-bad-institution": Remedy(
        "{key}: the bank refused the institution for this application ({said}).",
        "Check institution_id, its leading zeros too; if it is right, ask the bank to allow it "
        "for the application.",
    ),
    "token-bad-user": Remedy(
        "{key}: the bank refused the user ({said}).",
        "Check username and password_file; see that the user is not blocked.",
    ),
    "token-bad-request": Remedy(
        "{key}: the bank refused the token request ({said}).",
        "Check scopes and grant, and whether the application may use them.",
    ),
    "token-throttled": Remedy(
        "{key}: the quota or spike limit for tokens is used up ({said}).",
        "Wait, then look again; see whether something else asks for tokens with the same keys.",
    ),
    "token-server": Remedy(
        "{key}: the bank's token endpoint is failing ({said}).",
        "Nothing here is wrong: wait, and look at the bank's status page.",
    ),
    "token-timeout": Remedy(
        "{key}: the token endpoint did not answer within {seconds} s.",
        "Wait and look again; if the bank is always so slow, raise token.timeout.",
    ),
    "token-unreachable": Remedy(
        "{key}: the token endpoint was not reached. {why}", "Look again; the way was open before."
    ),
    "token-strange": Remedy(
        "{key}: the token endpoint answered, but with no token ({said}).",
        "Check base_url; if it is right, something stands between that changes answers.",
    ),
    "token-path": Remedy(
        "{key}: there is no token endpoint at {url} ({said}).",
        "Check the path of base_url: the bank's own begin with /digitalbanking, and stage has "
        "/digitalbanking/stage.",
    ),
    "token-page": Remedy(
        "{key}: a web page came in place of a token ({said}).",
        "Something stands between: log in to this network with a browser, or set upstream.proxy.",
    ),
    "token-redirect": Remedy(
        "{key}: the token endpoint sends elsewhere ({said}).",
        "Write where it leads to into base_url, if that is the bank; if it is a log-in page of "
        "this network, log in with a browser.",
    ),
    "v1-refused": Remedy(
        "{key}: the keys are good for V2 tokens, and not for V1 ones ({said}).",
        "Ask the bank to enable V1 for the application; or take v1 out of token.prefetch and "
        "routes, if nothing calls paths under /fis/.",
    ),
}

_CALLS = {
    "call-token-refused": Remedy(
        "{call}: the bank refused the token that it has just issued ({said}).",
        "Check that base_url leads to the environment that the keys are for.",
    ),
    "call-forbidden": Remedy(
        "{call}: the application may not use this resource ({said}).",
        "Ask the bank to add it to the application's products; or try another with --call PATH.",
        is_warning=True,
    ),
    "call-throttled": Remedy(
        "{call}: the quota or spike limit is used up ({said}).",
        "Wait, then look again.",
        is_warning=True,
    ),
    "call-path": Remedy(
        "{call}: there is nothing at this path ({said}).",
        "Check the path of base_url; or try another resource with --call PATH.",
        is_warning=True,
    ),
    "call-server": Remedy(
        "{call}: the bank's side is failing ({said}).",
        "Nothing here is wrong: wait, and look at the bank's status page.",
    ),
    "call-page": Remedy(
        "{call}: a web page came in place of an answer ({said}).",
        "Something stands between that knows token calls and not others: ask who keeps it.",
    ),
    "call-silent": Remedy(
        "{call}: no answer. {why}", "Wait and look again; the token call has come through."
    ),
}

_MACHINE = {
    "port-taken": Remedy(
        "{setting}: another program listens on {address}.",
        "Stop it (ss -ltnp shows which it is; on Windows netstat -ano), or set {setting} to "
        "another port.",
    ),
    "port-forbidden": Remedy(
        "{setting}: this user may not listen on {address}.",
        "Set {setting} to a port from 1024 on.",
    ),
    "port-address": Remedy(
        "{setting}: {address} is no address of this machine ({why}).",
        "Set {setting} to 127.0.0.1, or to an address that this machine has.",
    ),
    "socket-folder": Remedy(
        "{setting}: there is no folder {folder} for the socket.",
        "Make it, for the user who runs the proxy.",
    ),
    "open-files": Remedy(
        "This user may open {limit} files, and as many connections as configured need {needed}.",
        "ulimit -n {needed}; as a service, LimitNOFILE={needed}.",
        is_warning=True,
    ),
    "certificate-over": Remedy(
        "{setting}: {file} ran out on {until}, and nobody takes it any more.",
        "candescent-proxy certificate --renew, or get a new one from whoever issued it.",
    ),
    "certificate-ending": Remedy(
        "{setting}: {file} runs out on {until}.",
        "candescent-proxy certificate --renew, or get a new one from whoever issued it.",
        is_warning=True,
    ),
}

_STORE = {
    "store-unreachable": Remedy(
        "The store {store} is not reached; each proxy asks the bank for itself meanwhile.",
        "Check store.url, and that the store runs.",
        is_warning=True,
    ),
    "store-timeout": Remedy(
        "The store {store} does not answer within {seconds} s.",
        "See whether it speaks TLS (rediss://) or not (redis://), and what keeps it; if it is far "
        "away, raise store.timeout.",
        is_warning=True,
    ),
    "store-tls": Remedy(
        "The certificate of the store {store} is not trusted here, or not its own.",
        "Set store.ca_file to its authority, and name the store as its certificate does.",
        is_warning=True,
    ),
    "store-login": Remedy(
        "The store {store} refuses the user or the password.",
        "Check store.username and store.password_file.",
        is_warning=True,
    ),
    "store-forbidden": Remedy(
        "The store {store} does not let this user run scripts, or touch its records.",
        "Allow it: ACL SETUSER … ~{prefix}:* +eval +evalsha +hget +hset +hdel +hkeys +type +del "
        "+pttl +pexpire +time",
        is_warning=True,
    ),
    "store-read-only": Remedy(
        "The store {store} is a replica, which nothing can be written to.",
        "Name the primary in store.url, or the Sentinels, which know it.",
        is_warning=True,
    ),
    "store-full": Remedy(
        "The store {store} is full, and forgets nothing.",
        "Give it more memory, or a maxmemory-policy that lets old records go.",
        is_warning=True,
    ),
    "store-failing": Remedy(
        "The store {store} answers with an error, or is starting.",
        "Look into its log.",
        is_warning=True,
    ),
}

REMEDIES = _SETTINGS | _SECRETS | _NETWORK | _TOKENS | _CALLS | _STORE | _MACHINE
"""Every remedy by its cause's name, which does not change from release to release."""
