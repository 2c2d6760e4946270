// What the user has decided: keep, drop or unsure for each row; undone, kept in the browser, written and read.

const MARK_SIGNS = { keep: "✓", drop: "✕", unsure: "?" };
const MARK_FORMAT = "samebody-marks-1";
const MOST_STEPS = 200;

class Marks {
  /** changed: called with the rows whose marks have changed. */
  constructor(changed) {
    Object.assign(this, { changed, byRow: new Map(), done: [], undone: [], kept: true });
    this.key = `samebody:marks:${manifest.digest}`;
    this.read();
    // The same page in another tab.
    window.addEventListener("storage", (event) => {
      if (event.key !== this.key) return;
      const before = [...this.byRow.keys()];
      this.byRow.clear();
      this.read();
      this.changed([...new Set([...before, ...this.byRow.keys()])]);
    });
  }

  of(row) {
    return this.byRow.get(row) ?? "";
  }

  count(mark) {
    let count = 0;
    for (const other of this.byRow.values()) count += mark === "" || other === mark;
    return count;
  }

  /** mark: keep, drop, unsure, or empty to take a mark away. */
  set(rows, mark) {
    const changes = rows.map((row) => [row, this.of(row), mark]).filter(([, before, after]) => before !== after);
    if (!changes.length) return 0;
    this.done.push(changes);
    if (this.done.length > MOST_STEPS) this.done.shift();
    this.undone.length = 0;
    this.apply(changes.map(([row, , after]) => [row, after]));
    return changes.length;
  }

  undo() {
    const changes = this.done.pop();
    if (!changes) return 0;
    this.undone.push(changes);
    this.apply(changes.map(([row, before]) => [row, before]));
    return changes.length;
  }

  redo() {
    const changes = this.undone.pop();
    if (!changes) return 0;
    this.done.push(changes);
    this.apply(changes.map(([row, , after]) => [row, after]));
    return changes.length;
  }

  apply(pairs) {
    for (const [row, mark] of pairs) {
      if (mark) this.byRow.set(row, mark);
      else this.byRow.delete(row);
    }
    this.write();
    this.changed(pairs.map(([row]) => row));
  }

  read() {
    try {
      const stored = JSON.parse(localStorage.getItem(this.key) ?? "{}");
      for (const [row, mark] of Object.entries(stored)) {
        if (Number(row) < rowCount && manifest.marks.includes(mark)) this.byRow.set(Number(row), mark);
      }
    } catch {
      this.kept = false;
    }
  }

  write() {
    try {
      if (this.byRow.size) localStorage.setItem(this.key, JSON.stringify(Object.fromEntries(this.byRow)));
      else localStorage.removeItem(this.key);
      this.kept = true;
    } catch {
      this.kept = false;
    }
  }

  /** Marked rows in the order of the result. */
  rows() {
    return [...this.byRow.keys()].sort((a, b) => a - b);
  }

  asCsv() {
    const lines = this.rows().map((row) => [manifest.images[row], numberOf("instance", row), this.of(row), rankOf(row) || ""]);
    return csvText([["image", "instance", "mark", "rank"], ...lines]);
  }

  asJson() {
    const marks = this.rows().map((row) => ({ image: manifest.images[row], instance: numberOf("instance", row), mark: this.of(row) }));
    return `${JSON.stringify({ format: MARK_FORMAT, result: manifest.digest, marks }, null, 1)}\n`;
  }

  /** Read marks of asCsv, of asJson, or of any CSV with the columns image and mark; says what came of it. */
  load(text) {
    const place = new Map();
    for (let row = rowCount - 1; row >= 0; row--) {
      place.set(`${manifest.images[row]}\n${numberOf("instance", row)}`, row);
      place.set(manifest.images[row], row);
    }
    const byMark = new Map(manifest.marks.map((mark) => [mark, []]));
    let unknown = 0;
    for (const { image, instance, mark } of text.trimStart().startsWith("{") ? marksOfJson(text) : marksOfCsv(text)) {
      if (!byMark.has(mark)) continue;
      const row = place.get(instance === undefined || instance === "" ? image : `${image}\n${instance}`);
      if (row === undefined) unknown++;
      else byMark.get(mark).push(row);
    }
    const changes = [];
    for (const [mark, rows] of byMark) for (const row of rows) if (this.of(row) !== mark) changes.push([row, this.of(row), mark]);
    if (changes.length) {
      this.done.push(changes);
      this.undone.length = 0;
      this.apply(changes.map(([row, , after]) => [row, after]));
    }
    const read = [...byMark.values()].reduce((sum, rows) => sum + rows.length, 0);
    return `${counted(read, "mark")} read, ${changes.length} new${unknown ? `; ${counted(unknown, "name")} not on this page` : ""}`;
  }
}

function marksOfJson(text) {
  const read = JSON.parse(text);
  if (read.format !== MARK_FORMAT || !Array.isArray(read.marks)) throw new Error("no file of marks");
  return read.marks;
}

function marksOfCsv(text) {
  const [head, ...lines] = parsedCsv(text);
  const [image, instance, mark] = ["image", "instance", "mark"].map((name) => head.indexOf(name));
  if (image < 0 || mark < 0) throw new Error("the first line must name the columns image and mark");
  return lines.map((line) => ({ image: line[image], instance: line[instance], mark: line[mark] }));
}

/** RFC 4180. */
function csvText(lines) {
  const quoted = (value) => (/[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
  return `${lines.map((line) => line.map((value) => quoted(String(value))).join(",")).join("\r\n")}\r\n`;
}

function parsedCsv(text) {
  const lines = [[""]];
  let inside = false;
  const source = text.replace(/^\uFEFF/, "");
  for (let i = 0; i < source.length; i++) {
    const line = lines[lines.length - 1], sign = source[i];
    if (inside && sign === '"' && source[i + 1] === '"') line[line.length - 1] += source[++i];
    else if (sign === '"') inside = !inside;
    else if (!inside && sign === ",") line.push("");
    else if (!inside && sign === "\n") lines.push([""]);
    else if (inside || sign !== "\r") line[line.length - 1] += sign;
  }
  return lines.filter((line) => line.length > 1 || line[0]);
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

/** Rows with all their columns, and what was decided about them. */
function csvOf(rows, marks) {
  const best = ofClusters ? ["cluster"] : manifest.several && manifest.people.length ? ["best_match"] : [];
  const head = ["image", "instance", "status", "mark", ...manifest.columns, ...best];
  return csvText([head, ...rows.map((row) => [
    manifest.images[row], numberOf("instance", row), statusOf(row), marks.of(row),
    ...manifest.columns.map((name) => shortest(numberOf(name, row))),
    ...best.map(() => (ofClusters ? groupOf(row) : manifest.people[numberOf("person", row)].name)),
  ])]);
}

function saveFile(name, text, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
