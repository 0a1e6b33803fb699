// The gateway's REST API, typed by its OpenAPI document, with the key of this tab.

import { EventSource } from "eventsource";
import createClient from "openapi-fetch";
import { useCallback, useEffect, useRef, useState } from "react";
import type { components, paths } from "./openapi";

export type Schemas = components["schemas"];
export type AnyRecord = Schemas["Message"] | Schemas["HlrLookup"];

const KEY = "smsc-gateway-key";

/** Where the gateway is: a proxy may have put a prefix before its addresses. This script lies in `assets`. */
export const BASE = new URL("..", import.meta.url).pathname.replace(/\/$/, "");

/** The account that this page is about, where the gateway serves several: it stands in the address. */
export const ACCOUNT = decodeURIComponent(/^\/console\/@([^/]+)/.exec(location.pathname.slice(BASE.length))?.[1] ?? "");

/** The address of the console for an account, at the same view. */
export const consoleOf = (account: string) => {
  const view = location.pathname.slice(BASE.length).replace(/^\/console(\/@[^/]+)?/, "");
  return `${BASE}/console/@${encodeURIComponent(account)}${view}${location.search}`;
};

export const storedKey = () => sessionStorage.getItem(KEY) ?? "";
export function storeKey(key: string) {
  if (key) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
}

const withKey = (headers?: HeadersInit) => {
  const all = new Headers(headers);
  if (storedKey()) all.set("authorization", `Bearer ${storedKey()}`);
  if (ACCOUNT) all.set("x-account", ACCOUNT);
  return all;
};

export const api = createClient<paths>({
  baseUrl: BASE,
  querySerializer: { array: { style: "form", explode: false } },
});
api.use({
  onRequest: ({ request }) => new Request(request, { headers: withKey(request.headers) }),
});

/** What kept the gateway from answering; `code` is the problem's, or UNREACHABLE. */
export class Trouble extends Error {
  code: string;
  detail: string;
  scope: string | null;
  retryAfter: number | null;

  constructor(problem: Partial<Schemas["Problem"]> & { scope?: string }) {
    super(problem.code ?? "UNREACHABLE");
    this.code = problem.code ?? "UNREACHABLE";
    this.detail = problem.detail ?? "";
    this.scope = /the scope ([a-z:]+)/.exec(this.detail)?.[1] ?? null;
    this.retryAfter = problem.retryAfter ?? null;
  }
}

interface Answer<T> {
  data?: T;
  error?: unknown;
}

/** What a call is answered, or a `Trouble`. */
export async function answered<T>(call: Promise<Answer<T>>): Promise<T> {
  let answer: Answer<T>;
  try {
    answer = await call;
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Trouble({});
  }
  if (answer.error !== undefined) throw new Trouble(answer.error as Partial<Schemas["Problem"]>);
  return answer.data as T;
}

export interface Loaded<T> {
  data: T | null;
  trouble: Trouble | null;
  reload: () => void;
}

/** Loads when `key` is another, and every so many seconds; what was loaded stays until then. */
export function useLoaded<T>(
  key: string,
  load: (signal: AbortSignal) => Promise<T>,
  every = 0,
): Loaded<T> {
  const [state, setState] = useState<{ key: string; data: T | null; trouble: Trouble | null }>({
    key,
    data: null,
    trouble: null,
  });
  const [round, setRound] = useState(0);
  const latest = useRef(load);
  latest.current = load;
  useEffect(() => {
    const gone = new AbortController();
    let timer = 0;
    const run = async () => {
      try {
        const data = await latest.current(gone.signal);
        if (!gone.signal.aborted) setState({ key, data, trouble: null });
      } catch (error) {
        if (gone.signal.aborted) return;
        const trouble = error instanceof Trouble ? error : new Trouble({ code: "INTERNAL_ERROR" });
        setState((before) => ({ key, data: before.key === key ? before.data : null, trouble }));
      }
      if (every && !gone.signal.aborted) timer = window.setTimeout(run, every * 1000);
    };
    void run();
    return () => {
      gone.abort();
      clearTimeout(timer);
    };
  }, [key, every, round]);
  const reload = useCallback(() => setRound((before) => before + 1), []);
  const isCurrent = state.key === key;
  return { data: isCurrent ? state.data : null, trouble: isCurrent ? state.trouble : null, reload };
}

/** Hears events of a stream by their names, until it is told to stop. */
export function listen(path: string, on: Record<string, (data: unknown) => void>): () => void {
  const source = new EventSource(`${location.origin}${BASE}${path}`, {
    fetch: (input, init) => fetch(input, { ...init, headers: withKey(init.headers) }),
  });
  for (const [name, told] of Object.entries(on)) {
    source.addEventListener(name, (event) => {
      told(JSON.parse(event.data));
      if (name === "end") source.close();
    });
  }
  return () => source.close();
}

/** A file of what matches, with the key, which no link could carry. */
export async function download(path: string, name: string): Promise<void> {
  const answer = await fetch(`${BASE}${path}`, { headers: withKey({ accept: "text/csv" }) });
  if (!answer.ok) throw new Trouble(await answer.json());
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await answer.blob());
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}
