// One WebSocket to the server: opens again by itself, keeps the time, takes messages apart.
//
// What it tells, as events: "state" (connecting, live, lost, or blocked where the server answers but no
// WebSocket gets through, with a text for people), "notice" (a JSON message of the server), "payload"
// (frames of a channel). The messages are in common/wire.md.

const PING_EVERY_MS = 1000;
// A connection that has not answered for so long is lost, whatever the system says.
const SILENCE_MS = 6000;
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 8000;
// One may fail because the server is just coming back.
const BLOCKED_AFTER = 2;
const ROUNDS = 16;
const FRAME_HEAD_BYTES = 40;
export const PLACEHOLDER = 2;

const localNow = () => performance.timeOrigin + performance.now();

export class Connection extends EventTarget {
  #url;
  #socket = null;
  #wait = FIRST_WAIT_MS;
  #retryAt = 0;
  #heardAt = 0;
  #rounds = [];
  #said = "";
  // How many in a row were never open.
  #unopened = 0;
  #isBlocked = false;

  constructor(url) {
    super();
    this.#url = url;
    setInterval(() => this.#tick(), PING_EVERY_MS);
    addEventListener("online", () => this.hurry());
  }

  get isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  // The shortest of the last rounds, in ms; null before the first.
  get roundTrip() {
    return this.#best()?.roundTrip ?? null;
  }

  // The server's clock now, in ms since 1970; null while unknown.
  now() {
    const best = this.#best();
    return best ? localNow() + best.offset : null;
  }

  connect() {
    if (!this.#isBlocked) this.#tell("connecting", "Connecting…");
    this.#unopened += 1;
    const socket = new WebSocket(this.#url);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    this.#heardAt = performance.now();
    this.#rounds = [];
    const isOurs = () => this.#socket === socket;
    socket.onopen = () => {
      if (!isOurs()) return;
      this.#unopened = 0;
      this.#isBlocked = false;
      for (let count = 0; count < 4; count++) this.#ping();
    };
    socket.onmessage = ({ data }) => {
      if (!isOurs()) return;
      this.#heardAt = performance.now();
      if (typeof data === "string") this.#take(JSON.parse(data));
      else this.#emit("payload", takeApart(data));
    };
    socket.onclose = () => {
      if (isOurs()) this.#lost();
    };
  }

  send(message) {
    if (this.isOpen) this.#socket.send(JSON.stringify(message));
  }

  // Tries again at once, if it is waiting to: somebody looks.
  hurry() {
    if (!this.#retryAt) return;
    this.#wait = FIRST_WAIT_MS;
    this.#retry();
  }

  #retry() {
    this.#retryAt = 0;
    this.connect();
  }

  #tick() {
    if (document.hidden) {
      // Nothing is asked, so silence means nothing.
      this.#heardAt = performance.now();
      return;
    }
    if (this.#retryAt) {
      if (performance.now() >= this.#retryAt) this.#retry();
      else this.#announce();
      return;
    }
    if (performance.now() - this.#heardAt > SILENCE_MS) {
      const socket = this.#socket;
      this.#lost();
      socket.close();
    } else {
      this.#ping();
    }
  }

  #ping() {
    this.send({ type: "ping", t: localNow() });
  }

  #take(notice) {
    if (notice.type === "pong") {
      const now = localNow();
      const roundTrip = now - notice.t - (notice.replied_ms - notice.received_ms);
      const offset = (notice.received_ms - notice.t + (notice.replied_ms - now)) / 2;
      this.#rounds = [...this.#rounds, { roundTrip, offset }].slice(-ROUNDS);
      return;
    }
    if (notice.type === "channels") {
      this.#wait = FIRST_WAIT_MS;
      this.#said = "";
      this.#tell("live", "Connected");
    }
    if (notice.type === "goodbye") this.#said = `: ${notice.text}`;
    this.#emit("notice", notice);
  }

  #lost() {
    this.#socket = null;
    const jitter = 0.75 + Math.random() / 2;
    this.#retryAt = performance.now() + this.#wait * jitter;
    this.#wait = Math.min(2 * this.#wait, LONGEST_WAIT_MS);
    if (this.#unopened >= BLOCKED_AFTER) this.#findOut();
    this.#announce();
  }

  // Whether the server is there, and only WebSockets are not let through.
  async #findOut() {
    const signal = AbortSignal.timeout(SILENCE_MS);
    const asked = fetch("/healthz", { cache: "no-store", signal });
    const answers = await asked.then(({ ok }) => ok, () => false);
    if (this.isOpen) return;
    this.#isBlocked = answers;
    if (this.#retryAt) this.#announce();
  }

  #announce() {
    if (this.#isBlocked) {
      this.#tell("blocked", "No WebSocket");
      return;
    }
    const seconds = Math.max(1, Math.ceil((this.#retryAt - performance.now()) / 1000));
    this.#tell("lost", `Connection lost${this.#said}. Trying again in ${seconds} s`);
  }

  #best() {
    if (!this.#rounds.length) return null;
    return this.#rounds.reduce((best, one) => (one.roundTrip < best.roundTrip ? one : best));
  }

  #tell(state, text) {
    this.#emit("state", { state, text });
  }

  #emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

// The frames of a binary message; their bytes are views of it.
function takeApart(buffer) {
  const view = new DataView(buffer);
  const [ch, count] = [view.getUint16(0), view.getUint16(2)];
  const frames = [];
  let at = 4;
  for (let index = 0; index < count; index++) {
    const length = view.getUint32(at + 24);
    frames.push({
      seq: Number(view.getBigUint64(at + 8)),
      capturedAt: Number(view.getBigUint64(at + 16) / 1000n) / 1000,
      width: view.getUint16(at + 32),
      height: view.getUint16(at + 34),
      isPlaceholder: (view.getUint8(at + 37) & PLACEHOLDER) !== 0,
      data: new Uint8Array(buffer, at + FRAME_HEAD_BYTES, length),
    });
    at += FRAME_HEAD_BYTES + length;
  }
  return { ch, frames, bytes: buffer.byteLength, arrivedAt: performance.now() };
}
