"use strict";
// The page works without this: it adds the theme switch, sorting, filtering, copying, and opening what a link points to.
(() => {
  const root = document.documentElement;
  const theme = document.getElementById("theme");
  const themes = ["auto", "light", "dark"];
  const remembered = () => { try { return localStorage.getItem("touchstone-theme"); } catch { return null; } };
  const remember = (name) => { try { localStorage.setItem("touchstone-theme", name); } catch { /* private window */ } };
  const dress = (name) => {
    if (name === "auto") delete root.dataset.theme; else root.dataset.theme = name;
    theme.textContent = `Theme: ${name}`;
  };
  let current = themes.includes(remembered()) ? remembered() : "auto";
  dress(current);
  theme.hidden = false;
  theme.addEventListener("click", () => {
    current = themes[(themes.indexOf(current) + 1) % themes.length];
    remember(current);
    dress(current);
  });

  const value = (row, column) => {
    const cell = row.cells[column];
    const text = cell.dataset.sort ?? cell.textContent.trim();
    const number = Number(text);
    return text === "" ? null : Number.isNaN(number) ? text.toLowerCase() : number;
  };
  const compare = (a, b) => {
    if (a === null || b === null) return a === b ? 0 : a === null ? 2 : -2; // what was not measured comes last, always
    if (typeof a === typeof b) return a < b ? -1 : a > b ? 1 : 0;
    return typeof a === "number" ? -1 : 1;
  };
  const sort = (header) => {
    const table = header.closest("table");
    const column = header.cellIndex;
    const down = header.getAttribute("aria-sort") === "ascending";
    for (const other of table.tHead.rows[0].cells) if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
    header.setAttribute("aria-sort", down ? "descending" : "ascending");
    for (const body of table.tBodies) {
      const rows = [...body.rows].filter((row) => !row.dataset.fixed);
      const keyed = rows.map((row) => [value(row, column), row]);
      keyed.sort(([a], [b]) => { const order = compare(a, b); return Math.abs(order) === 2 ? order : down ? -order : order; });
      body.append(...keyed.map(([, row]) => row), ...[...body.rows].filter((row) => row.dataset.fixed === "last"));
    }
  };
  for (const button of document.querySelectorAll("thead button")) button.addEventListener("click", () => sort(button.closest("th")));

  const status = document.getElementById("status");
  const copied = async (text) => {
    if (navigator.clipboard && window.isSecureContext) return navigator.clipboard.writeText(text);
    const area = document.createElement("textarea"); // an opened file may not have the clipboard interface
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  };
  document.addEventListener("click", async (event) => {
    const button = event.target.closest(".copy");
    if (!button) return;
    await copied(button.parentElement.querySelector("code").textContent);
    button.textContent = "copied";
    status.textContent = "Command copied.";
    setTimeout(() => { button.textContent = "copy"; status.textContent = ""; }, 2000);
  });
  for (const button of document.querySelectorAll(".copy")) button.hidden = false;

  for (const box of document.querySelectorAll(".filter")) {
    const input = box.querySelector("input");
    const table = document.getElementById(input.getAttribute("aria-controls"));
    box.hidden = false;
    input.addEventListener("input", () => {
      const wanted = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const body of table.tBodies) {
        const title = body.querySelector(".group")?.textContent.toLowerCase() ?? "";
        let shown = 0;
        for (const row of body.rows) {
          if (row.querySelector(".group")) continue;
          const text = `${title} ${row.textContent.toLowerCase()}`;
          row.hidden = !wanted.every((word) => text.includes(word));
          shown += !row.hidden;
        }
        body.hidden = shown === 0;
      }
    });
  }

  const open = () => {
    const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    for (const box of document.querySelectorAll(":popover-open")) box.hidePopover();
    if (target.tagName === "DETAILS") target.open = true;
    for (let box = target.closest("details"); box; box = box.parentElement.closest("details")) box.open = true;
    target.scrollIntoView();
  };
  addEventListener("hashchange", open);
  open();
})();
