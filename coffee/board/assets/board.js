"use strict";
// The script of the order board. The server sends what has changed, and the script
// shows it. Text from outside is only ever set as text.

const $ = (id) => document.getElementById(id);
const orders = new Map(); // by id: {data, row}
let clock = 0; // what to add to our clock to get the server's

const make = (tag, className, text) => {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text) element.textContent = text;
  return element;
};
const setText = (element, text) => { if (element.textContent !== text) element.textContent = text; };
const duration = (ms) => {
  const s = Math.max(0, ms) / 1000;
  if (s < 60) return s.toFixed(1) + " s";
  if (s < 3600) return Math.floor(s / 60) + " min";
  return Math.floor(s / 3600) + " h";
};
const now = () => Date.now() + clock;

// toOrder turns an order as the program's JSON has it into what is shown here. Times are in
// milliseconds since 1970; 0 means never.
const time = (text) => (text ? Date.parse(text) : 0);
const toOrder = (view) => ({
  ...view,
  id: view.order_id,
  price: view.amount_cents ? "$" + (view.amount_cents / 100).toFixed(2) : "",
  stuck: view.unreadable || view.workflow_task_failure,
  retry_at: time(view.next_attempt_at),
  started_at: time(view.started_at),
  ended_at: time(view.ended_at),
});

// Stages.

const steps = ["CHARGING", "BREWING", "SENDING_RECEIPT"];
const words = { ACCEPTED: "accepted", CHARGING: "charging", BREWING: "brewing", SENDING_RECEIPT: "sending the receipt", REFUNDING: "refunding" };
const over = (order) => order.ended_at > 0;
const retrying = (order) => !over(order) && order.retry_at > now();

const state = (order) => {
  if (over(order)) return (order.status || "failed").toLowerCase();
  let text = words[order.stage] || "under way";
  if (order.paused) return text + ", paused " + order.paused; // coffee status says it in the same words
  if (order.stuck) return text + ", its worker cannot go on: " + order.stuck;
  if (retrying(order)) { // coffee status says it in the same words
    text += ", next attempt in " + duration(order.retry_at - now());
    return order.last_failure ? text + ": " + order.last_failure : text;
  }
  if (order.stage === "BREWING" && order.brew_attempts > 1) text += ", attempt " + order.brew_attempts;
  return text;
};

const barClass = (order, i) => {
  if (over(order) && order.status === "COMPLETED") return "done";
  if (over(order) || order.stage === "REFUNDING") return i <= steps.indexOf(order.reached) ? "undone" : "";
  const at = steps.indexOf(order.stage);
  if (i < at) return "done";
  if (i === at) return retrying(order) || order.stuck || order.paused ? "stuck" : "now";
  return "";
};

// Rows.

const makeRow = (order) => {
  const row = make("li", "order");
  const what = make("div", "what");
  row.title_ = make("strong");
  row.id_ = make("span", "id");
  what.append(row.title_, row.id_);
  const progress = make("div", "progress");
  row.stage_ = make("span", "stage");
  row.age_ = make("span", "dim");
  const bars = make("div", "steps");
  bars.setAttribute("aria-hidden", "true");
  row.bars_ = steps.map(() => bars.appendChild(make("i")));
  progress.append(row.stage_, " ", row.age_, bars);
  const doing = make("div", "doing");
  row.cancel_ = make("button", "", "Cancel");
  row.timeline_ = make("button", "", "Timeline");
  row.cancel_.type = row.timeline_.type = "button";
  row.cancel_.addEventListener("click", () => cancel(order.id, row.cancel_));
  row.timeline_.addEventListener("click", () => showTimeline(order.id));
  doing.append(row.cancel_, row.timeline_);
  row.append(what, progress, doing);
  return row;
};

const paint = ({ data, row }) => {
  const title = (data.drink || "?") + (data.size ? " (" + data.size + ")" : "");
  setText(row.title_, title);
  setText(row.id_, data.id + (data.price ? ", " + data.price : ""));
  row.className = "order " + (over(data) ? (data.status || "FAILED").toLowerCase() : retrying(data) ? "retrying" : "");
  row.bars_.forEach((bar, i) => { bar.className = barClass(data, i); });
  row.cancel_.setAttribute("aria-label", "Cancel order " + data.id);
  row.timeline_.setAttribute("aria-label", "Timeline of order " + data.id);
  row.cancel_.hidden = over(data);
  row.cancel_.disabled = data.stage === "SENDING_RECEIPT" || data.stage === "REFUNDING";
  tick({ data, row });
};

// tick updates what changes only with time.
const tick = ({ data, row }) => {
  setText(row.stage_, state(data));
  setText(row.age_, duration((over(data) ? data.ended_at : now()) - data.started_at));
};

// place puts a row where it belongs: newest first.
const place = (entry, list) => {
  const key = (e) => (over(e.data) ? e.data.ended_at : e.data.started_at);
  let before = list.firstElementChild;
  while (before && (before === entry.row || key(before.entry_) > key(entry))) before = before.nextElementSibling;
  if (entry.row.parentNode !== list || entry.row.nextElementSibling !== before) list.insertBefore(entry.row, before);
};

const show = (data) => {
  let entry = orders.get(data.id);
  const wasOver = entry && over(entry.data);
  if (!entry) {
    entry = { data, row: makeRow(data) };
    entry.row.entry_ = entry;
    orders.set(data.id, entry);
  }
  entry.data = data;
  paint(entry);
  if (!over(data)) {
    place(entry, $("running"));
  } else if (!entry.row.parentNode || wasOver) {
    place(entry, $("ended"));
  } else if (!entry.folding) {
    // Keep it for a moment to show how it ended, unless the list is crowded.
    entry.folding = setTimeout(() => {
      entry.folding = 0;
      if (orders.get(data.id) !== entry) return;
      const focused = entry.row.contains(document.activeElement);
      place(entry, $("ended"));
      if (focused && !$("finished").open) $("running-title").focus();
      count();
    }, $("running").childElementCount > 50 ? 0 : 4000);
  }
};

const forget = (id) => {
  const entry = orders.get(id);
  if (!entry) return;
  clearTimeout(entry.folding);
  entry.row.remove();
  orders.delete(id);
};

// Counters.

let totals = { running: 0, over: 0 }; // of all orders, shown or not

const there = (all, shown) => (all > shown ? all + ", " + shown + " of them here" : String(shown));

const count = () => {
  const n = { CHARGING: 0, BREWING: 0, SENDING_RECEIPT: 0 };
  let running = 0, stuck = 0;
  for (const { data } of orders.values()) {
    if (over(data)) continue;
    running++;
    if (retrying(data)) stuck++;
    else if (data.stage in n) n[data.stage]++;
  }
  setText($("n-running"), there(totals.running, running));
  setText($("n-ended"), there(totals.over, orders.size - running));
  setText($("n-charging"), String(n.CHARGING));
  setText($("n-brewing"), String(n.BREWING));
  setText($("n-retrying"), String(stuck));
  setText($("n-receipt"), String(n.SENDING_RECEIPT));
  $("none").hidden = running > 0;
};

const svg = "http://www.w3.org/2000/svg";
const bars = Array.from({ length: 60 }, (_, i) => {
  const bar = document.createElementNS(svg, "rect");
  bar.setAttribute("x", i + 0.1);
  bar.setAttribute("width", 0.8);
  $("chart").append(bar);
  return bar;
});

const chart = (ended) => {
  const top = Math.max(4, ...ended);
  ended.forEach((n, i) => {
    const height = (16 * n) / top;
    bars[i].setAttribute("y", 16 - height);
    bars[i].setAttribute("height", height);
  });
  // The last second is not over yet.
  const last = ended.slice(-11, -1);
  setText($("n-rate"), (last.reduce((a, b) => a + b, 0) / last.length).toFixed(1));
};

// News.

const problem = (text) => {
  setText($("problem"), text);
  $("problem").hidden = !text;
};

// why says why orders wait. That workers are busy is no reason to be alarmed.
const why = (news) => (news.waiting && news.diagnosis !== "busy" ? "Orders are waiting: " + news.waiting : "");

let known = false; // whether the page has heard which orders there are

const take = (news) => {
  clock = news.now - Date.now();
  known = news.all ? news.known : known || news.known;
  $("link").className = news.problem || !known ? "" : "live";
  const live = news.diagnosis === "busy" ? "live, all workers are busy" : "live";
  setText($("link"), news.problem ? "no server" : known ? live : "connecting");
  problem(news.problem || why(news));
  totals = news;
  const changed = (news.orders || []).map(toOrder);
  if (news.all) {
    const there = new Set(changed.map((order) => order.id));
    for (const id of [...orders.keys()]) if (!there.has(id)) forget(id);
  }
  changed.forEach(show);
  (news.gone || []).forEach(forget);
  if (!known) {
    for (const number of document.querySelectorAll("[id^=n-]")) setText(number, "–");
    $("none").hidden = true;
    return;
  }
  setText($("n-completed"), String(news.last_minute.COMPLETED || 0));
  setText($("n-cancelled"), String(news.last_minute.CANCELLED || 0));
  setText($("n-failed"), String(news.last_minute.FAILED || 0));
  chart(news.ended);
  count();
};

const listen = () => {
  const source = new EventSource("/news");
  source.addEventListener("message", (event) => take(JSON.parse(event.data)));
  source.addEventListener("error", () => {
    $("link").className = "";
    setText($("link"), "connecting");
    problem("The board is not responding. This page reconnects when it is back.");
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, 2000);
  });
};

setInterval(() => {
  for (const entry of orders.values()) if (!over(entry.data)) (entry.data.retry_at ? paint : tick)(entry);
}, 500);

// User actions.

const say = (text, wrong) => {
  $("said").className = wrong ? "wrong" : "";
  $("said").textContent = text;
};

const post = async (path, body) => {
  let response;
  try {
    response = await fetch(path, { method: "POST", headers: { Accept: "application/json" }, body: new URLSearchParams(body) });
  } catch {
    throw new Error("the board does not answer");
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.error || "the board answers " + response.status);
  return answer;
};

const form = $("order");
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("button");
  button.disabled = true;
  try {
    const placed = await post("/order", new FormData(form));
    say(placed.joined ? "Order " + placed.id + " had been placed before." : "Order " + placed.id + " is placed.");
    $("order_id").value = "";
  } catch (problem) {
    say(problem.message, true);
  }
  button.disabled = false;
  button.focus();
});

const prices = () => {
  const chosen = $("drink").selectedOptions[0];
  for (const price of document.querySelectorAll(".price")) price.textContent = chosen.dataset[price.dataset.size];
};
$("drink").addEventListener("change", prices);
prices();

const cancel = async (id, button) => {
  button.disabled = true;
  try {
    await post("/cancel", { id });
    say("Order " + id + " is asked to cancel.");
  } catch (problem) {
    say(problem.message, true);
    button.disabled = false;
  }
};

let drawn = 0;
const showTimeline = (id) => {
  const draw = () => {
    const entry = orders.get(id);
    $("picture").alt = "Timeline of order " + id + (entry ? ": " + state(entry.data) : "");
    $("picture").src = "/timeline.svg?id=" + encodeURIComponent(id) + "&at=" + Date.now();
    return entry && !over(entry.data);
  };
  clearInterval(drawn);
  if (draw()) drawn = setInterval(() => { if (!draw()) clearInterval(drawn); }, 1000);
  setText($("dialog-title"), "Order " + id);
  const ui = document.body.dataset.ui;
  $("ui").hidden = !ui;
  if (ui) $("ui").href = ui + "/" + encodeURIComponent(document.body.dataset.prefix + id);
  $("dialog").showModal();
};
$("dialog").addEventListener("close", () => clearInterval(drawn));

listen();
