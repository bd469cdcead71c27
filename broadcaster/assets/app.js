// Which view is shown, and what ties it to the connection.

import { Connection } from "./connection.js";
import { overview } from "./overview.js";
import { plain } from "./plain.js";
import { Stream } from "./stream.js";
import { watch } from "./watch.js";

const TICK_MS = 500;
const ASK_EVERY_MS = 2000;
const ASK_SOON_MS = 100;

const main = document.getElementById("main");
const status = document.getElementById("connection");
// Where the page was loaded, and what it shows there without scripts.
const home = { path: location.pathname, markup: document.querySelector("noscript").textContent };
const scheme = location.protocol === "https:" ? "wss:" : "ws:";
const connection = new Connection(`${scheme}//${location.host}/live.ws`);
const house = { current: null };
// By name, in the server's order.
let streams = new Map();
let view = null;
let asking = null;

connection.addEventListener("state", ({ detail: { state, text } }) => {
  const isNews = status.dataset.state !== state;
  status.dataset.state = state;
  if (status.textContent !== text) status.textContent = text;
  if (state === "blocked" && isNews) showPlain();
  if (state !== "lost") return;
  for (const stream of streams.values()) stream.reset();
  view?.tick();
});

connection.addEventListener("notice", ({ detail: notice }) => {
  if (notice.type === "channels") takeHouse(notice);
  else if (notice.type === "subscribed") askSoon();
  else if (notice.type === "refused") streams.get(notice.channel)?.refuse(notice.text);
  else if (notice.type === "skipped") byNumber(notice.ch)?.skip(notice.count, notice.why);
});

connection.addEventListener("payload", ({ detail: payload }) => byNumber(payload.ch)?.take(payload));

// Who watches has changed; many channels are asked for at once.
function askSoon() {
  clearTimeout(asking);
  asking = setTimeout(ask, ASK_SOON_MS);
}

function ask() {
  if (!document.hidden) connection.send({ type: "channels" });
}

function byNumber(ch) {
  for (const stream of streams.values()) if (stream.room.ch === ch) return stream;
  return undefined;
}

function takeHouse(now) {
  house.current = now;
  const names = now.channels.map(({ channel }) => channel);
  const isSame = names.join() === [...streams.keys()].join();
  if (isSame && !view?.isPlain) {
    for (const room of now.channels) streams.get(room.channel).room = room;
  } else {
    view?.close();
    streams = new Map(now.channels.map((room) => [room.channel, newStream(room)]));
    show();
  }
  for (const stream of streams.values()) stream.update();
}

function newStream(room) {
  const stream = new Stream(connection, room);
  stream.onChange = () => view?.tick();
  return stream;
}

// Shows what the address says: a channel, or all of them; the only one there is, if there is one.
function show() {
  view?.close();
  const [, name] = location.pathname.match(/^\/watch\/([^/]+)$/) ?? [];
  const all = [...streams.values()];
  const isOnly = all.length === 1;
  const chosen = streams.get(name) ?? (isOnly ? all[0] : null);
  view = chosen ? watch(main, chosen, { house, connection, isOnly }) : overview(main, all);
  view.tick();
}

// Another place has its own page to show without a WebSocket.
function showPlain() {
  if (location.pathname !== home.path) {
    location.reload();
    return;
  }
  view?.close();
  view = plain(main, home.markup);
}

// Links within the page do not load it anew: the connection stays.
document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href]");
  const isPlain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey;
  if (!link || !isPlain || !streams.size || view?.isPlain) return;
  const { pathname, origin } = new URL(link.href);
  if (origin !== location.origin || !/^\/(watch\/[^/]+)?$/.test(pathname) || link.download) return;
  event.preventDefault();
  if (pathname !== location.pathname) history.pushState(null, "", pathname);
  show();
  scrollTo(0, 0);
  main.querySelector("h1")?.focus();
});
addEventListener("popstate", () => (view?.isPlain ? location.reload() : show()));

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) connection.hurry();
  for (const stream of streams.values()) stream.update();
});

setInterval(() => !document.hidden && view?.tick(), TICK_MS);
setInterval(ask, ASK_EVERY_MS);
connection.connect();
