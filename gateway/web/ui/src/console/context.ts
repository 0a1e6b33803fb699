// What every view needs: the language, its words, and how values are written in it.

import { createContext, useContext } from "react";
import { type Language, STRINGS, type Strings } from "./strings";
import words from "./words.json";

export type Words = { en: string; ru: string };
export type Sentences = { en: string[]; ru: string[] };

export interface Locale {
  language: Language;
  t: Strings;
  /** A table's words for a name; the name itself where the table is older than the gateway. */
  say(table: keyof typeof words, name: string): string;
  /** What a state is called, what it means, and what to tell about it. */
  state(name: string): { name: string; means: string; tell: string };
  /** Why a message failed, whose fault that is, and whether sending again helps. */
  cause(code: string): { why: string; tell: string; fault: string; again: string } | null;
  time(value: string | null | undefined): string;
  moment(value: string | null | undefined): string;
  /** Hours and minutes of a time in seconds since 1970. */
  hour(seconds: number): string;
  number(value: number | null | undefined): string;
  duration(seconds: number | null | undefined): string;
  percent(share: number): string;
}

export function localeOf(language: Language): Locale {
  const t = STRINGS[language];
  const tag = language === "ru" ? "ru-RU" : "en-GB";
  const full = new Intl.DateTimeFormat(tag, { dateStyle: "medium", timeStyle: "medium" });
  const short = new Intl.DateTimeFormat(tag, { timeStyle: "medium" });
  const hours = new Intl.DateTimeFormat(tag, { hour: "2-digit", minute: "2-digit" });
  const numbers = new Intl.NumberFormat(tag);
  const percents = new Intl.NumberFormat(tag, { style: "percent", maximumFractionDigits: 1 });
  const units = { d: language === "ru" ? "д" : "d", h: language === "ru" ? "ч" : "h", m: language === "ru" ? "мин" : "min", s: language === "ru" ? "с" : "s" };
  const duration = (seconds: number) => {
    if (seconds < 120) return `${numbers.format(Math.round(seconds * 10) / 10)} ${units.s}`;
    if (seconds < 7200) return `${numbers.format(Math.round(seconds / 60))} ${units.m}`;
    if (seconds < 172800) return `${numbers.format(Math.round(seconds / 3600))} ${units.h}`;
    return `${numbers.format(Math.round(seconds / 86400))} ${units.d}`;
  };
  const say: Locale["say"] = (table, name) => {
    const found = (words[table] as unknown as Record<string, Words>)[name];
    return found ? found[language] : name;
  };
  return {
    language,
    t,
    say,
    state(name) {
      const found = (words.states as Record<string, Sentences>)[name];
      const [called, means, tell] = found ? found[language] : [name, "", ""];
      return { name: called ?? name, means: means ?? "", tell: tell ?? "" };
    },
    cause(code) {
      const reasons = words.reasons as Record<string, Sentences & { fault: string; again: string }>;
      const found = reasons[code];
      if (!found) return null;
      const [why, tell] = found[language];
      return {
        why: why ?? code,
        tell: tell ?? "",
        fault: say("faults", found.fault),
        again: say("again", found.again),
      };
    },
    time: (value) => (value ? full.format(new Date(value)) : "–"),
    moment: (value) => (value ? short.format(new Date(value)) : "–"),
    hour: (seconds) => hours.format(new Date(seconds * 1000)),
    number: (value) => (value == null ? "–" : numbers.format(value)),
    duration: (seconds) => (seconds == null ? "–" : duration(seconds)),
    percent: (share) => percents.format(share),
  };
}

/** The viewer's time zone, with its offset: `Europe/Moscow, UTC+3`. */
export function zone(): string {
  const { timeZone } = Intl.DateTimeFormat().resolvedOptions();
  const minutes = -new Date().getTimezoneOffset();
  const [hours, rest] = [Math.trunc(minutes / 60), Math.abs(minutes % 60)];
  const offset = `UTC${minutes < 0 ? "−" : "+"}${Math.abs(hours)}${rest ? `:${String(rest).padStart(2, "0")}` : ""}`;
  return `${timeZone}, ${offset}`;
}

const Context = createContext<Locale>(localeOf("en"));
export const LocaleProvider = Context.Provider;
export const useLocale = () => useContext(Context);
