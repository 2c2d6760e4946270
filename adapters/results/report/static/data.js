// What the page holds: a table of texts (JSON), one deflated block of typed arrays, and pictures.

const manifest = JSON.parse(document.getElementById("manifest").textContent);
const inlinePictures = JSON.parse(document.getElementById("pictures").textContent);
const rowCount = manifest.images.length;

/** Arrays by name, each unpacked when it is first asked for: { values, shape, step }. */
const arrays = {};

async function loadArrays() {
  const packed = bytesOf(document.getElementById("block").textContent.trim());
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  for (const [name, entry] of Object.entries(manifest.arrays)) {
    const unpacked = () => {
      const value = { values: unpack(bytes, entry), shape: entry.shape, step: entry.step };
      Object.defineProperty(arrays, name, { value, enumerable: true });
      return value;
    };
    Object.defineProperty(arrays, name, { get: unpacked, enumerable: true, configurable: true });
  }
}

/** What base64 stands for; browsers of 2025 and later do it themselves, several times as fast. */
function bytesOf(base64) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64);
  const text = atob(base64), bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/** The lowest bytes of all numbers come first, then the next: put them together again. */
function unpack(bytes, entry) {
  const Kind = {
    float32: Float32Array, uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array,
    int16: Int16Array, int32: Int32Array,
  }[entry.type];
  const count = entry.shape.reduce((product, size) => product * size, 1);
  const width = Kind.BYTES_PER_ELEMENT;
  const mixed = new Uint8Array(count * width);
  for (let byte = 0; byte < width; byte++) {
    const start = entry.at + byte * count;
    for (let i = 0; i < count; i++) mixed[i * width + byte] = bytes[start + i];
  }
  return new Kind(mixed.buffer);
}

/** The numbers of one row, in their unit. */
function rowOf(name, row) {
  const { values, shape, step } = arrays[name];
  const width = values.length / shape[0];
  const part = values.subarray(row * width, (row + 1) * width);
  return step === 1 ? part : Float32Array.from(part, (value) => value * step);
}

const numberOf = (name, row) => arrays[name].values[row];
const isDrawn = (row) => arrays.drawn.values[row] === 1;
const statusOf = (row) => manifest.statuses[arrays.status.values[row]];
const hasBodies = () => "template" in arrays;
const hasOutlines = () => "edges" in arrays;

/** Address of a row's thumbnail; null if there is none. */
function pictureOf(row) {
  if (arrays.picture.values[row] !== 1) return null;
  if (manifest.pictures === null) return `data:image/jpeg;base64,${inlinePictures[row]}`;
  return `${encodeURIComponent(manifest.pictures)}/${String(row).padStart(6, "0")}.jpg`;
}

/** How a row is called where it is read or heard. */
function nameOf(row) {
  const instance = numberOf("instance", row);
  return instance > 0 ? `${manifest.images[row]}, person ${instance + 1}` : manifest.images[row];
}

/** Whether the page shows clusters, and not scores against a reference. */
const ofClusters = manifest.mode === "clusters";

const BODY_SCORES = {
  log_bayes_factor: { label: "Evidence", term: "evidence", axis: "evidence, nats", digits: 1, signed: true, start: 0 },
  same_body_probability: { label: "Probability", term: "probability", axis: "probability of the same body", digits: 2, range: [0, 1], start: 0.5 },
  consistency: { label: "Consistency", term: "consistency", axis: "consistency, a fit to keypoints", digits: 2, range: [0, 1], start: 0.5 },
};
const CLUSTER_SCORES = {
  probability: { label: "Probability", term: "membership", axis: "probability of belonging to its cluster", digits: 2, range: [0, 1], start: 0.5 },
  margin: { label: "Margin", term: "margin", axis: "margin over the best other cluster, nats", digits: 1, signed: true, start: 0 },
  log_bayes_factor: { label: "Own cluster", term: "own cluster", axis: "own cluster against a stranger, nats", digits: 1, signed: true, start: 0 },
};
const SCORES = ofClusters ? CLUSTER_SCORES : BODY_SCORES;
/** What lies at the ends of the axis. */
const ENDS = ofClusters ? ["doubtful", "belongs"] : ["another body", "same body"];
const shownScores = Object.keys(SCORES).filter((name) => manifest.columns.includes(name));

function scoreText(name, value) {
  if (Number.isNaN(value)) return "–";
  const { digits, signed } = SCORES[name];
  const text = value.toFixed(digits).replace("-", "−");
  if (Number(value.toFixed(digits)) === 0) return text.replace("−", "");
  return signed && value > 0 ? `+${text}` : text;
}

/** What a row is: { name, label, look }, one of manifest.kinds. */
const kindOf = (row) => manifest.kinds[arrays.kind.values[row]];
const statusWords = (row) => manifest.status_words[statusOf(row)] ?? statusOf(row);

/** The kind in words; where a row has no scores, why. */
const kindWords = (row) => (kindOf(row).look === "doubt" ? statusWords(row) : kindOf(row).label);

/** The place in the queue, from 1; 0 for rows that are not in it. */
const rankOf = (row) => arrays.rank.values[row];

/** The person or the cluster of a row; empty where it is in none. */
const groupOf = (row) => manifest.groups[arrays.group.values[row]] ?? "";

/** Why the row differs, in words; empty where nothing stands out or nothing was fitted. */
const reasonOf = (row) => manifest.reasons[arrays.reason.values[row]];

/** Where the mouse rests on a word, its meaning is shown. */
function explain(element, term) {
  if (term in manifest.terms) element.title = manifest.terms[term];
  return element;
}

/** An element with a class and a text. */
function make(tag, className = "", text = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text) element.textContent = text;
  return element;
}

const counted = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
