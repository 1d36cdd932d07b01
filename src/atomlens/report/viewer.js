// The molecule in three dimensions: atoms, bonds, cell, a coloured surface, the movable plane, arrows and beads.
const BOND_RADIUS = 0.075; // Å
const SIDES = 8; // of a bond's prism
const MANY_ATOMS = 120; // above it spheres are made of fewer triangles
const MANY_MOVING = 40; // the same while they move
const FIELD_MARGIN = 2.6, ATOM_MARGIN = 1.4; // Å around the atoms, with and without a field around them
// The wheel scrolls the page: it would be caught by the molecule otherwise. Buttons, keys and two fingers zoom.
const SCENE_CONFIG = { displaylogo: false, responsive: true, scrollZoom: false, showSendToCloud: false,
  modeBarButtons: [["toImage", "orbitRotation", "zoom3d", "pan3d"]] };
const MATT = { ambient: 0.78, diffuse: 0.42, specular: 0.12, roughness: 0.7, fresnel: 0.05 };

const hasWebGL = () => {
  const canvas = document.createElement("canvas");
  return Boolean(canvas.getContext("webgl2") ?? canvas.getContext("webgl"));
};

const atomRadius = (elements, symbol) => 0.13 + 0.28 * elements[symbol].radius;

// A sphere of one Å: an icosahedron whose faces are cut in four as often as asked for.
function sphere(cuts) {
  const golden = (1 + Math.sqrt(5)) / 2;
  const vertices = [[-1, golden, 0], [1, golden, 0], [-1, -golden, 0], [1, -golden, 0], [0, -1, golden], [0, 1, golden],
    [0, -1, -golden], [0, 1, -golden], [golden, 0, -1], [golden, 0, 1], [-golden, 0, -1], [-golden, 0, 1]].map(unit);
  let faces = [[0, 11, 5], [0, 5, 1], [0, 1, 7], [0, 7, 10], [0, 10, 11],
    [1, 5, 9], [5, 11, 4], [11, 10, 2], [10, 7, 6], [7, 1, 8],
    [3, 9, 4], [3, 4, 2], [3, 2, 6], [3, 6, 8], [3, 8, 9],
    [4, 9, 5], [2, 4, 11], [6, 2, 10], [8, 6, 7], [9, 8, 1]];
  for (let cut = 0; cut < cuts; cut += 1) {
    const middles = new Map();
    const middle = (first, second) => {
      const key = first < second ? `${first},${second}` : `${second},${first}`;
      if (!middles.has(key)) middles.set(key, vertices.push(unit(add(vertices[first], vertices[second]))) - 1);
      return middles.get(key);
    };
    faces = faces.flatMap(([a, b, c]) => {
      const [ab, bc, ca] = [middle(a, b), middle(b, c), middle(c, a)];
      return [[a, ab, ca], [b, bc, ab], [c, ca, bc], [ab, bc, ca]];
    });
  }
  return { vertices, faces };
}

const SPHERES = [sphere(1), sphere(2)];

// Many bodies as one mesh; "owner" tells of each vertex which body it belongs to.
function meshOf(bodies) {
  const mesh = { x: [], y: [], z: [], i: [], j: [], k: [], owner: [] };
  bodies.forEach(({ vertices, faces }, body) => {
    const first = mesh.x.length;
    for (const [x, y, z] of vertices) { mesh.x.push(x); mesh.y.push(y); mesh.z.push(z); mesh.owner.push(body); }
    for (const [a, b, c] of faces) { mesh.i.push(first + a); mesh.j.push(first + b); mesh.k.push(first + c); }
  });
  return mesh;
}

function atomBodies(molecule, elements, grown = 0, part = 1) {
  const { vertices, faces } = SPHERES[molecule.symbols.length > (player.moving ? MANY_MOVING : MANY_ATOMS) ? 0 : 1];
  return molecule.positions.map((centre, atom) => {
    const radius = part * atomRadius(elements, molecule.symbols[atom]) + grown;
    return { vertices: vertices.map((vertex) => add(centre, vertex, radius)), faces };
  });
}

const bondBody = (from, to) => prism(from, to, BOND_RADIUS, BOND_RADIUS);

// A body around a line that is so thick at its start and its end.
function prism(from, to, first, last) {
  const along = unit(add(to, from, -1));
  const across = unit(cross(along, Math.abs(along[0]) < 0.8 ? [1, 0, 0] : [0, 1, 0]));
  const up = cross(along, across);
  const vertices = [], faces = [];
  for (let side = 0; side < SIDES; side += 1) {
    const angle = (2 * Math.PI * side) / SIDES;
    const out = add(scaled(across, Math.cos(angle)), up, Math.sin(angle));
    vertices.push(add(from, out, first), add(to, out, last));
    const [low, next] = [2 * side, 2 * ((side + 1) % SIDES)];
    faces.push([low, next, low + 1], [next, next + 1, low + 1]);
  }
  return { vertices, faces };
}

const meshTrace = ({ x, y, z, i, j, k }, extra) =>
  ({ type: "mesh3d", x, y, z, i, j, k, showscale: false, lighting: MATT, ...extra });
const coloured = ({ limits, scale }) => ({ cmin: limits[0], cmax: limits[1], colorscale: scale });
const hovered = (value, unitName) => `%{${value}:.3~g} ${unitName === "1" ? "" : unitName}<extra></extra>`;
const nothing = { type: "mesh3d", x: [], y: [], z: [], visible: false };

// Colours of the atoms: by a quantity, or by element as an even scale of as many colours.
function atomColouring(molecule, page, colouring) {
  if (colouring.values) {
    return { intensity: colouring.values.map((value) => value ?? NaN), ...coloured(colouring) };
  }
  const symbols = Object.keys(page.elements);
  const colours = symbols.map((symbol) => page.elements[symbol].colour);
  const scale = colourScale(colours.length > 1 ? colours : [colours[0], colours[0]]);
  const limits = [0, Math.max(symbols.length - 1, 1)];
  return { intensity: molecule.symbols.map((symbol) => symbols.indexOf(symbol)), ...coloured({ limits, scale }) };
}

function atomTrace(molecule, page, colouring) {
  const mesh = meshOf(atomBodies(molecule, page.elements, 0, showsBeads() ? CORE_RADIUS : 1));
  const { intensity, ...scale } = atomColouring(molecule, page, colouring);
  const words = molecule.symbols.map((symbol, atom) => symbol + atom
    + (colouring.values ? `<br>${withUnit(shown(colouring.values[atom]), colouring.unit)}` : ""));
  const spread = (list) => mesh.owner.map((atom) => list[atom]);
  return meshTrace(mesh, { ...scale, intensity: spread(intensity), text: spread(words), hoverinfo: "text" });
}

// The farthest triangles first, for only in this order does what is behind shine through what is before it.
function backToFront({ vertices, triangles }, { eye, center }) {
  const towards = [eye.x - center.x, eye.y - center.y, eye.z - center.z];
  const [i, j, k] = triangles;
  const depth = vertices[0].map((_, row) => dot([vertices[0][row], vertices[1][row], vertices[2][row]], towards));
  const depths = Float32Array.from(i, (_, row) => depth[i[row]] + depth[j[row]] + depth[k[row]]);
  const order = Uint32Array.from(i, (_, row) => row).sort((a, b) => depths[a] - depths[b]);
  return triangles.map((column) => order.map((row) => column[row]));
}

function surfaceTrace(molecule, surface, colours, camera) {
  const geometry = molecule.geometries[surface.geometry];
  const [x, y, z] = geometry.vertices;
  const { opacity } = colours;
  const [i, j, k] = opacity < 1 ? backToFront(geometry, camera) : geometry.triangles;
  const hovertemplate = hovered("intensity", surface.unit);
  return meshTrace({ x, y, z, i, j, k }, { intensity: surface.values, ...coloured(colours), opacity, hovertemplate });
}

function planeTrace(cut, volume, colours) {
  const known = cut.values.map((row) => row.map(Number.isFinite));
  const along = (axis) => cut.points.map((row, down) =>
    row.map((point, across) => (known[down][across] ? point[axis] : NaN)));
  return { type: "surface", x: along(0), y: along(1), z: along(2), surfacecolor: cut.values, ...coloured(colours),
    showscale: false, opacity: 0.92, lighting: { ambient: 1, diffuse: 0, specular: 0, fresnel: 0 },
    hovertemplate: hovered("surfacecolor", volume.unit) };
}

function cellTrace({ cell }, colour) {
  if (!cell) return nothing;
  const [x, y, z] = [[], [], []];
  const line = (from, to) => [from, to].forEach((point) => { x.push(point[0]); y.push(point[1]); z.push(point[2]); });
  for (let axis = 0; axis < 3; axis += 1) {
    const [second, third] = [cell[(axis + 1) % 3], cell[(axis + 2) % 3]];
    for (const from of [[0, 0, 0], second, third, add(second, third)]) {
      line(from, add(from, cell[axis]));
      x.push(null); y.push(null); z.push(null);
    }
  }
  return { type: "scatter3d", mode: "lines", x, y, z, line: { color: colour, width: 2 }, hoverinfo: "skip" };
}

// Every part in a fixed order, so that the library changes what is there instead of building it anew.
function sceneTraces(page, wanted, theme) {
  const { molecule, colouring, chosen, surface, volume, cut, field } = wanted;
  const bonds = molecule.bonds.map((ends) => bondBody(...ends.map((atom) => molecule.positions[atom])));
  const halo = chosen === null ? null : atomBodies(molecule, page.elements, 0.14)[chosen];
  return [
    atomTrace(molecule, page, colouring),
    bonds.length ? meshTrace(meshOf(bonds), { color: "#9aa5b0", hoverinfo: "skip" }) : nothing,
    cellTrace(molecule, theme.soft),
    halo ? meshTrace(meshOf([halo]), { color: theme.accent, opacity: 0.45, hoverinfo: "skip" }) : nothing,
    surface ? surfaceTrace(molecule, surface, field.surface, wanted.camera) : nothing,
    cut ? planeTrace(cut, volume, field.volume) : nothing,
    arrowTrace(page, theme),
    beadTrace(page),
  ];
}

const asPoint = ([x, y, z]) => ({ x, y, z });

// The box that is always in view, so that nothing jumps when surface and plane come and go, or atoms move. Cameras
// count from its centre in units of its "length".
function sceneBox({ positions, cell, movings, surfaces, volumes }) {
  const margin = surfaces.length || volumes.length ? FIELD_MARGIN : ATOM_MARGIN;
  const far = [...positions, ...movings.filter(({ times }) => times).flatMap(reach)];
  const around = cell ? [...far, [0, 0, 0], ...cell, add(add(cell[0], cell[1]), cell[2])] : far;
  const ranges = [[1, 0, 0], [0, 1, 0], [0, 0, 1]].map((axis) => extent(around, [0, 0, 0], axis, margin));
  const sides = ranges.map(([low, high]) => high - low);
  const centre = ranges.map(([low, high]) => 0.5 * (low + high));
  return { ranges, sides, centre, length: Math.cbrt(sides[0] * sides[1] * sides[2]) };
}

// From above the molecular plane, a little tilted.
function firstCamera({ axes: [u, v] }) {
  const normal = cross(u, v);
  const eye = scaled(add(add(normal, v, -0.45), u, 0.25), 1.05);
  return { eye: asPoint(eye), up: asPoint(v), center: asPoint([0, 0, 0]) };
}

function atomLabel(molecule, atom, chosen, theme) {
  return { ...asPoint(molecule.positions[atom]), text: molecule.symbols[atom] + atom, showarrow: false, yshift: 14,
    opacity: 0.85, bgcolor: theme.card, bordercolor: atom === chosen ? theme.accent : theme.line, borderpad: 1,
    font: { size: 11 } };
}

function sceneLayout(wanted, theme) {
  const { molecule } = wanted;
  const { ranges: [x, y, z], sides, length } = molecule.box;
  const axis = (range) => ({ visible: false, range, autorange: false });
  const named = molecule.symbols.map((_, atom) => atom).filter((atom) => wanted.labels || atom === wanted.chosen);
  return {
    ...commonLayout(theme), margin: { l: 0, r: 0, t: 0, b: 0 }, showlegend: false,
    scene: {
      xaxis: axis(x), yaxis: axis(y), zaxis: axis(z),
      aspectmode: "manual", aspectratio: asPoint(scaled(sides, 1 / length)),
      dragmode: "orbit", hovermode: "closest", camera: wanted.camera,
      annotations: named.map((atom) => atomLabel(molecule, atom, wanted.chosen, theme)),
    },
  };
}

function drawScene(place, page, wanted) {
  const theme = look();
  return Plotly.react(place, sceneTraces(page, wanted, theme), sceneLayout(wanted, theme), SCENE_CONFIG);
}

// The atom that the eye sees where a point was clicked: the first one on the line of sight, be it behind a surface, or
// else the one nearest to that line.
function seenAtom(molecule, elements, point, { eye }) {
  const { centre, length } = molecule.box;
  const from = add(centre, [eye.x, eye.y, eye.z], length);
  const sight = unit(add(point, from, -1));
  const atoms = molecule.positions.map((position, atom) => {
    const away = add(position, from, -1);
    const along = dot(away, sight);
    const beside = Math.hypot(...add(away, sight, -along)) - atomRadius(elements, molecule.symbols[atom]);
    return { atom, along, beside: Math.max(beside, 0) };
  });
  return atoms.sort((a, b) => a.beside - b.beside || a.along - b.along)[0].atom;
}

// Turn the camera around what it looks at, or bring it nearer; angles in radians.
function movedCamera({ eye, up, center }, sideways, upwards, nearer) {
  const from = [eye.x - center.x, eye.y - center.y, eye.z - center.z];
  const right = unit(cross([up.x, up.y, up.z], from));
  const turned = rotated(rotated(from, [up.x, up.y, up.z], sideways), right, upwards);
  const newUp = rotated([up.x, up.y, up.z], right, upwards);
  return { center, up: asPoint(newUp), eye: asPoint(add([center.x, center.y, center.z], turned, nearer)) };
}

function rotated(vector, axis, angle) {
  const [along, sine, cosine] = [unit(axis), Math.sin(angle), Math.cos(angle)];
  return add(add(scaled(vector, cosine), cross(along, vector), sine), along, dot(along, vector) * (1 - cosine));
}
