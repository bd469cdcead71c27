// Figures in words.

export const age = (ms) => {
  if (ms === null) return "–";
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
};

const number = (fps) => (fps < 10 ? fps.toFixed(1) : String(Math.round(fps)));

// What is asked for is round, as a rule.
const whole = (fps) => String(fps < 10 ? Math.round(10 * fps) / 10 : Math.round(fps));

// How many of how many, if that is known.
export const rate = (fps, all) => `${number(fps)}${all === undefined ? "" : ` of ${whole(all)}`} fps`;

export const bitrate = (bps) => {
  if (bps >= 1e6) return `${(bps / 1e6).toFixed(1)} Mbit/s`;
  return `${Math.round(bps / 1e3)} kbit/s`;
};

export const bytes = (count) => {
  if (count >= 1e6) return `${(count / 1e6).toFixed(count < 1e8 ? 1 : 0)} MB`;
  return count >= 1e3 ? `${Math.round(count / 1e3)} kB` : `${count} B`;
};

export const trip = (ms) => (ms < 0.05 ? "<0.1 ms" : ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`);

export const span = (seconds) => {
  const [s, m, h] = [seconds, seconds / 60, seconds / 3600].map(Math.floor);
  if (m < 1) return `${s} s`;
  if (h < 1) return `${m} min ${s % 60} s`;
  return h < 24 ? `${h} h ${m % 60} min` : `${Math.floor(h / 24)} d ${h % 24} h`;
};

export const skipped = ({ link, device, server }, machine = "this device") => {
  const parts = [
    [link, "the link"],
    [device, machine],
    [server, "the server"],
  ].filter(([count]) => count);
  if (!parts.length) return "none";
  return parts.map(([count, why]) => `${count} for ${why}`).join(", ");
};

// What to say over the picture, if there is something to be said.
export const badge = (stream, figures) => {
  if (!stream.isConnected) return "No connection";
  if (stream.refusal) return stream.refusal;
  if (stream.frame?.isPlaceholder) return "Waiting for the source";
  if (!stream.frame) return "No picture yet";
  return figures.isStalled ? "No new frames" : "";
};
