// Follows: what the caller left to the gateway, and how far each is, as it goes on.

import { useEffect, useState } from "react";
import { Link, useLocation } from "wouter";
import { answered, api, listen, type Schemas, useLoaded } from "./api";
import { useLocale } from "./context";
import { Facts, Loading, Panel, Problem, Scrolling } from "./parts";
import { List } from "./records";

type Follow = Schemas["FollowStatus"];

export function Follows() {
  const { t, number, time } = useLocale();
  const all = useLoaded("follows", (signal) => answered(api.GET("/v1/follows", { signal })), 5);
  return (
    <>
      <h1>{t.follows}</h1>
      {all.trouble && <Problem trouble={all.trouble} reload={all.reload} />}
      {!all.data && !all.trouble && <Loading />}
      {all.data?.follows.length === 0 && <p className="empty">{t.noFollows}</p>}
      {!!all.data?.follows.length && (
        <Scrolling className="wide-table" label={t.follows}>
          <table>
            <thead>
              <tr>
                <th>{t.name}</th>
                <th>{t.started}</th>
                <th className="n">{t.followed}</th>
                <th className="n">{t.seen}</th>
                <th className="n">{t.final}</th>
                <th>{t.state}</th>
              </tr>
            </thead>
            <tbody>
              {all.data.follows.map((one) => (
                <tr key={one.id}>
                  <td>
                    <Link href={`/follows/${one.id}`}>{one.name ?? one.id}</Link>
                  </td>
                  <td>{time(one.createdAt)}</td>
                  <td className="n">{number(one.total)}</td>
                  <td className="n">{number(one.seen)}</td>
                  <td className="n">{number(one.final)}</td>
                  <td>{one.done ? t.done : t.goesOn}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </Scrolling>
      )}
    </>
  );
}

export function FollowView({ id }: { id: string }) {
  const { t } = useLocale();
  const [, navigate] = useLocation();
  const first = useLoaded(id, (signal) => answered(api.GET("/v1/follows/{id}", { signal, params: { path: { id } } })));
  const [latest, setLatest] = useState<Follow | null>(null);
  const isThere = first.data !== null;
  useEffect(() => {
    setLatest(null);
    if (!isThere) return;
    return listen(`/v1/follows/${encodeURIComponent(id)}/events`, { progress: (told) => setLatest(told as Follow), end: () => {} });
  }, [id, isThere]);
  const follow = latest ?? first.data;
  const end = async () => {
    await answered(api.DELETE("/v1/follows/{id}", { params: { path: { id } } }));
    navigate("/follows");
  };
  return (
    <>
      <p>
        <Link href="/follows">← {t.follows}</Link>
      </p>
      {first.trouble && <Problem trouble={first.trouble} reload={first.reload} />}
      {follow ? <Progress follow={follow} end={end} /> : !first.trouble && <Loading />}
    </>
  );
}

function Progress({ follow, end }: { follow: Follow; end: () => void }) {
  const { t, number, time, state } = useLocale();
  const by = follow.estimate.allSeenBy;
  return (
    <>
      <h1>{follow.name ?? follow.id}</h1>
      <div className="panels">
        <Panel title={t.seen}>
          <p className="figure">
            {number(follow.seen)} / {number(follow.total)}
          </p>
          <progress max={follow.total} value={follow.seen} aria-label={t.seen} />
          <p role="status">{by ? `${t.allSeenBy} ${time(by)}` : t.allSeen}</p>
        </Panel>
        <Panel title={t.final}>
          <Facts
            facts={[
              [t.final, number(follow.final)],
              [t.notFound, number(follow.notFound)],
              ...Object.entries(follow.byState).map(([name, count]): [string, string] => [state(name).name, number(count)]),
            ]}
          />
        </Panel>
        <Panel title={follow.done ? t.done : t.goesOn}>
          <Facts
            facts={[
              [t.started, time(follow.createdAt)],
              [t.until, time(follow.until)],
            ]}
          />
          <button onClick={end}>{t.end}</button>
        </Panel>
      </div>
      <h2>{t.itsRecords}</h2>
      <List key={`${follow.id} ${follow.seen} ${follow.final}`} path={`/v1/follows/${follow.id}/records`} query="" />
    </>
  );
}
