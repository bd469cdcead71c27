// What goes on: asked for every second, as long as somebody looks.

import { Chart } from "./chart.js";
import * as words from "./words.js";

const EVERY_MS = 1000;
const PATIENCE_MS = 5000;
// Of more viewers those that fare worst are shown; on a phone each is a card, and the log is below them.
const MOST_VIEWERS = 50;
const MOST_CARDS = 12;
const isNarrow = matchMedia("(max-width: 40rem)");
const GOOD = ["well", "fewer", "new", "leaving", "live", "starting", "publishing"];
// Neither good nor bad: nobody watches, or nothing is watched.
const CALM = "idle";

const find = (id) => document.getElementById(id);
const connection = find("connection");
const figures = Object.fromEntries(
  [...document.querySelectorAll("[data-figure]")].map((cell) => [cell.dataset.figure, cell]),
);
const labels = [...document.querySelectorAll("#viewers th")].map((head) => head.textContent);
const cpu = new Chart(find("cpu-chart"), "CPU", (cores) => `${Math.round(100 * cores)} % of a core`, 0.1);
const memory = new Chart(find("memory-chart"), "Memory", words.bytes, 0);
const [sources, rows] = [new Map(), new Map()];
let before = null;
let asking = null;

async function get(path) {
  const answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.error);
  return body;
}

async function look() {
  asking = null;
  const begun = performance.now();
  try {
    const path = `/api/v1/viewers?order=worst&limit=${isNarrow.matches ? MOST_CARDS : MOST_VIEWERS}`;
    const [status, list] = await Promise.all([get("/api/v1/status"), get(path)]);
    show(status);
    showViewers(list);
    say("live", "Live");
  } catch (error) {
    before = null;
    const why = error instanceof TypeError || error.name === "TimeoutError" ? "No connection" : error.message;
    say("lost", `${why}. Trying again.`);
  }
  if (!document.hidden) asking ??= setTimeout(look, Math.max(0, EVERY_MS - (performance.now() - begun)));
}

function say(state, text) {
  connection.dataset.state = state;
  if (connection.textContent !== text) connection.textContent = text;
}

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function show(status) {
  put(figures.version, status.version);
  put(figures.uptime, words.span(status.uptime_s));
  put(figures.model, status.models.join(", "));
  put(figures.driver, status.driver);
  put(figures.viewers, String(status.viewers));
  const { frame_bytes, budget_bytes, rss_bytes } = status.memory;
  put(figures.frames, `${words.bytes(frame_bytes)} of ${words.bytes(budget_bytes)}`);
  if (before && status.uptime_s > before.uptime_s) {
    cpu.add((status.cpu.seconds - before.cpu.seconds) / (status.uptime_s - before.uptime_s));
  }
  if (rss_bytes !== null) memory.add(rss_bytes);
  before = status.uptime_s >= (before?.uptime_s ?? 0) ? status : null;
  for (const channel of status.channels) showSource(channel);
  const log = find("log");
  const isAtEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 4;
  put(log, status.log.join("\n") || "nothing yet");
  if (isAtEnd) log.scrollTop = log.scrollHeight;
}

// The server measures to the microsecond.
const age = (ms) => (ms < 1 ? "<1 ms" : words.age(ms));

function level(word) {
  if (word === CALM) return "calm";
  return GOOD.includes(word) ? "good" : "bad";
}

function showSource(channel) {
  const { source, exchange, drops } = channel;
  let card = sources.get(channel.name);
  if (!card) {
    card = find("source-template").content.cloneNode(true).firstElementChild;
    sources.set(channel.name, card);
    find("sources").append(card);
    const name = card.querySelector(".name");
    name.textContent = channel.name;
    name.href = `/watch/${channel.name}`;
  }
  const [state, trouble] = [card.querySelector(".state"), card.querySelector(".trouble")];
  put(state, source.state);
  state.dataset.level = level(source.state);
  const isClosed = source.state === CALM;
  // Before anything was opened: what it will be.
  put(card.querySelector(".what"), source.description || source.name);
  put(trouble, source.trouble ?? "");
  trouble.hidden = !source.trouble;
  const told = [
    ["Rate", isClosed ? "–" : words.rate(channel.fps, channel.wanted_fps)],
    ["Bitrate", isClosed ? "–" : words.bitrate(channel.bitrate_bps)],
    ["Picture", channel.size ? `${channel.size.join(" × ")} ${channel.format}` : channel.format],
    ["Frames", String(channel.frames)],
    ["Dropped", String(drops.damaged + drops.overtaken)],
    ["Reconnects", String(source.reconnects)],
    ["Viewers", String(channel.viewers)],
    ["History", channel.history_s ? `${channel.history_s.toFixed(0)} s` : "none"],
  ];
  const hold = source.on_demand_s;
  if (hold !== null) told.push(["On demand", hold ? `kept ${words.span(hold)}` : "closed at once"]);
  if (exchange) told.push(["Exchange", exchangeTold(exchange)]);
  fill(card.querySelector("dl"), told);
}

function exchangeTold(exchange) {
  const { p50, p99 } = exchange.publish_ms;
  const took = p50 === null ? "" : `, taken in ${age(p50)}, 99 % in ${age(p99)}`;
  const where = exchange.broker ? ` to ${exchange.broker}` : "";
  const why = exchange.reason ? ` (${exchange.reason})` : "";
  const counts = `${exchange.published} confirmed, ${exchange.dropped} dropped, ${exchange.reconnects} reconnects`;
  return `${exchange.name}: ${exchange.state}${where}${why}; ${counts}${took}`;
}

function fill(list, pairs) {
  while (list.children.length > pairs.length) list.lastElementChild.remove();
  pairs.forEach(([name, value], place) => {
    if (!list.children[place]) {
      const pair = document.createElement("div");
      pair.append(document.createElement("dt"), document.createElement("dd"));
      list.append(pair);
    }
    const pair = list.children[place];
    pair.classList.toggle("wide", name === "Exchange");
    put(pair.firstElementChild, name);
    put(pair.lastElementChild, value);
  });
}

function showViewers({ viewers, count }) {
  const several = count > viewers.length ? `The ${viewers.length} of ${count} that fare worst` : `${count}`;
  put(find("viewers-note"), count ? `${several}, worst first. Figures are of the last seconds.` : "Nobody watches.");
  find("viewers").hidden = !count;
  const there = new Set(viewers.map(({ id }) => id));
  for (const [id, row] of rows) {
    if (there.has(id)) continue;
    row.remove();
    rows.delete(id);
  }
  const body = document.querySelector("#viewers tbody");
  viewers.forEach((viewer, place) => {
    if (!rows.has(viewer.id)) rows.set(viewer.id, newRow());
    const row = rows.get(viewer.id);
    if (body.children[place] !== row) body.insertBefore(row, body.children[place] ?? null);
    showViewer(row, viewer);
  });
}

function newRow() {
  const row = document.createElement("tr");
  row.setAttribute("role", "row");
  for (const label of labels) {
    const cell = document.createElement("td");
    cell.setAttribute("role", "cell");
    cell.dataset.label = label;
    row.append(cell);
  }
  const verdict = document.createElement("span");
  verdict.className = "verdict";
  row.firstElementChild.append(verdict);
  return row;
}

function showViewer(row, viewer) {
  const { lately, connection: line, verdict } = viewer;
  row.dataset.id = viewer.id;
  const [first, ...rest] = row.children;
  put(first.firstElementChild, verdict.text);
  first.firstElementChild.dataset.level = level(verdict.kind);
  const skipped = lately.payloads.skipped_for;
  const told = [
    `${viewer.address} ${viewer.protocol}`,
    viewer.channels.map(({ name }) => name).join(", ") || "–",
    words.rate(lately.rate, lately.needs_rate),
    words.bitrate(lately.bitrate_bps),
    lately.age_ms ? `${age(lately.age_ms.p50)} / ${age(lately.age_ms.p99)}` : "–",
    words.skipped(skipped, "its machine"),
    line ? words.bytes(line.unsent_bytes) : "–",
    line ? words.trip(line.round_trip_ms) : "–",
    words.span(viewer.connected_s),
  ];
  told.forEach((text, place) => put(rest[place], text));
}

document.addEventListener("visibilitychange", () => {
  clearTimeout(asking);
  asking = null;
  // What happened meanwhile is no figure of a second.
  before = null;
  if (!document.hidden) look();
});
look();
