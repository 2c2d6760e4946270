// Scores as bars, with a slider under them that is as wide as they are. The ends gather what lies beyond.

const BINS = 48;
const SVG = "http://www.w3.org/2000/svg";

/** Where the axis of a score begins and ends: all of it, or for the unbounded one without its farthest few per cent. */
function axisOf(name) {
  if (SCORES[name].range) return SCORES[name].range;
  const known = arrays[name].values.filter((value) => !Number.isNaN(value)).sort();
  if (!known.length) return [-1, 1];
  const low = Math.floor(Math.min(known[Math.floor(known.length * 0.03)], -3));
  return [low, Math.ceil(Math.max(known[known.length - 1], 1))];
}

class Histogram {
  constructor(svg, slider, scale) {
    Object.assign(this, { svg, slider, scale });
  }

  /** rows: those to be counted. */
  show(name, rows, threshold) {
    const [low, high] = axisOf(name), values = arrays[name].values;
    Object.assign(this, { name, low, high });
    const counts = new Array(BINS).fill(0);
    for (const row of rows) {
      if (Number.isNaN(values[row])) continue;
      counts[Math.max(0, Math.min(BINS - 1, Math.floor(((values[row] - low) / (high - low)) * BINS)))]++;
    }
    const top = Math.max(1, ...counts);
    this.svg.setAttribute("viewBox", `0 0 ${BINS * 10} 100`);
    this.bars = counts.map((count, bin) => {
      const height = count ? Math.max(2, 94 * Math.sqrt(count / top)) : 0;
      const bar = document.createElementNS(SVG, "rect");
      for (const [key, value] of Object.entries({ x: bin * 10 + 0.8, y: 98 - height, width: 8.4, height, rx: 1.5 })) {
        bar.setAttribute(key, value);
      }
      const title = document.createElementNS(SVG, "title");
      title.textContent = `${this.edge(bin)} to ${this.edge(bin + 1)}: ${count}`;
      bar.append(title);
      return bar;
    });
    this.svg.replaceChildren(...this.bars);
    this.slider.min = low;
    this.slider.max = high;
    this.slider.step = (high - low) / 400;
    this.scale.replaceChildren(...[0, 0.25, 0.5, 0.75, 1].map((part) => {
      const tick = document.createElement("span");
      const beyond = part === 0 && !SCORES[name].range ? "≤ " : "";
      tick.textContent = beyond + scoreText(name, low + part * (high - low));
      return tick;
    }));
    this.mark(threshold);
  }

  edge(bin) {
    return scoreText(this.name, this.low + (bin / BINS) * (this.high - this.low));
  }

  /** Colour the bars by the side of the threshold on which they lie. */
  mark(threshold) {
    this.slider.value = threshold;
    const at = ((threshold - this.low) / (this.high - this.low)) * BINS;
    this.bars.forEach((bar, bin) => bar.setAttribute("class", bin + 0.5 < at ? "below" : "above"));
    this.slider.setAttribute("aria-valuetext", `${scoreText(this.name, threshold)} ${SCORES[this.name].axis}`);
  }
}
