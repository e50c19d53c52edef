(() => {
  const find = (id) => document.getElementById(id);
  const data = JSON.parse(find("data").textContent), classes = JSON.parse(find("classes").textContent);
  const { moments, pictures, start, end } = data;
  const time = find("time"), curve = find("curve"), cursor = find("cursor"), frame = find("frame");
  const image = frame.querySelector("img"), readout = find("readout");
  let chosen = -1, shown = -1;
  const clock = (seconds) => {
    const tenths = Math.round(seconds * 10), hours = Math.floor(tenths / 36000);
    const minutes = Math.floor(tenths / 600) % 60, rest = tenths % 600;
    const two = (number) => String(number).padStart(2, "0");
    return `${hours ? `${hours}:${two(minutes)}` : minutes}:${two(Math.floor(rest / 10))}.${rest % 10}`;
  };
  const count = (faces) => (faces ? `${faces} face${faces > 1 ? "s" : ""}` : "no face");
  const showPicture = (number) => {
    if (number === shown) return;
    shown = number;
    const { jpeg, width, height, people } = pictures[number];
    image.src = `data:image/jpeg;base64,${jpeg}`;
    frame.classList.toggle("tall", height > width);
    frame.querySelectorAll("div").forEach((box) => box.remove());
    for (const [left, top, right, bottom, text, colour] of people) {
      const box = document.createElement("div"), label = document.createElement("span");
      Object.assign(box.style, { left: `${left}%`, top: `${top}%`, width: `${right - left}%`,
        height: `${bottom - top}%`, borderColor: colour });
      label.textContent = text;
      box.append(label);
      frame.append(box);
    }
  };
  const choose = (number) => {
    chosen = Math.max(0, Math.min(moments.length - 1, number));
    const [seconds, faces, shares, picture] = moments[chosen];
    showPicture(picture);
    cursor.style.left = `${end > start ? (100 * (seconds - start)) / (end - start) : 0}%`;
    const values = shares.map((share, i) => [classes[i], share]).filter(([, share]) => share !== null);
    const texts = values.map(([[name], share]) => `${name} ${share.toFixed(2)}`);
    const at = pictures[picture].at, other = Math.abs(at - seconds) > 0.05 ? `; the frame is of ${clock(at)}` : "";
    readout.textContent = `${clock(seconds)} · ${count(faces)}${other}`;
    readout.append(document.createElement("br"));
    for (const [[name, colour], share] of values) {
      const part = document.createElement("b");
      part.textContent = `${name} ${share.toFixed(2)}`;
      part.style.borderBottom = `3px solid ${colour}`;
      readout.append(part);
    }
    if (!values.length) readout.append("nothing is known");
    curve.setAttribute("aria-valuenow", chosen);
    curve.setAttribute("aria-valuetext", `${clock(seconds)}, ${count(faces)}, ${texts.join(", ") || "nothing is known"}`);
  };
  const nearest = (seconds) => {
    let best = 0;
    moments.forEach(([at], i) => { if (Math.abs(at - seconds) < Math.abs(moments[best][0] - seconds)) best = i; });
    return best;
  };
  const follow = (event) => {
    const { left, width } = time.getBoundingClientRect();
    choose(nearest(start + ((event.clientX - left) / width) * (end - start)));
  };
  time.addEventListener("click", follow);
  time.addEventListener("pointermove", (event) => { if (event.buttons === 1) follow(event); });
  curve.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10,
      Home: -moments.length, End: moments.length };
    if (!(event.key in steps) || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    choose(chosen + steps[event.key]);
  });
  document.querySelectorAll("[data-seconds]").forEach((button) => {
    button.addEventListener("click", () => choose(nearest(Number(button.dataset.seconds))));
  });
  curve.setAttribute("aria-valuemax", moments.length - 1);
  cursor.hidden = false;
  choose(0);
})();
