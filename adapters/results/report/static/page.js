// The page: what is shown, in which order, and everything that changes it.

const byId = (id) => document.getElementById(id);

const state = {
  score: shownScores.includes(manifest.sort) ? manifest.sort : shownScores[0],
  thresholds: Object.fromEntries(shownScores.map((name) => [name, SCORES[name].start])),
  side: "all",
  hidden: new Set(),
  search: "",
  sort: manifest.sort,
  descending: false,
};
let shown = [];

/** Rows that pass search and status, whatever their score. */
function candidates() {
  const wanted = state.search.toLowerCase(), rows = [];
  for (let row = 0; row < rowCount; row++) {
    if (state.hidden.has(statusOf(row))) continue;
    if (wanted && !nameOf(row).toLowerCase().includes(wanted)) continue;
    rows.push(row);
  }
  return rows;
}

function sorted(rows) {
  const sign = state.descending ? -1 : 1;
  if (state.sort === "image") {
    const order = new Intl.Collator(undefined, { numeric: true });
    return rows.sort((a, b) => sign * order.compare(nameOf(a), nameOf(b)) || a - b);
  }
  const values = arrays[state.sort].values;
  // Rows without the number come last, whatever the direction.
  return rows.sort((a, b) => {
    const [x, y] = [values[a], values[b]];
    if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y) || a - b;
    return sign * (x - y) || a - b;
  });
}

function update() {
  const rows = candidates();
  histogram.show(state.score, rows, state.thresholds[state.score]);
  filter(rows);
}

/** Count both sides of the threshold and show the chosen one. */
function filter(rows = candidates()) {
  const threshold = state.thresholds[state.score], values = arrays[state.score].values;
  const above = rows.filter((row) => values[row] >= threshold), below = rows.filter((row) => values[row] < threshold);
  shown = sorted({ all: rows, above, below }[state.side].slice());
  byId("count-below").textContent = below.length.toLocaleString("en");
  byId("count-above").textContent = above.length.toLocaleString("en");
  byId("threshold-value").textContent = scoreText(state.score, threshold);
  const unscored = rows.length - above.length - below.length;
  byId("count-shown").textContent = `${shown.length.toLocaleString("en")} shown${unscored ? `, ${unscored.toLocaleString("en")} without a score` : ""}`;
  byId("empty").hidden = shown.length > 0;
  gallery.show(shown, state.score);
}

const histogram = new Histogram(byId("histogram"), byId("threshold"), byId("scale"));
let gallery, detail;

function openRow(row) {
  detail.show(row, shown.indexOf(row), shown.length);
}

function step(by) {
  const place = Math.max(0, Math.min(shown.length - 1, gallery.current + by));
  gallery.choose(place);
  openRow(shown[place]);
}

/** A group of buttons of which one is pressed. */
function choices(host, options, chosen, change) {
  host.replaceChildren(...options.map(([value, label]) => {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.value = value;
    button.textContent = label;
    button.setAttribute("aria-pressed", String(value === chosen));
    button.addEventListener("click", () => {
      for (const other of host.children) other.setAttribute("aria-pressed", String(other === button));
      change(value);
    });
    return button;
  }));
}

function fillControls() {
  choices(byId("scores"), shownScores.map((name) => [name, SCORES[name].label]), state.score, (name) => {
    state.score = state.sort = name;
    byId("sort").value = name;
    nameAxis();
    update();
  });
  choices(byId("sides"), [["all", "All"], ["below", "Below"], ["above", "At or above"]], state.side, (side) => {
    state.side = side;
    filter();
  });
  const counts = new Map();
  for (let row = 0; row < rowCount; row++) counts.set(statusOf(row), (counts.get(statusOf(row)) ?? 0) + 1);
  byId("statuses").replaceChildren(...[...counts].map(([status, count]) => {
    const label = document.createElement("label"), box = document.createElement("input");
    box.type = "checkbox";
    box.checked = true;
    box.dataset.status = status;
    box.addEventListener("change", () => {
      state.hidden[box.checked ? "delete" : "add"](status);
      update();
    });
    label.append(box, ` ${STATUS_WORDS[status] ?? status} `);
    const number = document.createElement("small");
    number.textContent = count.toLocaleString("en");
    label.append(number);
    return label;
  }));
  const sorts = { ...Object.fromEntries(shownScores.map((name) => [name, SCORES[name].label])), information_bits: "Information", reprojection_error: "Keypoint distance", oks: "OKS", image: "Name" };
  byId("sort").replaceChildren(...Object.entries(sorts).filter(([name]) => name === "image" || name in arrays).map(([name, label]) => new Option(label, name, false, name === state.sort)));
  byId("sort").addEventListener("change", () => { state.sort = byId("sort").value; filter(); });
  byId("direction").addEventListener("click", () => {
    state.descending = !state.descending;
    byId("direction").textContent = state.descending ? "high first" : "low first";
    filter();
  });
  byId("threshold").addEventListener("input", () => {
    state.thresholds[state.score] = Number(byId("threshold").value);
    histogram.mark(state.thresholds[state.score]);
    soon();
  });
  byId("search").addEventListener("input", () => { state.search = byId("search").value; update(); });
  byId("copy").addEventListener("click", copyNames);
  byId("download").addEventListener("click", downloadRows);
  byId("theme").addEventListener("click", switchTheme);
  byId("help-button").addEventListener("click", () => byId("help").showModal());
  byId("help-close").addEventListener("click", () => byId("help").close());
  nameAxis();
}

function nameAxis() {
  const score = SCORES[state.score];
  byId("axis").textContent = score.axis;
  byId("axis-low").textContent = `← ${score.low}`;
  byId("axis-high").textContent = `${score.high} →`;
}

let waiting = 0;
/** Filter once per frame, however fast the slider moves. */
function soon() {
  cancelAnimationFrame(waiting);
  waiting = requestAnimationFrame(() => filter());
}

/** The fewest digits that give the same float32 back. */
function shortest(value) {
  if (Number.isNaN(value)) return "";
  for (let digits = 6; digits < 9; digits++) {
    const text = Number(value.toPrecision(digits));
    if (Math.fround(text) === value) return String(text);
  }
  return String(Number(value.toPrecision(9)));
}

function csvOf(rows) {
  const quoted = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const best = manifest.several && manifest.people.length ? ["best_match"] : [];
  const lines = [["image", "instance", "status", ...manifest.columns, ...best].join(",")];
  for (const row of rows) {
    const numbers = manifest.columns.map((name) => shortest(numberOf(name, row)));
    const who = best.map(() => quoted(manifest.people[numberOf("person", row)].name));
    lines.push([quoted(manifest.images[row]), numberOf("instance", row), statusOf(row), ...numbers, ...who].join(","));
  }
  return `${lines.join("\r\n")}\r\n`;
}

function downloadRows() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([csvOf(shown)], { type: "text/csv" }));
  link.download = "selection.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  say(`${shown.length.toLocaleString("en")} rows saved as selection.csv`);
}

async function copyNames() {
  const names = [...new Set(shown.map((row) => manifest.images[row]))];
  try {
    await navigator.clipboard.writeText(`${names.join("\n")}\n`);
    say(`${names.length.toLocaleString("en")} names copied`);
  } catch {
    say("The browser did not allow copying; download the CSV instead.");
  }
}

let silence = 0;
function say(text) {
  byId("said").textContent = text;
  clearTimeout(silence);
  silence = setTimeout(() => { byId("said").textContent = ""; }, 4000);
}

function switchTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = document.documentElement.dataset.theme ?? (dark ? "dark" : "light");
  document.documentElement.dataset.theme = now === "dark" ? "light" : "dark";
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || dialog.open || byId("help").open) return;
  const typing = event.target.matches("input:not([type=checkbox]), select");
  if (event.key === "Escape" && typing) event.target.blur();
  if (typing) return;
  const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -gallery.columns, ArrowDown: gallery.columns };
  const onCard = event.target.closest(".card") || event.target === document.body || event.target === gallery.host;
  if (event.key in moves && onCard) {
    const begun = event.target.closest(".card");
    gallery.choose(begun ? gallery.current + moves[event.key] : gallery.current);
  } else if (event.key === "Home" && onCard) gallery.choose(0);
  else if (event.key === "End" && onCard) gallery.choose(shown.length - 1);
  else if (event.key === "/") byId("search").focus();
  else if (event.key === "t") byId("threshold").focus();
  else if (event.key === "c") copyNames();
  else if (event.key === "s") downloadRows();
  else if (event.key === "d") switchTheme();
  else if (event.key === "?") byId("help").showModal();
  else return;
  event.preventDefault();
});

loadArrays().then(() => {
  gallery = new Gallery(byId("gallery"), openRow);
  detail = new Detail(step);
  fillControls();
  update();
  // The browser gives the focus back to the card that was opened, which is not the one that was seen last.
  dialog.addEventListener("close", () => gallery.choose(shown.indexOf(detail.row)));
  document.documentElement.dataset.ready = "1";
}, (error) => {
  byId("empty").hidden = false;
  byId("empty").textContent = `This page could not be unpacked: ${error.message}. A browser of 2023 or later is needed.`;
});
