// Webhooks: the addresses that are told of changes, and how each is doing.

import { answered, api, type Schemas, useLoaded } from "./api";
import { useLocale } from "./context";
import { Facts, Loading, Panel, Problem } from "./parts";

export function Webhooks() {
  const { t } = useLocale();
  const all = useLoaded("webhooks", (signal) => answered(api.GET("/v1/webhooks", { signal })), 5);
  return (
    <>
      <h1>{t.webhooks}</h1>
      {all.trouble && <Problem trouble={all.trouble} reload={all.reload} />}
      {!all.data && !all.trouble && <Loading />}
      {all.data?.webhooks.length === 0 && <p className="empty">{t.noWebhooks}</p>}
      <div className="panels">
        {all.data?.webhooks.map((one) => (
          <Webhook key={one.name} webhook={one} />
        ))}
      </div>
    </>
  );
}

function Webhook({ webhook }: { webhook: Schemas["WebhookReport"] }) {
  const { t, number, time } = useLocale();
  const words = { ACTIVE: t.active, FAILING: t.failing, OFF: t.off }[webhook.state];
  const tone = { ACTIVE: "good", FAILING: "open", OFF: "bad" }[webhook.state];
  return (
    <Panel title={webhook.name}>
      <p>
        <span className={`state ${tone}`}>{words}</span>
      </p>
      {webhook.state === "OFF" && (
        <p className="warn">
          {t.offHint} {webhook.name}
        </p>
      )}
      <Facts
        facts={[
          [t.client, webhook.client],
          [t.address, webhook.url],
          [t.lag, number(webhook.lag) + (webhook.oldestUndelivered ? `, ${t.oldest} ${time(webhook.oldestUndelivered)}` : "")],
          [t.lastSuccess, webhook.lastSuccess ? time(webhook.lastSuccess) : t.never],
          [t.lastError, webhook.lastError ? `${webhook.lastError.reason}, ${time(webhook.lastError.at)}` : t.never],
          [t.givenUp, number(webhook.givenUp)],
        ]}
      />
    </Panel>
  );
}
