// A grid of thousands of cards of which only those in view exist. Cards are opened, chosen one by one or many, and marked.

const GAP = 14;
const FOOT = 127;

class Gallery {
  /** actions: open(row), mark(rows, mark), chosen(count); marks: what was decided. */
  constructor(host, marks, actions) {
    Object.assign(this, { host, marks, actions, rows: [], cards: new Map(), current: 0, chosen: new Set() });
    this.parts = new Set(PARTS);
    new ResizeObserver(() => this.layout()).observe(host);
    window.addEventListener("scroll", () => this.render(), { passive: true });
    host.addEventListener("click", (event) => this.click(event));
    host.addEventListener("focusin", (event) => {
      const card = event.target.closest(".card");
      if (card) this.select(Number(card.dataset.place));
    });
  }

  click(event) {
    const card = event.target.closest(".card");
    if (!card) return;
    const place = Number(card.dataset.place), row = this.rows[place];
    const button = event.target.closest("[data-mark]");
    if (event.target.closest(".alike")) this.actions.unfold(row);
    else if (button) {
      const mark = button.dataset.mark === this.marks.of(row) ? "" : button.dataset.mark;
      this.actions.mark(this.chosen.has(row) ? [...this.chosen] : [row], mark);
    } else if (event.shiftKey) this.choose(place, this.anchor ?? this.current);
    else if (event.ctrlKey || event.metaKey || event.target.closest(".pick")) this.toggle(place);
    else {
      this.go(place);
      this.actions.open(row);
    }
  }

  show(rows, scoreName) {
    Object.assign(this, { rows, scoreName });
    this.current = Math.max(0, Math.min(this.current, rows.length - 1));
    const still = new Set(rows);
    for (const row of this.chosen) if (!still.has(row)) this.chosen.delete(row);
    this.clear();
    this.layout();
    this.actions.chosen(this.chosen.size);
  }

  clear() {
    for (const card of this.cards.values()) card.remove();
    this.cards.clear();
  }

  layout() {
    const width = this.host.clientWidth;
    const columns = Math.max(2, Math.floor((width + GAP) / (196 + GAP)));
    this.cardWidth = (width - GAP * (columns - 1)) / columns;
    this.cardHeight = Math.round(this.cardWidth * 1.2) + FOOT;
    if (columns !== this.columns || width !== this.width) this.clear();
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
      this.dress(card);
    }
    this.drawSome();
  }

  makeCard(place) {
    const row = this.rows[place], kind = kindOf(row), card = make("div", `card ${kind.look}`);
    card.setAttribute("role", "option");
    Object.assign(card.dataset, { place, row });
    card.tabIndex = place === this.current ? 0 : -1;
    card.style.width = `${this.cardWidth}px`;
    card.style.height = `${this.cardHeight}px`;
    card.style.transform = `translate(${(place % this.columns) * (this.cardWidth + GAP)}px, ${Math.floor(place / this.columns) * (this.cardHeight + GAP)}px)`;
    const stage = make("span", "stage"), canvas = make("canvas"), pick = make("span", "pick");
    canvas.setAttribute("aria-hidden", "true");
    pick.title = "Select (space); with Shift up to here";
    stage.append(stageContent(row), canvas, pick, make("span", "badge"));
    const alike = under.get(row)?.length ?? 0;
    if (alike) {
      const button = make("button", "alike", `+${alike} alike`);
      Object.assign(button, { type: "button", tabIndex: -1, title: "Pictures that look like this one; a mark is theirs too. Click to see them." });
      stage.append(button);
      card.classList.add("stack");
    }
    card.append(stage, this.makeFoot(row, kind));
    return card;
  }

  makeFoot(row, kind) {
    const foot = make("span", "foot"), name = make("span", "name"), line = make("span", "line");
    const text = nameOf(row), cut = Math.max(0, text.length - 12);
    name.append(make("span", "", text.slice(0, cut)), make("span", "", text.slice(cut)));
    name.title = text;
    const score = make("strong", "", scoreText(this.scoreName, numberOf(this.scoreName, row)));
    explain(score, SCORES[this.scoreName].term);
    line.append(score, explain(make("span", `tag ${kind.look}`, kindWords(row)), kind.label));
    const why = make("span", "why", reasonOf(row) || (ofClusters && groupOf(row)) || manifest.details[row] || "");
    why.title = why.textContent;
    const buttons = make("span", "marks");
    for (const mark of manifest.marks) {
      const button = make("button", `mark ${mark}`);
      button.append(make("b", "", MARK_SIGNS[mark]), make("span", "", ` ${mark}`));
      Object.assign(button, { type: "button", tabIndex: -1, title: `${mark} (${KEYS_OF_MARKS[mark]})` });
      button.dataset.mark = mark;
      buttons.append(button);
    }
    foot.append(name, line, why, buttons);
    return foot;
  }

  /** Show on a card whether it is chosen and how it is marked. */
  dress(card) {
    const row = Number(card.dataset.row), mark = this.marks.of(row), chosen = this.chosen.has(row);
    card.setAttribute("aria-selected", String(chosen));
    card.dataset.marked = mark;
    card.querySelector(".badge").textContent = mark ? MARK_SIGNS[mark] : "";
    for (const button of card.querySelectorAll("[data-mark]")) button.setAttribute("aria-pressed", String(button.dataset.mark === mark));
    const rank = rankOf(row) ? `rank ${rankOf(row)}, ` : "", value = scoreText(this.scoreName, numberOf(this.scoreName, row));
    card.setAttribute("aria-label", `${nameOf(row)}: ${rank}${SCORES[this.scoreName].axis} ${value}, ${kindWords(row)}${reasonOf(row) ? `, ${reasonOf(row)}` : ""}${mark ? `, marked ${mark}` : ""}`);
  }

  dressAll() {
    for (const card of this.cards.values()) this.dress(card);
  }

  /** Choose a card, or no longer. */
  toggle(place) {
    const row = this.rows[place];
    this.chosen[this.chosen.has(row) ? "delete" : "add"](row);
    this.anchor = place;
    this.select(place);
    this.dressAll();
    this.actions.chosen(this.chosen.size);
  }

  /** Choose every card between two places. */
  choose(to, from) {
    for (let place = Math.min(from, to); place <= Math.max(from, to); place++) this.chosen.add(this.rows[place]);
    this.select(to);
    this.dressAll();
    this.actions.chosen(this.chosen.size);
  }

  chooseAll(all) {
    this.chosen = new Set(all ? this.rows : []);
    this.dressAll();
    this.actions.chosen(this.chosen.size);
  }

  /** Overlays come one after the other while nothing else is to be done: an outline takes some milliseconds. */
  drawSome() {
    if (this.drawing) return;
    const card = [...this.cards.values()].find((one) => !one.dataset.drawn);
    if (!card) return;
    this.drawing = true;
    whenIdle(() => {
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
  go(place) {
    if (!this.rows.length) return;
    this.select(Math.max(0, Math.min(place, this.rows.length - 1)));
    const line = this.cardHeight + GAP, top = this.host.getBoundingClientRect().top + Math.floor(this.current / this.columns) * line;
    const head = document.querySelector(".toolbar").offsetHeight + 12;
    if (top < head) window.scrollBy(0, top - head);
    else if (top + line > window.innerHeight) window.scrollBy(0, top + line - window.innerHeight);
    this.render();
    this.cards.get(this.current)?.focus({ preventScroll: true });
  }
}

/** Later, when the browser has nothing else to do. */
const whenIdle = (act) => (window.requestIdleCallback ? requestIdleCallback(act, { timeout: 500 }) : setTimeout(act));

/** A row's picture; or words where there is none. */
function stageContent(row) {
  const address = pictureOf(row);
  if (address === null) {
    const points = arrays.confidence.shape[1] ? rowOf("confidence", row).some((value) => value > 0) : false;
    return make("span", "nothing", points ? "" : kindOf(row).look === "doubt" ? statusWords(row) : "no picture");
  }
  const image = make("img");
  Object.assign(image, { loading: "lazy", decoding: "async", alt: `${nameOf(row)}, cut to the person`, src: address, draggable: false });
  return image;
}
