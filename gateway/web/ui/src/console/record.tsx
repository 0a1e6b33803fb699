// A record: everything known of one message or lookup, in plain words.

import { type ReactNode, useEffect, useState } from "react";
import { Link, useLocation, useSearch } from "wouter";
import { ACCOUNT, type AnyRecord, answered, api, BASE, listen, type Schemas, Trouble, useLoaded } from "./api";
import { useLocale } from "./context";
import messageQuery from "./message.graphql";
import lookupQuery from "./hlr_lookup.graphql";
import { Facts, Loading, Panel, Problem, State } from "./parts";

/** What is copied, with the keys left empty; the build holds them against the schema. */
const QUERIES = { Message: messageQuery, HlrLookup: lookupQuery };

type Change = Schemas["StateChange"];

async function find(id: string, phone: string, signal?: AbortSignal, headers?: Record<string, string>): Promise<AnyRecord> {
  const init = { signal, headers, params: { path: { id: id as never }, query: { phone } } };
  try {
    return await answered(api.GET("/v1/messages/{id}", init as never)) as AnyRecord;
  } catch (error) {
    if (!(error instanceof Trouble) || error.code !== "KIND_MISMATCH") throw error;
    return await answered(api.GET("/v1/hlr-lookups/{id}", init as never)) as AnyRecord;
  }
}

async function historyOf(record: AnyRecord, signal: AbortSignal): Promise<Change[]> {
  const query = { id: [record.id], phone: [record.phone], fields: ["history"] };
  const page = await answered(api.GET("/v1/records", { signal, params: { query: query as never } }));
  if (typeof page === "string") return [];
  return (page.records[0] as { history?: Change[] } | undefined)?.history ?? [];
}

export function RecordView({ id }: { id: string }) {
  const { t } = useLocale();
  const phone = new URLSearchParams(useSearch()).get("phone") ?? "";
  const [fresh, setFresh] = useState<AnyRecord | null>(null);
  const [asking, setAsking] = useState<"" | "asking" | "asked">("");
  const [refusal, setRefusal] = useState<Trouble | null>(null);
  const found = useLoaded(`${id} ${phone}`, (signal) => find(id, phone, signal));
  const record = newest(found.data, fresh);
  const kind = record?.kind === "HlrLookup" ? "hlr-lookups" : "messages";
  const isMoving = record !== null && !record.isFinal;
  useEffect(() => {
    if (!isMoving) return;
    const path = `/v1/${kind}/${encodeURIComponent(id)}/events?phone=${encodeURIComponent(phone)}`;
    return listen(path, { status: (told) => setFresh(told as AnyRecord), end: () => {} });
  }, [id, phone, kind, isMoving]);

  const ask = async () => {
    setAsking("asking");
    setRefusal(null);
    try {
      setFresh(await find(id, phone, undefined, { "cache-control": "no-cache" }));
      setAsking("asked");
    } catch (error) {
      setAsking("");
      setRefusal(error instanceof Trouble ? error : new Trouble({}));
    }
  };
  return (
    <>
      <p>
        <Link href="/records">← {t.back}</Link>
      </p>
      {found.trouble && <Problem trouble={found.trouble} reload={found.reload} />}
      {record ? (
        <Whole record={record} asking={asking} ask={ask} refusal={refusal} />
      ) : (
        !found.trouble && <Loading />
      )}
    </>
  );
}

const observedAt = (record: AnyRecord) => record.freshness.observedAt ?? "";

const newest = (one: AnyRecord | null, other: AnyRecord | null) =>
  one && (!other || observedAt(other) < observedAt(one)) ? one : other;

function Whole({ record, asking, ask, refusal }: { record: AnyRecord; asking: "" | "asking" | "asked"; ask: () => void; refusal: Trouble | null }) {
  const { t, state, say, cause, time, moment } = useLocale();
  const words = state(record.state);
  const error = record.kind === "Message" ? record.error : null;
  const reasons = error ? cause(error.code) : null;
  const rejection = record.kind === "Message" ? record.rejectionReason : null;
  const { freshness } = record;
  return (
    <>
      <header className="record-head">
        <h1 className="number">{record.phone}</h1>
        <State name={record.state} />
        <span className="soft number">
          {t.id} {record.id}
        </span>
      </header>
      <div className="panels">
        <Panel title={t.meaning}>
          <p className="lead">{words.means}</p>
          {record.kind === "HlrLookup" && record.reachability && (
            <p>
              {t.reachability}: <strong>{say("reachability", record.reachability)}</strong>
            </p>
          )}
          {rejection && <p>{say("rejections", rejection)}</p>}
          {reasons && (
            <Facts
              facts={[
                [t.why, reasons.why],
                [t.whose, reasons.fault],
                [t.resend, reasons.again],
              ]}
            />
          )}
        </Panel>
        <Panel title={t.tell}>
          <blockquote>{reasons?.tell || words.tell}</blockquote>
        </Panel>
        <Panel title={t.timeline}>
          <Timeline record={record} />
        </Panel>
        <Panel title={t.fresh}>
          <p>
            <strong>{time(freshness.observedAt)}</strong>, {say("sources", freshness.source)}.
          </p>
          {freshness.stale && (
            <p className="warn">
              {t.stale} {freshness.staleReason ? say("stale", freshness.staleReason) : "–"}.
            </p>
          )}
          {freshness.nextRefreshAt && (
            <p className="note">
              {t.nextLook} {moment(freshness.nextRefreshAt)}
            </p>
          )}
          <div className="buttons">
            <button className="primary" onClick={ask} disabled={asking === "asking"}>
              {asking === "asking" ? t.asking : t.askNow}
            </button>
            {!record.isFinal && <FollowIt record={record} />}
          </div>
          <p className="note" role="status">
            {asking === "asked" && (freshness.stale ? <NotAsked freshness={freshness} /> : t.asked)}
            {refusal && `${say("problems", refusal.code)}${refusal.retryAfter ? ` (${refusal.retryAfter} s)` : ""}`}
          </p>
        </Panel>
        <Panel title={t.details}>
          <Details record={record} />
        </Panel>
        <Panel title={t.forExperts}>
          <Experts record={record} />
        </Panel>
      </div>
    </>
  );
}

/** The provider was not to be asked: an older answer came, which says why and when it may be. */
function NotAsked({ freshness }: { freshness: AnyRecord["freshness"] }) {
  const { t, say, moment } = useLocale();
  return (
    <>
      {t.notAsked}: {freshness.staleReason ? say("stale", freshness.staleReason) : "–"}.
      {freshness.nextRefreshAt && ` ${t.mayAgain} ${moment(freshness.nextRefreshAt)}.`}
    </>
  );
}

function Timeline({ record }: { record: AnyRecord }) {
  const { t, time, duration, state, say } = useLocale();
  const history = useLoaded(`${record.id} ${record.phone} ${record.changedAt}`, (signal) => historyOf(record, signal), 5);
  if (history.trouble) return <Problem trouble={history.trouble} />;
  if (!history.data) return <Loading />;
  const steps = history.data.map((one) => ({ name: state(one.state).name, at: one.lastStatusTime ?? one.at, how: say("sources", one.source) }));
  if (record.sentAt && steps.length) steps.unshift({ name: t.handedIn, at: record.sentAt, how: "" });
  if (!steps.length) return <p className="note">{t.noHistory}</p>;
  return (
    <ol className="timeline">
      {steps.map((one, index) => {
        const before = steps[index - 1];
        const seconds = before ? (Date.parse(one.at) - Date.parse(before.at)) / 1000 : 0;
        return (
          <li key={`${one.name} ${one.at}`}>
            <strong>{one.name}</strong>
            <span>{time(one.at)}</span>
            {seconds > 0 && (
              <span className="soft">
                {duration(seconds)} {t.later}
              </span>
            )}
            {one.how && <span className="soft">{one.how}</span>}
          </li>
        );
      })}
    </ol>
  );
}

function Details({ record }: { record: AnyRecord }) {
  const { t, time } = useLocale();
  const isHidden = (name: string) => record.hiddenFields?.includes(name as never);
  const shown = (name: string, value: ReactNode) => (isHidden(name) ? <em>{t.hidden}</em> : (value ?? "–"));
  if (record.kind === "HlrLookup") {
    return (
      <Facts
        facts={[
          [t.network, record.homeNetwork?.name ?? "–"],
          [t.country, record.homeNetwork?.country ?? "–"],
          ["IMSI", shown("imsi", record.imsi)],
          ["MSC", shown("msc", record.msc)],
        ]}
      />
    );
  }
  return (
    <Facts
      facts={[
        [t.sentAt, time(record.sentAt)],
        [t.sender, record.sender ?? "–"],
        [t.text, shown("text", record.text)],
        [t.operator, record.subscriber?.operator ?? "–"],
        [t.country, record.subscriber?.country ?? "–"],
        [t.parts, record.parts ?? "–"],
        [t.cost, record.cost ? `${record.cost.amount} ${record.cost.currency ?? ""}` : "–"],
      ]}
    />
  );
}

function Experts({ record }: { record: AnyRecord }) {
  const { t, say } = useLocale();
  const [copied, setCopied] = useState(false);
  const url = `${location.origin}${BASE}`;
  const path = record.kind === "Message" ? "messages" : "hlr-lookups";
  const query = QUERIES[record.kind].replace("0", record.id).replace('""', `${JSON.stringify(record.phone)}${ACCOUNT && `, account: ${JSON.stringify(ACCOUNT)}`}`);
  const curl = `curl '${url}/v1/${path}/${record.id}?phone=${encodeURIComponent(record.phone)}' -H 'authorization: Bearer KEY'${ACCOUNT && ` -H 'x-account: ${ACCOUNT}'`}`;
  const copy = async (text: string) => {
    await navigator.clipboard.writeText(text);
    setCopied(true);
  };
  const error = record.kind === "Message" ? record.error : null;
  return (
    <>
      <Facts
        facts={[
          [t.providerStatus, `${record.providerStatus.code} ${record.providerStatus.name}`],
          [t.providerError, error ? `${error.providerCode} ${error.code} (${say("categories", error.category)})` : "–"],
        ]}
      />
      <div className="buttons">
        <button onClick={() => copy(curl)}>{t.copyCurl}</button>
        <button onClick={() => copy(query)}>{t.copyGraphql}</button>
        <a className="button" href={`${BASE}/graphql#query=${encodeURIComponent(query)}`}>
          {t.playground}
        </a>
      </div>
      <p className="note" role="status">
        {copied && t.copied}
      </p>
    </>
  );
}

function FollowIt({ record }: { record: AnyRecord }) {
  const { t } = useLocale();
  const [, navigate] = useLocation();
  const [trouble, setTrouble] = useState<Trouble | null>(null);
  const follow = async () => {
    try {
      const begun = await answered(api.POST("/v1/follows", { body: { items: [{ id: record.id, phone: record.phone }], name: record.phone } }));
      navigate(`/follows/${begun.id}`);
    } catch (error) {
      setTrouble(error as Trouble);
    }
  };
  return (
    <>
      <button onClick={follow}>{t.followIt}</button>
      {trouble && <Problem trouble={trouble} />}
    </>
  );
}
