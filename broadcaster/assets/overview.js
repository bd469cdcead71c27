// All channels as live tiles. Those out of sight are not asked for.

import * as words from "./words.js";

// So few channels have larger tiles.
const FEW = 4;

export function overview(main, streams) {
  const page = document.getElementById("overview-template").content.cloneNode(true);
  const list = page.querySelector(".tiles");
  const tiles = new Map();
  list.classList.toggle("few", streams.length <= FEW);
  const watcher = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        const { stream } = tiles.get(target);
        stream.isShown = isIntersecting;
        stream.update();
      }
    },
    { rootMargin: "200px" },
  );
  for (const stream of streams) {
    const item = document.getElementById("tile-template").content.cloneNode(true);
    const tile = item.querySelector(".tile");
    const canvas = item.querySelector("canvas");
    tile.href = `/watch/${stream.name}`;
    canvas.setAttribute("aria-hidden", "true");
    item.querySelector(".name").textContent = stream.name;
    tiles.set(tile, { stream, badge: item.querySelector(".badge"), brief: item.querySelector(".brief") });
    list.append(item);
    stream.attach(canvas);
    watcher.observe(tile);
  }
  main.replaceChildren(page);
  document.title = "Framecast";

  return {
    tick() {
      for (const [tile, { stream, badge, brief }] of tiles) {
        const figures = stream.figures();
        const text = words.badge(stream, figures);
        badge.textContent = text;
        badge.hidden = !text;
        tile.setAttribute("aria-label", text ? `${stream.name}: ${text}` : stream.name);
        const hasAge = figures.ageMs !== null;
        brief.textContent = figures.fps ? words.rate(figures.fps) + (hasAge ? ` · ${words.age(figures.ageMs)}` : "") : "";
      }
    },
    close() {
      watcher.disconnect();
      for (const { stream } of tiles.values()) {
        stream.isShown = false;
        stream.attach(null);
      }
    },
  };
}
