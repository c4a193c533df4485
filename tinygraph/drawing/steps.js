"use strict";
// Shows one step at a time. All that is shown is in the page: what is said in #data, pictures of arrays in templates.
(() => {
  const { steps, rules } = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id);
  const boxes = [...document.querySelectorAll(".tg-box[data-box]")];
  const edges = [...document.querySelectorAll(".tg-edge")];
  const graph = document.querySelector(".graph");
  const words = { start: "Start", forward: "Forward ↓", backward: "Backward ↑", end: "End" };
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  let current = 0;

  function make(tag, text = "", className = "") {
    const element = document.createElement(tag);
    element.textContent = text;
    if (className) element.className = className;
    return element;
  }

  function figure(item) {
    const block = make("div", "", "item");
    if (item.sign) block.append(make("span", item.sign, "sign"));
    const body = make("div");
    const label = make("p", item.label, "label");
    if (item.note) label.append(" ", make("span", item.note, "note"));
    body.append(label);
    const template = item.figure && at(item.figure);
    if (template) body.append(template.content.cloneNode(true));
    block.append(body);
    return block;
  }

  function section(part) {
    const block = part.folded ? make("details") : make("section");
    if (part.heading) block.append(make(part.folded ? "summary" : "h3", part.heading));
    const row = make("div", "", "items");
    row.append(...part.items.map(figure));
    block.append(row);
    if (part.note) block.append(make("p", part.note, "note"));
    return block;
  }

  function source(name, text, open) {
    const block = make("details");
    block.open = open;
    block.append(make("summary", name), make("pre", text));
    return block;
  }

  function rule(step) {
    const found = rules[step.rule];
    if (!found) return [];
    const parts = [];
    for (const id of step.equations || []) parts.push(at(id).content.cloneNode(true));
    if (found.formula) parts.push(make("pre", found.formula, "formula"));
    if (found.notes) parts.push(make("p", found.notes, "note"));
    const way = step.phase === "forward" ? "forward" : "backward";
    const open = at("rule").querySelector("details")?.open ?? false;
    return [...parts, source(`Source of ${way}`, found[way], open)];
  }

  function alive(step) {
    if (!step.alive) return [];
    const head = make("h3", step.phase === "end" ? "What is left" : "Gradients that are alive after this step");
    const list = make("ul", "", "chips");
    list.append(...step.alive.map(([, name]) => make("li", `∂L/∂${name}`)));
    return [head, list];
  }

  function mark(step, number) {
    const waits = new Set((step.alive || []).map(([box]) => box));
    const later = new Set(steps.slice(number + 1).filter((s) => s.phase === "forward").map((s) => s.box));
    for (const box of boxes) {
      const place = Number(box.dataset.box);
      box.classList.toggle("now", place === step.box);
      box.classList.toggle("waits", waits.has(place));
      box.classList.toggle("later", later.has(place) && place !== step.box);
    }
    for (const edge of edges) {
      const touches = step.phase === "forward" || step.phase === "backward" ? edge.dataset.to === String(step.box) : false;
      edge.classList.toggle("now", touches);
    }
    const box = boxes.find((b) => Number(b.dataset.box) === step.box);
    if (!box) return;
    const inner = box.getBoundingClientRect(), outer = graph.getBoundingClientRect();
    const near = (low, high, from, to) => low > from + (to - from) * 0.12 && high < to - (to - from) * 0.12;
    if (near(inner.top, inner.bottom, outer.top, outer.bottom) && near(inner.left, inner.right, outer.left, outer.right))
      return;
    graph.scrollBy({
      top: inner.top + inner.height / 2 - outer.top - outer.height / 2,
      left: inner.left + inner.width / 2 - outer.left - outer.width / 2,
      behavior: still.matches ? "auto" : "smooth",
    });
  }

  function show(number) {
    current = Math.max(0, Math.min(steps.length - 1, number));
    const step = steps[current];
    at("phase").textContent = words[step.phase];
    at("phase").className = step.phase;
    at("title").textContent = step.title;
    at("text").textContent = step.text;
    at("rule").replaceChildren(...rule(step));
    at("sections").replaceChildren(...step.sections.map(section));
    at("alive").replaceChildren(...alive(step));
    at("count").textContent = `${current + 1} of ${steps.length}`;
    at("said").textContent = `Step ${current + 1} of ${steps.length}. ${words[step.phase].split(" ")[0]}. ${step.title}. ${step.text}`;
    at("slider").value = current;
    at("slider").setAttribute("aria-valuetext", `${current + 1} of ${steps.length}: ${step.title}`);
    for (const id of ["first", "back"]) at(id).setAttribute("aria-disabled", current === 0);
    for (const id of ["next", "last"]) at(id).setAttribute("aria-disabled", current === steps.length - 1);
    for (const [i, button] of [...at("list").querySelectorAll("button")].entries()) {
      if (i === current) {
        button.setAttribute("aria-current", "step");
        const list = at("list").parentElement, inside = button.offsetTop - list.offsetTop;
        if (list.scrollHeight > list.clientHeight) list.scrollTop = inside - list.clientHeight / 2;
      } else button.removeAttribute("aria-current");
    }
    document.querySelector(".panel").scrollTop = 0;
    mark(step, current);
  }

  steps.forEach((step, i) => {
    const button = make("button", step.title, step.phase);
    button.type = "button";
    button.append(make("span", ` ${words[step.phase]}`, "unseen"));
    button.addEventListener("click", () => show(i));
    const item = make("li");
    item.append(button);
    at("list").append(item);
  });
  at("first").addEventListener("click", () => show(0));
  at("back").addEventListener("click", () => show(current - 1));
  at("next").addEventListener("click", () => show(current + 1));
  at("last").addEventListener("click", () => show(steps.length - 1));
  at("slider").addEventListener("input", (event) => show(Number(event.target.value)));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.shiftKey || event.target === at("slider")) return;
    const to = { ArrowLeft: current - 1, ArrowRight: current + 1, Home: 0, End: steps.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    show(to);
  });
  for (const box of boxes) {
    const place = Number(box.dataset.box);
    const visits = steps.flatMap((step, i) => (step.box === place ? [i] : []));
    if (!visits.length) continue;
    box.classList.add("leads");
    box.addEventListener("click", () => show(visits.find((i) => i > current) ?? visits[0]));
  }
  show(0);
})();
