// One channel: asks for it while somebody can see it, draws it, counts what came.
//
// One picture at a time is decoded; each payload is acknowledged once it is drawn, which is what lets
// the server send the next. So nothing piles up here, and what is too much is skipped by the server,
// which says why.

const WINDOW_MS = 2000;

export class Stream {
  name;
  room;
  // What is shown: null before the first picture.
  frame = null;
  isShown = false;
  isPaused = false;
  // Why there is nothing to be seen, if the server says so.
  refusal = "";
  skipped = { link: 0, device: 0, server: 0 };
  // Called when there is something else to say of it than its figures.
  onChange = () => {};
  #connection;
  #canvas = null;
  #isAsked = false;
  #next = null;
  #isDecoding = false;
  #askedAt = 0;
  #drawn = [];

  constructor(connection, room) {
    this.#connection = connection;
    this.name = room.channel;
    this.room = room;
  }

  get isConnected() {
    return this.#connection.isOpen;
  }

  // Draws here from now on; null: nowhere.
  attach(canvas) {
    this.#canvas = canvas;
    if (canvas && this.frame) this.#decode(this.frame, () => {});
    this.update();
  }

  pause(isPaused) {
    this.isPaused = isPaused;
    this.update();
  }

  // The connection was lost, and with it all that was asked for.
  reset() {
    this.#isAsked = false;
    this.refusal = "";
    this.#next = null;
    this.#drawn = [];
  }

  // Asks for the channel, or asks no more, as things are now.
  update() {
    const isWanted =
      this.#connection.isOpen && this.#canvas && this.isShown && !this.isPaused && !document.hidden;
    if (Boolean(isWanted) === this.#isAsked) return;
    this.#isAsked = Boolean(isWanted);
    this.#askedAt = performance.now();
    this.#next = null;
    this.#drawn = [];
    const ask = { type: "sub", channel: this.name };
    this.#connection.send(isWanted ? ask : { type: "unsub", ch: this.room.ch });
  }

  take(payload) {
    if (!this.#isAsked) return;
    if (this.#isDecoding) {
      // The server sends no more than two unacknowledged, so this place is free.
      this.#next = payload;
      return;
    }
    this.#isDecoding = true;
    const frame = payload.frames.at(-1);
    this.#decode(frame, (isDrawn) => {
      this.#isDecoding = false;
      if (isDrawn) this.#note(payload, frame);
      this.#acknowledge(payload, frame);
      const next = this.#next;
      this.#next = null;
      if (next) this.take(next);
    });
  }

  // The server does not send this channel.
  refuse(text) {
    this.refusal = text;
    this.onChange();
  }

  skip(count, why) {
    this.skipped[why] += count;
  }

  // What came in the last seconds.
  figures() {
    const now = performance.now();
    // Two are kept however old, so that slow streams have a rate too.
    const isRecent = ({ at }, index, all) => now - at <= WINDOW_MS || index >= all.length - 2;
    this.#drawn = this.#drawn.filter(isRecent);
    const real = this.#drawn.filter(({ age }) => age !== undefined);
    const ages = real.map(({ age }) => age).filter((age) => age !== null).sort((a, b) => a - b);
    const quiet = now - (this.#drawn.at(-1)?.at ?? this.#askedAt);
    // The oldest only says when counting began.
    const span = real.length > 1 ? spanOf(real, now) : 0;
    const perSecond = (amounts) => (span ? (amounts.slice(1).reduce((a, b) => a + b, 0) * 1000) / span : 0);
    return {
      fps: perSecond(real.map(({ frames }) => frames)),
      bps: perSecond(real.map(({ bytes }) => 8 * bytes)),
      ageMs: ages.length ? ages[Math.floor(ages.length / 2)] : null,
      isStalled: this.#isAsked && quiet > Math.max(WINDOW_MS, 3000 / this.room.fps),
    };
  }

  // Shows a still in place of what comes live.
  async show(frame) {
    await new Promise((done) => this.#decode(frame, done));
  }

  #decode(frame, done) {
    const canvas = this.#canvas;
    const isStill = !this.#isAsked;
    createImageBitmap(new Blob([frame.data], { type: "image/jpeg" })).then(
      (bitmap) => {
        // Somebody may have held the picture or gone elsewhere meanwhile.
        const isMeant = canvas && canvas === this.#canvas && isStill === !this.#isAsked;
        if (isMeant) this.#draw(canvas, bitmap, frame);
        bitmap.close();
        done(Boolean(isMeant));
      },
      () => done(false),
    );
  }

  #draw(canvas, bitmap, frame) {
    if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
      canvas.width = bitmap.width;
      canvas.height = bitmap.height;
    }
    canvas.getContext("2d", { alpha: false }).drawImage(bitmap, 0, 0);
    const isNews = this.frame?.isPlaceholder !== frame.isPlaceholder;
    this.frame = frame;
    canvas.dataset.seq = frame.seq;
    if (isNews) this.onChange();
  }

  #note(payload, frame) {
    const serverNow = this.#connection.now();
    const age = serverNow === null ? null : Math.max(0, serverNow - frame.capturedAt);
    this.#drawn.push({
      at: performance.now(),
      frames: payload.frames.length,
      bytes: payload.bytes,
      age: frame.isPlaceholder ? undefined : age,
    });
  }

  #acknowledge(payload, frame) {
    const took_ms = performance.now() - payload.arrivedAt;
    this.#connection.send({ type: "ack", ch: payload.ch, seq: frame.seq, took_ms });
  }
}

// The time these took: up to now once the next is missing, else the next would count as late always.
function spanOf(drawn, now) {
  const [first, last] = [drawn[0].at, drawn.at(-1).at];
  const usual = (last - first) / (drawn.length - 1);
  return now - last > 2 * usual ? now - first : last - first;
}
