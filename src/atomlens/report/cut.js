// A plane that is moved through a field: interpolation on its grid, and the contoured cut.
const CUT_STEP = 0.1; // Å between points of the cut
const CUT_MARGIN = 2.5; // Å beyond the outermost atoms
const IN_PLANE = 0.3; // Å; nearer atoms are drawn filled
const NEAR_PLANE = 1.2; // Å; farther atoms are not drawn
const MOST_ACROSS = 140; // points
const DARK = "#1c2733"; // of lines and letters on the colours of a cut, which are the same in both themes
const ROUNDING = 0.002; // of the end of the colour scale, twice the step in which fields are stored

// Axes u and v of the plane and its normal; along the normal, positions count from the structure's centre.
function planeFrame(molecule, orientation) {
  const origin = mean(molecule.positions);
  const axes = { x: [[0, 1, 0], [0, 0, 1]], y: [[0, 0, 1], [1, 0, 0]], z: [[1, 0, 0], [0, 1, 0]] };
  const [u, v] = axes[orientation] ?? molecule.axes;
  return { origin, u, v, normal: cross(u, v) };
}

// Lowest and highest coordinate of points along an axis.
function extent(points, origin, axis, margin = 0) {
  const along = points.map((point) => dot(add(point, origin, -1), axis));
  return [Math.min(...along) - margin, Math.max(...along) + margin];
}

function corners({ origin, steps, shape }) {
  const points = [];
  for (let corner = 0; corner < 8; corner += 1) {
    const at = [0, 1, 2].map((axis) => ((corner >> axis) & 1) * (shape[axis] - 1));
    points.push(steps.reduce((sum, step, axis) => add(sum, step, at[axis]), origin));
  }
  return points;
}

// How far the plane can be moved: over the atoms and their surroundings, as far as the field is known.
function planeRange(molecule, volume, orientation) {
  return common(molecule, volume, planeFrame(molecule, orientation), "normal");
}

function common(molecule, volume, frame, axis) {
  const atoms = extent(molecule.positions, frame.origin, frame[axis], CUT_MARGIN);
  const field = extent(corners(volume), frame.origin, frame[axis]);
  return [Math.max(atoms[0], field[0]), Math.min(atoms[1], field[1])];
}

// The field at a point by trilinear interpolation between the grid points that have a value; NaN outside of the grid,
// and where most of the weight lies on points without one.
function fieldAt({ origin, inverse: columns, shape, values }, point) {
  const away = add(point, origin, -1);
  const low = [0, 0, 0], part = [0, 0, 0];
  for (let axis = 0; axis < 3; axis += 1) {
    const place = dot(columns[axis], away);
    if (place < -1e-6 || place > shape[axis] - 1 + 1e-6) return NaN;
    low[axis] = Math.min(Math.max(Math.floor(place), 0), Math.max(shape[axis] - 2, 0));
    part[axis] = place - low[axis];
  }
  let sum = 0, known = 0;
  for (let corner = 0; corner < 8; corner += 1) {
    let [weight, row] = [1, 0];
    for (let axis = 0; axis < 3; axis += 1) {
      const up = (corner >> axis) & 1;
      weight *= up ? part[axis] : 1 - part[axis];
      row = row * shape[axis] + low[axis] + up;
    }
    if (Number.isNaN(values[row])) continue;
    sum += weight * values[row];
    known += weight;
  }
  return known >= 0.5 ? sum / known : NaN;
}

function evenly([low, high]) {
  const count = Math.min(Math.max(Math.round((high - low) / CUT_STEP), 2), MOST_ACROSS) + 1;
  return Array.from({ length: count }, (_, place) => low + (place * (high - low)) / (count - 1));
}

// The field over the plane: coordinates s and t in it, rows of values (null: unknown), and the points in space.
function cutThrough(molecule, volume, orientation, offset) {
  const frame = planeFrame(molecule, orientation);
  const s = evenly(common(molecule, volume, frame, "u"));
  const t = evenly(common(molecule, volume, frame, "v"));
  const centre = add(frame.origin, frame.normal, offset);
  const points = t.map((down) => s.map((across) => add(add(centre, frame.u, across), frame.v, down)));
  const values = points.map((row) => row.map((point) => fieldAt(volume, point)));
  return { s, t, points, values, frame: { ...frame, origin: centre } };
}

// A round distance between contour lines, four to eight of them up to the end of the colours.
function contourStep(limit) {
  const power = 10 ** Math.floor(Math.log10(limit / 4));
  return [5, 2.5, 2, 1].map((digit) => digit * power).find((step) => limit / step >= 4);
}

// Far from the atoms a field is flat and nearly zero, and its line of zero would follow mere rounding.
function withoutFlatZero(values, limit) {
  const flat = (row, column) => {
    const here = values[row][column];
    if (Math.abs(here) < ROUNDING * limit) return true;
    const vertical = [values[row + 1]?.[column], values[row - 1]?.[column]];
    const beside = [...vertical, values[row][column + 1], values[row][column - 1]];
    const slope = Math.max(...beside.map((value) => Math.abs((value ?? here) - here) || 0));
    return Math.abs(here) < 0.01 * limit && slope < 0.002 * limit;
  };
  return values.map((cells, row) => cells.map((value, column) => (flat(row, column) ? null : value)));
}

const sideOf = (height) => `${shown(Math.abs(height), 2)} Å ${height < 0 ? "below" : "above"}`;

function contourTraces(cut, limit, scale, ink) {
  const known = cut.values.map((row) => row.map((value) => (Number.isFinite(value) ? value : null)));
  const step = contourStep(limit);
  const top = step * Math.floor(limit / step);
  const shared = { type: "contour", x: cut.s, y: cut.t, showscale: false, hoverinfo: "skip", connectgaps: false };
  const lines = (z, start, end, dash, width) => ({
    ...shared, z, autocontour: false, contours: { start, end, size: step, coloring: "none" },
    line: { color: ink, width, dash },
  });
  return [
    { ...shared, z: known, zmin: -limit, zmax: limit, zauto: false, colorscale: scale, hoverinfo: "z",
      contours: { coloring: "heatmap" }, line: { width: 0 } },
    lines(known, step, top, "solid", 0.8),
    lines(known, -top, -step, "4px,3px", 1),
    lines(withoutFlatZero(known, limit), 0, 0, "solid", 1.8),
  ];
}

// Atoms near the plane: filled where it passes through them, open above or below it.
function atomsOnCut(molecule, frame, elements) {
  const places = molecule.positions.map((position, atom) => {
    const away = add(position, frame.origin, -1);
    return { atom, s: dot(away, frame.u), t: dot(away, frame.v), height: dot(away, frame.normal) };
  }).filter(({ height }) => Math.abs(height) <= NEAR_PLANE);
  const colours = places.map(({ atom }) => elements[molecule.symbols[atom]].colour);
  const inside = places.map(({ height }) => Math.abs(height) <= IN_PLANE);
  return {
    type: "scatter", mode: "markers+text", x: places.map(({ s }) => s), y: places.map(({ t }) => t),
    // Not empty beside open markers, for empty texts are lost on redrawing.
    text: places.map(({ atom }, place) => (inside[place] ? molecule.symbols[atom] : "\u00a0")),
    textfont: { color: colours.map((colour) => (luminance(colour) > 0.2 ? DARK : "#ffffff")), size: 11 },
    hovertext: places.map(({ atom, height }) => `${molecule.symbols[atom]}${atom}, ${sideOf(height)} the plane`),
    hoverinfo: "text",
    marker: { opacity: 1, size: inside.map((near) => (near ? 18 : 11)), line: { color: colours, width: 1.6 },
      color: colours.map((colour, place) => (inside[place] ? colour : "#ffffff")) },
  };
}

function drawCut(place, molecule, cut, { scale, limits, elements }) {
  const traces = contourTraces(cut, Math.max(...limits.map(Math.abs)), scale, DARK);
  Object.assign(traces[0], { zmin: limits[0], zmax: limits[1] });
  const margin = { l: 46, r: 8, t: 30, b: 44 };
  const layout = flatLayout(look(), { showlegend: false, margin, plot_bgcolor: "#e9ecef" });
  const plain = { constrain: "domain", showgrid: false, zeroline: false };
  const title = { text: "along the plane (Å)", standoff: 6 };
  Object.assign(layout.xaxis, plain, { title, range: [cut.s[0], cut.s.at(-1)] });
  Object.assign(layout.yaxis, plain, { title: { text: "Å" }, range: [cut.t[0], cut.t.at(-1)], scaleanchor: "x" });
  return Plotly.react(place, [...traces, atomsOnCut(molecule, cut.frame, elements)], layout, FLAT_CONFIG);
}

function cutWords({ unit: name, limit }, cut, offset, stretched) {
  const [low, high] = span(cut.values.flat());
  if (low > high) return "The field is not known on this plane.";
  const where = Math.abs(offset) < 1e-9 ? "Through the centre" : `${sideOf(offset)} the centre`;
  const beyond = !stretched && Math.max(high, -low) > 1.001 * limit;
  return `${where}: ${shown(low)} to ${withUnit(shown(high), name)}. `
    + `Contour lines every ${withUnit(shown(contourStep(limit)), name)}, dashed where negative, heavy at zero. `
    + (beyond ? `Colours end at ±${withUnit(shown(limit), name)}. ` : "")
    + "Filled markers are atoms in the plane, open ones near it.";
}
