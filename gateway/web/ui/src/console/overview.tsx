// Overview: is the provider answering, how much room is left, what waits, what fails.

import { useEffect, useMemo, useState } from "react";
import { Link } from "wouter";
import { answered, api, type Schemas, useLoaded } from "./api";
import { Chart } from "./chart";
import { useLocale, zone } from "./context";
import { Bar, Facts, Loading, Panel, Problem } from "./parts";

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

interface Point {
  at: number;
  requests: number;
  hits: number;
  answers: number;
}

/** The counters as this page has seen them, as rates. */
function Hour({ link }: { link: Schemas["LinkState"] }) {
  const { t } = useLocale();
  const [points, setPoints] = useState<Point[]>([]);
  useEffect(() => {
    const { requests, hits, answers } = link.counters;
    const at = Date.now() / 1000;
    setPoints((before) => [...before.filter((one) => one.at > at - HOUR), { at, requests, hits, answers }]);
  }, [link]);
  const { times, lines, answers } = useMemo(() => {
    const steps = points.slice(1).map((point, index) => {
      const before = points[index] as Point;
      const minutes = Math.max(point.at - before.at, 0.1) / 60;
      const rate = (name: "requests" | "hits" | "answers") => Math.max(point[name] - before[name], 0) / minutes;
      return { at: point.at, requests: rate("requests"), hits: rate("hits"), others: Math.max(rate("answers") - rate("hits"), 0) };
    });
    return {
      times: steps.map((one) => one.at),
      lines: steps.map((one) => one.requests),
      answers: { hits: steps.map((one) => one.hits), others: steps.map((one) => one.others) },
    };
  }, [points]);
  const requests = useMemo(() => [{ label: t.requestsPerMinute, color: "accent" as const, values: lines }], [t, lines]);
  const sources = useMemo(
    () => [
      { label: t.fromCache, color: "good" as const, values: answers.hits },
      { label: t.fromProvider, color: "accent" as const, values: answers.others },
    ],
    [t, answers],
  );
  if (times.length < 3) return null;
  return (
    <Panel title={t.lastHour} wide>
      <div className="charts">
        <Chart label={t.requestsPerMinute} times={times} lines={requests} />
        <Chart label={t.answersPerMinute} times={times} lines={sources} />
      </div>
    </Panel>
  );
}

/** What the archive has of the last day. */
function Day() {
  const { t, number, duration, percent, cause } = useLocale();
  const summary = useLoaded(
    "summary",
    (signal) => {
      const sentAfter = `${new Date(Date.now() - 24 * HOUR * 1000).toISOString().slice(0, 19)}Z`;
      return answered(api.GET("/v1/records/summary", { signal, params: { query: { sentAfter } } }));
    },
    60,
  );
  const data = summary.data;
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
  const failures = data.byErrorCode.filter((one) => one.errorCode !== null && one.failed > 0).slice(0, 8);
  const times = data.deliverySeconds;
  return (
    <>
      <Panel title={t.lastDay} wide>
        <Chart label={t.perHour} times={hours.times} lines={hours.lines} bars />
      </Panel>
      <div className="panels">
        <Panel title={t.deliveryTime}>
          <Facts
            facts={[
              [t.half, duration(times.p50)],
              [t.ninety, duration(times.p90)],
              [t.ninetyNine, duration(times.p99)],
            ]}
          />
        </Panel>
        <Panel title={t.whatFails}>
          {failures.length === 0 && <p>{t.nothingFailed}</p>}
          <ol className="list">
            {failures.map((one) => (
              <li key={one.errorCode}>
                <Link href={`/records?errorCode=${one.errorCode}`}>{cause(one.errorCode ?? "")?.why ?? one.errorCode}</Link>
                <span>{number(one.failed)}</span>
              </li>
            ))}
          </ol>
        </Panel>
        <Panel title={t.operators}>
          <table>
            <thead>
              <tr>
                <th>{t.operator}</th>
                <th className="n">{t.count}</th>
                <th className="n">{t.share}</th>
                <th className="n">{t.half}</th>
              </tr>
            </thead>
            <tbody>
              {data.byOperator.slice(0, 8).map((one) => (
                <tr key={one.operator}>
                  <td>{one.operator ?? "–"}</td>
                  <td className="n">{number(one.count)}</td>
                  <td className="n">{one.count ? percent(one.delivered / one.count) : "–"}</td>
                  <td className="n">{duration(one.deliverySeconds.p50)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </Panel>
      </div>
    </>
  );
}
