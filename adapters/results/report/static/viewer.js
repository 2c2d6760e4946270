// Two bodies side by side in WebGL 2, turned together by dragging, by the arrow keys, or not at all.

const VERTEX_SHADER = `#version 300 es
in vec3 position; in vec3 normal; in float amount;
uniform mat3 turn; uniform vec3 middle; uniform vec2 zoom;
out vec3 facing; out float shade;
void main() {
  vec3 p = turn * (position - middle);
  facing = turn * normal; shade = amount;
  gl_Position = vec4(p.x * zoom.x, p.y * zoom.y, -p.z * 0.2, 1.0);
}`;

// One hue, from light to dark: readable without colour vision.
const FRAGMENT_SHADER = `#version 300 es
precision highp float;
in vec3 facing; in float shade; out vec4 colour;
const vec3 A = vec3(0.93, 0.91, 0.87), B = vec3(0.96, 0.72, 0.35), C = vec3(0.80, 0.33, 0.10), D = vec3(0.36, 0.08, 0.09);
void main() {
  vec3 n = normalize(facing);
  float t = clamp(shade, 0.0, 1.0) * 3.0;
  vec3 base = t < 1.0 ? mix(A, B, t) : t < 2.0 ? mix(B, C, t - 1.0) : mix(C, D, t - 2.0);
  float light = 0.42 + 0.48 * max(dot(n, normalize(vec3(-0.4, 0.6, 0.8))), 0.0) + 0.16 * max(n.z, 0.0);
  colour = vec4(base * min(light, 1.06), 1.0);
}`;

class BodyViewer {
  /** canvas: with room for two bodies. */
  constructor(canvas) {
    this.canvas = canvas;
    this.gl = canvas.getContext("webgl2", { antialias: true, preserveDrawingBuffer: true });
    this.meshes = [];
    this.yaw = 0;
    this.pitch = 0;
    if (!this.gl) return;
    this.program = this.link();
    this.elements = this.gl.createBuffer();
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.drag = [event.clientX, event.clientY];
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!this.drag) return;
      this.turn((event.clientX - this.drag[0]) * 0.01, (event.clientY - this.drag[1]) * 0.01);
      this.drag = [event.clientX, event.clientY];
    });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { this.drag = null; });
    canvas.addEventListener("keydown", (event) => {
      const turn = { ArrowLeft: [-0.15, 0], ArrowRight: [0.15, 0], ArrowUp: [0, -0.15], ArrowDown: [0, 0.15] }[event.key];
      if (!turn) return;
      event.preventDefault();
      event.stopPropagation();
      this.turn(...turn);
    });
  }

  link() {
    const gl = this.gl, program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX_SHADER], [gl.FRAGMENT_SHADER, FRAGMENT_SHADER]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    return program;
  }

  /** meshes: { vertices, normals, amount } each, amounts 0..1 as colours. */
  show(meshes) {
    if (!this.gl) return;
    const gl = this.gl;
    for (const mesh of this.meshes) for (const buffer of mesh.buffers) gl.deleteBuffer(buffer);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, this.elements);
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, arrays.faces.values, gl.STATIC_DRAW);
    this.meshes = meshes.map((mesh) => ({
      buffers: [mesh.vertices, mesh.normals, mesh.amount].map((values) => {
        const buffer = gl.createBuffer();
        gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
        gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
        return buffer;
      }),
      ...extent(mesh.vertices),
    }));
    this.draw();
  }

  turn(yaw, pitch) {
    this.yaw += yaw;
    this.pitch = Math.max(-1.5, Math.min(1.5, this.pitch + pitch));
    this.draw();
  }

  reset() {
    this.yaw = this.pitch = 0;
  }

  draw() {
    if (!this.gl || !this.meshes.length) return;
    const gl = this.gl, ratio = Math.min(window.devicePixelRatio || 1, 2);
    const width = Math.round(this.canvas.clientWidth * ratio), height = Math.round(this.canvas.clientHeight * ratio);
    if (!width || !height) return;
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
    gl.clearColor(0, 0, 0, 0);
    gl.viewport(0, 0, width, height);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.enable(gl.DEPTH_TEST);
    gl.useProgram(this.program);
    const yaw = rotation(0, this.yaw, 0), turn = product(rotation(this.pitch, 0, 0), yaw);
    gl.uniformMatrix3fv(gl.getUniformLocation(this.program, "turn"), true, turn);
    const half = width / 2, largest = (side) => Math.max(...this.meshes.map((mesh) => mesh[side]));
    const reach = Math.min(half / largest("sideways"), height / largest("up")) / 2.12;
    gl.uniform2f(gl.getUniformLocation(this.program, "zoom"), (2 * reach) / half, (2 * reach) / height);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, this.elements);
    this.meshes.forEach((mesh, i) => {
      gl.viewport(Math.round(i * half), 0, Math.round(half), height);
      gl.uniform3fv(gl.getUniformLocation(this.program, "middle"), mesh.middle);
      ["position", "normal", "amount"].forEach((name, k) => {
        const place = gl.getAttribLocation(this.program, name);
        gl.bindBuffer(gl.ARRAY_BUFFER, mesh.buffers[k]);
        gl.enableVertexAttribArray(place);
        gl.vertexAttribPointer(place, k < 2 ? 3 : 1, gl.FLOAT, false, 0, 0);
      });
      gl.drawElements(gl.TRIANGLES, arrays.faces.values.length, gl.UNSIGNED_INT, 0);
    });
  }
}

/** Middle of the box around a mesh, and how far it reaches from there: up, and sideways from any side. */
function extent(vertices) {
  const low = [Infinity, Infinity, Infinity], high = [-Infinity, -Infinity, -Infinity];
  for (let i = 0; i < vertices.length; i++) {
    low[i % 3] = Math.min(low[i % 3], vertices[i]);
    high[i % 3] = Math.max(high[i % 3], vertices[i]);
  }
  const middle = low.map((value, c) => (value + high[c]) / 2);
  let sideways = 0;
  for (let i = 0; i < vertices.length; i += 3) {
    sideways = Math.max(sideways, Math.hypot(vertices[i] - middle[0], vertices[i + 2] - middle[2]));
  }
  return { middle, sideways, up: high[1] - middle[1] };
}
