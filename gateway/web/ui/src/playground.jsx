// The GraphQL playground: GraphiQL, with examples that work against the simulated provider.

import { explorerPlugin } from "@graphiql/plugin-explorer";
import { createGraphiQLFetcher } from "@graphiql/toolkit";
import { GraphiQL, HISTORY_PLUGIN } from "graphiql";
import { editor } from "monaco-graphql/esm/monaco-editor.js";
import { createRoot } from "react-dom/client";

import hlrLookup from "../../../../schema/examples/hlr_lookup.graphql";
import message from "../../../../schema/examples/message.graphql";
import statuses from "../../../../schema/examples/statuses.graphql";
import subscription from "../../../../schema/examples/subscription.graphql";

import "graphiql/style.css";
import "@graphiql/plugin-explorer/style.css";
import "./playground.css";

/* global WORKERS -- names of the worker scripts, which lie beside this one; set by build.mjs */
globalThis.MonacoEnvironment = {
  getWorker: (_, label) =>
    new Worker(new URL(WORKERS[label] ?? WORKERS.editor, import.meta.url), { name: label }),
};

editor.onDidCreateEditor((created) =>
  created.updateOptions({
    unicodeHighlight: { ambiguousCharacters: false }, // Cyrillic is no disguise of Latin here
    wordWrap: "on",
  }),
);

// The page's own address, for GraphQL is asked where its playground is, whatever stands before it.
const url = new URL(location.pathname, location.origin);

const fetcher = createGraphiQLFetcher({
  url: url.href,
  // The headers go as the payload of connection_init: a browser can't set any on a WebSocket.
  subscriptionUrl: url.href.replace(/^http/, "ws"),
  enableIncrementalDelivery: false, // the gateway has no @defer
});

// GraphiQL's history would keep the headers of each request whatever its setting for headers says.
const storage = {
  get length() {
    return localStorage.length;
  },
  getItem: (name) => localStorage.getItem(name),
  setItem: (name, value) =>
    localStorage.setItem(name, /:(queries|favorites)$/.test(name) ? withoutHeaders(value) : value),
  removeItem: (name) => localStorage.removeItem(name),
  clear: () =>
    Object.keys(localStorage)
      .filter((name) => name.startsWith("graphiql:"))
      .forEach((name) => localStorage.removeItem(name)),
};

function withoutHeaders(history) {
  return JSON.stringify(JSON.parse(history), (name, value) =>
    name === "headers" ? undefined : value,
  );
}

const headers = `// A gateway that asks for a key takes it here:
// { "Authorization": "Bearer KEY" }
`;

const examples = [message, hlrLookup, statuses, subscription];
const plugins = [HISTORY_PLUGIN, explorerPlugin({ showAttribution: false })];

createRoot(document.getElementById("root")).render(
  <GraphiQL
    fetcher={fetcher}
    plugins={plugins}
    storage={storage}
    defaultTabs={examples.map((query) => ({ query, headers }))}
    defaultQuery=""
    defaultHeaders={headers}
    defaultEditorToolsVisibility={false}
    shouldPersistHeaders={false}
    showPersistHeadersSettings
    inputValueDeprecation
    schemaDescription
  >
    <GraphiQL.Logo>
      <span className="gateway-name">SMSC status gateway</span>
      <a className="gateway-link" href="docs">
        REST API
      </a>
    </GraphiQL.Logo>
  </GraphiQL>,
);
