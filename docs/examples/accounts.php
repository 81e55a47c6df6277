<?php
// Lists a member's accounts through the proxy. No token, no credentials, no extension.

$proxy = getenv('PROXY') ?: 'http://127.0.0.1:8080';
// A UUID, so that you can find the call again.
$id = vsprintf('%s%s-%s-%s-%s-%s%s%s', str_split(bin2hex(random_bytes(16)), 4));
$context = stream_context_create(['http' => [
    'header' => "transactionId: $id",
    'timeout' => 30,
    'ignore_errors' => true, // so that the body of an error is read too
]]);
$body = file_get_contents("$proxy/v1/accounts?hostUserId=880017", false, $context);
if ($body === false) {
    exit(1); // PHP has said why
}
if (!str_contains($http_response_header[0], ' 200 ')) {
    fwrite(STDERR, "{$http_response_header[0]}: $body\n");
    exit(1);
}
foreach (json_decode($body)->accounts as $account) {
    echo "$account->accountId $account->name $account->availableBalance\n";
}
