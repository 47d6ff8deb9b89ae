"use strict";
// Searching, filtering and sorting. The page shows everything without it; what is written here
// takes texts from the page as texts and never as markup.
(() => {
  const all = (root, selector) => Array.from(root.querySelectorAll(selector));
  const compare = new Intl.Collator("en", { numeric: true, sensitivity: "base" }).compare;

  function explore(panel) {
    const table = panel.nextElementSibling.querySelector("table.patients");
    const headers = Array.from(table.tHead.rows[0].cells);
    const patients = Array.from(table.tBodies);
    const find = panel.querySelector(".find");
    const filters = ["label", "call", "quality"]
      .map((name) => [name, panel.querySelector(`.by-${name}`)])
      .filter(([, select]) => select !== null);
    const shown = panel.querySelector(".shown");
    const texts = patients.map((patient) =>
      [patient.rows[0].textContent, ...all(patient, ".inside > .note").map((p) => p.textContent)]
        .join(" ").toLowerCase());

    function update() {
      const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
      let count = 0;
      patients.forEach((patient, i) => {
        const fits =
          words.every((word) => texts[i].includes(word)) &&
          filters.every(([name, { value }]) => !value || patient.dataset[name] === value);
        patient.hidden = !fits;
        count += fits;
      });
      shown.textContent = `${count} of ${patients.length} patients shown`;
    }

    function sortBy(header, column) {
      const down = header.getAttribute("aria-sort") === "ascending";
      headers.forEach((other) => other.removeAttribute("aria-sort"));
      header.setAttribute("aria-sort", down ? "descending" : "ascending");
      const keys = new Map(patients.map((patient) => {
        const cell = patient.rows[0].cells[column];
        return [patient, header.dataset.sort === "number" ? Number(cell.dataset.value) : cell.textContent];
      }));
      const order = header.dataset.sort === "number" ? (a, b) => a - b : compare;
      const sign = down ? -1 : 1;
      table.append(...patients.slice().sort((a, b) => sign * order(keys.get(a), keys.get(b))));
    }

    headers.forEach((header, column) => {
      if (!header.dataset.sort) return;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...header.childNodes);
      button.addEventListener("click", () => sortBy(header, column));
      header.append(button);
    });
    find.addEventListener("input", update);
    filters.forEach(([, select]) => select.addEventListener("change", update));
    panel.querySelector(".reset").addEventListener("click", () => {
      find.value = "";
      filters.forEach(([, select]) => { select.value = ""; });
      update();
    });
    const overlays = panel.querySelector(".all-overlays");
    overlays?.addEventListener("change", () => {
      all(table, ".switch").forEach((box) => { box.checked = overlays.checked; });
    });
    panel.hidden = false;
    update();
  }

  // Only what can be scrolled is a stop on the way through the page by keyboard.
  function stops() {
    for (const box of all(document, ".scroll")) {
      if (!box.clientWidth) continue;
      if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
      else box.removeAttribute("tabindex");
    }
  }

  // The section that is read is marked in the contents.
  function follow() {
    const links = new Map(all(document, ".large-screen a").map((link) => [link.hash.slice(1), link]));
    const parts = all(document, "main > header, main > section");
    const inView = new Set();
    const observer = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        if (isIntersecting) inView.add(target);
        else inView.delete(target);
      }
      const current = parts.find((part) => inView.has(part));
      if (!current) return;
      for (const [id, link] of links) {
        if (id === current.id) link.setAttribute("aria-current", "true");
        else link.removeAttribute("aria-current");
      }
    }, { rootMargin: "-5% 0px -70% 0px" });
    parts.forEach((part) => observer.observe(part));
  }

  // Paper shows what a screen folds away, but neither patients' panels nor each point of a curve.
  const opened = [];
  window.addEventListener("beforeprint", () => {
    for (const fold of all(document, "main details:not([open])")) {
      if (fold.closest(".panel, .numbers")) continue;
      fold.open = true;
      opened.push(fold);
    }
  });
  window.addEventListener("afterprint", () => {
    for (const fold of opened.splice(0)) fold.open = false;
  });

  // Whoever follows a link into something folded shall see it.
  function unfold() {
    const target = document.getElementById(location.hash.slice(1));
    const own = target?.querySelector(":scope > details.appendix");
    if (own) own.open = true;
    for (let fold = target?.closest("details"); fold; fold = fold.parentElement.closest("details")) {
      fold.open = true;
    }
  }

  // A slice opens the page in three planes at its height; the link above it is for the keyboard.
  function open(page) {
    for (const slice of all(page.closest(".inside"), ".sheet li")) {
      const height = parseFloat(slice.textContent.trim().replace("\u2212", "-"));
      slice.classList.add("opens");
      slice.addEventListener("click", () => { location.href = `${page.getAttribute("href")}#z=${height}`; });
    }
  }

  all(document, ".explore").forEach(explore);
  all(document, ".inside a[href^='volumes/']").forEach(open);
  stops();
  window.addEventListener("resize", stops);
  document.addEventListener("toggle", stops, true);
  window.addEventListener("hashchange", unfold);
  unfold();
  follow();
})();
