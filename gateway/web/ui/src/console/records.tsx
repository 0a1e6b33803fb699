// Records: what the gateway has seen, filtered, endless, live without rows that jump.

import { useVirtualizer } from "@tanstack/react-virtual";
import { type FormEvent, useCallback, useEffect, useRef, useState } from "react";
import { useLocation, useSearch } from "wouter";
import { type AnyRecord, answered, api, download, listen, Trouble } from "./api";
import { useLocale } from "./context";
import { Loading, Problem, State } from "./parts";
import { sought } from "./paste";
import words from "./words.json";

const PAGE = 100;
const ROW = 44;
const FIELDS = ["state", "isFinal", "error", "sender", "subscriber", "changedAt", "sentAt", "homeNetwork", "reachability"];
const GROUPS = { DELIVERED: "delivered", FAILED: "failed", PENDING: "underWay" } as const;
/** The filters of an address, as the API names them. */
const FILTERS = ["phone", "id", "kind", "state", "stateGroup", "isFinal", "errorCode", "operator", "sender", "sentAfter", "sentBefore", "changedAfter", "changedBefore"];
/** Those that the feed has too. */
const LIVE = ["phone", "kind", "state", "stateGroup", "isFinal", "errorCode", "operator", "sender"];

function filtersOf(search: string): Record<string, string> {
  const given = new URLSearchParams(search);
  return Object.fromEntries(FILTERS.flatMap((name) => (given.get(name) ? [[name, given.get(name) as string]] : [])));
}

const queryOf = (filters: Record<string, string>) => new URLSearchParams(filters).toString();

interface Rows {
  records: AnyRecord[];
  next: string | null;
}

export function Records() {
  const { t } = useLocale();
  const filters = filtersOf(useSearch());
  const query = queryOf(filters);
  const [, navigate] = useLocation();
  const show = (wanted: Record<string, string>) => navigate(`/records?${queryOf(wanted)}`);
  return (
    <>
      <h1>{t.records}</h1>
      <Search filters={filters} show={show} />
      <Chips filters={filters} show={show} />
      <List key={query} path="/v1/records" query={query} live={queryOf(only(filters, LIVE))} />
    </>
  );
}

const only = (filters: Record<string, string>, names: string[]) =>
  Object.fromEntries(Object.entries(filters).filter(([name]) => names.includes(name)));

function Search({ filters, show }: { filters: Record<string, string>; show: (wanted: Record<string, string>) => void }) {
  const { t, state, cause } = useLocale();
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => {
    const focus = (event: KeyboardEvent) => {
      const { tagName } = event.target as HTMLElement;
      if (event.key === "/" && !["INPUT", "TEXTAREA", "SELECT"].includes(tagName)) {
        event.preventDefault();
        field.current?.focus();
      }
    };
    addEventListener("keydown", focus);
    return () => removeEventListener("keydown", focus);
  }, []);
  const find = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const { phone: _, id: __, ...rest } = filters;
    show({ ...rest, ...sought(field.current?.value ?? "") });
  };
  const choose = (name: string, value: string) => {
    const { [name]: _, ...rest } = filters;
    show(value ? { ...rest, [name]: value } : rest);
  };
  return (
    <form className="search" role="search" onSubmit={find}>
      <label className="grow">
        {t.search}
        <input ref={field} type="search" defaultValue={filters.phone ?? filters.id ?? ""} key={filters.phone ?? filters.id ?? ""} placeholder={t.searchHint} onKeyDown={(event) => event.key === "Escape" && event.currentTarget.blur()} />
      </label>
      <label>
        {t.outcome}
        <select value={filters.stateGroup ?? ""} onChange={(event) => choose("stateGroup", event.target.value)}>
          <option value="">{t.anyState}</option>
          {Object.entries(GROUPS).map(([group, word]) => (
            <option key={group} value={group}>
              {t[word]}
            </option>
          ))}
        </select>
      </label>
      <label>
        {t.state}
        <select value={filters.state ?? ""} onChange={(event) => choose("state", event.target.value)}>
          <option value="">{t.anyState}</option>
          {Object.keys(words.states).map((name) => (
            <option key={name} value={name}>
              {state(name).name}
            </option>
          ))}
        </select>
      </label>
      <button className="primary">{t.find}</button>
      <details className="more">
        <summary>{t.more}</summary>
        <div className="search">
          <label>
            {t.reason}
            <select value={filters.errorCode ?? ""} onChange={(event) => choose("errorCode", event.target.value)}>
              <option value="">{t.anyState}</option>
              {Object.keys(words.reasons).map((code) => (
                <option key={code} value={code}>
                  {cause(code)?.why}
                </option>
              ))}
            </select>
          </label>
          <label>
            {t.kind}
            <select value={filters.kind ?? ""} onChange={(event) => choose("kind", event.target.value)}>
              <option value="">{t.anyState}</option>
              <option value="Message">{t.message}</option>
              <option value="HlrLookup">{t.lookup}</option>
            </select>
          </label>
          {(["operator", "sender"] as const).map((name) => (
            <label key={name}>
              {t[name]}
              <input defaultValue={filters[name] ?? ""} key={filters[name] ?? ""} onBlur={(event) => event.target.value !== (filters[name] ?? "") && choose(name, event.target.value.trim())} />
            </label>
          ))}
          {(["changedAfter", "changedBefore", "sentAfter", "sentBefore"] as const).map((name) => (
            <label key={name}>
              {t[name]}
              <input type="datetime-local" step={1} value={localTime(filters[name])} onChange={(event) => choose(name, event.target.value && new Date(event.target.value).toISOString())} />
            </label>
          ))}
        </div>
      </details>
    </form>
  );
}

/** A time as an input for the viewer's own takes it. */
function localTime(value: string | undefined): string {
  const time = value ? new Date(value) : null;
  if (!time || Number.isNaN(time.getTime())) return "";
  return new Date(time.getTime() - time.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}

function Chips({ filters, show }: { filters: Record<string, string>; show: (wanted: Record<string, string>) => void }) {
  const { t, state, cause, time } = useLocale();
  const names: Record<string, string> = { phone: t.phone, id: t.id, state: t.state, stateGroup: t.outcome, errorCode: t.reason, operator: t.operator, sender: t.sender, kind: t.kind, changedAfter: t.changedAfter, changedBefore: t.changedBefore, sentAfter: t.sentAfter, sentBefore: t.sentBefore };
  const told = (name: string, value: string) => {
    if (/(After|Before)$/.test(name)) return time(value);
    if (name === "kind") return value === "Message" ? t.message : t.lookup;
    if (name === "state") return state(value).name;
    if (name === "errorCode") return cause(value)?.why ?? value;
    if (name === "stateGroup") return t[GROUPS[value as keyof typeof GROUPS] ?? "anyState"];
    return value;
  };
  const entries = Object.entries(filters);
  if (!entries.length) return null;
  return (
    <ul className="chips">
      {entries.map(([name, value]) => (
        <li key={name}>
          {names[name] ?? name}: {told(name, value)}
          <button
            aria-label={`${t.clear}: ${names[name] ?? name}`}
            onClick={() => show(Object.fromEntries(entries.filter(([other]) => other !== name)))}
          >
            ×
          </button>
        </li>
      ))}
      <li className="plain">
        <button onClick={() => show({})}>{t.clearAll}</button>
      </li>
    </ul>
  );
}

/** A list of records: pages are fetched as they are scrolled to, and only what is seen is drawn. */
export function List({ path, query, live }: { path: string; query: string; live?: string }) {
  const { t, number } = useLocale();
  const [rows, setRows] = useState<Rows | null>(null);
  const [trouble, setTrouble] = useState<Trouble | null>(null);
  const [news, setNews] = useState(0);
  const [round, setRound] = useState(0);
  const isLoading = useRef(false);
  const place = useRef<HTMLDivElement>(null);

  const load = useCallback(
    async (cursor: string | null) => {
      if (isLoading.current) return;
      isLoading.current = true;
      try {
        const given = { ...Object.fromEntries(new URLSearchParams(query)), limit: PAGE, fields: FIELDS, ...(cursor ? { cursor } : {}) };
        const call = api.GET(path as "/v1/records", { params: { query: given as never } });
        const page = (await answered(call)) as unknown as Rows;
        setRows((before) => ({ records: cursor && before ? [...before.records, ...page.records] : page.records, next: page.next }));
        setTrouble(null);
      } catch (error) {
        setTrouble(error instanceof Trouble ? error : new Trouble({ code: "INTERNAL_ERROR" }));
      } finally {
        isLoading.current = false;
      }
    },
    [path, query],
  );
  useEffect(() => {
    setNews(0);
    void load(null);
  }, [load, round]);
  useEffect(() => {
    if (live === undefined) return;
    return listen(`/v1/changes?after=now&fields=state&${live}`, { change: () => setNews((before) => before + 1) });
  }, [live]);

  const records = rows?.records ?? [];
  const virtual = useVirtualizer({ count: records.length, getScrollElement: () => place.current, estimateSize: () => ROW, overscan: 12 });
  const items = virtual.getVirtualItems();
  const last = items[items.length - 1]?.index ?? 0;
  useEffect(() => {
    if (rows?.next && last >= records.length - 20) void load(rows.next);
  }, [last, records.length, rows?.next, load]);

  const move = (event: React.KeyboardEvent) => {
    const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    const link = (event.target as HTMLElement).closest<HTMLElement>("[data-index]");
    if (!step || !link) return;
    event.preventDefault();
    const index = Number(link.dataset.index) + step;
    virtual.scrollToIndex(index);
    requestAnimationFrame(() => place.current?.querySelector<HTMLElement>(`[data-index="${index}"]`)?.focus());
  };

  if (trouble && !rows) return <Problem trouble={trouble} reload={() => setRound(round + 1)} />;
  if (!rows) return <Loading />;
  return (
    <>
      <div className="toolbar">
        <span role="status">
          {number(records.length)} {t.listed}
          {!rows.next && records.length > 0 && `, ${t.all}`}
        </span>
        {news > 0 && (
          <button className="news" onClick={() => setRound(round + 1)}>
            {t.newChanges} ({number(news)})
          </button>
        )}
        <button onClick={() => download(`${path}?${query}`, "records.csv").catch((error) => setTrouble(error as Trouble))}>{t.download}</button>
      </div>
      {trouble && <Problem trouble={trouble} />}
      {records.length === 0 ? (
        <p className="empty">{t.noRecords}</p>
      ) : (
        <div className="rows" role="table" aria-label={t.records} aria-rowcount={rows.next ? -1 : records.length + 1} onKeyDown={move}>
          <div className="row head" role="row">
            <span role="columnheader">{t.changed}</span>
            <span role="columnheader">{t.phone}</span>
            <span role="columnheader">{t.id}</span>
            <span role="columnheader">{t.state}</span>
            <span role="columnheader">{t.reason}</span>
          </div>
          <div className="scroll" ref={place} role="rowgroup">
            <div className="sizer" ref={(element) => element?.style.setProperty("height", `${virtual.getTotalSize()}px`)}>
              {items.map((item) => (
                <Row key={item.key} record={records[item.index] as AnyRecord} index={item.index} top={item.start} />
              ))}
            </div>
          </div>
        </div>
      )}
    </>
  );
}

function Row({ record, index, top }: { record: AnyRecord; index: number; top: number }) {
  const { time, cause, say } = useLocale();
  const [, navigate] = useLocation();
  const error = record.kind === "Message" ? record.error : null;
  const reached = record.kind === "HlrLookup" ? record.reachability : null;
  const open = () => navigate(addressOf(record));
  return (
    <div
      className="row"
      role="row"
      tabIndex={0}
      data-index={index}
      ref={(element) => element?.style.setProperty("transform", `translateY(${top}px)`)}
      onClick={open}
      onKeyDown={(event) => event.key === "Enter" && open()}
    >
      <span role="cell">{time(record.changedAt)}</span>
      <span role="cell" className="number">
        {record.phone}
      </span>
      <span role="cell" className="number">
        {record.id}
      </span>
      <span role="cell">
        <State name={record.state} />
      </span>
      <span role="cell" className="soft">
        {error && (cause(error.code)?.why ?? error.code)}
        {reached && say("reachability", reached)}
      </span>
    </div>
  );
}

export const addressOf = (record: { id: string; phone: string }) => `/records/${record.id}?phone=${encodeURIComponent(record.phone)}`;
