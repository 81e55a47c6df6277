# Lists a member's accounts through the proxy, with what comes with Perl. No token, no credentials.
use strict;
use warnings;
use HTTP::Tiny;
use JSON::PP;

my $proxy  = $ENV{PROXY} || 'http://127.0.0.1:8080';
my $answer = HTTP::Tiny->new(timeout => 30)->get("$proxy/v1/accounts?hostUserId=880017");
if (!$answer->{success}) {
    # The proxy has given the call a transactionId, since we sent none.
    my $id = $answer->{headers}{transactionid} // 'none';
    die "$answer->{status}, transaction $id: $answer->{content}\n";
}
for my $account (@{ decode_json($answer->{content})->{accounts} }) {
    print "$account->{accountId} $account->{name} $account->{availableBalance}\n";
}
