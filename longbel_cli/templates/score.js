
"use strict";
document.documentElement.dataset.ready = "true";
(() => {
  const form = document.getElementById("filters");
  if (!form) return;
  const field = (name) => document.getElementById(name);
  const kinds = [...document.querySelectorAll("tbody.kind")].map((body) => ({
    body,
    rows: [...body.querySelectorAll("tr.wrong")].map((row) => ({
      row,
      text: row.textContent.toLowerCase(),
    })),
  }));
  const total = kinds.reduce((sum, kind) => sum + kind.rows.length, 0);

  function filter() {
    const kindName = field("kind").value;
    const group = field("group").value;
    const text = field("text").value.trim().toLowerCase();
    const ranked = field("ranked").checked;
    const elsewhere = field("elsewhere").checked;
    let shown = 0;
    for (const kind of kinds) {
      let inKind = 0;
      const kindFits = !kindName || kind.body.dataset.kind === kindName;
      for (const { row, text: content } of kind.rows) {
        const fits =
          kindFits &&
          (!group || row.dataset.group === group) &&
          (!text || content.includes(text)) &&
          (!ranked || row.dataset.ranked === "1") &&
          (!elsewhere || row.dataset.elsewhere === "1");
        row.hidden = !fits;
        if (fits) inKind += 1;
      }
      kind.body.hidden = inKind === 0;
      shown += inKind;
    }
    field("shown").textContent = `${shown} of ${total} shown`;
  }

  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  filter();
})();
