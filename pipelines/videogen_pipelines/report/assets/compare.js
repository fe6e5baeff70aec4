// Two runs side by side: paired differences with intervals, and pairs that play together.
"use strict";

vg.compare = (() => {
  const { el } = vg;
  const PAGE = 24;

  // Pairs of rows: the same id, or where no id is shared the same prompt and seed.
  function pairs(a, b) {
    a.paired ??= matched(a, b, "id") ?? matched(a, b, "prompt", "seed") ?? [];
    return a.paired;
  }

  function matched(a, b, ...names) {
    const key = (table, row) => names.map((name) => table.get(name, row) ?? "").join("\n");
    const rows = new Map(Array.from({ length: b.count }, (_, i) => [key(b, i), i]));
    const found = [];
    for (let i = 0; i < a.count; i += 1) if (rows.has(key(a, i))) found.push([i, rows.get(key(a, i))]);
    return found.length ? found : null;
  }

  const name = (table) => table.run.uri.split("/").filter(Boolean).at(-1) ?? "run";
  const VERDICTS = { better: "good", worse: "bad", different: "other", "no difference": "dim" };

  function differences(comparison, query) {
    if (!comparison) return el("p", { class: "note" }, "Metrics to compare come with 'videogen evaluate' for both runs.");
    if (comparison.impossible) return el("p", { class: "note" }, `No metrics to compare: ${comparison.impossible}`);
    const rows = Object.values(comparison.metrics).map((m) => el("tr", {},
      el("th", { scope: "row" }, el("a", { href: vg.hash("compare", { ...query, sort: m.name, page: "" }), title: "Pairs that differ most" }, m.name), " ", el("span", { class: "dim" }, vg.arrow(m.direction))),
      el("td", {}, vg.number(m.mean_a)), el("td", {}, vg.number(m.mean_b)), el("td", {}, signed(m.difference)), el("td", { class: "dim" }, `${signed(m.low)} … ${signed(m.high)}`), el("td", {}, interval(m)), el("td", { class: VERDICTS[m.verdict] }, m.verdict), el("td", { class: "dim" }, `${m.better} : ${m.worse}`)));
    const notes = [...comparison.warnings, ...Object.entries(comparison.incomparable).map(([metric, why]) => `left out ${metric}: ${why}`)];
    return el("section", {}, el("h2", {}, "Paired differences"), el("p", { class: "hint" }, `Over ${vg.plural(comparison.pairs, "pair")}; intervals of the mean of B − A, 95 %, by bootstrap. Better and worse count pairs.`), notes.map((text) => el("p", { class: "note" }, text)),
      el("div", { class: "scroll" }, el("table", { class: "metrics" }, el("thead", {}, el("tr", {}, ["metric", "A", "B", "B − A", "95 %", "", "B is", "better : worse"].map((text) => el("th", { scope: "col" }, text)))), el("tbody", {}, rows))));
  }

  const signed = (v) => (v > 0 ? `+${vg.number(v)}` : vg.number(v).replace("-", "−"));

  // The interval against zero, scaled to itself.
  function interval({ low, high, difference }) {
    const most = Math.max(Math.abs(low), Math.abs(high)) || 1;
    const x = (v) => 50 + (v / most) * 44;
    return vg.svg("svg", { class: "interval", viewBox: "0 0 100 14", "aria-hidden": "true" }, vg.svg("line", { x1: 50, x2: 50, y1: 0, y2: 14, class: "axis" }), vg.svg("line", { x1: x(low), x2: x(high), y1: 7, y2: 7, class: "tail" }), vg.svg("circle", { cx: x(difference), cy: 7, r: 3, class: "dot main" }));
  }

  function ordered(a, b, query) {
    const list = [...pairs(a, b)];
    const metric = query.sort;
    if (!metric || !a.has(`metric:${metric}`) || !b.has(`metric:${metric}`)) return list;
    const gap = ([i, j]) => Math.abs((b.metric(metric, j) ?? NaN) - (a.metric(metric, i) ?? NaN));
    return list.map((pair) => [gap(pair), pair]).sort((x, y) => (Number.isNaN(x[0]) ? 1 : Number.isNaN(y[0]) ? -1 : y[0] - x[0])).map(([, pair]) => pair);
  }

  function pair(a, b, [i, j], sort) {
    const clips = [[a, i, "A"], [b, j, "B"]].map(([table, row, letter]) => {
      const done = table.get("status", row) === "done";
      const badge = sort && table.has(`metric:${sort}`) ? vg.gallery.badges(table, row, `metric:${sort}`) : vg.gallery.badges(table, row);
      return el("div", { class: "half" }, el("span", { class: "letter" }, letter), done ? vg.gallery.media(table, row) : el("div", { class: "media none" }, el("strong", {}, table.get("status", row)), el("span", {}, table.get("error_class", row) ?? "")), el("p", { class: "under" }, done ? badge : null));
    });
    return el("article", { class: "pair" }, el("div", { class: "sides" }, clips), el("p", { class: "prompt" }, el("a", { href: vg.gallery.href(a, i) }, a.get("prompt", i) ?? a.get("id", i))), el("code", {}, a.get("id", i)));
  }

  function show(main, a, query) {
    const b = vg.tables.b;
    const list = ordered(a, b, query);
    const pages = Math.max(1, Math.ceil(list.length / PAGE)), number = Math.min(pages, Math.max(1, Number(query.page) || 1));
    const go = (to) => { vg.go("compare", { ...query, page: String(to) }); };
    const pager = pages > 1 ? el("p", { class: "row" }, el("button", { type: "button", disabled: number === 1, onclick: () => go(number - 1) }, "‹ Previous"), `page ${number} of ${pages}`, el("button", { type: "button", disabled: number === pages, onclick: () => go(number + 1) }, "Next ›")) : null;
    main.replaceChildren(...vg.studies.page("Comparison", null, vg.terms([["A", el("code", {}, a.run.uri)], ["B", el("code", {}, b.run.uri)]]), differences(vg.comparison, query),
      el("section", {}, el("h2", {}, "Side by side"), el("div", { class: "row" }, el("span", { class: "dim" }, `${vg.plural(list.length, "pair")}${query.sort ? `, those that differ most in ${query.sort} first` : ""}`), vg.gallery.together(main)), list.length ? el("div", { class: "pairs" }, list.slice((number - 1) * PAGE, number * PAGE).map((each) => pair(a, b, each, query.sort))) : el("p", { class: "note" }, "No clip of one run has a partner in the other: neither ids nor prompts and seeds agree."), pager)));
  }

  return { show, name };
})();
