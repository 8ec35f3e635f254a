"use strict";
// Points of a curve are (epoch, percent), so what is read off a panel is what was drawn there.
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const NARROW = 360; // pixels of a plot that a list of all values would hide
  const MOST_TICKS = 5; // as in curves.py
  const STEPS = [1, 2, 5, 10, 20, 25, 50, 100, 200, 500, 1000];

  const form = document.querySelector(".picks");
  const closeUp = document.getElementById("close-up");
  const lossBoxes = document.querySelectorAll(".picks [id^=loss-]");
  const names = Array.from(lossBoxes, (box) => box.parentElement.textContent.trim());
  const tip = make("div", "tip");
  let hideShown = () => {};
  tip.setAttribute("aria-hidden", "true"); // to a screen reader the plot itself speaks

  function make(tag, className, text = "") {
    const element = document.createElement(tag);
    element.className = className;
    element.textContent = text;
    return element;
  }

  function ready(plot) {
    const svg = plot.querySelector("svg");
    const box = svg.viewBox.baseVal;
    const last = box.x + box.width;
    const curves = Array.from(svg.querySelectorAll(".line"), (line) => {
      const band = svg.querySelector(`.band[data-loss="${line.dataset.loss}"]`);
      return {
        line,
        name: names[line.dataset.loss],
        points: Array.from(line.points, ({ x, y }) => ({ x, y })),
        band,
        upper: band && Array.from(band.points, ({ y }) => y),
      };
    });
    const cursor = document.createElementNS(SVG, "path");
    const dot = document.createElementNS(SVG, "path");
    cursor.setAttribute("class", "cursor");
    let epoch = last;
    let chosen = curves[0];

    const distance = (point) => Math.abs(point.x - epoch);
    const place = ({ points }) => points.reduce((best, p, i) => (distance(p) < distance(points[best]) ? i : best), 0);
    const value = (curve) => curve.points[place(curve)].y;
    const spoken = (curve) => {
      const i = place(curve);
      const { y } = curve.points[i];
      return y.toFixed(2) + " %" + (curve.upper ? " ± " + (curve.upper[i] - y).toFixed(2) : "");
    };
    const visible = () => curves.filter(({ line }) => getComputedStyle(line).display !== "none");
    const ranked = () => visible().sort((a, b) => value(b) - value(a));

    function mark({ line, band }, name) {
      for (const part of [line, band ?? line]) {
        part.classList.remove("chosen", "faint");
        if (name) part.classList.add(name);
      }
    }

    function rescale() {
      const first = closeUp.checked ? Math.ceil(last / 2) : 1;
      const shown = visible().flatMap(({ points }) => points.filter(({ x }) => x >= first));
      if (!shown.length) return;
      const low = Math.min(...shown.map(({ y }) => y));
      const high = Math.max(...shown.map(({ y }) => y));
      const ends = (step) => [Math.floor(low / step), Math.max(Math.ceil(high / step), Math.floor(low / step) + 1)];
      const step = STEPS.find((each) => ends(each)[1] - ends(each)[0] < MOST_TICKS);
      const [bottom, top] = ends(step).map((end) => end * step);
      const stride = STEPS.find((each) => (last - first + 1) / each < MOST_TICKS);
      svg.setAttribute("viewBox", `${first} ${-top} ${last - first} ${top - bottom}`);
      for (const tick of plot.querySelectorAll(".tick")) tick.remove();
      let grid = "";
      for (let percent = bottom; percent <= top; percent += step) {
        grid += `M${first},${-percent}H${last}`;
        const tick = make("span", "tick percent", percent);
        tick.style.top = `${(100 * (top - percent)) / (top - bottom)}%`;
        plot.append(tick);
      }
      svg.querySelector(".grid").setAttribute("d", grid);
      for (let at = first === 1 ? 0 : Math.ceil(first / stride) * stride; at <= last; at += stride) {
        const tick = make("span", "tick epoch", at || 1);
        tick.style.left = `${(100 * ((at || 1) - first)) / (last - first)}%`;
        if (at !== 1) plot.append(tick);
      }
      plot.setAttribute("aria-valuemin", first);
      epoch = Math.max(epoch, first);
    }

    function show() {
      const list = ranked();
      if (!list.length) return hide();
      if (hideShown !== hide) hideShown();
      hideShown = hide;
      if (!list.includes(chosen)) chosen = list[0];
      const point = chosen.points[place(chosen)];
      epoch = point.x;
      const rank = list.indexOf(chosen);
      const narrow = plot.clientWidth < NARROW;
      const beside = narrow ? 0 : 5;
      const values = document.createElement("dl");
      for (const curve of list.slice(Math.max(0, rank - beside), rank + beside + 1)) {
        const name = curve === chosen ? "chosen" : "";
        values.append(make("dt", name, curve.name), make("dd", name, spoken(curve)));
      }
      tip.replaceChildren(make("p", "", `epoch ${epoch}`), values);
      for (const curve of curves) mark(curve, curve === chosen ? "chosen" : "faint");
      cursor.setAttribute("d", `M${epoch},${box.y}v${box.height}`);
      dot.setAttribute("d", `M${epoch},${-point.y}h0`);
      dot.setAttribute("class", `dot ${chosen.line.getAttribute("class").match(/style-\d+/)[0]}`);
      svg.append(cursor, dot);
      plot.append(tip);
      tip.classList.toggle("narrow", narrow);
      const x = ((epoch - box.x) / box.width) * plot.clientWidth;
      const space = plot.clientWidth - tip.offsetWidth;
      const left = x > plot.clientWidth / 2 ? x - tip.offsetWidth - 10 : x + 10;
      tip.style.left = `${narrow ? space : Math.max(0, Math.min(left, space))}px`;
      plot.setAttribute("aria-valuenow", epoch);
      plot.setAttribute("aria-valuetext", `epoch ${epoch}: ${chosen.name} ${spoken(chosen)}`);
    }

    function hide() {
      if (tip.parentElement === plot) tip.remove();
      cursor.remove();
      dot.remove();
      for (const curve of curves) mark(curve, "");
    }

    function point(event) {
      const frame = svg.getBoundingClientRect();
      const across = (event.clientX - frame.left) / frame.width;
      const percent = -box.y - ((event.clientY - frame.top) / frame.height) * box.height;
      epoch = Math.round(box.x + Math.max(0, Math.min(across, 1)) * box.width);
      const off = (curve) => Math.abs(value(curve) - percent);
      chosen = visible().reduce((a, b) => (off(b) < off(a) ? b : a), chosen);
      show();
    }

    function press(event) {
      const steps = { ArrowLeft: -1, ArrowRight: 1, PageDown: -10, PageUp: 10, Home: -last, End: last };
      const turns = { ArrowUp: -1, ArrowDown: 1 };
      const within = (i, list) => list[Math.max(0, Math.min(i, list.length - 1))];
      if (event.key in steps) {
        const step = steps[event.key];
        // on to another point, even if the epochs between were left out
        const next = within(place(chosen) + Math.sign(step), chosen.points).x;
        const far = Math.max(box.x, Math.min(epoch + step, last));
        epoch = Math.max(box.x, step < 0 ? Math.min(far, next) : Math.max(far, next));
      } else if (event.key in turns) {
        const list = ranked();
        chosen = within(list.indexOf(chosen) + turns[event.key], list) ?? chosen;
      } else if (event.key !== "Escape") {
        return;
      }
      event.preventDefault();
      if (event.key === "Escape") hide();
      else show();
    }

    plot.tabIndex = 0;
    plot.setAttribute("role", "slider");
    plot.setAttribute("aria-valuemin", 1);
    plot.setAttribute("aria-valuemax", last);
    plot.setAttribute("aria-valuenow", last);
    plot.setAttribute("aria-valuetext", `epoch ${last}: ${chosen.name} ${spoken(chosen)}`);
    plot.addEventListener("pointermove", point);
    plot.addEventListener("pointerdown", point);
    // a finger that is lifted leaves too, but what it pointed at is still being read
    plot.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && hide());
    plot.addEventListener("focus", () => plot.matches(":focus-visible") && show());
    plot.addEventListener("blur", hide);
    plot.addEventListener("keydown", press);
    return rescale;
  }

  if (form) {
    const rescales = Array.from(document.querySelectorAll(".plot"), ready);
    const update = () => rescales.forEach((rescale) => rescale());
    const clear = document.getElementById("clear");
    closeUp.parentElement.hidden = clear.hidden = false;
    clear.addEventListener("click", () => {
      for (const box of lossBoxes) box.checked = false;
    });
    form.addEventListener("change", update);
    form.addEventListener("reset", () => setTimeout(update)); // after the boxes have been reset
  }

  // on paper nothing can be opened
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    for (const each of closed) each.open = true;
  });
  addEventListener("afterprint", () => {
    for (const each of closed) each.open = false;
  });
})();
