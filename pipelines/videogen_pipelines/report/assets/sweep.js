// A run over a grid of settings: what changes over an axis, and the clips side by side.
"use strict";

vg.sweep = (() => {
  const { el } = vg;
  const MOST_LINES = 6;
  const TELLING = ["text.adherence", "text.adherence_all", "coherence.score", "motion.total", "flicker.pixel", "flicker.unexplained", "consistency.subject", "frame.colourfulness", "frame.clipped"];
  const KINDS = [["", "clips"], ["xt", "x–t slices"], ["yt", "y–t slices"], ["flow", "flow"]];
  const SETS = [["set.diversity", "diversity", "↑"], ["set.fd", "Fréchet distance", "↓"]];

  function show(main, table, query) {
    const axes = table.run.axes.filter((axis) => table.has(`axis:${axis}`));
    const several = axes.filter((axis) => table.words(`axis:${axis}`).length > 1);
    const across = axes.includes(query.x) ? query.x : several.find((axis) => isNumeric(table, axis)) ?? several[0] ?? axes[0];
    const others = axes.filter((axis) => axis !== across);
    const fixed = others.map((axis) => ({ axis, words: sorted(table, axis), value: query[`at.${axis}`] ?? sorted(table, axis)[0] }));
    const go = (change) => vg.go("sweep", { ...query, ...change });
    const lined = fixed.find((each) => several.includes(each.axis) && each.words.length <= MOST_LINES);
    const rest = fixed.filter((each) => each !== lined);
    const choices = (some) => some.map(({ axis, words, value }) => el("label", {}, `${axis} `, el("select", { "data-axis": axis, onchange: (event) => go({ [`at.${axis}`]: event.target.value, page: "" }) }, words.map((word) => vg.option(word, word, value)))));
    const controls = el("div", { class: "row" }, el("label", {}, "Across ", el("select", { id: "across", onchange: (event) => go({ x: event.target.value, page: "" }) }, axes.map((axis) => vg.option(axis, axis, across)))), choices(rest));
    const lines = lined ? lined.words.map((value) => ({ name: value, at: [...rest, { ...lined, value }] })) : [{ name: "", at: rest }];
    main.replaceChildren(...vg.studies.page("Sweep", `${axes.join(" × ")}: every row of the manifest at every point of the grid.`, controls,
      responses(table, across, lines, lined?.axis, query, go), tradeoff(table, across, lines), grid(table, across, fixed, query, go, main, lined ? choices([lined]) : [])));
  }

  const isNumeric = (table, axis) => table.words(`axis:${axis}`).every((word) => word !== "" && Number.isFinite(Number(word)));

  function sorted(table, axis) {
    return [...table.words(`axis:${axis}`)].sort((a, b) => Number(a) - Number(b) || a.localeCompare(b, "en", { numeric: true }));
  }

  // Rows of the table at one point of the grid.
  function at(table, axis, value, fixed) {
    const tests = [[axis, value], ...fixed.map((each) => [each.axis, each.value])].map(([name, word]) => table.equals(`axis:${name}`, word));
    const found = [];
    for (let i = 0; i < table.count; i += 1) if (tests.every((test) => test(i))) found.push(i);
    return found;
  }

  const isAt = (point, axis, value, fixed) => String(point[axis]) === value && fixed.every((each) => String(point[each.axis]) === each.value);

  // What changes over an axis: the mean, and the middle 80 % of clips.
  function responses(table, across, lines, axis, query, go) {
    const numeric = isNumeric(table, across);
    const known = TELLING.filter((name) => table.has(`metric:${name}`));
    const metrics = table.metrics.map((metric) => metric.name).filter((name) => !known.includes(name));
    const also = metrics.includes(query.also) ? [query.also] : [];
    const costs = ["gpu_s", "denoise_s"].filter((name) => table.has(name)).slice(0, 1);
    const columns = [...also, ...known].map((name) => `metric:${name}`).concat(costs);
    const panels = columns.map((name) => panel(table, across, lines, numeric, vg.label(name), vg.arrow(table.about.get(name.slice(7))?.direction), ofColumn(table, across, name)));
    const sets = SETS.map(([name, label, arrow]) => panel(table, across, lines, numeric, label, arrow, ofSet(table, across, name)));
    const shown = [...panels.slice(0, also.length + 1), ...sets, ...panels.slice(also.length + 1)].filter(Boolean);
    if (!shown.length) return null;
    const chooser = metrics.length ? el("label", {}, "Also ", el("select", { id: "also", onchange: (event) => go({ also: event.target.value }) }, vg.option("", "–", query.also ?? ""), metrics.map((name) => vg.option(name, name, query.also)))) : null;
    return el("section", {}, el("div", { class: "row" }, el("h2", {}, `Over ${across}`), chooser), el("p", { class: "hint" }, axis ? `Means over the clips; a line for each ${axis}.` : "Mean, and the middle 80 % of clips."), axis ? vg.plot.legend(lines.map((line) => line.name)) : null, el("div", { class: "panels" }, shown));
  }

  function panel(table, across, lines, numeric, label, arrow, measure) {
    const series = lines.map((line) => ({ name: line.name, points: sorted(table, across).map((value) => ({ x: Number(value), text: value, ...measure(value, line.at) })).filter((point) => typeof point.mean === "number") })).filter((line) => line.points.length);
    if (!series.some((line) => line.points.length > 1)) return null;
    return el("article", { class: "panel" }, el("h3", {}, label, " ", el("span", { class: "dim" }, arrow)), vg.plot.response(series, { label: `${label} over ${across}`, xlabel: across, numeric }));
  }

  const ofColumn = (table, across, name) => (value, fixed) => { const column = table.column(name); return tails(at(table, across, value, fixed).map((row) => column[row])); };

  // Numbers of all clips at a point together.
  const ofSet = (table, across, name) => (value, fixed) => {
    const found = name === "set.diversity" ? diversityAt(table, across, value, fixed)?.diversity : setAt(table, across, value, fixed, name);
    return { mean: found, p10: found, p90: found };
  };

  const diversityAt = (table, across, value, fixed) => (table.run.diversity ?? []).find(({ point }) => isAt(point, across, value, fixed));

  function setAt(table, across, value, fixed, name) {
    const metrics = (table.run.sets?.points ?? []).find(({ point }) => isAt(point, across, value, fixed))?.metrics ?? {};
    return Object.entries(metrics).find(([key]) => key.startsWith(`${name}.`))?.[1].value;
  }

  function tails(values) {
    const known = values.filter((v) => !Number.isNaN(v)).sort((a, b) => a - b);
    const quantile = (q) => { if (!known.length) return null; const place = q * (known.length - 1); const low = Math.floor(place); return known[low] + (known[Math.ceil(place)] - known[low]) * (place - low); };
    return { p10: quantile(0.1), p90: quantile(0.9), mean: known.length ? known.reduce((a, b) => a + b, 0) / known.length : null };
  }

  // How well clips show their prompts against how much they differ from each other.
  function tradeoff(table, across, lines) {
    if (!(table.run.diversity ?? []).length || !table.has("metric:text.adherence")) return null;
    const column = table.column("metric:text.adherence");
    const paths = lines.map((line) => ({ name: line.name, points: sorted(table, across).map((value) => {
      const found = diversityAt(table, across, value, line.at);
      const mean = tails(at(table, across, value, line.at).map((row) => column[row])).mean;
      return found && mean !== null ? { x: found.diversity, y: mean, text: value, title: `${across} ${value}: adherence ${vg.number(mean)}, diversity ${vg.number(found.diversity)} over ${vg.plural(found.prompts, "prompt")}` } : null;
    }).filter(Boolean) })).filter((path) => path.points.length);
    if (!paths.some((path) => path.points.length > 1)) return null;
    return el("section", { class: "panel wide" }, el("h2", {}, `Adherence against diversity over ${across}`), el("p", { class: "hint" }, "Diversity is the mean distance between clips of one prompt from different seeds, in units of the spread of all clips."), vg.plot.scatter([], { label: `Adherence against diversity over ${across}`, xlabel: "diversity", ylabel: "text.adherence", paths }));
  }

  function grid(table, across, fixed, query, go, main, chosen) {
    const values = sorted(table, across);
    const columns = values.map((value) => new Map(at(table, across, value, fixed).map((row) => [table.get("sweep_row", row) ?? table.get("prompt", row), row])));
    const names = [...new Set(columns.flatMap((column) => [...column.keys()]))];
    const size = 12, pages = Math.max(1, Math.ceil(names.length / size));
    const number = Math.min(pages, Math.max(1, Number(query.page) || 1));
    const lines = names.slice((number - 1) * size, number * size).map((name) => {
      const one = columns.map((column) => column.get(name)).find((row) => row !== undefined);
      return el("tr", {}, el("th", { scope: "row" }, el("span", { class: "prompt" }, table.get("prompt", one) ?? name), el("code", {}, table.get("seed", one) ? `seed ${table.get("seed", one)}` : name)), columns.map((column) => cell(table, column.get(name), query.as)));
    });
    const pager = pages > 1 ? el("p", { class: "row" }, el("button", { type: "button", disabled: number === 1, onclick: () => go({ page: String(number - 1) }) }, "‹ Previous"), `rows ${(number - 1) * size + 1} to ${Math.min(names.length, number * size)} of ${names.length}`, el("button", { type: "button", disabled: number === pages, onclick: () => go({ page: String(number + 1) }) }, "Next ›")) : null;
    return el("section", {}, el("div", { class: "row" }, el("h2", {}, "Clips"), chosen, table.run.slices === false ? null : el("label", {}, "Shown as ", el("select", { id: "as", onchange: (event) => go({ as: event.target.value }) }, KINDS.map(([kind, text]) => vg.option(kind, text, query.as ?? "")))), vg.gallery.together(main)), el("div", { class: "scroll" }, el("table", { class: "grid" }, el("thead", {}, el("tr", {}, el("th", { scope: "col" }, across), values.map((value) => el("th", { scope: "col" }, value)))), el("tbody", {}, lines))), pager);
  }

  // A clip, or one of its pictures.
  function cell(table, row, kind) {
    if (row === undefined) return el("td", {});
    if (table.get("status", row) !== "done") return el("td", {}, el("span", { class: "state failed" }, table.get("status", row)));
    return el("td", {}, el("a", { href: vg.gallery.href(table, row), "aria-label": table.get("id", row) }, kind ? slice(table, row, kind) : vg.gallery.media(table, row)), el("p", { class: "under" }, vg.gallery.badges(table, row)));
  }

  const slice = (table, row, kind) => el("div", { class: "media slice" }, el("img", { src: table.picture(row, kind), alt: KINDS.find(([name]) => name === kind)?.[1] ?? "", loading: "lazy" }));

  return { show };
})();
