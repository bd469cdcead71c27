// One channel, large: hold it, save it, look back, fill the screen.

import * as words from "./words.js";

// Pictures a second while the past is played; each is a request of its own.
const REPLAY_EVERY_MS = 66;

export function watch(main, stream, { house, connection, isOnly }) {
  const page = document.getElementById("watch-template").content.cloneNode(true);
  const find = (selector) => page.querySelector(selector);
  const [stage, canvas, badge] = [find(".stage"), find("canvas"), find(".badge")];
  const [pause, replay, slider, output, full] = [".pause", ".replay", "input", "output", ".full"].map(find);
  const figures = Object.fromEntries(
    [...page.querySelectorAll("[data-figure]")].map((cell) => [cell.dataset.figure, cell]),
  );
  find(".name").textContent = stream.name;
  find(".back").hidden = isOnly;
  find(".snapshot").onclick = save;
  pause.onclick = () => hold(!isHeld);
  slider.oninput = () => lookBack(Number(slider.value));
  full.onclick = fill;
  full.hidden = !document.fullscreenEnabled;
  canvas.setAttribute("aria-label", `Live picture of ${stream.name}`);
  pause.setAttribute("aria-pressed", "false");
  main.replaceChildren(page);
  document.title = `${stream.name} – Framecast`;

  let isHeld = false;
  // Seconds behind live, at most 0; and when the picture was held, by the server's clock.
  let behind = 0;
  let heldAt = null;
  let isClosed = false;
  let playing = null;
  let trouble = "";
  stream.isShown = true;
  stream.attach(canvas);
  addEventListener("keydown", onKey);

  function hold(isToBe) {
    isHeld = isToBe;
    heldAt = isHeld ? connection.now() : null;
    pause.setAttribute("aria-pressed", String(isHeld));
    pause.querySelector("span").textContent = isHeld ? "Resume" : "Pause";
    settle();
  }

  function lookBack(seconds) {
    behind = seconds;
    trouble = "";
    settle();
  }

  // Makes what is shown what is wanted.
  function settle() {
    stream.pause(isHeld || behind < 0);
    const text = behind < 0 ? `${behind.toFixed(1).replace("-", "−")} s` : isHeld ? "held" : "live";
    output.textContent = text;
    slider.setAttribute("aria-valuetext", text);
    if (behind < 0) playing ??= play();
    tick();
  }

  // Shows the past until live again; one request at a time.
  async function play() {
    let shown = null;
    while (behind < 0 && !isClosed) {
      const begun = performance.now();
      const wanted = `${behind}/${heldAt}`;
      if (!document.hidden && (!isHeld || wanted !== shown)) {
        await showAt(behind);
        shown = wanted;
        tick();
      }
      const left = REPLAY_EVERY_MS - (performance.now() - begun);
      await new Promise((done) => setTimeout(done, Math.max(0, left)));
    }
    playing = null;
  }

  async function showAt(seconds) {
    const base = heldAt ?? connection.now();
    if (base === null) return;
    const at = (base / 1000 + seconds).toFixed(6);
    try {
      const answer = await fetch(`/live/${stream.name}.jpg?at=${at}`, { cache: "no-store" });
      if (!answer.ok) throw new Error((await answer.text()).trim());
      const frame = {
        seq: Number(answer.headers.get("x-sequence")),
        capturedAt: 1000 * Number(answer.headers.get("x-timestamp")),
        isPlaceholder: answer.headers.has("x-placeholder"),
        data: new Uint8Array(await answer.arrayBuffer()),
      };
      trouble = "";
      if (behind < 0 && !isClosed) await stream.show(frame);
    } catch (error) {
      trouble = error.message;
    }
  }

  function save() {
    if (!stream.frame) return;
    const { data, capturedAt, seq } = stream.frame;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([data], { type: "image/jpeg" }));
    const time = new Date(capturedAt).toISOString().replace(/[:.]/g, "-");
    link.download = `${stream.name}-${time}-${seq}.jpg`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }

  function fill() {
    if (document.fullscreenElement) document.exitFullscreen();
    else stage.requestFullscreen();
  }

  function onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const isControl = event.target.closest?.("button, a, input");
    if (event.key === " " && !isControl) hold(!isHeld);
    else if (event.key === "s") save();
    else if (event.key === "f" && !full.hidden) fill();
    else return;
    event.preventDefault();
  }

  function tick() {
    const seen = stream.figures();
    const text = isBack() ? trouble : words.badge(stream, seen);
    badge.textContent = text;
    badge.hidden = !text;
    const history = stream.room.history_ms / 1000;
    replay.hidden = !history;
    slider.min = -history;
    const isLive = !isHeld && !isBack() && connection.isOpen;
    const asItIs = isHeld ? "held" : isBack() ? "replay" : "–";
    const say = (name, value) => (figures[name].textContent = value);
    say("rate", isLive ? words.rate(seen.fps, stream.room.fps) : asItIs);
    say("age", words.age(isLive ? seen.ageMs : sinceCapture()));
    say("bitrate", isLive ? words.bitrate(seen.bps) : "–");
    if (stream.frame) say("size", `${canvas.width} × ${canvas.height}`);
    if (stream.frame) say("frame", stream.frame.seq);
    say("skipped", words.skipped(stream.skipped));
    say("viewers", connection.isOpen ? stream.room.viewers : "–");
    say("link", connection.isOpen ? words.age(connection.roundTrip) : "–");
    say("model", house.current ? `${house.current.model}, ${house.current.driver}` : "–");
    say("history", history ? `${history} s` : "none (--history)");
  }

  const isBack = () => behind < 0;

  function sinceCapture() {
    const now = connection.now();
    return now === null || !stream.frame ? null : Math.max(0, now - stream.frame.capturedAt);
  }

  return {
    tick,
    close() {
      isClosed = true;
      removeEventListener("keydown", onKey);
      if (document.fullscreenElement) document.exitFullscreen();
      stream.isShown = false;
      stream.pause(false);
      stream.attach(null);
    },
  };
}
