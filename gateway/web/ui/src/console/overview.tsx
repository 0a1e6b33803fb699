// Overview: is the provider answering, how much room is left, what waits, what fails.

import { useEffect, useMemo, useState } from "react";
import { Link } from "wouter";
import { answered, api, type Schemas, useLoaded } from "./api";
import { Chart } from "./chart";
import { useLocale, zone } from "./context";
import type { Strings } from "./strings";
import { Bar, Facts, Loading, Panel, Problem, Scrolling, Share } from "./parts";

const EVERY = 3;
const HOUR = 3600;

export function Overview() {
  const { t } = useLocale();
  const link = useLoaded("provider", () => answered(api.GET("/v1/provider")), EVERY);
  return (
    <>
      <h1>{t.overview}</h1>
      {link.trouble && <Problem trouble={link.trouble} reload={link.reload} />}
      {link.data ? <LinkState link={link.data} /> : !link.trouble && <Loading />}
      <Day />
      <p className="note">
        {t.timesIn} {zone()}.
      </p>
    </>
  );
}

function LinkState({ link }: { link: Schemas["LinkState"] }) {
  const { t, say, moment, number, duration, percent } = useLocale();
  const { mass, concurrency, perMessage } = link.budgets;
  const isWell = link.breaker.state === "CLOSED" && link.sharing !== "LOST";
  const hitRatio = link.counters.hitRatio;
  return (
    <>
      <div className={isWell ? "verdict good" : "verdict bad"} role="status">
        <strong>{link.sharing === "LOST" ? t.redisLost : isWell ? t.providerAnswers : t.providerAway}</strong>
        {link.breaker.reason && (
          <span>
            {say("problems", link.breaker.reason)}
            {link.breaker.nextProbeAt && ` ${t.nextTry}: ${moment(link.breaker.nextProbeAt)}.`}
          </span>
        )}
        {link.archive === "LOST" && <span>{t.archiveLost}.</span>}
        {link.archive === "OFF" && <span>{t.archiveOff}.</span>}
      </div>
      <div className="panels four">
        <Panel title={t.requestsLeft}>
          <Bar label={t.massLeft} value={mass.left} of={mass.limit} />
          {mass.freeAt && mass.left === 0 && (
            <p className="note">
              {t.moreAt} {moment(mass.freeAt)}
            </p>
          )}
          <Bar label={t.placesLeft} value={concurrency.left} of={concurrency.limit} />
          <p className="note">
            {t.spent}: {number(perMessage.spentMessages)}
          </p>
        </Panel>
        <Panel title={t.waiting}>
          <Facts
            facts={[
              [t.callers, number(link.queue.callers)],
              [t.background, number(link.queue.background)],
            ]}
          />
        </Panel>
        <Panel title={t.ages}>
          <Facts
            facts={[
              [t.median, duration(link.ages.median)],
              [t.p99, duration(link.ages.p99)],
            ]}
          />
        </Panel>
        <Panel title={t.served}>
          {hitRatio == null ? <p>{t.noAnswersYet}</p> : <p className="figure">{percent(hitRatio)}</p>}
          <p className="note">
            {t.kept}: {number(link.archiveReport?.rows ?? link.records)}
          </p>
        </Panel>
      </div>
      <Hour link={link} />
    </>
  );
}

type Sample = Schemas["LinkSample"];

const sampleOf = (link: Schemas["LinkState"]): Sample => ({
  at: new Date().toISOString(),
  requests: link.counters.requests,
  answers: link.counters.answers,
  hits: link.counters.hits,
  waiting: link.queue.callers,
  medianAge: link.ages.median,
});

/** The last hour: what the gateway has of it, and what this page has seen since. */
function Hour({ link }: { link: Schemas["LinkState"] }) {
  const { t } = useLocale();
  const [samples, setSamples] = useState<Sample[] | null>(null);
  useEffect(() => {
    answered(api.GET("/v1/provider/history")).then(
      ({ samples: before }) => setSamples(before),
      () => setSamples([]),
    );
  }, []);
  const isThere = samples !== null;
  useEffect(() => {
    if (!isThere) return;
    const since = new Date(Date.now() - HOUR * 1000).toISOString();
    setSamples((before) => [...(before ?? []).filter((one) => one.at > since), sampleOf(link)]);
  }, [link, isThere]);
  const charts = useMemo(() => chartsOf(samples ?? [], t), [samples, t]);
  if ((samples?.length ?? 0) < 3) return null;
  return (
    <Panel title={t.lastHour} wide>
      <div className="charts">
        {charts.map(({ label, times, lines }) => (
          <Chart key={label} label={label} times={times} lines={lines} />
        ))}
      </div>
    </Panel>
  );
}

function chartsOf(samples: Sample[], t: Strings) {
  const at = samples.map((one) => Date.parse(one.at) / 1000);
  const times = at.slice(1);
  const rates = (value: (sample: Sample) => number) =>
    samples.slice(1).map((one, index) => {
      const minutes = Math.max((at[index + 1] ?? 0) - (at[index] ?? 0), 0.1) / 60;
      return Math.max(value(one) - value(samples[index] as Sample), 0) / minutes;
    });
  const now = (value: (sample: Sample) => number | null) => samples.slice(1).map(value);
  return [
    { label: t.requestsPerMinute, times, lines: [{ label: t.requests, color: "accent" as const, values: rates((one) => one.requests) }] },
    {
      label: t.answersPerMinute,
      times,
      lines: [
        { label: t.fromCache, color: "good" as const, values: rates((one) => one.hits) },
        { label: t.fromProvider, color: "accent" as const, values: rates((one) => one.answers - one.hits) },
      ],
    },
    { label: t.ageSeconds, times, lines: [{ label: t.halfUnder, color: "accent" as const, values: now((one) => one.medianAge) }] },
    { label: t.waitingCallers, times, lines: [{ label: t.keys, color: "open" as const, values: now((one) => one.waiting) }] },
  ];
}

const ago = (hours: number) => `${new Date(Date.now() - hours * HOUR * 1000).toISOString().slice(0, 19)}Z`;

/** The last day and the same one a week before, and since when each of the day's errors has come. */
async function loadDay(signal: AbortSignal) {
  const summaryOf = (query: { sentAfter: string; sentBefore?: string }) =>
    answered(api.GET("/v1/records/summary", { signal, params: { query } }));
  const [today, weekBefore, times] = await Promise.all([
    summaryOf({ sentAfter: ago(24) }),
    summaryOf({ sentAfter: ago(8 * 24), sentBefore: ago(7 * 24) }),
    answered(api.GET("/v1/records/delivery-times", { signal, params: { query: { sentAfter: ago(24) } } })),
  ]);
  const since: Record<string, string> = {};
  await Promise.all(
    failuresIn(today).map(async ({ errorCode }) => {
      const query = { errorCode: [errorCode], sentAfter: ago(24), order: "changedAt", limit: 1, fields: ["changedAt"] };
      const page = await answered(api.GET("/v1/records", { signal, params: { query: query as never } }));
      const first = typeof page === "string" ? undefined : page.records[0];
      if (errorCode && first?.changedAt) since[errorCode] = first.changedAt;
    }),
  );
  return { today, weekBefore, times, since };
}

type Group = Schemas["OperatorCount"];

const shareOf = (group: Group | undefined) => (group?.count ? group.delivered / group.count : null);

/** A value now and, below it, the same a week before. */
function Then({ now, before, write }: { now: number | null | undefined; before: number | null | undefined; write: (value: number) => string }) {
  return (
    <>
      {now == null ? "–" : write(now)}
      {before != null && <small className="soft since">{write(before)}</small>}
    </>
  );
}

const atLeast = (least: number, value: number | null | undefined) => (value == null ? null : Math.max(value, least));

/** How long deliveries took, hour by hour; a gap where none was delivered. */
function deliveryLines(told: Schemas["HourDelivery"][], t: Strings) {
  const byHour = new Map(told.map((one) => [Date.parse(one.hour) / 1000, one.deliverySeconds]));
  const [first = 0, last = -1] = [Math.min(...byHour.keys()), Math.max(...byHour.keys())];
  const times = byHour.size ? Array.from({ length: (last - first) / HOUR + 1 }, (_, index) => first + index * HOUR) : [];
  const line = (share: "p50" | "p90" | "p99") => times.map((one) => atLeast(1, byHour.get(one)?.[share]));
  return {
    times,
    lines: [
      { label: t.half, color: "good" as const, values: line("p50") },
      { label: t.ninety, color: "open" as const, values: line("p90") },
      { label: t.ninetyNine, color: "bad" as const, values: line("p99") },
    ],
  };
}

const failuresIn = (summary: Schemas["RecordSummary"]) =>
  summary.byErrorCode.filter((one) => one.errorCode !== null && one.failed > 0).slice(0, 8);

/** What the archive has of the last day. */
function Day() {
  const { t, number, duration, percent, cause, moment } = useLocale();
  const summary = useLoaded("summary", loadDay, 60);
  const data = summary.data?.today;
  const since = summary.data?.since ?? {};
  const before = summary.data?.weekBefore.deliverySeconds;
  const hours = useMemo(() => {
    const all = data?.perHour ?? [];
    return {
      times: all.map((one) => Date.parse(one.hour) / 1000),
      lines: [
        { label: t.underWay, color: "open" as const, values: all.map((one) => one.sent) },
        { label: t.failed, color: "bad" as const, values: all.map((one) => one.delivered + one.failed) },
        { label: t.delivered, color: "good" as const, values: all.map((one) => one.delivered) },
      ],
    };
  }, [data, t]);
  const deliveries = useMemo(() => deliveryLines(summary.data?.times.perHour ?? [], t), [summary.data, t]);
  if (summary.trouble) {
    return (
      <Panel title={t.lastDay} wide>
        <Problem trouble={summary.trouble} reload={summary.reload} />
      </Panel>
    );
  }
  if (!data) return <Loading />;
  if (!data.total) {
    return (
      <Panel title={t.lastDay} wide>
        <p>{t.nothingSent}</p>
      </Panel>
    );
  }
  const failures = failuresIn(data);
  const times = data.deliverySeconds;
  const weekOf = (operator: string | null | undefined) => summary.data?.weekBefore.byOperator.find((one) => one.operator === operator);
  return (
    <>
      <Panel title={t.lastDay} wide>
        <div className="charts">
          <Chart label={t.perHour} times={hours.times} lines={hours.lines} bars />
          {deliveries.times.length > 1 && <Chart label={t.deliveryByHour} times={deliveries.times} lines={deliveries.lines} unit={duration} />}
        </div>
        <h3>{t.deliveryTime}</h3>
        <div className="figures">
          <Facts
            facts={[
              [t.half, duration(times.p50)],
              [t.ninety, duration(times.p90)],
              [t.ninetyNine, duration(times.p99)],
            ]}
          />
          {!!before?.count && (
            <p className="note">
              {t.weekBefore}: {duration(before.p50)}, {duration(before.p90)}, {duration(before.p99)}
            </p>
          )}
        </div>
      </Panel>
      <div className="panels broad">
        <Panel title={t.whatFails}>
          {failures.length === 0 && <p>{t.nothingFailed}</p>}
          <ol className="list">
            {failures.map((one) => (
              <li key={one.errorCode} className="measured">
                <Link href={`/records?errorCode=${one.errorCode}`}>{cause(one.errorCode ?? "")?.why ?? one.errorCode}</Link>
                <span>
                  {number(one.failed)}
                  {since[one.errorCode ?? ""] && <small className="soft since">{`${t.since} ${moment(since[one.errorCode ?? ""])}`}</small>}
                </span>
                <Share of={one.failed / (failures[0]?.failed ?? 1)} tone="bad" />
              </li>
            ))}
          </ol>
        </Panel>
        <Panel title={t.operators}>
          <Scrolling label={t.operators}>
          <table>
            <thead>
              <tr>
                <th>{t.operator}</th>
                <th className="n">{t.count}</th>
                <th className="n">{t.share}</th>
                <th className="n">{t.half}</th>
                <th className="n">{t.ninety}</th>
              </tr>
            </thead>
            <tbody>
              {data.byOperator.slice(0, 8).map((one) => (
                <tr key={one.operator}>
                  <td>{one.operator ?? "–"}</td>
                  <td className="n">{number(one.count)}</td>
                  <td className="n">
                    <Then now={shareOf(one)} before={shareOf(weekOf(one.operator))} write={percent} />
                    <Share of={shareOf(one) ?? 0} tone="good" />
                  </td>
                  <td className="n">
                    <Then now={one.deliverySeconds.p50} before={weekOf(one.operator)?.deliverySeconds.p50} write={duration} />
                  </td>
                  <td className="n">
                    <Then now={one.deliverySeconds.p90} before={weekOf(one.operator)?.deliverySeconds.p90} write={duration} />
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
          </Scrolling>
          {!!summary.data?.weekBefore.total && <p className="note">{t.weekBeforeBelow}</p>}
        </Panel>
      </div>
    </>
  );
}
