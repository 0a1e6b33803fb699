// The GraphQL playground: GraphiQL, with examples that work against the simulated provider.

import { explorerPlugin } from "@graphiql/plugin-explorer";
import { createGraphiQLFetcher } from "@graphiql/toolkit";
import { GraphiQL, HISTORY_PLUGIN } from "graphiql";
import { editor } from "monaco-graphql/esm/monaco-editor.js";
import { createClient } from "graphql-ws";
import { useCallback, useState } from "react";
import { createRoot } from "react-dom/client";

import changes from "../../../../schema/examples/changes.graphql";
import hlrLookup from "../../../../schema/examples/hlr_lookup.graphql";
import message from "../../../../schema/examples/message.graphql";
import records from "../../../../schema/examples/records.graphql";
import statuses from "../../../../schema/examples/statuses.graphql";
import subscription from "../../../../schema/examples/subscription.graphql";
import summary from "../../../../schema/examples/summary.graphql";

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

// A browser can't set headers on a WebSocket: they go as the payload of connection_init.
let connectionParams = {};
const wsClient = createClient({
  url: url.href.replace(/^http/, "ws"),
  connectionParams: () => connectionParams,
  shouldRetry: ({ code }) => !(code >= 4000), // what the gateway itself refused stays refused
});

const fetchFromGateway = createGraphiQLFetcher({
  url: url.href,
  wsClient,
  enableIncrementalDelivery: false, // the gateway has no @defer
});

// GraphiQL's headers are each tab's own, but a key given in one tab serves all, until the page is
// closed. A new key makes a new fetcher, with which GraphiQL fetches the schema again.
function useFetcher() {
  const [key, setKey] = useState();
  return useCallback(
    (params, options) => {
      const given = Object.entries(options?.headers ?? {});
      const [, ownKey] = given.find(([name]) => name.toLowerCase() === "authorization") ?? [];
      if (ownKey && ownKey !== key) setKey(ownKey);
      const headers = key && !ownKey ? { ...options?.headers, Authorization: key } : options?.headers;
      connectionParams = headers ?? {};
      return fetchFromGateway(params, { ...options, headers });
    },
    [key],
  );
}

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

const headers = `// A gateway that asks for a key takes it here, for all tabs:
// { "Authorization": "Bearer KEY" }
`;

const examples = [message, hlrLookup, statuses, subscription, changes, records, summary];
const tabs = examples.map((query) => ({ query, headers }));
// The console leads here with a query; behind the #, no server is told of it.
const asked = new URLSearchParams(location.hash.slice(1)).get("query") ?? undefined;
const plugins = [HISTORY_PLUGIN, explorerPlugin({ showAttribution: false })];

function Playground() {
  return (
    <GraphiQL
      fetcher={useFetcher()}
      plugins={plugins}
      storage={storage}
      defaultTabs={tabs}
      defaultQuery=""
      initialQuery={asked}
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
        <a className="gateway-link" href="console">
          Console
        </a>
      </GraphiQL.Logo>
    </GraphiQL>
  );
}

createRoot(document.getElementById("root")).render(<Playground />);
