import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.util.UUID;
import java.util.regex.Pattern;

/** Lists a member's accounts through the proxy, with Java's own client: java Accounts.java */
public class Accounts {
    public static void main(String[] args) throws Exception {
        String proxy = System.getenv().getOrDefault("PROXY", "http://127.0.0.1:8080");
        HttpRequest request = HttpRequest.newBuilder(URI.create(proxy + "/v1/accounts?hostUserId=880017"))
            .header("transactionId", UUID.randomUUID().toString()) // so that you can find the call again
            .timeout(Duration.ofSeconds(30))
            .build();
        HttpResponse<String> answer =
            HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
        if (answer.statusCode() != 200) {
            String whose = answer.headers().firstValue("x-proxy-error-source").orElse("bank");
            System.err.println(answer.statusCode() + ", by " + whose + ": " + answer.body());
            System.exit(1);
        }
        // Java has no JSON of its own; your application has a library for it.
        Pattern account = Pattern.compile(
            "\"accountId\":\"([^\"]*)\",\"name\":\"([^\"]*)\".*?\"availableBalance\":\"([^\"]*)\"");
        account.matcher(answer.body()).results().forEach(
            found -> System.out.println(found.group(1) + " " + found.group(2) + " " + found.group(3)));
    }
}
