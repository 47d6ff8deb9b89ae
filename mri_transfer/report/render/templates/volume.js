"use strict";
// Three planes of every scan on the page, cut from the picture that holds all axial planes.
(() => {
  const AXES = { x: 0, y: 1, z: 2 };
  const NAMES = { x: "Sagittal", y: "Coronal", z: "Axial" };
  // For each plane the axes to the right and up.
  const ACROSS = { x: ["y", "z"], y: ["x", "z"], z: ["x", "y"] };
  const form = document.querySelector(".sliders");
  const flipped = form.dataset.orientation === "radiological";
  const sliders = Object.fromEntries(
    Array.from(form.querySelectorAll("input"), (one) => [one.dataset.axis, one]));
  const numbers = (text) => text.split(" ").map(Number);
  const minus = (value) => String(Math.round(value)).replace("-", "\u2212");

  async function read(section) {
    const image = section.querySelector("img");
    await image.decode();
    const sheet = document.createElement("canvas");
    sheet.width = image.naturalWidth;
    sheet.height = image.naturalHeight;
    const context = sheet.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    const pixels = context.getImageData(0, 0, sheet.width, sheet.height).data;
    const shape = numbers(section.dataset.shape);
    const columns = Number(section.dataset.columns);
    const [nx, ny, nz] = shape;
    const grey = new Uint8Array(nx * ny * nz);
    for (let z = 0; z < nz; z += 1) {
      const top = Math.floor(z / columns) * ny;
      const left = (z % columns) * nx;
      for (let y = 0; y < ny; y += 1) {
        const from = (top + y) * sheet.width + left;
        for (let x = 0; x < nx; x += 1) grey[(z * ny + y) * nx + x] = pixels[4 * (from + x)];
      }
    }
    const figures = Array.from(section.querySelectorAll("figure"));
    return { shape, grey, figures, spacing: numbers(section.dataset.spacing),
      origin: numbers(section.dataset.origin) };
  }

  const place = (volume, axis, index) =>
    volume.origin[AXES[axis]] + index * volume.spacing[AXES[axis]];
  const index = (volume, axis) =>
    Math.round((Number(sliders[axis].value) - volume.origin[AXES[axis]]) / volume.spacing[AXES[axis]]);

  function draw(volume, figure) {
    const axis = figure.dataset.axis;
    const canvas = figure.querySelector("canvas");
    const [right, up] = ACROSS[axis];
    const [width, height] = [right, up].map((name) => volume.shape[AXES[name]]);
    const turned = flipped && right === "x";
    const at = index(volume, axis);
    const inside = at >= 0 && at < volume.shape[AXES[axis]];
    canvas.width = width;
    canvas.height = height;
    canvas.style.aspectRatio =
      `${width * volume.spacing[AXES[right]]} / ${height * volume.spacing[AXES[up]]}`;
    const context = canvas.getContext("2d");
    const [nx, ny] = volume.shape;
    const step = { x: 1, y: nx, z: nx * ny };
    if (inside) {
      const picture = context.createImageData(width, height);
      for (let row = 0; row < height; row += 1) {
        for (let column = 0; column < width; column += 1) {
          const across = turned ? width - 1 - column : column;
          const value = volume.grey[
            at * step[axis] + across * step[right] + (height - 1 - row) * step[up]];
          const i = 4 * (row * width + column);
          picture.data[i] = picture.data[i + 1] = picture.data[i + 2] = value;
          picture.data[i + 3] = 255;
        }
      }
      context.putImageData(picture, 0, 0);
      context.fillStyle = "rgb(98 177 234 / 0.5)";
      const column = index(volume, right);
      context.fillRect(turned ? width - 1 - column : column, 0, 1, height);
      context.fillRect(0, height - 1 - index(volume, up), width, 1);
    }
    const letters = right === "x" ? (turned ? "RL" : "LR") : "PA";
    figure.querySelector(".left").textContent = letters[0];
    figure.querySelector(".right").textContent = letters[1];
    const text = `${NAMES[axis]}, ${axis} = ${minus(sliders[axis].value)} mm`;
    figure.querySelector("figcaption").textContent = inside ? text : `${text}: outside this scan`;
    canvas.setAttribute("aria-label", `${text}; left in the picture: ${letters[0]}`);
    canvas.onclick = (event) => {
      const box = canvas.getBoundingClientRect();
      const share = (event.clientX - box.left) / box.width;
      const across = Math.floor(width * (turned ? 1 - share : share));
      const above = Math.floor(height * (1 - (event.clientY - box.top) / box.height));
      sliders[right].value = place(volume, right, across);
      sliders[up].value = place(volume, up, above);
      update();
    };
  }

  let volumes = [];
  function update() {
    for (const slider of Object.values(sliders)) {
      slider.previousElementSibling.textContent = `${minus(slider.value)} mm`;
    }
    for (const volume of volumes) volume.figures.forEach((figure) => draw(volume, figure));
  }

  // From `#z=12`: the plane that a reader came for.
  const wanted = new Map(location.hash.slice(1).split("&").map((one) => one.split("=")));

  Promise.all(Array.from(document.querySelectorAll(".volume"), read)).then((found) => {
    volumes = found;
    for (const [axis, slider] of Object.entries(sliders)) {
      const ends = volumes.flatMap((volume) =>
        [place(volume, axis, 0), place(volume, axis, volume.shape[AXES[axis]] - 1)]);
      slider.min = Math.ceil(Math.min(...ends));
      slider.max = Math.floor(Math.max(...ends));
      const asked = Number(wanted.get(axis));
      slider.value = wanted.has(axis) && Number.isFinite(asked)
        ? asked : Math.round((Number(slider.min) + Number(slider.max)) / 2);
      slider.addEventListener("input", update);
    }
    update();
  });
})();
