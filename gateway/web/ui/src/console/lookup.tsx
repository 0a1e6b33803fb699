// Look up: one message by its id and number, or a pasted list, which becomes a follow.

import { type FormEvent, useMemo, useState } from "react";
import { useLocation } from "wouter";
import { answered, api, Trouble } from "./api";
import { useLocale } from "./context";
import { Panel, Problem } from "./parts";
import { understand } from "./paste";
import { addressOf } from "./records";

const SHOWN = 20;

export function LookUp() {
  const { t } = useLocale();
  return (
    <>
      <h1>{t.lookUp}</h1>
      <div className="panels">
        <One />
        <Many />
      </div>
    </>
  );
}

function One() {
  const { t } = useLocale();
  const [, navigate] = useLocation();
  const show = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const given = new FormData(event.currentTarget);
    navigate(addressOf({ id: String(given.get("id")).trim(), phone: String(given.get("phone")).trim() }));
  };
  return (
    <Panel title={t.lookUpOne}>
      <form onSubmit={show} className="stack">
        <label>
          {t.id}
          <input name="id" required inputMode="numeric" pattern="\s*[0-9]{1,10}\s*" autoComplete="off" />
        </label>
        <label>
          {t.phone}
          <input name="phone" required autoComplete="off" />
        </label>
        <button className="primary">{t.show}</button>
      </form>
    </Panel>
  );
}

function Many() {
  const { t, number } = useLocale();
  const [, navigate] = useLocation();
  const [text, setText] = useState("");
  const [trouble, setTrouble] = useState<Trouble | null>(null);
  const { pairs, wrong } = useMemo(() => understand(text), [text]);
  const follow = async (event: FormEvent) => {
    event.preventDefault();
    try {
      const begun = await answered(api.POST("/v1/follows", { body: { items: pairs } }));
      navigate(`/follows/${begun.id}`);
    } catch (error) {
      setTrouble(error instanceof Trouble ? error : new Trouble({}));
    }
  };
  return (
    <Panel title={t.lookUpMany}>
      <form onSubmit={follow} className="stack">
        <label>
          {t.paste}
          <textarea rows={10} value={text} onChange={(event) => setText(event.target.value)} spellCheck={false} aria-describedby="paste-hint" />
        </label>
        <p className="note" id="paste-hint">
          {t.pasteHint}
        </p>
        <p role="status">
          {text.trim() ? `${number(pairs.length)} ${t.understood}` : t.nothingPasted}
        </p>
        {wrong.length > 0 && (
          <div className="warn">
            <p>{pairs.length ? t.errorsBelow : t.noneUnderstood}</p>
            <ul>
              {wrong.slice(0, SHOWN).map(({ line, why }) => (
                <li key={line}>
                  {t.line} {number(line)}: {t[why]}
                </li>
              ))}
              {wrong.length > SHOWN && <li>+ {number(wrong.length - SHOWN)}</li>}
            </ul>
          </div>
        )}
        {trouble && <Problem trouble={trouble} />}
        <button className="primary" disabled={!pairs.length}>
          {t.followAll}
        </button>
      </form>
    </Panel>
  );
}
