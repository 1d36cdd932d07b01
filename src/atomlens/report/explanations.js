// What is chosen (structure, atom, colours, field, plane), what is drawn of it, and how the page begins.
const ELEMENT = "element";
const chosen = { structure: 0, atom: null, colour: null, field: null, probe: null, camera: null, offset: 0 };
const structures = new Map(); // unpacked when they are first chosen
let page = null;
let molecule = null;
let inThreeDimensions = false;
const PICKED = 80; // ms after which the library has told what lies under a finger

const currentField = () => fieldsOf(molecule).get(chosen.field)?.get(chosen.probe) ?? {};

const limitsOf = (values, limit) => {
  if (!get("stretch").checked) return [-limit, limit];
  const [low, high] = span(values);
  return high > low ? [low, high] : [low - 1e-6, high + 1e-6];
};

const currentCamera = () => chosen.camera ?? firstCamera(molecule);
const currentScale = () => colourScale(get("stretch").checked ? page.sequential : page.diverging);

function colouring() {
  const quantity = molecule.atoms.find(({ name }) => name === chosen.colour);
  if (!quantity) return { name: ELEMENT };
  const largest = Math.max(...quantity.values.map((value) => Math.abs(value ?? 0))) || 1;
  return { ...quantity, scale: currentScale(), limits: limitsOf(quantity.values, largest) };
}

// What the controls ask for. While atoms move only the scene is drawn, and of it only what moves along.
function wanted(part) {
  const still = !player.moving;
  const { surface, volume } = currentField();
  const onSurface = still && surface && get("show-surface").checked;
  const scale = currentScale();
  const needed = volume && part === ALL;
  const cut = needed ? cutThrough(molecule, volume, get("orientation").value, chosen.offset) : null;
  const opacity = Number(get("opacity").value);
  const field = {
    surface: surface && { opacity, scale, limits: limitsOf(surface.values, surface.limit) },
    volume: cut && { scale, limits: limitsOf(cut.values.flat(), volume.limit) },
  };
  return {
    molecule: movedMolecule(), colouring: colouring(), chosen: chosen.atom, camera: currentCamera(),
    labels: get("atom-labels").checked, surface: onSurface ? surface : null, volume,
    cut: still && get("show-plane").checked ? cut : null, flatCut: cut, field,
  };
}

// --- drawing
const NOTHING = 0, SCENE = 1, ALL = 2;
let drawing = null, asked = NOTHING;

// At most one drawing at a time: while a slider moves, what was asked for in between is drawn once.
function redraw(part = ALL) {
  asked = Math.max(asked, part);
  drawing ??= drawAsked();
  return drawing;
}

async function drawAsked() {
  try {
    while (asked !== NOTHING) {
      await new Promise(requestAnimationFrame);
      const part = asked;
      asked = NOTHING;
      await draw(part);
    }
  } finally {
    drawing = null;
  }
}

async function draw(part) {
  const now = wanted(part);
  if (part === ALL) drawLegends(now);
  if (now.flatCut) await drawFlatCut(now);
  if (inThreeDimensions) await drawScene(get("scene"), page, now);
}

async function drawFlatCut({ volume, flatCut, field }) {
  get("cut-words").textContent = cutWords(volume, flatCut, chosen.offset, get("stretch").checked);
  get("cut-legend").replaceChildren(colourBar(volume.name, { ...volume, ...field.volume }));
  await drawCut(get("cut"), molecule, flatCut, { ...field.volume, elements: page.elements });
}

function drawLegends({ colouring: atoms, surface, field }) {
  const bars = [];
  if (atoms.values) bars.push(colourBar(`Atoms: ${atoms.name}`, atoms));
  else bars.push(elementLegend());
  if (surface) bars.push(colourBar(`Surface: ${surface.name}`, { ...surface, ...field.surface }));
  get("legends").replaceChildren(...bars);
}

function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function colourBar(name, { unit: unitName, limits: [low, high], scale }) {
  const bar = element("span", { className: "bar" });
  const stops = scale.map(([at, colour]) => `${colour} ${100 * at}%`);
  bar.style.backgroundImage = `linear-gradient(to right, ${stops.join(", ")})`;
  return element("p", { className: "legend" }, element("span", { className: "legend-name" }, titled(name, unitName)),
    element("span", {}, shown(low)), bar, element("span", {}, `${low < 0 && high > 0 ? "+" : ""}${shown(high)}`));
}

function elementLegend() {
  const present = [...new Set(molecule.symbols)].map((symbol) => page.elements[symbol]);
  const entries = present.map(({ name, colour }) => element("span", {}, dot2d(colour), ` ${name}`));
  const title = element("span", { className: "legend-name" }, "Atoms by element");
  return element("p", { className: "legend elements" }, title, ...entries);
}

function dot2d(colour) {
  const made = element("span", { className: "dot" });
  made.style.backgroundColor = colour;
  return made;
}

// --- structures and their panels
function showPanels(place) {
  for (const panel of document.querySelectorAll("[data-structure]")) {
    panel.hidden = Number(panel.dataset.structure) !== place;
  }
}

async function chooseStructure(place) {
  chosen.structure = place;
  if (!structures.has(place)) {
    structures.set(place, unpackedStructure(JSON.parse(await inflated(`explained-structure-${place}`))));
  }
  if (chosen.structure !== place) return; // another one was chosen while this one was unpacked
  Object.assign(chosen, { atom: null, camera: null, offset: 0 });
  molecule = structures.get(place);
  showPanels(place);
  fillAtoms();
  fillColours();
  fillFields();
  fillMotions();
  // The window may have changed since they were drawn.
  for (const chart of drawnCharts) if (chart.checkVisibility()) Plotly.Plots.resize(chart);
  await redraw();
}

// The first structure is chosen on the way; where there is only one, there is nothing to choose with.
async function startChooser(choose) {
  const select = get("choose-structure");
  if (!select) return choose(0);
  const count = select.options.length;
  const take = (place) => {
    select.value = (place + count) % count;
    document.querySelector(".chooser .place").textContent = `${Number(select.value) + 1} of ${count}`;
    return choose(Number(select.value));
  };
  select.addEventListener("change", () => take(Number(select.value)));
  for (const button of document.querySelectorAll(".chooser [data-step]")) {
    button.addEventListener("click", () => take(Number(select.value) + Number(button.dataset.step)));
  }
  document.querySelector(".chooser").hidden = false;
  return take(0);
}

const chartOf = (key) => page.charts[key] ?? molecule.charts[key];
const drawnCharts = new Set();

// Charts are drawn when they come near the window, and again when the theme changes.
function watchCharts() {
  const observer = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting || drawnCharts.has(target) || !chartOf(target.dataset.chart)) continue;
      drawnCharts.add(target);
      drawChart(target, chartOf(target.dataset.chart));
    }
  }, { rootMargin: "300px" });
  for (const chart of document.querySelectorAll("[data-chart]")) observer.observe(chart);
}

function changeTheme() {
  for (const chart of drawnCharts) {
    const place = chart.closest("[data-structure]")?.dataset.structure;
    drawChart(chart, page.charts[chart.dataset.chart] ?? structures.get(Number(place)).charts[chart.dataset.chart]);
  }
  describeAtom();
  redraw();
}

// --- figures for paper stay folded while the living ones are there, and open for printing
function watchPrinting() {
  const folded = () => [...document.querySelectorAll("details.paper:not([open])")];
  let opened = [];
  const before = () => { opened = [...opened, ...folded()]; for (const details of opened) details.open = true; };
  const after = () => { for (const details of opened) details.open = false; opened = []; };
  addEventListener("beforeprint", before);
  addEventListener("afterprint", after);
  matchMedia("print").addEventListener("change", ({ matches }) => (matches ? before() : after()));
}

// Room is made at once for what is drawn later, so that nothing jumps.
function showLiving(living) {
  document.querySelector(".explorer").hidden = !living;
  for (const charts of document.querySelectorAll(".charts")) charts.hidden = !living;
  document.querySelector(".stage").hidden = !inThreeDimensions;
  get("no-scene").hidden = inThreeDimensions;
  get("stills").hidden = living && inThreeDimensions;
  for (const details of document.querySelectorAll("details.paper:not([data-open])")) details.open = !inThreeDimensions;
}

async function start() {
  inThreeDimensions = hasWebGL();
  showLiving(true);
  watchPrinting();
  page = JSON.parse(await inflated("explained-page"));
  await startLibrary(page.sheets);
  listen();
  listenToMotions();
  await startChooser(chooseStructure);
  listenToScene();
  watchCharts();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changeTheme);
}

// Where a browser is too old for any of it, all that needs no script is there.
function fallBack(problem) {
  inThreeDimensions = false;
  showLiving(false);
  get("no-scene").textContent = "This browser could not start the interactive part of the page; "
    + "the figures of every panel are open instead.";
  console.error(problem);
}

function listenToScene() {
  if (!inThreeDimensions) return;
  const scene = get("scene");
  let under = null, pressed = null;
  scene.on("plotly_hover", ({ points: [{ x, y, z }] }) => { under = [x, y, z]; });
  scene.on("plotly_unhover", () => { under = null; });
  scene.on("plotly_relayout", (change) => {
    if (!change["scene.camera"]) return;
    chosen.camera = change["scene.camera"];
    redraw(); // triangles of the surface are ordered by their distance from the eye
  });
  // The library looks at the mouse once per frame and misses short clicks; what lies under them it tells, though.
  scene.addEventListener("pointerdown", ({ x, y }) => { pressed = [x, y]; }, { capture: true });
  scene.addEventListener("pointerup", ({ x, y }) => {
    if (!pressed || Math.hypot(x - pressed[0], y - pressed[1]) > 4) return; // that was turning, not choosing
    setTimeout(() => { if (under) chooseAtom(seenAtom(movedMolecule(), page.elements, under, currentCamera())); }, PICKED);
  }, { capture: true });
}

if (get("explained-library")) start().catch(fallBack);
else startChooser(showPanels); // made without plotly: figures only
