// A strict OAuth 2.0 server (npm's oidc-provider) at the bank's paths, and one resource.
// Argument: {"clients": [...]} in oidc-provider's own format. Prints its port in a line.

import { createServer } from "node:http";
import Provider from "oidc-provider";

const { clients } = JSON.parse(process.argv[2]);

const server = createServer();
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const { port } = server.address();

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: clients.map((client) => ({
    grant_types: ["client_credentials"],
    redirect_uris: [],
    response_types: [],
    ...client,
  })),
  clientAuthMethods: ["client_secret_basic", "client_secret_post", "private_key_jwt"],
  enabledJWA: {
    clientAuthSigningAlgValues: ["RS256", "ES256", "EdDSA"],
  },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
  },
  routes: { token: "/oauth2/v1/token" },
  ttl: { ClientCredentials: 600 },
});
// Authorization: Basic for a client of client_secret_post, for example, is an error here.
const oauth = provider.callback();

async function resource(request, response) {
  const [scheme, text] = (request.headers.authorization ?? "").split(" ");
  const token = scheme === "Bearer" && (await provider.ClientCredentials.find(text));
  response.statusCode = token ? 200 : 401;
  response.setHeader("Content-Type", "application/json");
  response.end(JSON.stringify({ client: token ? token.clientId : null }));
}

server.on("request", (request, response) =>
  request.url.startsWith("/oauth2/") ? oauth(request, response) : resource(request, response),
);
console.log(port);
process.stdin.resume();
process.stdin.on("end", () => process.exit(0)); // with the test that started it
