// The console: what a support desk and whoever is on duty look at.

import { type FormEvent, type ReactNode, useEffect, useMemo, useState } from "react";
import { createRoot } from "react-dom/client";
import { Link, Redirect, Route, Router, Switch, useLocation } from "wouter";
import { ACCOUNT, answered, api, BASE, consoleOf, storedKey, storeKey, Trouble, useLoaded } from "./console/api";
import { LocaleProvider, localeOf, useLocale } from "./console/context";
import { FollowView, Follows } from "./console/follows";
import { LookUp } from "./console/lookup";
import { Overview } from "./console/overview";
import { Loading } from "./console/parts";
import { RecordView } from "./console/record";
import { Records } from "./console/records";
import type { Language } from "./console/strings";
import { Webhooks } from "./console/webhooks";
import "./console.css";

const LANGUAGE = "smsc-gateway-language";

function preferred(): Language {
  const kept = localStorage.getItem(LANGUAGE);
  if (kept === "en" || kept === "ru") return kept;
  return navigator.language.toLowerCase().startsWith("ru") ? "ru" : "en";
}

function App() {
  const [language, setLanguage] = useState(preferred);
  const locale = useMemo(() => localeOf(language), [language]);
  useEffect(() => {
    document.documentElement.lang = language;
    document.title = locale.t.title;
    localStorage.setItem(LANGUAGE, language);
  }, [language, locale]);
  return (
    <LocaleProvider value={locale}>
      <Router base={`${BASE}/console${ACCOUNT && `/@${encodeURIComponent(ACCOUNT)}`}`}>
        <Gate>
          <Frame toggle={() => setLanguage(language === "en" ? "ru" : "en")} />
        </Gate>
      </Router>
    </LocaleProvider>
  );
}

/** The accounts that the key belongs to, by name; none where there is but one. */
const accountsOf = async () => (await answered(api.GET("/v1/accounts"))).accounts.map((one) => one.name);

/** Asks for a key where the gateway wants one. */
function Gate({ children }: { children: ReactNode }) {
  const { t, say } = useLocale();
  const [state, setState] = useState<"asking" | "open" | "closed">("asking");
  const [trouble, setTrouble] = useState("");
  const look = async () => {
    try {
      const accounts = ACCOUNT ? [] : await accountsOf();
      if (accounts.length > 1) return location.replace(consoleOf(accounts[0] as string));
      await answered(api.GET("/v1/provider"));
      setState("open");
    } catch (error) {
      const code = error instanceof Trouble ? error.code : "UNREACHABLE";
      const isWanted = code === "UNAUTHENTICATED" || (code === "QUOTA_EXCEEDED" && state === "closed");
      if (isWanted) setTrouble(storedKey() ? code : "");
      if (isWanted) storeKey("");
      setState(isWanted ? "closed" : "open"); // what else is wrong, each view tells
    }
  };
  useEffect(() => void look(), []);
  if (state === "asking") return <Loading />;
  if (state === "open") return children;
  const enter = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    storeKey(String(new FormData(event.currentTarget).get("key")).trim());
    void look();
  };
  return (
    <main className="gate">
      <h1>{t.keyTitle}</h1>
      <p>{t.keyWhy}</p>
      <form onSubmit={enter} className="stack">
        <label>
          {t.key}
          <input name="key" type="password" required autoFocus autoComplete="off" />
        </label>
        {trouble && (
          <p className="problem" role="alert">
            {say("problems", trouble)}
          </p>
        )}
        <button className="primary">{t.enter}</button>
      </form>
    </main>
  );
}

const VIEWS = [
  ["/", "overview"],
  ["/records", "records"],
  ["/look-up", "lookUp"],
  ["/follows", "follows"],
  ["/webhooks", "webhooks"],
] as const;

function AccountChoice() {
  const { t } = useLocale();
  const accounts = useLoaded("accounts", accountsOf).data ?? [ACCOUNT];
  return (
    <label className="choice">
      <span>{t.account}</span>
      <select value={ACCOUNT} onChange={(event) => location.assign(consoleOf(event.target.value))}>
        {accounts.map((name) => (
          <option key={name}>{name}</option>
        ))}
      </select>
    </label>
  );
}

function Frame({ toggle }: { toggle: () => void }) {
  const { t } = useLocale();
  const [place] = useLocation();
  const leave = () => {
    storeKey("");
    location.reload();
  };
  return (
    <>
      <a className="skip" href="#content">
        {t.skip}
      </a>
      <header className="top">
        <nav aria-label={t.navigation}>
          {VIEWS.map(([path, word]) => {
            const isHere = path === "/" ? place === "/" : place.startsWith(path);
            return (
              <Link key={path} href={path} aria-current={isHere ? "page" : undefined}>
                {t[word]}
              </Link>
            );
          })}
        </nav>
        <div className="tools">
          {ACCOUNT && <AccountChoice />}
          <button onClick={toggle}>{t.language}</button>
          {storedKey() && <button onClick={leave}>{t.leave}</button>}
        </div>
      </header>
      <main id="content" tabIndex={-1}>
        <Switch>
          <Route path="/" component={Overview} />
          <Route path="/records" component={Records} />
          <Route path="/records/:id">{({ id }) => <RecordView id={id} key={id} />}</Route>
          <Route path="/look-up" component={LookUp} />
          <Route path="/follows" component={Follows} />
          <Route path="/follows/:id">{({ id }) => <FollowView id={id} key={id} />}</Route>
          <Route path="/webhooks" component={Webhooks} />
          <Route>
            <Redirect to="/" />
          </Route>
        </Switch>
      </main>
    </>
  );
}

createRoot(document.getElementById("root") as HTMLElement).render(<App />);
