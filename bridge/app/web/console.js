"use strict";
// The console's page. It is pushed a few texts a second and redraws at most once a frame, only what changed.
// Whatever came from outside is put in as text, never as markup.

const $ = (id) => document.getElementById(id);
const MOST_EVENTS = 100, STALE_MS = 7000, FIRST_WAIT_MS = 500, LONGEST_WAIT_MS = 15000, RATE_WINDOW_MS = 5000;
const channels = new Map();      // name -> what the bridge told
const rows = new Map();          // name -> its elements in the table
const dirty = new Set();
let latest = { missing: {}, outbox: { rows: 0, bytes: 0, oldest_at: null }, backlog: {} };
let fresh = [], seen = [], skew = 0, hasPicture = false, isPaused = false, isScheduled = false;
let shown = "", history = { channel: "", events: [], hasMore: false };

// --- words ---------------------------------------------------------------------------------------------------

const now = () => Date.now() / 1000 + skew;
const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString([], { hour12: false });

function inAe(aettos) {
  // Exact: the digits are moved, no number is made of them.
  const sign = aettos.startsWith("-") ? "-" : "", digits = aettos.replace("-", "").padStart(19, "0");
  const whole = digits.slice(0, -18).replace(/\B(?=(\d{3})+$)/g, "\u202f"), part = digits.slice(-18).replace(/0+$/, "");
  if (part.length > 6 && whole === "0" && /^0{6}/.test(part)) return `${sign}<0.000001 AE`;
  return `${sign}${whole}${part ? "." + part.slice(0, 6) : ""}${part.length > 6 ? "…" : ""} AE`;
}

function duration(seconds) {
  const s = Math.max(0, Math.round(seconds));
  return s < 90 ? `${s} s` : s < 5400 ? `${Math.floor(s / 60)} min ${s % 60} s` : `${Math.floor(s / 3600)} h ${Math.floor(s % 3600 / 60)} min`;
}

function bytes(count) {
  return count < 1024 ? `${count} B` : count < 1048576 ? `${(count / 1024).toFixed(0)} KiB` : `${(count / 1048576).toFixed(1)} MiB`;
}

function stateOf(channel) {
  if (channel.is_halted) return ["halted", "bad"];
  if (channel.phase === "lost") return ["lost", "bad"];
  if (channel.command && channel.command.stage === "in_doubt") return ["in doubt", "bad"];
  if (channel.is_ready) return ["ready", "good"];
  if (channel.phase === "closed") return ["closed", ""];
  if (channel.attachment === "down") return ["no link", "wait"];
  if (channel.peer_is_away) return ["peer away", "wait"];
  return [channel.phase === "open" ? channel.attachment : channel.phase, "wait"];
}

function doingOf(channel) {
  const words = [];
  if (channel.command) {
    const { kind, stage, doubt, waits_for_approval } = channel.command;
    words.push(`${kind}: ${waits_for_approval ? "waits for approval" : stage.replaceAll("_", " ")}${doubt ? ` (${doubt})` : ""}`);
  }
  for (const one of channel.parked) words.push(`${one.kind} set aside`);
  if (channel.exposures) words.push(`${channel.exposures} exposed`);
  const waiting = latest.backlog[channel.name];
  if (waiting) words.push(`${waiting} waiting`);
  return words.join(" · ");
}

const isInTrouble = (channel) => !["good", ""].includes(stateOf(channel)[1]) || channel.exposures > 0;

// --- small pieces --------------------------------------------------------------------------------------------

function put(element, text) { if (element.textContent !== text) element.textContent = text; }

function make(name, text, attributes = {}) {
  const element = document.createElement(name);
  if (text !== undefined) element.textContent = text;
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

function amount(aettos) {
  if (aettos === null || aettos === undefined) return make("span", "–");
  const button = make("button", inAe(aettos), { type: "button", class: "amount" });
  label(button, aettos);
  return button;
}

function label(button, aettos) {
  button.dataset.aettos = aettos;
  button.title = `${aettos} aettos`;
  button.setAttribute("aria-label", `${inAe(aettos)}, ${aettos} aettos`);
}

function putAmount(cell, aettos) {
  const held = cell.firstChild;
  if (held && held.dataset && held.dataset.aettos === String(aettos)) return;
  if (!held || !held.dataset.aettos || aettos === null) { cell.replaceChildren(amount(aettos)); return; }
  label(held, aettos);
  held.textContent = inAe(aettos);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button.amount");
  if (button) button.textContent = button.textContent.endsWith("aettos") ? inAe(button.dataset.aettos) : `${button.dataset.aettos} aettos`;
});

function story(event) {
  return Object.entries(event.data).map(([key, value]) => {
    const isAmount = (key === "amount" || key === "own_change") && /^-?\d+$/.test(String(value));
    return `${key.replaceAll("_", " ")} ${isAmount ? inAe(String(value)) : typeof value === "object" ? JSON.stringify(value) : value}`;
  }).join(" · ").slice(0, 240);
}

function eventItem(event, withChannel) {
  const item = make("li"), name = make("b");
  if (/^(alarm|error)\./.test(event.name) || /failed|in_doubt|denied/.test(event.name)) item.dataset.tone = "bad";
  item.append(make("time", clock(event.at), { datetime: new Date(event.at * 1000).toISOString() }));
  if (withChannel) name.append(make("a", event.channel, { href: `#/channel/${encodeURIComponent(event.channel)}` }), " ");
  name.append(withChannel ? event.name : `${event.seq}  ${event.name}`);
  item.append(name);
  const told = story(event);
  if (told) item.append(make("span", told));
  return item;
}

// --- drawing -------------------------------------------------------------------------------------------------

function schedule() {
  if (isScheduled) return;
  isScheduled = true;
  requestAnimationFrame(() => { isScheduled = false; draw(); });
}

function draw() {
  if (!hasPicture) return;
  if (shown) drawDetail(); else drawOverview();
  drawAlert();
}

function drawOverview() {
  const body = $("channels").tBodies[0];
  for (const name of dirty) {
    const channel = channels.get(name);
    let row = rows.get(name);
    if (!channel) { if (row) { row.remove(); rows.delete(name); } continue; }
    if (!row) { row = $("t-row").content.firstElementChild.cloneNode(true); rows.set(name, row); insert(body, row, name); }
    drawRow(row, channel);
  }
  dirty.clear();
  drawTotals();
  drawRequests();
  drawEvents();
}

function insert(body, row, name) {
  row.dataset.name = name;
  let before = null;
  for (const other of body.children) if (other.dataset.name > name) { before = other; break; }
  body.insertBefore(row, before);
}

function drawRow(row, channel) {
  const [word, tone] = stateOf(channel), [name, state, round, own, peer, doing] = row.children;
  put(name.firstChild, channel.name);
  name.firstChild.href = `#/channel/${encodeURIComponent(channel.name)}`;
  put(name.lastChild, `${channel.role} · ${channel.node}`);
  put(state.firstChild, word);
  if (state.firstChild.dataset.tone !== tone) state.firstChild.dataset.tone = tone;
  put(round, channel.round.toLocaleString("en").replaceAll(",", "\u202f"));
  putAmount(own, channel.own_balance);
  putAmount(peer, channel.peer_balance);
  put(doing, doingOf(channel));
  row.hidden = !isWanted(channel, word);
}

function isWanted(channel, word) {
  if ($("trouble").checked && !isInTrouble(channel)) return false;
  const text = $("find").value.trim().toLowerCase();
  return !text || [channel.name, channel.own, channel.peer, channel.channel_id || "", channel.node, word].some((one) => one.toLowerCase().includes(text));
}

function drawTotals() {
  const all = [...channels.values()], waiting = Object.values(latest.backlog).reduce((sum, one) => sum + one, 0);
  const doubts = all.filter((one) => one.command && one.command.stage === "in_doubt" || one.parked.length).length;
  const age = latest.outbox.oldest_at === null ? 0 : now() - latest.outbox.oldest_at;
  put($("t-ready"), `${all.filter((one) => one.is_ready).length} / ${all.length}`);
  put($("t-requests"), String(all.filter((one) => one.request && one.request.is_asked).length));
  put($("t-doubt"), String(doubts));
  $("t-doubt").dataset.tone = doubts ? "bad" : "";
  put($("t-backlog"), String(waiting));
  put($("t-outbox"), latest.outbox.rows ? `${latest.outbox.rows} · ${bytes(latest.outbox.bytes)}` : "0");
  $("t-outbox").dataset.tone = age > 60 ? "bad" : age > 10 ? "wait" : "";
  $("t-outbox").title = age > 1 ? `the oldest waits for ${duration(age)}` : "";
  const since = Date.now() - RATE_WINDOW_MS;
  seen = seen.filter(([at]) => at >= since);
  put($("t-rate"), (seen.reduce((sum, [, count]) => sum + count, 0) / (RATE_WINDOW_MS / 1000)).toFixed(0));
  const visible = [...rows.values()].some((row) => !row.hidden);
  $("channels").hidden = !visible;
  $("channels-none").hidden = visible;
  put($("channels-none"), channels.size ? "No channel is like that." : "No channel is configured.");
}

const cards = new Map();

function drawRequests() {
  const open = [...channels.values()].filter((one) => one.request).sort((a, b) => a.request.deadline - b.request.deadline).slice(0, 60);
  const wanted = new Set(open.map((one) => one.request.sign_request_id));
  for (const [id, card] of cards) if (!wanted.has(id)) { card.remove(); cards.delete(id); }
  open.forEach(({ name, request }) => {
    let card = cards.get(request.sign_request_id);
    if (!card) {
      card = make("li");
      card.append(make("a", name, { href: `#/channel/${encodeURIComponent(name)}` }), make("span", "", { class: "clock" }),
        make("small"), make("progress", undefined, { max: "1", "aria-label": "time left" }));
      cards.set(request.sign_request_id, card);
      $("requests").append(card);
    }
    const left = request.deadline - now(), share = left / (request.deadline - request.opened_at);
    const tone = share < 0.2 ? "bad" : share < 0.5 ? "wait" : "";
    put(card.children[1], left > 0 ? duration(left) : "over");
    put(card.children[2], `${request.tag.replaceAll("_", " ")} · ${request.cause.replaceAll("_", " ")}${request.is_asked ? "" : " · waits for approval"}`);
    card.children[3].value = Math.max(0, share);
    if (card.dataset.tone !== tone) card.dataset.tone = tone;
  });
  $("requests-none").hidden = open.length > 0;
  $("requests").hidden = open.length === 0;
}

function drawEvents() {
  const list = $("events");
  if (!isPaused && fresh.length) {
    const items = fresh.slice(-MOST_EVENTS).map((event) => eventItem(event, true)).reverse();
    list.prepend(...items);
    while (list.children.length > MOST_EVENTS) list.lastChild.remove();
    fresh = [];
  }
  $("events-none").hidden = list.children.length > 0;
}

function drawAlert() {
  const missing = Object.entries(latest.missing);
  $("alert").hidden = missing.length === 0;
  put($("alert"), missing.length ? `Not ready. ${missing.map(([part, why]) => `${part}: ${why}`).join("; ")}.` : "");
}

// --- a channel's own page ------------------------------------------------------------------------------------

function drawDetail() {
  const channel = channels.get(shown);
  put($("d-name"), shown);
  if (!channel) { $("d-facts").replaceChildren(); delete $("d-facts").dataset.text; put($("d-note"), "There is no such channel."); return; }
  const [word, tone] = stateOf(channel), state = make("span", word, { class: "state", "data-tone": tone });
  const request = channel.request;
  const facts = [
    ["state", state], ["round", String(channel.round)], ["role", `${channel.role}, ${channel.dialect}`], ["node", channel.node],
    ["own balance", amount(channel.own_balance)], ["peer's balance", amount(channel.peer_balance)],
    ["doing", doingOf(channel) || "nothing"], ["command", channel.command ? channel.command.command_id : "none"],
    ["sign request", request ? `${request.tag}, ${duration(request.deadline - now())} left` : "none"],
    ["channel id", channel.channel_id || "not yet"], ["own account", channel.own], ["peer's account", channel.peer],
  ];
  const text = JSON.stringify(facts.map(([key, value]) => [key, value.outerHTML || value]));
  if ($("d-facts").dataset.text === text) return;
  $("d-facts").dataset.text = text;
  $("d-facts").replaceChildren(...facts.map(([key, value]) => {
    const pair = make("div"), told = make("dd");
    told.append(value);
    pair.append(make("dt", key), told);
    return pair;
  }));
}

async function loadHistory(older) {
  const channel = shown, last = history.events.at(-1);
  const path = `/history/${encodeURIComponent(channel)}${older && last ? `@${last.seq}` : ""}`;
  put($("d-note"), "Loading…");
  try {
    const answer = await fetch(path, { cache: "no-store" });
    if (!answer.ok) throw new Error(answer.status === 404 ? "there is no such channel" : `the bridge answered ${answer.status}`);
    const told = await answer.json();
    if (channel !== shown) return;
    history.events.push(...told.events);
    history.hasMore = told.has_more;
    $("d-history").append(...told.events.map((event) => eventItem(event, false)));
    put($("d-note"), history.events.length ? "" : "Nothing has happened on this channel yet, or it is past the retention.");
    $("d-more").hidden = !history.hasMore;
  } catch (error) {
    if (channel !== shown) return;
    put($("d-note"), `The history could not be loaded: ${error.message}.`);
    $("d-more").hidden = false;
    put($("d-more"), older || history.events.length ? "Older events" : "Try again");
  }
}

function noteLive(told) {
  // A channel's page grows at its top while one looks at it.
  const newest = history.events.length ? history.events[0].seq : 0;
  for (const event of told) {
    if (event.channel !== shown || event.seq <= newest || !history.events.length) continue;
    history.events.unshift(event);
    $("d-history").prepend(eventItem(event, false));
  }
}

function route() {
  const found = /^#\/channel\/(.+)$/.exec(location.hash), before = shown;
  shown = found ? decodeURIComponent(found[1]) : "";
  $("overview").hidden = Boolean(shown);
  $("detail").hidden = !shown;
  document.title = shown ? `${shown} – channel bridge` : "channel bridge";
  if (shown && shown !== before) {
    history = { channel: shown, events: [], hasMore: false };
    $("d-history").replaceChildren();
    $("d-more").hidden = true;
    put($("d-more"), "Older events");
    loadHistory(false);
    window.scrollTo(0, 0);
    $("d-name").focus({ preventScroll: true });
  }
  schedule();
}

// --- the wire ------------------------------------------------------------------------------------------------

let wait = FIRST_WAIT_MS, heard = 0, socket = null;

function say(state, text) { $("connection").dataset.state = state; put($("connection"), text); }

function take(told) {
  skew = told.at - Date.now() / 1000;
  latest = { missing: told.missing, outbox: told.outbox, backlog: told.backlog };
  if (told.kind === "whole") {
    for (const name of channels.keys()) dirty.add(name);
    channels.clear();
    fresh = told.events;
    $("events").replaceChildren();
    hasPicture = true;
  } else {
    fresh.push(...told.events);
    seen.push([Date.now(), told.events.length + told.skipped]);
    noteLive(told.events);
  }
  fresh = fresh.slice(-MOST_EVENTS);
  for (const channel of told.channels) { channels.set(channel.name, channel); dirty.add(channel.name); }
  for (const name of Object.keys(told.backlog)) dirty.add(name);
  schedule();
}

function connect() {
  socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/live`);
  socket.onmessage = (message) => { heard = Date.now(); wait = FIRST_WAIT_MS; say("live", "live"); take(JSON.parse(message.data)); };
  socket.onclose = () => {
    say("lost", hasPicture ? "disconnected: what you see is old" : "the bridge does not answer");
    if (!hasPicture) put($("channels-none"), "The bridge does not answer. Trying again…");
    setTimeout(connect, wait);
    wait = Math.min(LONGEST_WAIT_MS, wait * 2);
  };
}

setInterval(() => {
  if (socket && socket.readyState === WebSocket.OPEN && heard && Date.now() - heard > STALE_MS) socket.close();
  schedule();
}, 1000);

for (const id of ["find", "trouble"]) $(id).addEventListener("input", () => { for (const name of channels.keys()) dirty.add(name); schedule(); });
$("pause").addEventListener("click", () => {
  isPaused = !isPaused;
  $("pause").setAttribute("aria-pressed", String(isPaused));
  put($("pause"), isPaused ? "Go on" : "Pause");
  schedule();
});
$("d-more").addEventListener("click", () => loadHistory(true));
window.addEventListener("hashchange", route);
route();
connect();
