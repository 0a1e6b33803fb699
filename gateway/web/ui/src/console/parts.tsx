// Small parts that several views are made of.

import type { ReactNode } from "react";
import { Trouble } from "./api";
import { useLocale } from "./context";

const TONES: Record<string, string> = {
  DELIVERED: "good", READ: "good", CLICKED: "good", COMPLETED: "good",
  EXPIRED: "bad", UNDELIVERABLE: "bad", REJECTED: "bad", FAILED: "bad",
};

/** A state in words; its colour only repeats what the words say. */
export function State({ name }: { name: string }) {
  const { state } = useLocale();
  return <span className={`state ${TONES[name] ?? "open"}`}>{state(name).name}</span>;
}

export function Panel({ title, children, wide }: { title: string; children: ReactNode; wide?: boolean }) {
  return (
    <section className={wide ? "panel wide" : "panel"}>
      <h2>{title}</h2>
      {children}
    </section>
  );
}

export function Facts({ facts }: { facts: [string, ReactNode][] }) {
  return (
    <dl className="facts">
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** What went wrong, in words that can be read out; the gateway's own sentence below. */
export function Problem({ trouble, reload }: { trouble: Trouble; reload?: () => void }) {
  const { say, t } = useLocale();
  const isHidden = trouble.code === "FORBIDDEN";
  return (
    <div className="problem" role="alert">
      <p>
        {isHidden && trouble.scope ? (
          <>
            {t.hiddenView} <code>{trouble.scope}</code>.
          </>
        ) : (
          say("problems", trouble.code)
        )}
      </p>
      {trouble.detail && !isHidden && <p className="note">{trouble.detail}</p>}
      {reload && !isHidden && <button onClick={reload}>{t.again}</button>}
    </div>
  );
}

/** What may be wider than its place: the keyboard scrolls it too. */
export function Scrolling({ label, children, className = "" }: { label: string; children: ReactNode; className?: string }) {
  return (
    <div className={`scrolling ${className}`} role="region" aria-label={label} tabIndex={0}>
      {children}
    </div>
  );
}

export function Loading() {
  return (
    <p className="note" role="status">
      {useLocale().t.loading}
    </p>
  );
}

/** A share as a bar and in words. */
export function Bar({ label, value, of }: { label: string; value: number; of: number }) {
  const { number } = useLocale();
  return (
    <div className="bar">
      <div className="bar-words">
        <span>{label}</span>
        <span>
          {number(value)} / {number(of)}
        </span>
      </div>
      <meter min={0} max={Math.max(of, 1)} value={value} aria-label={label} />
    </div>
  );
}

/** A share as a bar alone, beside words that tell it. */
export function Share({ of, tone }: { of: number; tone: "good" | "bad" }) {
  return (
    <span className={`share ${tone}`} aria-hidden="true">
      <span ref={(element) => element?.style.setProperty("width", `${Math.round(Math.min(Math.max(of, 0), 1) * 100)}%`)} />
    </span>
  );
}
