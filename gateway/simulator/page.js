// The live part of the simulator's page: what it is asked, as it comes, and buttons that steer it.

const SHOWN = 15;
const EVERY = 2000;
const DAY = 24 * 3600 * 1000;

const element = (name, text, attributes = {}) => {
  const made = document.createElement(name);
  made.textContent = text;
  Object.assign(made, attributes);
  return made;
};

const said = document.querySelector("#said");

async function post(path, body, words) {
  const answer = await fetch(`control/${path}`, {
    method: body === null ? "DELETE" : "POST",
    headers: body === null ? {} : { "content-type": "application/json" },
    body: body === null ? undefined : JSON.stringify(body),
  });
  said.textContent = answer.ok ? words : ((await answer.json()).detail ?? answer.statusText);
  await show();
}

/** A new message, whose life ends as is wanted. */
function send(status, err) {
  const id = 600000 + Math.floor((Date.now() % DAY) / 100);
  const message = { id, phone: "79990000600", status: -1, timeline: [{ after: 5, status: 0 }, { after: 15, status, err }] };
  return post("messages", message, `Message ${id} to 79990000600 is on its way.`);
}

const STEERING = {
  delivered: () => send(1, 0),
  failed: () => send(20, 6),
  limits: () => post("fault", { kind: "error", value: 9, times: 3 }, "The next 3 answers are error 9."),
  blocked: () => post("fault", { kind: "error", value: 4, times: 10 }, "The next 10 answers are error 4: the address is blocked."),
  broken: () => post("fault", { kind: "status", value: 502, times: 5 }, "The next 5 answers are HTTP 502."),
  slow: () => post("latency", { seconds: 2 }, "Each answer takes 2 seconds."),
  fast: () => post("latency", { seconds: 0 }, "Answers come at once."),
  push: () => post("push", { id: 1, phone: "79990000001" }, "The status of message 1 was pushed."),
  well: () => post("fault", null, "Nothing goes wrong any more."),
  reset: () => post("reset", {}, "All is as it was at the start."),
};
for (const [name, steer] of Object.entries(STEERING)) {
  document.querySelector(`[data-steer=${name}]`).addEventListener("click", steer);
}

async function show() {
  if (document.hidden) return;
  const [log, stats] = await Promise.all(["log", "stats"].map(async (name) => (await fetch(`control/${name}`)).json()));
  const { requests, mass, breaches, highestConcurrency } = stats;
  document.querySelector("#counts").textContent =
    `${requests} requests, ${mass} of them mass; ${breaches} over the limits; at most ${highestConcurrency} at the same time.`;
  const rows = log.slice(-SHOWN).reverse().map((one) => {
    const row = document.createElement("tr");
    const kind = one.mass === undefined ? "" : one.mass ? "mass" : "single";
    for (const cell of [one.at.slice(11, 19), one.call, kind, one.pairs ?? "", one.outcome]) {
      row.append(element("td", String(cell)));
    }
    return row;
  });
  document.querySelector("#asked").replaceChildren(...rows);
  document.querySelector("#nothing").hidden = rows.length > 0;
}

void show();
setInterval(() => void show().catch(() => (said.textContent = "The simulator does not answer.")), EVERY);
