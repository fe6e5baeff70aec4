// Pages about the whole run: metrics, cost, failures, settings.
"use strict";

vg.studies = (() => {
  const { el } = vg;

  const page = (title, about, ...children) => [el("h1", { tabindex: "-1" }, title), about ? el("p", { class: "hint" }, about) : null, ...children].filter(Boolean);

  // Metrics ----------------------------------------------------------------------------------------
  function metricPanel(table, metric) {
    const values = table.column(`metric:${metric.name}`);
    const profile = table.run.profiles[metric.name];
    const pick = (low, high, last) => vg.go("", { q: `${metric.name}>=${trim(low)} ${metric.name}${last ? "<=" : "<"}${trim(high)}`, sort: metric.name });
    return el("article", { class: "panel", id: `metric-${metric.name}` },
      el("header", {}, el("h3", {}, el("a", { href: vg.hash("", { sort: metric.name }), title: "The clips, worst first" }, metric.name), " ", el("span", { class: "dim" }, `${metric.unit} ${vg.arrow(metric.direction)}`)), el("p", { class: "hint" }, metric.about)),
      vg.plot.histogram(values, { label: `Distribution of ${metric.name} over ${metric.count} clips, mean ${vg.number(metric.mean)}`, mark: metric.mean, onpick: pick }),
      el("p", { class: "numbers" }, [["mean", metric.mean], ["p5", metric.p5], ["p50", metric.p50], ["p95", metric.p95]].map(([name, v]) => el("span", {}, `${name} `, el("b", {}, vg.number(v)))), el("span", {}, vg.plural(metric.count, "clip"))),
      profile ? vg.plot.band(profile, { label: `${metric.name} against time within clips: median, and the 10th to 90th percentile of ${profile.clips} clips` }) : null);
  }

  const trim = (v) => String(Number(v.toPrecision(6)));

  function scatter(table) {
    const names = table.metrics.map((metric) => metric.name);
    const first = names.includes("motion.total") ? "motion.total" : names[0];
    const second = names.includes("coherence.score") ? "coherence.score" : names[1] ?? names[0];
    const place = el("div", { class: "wide" });
    const choose = (value, name) => { const select = vg.gallery.choice(table, `metric:${value}`, { "aria-label": name, onchange: draw }); return select; };
    const x = choose(first, "Across"), y = choose(second, "Up");
    function draw() {
      const xs = table.keys(x.value) , ys = table.keys(y.value);
      const points = [];
      for (let i = 0; i < table.count; i += 1) {
        if (Number.isNaN(xs[i]) || Number.isNaN(ys[i])) continue;
        points.push({ x: xs[i], y: ys[i], href: vg.gallery.href(table, i), title: `${table.get("prompt", i) ?? table.get("id", i)}\n${vg.number(xs[i])}, ${vg.number(ys[i])}` });
      }
      const thin = points.length > 4000 ? points.filter((_, i) => i % Math.ceil(points.length / 4000) === 0) : points;
      place.replaceChildren(vg.plot.scatter(thin, { label: `${vg.label(y.value)} against ${vg.label(x.value)}, ${points.length} clips`, xlabel: vg.label(x.value), ylabel: vg.label(y.value) }), thin.length < points.length ? el("p", { class: "hint" }, `${thin.length.toLocaleString("en")} of ${vg.plural(points.length, "clip")} are drawn.`) : "");
    }
    x.querySelector('option[value="order"]')?.remove();
    y.querySelector('option[value="order"]')?.remove();
    draw();
    return el("section", { class: "panel wide" }, el("h2", {}, "One against another"), el("div", { class: "row" }, el("label", {}, "Up ", y), el("label", {}, "Across ", x)), place);
  }

  const FAMILIES = { coherence: "Coherence", flicker: "Flicker", motion: "Motion", cut: "Cuts", seam: "Seams", consistency: "Consistency", drift: "Drift", frame: "Frame quality", text: "Adherence to the prompt", vbench: "VBench" };

  function metrics(main, table) {
    if (!table.metrics.length) { main.replaceChildren(...page("Metrics", null, vg.noMetrics(table))); return; }
    const families = Map.groupBy ? Map.groupBy(table.metrics, (m) => m.name.split(".")[0]) : group(table.metrics);
    const sections = [...families].map(([family, list]) => el("section", {}, el("h2", {}, FAMILIES[family] ?? family), el("div", { class: "panels" }, list.map((metric) => metricPanel(table, metric)))));
    const skipped = Object.entries(table.run.skipped).filter(([name]) => !table.about.has(name));
    main.replaceChildren(...page("Metrics", `${vg.plural(table.run.scored, "clip")} scored at ${table.run.evaluated_at_px} px. Above: how often which value, with the mean; click a bar for its clips. Below: the median and the middle 80 % of clips from their first to their last frame.`,
      ...sections.slice(0, 1), scatter(table), sets(table), ...sections.slice(1),
      skipped.length ? el("section", {}, el("h2", {}, "Not measured"), vg.terms(skipped.map(([name, why]) => [name, Object.keys(why).join("; ")]))) : null));
  }

  // Clips as a set, and in pairs with a reference.
  function sets(table) {
    const found = table.run.sets;
    if (!found) return null;
    const rows = Object.entries(found.all).map(([name, said]) => [name, vg.number(said.value, 4), `${vg.plural(said.num_clips, "clip")}${said.num_prompts ? ` of ${vg.plural(said.num_prompts, "prompt")}` : ""}`]);
    for (const [name, said] of Object.entries(found.pairs?.metrics ?? {})) rows.push([name, vg.number(said.mean, 4), `${vg.plural(found.pairs.count, "pair")}; p5 ${vg.number(said.p5, 4)}, p95 ${vg.number(said.p95, 4)}`]);
    if (!rows.length) return null;
    const against = found.reference ? `Against ${found.reference.uri}, ${vg.plural(found.reference.clips, "clip")}.` : "Without a reference: distances are in units of the spread of all these clips.";
    return el("section", {}, el("h2", {}, "As a set"), el("p", { class: "hint" }, against), found.notes.map((text) => el("p", { class: "note" }, text)),
      el("div", { class: "scroll" }, el("table", { class: "metrics" }, el("thead", {}, el("tr", {}, ["", "value", "of"].map((text) => el("th", { scope: "col" }, text)))), el("tbody", {}, rows.map(([name, value, of]) => el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, value), el("td", { class: "dim" }, of)))))));
  }

  function group(list) {
    const found = new Map();
    for (const metric of list) { const family = metric.name.split(".")[0]; found.set(family, [...(found.get(family) ?? []), metric]); }
    return found;
  }

  // Cost -------------------------------------------------------------------------------------------
  const STAGES = [["denoise_s", "denoise"], ["decode_s", "decode"], ["encode_s", "encode"], ["commit_s", "store"]];

  function cost(main, table) {
    const run = table.run.run;
    const sums = STAGES.map(([name, text]) => [text, run?.stage_s?.[name] ?? sum(table.column(name))]);
    const total = sums.reduce((all, [, s]) => all + s, 0);
    if (!total) { main.replaceChildren(...page("Cost", null, el("p", { class: "note" }, "No clip says what it took."))); return; }
    const clips = run?.done || table.count;
    const items = sums.map(([name, s]) => ({ name, value: s, text: `${vg.seconds(s)} · ${Math.round((100 * s) / total)} % · ${vg.seconds(s / clips)} a clip` }));
    const each = [["gpu_s", "Device time of a clip (s)"], ["denoise_s", "Denoising of a clip (s)"], ["bytes", "File size (bytes)"], ["attempts", "Attempts"]].filter(([name]) => varies(table, name)).map(([name, text]) => {
      const pick = (low, high, last) => vg.go("", { q: `${name}>=${trim(low)} ${name}${last ? "<=" : "<"}${trim(high)}`, sort: name, dir: "desc" });
      const values = table.column(name);
      return el("article", { class: "panel" }, el("h3", {}, text), vg.plot.histogram(values, { label: `Distribution of ${text}`, onpick: pick }));
    });
    const numbers = run ? vg.terms([["Device time", run.gpu_s ? vg.seconds(run.gpu_s) : null], ["Lost to failed attempts", run.lost_gpu_s ? vg.seconds(run.lost_gpu_s) : null], ["Cost", run.cost ? vg.number(run.cost) : null], ["Video made", vg.seconds(run.video_s)], ["Stored", vg.bytes(run.bytes)], ["Retries", run.retries ? vg.number(run.retries) : null]]) : null;
    main.replaceChildren(...page("Cost", "Seconds by stage over all clips; stages of different clips overlap in time.", el("section", { class: "panel wide" }, vg.plot.bars(items, "Seconds by stage")), numbers, el("section", {}, el("h2", {}, "Clip by clip"), el("div", { class: "panels" }, each)), progress(table)));
  }

  const varies = (table, name) => { const [low, high] = table.has(name) ? vg.plot.extent(table.column(name)) : [0, 0]; return high > low; };
  const sum = (values) => values.reduce((all, v) => all + (Number.isNaN(v) ? 0 : v), 0);

  // How many clips were there when.
  function progress(table) {
    const times = table.column("created_at").filter((t) => !Number.isNaN(t)).sort();
    if (times.length < 3 || times[0] === times.at(-1)) return null;
    const bins = 48;
    const counts = Array.from({ length: bins }, (_, i) => { const t = times[0] + ((times.at(-1) - times[0]) * (i + 1)) / bins; let n = 0; while (n < times.length && times[n] <= t) n += 1; return n; });
    return el("section", {}, el("h2", {}, "Clips over time"), el("div", { class: "panels" }, el("article", { class: "panel" }, vg.plot.band({ p10: counts, p50: counts, p90: counts }, { label: "Clips made over time", start: vg.when(times[0] * 1000), end: vg.when(times.at(-1) * 1000) }))));
  }

  // Failures ---------------------------------------------------------------------------------------
  function failures(main, table, query) {
    const rows = table.select({ status: "failed", q: query.q ?? "" });
    const classes = new Map();
    for (const row of table.select({ status: "failed" })) { const name = table.get("error_class", row) ?? "unknown"; classes.set(name, (classes.get(name) ?? 0) + 1); }
    const most = 500;
    const lines = rows.slice(0, most).map((row) => el("tr", {}, el("th", { scope: "row" }, el("a", { href: vg.gallery.href(table, row) }, el("code", {}, table.get("id", row)))), el("td", {}, el("span", { class: "state failed" }, table.get("error_class", row) ?? "")), el("td", { class: "reason" }, table.get("error_message", row) ?? ""), el("td", {}, vg.number(table.get("attempts", row))), el("td", { class: "prompt" }, table.get("prompt", row) ?? "")));
    const kinds = el("p", { class: "row" }, [...classes].sort((a, b) => b[1] - a[1]).map(([name, count]) => el("a", { class: "button", href: vg.hash("failures", { q: `error_class=${name}` }) }, `${name} `, el("small", {}, count.toLocaleString("en")))), query.q ? el("a", { class: "button", href: "#/failures" }, "All kinds") : null);
    main.replaceChildren(...page("Failures", rows.length ? `${vg.plural(rows.length, "row")} without a clip. 'videogen retry' tries them again.` : "Nothing failed.", kinds,
      rows.length ? el("div", { class: "scroll" }, el("table", { class: "failures" }, el("thead", {}, el("tr", {}, ["id", "kind", "reason", "attempts", "prompt"].map((name) => el("th", { scope: "col" }, name)))), el("tbody", {}, lines))) : null,
      rows.length > most ? el("p", { class: "hint" }, `The first ${most} are listed; `, el("a", { href: vg.hash("", { status: "failed" }) }, "the gallery"), " has them all.") : null));
  }

  // Run --------------------------------------------------------------------------------------------
  function about(main, table) {
    const { run, ...report } = table.run;
    const code = (text) => el("code", {}, text);
    const facts = run ? [["State", run.state], ["Rows", vg.number(run.rows)], ["Model", el("span", {}, run.model, " ", code(run.model_digest.slice(0, 12)))], ["Manifest", code(run.manifest)], ["Invocation", vg.number(run.invocation)], ["Started", vg.when(run.started_at)], ["Node", run.node], ["Versions", Object.entries(run.versions).map(([name, v]) => `${name} ${v}`).join(", ")], ["Configuration", code(run.config_sha256.slice(0, 12))]] : [];
    main.replaceChildren(...page("Run", null, vg.terms([["Clips", code(report.uri)], ...facts, ["Report made", vg.when(report.made_at)], ["By", `videogen ${report.made_by}`]]),
      run ? el("section", {}, el("h2", {}, "Configuration"), el("pre", { tabindex: "0" }, JSON.stringify(run.config, null, 2))) : null));
  }

  return { metrics, cost, failures, about, page };
})();
