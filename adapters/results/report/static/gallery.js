// A grid of thousands of cards of which only those in view exist.

const GAP = 14;

class Gallery {
  /** open: called with a row when its card is chosen. */
  constructor(host, open) {
    Object.assign(this, { host, open, rows: [], cards: new Map(), current: 0 });
    this.parts = new Set(PARTS);
    new ResizeObserver(() => this.layout()).observe(host);
    window.addEventListener("scroll", () => this.render(), { passive: true });
    host.addEventListener("click", (event) => {
      const card = event.target.closest(".card");
      if (card) this.choose(Number(card.dataset.place), true);
    });
    host.addEventListener("focusin", (event) => {
      const card = event.target.closest(".card");
      if (card) this.select(Number(card.dataset.place));
    });
  }

  show(rows, scoreName) {
    Object.assign(this, { rows, scoreName });
    this.current = Math.max(0, Math.min(this.current, rows.length - 1));
    for (const card of this.cards.values()) card.remove();
    this.cards.clear();
    this.layout();
  }

  layout() {
    const width = this.host.clientWidth;
    const columns = Math.max(2, Math.floor((width + GAP) / (190 + GAP)));
    this.cardWidth = (width - GAP * (columns - 1)) / columns;
    this.cardHeight = Math.round(this.cardWidth * 1.22) + 66;
    if (columns !== this.columns || width !== this.width) {
      for (const card of this.cards.values()) card.remove();
      this.cards.clear();
    }
    Object.assign(this, { columns, width });
    const lines = Math.ceil(this.rows.length / columns);
    this.host.style.height = `${Math.max(0, lines * (this.cardHeight + GAP) - GAP)}px`;
    this.render();
  }

  /** Make the cards that are in view, and remove the others. */
  render() {
    const line = this.cardHeight + GAP, top = -this.host.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor((top - 300) / line)) * this.columns;
    const last = Math.min(this.rows.length, Math.ceil((top + window.innerHeight + 300) / line) * this.columns);
    for (const [place, card] of this.cards) {
      if (place >= first && place < last) continue;
      if (card === document.activeElement) this.host.focus({ preventScroll: true });
      card.remove();
      this.cards.delete(place);
    }
    for (let place = first; place < last; place++) {
      if (this.cards.has(place)) continue;
      const card = this.makeCard(place);
      this.cards.set(place, card);
      this.host.append(card);
    }
    this.drawSome();
  }

  makeCard(place) {
    const row = this.rows[place], verdict = verdictOf(row), status = statusOf(row);
    const card = document.createElement("button");
    card.className = `card ${verdict}`;
    card.type = "button";
    card.dataset.place = place;
    card.dataset.row = row;
    card.tabIndex = place === this.current ? 0 : -1;
    card.style.width = `${this.cardWidth}px`;
    card.style.height = `${this.cardHeight}px`;
    card.style.transform = `translate(${(place % this.columns) * (this.cardWidth + GAP)}px, ${Math.floor(place / this.columns) * (this.cardHeight + GAP)}px)`;
    const value = numberOf(this.scoreName, row);
    card.setAttribute("aria-label", `${nameOf(row)}: ${SCORES[this.scoreName].axis} ${scoreText(this.scoreName, value)}, ${VERDICT_WORDS[verdict]}, ${STATUS_WORDS[status] ?? status}`);
    const stage = document.createElement("span");
    stage.className = "stage";
    stage.append(stageContent(row));
    const canvas = document.createElement("canvas");
    canvas.setAttribute("aria-hidden", "true");
    stage.append(canvas);
    const foot = document.createElement("span");
    foot.className = "foot";
    const name = document.createElement("span");
    name.className = "name";
    const text = nameOf(row), cut = Math.max(0, text.length - 12);
    name.append(...[text.slice(0, cut), text.slice(cut)].map((part) => {
      const piece = document.createElement("span");
      piece.textContent = part;
      return piece;
    }));
    name.title = text;
    const line = document.createElement("span");
    line.className = "line";
    const score = document.createElement("strong");
    score.textContent = scoreText(this.scoreName, value);
    const tag = document.createElement("span");
    tag.className = `tag ${verdict}`;
    tag.textContent = verdict === "unscored" || status === "low_information" ? STATUS_WORDS[status] ?? status : VERDICT_WORDS[verdict];
    line.append(score, tag);
    foot.append(name, line);
    card.append(stage, foot);
    return card;
  }

  /** Overlays come one after the other while nothing else is to be done: an outline takes some milliseconds. */
  drawSome() {
    if (this.drawing) return;
    const card = [...this.cards.values()].find((one) => !one.dataset.drawn);
    if (!card) return;
    this.drawing = true;
    setTimeout(() => {
      this.drawing = false;
      if (card.isConnected) {
        drawOverlay(card.querySelector("canvas"), Number(card.dataset.row), this.parts);
        card.dataset.drawn = "1";
      }
      this.drawSome();
    });
  }

  select(place) {
    this.cards.get(this.current)?.setAttribute("tabindex", "-1");
    this.current = place;
    this.cards.get(place)?.setAttribute("tabindex", "0");
  }

  /** Make a card the current one and bring it into view. */
  choose(place, open = false) {
    if (!this.rows.length) return;
    this.select(Math.max(0, Math.min(place, this.rows.length - 1)));
    const line = this.cardHeight + GAP, top = this.host.getBoundingClientRect().top + Math.floor(this.current / this.columns) * line;
    const head = document.querySelector(".toolbar").offsetHeight + 12;
    if (top < head) window.scrollBy(0, top - head);
    else if (top + line > window.innerHeight) window.scrollBy(0, top + line - window.innerHeight);
    this.render();
    this.cards.get(this.current)?.focus({ preventScroll: true });
    if (open) this.open(this.rows[this.current]);
  }
}

/** A row's picture; or words where there is none. */
function stageContent(row) {
  const address = pictureOf(row);
  if (address === null) {
    const missing = document.createElement("span");
    missing.className = "nothing";
    const points = arrays.confidence.shape[1] ? rowOf("confidence", row).some((value) => value > 0) : false;
    missing.textContent = points ? "" : STATUS_WORDS[statusOf(row)] === "scored" ? "no picture" : STATUS_WORDS[statusOf(row)] ?? "no picture";
    return missing;
  }
  const image = document.createElement("img");
  image.loading = "lazy";
  image.decoding = "async";
  image.alt = `${nameOf(row)}, cut to the person`;
  image.src = address;
  image.draggable = false;
  return image;
}
