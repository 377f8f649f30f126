"use strict";
// The page works without this: it adds the theme switch, sorting, filtering, copying, and opening what a link points to.
// What is chosen stands in the address, so that a link shows the same.
(() => {
  const state = new URLSearchParams(location.search);
  const keep = (name, value) => {
    if (value) state.set(name, value); else state.delete(name);
    const query = state.size ? `?${state}` : "";
    try { history.replaceState(null, "", `${location.pathname}${query}${location.hash}`); } catch { /* not for files */ }
  };

  const root = document.documentElement;
  const theme = document.getElementById("theme");
  const themes = ["auto", "light", "dark"];
  const remembered = () => { try { return localStorage.getItem("touchstone-theme"); } catch { return null; } };
  const remember = (name) => { try { localStorage.setItem("touchstone-theme", name); } catch { /* private window */ } };
  const dress = (name) => {
    if (name === "auto") delete root.dataset.theme; else root.dataset.theme = name;
    theme.textContent = `Theme: ${name}`;
  };
  let current = [state.get("theme"), remembered()].find((name) => themes.includes(name)) ?? "auto";
  dress(current);
  theme.hidden = false;
  theme.addEventListener("click", () => {
    current = themes[(themes.indexOf(current) + 1) % themes.length];
    remember(current);
    keep("theme", current === "auto" ? "" : current);
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
  const sort = (header, down) => {
    const table = header.closest("table");
    const column = header.cellIndex;
    for (const other of table.tHead.rows[0].cells) if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
    header.setAttribute("aria-sort", down ? "descending" : "ascending");
    for (const body of table.tBodies) {
      const rows = [...body.rows].filter((row) => !row.dataset.fixed);
      const keyed = rows.map((row) => [value(row, column), row]);
      keyed.sort(([a], [b]) => { const order = compare(a, b); return Math.abs(order) === 2 ? order : down ? -order : order; });
      body.append(...keyed.map(([, row]) => row), ...[...body.rows].filter((row) => row.dataset.fixed === "last"));
    }
  };
  for (const button of document.querySelectorAll("thead button")) {
    const header = button.closest("th");
    const name = header.closest("table").id && `${header.closest("table").id}-sort`;
    button.addEventListener("click", () => {
      const down = header.getAttribute("aria-sort") === "ascending";
      sort(header, down);
      if (name) keep(name, `${header.cellIndex}${down ? " down" : ""}`);
    });
    const [column, down] = (name && state.get(name) || "").split(" ");
    if (column === `${header.cellIndex}`) sort(header, Boolean(down));
  }

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
    const input = box.querySelector("[type=search]");
    const only = box.querySelector("[type=checkbox]");
    const tables = input.getAttribute("aria-controls").split(" ").map((id) => document.getElementById(id));
    const apply = () => {
      const wanted = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const table of tables) {
        for (const body of table.tBodies) {
          const title = body.querySelector(".group")?.textContent.toLowerCase() ?? "";
          let shown = 0;
          for (const row of body.rows) {
            if (row.querySelector(".group")) continue;
            const text = `${title} ${row.textContent.toLowerCase()}`;
            row.hidden = !wanted.every((word) => text.includes(word)) || Boolean(only?.checked && !("different" in row.dataset));
            shown += !row.hidden;
          }
          body.hidden = shown === 0;
        }
        const part = table.closest(".part");
        if (part) part.hidden = [...table.tBodies].every((body) => body.hidden);
      }
    };
    box.hidden = false;
    input.value = state.get(input.id) ?? "";
    input.addEventListener("input", () => { apply(); keep(input.id, input.value); });
    if (only) {
      only.checked = state.has(only.id);
      only.addEventListener("change", () => { apply(); keep(only.id, only.checked ? "yes" : ""); });
    }
    if (input.value || only?.checked) apply();
  }

  const experts = document.getElementById("experts");
  if (experts) { // the columns are all there without a script; with one, the plain ones come first
    const show = (all) => {
      document.getElementById("main").classList.toggle("plain", !all);
      experts.setAttribute("aria-pressed", `${all}`);
    };
    show(state.has("experts"));
    experts.hidden = false;
    experts.addEventListener("click", () => {
      const all = experts.getAttribute("aria-pressed") !== "true";
      show(all);
      keep("experts", all ? "yes" : "");
    });
  }

  const open = () => {
    const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    for (const box of document.querySelectorAll(":popover-open")) box.hidePopover();
    if (target.tagName === "DETAILS") target.open = true;
    for (let box = target; box; box = box.parentElement) box.hidden = false; // a filter may hide what a link points to
    for (let box = target.closest("details"); box; box = box.parentElement.closest("details")) box.open = true;
    target.scrollIntoView();
  };
  addEventListener("hashchange", open);
  open();
})();
