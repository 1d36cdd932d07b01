// The controls: what can be chosen for a structure, the atom that is chosen, and its place among its kind.

// Views of one name, be it a surface, a grid or both; "... probe H" is a variant of its field
function fieldsOf({ surfaces, volumes }) {
  const fields = new Map();
  for (const [kind, list] of [["surface", surfaces], ["volume", volumes]]) {
    for (const view of list) {
      const probe = /\bprobe ([A-Z][a-z]?)\b/.exec(view.name)?.[1] ?? "";
      const name = view.name.replace(/\bprobe [A-Z][a-z]?\b/, "probe atom");
      if (!fields.has(name)) fields.set(name, new Map());
      const variants = fields.get(name);
      variants.set(probe, { ...variants.get(probe), [kind]: view });
    }
  }
  return fields;
}

function chooseAtom(atom) {
  chosen.atom = atom;
  const button = get(`atom-${atom}`);
  if (button) button.checked = true;
  describeAtom();
  redraw();
}

const kindOf = (quantity, symbol) => page.distributions.find(({ name }) => name === quantity.name)?.elements[symbol];

function describeAtom() {
  if (chosen.atom === null) return;
  const symbol = molecule.symbols[chosen.atom];
  const name = symbol + chosen.atom;
  const rows = molecule.atoms.map((quantity) => {
    const value = quantity.values[chosen.atom];
    const bins = kindOf(quantity, symbol);
    const place = bins && value !== null ? `, ${placeInWords(bins, value, page.elements[symbol].name)}` : "";
    const words = `: ${withUnit(shown(value ?? NaN), quantity.unit)}${place}`;
    return element("li", {}, element("b", {}, capital(quantity.name)), words);
  });
  const title = `${name} (${page.elements[symbol].name}) of ${molecule.name} is chosen.`;
  get("atom-words").replaceChildren(element("p", {}, title), element("ul", {}, ...rows));
  markInHistogram(symbol, name);
}

// The quantity that colours the atoms if the data has it, else the first one that it has.
function markInHistogram(symbol, atom) {
  const known = molecule.atoms.filter((quantity) => kindOf(quantity, symbol) && quantity.values[chosen.atom] !== null);
  const quantity = known.find(({ name }) => name === chosen.colour) ?? known[0];
  get("histogram").hidden = !quantity;
  if (!quantity) return;
  drawHistogram(get("histogram"), kindOf(quantity, symbol), { name: quantity.name, unitName: quantity.unit, atom,
    element: page.elements[symbol].name, colour: page.elements[symbol].colour, value: quantity.values[chosen.atom] });
}

// --- what can be chosen
function fillSelect(select, options, value) {
  const made = options.map(([key, words]) => element("option", { value: key, selected: key === value }, words));
  select.replaceChildren(...made);
}

function fillChoices(place, name, options, value, choose) {
  place.replaceChildren(...options.map(([key, words, colour]) => {
    const input = element("input", { type: "radio", name, value: key, id: `${name}-${key}`, checked: key === value });
    input.addEventListener("change", () => choose(key));
    return element("label", {}, input, element("span", {}, ...(colour ? [dot2d(colour)] : []), words));
  }));
}

function fillAtoms() {
  const atoms = molecule.symbols.map((symbol, atom) => [atom, symbol + atom, page.elements[symbol].colour]);
  fillChoices(get("atoms"), "atom", atoms, null, chooseAtom);
  get("histogram").hidden = true;
  const invitation = molecule.atoms.length
    ? "Choose an atom: its values and its place among all atoms of its element are shown here."
    : "Choose an atom: it is marked in the molecule.";
  get("atom-words").replaceChildren(element("p", {}, invitation));
}

function fillColours() {
  const names = molecule.atoms.map(({ name }) => name);
  chosen.colour = [chosen.colour, ...names].find((name) => name === ELEMENT || names.includes(name)) ?? ELEMENT;
  get("atom-colour-side").hidden = !names.length;
  get("stretch-side").hidden = !names.length && !fieldsOf(molecule).size;
  fillSelect(get("atom-colour"), [...names.map((name) => [name, capital(name)]), [ELEMENT, "Element"]], chosen.colour);
}

function fillFields() {
  const fields = fieldsOf(molecule);
  const names = [...fields.keys()];
  chosen.field = names.includes(chosen.field) ? chosen.field : names[0] ?? null;
  get("field-controls").hidden = !names.length;
  fillSelect(get("field"), names.map((name) => [name, capital(name)]), chosen.field);
  fillProbes(fields.get(chosen.field) ?? new Map());
}

function fillProbes(variants) {
  const probes = [...variants.keys()];
  chosen.probe = probes.includes(chosen.probe) ? chosen.probe : probes[0] ?? null;
  get("probes").hidden = probes.length < 2;
  const options = probes.map((probe) => [probe, probe ? `probe ${probe}` : "no probe"]);
  fillChoices(get("probes"), "probe", options, chosen.probe, (probe) => {
    chosen.probe = probe;
    fitControls();
    redraw();
  });
  fitControls();
}

// What the field does not have cannot be switched on, and the plane moves as far as the field is known.
function fitControls() {
  const { surface, volume } = currentField();
  for (const id of ["show-surface", "opacity"]) get(id).disabled = !surface;
  get("show-plane").disabled = !volume;
  get("cut-side").hidden = !volume;
  if (!volume) return;
  const [low, high] = planeRange(molecule, volume, get("orientation").value);
  const slider = get("offset"), step = Number(slider.step);
  Object.assign(slider, { min: step * Math.ceil(low / step), max: step * Math.floor(high / step) });
  chosen.offset = Math.min(Math.max(chosen.offset, Number(slider.min)), Number(slider.max));
  slider.value = chosen.offset;
}

function listen() {
  const on = (id, kind, act) => get(id).addEventListener(kind, (event) => { act(event.target); redraw(); });
  on("atom-colour", "change", ({ value }) => { chosen.colour = value; describeAtom(); });
  on("field", "change", ({ value }) => { chosen.field = value; fillProbes(fieldsOf(molecule).get(value)); });
  on("orientation", "change", () => { chosen.offset = 0; fitControls(); });
  on("offset", "input", ({ value }) => { chosen.offset = Number(value); get("show-plane").checked = true; });
  for (const id of ["atom-labels", "show-surface", "show-plane", "stretch"]) on(id, "change", () => {});
  on("opacity", "input", () => { get("show-surface").checked = true; });
  for (const button of document.querySelectorAll("[data-view]")) {
    button.addEventListener("click", () => moveView(button.dataset.view));
  }
  get("scene").addEventListener("keydown", (event) => {
    const move = VIEW_KEYS[event.key];
    if (!move || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    moveView(move);
  });
}

const VIEW_KEYS = { ArrowLeft: "left", ArrowRight: "right", ArrowUp: "up", ArrowDown: "down",
  "+": "closer", "=": "closer", "-": "farther", 0: "reset" };
// Angles sideways and upwards in radians, and how much of the distance is left.
const VIEW_MOVES = { left: [-0.2, 0, 1], right: [0.2, 0, 1], up: [0, -0.2, 1], down: [0, 0.2, 1],
  closer: [0, 0, 0.85], farther: [0, 0, 1.18] };

function moveView(move) {
  if (!inThreeDimensions) return;
  chosen.camera = move === "reset" ? null : movedCamera(currentCamera(), ...VIEW_MOVES[move]);
  redraw();
}
