// What the page holds: a table of texts (JSON), one deflated block of typed arrays, and pictures.

const manifest = JSON.parse(document.getElementById("manifest").textContent);
const inlinePictures = JSON.parse(document.getElementById("pictures").textContent);
const rowCount = manifest.images.length;

/** Arrays by name, filled by loadArrays: { values, shape, step }. */
const arrays = {};

async function loadArrays() {
  const text = atob(document.getElementById("block").textContent.trim());
  const packed = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) packed[i] = text.charCodeAt(i);
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  for (const [name, entry] of Object.entries(manifest.arrays)) {
    arrays[name] = { values: unpack(bytes, entry), shape: entry.shape, step: entry.step };
  }
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

const STATUS_WORDS = {
  ok: "scored",
  low_information: "says too little",
  too_few_keypoints: "too few keypoints",
  not_converged: "fit did not converge",
  no_detection: "nobody found",
  bad_input: "unreadable",
};

const SCORES = {
  log_bayes_factor: {
    label: "Evidence", axis: "log Bayes factor, nats", start: 0, digits: 1, signed: true,
    low: "another body", high: "same body",
  },
  same_body_probability: {
    label: "Probability", axis: "probability of the same body", start: 0.5, digits: 2, range: [0, 1],
    low: "another body", high: "same body",
  },
  consistency: {
    label: "Consistency", axis: "consistency", start: 0.5, digits: 2, range: [0, 1],
    low: "explained worse", high: "explained as well",
  },
};
const shownScores = Object.keys(SCORES).filter((name) => manifest.columns.includes(name));

function scoreText(name, value) {
  if (Number.isNaN(value)) return "–";
  const { digits, signed } = SCORES[name];
  const text = value.toFixed(digits).replace("-", "−");
  if (Number(value.toFixed(digits)) === 0) return text.replace("−", "");
  return signed && value > 0 ? `+${text}` : text;
}

/** match, differ, unclear, scored (where there is no probability) or unscored. */
function verdictOf(row) {
  if (!("same_body_probability" in arrays)) {
    return Number.isNaN(numberOf("consistency", row)) ? "unscored" : "scored";
  }
  const probability = numberOf("same_body_probability", row);
  if (Number.isNaN(probability)) return "unscored";
  if (probability >= manifest.summary.match_at) return "match";
  return probability <= manifest.summary.differ_at ? "differ" : "unclear";
}

const VERDICT_WORDS = { match: "match", differ: "differs", unclear: "cannot tell", scored: "scored", unscored: "not scored" };
