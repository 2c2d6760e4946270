// Scores as bars over an axis, with a slider under them that is as wide as they are. A click on a bar keeps its rows.

const BINS = 40;
const SVG = "http://www.w3.org/2000/svg";

/** 1, 2 or 5 times a power of ten: the smallest that makes at most so many steps. */
function niceStep(range, most) {
  const rough = Math.max(range, 1e-9) / most, power = 10 ** Math.floor(Math.log10(rough));
  return power * ([1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999) ?? 10);
}

/** Where the axis of a score begins and ends: all of it, or for the unbounded one where the data lie. */
function axisOf(name) {
  if (SCORES[name].range) return SCORES[name].range;
  const known = arrays[name].values.filter((value) => !Number.isNaN(value)).sort();
  if (!known.length) return [-1, 1];
  const at = (share) => known[Math.round(share * (known.length - 1))];
  // A few outliers do not set the scale: what lies far beyond is gathered in the last bar.
  const spread = Math.max(at(0.98) - at(0.02), 0.2);
  const low = Math.max(at(0), at(0.02) - spread / 2), high = Math.min(at(1), at(0.98) + spread / 2);
  const step = niceStep(high - low, 10);
  return [Math.min(Math.floor(low / step), -1) * step, Math.max(Math.ceil((high + 1e-6) / step), 1) * step];
}

class Histogram {
  /** pick: called with [low, high) of the bar that was clicked, or null when it was clicked again. */
  constructor(svg, slider, scale, counts, pick) {
    Object.assign(this, { svg, slider, scale, countScale: counts, range: null });
    svg.addEventListener("click", (event) => {
      const bar = event.target.closest("rect[data-bin]");
      if (!bar) return;
      const bin = Number(bar.dataset.bin), chosen = this.limits(bin);
      const again = this.range !== null && this.range[0] === chosen[0];
      pick(again ? null : chosen);
    });
  }

  /** The rows of a bar: those of the first and the last lie beyond the axis too. */
  limits(bin) {
    return [bin === 0 ? -Infinity : this.at(bin), bin === BINS - 1 ? Infinity : this.at(bin + 1)];
  }

  /** rows: those to be counted; range: of the bar that is chosen. */
  show(name, rows, threshold, range) {
    const [low, high] = axisOf(name), values = arrays[name].values;
    Object.assign(this, { name, low, high, range });
    const counts = new Array(BINS).fill(0);
    for (const row of rows) {
      if (Number.isNaN(values[row])) continue;
      counts[Math.max(0, Math.min(BINS - 1, Math.floor(((values[row] - low) / (high - low)) * BINS)))]++;
    }
    const step = Math.max(1, niceStep(Math.max(1, ...counts), 3)), top = Math.ceil(Math.max(1, ...counts) / step) * step;
    this.svg.setAttribute("viewBox", `0 0 ${BINS * 10} 100`);
    const shapes = [];
    for (let count = 0; count <= top; count += step) shapes.push(this.rectangle({ class: "grid", x: 0, y: 100 - (100 * count) / top - 0.3, width: BINS * 10, height: 0.6 }));
    this.bars = counts.map((count, bin) => {
      const height = count ? Math.max(1.5, (100 * count) / top) : 0;
      return this.rectangle({ class: "bar", x: bin * 10 + 0.6, y: 100 - height, width: 8.8, height });
    });
    const areas = counts.map((count, bin) => {
      const area = this.rectangle({ class: "area", x: bin * 10, y: 0, width: 10, height: 100 });
      area.dataset.bin = bin;
      const title = document.createElementNS(SVG, "title");
      title.textContent = `${scoreText(name, this.at(bin))} to ${scoreText(name, this.at(bin + 1))}: ${counted(count, "row")}. Click to see them.`;
      area.append(title);
      return area;
    });
    this.svg.replaceChildren(...shapes, ...this.bars, ...areas);
    Object.assign(this.slider, { min: low, max: high, step: (high - low) / 400 });
    this.drawScales(top, step, values);
    this.mark(threshold);
  }

  drawScales(top, step, values) {
    const wide = niceStep(this.high - this.low, 8), ticks = [];
    const beyond = [false, false];
    for (const value of values) { beyond[0] ||= value < this.low; beyond[1] ||= value > this.high; }
    for (let value = Math.ceil(this.low / wide - 1e-6) * wide; value <= this.high + wide * 1e-6; value += wide) {
      const part = (value - this.low) / (this.high - this.low), tick = document.createElement("span");
      const ends = part < 1e-3 && beyond[0] ? "≤ " : part > 1 - 1e-3 && beyond[1] ? "≥ " : "";
      tick.textContent = ends + scoreText(this.name, value);
      tick.style.left = `${100 * part}%`;
      ticks.push(tick);
    }
    this.scale.replaceChildren(...ticks);
    const counts = [];
    for (let count = 0; count <= top; count += step) {
      const tick = document.createElement("span");
      tick.textContent = count.toLocaleString("en");
      tick.style.bottom = `${(100 * count) / top}%`;
      counts.push(tick);
    }
    this.countScale.replaceChildren(...counts);
  }

  rectangle(attributes) {
    const shape = document.createElementNS(SVG, "rect");
    for (const [key, value] of Object.entries(attributes)) shape.setAttribute(key, value);
    return shape;
  }

  /** The score at the lower end of a bar. */
  at(bin) {
    return this.low + (bin / BINS) * (this.high - this.low);
  }

  /** Colour the bars by the side of the threshold on which they lie; those outside the chosen bar are faint. */
  mark(threshold) {
    this.slider.value = threshold;
    const at = ((threshold - this.low) / (this.high - this.low)) * BINS;
    this.bars.forEach((bar, bin) => {
      const faint = this.range !== null && this.limits(bin)[0] !== this.range[0];
      bar.setAttribute("class", `bar ${bin + 0.5 < at ? "below" : "above"}${faint ? " faint" : ""}`);
    });
    this.slider.setAttribute("aria-valuetext", `${scoreText(this.name, threshold)} ${SCORES[this.name].axis}`);
  }
}
