// Figures in words.

export const age = (ms) => {
  if (ms === null) return "–";
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
};

const number = (fps) => (fps < 10 ? fps.toFixed(1) : String(Math.round(fps)));

// How many of how many, if that is known.
export const rate = (fps, all) => `${number(fps)}${all === undefined ? "" : ` of ${number(all)}`} fps`;

export const bitrate = (bps) => {
  if (bps >= 1e6) return `${(bps / 1e6).toFixed(1)} Mbit/s`;
  return `${Math.round(bps / 1e3)} kbit/s`;
};

export const skipped = ({ link, device, server }) => {
  const parts = [
    [link, "the link"],
    [device, "this device"],
    [server, "the server"],
  ].filter(([count]) => count);
  if (!parts.length) return "none";
  return parts.map(([count, why]) => `${count} for ${why}`).join(", ");
};

// What to say over the picture, if there is something to be said.
export const badge = (stream, figures) => {
  if (!stream.isConnected) return "No connection";
  if (stream.refusal) return stream.refusal;
  if (stream.frame?.isPlaceholder) return "Source is gone";
  if (!stream.frame) return "No picture yet";
  return figures.isStalled ? "No new frames" : "";
};
