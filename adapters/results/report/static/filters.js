// Which rows are shown, and in which order.

const QUEUE_STEP = 20;

const state = {
  /** "first", "all", or the name of a kind. */
  tile: "first",
  /** How many the first tile shows. */
  first: QUEUE_STEP,
  /** Number of a person or a cluster; -1 for all. */
  group: -1,
  search: "",
  /** "any", "none", or a mark. */
  mark: "any",
  score: shownScores[0],
  thresholds: Object.fromEntries(shownScores.map((name) => [name, SCORES[name].start])),
  side: "all",
  /** Of the score, from a bar of the histogram: [low, high]. */
  range: null,
  sort: "rank",
  descending: false,
  /** Pictures that look alike lie on one card, but for the groups that were opened. */
  fold: true,
  opened: new Set(),
};

/** Rows that lie under the card of another, by the row of that card. */
let under = new Map();

/** Rows with those that lie under their cards. */
const withAlike = (rows) => rows.flatMap((row) => [row, ...(under.get(row) ?? [])]);

/** The first row of each group of pictures that look alike; the others lie under it. */
function folded(rows) {
  under = new Map();
  if (!state.fold) return rows;
  const heads = new Map();
  return rows.filter((row) => {
    const group = arrays.alike.values[row], head = heads.get(group);
    if (state.opened.has(group)) return true;
    if (head === undefined) heads.set(group, row);
    else under.set(head, [...(under.get(head) ?? []), row]);
    return head === undefined;
  });
}

/** Rows that pass tab, name and mark, whatever their scores. */
function candidates(marks) {
  const wanted = state.search.toLowerCase(), rows = [];
  for (let row = 0; row < rowCount; row++) {
    if (state.group >= 0 && arrays.group.values[row] !== state.group) continue;
    if (wanted && !nameOf(row).toLowerCase().includes(wanted)) continue;
    if (state.mark !== "any" && marks.of(row) !== (state.mark === "none" ? "" : state.mark)) continue;
    rows.push(row);
  }
  return rows;
}

/** Of the candidates, those of the chosen tile. */
function ofTile(rows, tile) {
  if (tile === "all") return rows;
  if (tile !== "first") return rows.filter((row) => kindOf(row).name === tile);
  return withAlike(folded(byRank(rows).filter((row) => rankOf(row) > 0)).slice(0, state.first));
}

/** Of the candidates, those that the histogram counts: around the queue, all of them. */
function ofHistogram(rows) {
  return state.tile === "first" ? rows : ofTile(rows, state.tile);
}

/** How many candidates each tile holds. */
function tileCounts(rows) {
  const counts = { all: rows.length, first: 0, ...Object.fromEntries(manifest.kinds.map((kind) => [kind.name, 0])) };
  let ranked = 0;
  for (const row of rows) {
    counts[kindOf(row).name]++;
    ranked += rankOf(row) > 0;
  }
  counts.first = Math.min(ranked, state.first);
  return { counts, ranked };
}

function onSide(row) {
  const value = arrays[state.score].values[row];
  if (state.range && !(value >= state.range[0] && value < state.range[1])) return false;
  const threshold = state.thresholds[state.score];
  return state.side === "all" || (state.side === "below" ? value < threshold : value >= threshold);
}

let rankOrder = null;
/** These rows in the order of the queue, those without a rank last; all rows are sorted once. */
function byRank(rows) {
  const place = (row) => rankOf(row) || rowCount + 1;
  rankOrder ??= Array.from({ length: rowCount }, (_, row) => row).sort((a, b) => place(a) - place(b) || a - b);
  const wanted = new Uint8Array(rowCount);
  for (const row of rows) wanted[row] = 1;
  return rankOrder.filter((row) => wanted[row]);
}

function sortedRows(rows, by, descending) {
  if (by === "rank" && !descending) return byRank(rows);
  const sign = descending ? -1 : 1, chosen = rows.slice();
  if (by === "image") {
    const order = new Intl.Collator(undefined, { numeric: true });
    return chosen.sort((a, b) => sign * order.compare(nameOf(a), nameOf(b)) || a - b);
  }
  const values = arrays[by].values;
  const missing = (row) => (by === "rank" ? values[row] === 0 : Number.isNaN(values[row]));
  // Rows without the number come last, whatever the direction.
  return chosen.sort((a, b) => missing(a) - missing(b) || (missing(a) ? 0 : sign * (values[a] - values[b])) || a - b);
}

/** Range of the number of other bodies among these rows, as adapters.results.ranking has it; null where it is unknown. */
function rangeOfOthers(rows) {
  if (!manifest.shares) return null;
  const ends = manifest.shares.map((share, end) => {
    const chances = rows.map((row) => share / (share + (1 - share) * Math.exp(arrays.log_bayes_factor.values[row])));
    const mean = chances.reduce((sum, p) => sum + p, 0), spread = Math.sqrt(chances.reduce((sum, p) => sum + p * (1 - p), 0));
    return Math.max(0, Math.min(rows.length, Math.round(mean + (end ? 1.28 : -1.28) * spread)));
  });
  return ends;
}

/** The line above the gallery: what is shown, and how far it can be relied on. */
function headline(shown, ranked) {
  if (state.tile !== "first") {
    if (ofClusters && state.group >= 0 && state.tile === "all") return [manifest.groups[state.group], `${manifest.group_words[state.group]}. Those that fit it least come first.`];
    const kind = manifest.kinds.find((one) => one.name === state.tile);
    return kind ? [kind.label[0].toUpperCase() + kind.label.slice(1), manifest.terms[kind.label]] : ["All pictures", ""];
  }
  if (ofClusters) return ["Pictures that fit their cluster least", ranked ? "Lowest probability first." : ""];
  if (!ranked) return ["Look at these first", "No row could be ranked."];
  const range = rangeOfOthers(shown);
  if (range) return ["Look at these first", `Expect ${range[0]} to ${range[1]} of these ${shown.length} to show another body.`];
  const words = manifest.mode === "rest" ? "Lowest consistency first. The rest-pose mode has no evidence about bodies." : "Most unlike the references first.";
  return ["Look at these first", words];
}
