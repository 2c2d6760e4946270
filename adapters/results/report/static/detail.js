// One picture in full: its kind, which limbs differ, and the two bodies.

const dialog = document.getElementById("detail");
const part = (name) => dialog.querySelector(`[data-part="${name}"]`);

class Detail {
  /** step: called with -1 or 1 for the picture before or after; mark: called with a row and a mark. */
  constructor(step, marks, mark) {
    Object.assign(this, { step, marks, setMark: mark });
    this.parts = new Set(PARTS);
    this.inPicturePose = true;
    this.viewer = hasBodies() ? new BodyViewer(part("bodies")) : null;
    if (!hasBodies()) part("body-panel").hidden = true;
    else if (!this.viewer.gl) part("no-webgl").hidden = false;
    part("close").addEventListener("click", () => dialog.close());
    part("previous").addEventListener("click", () => step(-1));
    part("next").addEventListener("click", () => step(1));
    for (const button of dialog.querySelectorAll("[data-mark]")) button.addEventListener("click", () => this.mark(button.dataset.mark));
    for (const box of dialog.querySelectorAll("input[data-overlay]")) {
      const there = { keypoints: () => arrays.confidence.shape[1] > 0, edges: hasOutlines }[box.dataset.overlay] ?? hasBodies;
      box.parentElement.hidden = !there();
      box.addEventListener("change", () => {
        this.parts[box.checked ? "add" : "delete"](box.dataset.overlay);
        this.drawPicture();
      });
    }
    part("pose").addEventListener("change", () => {
      this.inPicturePose = part("pose").checked;
      this.viewer?.reset();
      this.drawBodies();
    });
    dialog.addEventListener("keydown", (event) => {
      if (event.target.matches("input, canvas") && event.key !== "Escape") return;
      if (event.key === "ArrowLeft") step(-1);
      else if (event.key === "ArrowRight") step(1);
      else return;
      event.preventDefault();
    });
    new ResizeObserver(() => { if (dialog.open) { this.drawPicture(); this.viewer?.draw(); } }).observe(dialog);
  }

  show(row, place, count) {
    this.row = row;
    if (!dialog.open) dialog.showModal();
    const kind = kindOf(row);
    part("name").textContent = nameOf(row);
    part("place").textContent = `${place + 1} of ${count}`;
    part("verdict").className = `tag big ${kind.look}`;
    explain(part("verdict"), kind.label).textContent = kindWords(row);
    part("sentence").textContent = sentence(row, kind);
    this.showMark();
    part("remark").textContent = manifest.details[row] ?? "";
    part("stage").replaceChildren(stageContent(row), part("overlay"));
    this.fillScores(row);
    this.fillLimbs(row);
    this.viewer?.reset();
    dialog.scrollTop = 0;
    this.drawPicture();
    this.drawBodies();
  }

  /** Mark the picture that is open; the same mark again takes it away. */
  mark(value) {
    const mark = value === this.marks.of(this.row) ? "" : value, before = this.row;
    this.setMark(before, mark);
    if (mark && state.mark === "any") this.step(1);
  }

  showMark() {
    if (this.row === undefined) return;
    for (const button of dialog.querySelectorAll("[data-mark]")) button.setAttribute("aria-pressed", String(button.dataset.mark === this.marks.of(this.row)));
  }

  drawPicture() {
    drawOverlay(part("overlay"), this.row, this.parts);
  }

  fillScores(row) {
    const words = ofClusters ? {
      probability: ["membership", "", 3], margin: ["margin", "nats", 2], log_bayes_factor: ["own cluster", "nats", 2],
    } : {
      log_bayes_factor: ["evidence", "nats", 2], same_body_probability: ["probability", "", 3],
      information_bits: ["information", "bits", 2], consistency: ["consistency", "", 3], oks: ["OKS", "", 3],
      reprojection_error: ["keypoint distance", "% of height", 2], reprojection_error_px: ["keypoint distance", "px", 1],
    };
    const rows = Object.entries(words).filter(([name]) => name in arrays).map(([name, [label, unit, digits]]) => {
      const value = numberOf(name, row) * (name === "reprojection_error" ? 100 : 1);
      const text = Number.isNaN(value) ? "–" : `${value.toFixed(digits).replace("-", "−")} ${unit}`.trim();
      return pair(label, text);
    });
    if (rankOf(row)) rows.unshift(pair("rank", `${rankOf(row).toLocaleString("en")} of ${manifest.ranked.toLocaleString("en")}`));
    if (ofClusters) rows.unshift(pair("cluster", groupOf(row) || "–"));
    if (manifest.several && manifest.people.length) rows.unshift(pair("best match", manifest.people[numberOf("person", row)].name));
    rows.push(pair("status", statusWords(row)));
    part("scores").replaceChildren(...rows.flat());
  }

  fillLimbs(row) {
    const drawn = isDrawn(row) && hasBodies();
    part("limb-panel").hidden = !drawn;
    if (!drawn) return;
    const { sure, limbs } = limbsOf(row);
    part("limb-words").textContent = limbWords(row, limbs, sure);
    part("outline-words").textContent = manifest.outlines?.[row] ?? "";
    const widest = Math.max(0.08, ...limbs.map((limb) => Math.abs(limb.change) + 2 * limb.deviation));
    part("limbs").replaceChildren(...limbs.map((limb) => limbLine(limb, widest)));
  }

  drawBodies() {
    if (!this.viewer) return;
    const row = this.row;
    part("bodies").classList.toggle("absent", !isDrawn(row));
    if (!isDrawn(row)) {
      this.viewer.meshes.length = 0;
      part("body-words").textContent = "This row has no fitted body.";
      return;
    }
    const reference = fitOf(row, "reference"), own = fitOf(row, "own");
    const referenceRest = restVertices(reference.betas), ownRest = restVertices(own.betas);
    const { distance, scale } = differenceMm(referenceRest, ownRest);
    const ranked = Float32Array.from(distance).sort();
    const largest = Math.max(20, Math.ceil(ranked[Math.floor(ranked.length * 0.99)] / 10) * 10);
    const pose = this.inPicturePose ? rowOf("own_pose", row) : null;
    const posed = (rest, fit) => (pose ? skinned(rest, fit.joints, posedSkeleton(fit.joints, pose)) : rest);
    const bodies = [[referenceRest, reference, 1, null], [ownRest, own, scale, distance]].map(([rest, fit, size, amounts]) => {
      const vertices = posed(rest, fit).map((value) => value * size);
      const amount = amounts ? amounts.map((mm) => mm / largest) : new Float32Array(rest.length / 3);
      return { vertices, normals: vertexNormals(vertices), amount };
    });
    this.viewer.show(bodies);
    part("least").textContent = "0 mm";
    part("most").textContent = `${largest} mm`;
    const mean = distance.reduce((sum, mm) => sum + mm, 0) / distance.length;
    part("body-words").textContent = `${mean.toFixed(0)} mm apart on average, ${ranked[ranked.length - 1].toFixed(0)} mm at most, both at the same overall size. ${manifest.outlines?.[row] ? "Girth follows the outline as far as clothes allow." : "Girth is a guess: keypoints do not show it."}`;
  }
}

function pair(label, text) {
  return [explain(make("dt", "", label), label), make("dd", "", text)];
}

function sentence(row, kind) {
  const person = manifest.people[numberOf("person", row)]?.name;
  const who = manifest.several && person ? person : "the reference person";
  if (kind.look === "doubt") return "This is no sign of another body. Look at the picture.";
  if (kind.name === "too_little") return "These keypoints could not decide either way.";
  if (ofClusters) return kind.name === "alone" ? "No other picture shows a body like this one's." : `It belongs to ${groupOf(row)} with probability ${scoreText("probability", numberOf("probability", row))}.`;
  if (kind.name === "scored") return `Consistency with ${who}: ${scoreText("consistency", numberOf("consistency", row))}.`;
  const log = numberOf("log_bayes_factor", row), odds = Math.exp(Math.abs(log)), why = reasonOf(row);
  const because = why ? ` What differs most: ${why}.` : "";
  if (kind.name === "undecided") {
    const limit = Math.log(manifest.summary.match_at / (1 - manifest.summary.match_at)).toFixed(1);
    return `Evidence of ${scoreText("log_bayes_factor", log)} nats is not enough to decide; that takes −${limit} or +${limit}.${because}`;
  }
  const times = odds > 1e4 ? "more than 10,000" : odds.toFixed(0);
  return `${times} to 1 ${log >= 0 ? `for the body of ${who}` : "for another body"}.${log < 0 ? because : ""}`;
}

/**
 * The limbs of a row, and those that differ clearly: by twice the uncertainty, by more than a per cent, and where at
 * least half of what is not known of a stranger's limb is seen in the picture.
 */
function limbsOf(row) {
  const change = rowOf("limb_change", row), deviation = rowOf("limb_deviation", row);
  const visible = rowOf("limb_shown", row);
  const limbs = manifest.limbs.map((name, i) => ({
    name, change: change[i], deviation: deviation[i],
    seen: visible[i] >= 0.5,
    clear: visible[i] >= 0.5 && Math.abs(change[i]) > Math.max(0.01, 2 * deviation[i]),
  }));
  return { limbs, sure: limbs.filter((limb) => limb.clear).sort((a, b) => Math.abs(b.change) - Math.abs(a.change)) };
}

const percent = (share) => (Math.abs(share) * 100).toFixed(Math.abs(share) < 0.0995 ? 1 : 0);

function changeWords(limb) {
  const wide = limb.name.endsWith("width");
  return `${limb.name} ${percent(limb.change)} % ${limb.change > 0 ? (wide ? "wider" : "longer") : wide ? "narrower" : "shorter"}`;
}

function limbWords(row, limbs, sure) {
  const bits = "information_bits" in arrays ? numberOf("information_bits", row) : NaN;
  if (statusOf(row) === "low_information") {
    return `This picture has too little information about the body (${bits.toFixed(1)} bits): its own body below is mostly the average person.`;
  }
  if (!limbs.some((limb) => limb.seen)) {
    return `This picture shows no limb well (${bits.toFixed(1)} bits): the lengths below are mostly those of the average person.`;
  }
  if (sure.length) return `Clearly different in this picture: ${sure.map(changeWords).join(", ")}.`;
  return `No single limb differs by more than its uncertainty (${bits.toFixed(1)} bits).`;
}

function limbLine(limb, widest) {
  const line = document.createElement("li"), label = document.createElement("span"), value = document.createElement("span");
  line.className = limb.clear ? "clear" : limb.seen ? "" : "unseen";
  if (!limb.seen) line.title = "hardly seen in this picture: mostly the average person's";
  label.textContent = limb.name;
  value.className = "value";
  value.textContent = `${limb.change < 0 ? "−" : "+"}${percent(limb.change)} % ± ${percent(2 * limb.deviation)}`;
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 200 16");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const x = (share) => 100 + (share / widest) * 96;
  const shapes = [
    ["rect", { class: "range", x: x(limb.change - 2 * limb.deviation), width: Math.max(1, x(limb.change + 2 * limb.deviation) - x(limb.change - 2 * limb.deviation)), y: 5, height: 6, rx: 3 }],
    ["rect", { class: "zero", x: 99.5, width: 1, y: 0, height: 16 }],
    ["rect", { class: limb.change < 0 ? "mark shorter" : "mark longer", x: x(limb.change) - 1.5, width: 3, y: 2, height: 12, rx: 1.5 }],
  ];
  for (const [kind, attributes] of shapes) {
    const shape = document.createElementNS(SVG, kind);
    for (const [key, number] of Object.entries(attributes)) shape.setAttribute(key, number);
    svg.append(shape);
  }
  line.append(label, svg, value);
  return line;
}
