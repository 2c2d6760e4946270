// What is drawn over a picture: outline and skeleton of the fitted reference body, the edge of the person's mask, detected
// keypoints, and arrows from where a keypoint was seen to where the body has it.

const OVERLAY = { body: "#39b7ff", bodyFill: "rgba(57,183,255,0.20)", halo: "rgba(8,14,22,0.75)", point: "#ff9d2e", arrow: "#ffe14d", edge: "#7dff8a" };
const PARTS = ["outline", "skeleton", "edges", "keypoints", "arrows"];

/** How a thumbnail lies in a box of this size. */
function placement(row, width, height) {
  const [frameWidth, frameHeight] = rowOf("frame", row);
  const scale = Math.min(width / frameWidth, height / frameHeight);
  return { scale, left: (width - frameWidth * scale) / 2, top: (height - frameHeight * scale) / 2 };
}

/** Draw onto a canvas that covers the box in which the thumbnail lies; parts as in PARTS. */
function drawOverlay(canvas, row, parts) {
  const ratio = Math.min(window.devicePixelRatio || 1, 2);
  const width = canvas.clientWidth, height = canvas.clientHeight;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const place = placement(row, width, height);
  const context = canvas.getContext("2d");
  context.setTransform(ratio * place.scale, 0, 0, ratio * place.scale, ratio * place.left, ratio * place.top);
  const unit = 1 / place.scale;
  if (isDrawn(row) && hasBodies()) {
    const fit = fitOf(row, "reference");
    if (parts.has("outline")) drawOutline(context, canvas, fit, ratio);
    if (parts.has("skeleton")) drawSkeleton(context, fit, unit);
  }
  if (parts.has("arrows") && isDrawn(row)) drawArrows(context, row, unit);
  if (parts.has("edges") && hasOutlines()) drawEdges(context, row, unit);
  if (parts.has("keypoints")) drawKeypoints(context, row, unit);
}

function drawSkeleton(context, fit, unit) {
  const places = seen(fit.skeleton.positions, fit.camera);
  const bones = new Path2D();
  manifest.parents.forEach((parent, j) => {
    if (parent < 0) return;
    bones.moveTo(places[2 * parent], places[2 * parent + 1]);
    bones.lineTo(places[2 * j], places[2 * j + 1]);
  });
  context.lineCap = context.lineJoin = "round";
  for (const [colour, thickness] of [[OVERLAY.halo, 4.5], [OVERLAY.body, 2.2]]) {
    context.strokeStyle = colour;
    context.lineWidth = thickness * unit;
    context.stroke(bones);
  }
}

function drawKeypoints(context, row, unit) {
  const points = rowOf("keypoints", row), confidence = rowOf("confidence", row);
  for (let k = 0; k < confidence.length; k++) {
    if (confidence[k] === 0) continue;
    context.globalAlpha = 0.35 + 0.65 * confidence[k];
    context.beginPath();
    context.arc(points[2 * k], points[2 * k + 1], 3 * unit, 0, 7);
    context.fillStyle = OVERLAY.point;
    context.strokeStyle = OVERLAY.halo;
    context.lineWidth = 1.2 * unit;
    context.fill();
    context.stroke();
  }
  context.globalAlpha = 1;
}

/** Where the rays from the limbs leave the person's mask. */
function drawEdges(context, row, unit) {
  const ends = rowOf("edges", row), seen = rowOf("edge_seen", row);
  context.fillStyle = OVERLAY.edge;
  context.strokeStyle = OVERLAY.halo;
  context.lineWidth = 0.8 * unit;
  for (let k = 0; k < seen.length; k++) {
    if (!seen[k]) continue;
    context.beginPath();
    context.arc(ends[2 * k], ends[2 * k + 1], 2 * unit, 0, 7);
    context.fill();
    context.stroke();
  }
}

/** Arrows of true length; those too short to be seen are left out. */
function drawArrows(context, row, unit) {
  const points = rowOf("keypoints", row), residuals = rowOf("residuals", row), confidence = rowOf("confidence", row);
  const arrows = new Path2D();
  for (let k = 0; k < confidence.length; k++) {
    const dx = -residuals[2 * k], dy = -residuals[2 * k + 1], length = Math.hypot(dx, dy);
    if (confidence[k] === 0 || length < 2.5 * unit) continue;
    const x = points[2 * k] + dx, y = points[2 * k + 1] + dy, head = Math.min(5 * unit, length / 2);
    arrows.moveTo(points[2 * k], points[2 * k + 1]);
    arrows.lineTo(x, y);
    for (const side of [0.45, -0.45]) {
      const angle = Math.atan2(dy, dx) + Math.PI + side;
      arrows.moveTo(x, y);
      arrows.lineTo(x + head * Math.cos(angle), y + head * Math.sin(angle));
    }
  }
  for (const [colour, thickness] of [[OVERLAY.halo, 4], [OVERLAY.arrow, 1.8]]) {
    context.strokeStyle = colour;
    context.lineWidth = thickness * unit;
    context.stroke(arrows);
  }
}

/** The silhouette of the mesh: filled lightly, with a line around it. */
function drawOutline(context, canvas, fit, ratio) {
  const places = seen(skinned(restVertices(fit.betas), fit.joints, fit.skeleton), fit.camera);
  const faces = arrays.faces.values, shape = new Path2D();
  for (let f = 0; f < faces.length; f += 3) {
    const [a, b, c] = [2 * faces[f], 2 * faces[f + 1], 2 * faces[f + 2]];
    const area = (places[b] - places[a]) * (places[c + 1] - places[a + 1]) - (places[c] - places[a]) * (places[b + 1] - places[a + 1]);
    // All wound the same way, those seen from behind too: where the mesh folds, nothing cancels out.
    const [second, third] = area < 0 ? [b, c] : [c, b];
    shape.moveTo(places[a], places[a + 1]);
    shape.lineTo(places[second], places[second + 1]);
    shape.lineTo(places[third], places[third + 1]);
  }
  const mask = new OffscreenCanvas(canvas.width, canvas.height), inside = mask.getContext("2d");
  inside.setTransform(context.getTransform());
  inside.fillStyle = inside.strokeStyle = OVERLAY.body;
  inside.lineJoin = "round"; // pointed joins stick out of thin triangles
  inside.lineWidth = ratio / context.getTransform().a;
  inside.fill(shape);
  inside.stroke(shape); // closes the seams between triangles
  const line = new OffscreenCanvas(canvas.width, canvas.height), around = line.getContext("2d");
  for (let k = 0; k < 12; k++) {
    around.drawImage(mask, 1.6 * ratio * Math.cos((k * Math.PI) / 6), 1.6 * ratio * Math.sin((k * Math.PI) / 6));
  }
  around.globalCompositeOperation = "destination-out";
  around.drawImage(mask, 0, 0);
  context.save();
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.globalAlpha = 0.16;
  context.drawImage(mask, 0, 0);
  context.globalAlpha = 0.95;
  context.drawImage(line, 0, 0);
  context.restore();
}
