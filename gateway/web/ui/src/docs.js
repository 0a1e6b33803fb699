// The API page: Swagger UI over the gateway's own OpenAPI document.

import SwaggerUI from "swagger-ui-dist/swagger-ui-es-bundle.js";

import "swagger-ui-dist/swagger-ui.css";
import "./docs.css";

const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();

// The document's server is "/"; behind a proxy that puts a prefix before it, this page knows better.
const server = { url: new URL(".", location).pathname };
const serverOfThisPage = () => ({
  statePlugins: {
    spec: {
      wrapActions: {
        updateJsonSpec: (update) => (spec) => update({ ...spec, servers: [server] }),
      },
    },
  },
});

const links = document.createElement("nav");
links.innerHTML = '<a href="graphql">GraphQL</a> <a href="openapi.yaml">openapi.yaml</a>';
document.body.prepend(links);

SwaggerUI({
  dom_id: "#root",
  url: "openapi.json",
  plugins: [serverOfThisPage],
  deepLinking: true,
  tryItOutEnabled: true,
  persistAuthorization: false, // a key must not lie about in a browser
  validatorUrl: null, // nothing goes to other hosts
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
});
