// A small line of what was lately, drawn as SVG. Time runs to the right edge, which is now.

const SVG = "http://www.w3.org/2000/svg";
// Figures shown, one a second.
const POINTS = 60;
const [WIDTH, HEIGHT] = [300, 60];

export class Chart {
  // `format` makes words of a figure; the scale never ends below `least`.
  constructor(figure, name, format, least) {
    [this.name, this.format, this.least] = [name, format, least];
    this.values = [];
    this.told = figure.querySelector("strong");
    this.svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
    this.area = shape("polygon", {});
    this.line = shape("polyline", {});
    const ground = shape("line", { x1: 0, x2: WIDTH, y1: HEIGHT - 0.5, y2: HEIGHT - 0.5 });
    this.svg.append(ground, this.area, this.line);
    figure.append(this.svg);
    this.draw();
  }

  add(value) {
    this.values = [...this.values, value].slice(-POINTS);
    this.draw();
  }

  draw() {
    const [now, most] = [this.values.at(-1), Math.max(this.least, ...this.values)];
    const step = WIDTH / (POINTS - 1);
    const left = WIDTH - step * (this.values.length - 1);
    const points = this.values.map((value, place) => {
      const [x, y] = [left + place * step, HEIGHT - (value / most) * (HEIGHT - 4)];
      return `${x.toFixed(1)},${y.toFixed(1)}`;
    });
    this.line.setAttribute("points", points.join(" "));
    this.area.setAttribute("points", points.length ? `${left},${HEIGHT} ${points.join(" ")} ${WIDTH},${HEIGHT}` : "");
    this.told.textContent = now === undefined ? "–" : this.format(now);
    const range = now === undefined ? "no figures yet" : `${this.format(now)} now, at most ${this.format(Math.max(...this.values))}`;
    this.svg.setAttribute("aria-label", `${this.name} in the last minute: ${range}`);
  }
}

function shape(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}
