// Plots as SVG: histograms, curves, bands, bars, points. Colours come from the style sheet.
"use strict";

vg.plot = (() => {
  const { svg } = vg;
  const TEXT = 11;

  // Round numbers from low to high.
  function ticks(low, high, count = 4) {
    if (!(high > low)) return [low];
    const rough = (high - low) / count;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough) ?? rough;
    const found = [];
    for (let v = Math.ceil(low / step - 1e-9) * step; v <= high + step * 1e-9; v += step) found.push(Math.abs(v) < step * 1e-9 ? 0 : v);
    return found;
  }

  const scale = (low, high, from, to) => (v) => (high > low ? from + ((v - low) / (high - low)) * (to - from) : (from + to) / 2);

  function extent(values) {
    let low = Infinity, high = -Infinity;
    for (const v of values) if (v !== null && !Number.isNaN(v)) { if (v < low) low = v; if (v > high) high = v; }
    return low <= high ? [low, high] : [0, 1];
  }

  function padded([low, high]) {
    if (high > low) return [low, high];
    const by = Math.abs(low) * 0.05 || 0.5;
    return [low - by, high + by];
  }

  function frame(width, height, label, ...children) {
    return svg("svg", { class: "plot", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label, preserveAspectRatio: "xMidYMid meet" }, children);
  }

  function xAxis(at, values, y, format = vg.number) {
    return values.map((v, i) => svg("text", { x: at(v), y: y + TEXT + 2, class: "tick", "text-anchor": i === 0 ? "start" : i === values.length - 1 ? "end" : "middle" }, format(v)));
  }

  const d = (points) => points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");

  // Pieces of a line between its gaps.
  function pieces(values, x, y) {
    const found = [];
    let piece = [];
    values.forEach((v, i) => {
      if (v === null || Number.isNaN(v)) { if (piece.length) found.push(piece); piece = []; } else piece.push([x(i), y(v)]);
    });
    if (piece.length) found.push(piece);
    return found;
  }

  function line(values, x, y, name) {
    return pieces(values, x, y).map((piece) => (piece.length === 1
      ? svg("circle", { cx: piece[0][0], cy: piece[0][1], r: 1.6, class: `dot ${name}` })
      : svg("path", { d: d(piece), class: `line ${name}` })));
  }

  // How often which values; `onpick(low, high)` is told of a click on a bar.
  function histogram(values, { label, mark, onpick, bins = 28 }) {
    const width = 320, height = 108, bottom = 88;
    const known = Array.from(values).filter((v) => !Number.isNaN(v));
    const [low, high] = padded(extent(known));
    const counts = new Array(bins).fill(0);
    for (const v of known) counts[Math.min(bins - 1, Math.floor(((v - low) / (high - low)) * bins))] += 1;
    const top = Math.max(1, ...counts);
    const x = scale(low, high, 4, width - 4);
    const y = scale(0, top, bottom, 8);
    const bars = counts.map((count, i) => {
      const a = low + ((high - low) * i) / bins, b = low + ((high - low) * (i + 1)) / bins;
      if (!count) return null;
      const title = svg("title", {}, `${vg.number(a)} to ${vg.number(b)}: ${vg.plural(count, "clip")}`);
      return svg("rect", {
        x: x(a) + 0.5, width: Math.max(1, x(b) - x(a) - 1), y: Math.min(y(count), bottom - 2), height: Math.max(2, bottom - y(count)),
        class: onpick ? "bar pick" : "bar", onclick: onpick && (() => onpick(a, b, i === bins - 1)),
      }, title);
    });
    const marked = mark !== null && mark !== undefined
      ? svg("line", { x1: x(mark), x2: x(mark), y1: 2, y2: bottom, class: "mark" }) : null;
    return frame(width, height, label, bars, svg("line", { x1: 0, x2: width, y1: bottom, y2: bottom, class: "axis" }), marked, xAxis(x, ends(low, high), bottom));
  }

  const ends = (low, high) => { const t = ticks(low, high, 3); return t.length > 1 ? t : [low, high]; };

  // A curve per frame; `onpick(frame)` is told of a click; `.at(frame)` moves the playhead.
  function curve({ step, values }, { label, worst, frames, onpick }) {
    const width = 320, height = 84, bottom = 66, left = 40;
    const [low, high] = padded(extent(values));
    const x = scale(0, Math.max(1, frames - 1), left, width - 4);
    const y = scale(low, high, bottom - 4, 10);
    const at = (i) => x(Math.min(frames - 1, i * step + (step - 1) / 2));
    const head = svg("line", { class: "playhead", x1: x(0), x2: x(0), y1: 2, y2: bottom });
    const marker = worst !== null && worst !== undefined
      ? [svg("line", { x1: x(worst), x2: x(worst), y1: 4, y2: bottom, class: "worst" }), svg("title", {}, `worst at frame ${worst}`)] : null;
    const plot = frame(width, height, label,
      svg("line", { x1: left, x2: width, y1: bottom, y2: bottom, class: "axis" }),
      svg("text", { x: left - 6, y: 13, class: "tick", "text-anchor": "end" }, vg.number(high)),
      svg("text", { x: left - 6, y: bottom - 1, class: "tick", "text-anchor": "end" }, vg.number(low)),
      marker, line(values, at, y, "main"), head,
      xAxis(x, [0, Math.max(1, frames - 1)], bottom, (v) => `${v}`));
    if (onpick) {
      plot.classList.add("pick");
      plot.addEventListener("click", (event) => {
        const box = plot.getBoundingClientRect();
        const fraction = ((event.clientX - box.left) / box.width * width - left) / (width - left - 4);
        onpick(Math.round(Math.min(1, Math.max(0, fraction)) * (frames - 1)));
      });
    }
    plot.at = (i) => { head.setAttribute("x1", x(i)); head.setAttribute("x2", x(i)); };
    return plot;
  }

  // The middle and the tails of many clips over the parts of their length.
  function band({ p10, p50, p90 }, { label, start = "start", end = "end" }) {
    const width = 320, height = 84, bottom = 66, left = 40;
    const [low, high] = padded(extent([...p10, ...p90]));
    const x = scale(0, p50.length - 1, left, width - 4);
    const y = scale(low, high, bottom - 4, 10);
    const known = p10.map((v, i) => i).filter((i) => p10[i] !== null && p90[i] !== null);
    const area = known.length > 1
      ? svg("path", { class: "area", d: `${d(known.map((i) => [x(i), y(p90[i])]))}L${d([...known].reverse().map((i) => [x(i), y(p10[i])])).slice(1)}Z` }) : null;
    return frame(width, height, label, area, line(p50, x, y, "main"),
      svg("line", { x1: left, x2: width, y1: bottom, y2: bottom, class: "axis" }),
      svg("text", { x: left - 6, y: 13, class: "tick", "text-anchor": "end" }, vg.number(high)),
      svg("text", { x: left - 6, y: bottom - 1, class: "tick", "text-anchor": "end" }, vg.number(low)),
      svg("text", { x: left, y: height - 4, class: "tick" }, start),
      svg("text", { x: width - 4, y: height - 4, class: "tick", "text-anchor": "end" }, end));
  }

  // Axes with labels, for the larger plots.
  function axes(box, xs, ys, { xlabel, ylabel }) {
    const { left, right, top, bottom } = box;
    const x = scale(...xs, left, right), y = scale(...ys, bottom, top);
    const lines = [
      ...ticks(...ys).map((v) => [svg("line", { x1: left, x2: right, y1: y(v), y2: y(v), class: "rule" }), svg("text", { x: left - 6, y: y(v) + 4, class: "tick", "text-anchor": "end" }, vg.number(v))]),
      ...ticks(...xs).map((v) => svg("text", { x: x(v), y: bottom + 15, class: "tick", "text-anchor": "middle" }, vg.number(v))),
      svg("text", { x: (left + right) / 2, y: bottom + 32, class: "name", "text-anchor": "middle" }, xlabel),
      svg("text", { x: left - 6, y: top - 9, class: "name" }, ylabel),
    ];
    return { x, y, lines };
  }

  const widened = ([low, high]) => { const by = (high - low) * 0.06 || Math.abs(low) * 0.05 || 0.5; return [low - by, high + by]; };

  // As wide as the page, so that text stays readable on a telephone.
  const room = () => Math.max(300, Math.min(560, document.documentElement.clientWidth - 60));

  // Points `[{x, y, title, href}]`; each of `paths`, `{name, points}`, is joined in its order, its
  // points with their `text`.
  function scatter(points, { label, xlabel, ylabel, paths = [] }) {
    const width = room(), height = Math.round(width * 0.6);
    const box = { left: 52, right: width - 14, top: 24, bottom: height - 42 };
    const all = [...points, ...paths.flatMap((path) => path.points)];
    const { x, y, lines } = axes(box, widened(padded(extent(all.map((p) => p.x)))), widened(padded(extent(all.map((p) => p.y)))), { xlabel, ylabel });
    const dots = points.map((p) => {
      const dot = svg("circle", { cx: x(p.x).toFixed(1), cy: y(p.y).toFixed(1), r: points.length > 1500 ? 2 : 4, class: p.href ? "point pick" : "point" }, svg("title", {}, p.title));
      if (p.href) dot.addEventListener("click", () => { location.hash = p.href; });
      return dot;
    });
    const joined = paths.map((path, i) => svg("path", { class: `line ${hue(i, paths)}`, d: d(path.points.map((p) => [x(p.x), y(p.y)])) }));
    const place = labels(box);
    const marks = paths.map((path, i) => path.points.map((p) => [svg("circle", { cx: x(p.x), cy: y(p.y), r: 5, class: `dot ${hue(i, paths)}` }, svg("title", {}, p.title)), svg("text", { ...place(x(p.x), y(p.y), p.text), class: "name" }, p.text)]));
    return frame(width, height, label, lines, joined, dots, marks);
  }

  // Places for texts beside points: of eight around each, the first that hides no text before.
  function labels(box) {
    const taken = [];
    return (x, y, text) => {
      const wide = 7.5 * text.length;
      const spots = [[8, -7], [8, 16], [-8 - wide, -7], [-8 - wide, 16], [-wide / 2, -11], [-wide / 2, 22], [8, -21], [8, 30]].map(([dx, dy]) => ({ x: x + dx, y: y + dy }));
      const free = spots.find((spot) => spot.x >= box.left - 20 && spot.x + wide <= box.right + 14 && taken.every((other) => spot.x > other.x + other.wide || spot.x + wide < other.x || Math.abs(spot.y - other.y) > 12)) ?? spots[0];
      taken.push({ ...free, wide });
      return free;
    };
  }

  const hue = (i, series) => (series.length > 1 ? `hue-${i % 6}` : "main");

  // One number over an axis of a sweep: of each of `series`, `{name, points: [{x, text, mean, p10,
  // p90}]}`, the mean as a line; of a single one also the tails.
  function response(series, { label, xlabel, numeric }) {
    const width = 320, height = 176;
    const box = { left: 44, right: width - 12, top: 10, bottom: height - 36 };
    const alone = series.length === 1;
    const every = series.flatMap((one) => one.points);
    const known = [...new Map(every.map((p) => [p.text, p])).values()].sort((a, b) => a.x - b.x);
    const far = numeric && known[0].x > 0 && known.at(-1).x >= 8 * known[0].x; // doublings, evenly apart
    const place = (p) => (numeric ? (far ? Math.log2(p.x) : p.x) : known.findIndex((each) => each.text === p.text));
    const ys = widened(padded(extent(every.flatMap((p) => (alone ? [p.p10, p.p90, p.mean] : [p.mean])))));
    const xs = widened(padded(extent(known.map(place))));
    const x = scale(...xs, box.left, box.right), y = scale(...ys, box.bottom, box.top);
    const grid = ticks(...ys).map((v) => [svg("line", { x1: box.left, x2: box.right, y1: y(v), y2: y(v), class: "rule" }), svg("text", { x: box.left - 5, y: y(v) + 4, class: "tick", "text-anchor": "end" }, vg.number(v))]);
    const names = known.map((p) => svg("text", { x: x(place(p)), y: box.bottom + 14, class: "tick", "text-anchor": "middle" }, p.text));
    const drawn = series.map((one, i) => {
      const name = hue(i, series);
      const tails = alone ? one.points.map((p) => svg("line", { x1: x(place(p)), x2: x(place(p)), y1: y(p.p10), y2: y(p.p90), class: "tail" })) : null;
      const joined = numeric ? svg("path", { class: `line ${name}`, d: d(one.points.map((p) => [x(place(p)), y(p.mean)])) }) : null;
      return [tails, joined, one.points.map((p) => svg("circle", { cx: x(place(p)), cy: y(p.mean), r: 4, class: `dot ${name}` }, svg("title", {}, `${one.name} ${p.text}: ${vg.number(p.mean)} (${vg.number(p.p10)} to ${vg.number(p.p90)})`.trim())))];
    });
    return frame(width, height, label, grid, names, drawn,
      svg("text", { x: (box.left + box.right) / 2, y: height - 4, class: "name", "text-anchor": "middle" }, xlabel));
  }

  // What the colours of several lines mean.
  function legend(names) {
    return vg.el("p", { class: "legend" }, names.map((name, i) => vg.el("span", {}, svg("svg", { viewBox: "0 0 18 10", "aria-hidden": "true" }, svg("path", { class: `line hue-${i % 6}`, d: "M0 5L18 5" }), svg("circle", { cx: 9, cy: 5, r: 4, class: `dot hue-${i % 6}` })), name)));
  }

  // Bars `[{name, value, text}]`, longest to the right edge.
  function bars(items, label) {
    const width = room(), row = 30, left = 70;
    const most = Math.max(...items.map((item) => item.value), 1e-12);
    return frame(width, items.length * row + 4, label, items.map((item, i) => {
      const length = Math.max(1, (item.value / most) * (width - left - 190));
      return [
        svg("text", { x: left - 8, y: i * row + 20, class: "name", "text-anchor": "end" }, item.name),
        svg("rect", { x: left, y: i * row + 6, width: length, height: 19, rx: 2, class: "bar" }),
        svg("text", { x: left + length + 8, y: i * row + 20, class: "tick" }, item.text),
      ];
    }));
  }

  return { histogram, curve, band, scatter, response, legend, bars, extent };
})();
