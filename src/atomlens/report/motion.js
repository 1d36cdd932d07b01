// What moves: motions r + amplitude · displacement · sin(phase), frames of a run, and the player of both.
const TURN_SECONDS = 1.6; // of one vibration at speed 1
const FRAMES_PER_SECOND = 20; // of a trajectory at speed 1
const LONGEST_STEP = 0.1; // s; what takes longer to draw moves on no farther
// Beads of a path lie closer than an atom is drawn large, so both are drawn smaller, as parts of its radius.
const BEAD_RADIUS = 0.55, CORE_RADIUS = 0.3, BEAD_OPACITY = 0.3;
const ARROW = { length: 0.9, shaft: 0.05, head: 0.13, tip: 0.3, least: 0.04 }; // Å, of the largest step; least: of it

// "moment" counts turns of a motion and frames of a trajectory.
const player = { moving: null, moment: 0, playing: false, wished: true, seen: true, held: false, running: false };
const REST = "rest";
const isMotion = () => Boolean(player.moving?.displacements);

// Everything of a structure that can be played, in the order of the list.
function unpackedMovings({ motions, trajectories, symbols }) {
  const count = 3 * symbols.length;
  const modes = motions.flatMap(({ name, labels, amplitude, displacements }, group) => {
    const all = restored(displacements);
    return labels.map((words, place) => ({ key: `${group}-${place}`, name, words, amplitude,
      displacements: rowsOf(all.subarray(place * count, (place + 1) * count)) }));
  });
  const runs = trajectories.map((stored, place) => ({ ...stored, key: `run-${place}`, words: stored.name,
    positions: restored(stored.positions) }));
  return [...modes, ...runs];
}

const rowsOf = (flat) => Array.from({ length: flat.length / 3 }, (_, row) => [...flat.subarray(3 * row, 3 * row + 3)]);

// Positions of all atoms in one copy of a frame; copy 0 is the structure (or its centroids), the others are beads.
function framePositions({ times, positions }, atoms, frame, copy = 0) {
  const at = (atom, axis) => positions[((copy * atoms + atom) * 3 + axis) * times.length + frame];
  return Array.from({ length: atoms }, (_, atom) => [at(atom, 0), at(atom, 1), at(atom, 2)]);
}

// The farthest corners of all frames, so that what moves stays in view.
function reach({ times, positions }) {
  const low = [Infinity, Infinity, Infinity], high = [-Infinity, -Infinity, -Infinity];
  for (let place = 0; place < positions.length; place += 1) {
    const axis = Math.floor(place / times.length) % 3;
    if (positions[place] < low[axis]) low[axis] = positions[place];
    if (positions[place] > high[axis]) high[axis] = positions[place];
  }
  return [low, high];
}

const currentFrame = () => Math.min(Math.floor(player.moment), player.moving.times.length - 1);

// The structure as it is at this moment.
function movedMolecule() {
  if (!player.moving) return molecule;
  const amplitude = Number(get("amplitude").value) * Math.sin(2 * Math.PI * player.moment);
  const positions = isMotion()
    ? molecule.positions.map((position, atom) => add(position, player.moving.displacements[atom], amplitude))
    : framePositions(player.moving, molecule.symbols.length, currentFrame());
  return { ...molecule, positions };
}

// --- what is drawn of it besides the atoms
const showsBeads = () => Boolean(player.moving?.beads) && get("beads").checked;

function beadTrace(page) {
  if (!showsBeads()) return nothing;
  const { vertices, faces } = SPHERES[0];
  const { symbols } = molecule;
  const copies = Array.from({ length: player.moving.beads }, (_, bead) =>
    framePositions(player.moving, symbols.length, currentFrame(), bead + 1));
  const bodies = copies.flatMap((positions) => positions.map((centre, atom) => {
    const radius = BEAD_RADIUS * atomRadius(page.elements, symbols[atom]);
    return { vertices: vertices.map((vertex) => add(centre, vertex, radius)), faces };
  }));
  const mesh = meshOf(bodies);
  const { intensity, ...scale } = atomColouring(molecule, page, { name: ELEMENT });
  return meshTrace(mesh, { ...scale, intensity: mesh.owner.map((body) => intensity[body % symbols.length]),
    text: mesh.owner.map((body) => symbols[body % symbols.length] + (body % symbols.length)), hoverinfo: "text",
    opacity: BEAD_OPACITY });
}

function arrowTrace(page, theme) {
  if (!isMotion() || !get("arrows").checked) return nothing;
  const bodies = molecule.positions.flatMap((from, atom) => {
    const step = player.moving.displacements[atom], size = Math.hypot(...step);
    if (size < ARROW.least) return [];
    return arrowBodies(from, unit(step), atomRadius(page.elements, molecule.symbols[atom]) + ARROW.length * size);
  });
  return bodies.length ? meshTrace(meshOf(bodies), { color: theme.accent, hoverinfo: "skip" }) : nothing;
}

function arrowBodies(from, along, length) {
  const neck = add(from, along, Math.max(length - ARROW.tip, 0)), tip = add(from, along, length);
  return [prism(from, neck, ARROW.shaft, ARROW.shaft), prism(neck, tip, ARROW.head, 0)];
}

// --- the player
const calm = matchMedia("(prefers-reduced-motion: reduce)");

async function animate() {
  if (player.running) return;
  player.running = true;
  try {
    let before = performance.now();
    while (player.playing && player.seen && !player.held) {
      const now = performance.now();
      advance(Math.min((now - before) / 1000, LONGEST_STEP) * Number(get("speed").value));
      before = now;
      await redraw(SCENE);
    }
  } finally {
    player.running = false;
  }
}

function advance(seconds) {
  const turn = isMotion() ? 1 : player.moving.times.length;
  player.moment = (player.moment + seconds * (isMotion() ? 1 / TURN_SECONDS : FRAMES_PER_SECOND)) % turn;
  showMoment();
}

function play(playing) {
  player.playing = playing && Boolean(player.moving);
  get("play").textContent = player.playing ? "Pause" : "Play";
  if (player.playing) animate();
  else showMoment();
}

function showMoment() {
  if (!player.moving) return;
  const slider = get("moment");
  const words = isMotion() ? `${player.moving.words}, phase ${Math.round(360 * player.moment) % 360}°` : frameWords();
  slider.value = isMotion() ? player.moment : currentFrame();
  get("moment-words").textContent = words;
  // A reader of the screen is told where the slider stands, but not twenty times a second.
  if (!player.playing) slider.setAttribute("aria-valuetext", words);
}

function frameWords() {
  const { times, unit: name } = player.moving;
  return `${withUnit(shown(times[currentFrame()], 4), name)}, frame ${currentFrame() + 1} of ${times.length}`;
}

// --- its controls
function fillMotions() {
  const { movings } = molecule;
  const usable = inThreeDimensions && movings.length > 0;
  get("motion-controls").hidden = !usable;
  get("player").hidden = !usable;
  if (!usable) return chooseMoving(REST);
  const groups = new Map([["", [[REST, "At rest"]]]]);
  for (const { key, name, words, displacements } of movings) {
    const group = displacements ? name : "Frames of the run";
    groups.set(group, [...(groups.get(group) ?? []), [key, displacements ? words : capital(words)]]);
  }
  get("moving").replaceChildren(...[...groups].flatMap(([name, options]) => {
    const made = options.map(([value, words]) => element("option", { value }, words));
    return name ? [element("optgroup", { label: capital(name) }, ...made)] : made;
  }));
  // A field is known around the structure at rest only, so there it is what one sees first.
  return chooseMoving(fieldsOf(molecule).size ? REST : movings[0].key);
}

function chooseMoving(key) {
  const before = player.moving;
  player.moving = molecule.movings.find((each) => each.key === key) ?? null;
  player.moment = 0;
  get("moving").value = key;
  get("play").disabled = get("moment").disabled = !player.moving;
  get("arrows-side").hidden = get("amplitude-side").hidden = !isMotion();
  get("beads-side").hidden = !player.moving?.beads;
  if (isMotion() && before?.name !== player.moving.name) get("amplitude").value = player.moving.amplitude;
  const end = isMotion() ? { max: 1, step: 0.01 } : { max: (player.moving?.times.length ?? 2) - 1, step: 1 };
  Object.assign(get("moment"), end);
  get("moment").setAttribute("aria-label", isMotion() ? "Phase of the motion" : "Frame of the run");
  if (!player.moving) get("moment-words").textContent = "At rest";
  describeMotion();
  play(player.wished);
}

function describeMotion() {
  get("amplitude-words").textContent = `${shown(Number(get("amplitude").value), 2)} Å`;
  get("speed-words").textContent = `× ${get("speed").value}`;
  get("motion-note").textContent = [
    isMotion() ? "The atom that moves farthest moves by the amplitude chosen here, whatever the temperature." : "",
    player.moving && !isMotion() && player.moving.recorded > player.moving.times.length
      ? `${player.moving.times.length.toLocaleString("en")} of ${player.moving.recorded.toLocaleString("en")} frames.` : "",
    player.moving && fieldsOf(molecule).size
      ? "Surface and plane belong to the structure at rest and are hidden meanwhile." : "",
  ].filter(Boolean).join(" ");
  get("motion-note").hidden = !get("motion-note").textContent;
}

function listenToMotions() {
  const on = (id, kind, act) => get(id).addEventListener(kind, (event) => { act(event.target); redraw(SCENE); });
  get("moving").addEventListener("change", ({ target }) => { chooseMoving(target.value); redraw(); });
  on("moment", "input", ({ value }) => {
    play(player.wished = false);
    player.moment = Number(value);
    showMoment();
  });
  for (const id of ["amplitude", "speed"]) on(id, "input", describeMotion);
  for (const id of ["arrows", "beads"]) on(id, "change", () => {});
  on("play", "click", () => play(player.wished = !player.playing));
  calm.addEventListener("change", () => { if (calm.matches) play(player.wished = false); });
  player.wished = !calm.matches;
  // Drawing anew would take the camera out of the hand that turns it, so nothing moves meanwhile.
  get("scene").addEventListener("pointerdown", () => { player.held = true; }, { capture: true });
  for (const kind of ["pointerup", "pointercancel"]) {
    addEventListener(kind, () => { player.held = false; if (player.playing) animate(); }, { capture: true });
  }
  const watch = ([{ isIntersecting }]) => { player.seen = isIntersecting; if (player.playing) animate(); };
  new IntersectionObserver(watch).observe(get("scene"));
}
