// A provider of OpenID Connect: the certified npm package `oidc-provider`, with its own pages for signing in.
// Reads its settings as JSON from the first argument: port, clients, acr_values.
import { Provider } from "oidc-provider";

const { port, clients, acrValues } = JSON.parse(process.argv[2]);
const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients,
  acrValues,
  cookies: { keys: ["of a test"] },
  pkce: { required: () => true },
  features: { devInteractions: { enabled: true } },
  // The account is whatever name was typed.
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  // Nobody asks this server's people for their consent: the client belongs to the same house.
  loadExistingGrant: async (ctx) => {
    const { client, session } = ctx.oidc;
    const grant = new provider.Grant({ clientId: client.clientId, accountId: session.accountId });
    grant.addOIDCScope("openid");
    await grant.save();
    return grant;
  },
});
provider.listen(port, "127.0.0.1", () => console.log("listening"));
