// The clips as a table of columns: search, filters and sorting over tens of thousands of rows.
"use strict";

{
  const CONDITION = /^([A-Za-z_][\w.]*)(<=|>=|!=|<|>|=)(.+)$/;
  const COMPARE = {
    "<": (a, b) => a < b, "<=": (a, b) => a <= b, ">": (a, b) => a > b, ">=": (a, b) => a >= b,
    "=": (a, b) => a === b, "!=": (a, b) => a !== b,
  };
  const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

  class Table {
    constructor(raw, run) {
      this.count = raw.count;
      this.run = run;
      this.columns = new Map(Object.entries(raw.columns));
      this.metrics = run.metrics.filter((metric) => this.columns.has(`metric:${metric.name}`));
      this.about = new Map(run.metrics.map((metric) => [metric.name, metric]));
      this.numbers = new Map();
      this.ranked = new Map();
      this.ids = null;
      this.searched = null;
    }

    has(name) { return this.columns.has(name); }

    // Value of one cell: a number, a string or null.
    get(name, row) {
      const column = this.columns.get(name);
      if (!column) return null;
      const value = column.values[row];
      if (value === null || value === undefined) return null;
      return column.words ? column.words[value] : value;
    }

    metric(name, row) { return this.get(`metric:${name}`, row); }

    // The whole column as numbers, NaN where there is none.
    column(name) {
      if (!this.numbers.has(name)) {
        const values = this.columns.get(name)?.values ?? [];
        this.numbers.set(name, Float64Array.from({ length: this.count }, (_, i) => values[i] ?? NaN));
      }
      return this.numbers.get(name);
    }

    words(name) { return this.columns.get(name)?.words ?? []; }

    // The full name of a column by what people write: "coherence.score", "steps", "seed".
    resolve(name) {
      if (name === "order") return name;
      const aliases = { steps: "num_inference_steps", guidance: "guidance_scale", frames: "num_frames", duration: "duration_s", error: "error_class" };
      const candidates = [name, `metric:${name}`, `axis:${name}`, aliases[name]];
      return candidates.find((candidate) => candidate && this.has(candidate)) ?? null;
    }

    rowOf(id) {
      this.ids ??= new Map(Array.from({ length: this.count }, (_, i) => [this.get("id", i), i]));
      return this.ids.get(id);
    }

    haystack() {
      const names = ["prompt", "id", "seed", "error_class", "error_message"].filter((n) => this.has(n));
      this.searched ??= Array.from({ length: this.count }, (_, i) =>
        names.map((name) => this.get(name, i) ?? "").join("\n").toLowerCase());
      return this.searched;
    }

    // Row numbers that a query keeps, in its order.
    select({ q = "", status = "", sort = "order", dir = "" }) {
      const tests = this.tests(q);
      if (status) tests.push(this.equals("status", status));
      const found = [];
      for (let i = 0; i < this.count; i += 1) if (tests.every((test) => test(i))) found.push(i);
      return this.sorted(found, sort, dir);
    }

    tests(q) {
      return vg.tokens(q).map((token) => {
        const condition = token.text.match(CONDITION);
        const name = condition && !token.quoted && this.resolve(condition[1]);
        if (name) return this.condition(name, condition[2], condition[3]);
        const hay = this.haystack();
        const negative = !token.quoted && token.text.length > 1 && token.text.startsWith("-");
        const word = (negative ? token.text.slice(1) : token.text).toLowerCase();
        return (i) => hay[i].includes(word) !== negative;
      });
    }

    condition(name, sign, wanted) {
      const column = this.columns.get(name);
      if (column?.words && (sign === "=" || sign === "!=")) {
        const low = wanted.toLowerCase();
        const fits = column.words.map((word) => word.toLowerCase() === low);
        return (i) => {
          const value = column.values[i];
          return (value !== null && fits[value]) === (sign === "=");
        };
      }
      const limit = Number(wanted);
      const values = column?.words
        ? Float64Array.from(column.values, (value) => (value === null ? NaN : Number(column.words[value])))
        : this.column(name);
      return (i) => !Number.isNaN(values[i]) && COMPARE[sign](values[i], limit);
    }

    equals(name, value) { return this.condition(name, "=", value); }

    sorted(rows, sort, dir) {
      const name = this.resolve(sort) ?? "order";
      const down = (dir || this.direction(name)) === "desc";
      if (name === "order") return down ? rows.reverse() : rows;
      const keys = this.keys(name);
      const sign = down ? -1 : 1;
      return rows.sort((a, b) => {
        const x = keys[a], y = keys[b];
        if (Number.isNaN(x)) return Number.isNaN(y) ? a - b : 1; // what is not known comes last
        if (Number.isNaN(y)) return -1;
        return sign * (x - y) || a - b;
      });
    }

    // Numbers that sort like the column.
    keys(name) {
      const column = this.columns.get(name);
      if (!column.words) return this.column(name);
      if (!this.ranked.has(name)) {
        const order = column.words.map((_, i) => i).sort((a, b) => collator.compare(column.words[a], column.words[b]));
        const rank = new Float64Array(order.length);
        order.forEach((word, place) => { rank[word] = place; });
        this.ranked.set(name, Float64Array.from(column.values, (v) => (v === null ? NaN : rank[v])));
      }
      return this.ranked.get(name);
    }

    // The way to sort first: the worst clips of a metric on top.
    direction(name) {
      if (!name.startsWith("metric:")) return "asc";
      return this.about.get(name.slice(7))?.direction === "higher" ? "asc" : "desc";
    }

    // Share of the clips that are better than this one, 0 to 1.
    badness(name, row) {
      const value = this.metric(name, row);
      const direction = this.about.get(name)?.direction;
      if (value === null || direction === "info") return null;
      const values = this.column(`metric:${name}`);
      let better = 0, count = 0;
      for (const other of values) {
        if (Number.isNaN(other)) continue;
        count += 1;
        if (direction === "higher" ? other > value : other < value) better += 1;
      }
      return count > 1 ? better / (count - 1) : null;
    }

    // Where a row's video and pictures are.
    video(row) {
      const key = this.get("key", row);
      return key === null ? null : this.run.base + vg.path(key);
    }

    picture(row, kind) {
      if (kind !== "poster" && this.run.slices === false) return null;
      const stem = this.get("pictures", row);
      return stem === null ? null : `${vg.path(stem)}.${kind}.jpg`;
    }

    details(row) {
      const block = Math.floor(row / this.run.block);
      return vg.load(`${this.side}/details-${String(block).padStart(5, "0")}`)
        .then((details) => details[row % this.run.block]);
    }
  }

  // Words of a query; "…" holds several together.
  vg.tokens = (q) => Array.from(q.matchAll(/"([^"]*)"|(\S+)/g), (match) =>
    ({ text: match[1] ?? match[2], quoted: match[1] !== undefined })).filter((token) => token.text);

  vg.openTable = async (side) => {
    const [run, raw] = await Promise.all([vg.load(`${side}/run`), vg.load(`${side}/rows`)]);
    const table = new Table(raw, run);
    table.side = side;
    return table;
  };
}
