// The body: shape to vertices and joints, pose to a skeleton, linear blend skinning. The conventions are those of
// engine/body/model.py; metres, radians, x to the subject's left, y up, z to the front.

/** Rotation matrix, row by row, of a rotation vector. */
function rotation(x, y, z) {
  const angle = Math.hypot(x, y, z);
  if (angle < 1e-8) return [1, 0, 0, 0, 1, 0, 0, 0, 1];
  const [a, b, c] = [x / angle, y / angle, z / angle];
  const cosine = Math.cos(angle), sine = Math.sin(angle), rest = 1 - cosine;
  return [
    cosine + a * a * rest, a * b * rest - c * sine, a * c * rest + b * sine,
    a * b * rest + c * sine, cosine + b * b * rest, b * c * rest - a * sine,
    a * c * rest - b * sine, b * c * rest + a * sine, cosine + c * c * rest,
  ];
}

function product(A, B) {
  const C = new Array(9);
  for (let r = 0; r < 3; r++) {
    for (let c = 0; c < 3; c++) C[3 * r + c] = A[3 * r] * B[c] + A[3 * r + 1] * B[3 + c] + A[3 * r + 2] * B[6 + c];
  }
  return C;
}

/** base + directions · betas, for vertices as well as joints. */
function shaped(baseName, directionsName, betas) {
  const base = arrays[baseName], directions = arrays[directionsName], count = betas.length;
  const points = new Float32Array(base.values.length);
  const scaled = Array.from(betas, (beta) => beta * directions.step);
  for (let i = 0; i < points.length; i++) {
    let value = base.values[i] * base.step;
    for (let b = 0; b < count; b++) value += directions.values[i * count + b] * scaled[b];
    points[i] = value;
  }
  return points;
}

const restVertices = (betas) => shaped("template", "shapedirs", betas);
const restJoints = (betas) => shaped("joints", "joint_shapedirs", betas);

/** Rotation and position of every joint in the world; a pose of null is the rest pose. */
function posedSkeleton(joints, pose) {
  const rotations = [], positions = new Float32Array(joints.length);
  manifest.parents.forEach((parent, j) => {
    const own = pose ? rotation(pose[3 * j], pose[3 * j + 1], pose[3 * j + 2]) : rotation(0, 0, 0);
    rotations.push(parent < 0 ? own : product(rotations[parent], own));
    for (let r = 0; r < 3; r++) {
      positions[3 * j + r] = joints[3 * j + r];
      if (parent < 0) continue;
      const turn = rotations[parent];
      positions[3 * j + r] = positions[3 * parent + r];
      for (let c = 0; c < 3; c++) {
        positions[3 * j + r] += turn[3 * r + c] * (joints[3 * j + c] - joints[3 * parent + c]);
      }
    }
  });
  return { rotations, positions };
}

/** Vertices of a posed body. */
function skinned(vertices, joints, skeleton) {
  const bones = arrays.bones.values, weights = arrays.bone_weights.values, step = arrays.bone_weights.step;
  const width = arrays.bones.shape[1], count = vertices.length / 3;
  const moved = new Float32Array(vertices.length);
  const offsets = skeleton.rotations.map((turn, j) => [0, 1, 2].map((r) =>
    skeleton.positions[3 * j + r] - turn[3 * r] * joints[3 * j] - turn[3 * r + 1] * joints[3 * j + 1]
      - turn[3 * r + 2] * joints[3 * j + 2]));
  for (let v = 0; v < count; v++) {
    const x = vertices[3 * v], y = vertices[3 * v + 1], z = vertices[3 * v + 2];
    let total = 0;
    for (let k = 0; k < width; k++) {
      const weight = weights[v * width + k] * step;
      if (weight === 0) continue;
      const turn = skeleton.rotations[bones[v * width + k]], offset = offsets[bones[v * width + k]];
      total += weight;
      for (let r = 0; r < 3; r++) {
        moved[3 * v + r] += weight * (turn[3 * r] * x + turn[3 * r + 1] * y + turn[3 * r + 2] * z + offset[r]);
      }
    }
    for (let r = 0; r < 3; r++) moved[3 * v + r] /= total;
  }
  return moved;
}

/** Betas of a row's reference body. */
const referenceBetas = (row) => manifest.people[numberOf("person", row)].betas;

/** A row's fit: whose is "reference" or "own". */
function fitOf(row, whose) {
  const betas = whose === "own" ? rowOf("own_betas", row) : referenceBetas(row);
  const joints = restJoints(betas);
  const skeleton = posedSkeleton(joints, rowOf(`${whose}_pose`, row));
  return { betas, joints, skeleton, camera: rowOf(`${whose}_camera`, row) };
}

/** Where points are seen in the thumbnail: x, y, x, y, ... */
function seen(points, camera) {
  const places = new Float32Array((points.length / 3) * 2);
  for (let i = 0; i < points.length / 3; i++) {
    places[2 * i] = camera[0] * points[3 * i] + camera[1];
    places[2 * i + 1] = -camera[0] * points[3 * i + 1] + camera[2];
  }
  return places;
}

/**
 * How far two bodies are apart, vertex by vertex, in millimetres, when the second is moved and scaled onto the first
 * as well as it goes: stature cannot be seen, so overall size is no difference.
 */
function differenceMm(reference, other) {
  const count = reference.length / 3;
  const middle = [0, 1, 2].map((c) => {
    let a = 0, b = 0;
    for (let i = 0; i < count; i++) { a += reference[3 * i + c]; b += other[3 * i + c]; }
    return [a / count, b / count];
  });
  let crossed = 0, squared = 0;
  for (let i = 0; i < reference.length; i++) {
    const centred = other[i] - middle[i % 3][1];
    crossed += centred * (reference[i] - middle[i % 3][0]);
    squared += centred * centred;
  }
  const scale = crossed / squared;
  const distance = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    let sum = 0;
    for (let c = 0; c < 3; c++) {
      sum += (scale * (other[3 * i + c] - middle[c][1]) - (reference[3 * i + c] - middle[c][0])) ** 2;
    }
    distance[i] = 1000 * Math.sqrt(sum);
  }
  return { distance, scale };
}

/** Normals of a mesh, not of unit length. */
function vertexNormals(vertices) {
  const faces = arrays.faces.values, normals = new Float32Array(vertices.length);
  for (let f = 0; f < faces.length; f += 3) {
    const [a, b, c] = [3 * faces[f], 3 * faces[f + 1], 3 * faces[f + 2]];
    const ux = vertices[b] - vertices[a], uy = vertices[b + 1] - vertices[a + 1], uz = vertices[b + 2] - vertices[a + 2];
    const vx = vertices[c] - vertices[a], vy = vertices[c + 1] - vertices[a + 1], vz = vertices[c + 2] - vertices[a + 2];
    const nx = uy * vz - uz * vy, ny = uz * vx - ux * vz, nz = ux * vy - uy * vx;
    for (const corner of [a, b, c]) {
      normals[corner] += nx;
      normals[corner + 1] += ny;
      normals[corner + 2] += nz;
    }
  }
  return normals;
}
