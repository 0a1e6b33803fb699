// The API page: Swagger UI over the gateway's own OpenAPI document.

import SwaggerUI from "swagger-ui-dist/swagger-ui-es-bundle.js";

import "swagger-ui-dist/swagger-ui.css";
import "./docs.css";

const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();

SwaggerUI({
  dom_id: "#root",
  url: "openapi.json",
  deepLinking: true,
  tryItOutEnabled: true,
  persistAuthorization: false, // a key must not lie about in a browser
  validatorUrl: null, // nothing goes to other hosts
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
});
