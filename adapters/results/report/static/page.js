// The page put together: tabs, tiles, histogram, gallery, marks, and the keys.

const byId = (id) => document.getElementById(id);
const KEYS_OF_MARKS = { keep: "k", drop: "x", unsure: "u" };
/** So many people or clusters have a tab. */
const MOST_TABS = 12;
let shown = [], ranked = 0, gallery, detail, marks, groups = null;

const histogram = new Histogram(byId("histogram"), byId("threshold"), byId("scale"), byId("count-scale"), (range) => {
  state.range = range;
  if (range && state.tile === "first") state.tile = "all";
  update();
});

/** Everything again: the filters have changed. */
function update() {
  const rows = candidates(marks), found = tileCounts(rows);
  ranked = found.ranked;
  for (const tile of byId("tiles").children) {
    tile.setAttribute("aria-pressed", String(tile.dataset.tile === state.tile));
    tile.querySelector("strong").textContent = found.counts[tile.dataset.tile].toLocaleString("en");
  }
  groups?.show(state.group < 0);
  histogram.show(state.score, ofHistogram(rows), state.thresholds[state.score], state.range);
  filter(rows);
}

/** Count both sides of the threshold and show the chosen one. */
function filter(rows = candidates(marks)) {
  const inside = ofTile(rows, state.tile), threshold = state.thresholds[state.score], values = arrays[state.score].values;
  const all = ofHistogram(rows);
  byId("count-below").textContent = all.filter((row) => values[row] < threshold).length.toLocaleString("en");
  byId("count-above").textContent = all.filter((row) => values[row] >= threshold).length.toLocaleString("en");
  byId("threshold-value").textContent = scoreText(state.score, threshold);
  shown = folded(sortedRows(inside.filter(onSide), state.sort, state.descending));
  const every = withAlike(shown).length;
  const [title, words] = headline(shown, ranked);
  byId("headline").textContent = title;
  byId("expectation").textContent = words;
  byId("expectation").title = state.tile === "first" ? manifest.terms.expected : "";
  byId("count-shown").textContent = counted(every, "picture") + (every === shown.length ? "" : ` on ${counted(shown.length, "card")}`);
  byId("fold").hidden = every === shown.length && !state.opened.size && state.fold;
  byId("range").hidden = state.range === null && state.side === "all";
  byId("range").textContent = `${rangeWords()} ✕`;
  byId("empty").hidden = shown.length > 0;
  byId("more").hidden = state.tile !== "first" || state.first >= ranked;
  gallery.show(shown, state.score);
  showProgress();
}

function rangeWords() {
  const name = SCORES[state.score].term;
  if (state.range) return `${name} ${state.range.map((end) => (Number.isFinite(end) ? scoreText(state.score, end) : "…")).join(" to ")}`;
  return `${name} ${state.side} ${scoreText(state.score, state.thresholds[state.score])}`;
}

/** How far the user has come, and what there is to save and to undo. */
function showProgress() {
  const rows = withAlike(shown), total = marks.count(""), here = rows.filter((row) => marks.of(row)).length;
  const parts = manifest.marks.map((mark) => [mark, rows.filter((row) => marks.of(row) === mark).length]).filter(([, count]) => count);
  const places = marks.kept ? "" : " (this browser keeps no marks: save them)";
  byId("progress").textContent = here ? `${here.toLocaleString("en")} of ${rows.length.toLocaleString("en")} marked: ${parts.map(([mark, count]) => `${count.toLocaleString("en")} ${mark}`).join(", ")}` : "";
  byId("total").textContent = (total ? `${counted(total, "mark")}` : "no marks yet") + places;
  byId("undo").disabled = !marks.done.length;
  byId("redo").disabled = !marks.undone.length;
  for (const id of ["save-csv", "save-json"]) byId(id).disabled = !total;
}

function showChosen(count) {
  byId("selection").hidden = count === 0;
  byId("count-chosen").textContent = `${count.toLocaleString("en")} selected`;
}

/** Mark rows; a single card that was marked by a key makes room for the next. */
function mark(rows, value, goOn = false) {
  const changed = marks.set(withAlike(rows), value);
  if (changed) say(value ? `${counted(changed, "picture")} marked ${value}` : `${counted(changed, "mark")} taken away`);
  if (rows.length > 1) gallery.chooseAll(false);
  if (goOn && rows.length === 1) gallery.go(gallery.current + (state.mark === "any" ? 1 : 0));
}

/** Show the pictures that lie under a card as cards of their own. */
function unfold(row) {
  state.opened.add(arrays.alike.values[row]);
  byId("fold").textContent = "fold alike";
  update();
}

function markByKey(value) {
  const rows = gallery.chosen.size ? [...gallery.chosen] : shown.length ? [shown[gallery.current]] : [];
  mark(rows, value, true);
}

function undo(again) {
  const count = again ? marks.redo() : marks.undo();
  say(count ? `${again ? "redone" : "undone"}: ${counted(count, "picture")}` : `nothing to ${again ? "redo" : "undo"}`);
}

function openRow(row) {
  detail.show(row, shown.indexOf(row), shown.length);
}

function step(by) {
  const place = Math.max(0, Math.min(shown.length - 1, gallery.current + by));
  gallery.go(place);
  openRow(shown[place]);
}

/** A group of buttons of which one is pressed. */
function choices(host, options, chosen, change) {
  host.replaceChildren(...options.map(([value, label, term]) => {
    const button = make("button", "", label);
    button.type = "button";
    button.dataset.value = value;
    explain(button, term);
    button.setAttribute("aria-pressed", String(value === chosen));
    button.addEventListener("click", () => {
      for (const other of host.children) other.setAttribute("aria-pressed", String(other === button));
      change(value);
    });
    return button;
  }));
}

function makeTiles() {
  const present = new Set(arrays.kind.values);
  const kinds = manifest.kinds.filter((kind, code) => present.has(code)).map((kind) => [kind.name, kind.label, kind.look]);
  const tiles = [["first", "look first", "first"], ...kinds, ["all", "all", "any"]];
  byId("tiles").replaceChildren(...tiles.map(([name, label, look]) => {
    const tile = explain(make("button", `tile ${look}`), label);
    tile.type = "button";
    tile.dataset.tile = name;
    tile.append(make("strong", "", "0"), make("span", "", label));
    tile.addEventListener("click", () => {
      Object.assign(state, { tile: name, range: null, side: "all" });
      pressSide("all");
      update();
    });
    return tile;
  }));
}

function pressSide(side) {
  for (const button of byId("sides").children) button.setAttribute("aria-pressed", String(button.dataset.value === side));
}

function nameAxis() {
  explain(byId("axis"), SCORES[state.score].term).textContent = SCORES[state.score].axis;
  byId("axis-low").textContent = `← ${ENDS[0]}`;
  byId("axis-high").textContent = `${ENDS[1]} →`;
}

function fillControls() {
  makeTiles();
  if (manifest.groups.length) {
    byId("tabs").hidden = false;
    const tabs = manifest.groups.slice(0, MOST_TABS).map((name, i) => [String(i), name, manifest.grouped_by]);
    choices(byId("tabs"), [["-1", ofClusters ? "all clusters" : "everybody"], ...tabs], "-1", (group) => showGroup(Number(group)));
  }
  choices(byId("scores"), shownScores.map((name) => [name, SCORES[name].label, SCORES[name].term]), state.score, (name) => {
    Object.assign(state, { score: name, range: null });
    nameAxis();
    update();
  });
  choices(byId("sides"), [["all", "all"], ["below", "below"], ["above", "at or above"]], state.side, (side) => {
    state.side = side;
    if (side !== "all" && state.tile === "first") state.tile = "all";
    update();
  });
  const sorts = { rank: "rank", ...Object.fromEntries(shownScores.map((name) => [name, SCORES[name].term])), information_bits: "information", reprojection_error: "keypoint distance", oks: "OKS", image: "name" };
  byId("sort").replaceChildren(...Object.entries(sorts).filter(([name]) => name === "image" || name in arrays).map(([name, label]) => new Option(label, name, false, name === state.sort)));
  byId("marked").replaceChildren(...[["any", "all"], ["none", "not yet"], ...manifest.marks.map((one) => [one, one])].map(([value, label]) => new Option(label, value, false, value === state.mark)));
  nameAxis();
}

/** Show the pictures of a person or a cluster, or of all of them (-1). */
function showGroup(group) {
  Object.assign(state, { group, first: QUEUE_STEP, range: null });
  if (ofClusters) state.tile = group < 0 ? "first" : "all";
  for (const tab of byId("tabs").children) tab.setAttribute("aria-pressed", String(tab.dataset.value === String(group)));
  update();
  window.scrollTo(0, 0);
}

function listen() {
  const on = (id, event, act) => byId(id).addEventListener(event, act);
  on("sort", "change", () => { state.sort = byId("sort").value; filter(); });
  on("marked", "change", () => { state.mark = byId("marked").value; update(); });
  on("direction", "click", () => {
    state.descending = !state.descending;
    byId("direction").textContent = state.descending ? "high first" : "low first";
    filter();
  });
  on("threshold", "input", () => {
    state.thresholds[state.score] = Number(byId("threshold").value);
    histogram.mark(state.thresholds[state.score]);
    soon();
  });
  on("search", "input", () => { state.search = byId("search").value; update(); });
  on("range", "click", () => { Object.assign(state, { range: null, side: "all" }); pressSide("all"); update(); });
  on("more", "click", () => { state.first += QUEUE_STEP; update(); });
  on("copy", "click", copyNames);
  on("download", "click", downloadRows);
  on("theme", "click", switchTheme);
  on("help-button", "click", () => byId("help").showModal());
  on("help-close", "click", () => byId("help").close());
  on("save-button", "click", () => byId("save").showModal());
  on("save-close", "click", () => byId("save").close());
  on("fold", "click", () => {
    state.fold = state.opened.size > 0 || !state.fold;
    state.opened.clear();
    byId("fold").textContent = state.fold ? "unfold alike" : "fold alike";
    update();
  });
  on("choose-all", "click", () => gallery.chooseAll(true));
  on("choose-none", "click", () => gallery.chooseAll(false));
  on("undo", "click", () => undo(false));
  on("redo", "click", () => undo(true));
  on("save-csv", "click", () => { saveFile("marks.csv", marks.asCsv(), "text/csv"); say("saved as marks.csv"); });
  on("save-json", "click", () => { saveFile("marks.json", marks.asJson(), "application/json"); say("saved as marks.json"); });
  on("load", "click", () => byId("marks-file").click());
  on("marks-file", "change", loadMarks);
  for (const button of document.querySelectorAll("#selection [data-mark]")) button.addEventListener("click", () => mark([...gallery.chosen], button.dataset.mark));
}

async function loadMarks() {
  const file = byId("marks-file").files[0];
  if (!file) return;
  try {
    say(marks.load(await file.text()));
  } catch (error) {
    say(`${file.name} was not read: ${error.message}`);
  }
  byId("marks-file").value = "";
}

let waiting = 0;
/** Filter once per frame, however fast the slider moves. */
function soon() {
  cancelAnimationFrame(waiting);
  waiting = requestAnimationFrame(() => filter());
}

function downloadRows() {
  const rows = withAlike(shown);
  saveFile("selection.csv", csvOf(rows, marks), "text/csv");
  say(`${counted(rows.length, "row")} saved as selection.csv`);
}

async function copyNames() {
  const names = [...new Set(withAlike(shown).map((row) => manifest.images[row]))];
  try {
    await navigator.clipboard.writeText(`${names.join("\n")}\n`);
    say(`${counted(names.length, "name")} copied`);
  } catch {
    say("The browser did not allow copying; save the list instead.");
  }
}

let silence = 0;
function say(text) {
  byId("said").textContent = text;
  clearTimeout(silence);
  silence = setTimeout(() => { byId("said").textContent = ""; }, 5000);
}

function switchTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = document.documentElement.dataset.theme ?? (dark ? "dark" : "light");
  document.documentElement.dataset.theme = now === "dark" ? "light" : "dark";
}
