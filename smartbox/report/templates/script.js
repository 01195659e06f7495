"use strict";
// Sorting and filtering of the tables. Without scripts the page is whole, but for these.
(() => {
  const compare = new Intl.Collator(undefined, {numeric: true}).compare;

  const key = (row, place) => row.cells[place].dataset.sort ?? null;

  // Lines without a figure come last, whichever way the others go; equal ones keep their order.
  const sort = (rows, place, isFigure, sign) => [...rows].sort((a, b) => {
    const one = key(a, place), other = key(b, place);
    if (one === null || other === null) return isFigure ? (one === null) - (other === null) : 0;
    return sign * (isFigure ? Number(one) - Number(other) : compare(one, other));
  });

  const makeSortable = (table, status) => {
    const body = table.tBodies[0], original = [...body.rows];
    const first = [...table.tHead.rows[0].cells], second = table.tHead.rows[1] ? [...table.tHead.rows[1].cells] : [];
    const heads = first.flatMap((head) => head.colSpan > 1 || head.scope === "colgroup" ? second.splice(0, head.colSpan) : [head]);
    heads.forEach((head, place) => {
      const isFigure = head.classList.contains("figure");
      if (isFigure && original.every((row) => key(row, place) === null)) return;
      const label = head.textContent.trim(), button = document.createElement("button");
      head.dataset.label = label;
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const was = head.getAttribute("aria-sort");
        const next = isFigure ? {null: "descending", descending: "ascending"} : {null: "ascending", ascending: "descending"};
        const now = next[was] ?? null;
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        if (now) head.setAttribute("aria-sort", now);
        body.append(...(now ? sort(original, place, isFigure, now === "ascending" ? 1 : -1) : original));
        status.textContent = now ? `Sorted by ${label}, ${now}.` : "In the order of the run.";
      });
    });
  };

  const makeFilterable = (table, status) => {
    const rows = [...table.tBodies[0].rows];
    if (rows.length < 5) return;
    const bar = document.createElement("div");
    const label = document.createElement("label"), input = document.createElement("input");
    bar.className = "filter";
    input.type = "search";
    input.autocomplete = "off";
    input.setAttribute("aria-label", `Filter lines: ${table.caption.textContent}`);
    label.append("Filter lines ", input);
    status.classList.remove("unseen");
    bar.append(label, status);
    table.closest(".scroll").before(bar);
    input.addEventListener("input", () => {
      const wanted = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of rows) {
        const names = [...row.cells].filter((cell) => !cell.classList.contains("number"));
        const text = names.map((cell) => cell.textContent.toLowerCase()).join(" ");
        row.hidden = !wanted.every((word) => text.includes(word));
        shown += !row.hidden;
      }
      status.textContent = `${shown} of ${rows.length} lines.`;
    });
  };

  for (const table of document.querySelectorAll("table[data-sortable]")) {
    const status = document.createElement("span");
    status.className = "status unseen";
    status.setAttribute("role", "status");
    table.closest(".scroll").after(status);
    if (table.tBodies[0].rows.length > 1) makeSortable(table, status);
    makeFilterable(table, status);
  }
})();
