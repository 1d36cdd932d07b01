// Two-dimensional charts: those of the panels, and the histogram in which an atom is marked.
const FLAT_CONFIG = { displaylogo: false, responsive: true, showSendToCloud: false,
  modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]] };
// Hues that every kind of colour vision tells apart (Okabe and Ito), the house's blue and orange first.
const SERIES_COLOURS = ["#3d7fc9", "#d2691e", "#2f9e78", "#b565a7", "#c99700", "#4aa8d8"];
const DASHES = { dashed: "dash", lines: "solid" };

const NO_COLOUR = "rgba(0,0,0,0)";

const commonLayout = (theme) => ({
  paper_bgcolor: NO_COLOUR, font: { family: theme.font, size: 12, color: theme.ink },
  modebar: { bgcolor: NO_COLOUR, color: theme.soft, activecolor: theme.accent },
});

function flatLayout(theme, extra) {
  const axis = () => ({ gridcolor: theme.line, zerolinecolor: theme.line, linecolor: theme.soft, automargin: true });
  const hoverlabel = { font: { family: theme.font } };
  const own = { plot_bgcolor: NO_COLOUR, hoverlabel, dragmode: "zoom", xaxis: axis(), yaxis: axis() };
  return { ...commonLayout(theme), ...own, ...extra };
}

function seriesTrace(series, place, theme) {
  const colour = standingOut(series.colour ?? SERIES_COLOURS[place % SERIES_COLOURS.length], theme);
  const points = series.mode === "markers";
  const dense = series.x.length > 500;
  const texts = series.labels.map(label);
  const named = series.mode === "text";
  return {
    type: "scatter", name: label(series.name), x: series.x, y: series.y,
    mode: named ? "markers+text" : points ? "markers" : "lines",
    line: { color: colour, width: 2, dash: DASHES[series.mode] ?? "solid" },
    marker: { color: colour, size: dense ? 4 : 8, opacity: dense ? 0.5 : 0.9 },
    text: named ? texts : undefined, textposition: "top center", textfont: { color: theme.ink }, cliponaxis: !named,
    hovertext: texts,
    hovertemplate: `${texts.length ? "<b>%{hovertext}</b><br>" : ""}%{x}, %{y}<extra>${label(series.name)}</extra>`,
  };
}

// Long labels in lines, as they would be cut off at the end of their axis.
function inLines(text, most) {
  const lines = [""];
  for (const word of String(text).split(" ")) {
    if (lines.at(-1) && lines.at(-1).length + word.length >= most) lines.push("");
    lines.push(`${lines.pop()} ${word}`.trim());
  }
  return lines.map(label).join("<br>");
}

// Room for the legend below the axes, so that it takes nothing from the chart itself.
function makeRoom(place, series) {
  place.style.height = "";
  if (series.length < 2) return;
  const longest = Math.max(...series.map(({ name }) => name.length));
  const columns = Math.max(1, Math.floor((place.clientWidth - 60) / (55 + 6.5 * longest)));
  place.style.height = `${place.clientHeight + 19 * Math.ceil(series.length / columns)}px`;
}

function drawChart(place, chart) {
  const theme = look();
  makeRoom(place, chart.series);
  const several = chart.series.length > 1;
  const layout = flatLayout(theme, { showlegend: several, hovermode: "closest",
    margin: { l: 56, r: 12, t: 30, b: 48 },
    legend: { orientation: "h", yref: "container", y: 0, yanchor: "bottom", x: 0 } });
  layout.xaxis.title = { text: inLines(chart.x, place.clientWidth / 8), standoff: 8 };
  layout.yaxis.title = { text: inLines(chart.y, 34), standoff: 8 };
  if (chart.equal) Object.assign(layout.yaxis, { scaleanchor: "x", constrain: "domain" });
  const traces = chart.series.map((series, number) => seriesTrace(series, number, theme));
  return Plotly.react(place, traces, layout, FLAT_CONFIG);
}

// How many per cent of an element's values lie below one.
function percentile({ quantiles }, value) {
  if (value <= quantiles[0]) return 0;
  const above = quantiles.findIndex((quantile) => quantile >= value);
  if (above < 0) return 100;
  const gap = quantiles[above] - quantiles[above - 1];
  return (100 * (above - 1 + (gap > 0 ? (value - quantiles[above - 1]) / gap : 0))) / (quantiles.length - 1);
}

function placeInWords(bins, value, element) {
  const all = `the ${bins.count.toLocaleString("en")} ${element} atoms of the data`;
  const below = percentile(bins, value);
  if (below <= 0) return value < bins.quantiles[0] ? `below all of ${all}` : `the lowest of ${all}`;
  if (below >= 100) return value > bins.quantiles.at(-1) ? `above all of ${all}` : `the highest of ${all}`;
  const rounded = below < 1 || below > 99 ? shown(below, 2) : Math.round(below);
  return `higher than ${rounded} % of ${all}`;
}

// Counts of the element's atoms, with a line where the chosen atom lies.
function drawHistogram(place, bins, { name, unitName, element, colour, value, atom }) {
  const theme = look();
  const width = (bins.high - bins.low) / bins.counts.length;
  const bars = { type: "bar", x: bins.counts.map((_, bin) => bins.low + (bin + 0.5) * width), y: bins.counts, width,
    marker: { color: standingOut(colour, theme), opacity: 0.75 },
    hovertemplate: "%{y} atoms near %{x}<extra></extra>" };
  const range = [Math.min(bins.low, value - 3 * width), Math.max(bins.high, value + 3 * width)];
  const layout = flatLayout(theme, {
    showlegend: false, bargap: 0, margin: { l: 50, r: 12, t: 26, b: 44 },
    shapes: [{ type: "line", x0: value, x1: value, y0: 0, y1: 1, yref: "paper",
      line: { color: theme.accent, width: 3 } }],
    annotations: [{ x: value, y: 1, yref: "paper", yanchor: "bottom", text: `<b>${atom}</b>`, showarrow: false,
      font: { color: theme.accent } }],
  });
  Object.assign(layout.xaxis, { title: { text: label(titled(name, unitName)) }, range, showgrid: false });
  layout.yaxis.title = { text: `${element} atoms` };
  return Plotly.react(place, [bars], layout, FLAT_CONFIG);
}
