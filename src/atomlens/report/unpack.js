// What the page carries: deflated blocks of JSON, arrays of whole steps in them, and the library of charts.
const get = (id) => document.getElementById(id);

async function inflated(id) {
  const packed = atob(get(id).textContent.trim());
  const bytes = new Uint8Array(packed.length);
  for (let place = 0; place < packed.length; place += 1) bytes[place] = packed.charCodeAt(place);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).text();
}

// Numbers are stored as differences in whole steps; "edges" are where known values end and begin again.
function restored({ step, deltas, edges }) {
  const values = new Float32Array(deltas.length);
  let [sum, edge, known] = [0, 0, true];
  for (let place = 0; place < deltas.length; place += 1) {
    for (; edges[edge] === place; edge += 1) known = !known;
    sum += deltas[place];
    values[place] = known ? step * sum : NaN;
  }
  return values;
}

function unpackedStructure(stored) {
  const geometries = stored.geometries.map(({ vertices, triangles }) => ({
    vertices: vertices.map(restored), triangles: triangles.map((column) => Uint32Array.from(restored(column))),
  }));
  const fields = (list) => list.map((field) => ({ ...field, values: restored(field.values) }));
  const volumes = fields(stored.volumes).map((volume) => ({ ...volume, inverse: inverse(volume.steps) }));
  const movings = unpackedMovings(stored);
  const box = sceneBox({ ...stored, movings });
  return { ...stored, geometries, surfaces: fields(stored.surfaces), volumes, movings, box };
}

// The page's policy names the library by its digest, so the browser runs exactly that and nothing else.
async function startLibrary(sheets) {
  for (const id of sheets) {
    const placeholder = document.createElement("template"); // in place of rules for maps, which are not used here
    placeholder.id = id;
    document.body.append(placeholder);
  }
  const script = document.createElement("script");
  script.textContent = await inflated("explained-library");
  document.head.append(script);
}

// --- three numbers at a time
const add = (a, b, factor = 1) => [a[0] + factor * b[0], a[1] + factor * b[1], a[2] + factor * b[2]];
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
const scaled = (a, factor) => [factor * a[0], factor * a[1], factor * a[2]];
const unit = (a) => scaled(a, 1 / Math.hypot(...a));
// Lowest and highest of the values that are known.
function span(values) {
  const known = values.filter(Number.isFinite);
  return [known.reduce((a, b) => Math.min(a, b), Infinity), known.reduce((a, b) => Math.max(a, b), -Infinity)];
}

const mean = (rows) => scaled(rows.reduce((sum, row) => add(sum, row), [0, 0, 0]), 1 / rows.length);

// Columns of the inverse of a matrix of three rows, so that dot(column, r) are the coordinates of r along the rows.
function inverse([a, b, c]) {
  const volume = dot(a, cross(b, c));
  return [cross(b, c), cross(c, a), cross(a, b)].map((column) => scaled(column, 1 / volume));
}

// --- words, numbers and colours
function shown(value, digits = 3) {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  const decimals = Math.max(0, digits - 1 - Math.floor(Math.log10(size || 1)));
  const powers = size !== 0 && (size < 1e-3 || size >= 1e6);
  const options = powers ? { notation: "scientific", maximumSignificantDigits: digits }
    : { maximumFractionDigits: decimals };
  return value.toLocaleString("en", options).replace("-", "−");
}

const withUnit = (text, name) => (name && name !== "1" ? `${text} ${name}` : text);
const titled = (name, unitName) => (unitName && unitName !== "1" ? `${name} (${unitName})` : name);
const capital = (text) => text.slice(0, 1).toUpperCase() + text.slice(1);

// Labels of charts: E_i with an index; nothing else of theirs is read as markup.
const label = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;")
  .replace(/(?<![\w-])([A-Za-zΑ-Ωα-ωÊ])_([a-z]{1,4}|[A-Z]|\d{1,2})(?![A-Za-z0-9_])/g, "$1<sub>$2</sub>");

const colourScale = (colours) => colours.map((colour, place) => [place / (colours.length - 1), colour]);

// The page's own colours, light or dark, for what the library draws.
function look() {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  const names = ["ink", "soft", "line", "card", "accent"];
  const font = getComputedStyle(document.body).fontFamily;
  return { ...Object.fromEntries(names.map((name) => [name, colour(name)])), font };
}

function luminance(colour) {
  const parts = [1, 3, 5].map((place) => parseInt(colour.slice(place, place + 2), 16) / 255);
  const [red, green, blue] = parts.map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

const mixed = (from, to, part) => `#${[1, 3, 5].map((place) => {
  const [a, b] = [from, to].map((colour) => parseInt(colour.slice(place, place + 2), 16));
  return Math.round(a + part * (b - a)).toString(16).padStart(2, "0");
}).join("")}`;

// A colour that someone chose on white paper, moved towards ink as far as it takes to be seen on this theme's ground.
function standingOut(colour, { card, ink }) {
  const contrast = (shade) => {
    const [low, high] = [luminance(shade), luminance(card)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  return [0, 0.2, 0.4, 0.6, 0.8].map((part) => mixed(colour, ink, part)).find((shade) => contrast(shade) >= 2.2) ?? ink;
}
