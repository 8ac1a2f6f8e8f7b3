// What is drawn over a picture: heat maps, boxes, names and bars. The same for the page and for a snapshot.

// seaborn's "colorblind" palette; the common expressions have a colour each, other labels take what is left.
const COLORS = {
  anger: "#d55e00", disgust: "#029e73", fear: "#cc78bc", happy: "#de8f05",
  sad: "#0173b2", surprise: "#56b4e9", neutral: "#949494", contempt: "#ca9161",
};
const OTHERS = ["#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc", "#ca9161", "#56b4e9", "#949494", "#ece133", "#fbafe4"];
// ColorBrewer's "YlOrRd", as in the pictures of `fer explain`.
const WARM = [[254, 217, 118], [253, 141, 60], [252, 78, 42], [227, 26, 28], [177, 0, 38]];
const MOST_COVERED = 0.72;

export const percent = part => `${Math.round(100 * part)} %`;

/** A colour for each label. */
export function colorsOf(labels) {
  const taken = new Set(labels.map(label => COLORS[label]));
  const free = OTHERS.filter(color => !taken.has(color));
  let next = 0;
  const other = () => free.length ? free[next++ % free.length] : OTHERS[next++ % OTHERS.length];
  return new Map(labels.map(label => [label, COLORS[label] ?? other()]));
}

/**
 * Draws faces in the pixels of a picture of `width` onto a canvas `scale` times as large. `unit` is the size of the text;
 * `sides` remembers where the bars of a face are, so that they do not jump.
 */
export function drawFaces(context, faces, { width, scale, mirror, unit, colors, sides }) {
  const canvas = context.canvas;
  const places = faces.map(face => place(face.box, width, scale, mirror));
  context.save();
  if (mirror) context.setTransform(-1, 0, 0, 1, canvas.width, 0);
  context.scale(scale, scale);
  for (const face of faces) if (face.explanation) drawHeat(context, face.explanation, scale);
  context.restore();

  faces.forEach((face, i) => drawBox(context, places[i], colors.get(face.label), unit));
  const taken = [...places];
  faces.forEach((face, i) => {
    const others = taken.filter(other => other !== places[i]);
    const panel = drawBars(context, face, places[i], others, { unit, colors, sides });
    if (panel) taken.push(panel);
  });
  const tags = [];
  faces.forEach((face, i) => {
    tags.push(drawTag(context, tagOf(face, i, faces.length), places[i], tags, { color: colors.get(face.label), unit }));
  });
}

/** The number that a face has on the page. */
export const numberOf = (face, index) => face.id ?? index + 1;

function tagOf(face, index, count) {
  const text = `${face.label} ${percent(face.probabilities[face.label])}`;
  return count > 1 ? `${numberOf(face, index)}  ${text}` : text;
}

function place([left, top, width, height], pictureWidth, scale, mirror) {
  const x = mirror ? pictureWidth - left - width : left;
  return { x: x * scale, y: top * scale, width: width * scale, height: height * scale };
}

function drawHeat(context, { area, map }, scale) {
  const [width, height] = area.size;
  context.save();
  context.translate(...area.center);
  context.rotate(area.roll * Math.PI / 180);
  context.imageSmoothingEnabled = true;
  context.imageSmoothingQuality = "high";
  context.drawImage(tint(map), -width / 2, -height / 2, width, height);
  context.strokeStyle = "#ffffffa0";
  context.lineWidth = 1 / scale;
  context.setLineDash([4 / scale, 4 / scale]);
  context.strokeRect(-width / 2, -height / 2, width, height);
  context.restore();
}

/** The map as a small picture, which the canvas makes large and smooth. */
function tint({ width, height, values }) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(width, height);
  values.forEach((value, i) => {
    const part = Math.min(Math.max(value, 0), 1);
    pixels.data.set([...warm(part), Math.round(255 * MOST_COVERED * part)], 4 * i);
  });
  context.putImageData(pixels, 0, 0);
  return canvas;
}

function warm(part) {
  const at = part * (WARM.length - 1);
  const below = Math.min(Math.floor(at), WARM.length - 2);
  return WARM[below].map((from, i) => Math.round(from + (WARM[below + 1][i] - from) * (at - below)));
}

function drawBox(context, { x, y, width, height }, color, unit) {
  const line = Math.max(unit / 6, 2);
  context.lineJoin = "round";
  // The dark line below keeps the colour apart from a picture of the same colour.
  for (const [style, thick] of [["#00000080", line + Math.max(unit / 7, 1.5)], [color, line]]) {
    context.strokeStyle = style;
    context.lineWidth = thick;
    context.beginPath();
    context.roundRect(x, y, width, height, unit / 3);
    context.stroke();
  }
}

/** The name above the box, or below or in it where another name or the edge is in the way. */
function drawTag(context, text, box, others, { color, unit }) {
  context.font = `600 ${unit}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  const tag = { width: context.measureText(text).width + unit, height: unit * 1.6 };
  tag.x = Math.max(0, Math.min(box.x - unit / 8, context.canvas.width - tag.width));
  const inside = Math.max(box.y, 0);
  const ys = [box.y - tag.height - unit / 6, box.y + box.height + unit / 6, inside];
  tag.y = ys.find(y => y >= 0 && y + tag.height <= context.canvas.height && !others.some(other => overlap({ ...tag, y }, other)))
    ?? inside;
  context.fillStyle = color;
  context.beginPath();
  context.roundRect(tag.x, tag.y, tag.width, tag.height, unit / 3);
  context.fill();
  context.fillStyle = inkOn(color);
  context.fillText(text, tag.x + unit / 2, tag.y + tag.height / 2);
  return tag;
}

/** All probabilities beside the box, where there is room that no other face takes; says which room it took. */
function drawBars(context, face, box, others, { unit, colors, sides }) {
  const size = unit * 0.8, row = size * 1.45, labels = [...colors.keys()];
  context.font = `${size}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  const names = Math.max(...labels.map(label => context.measureText(label).width));
  const length = size * 4;
  const panel = { width: names + length + size * 1.5, height: labels.length * row + size * 0.6 };
  panel.y = Math.max(0, Math.min(box.y, context.canvas.height - panel.height));
  const xs = { right: box.x + box.width + unit / 2, left: box.x - panel.width - unit / 2 };
  const fits = side => side in xs && xs[side] >= 0 && xs[side] + panel.width <= context.canvas.width
    && panel.height <= context.canvas.height && !others.some(other => overlap({ ...panel, x: xs[side] }, other));
  const side = [sides?.get(face.id), "right", "left"].find(fits);
  if (!side) return null;
  sides?.set(face.id, side);
  panel.x = xs[side];

  context.fillStyle = "#101318b8";
  context.beginPath();
  context.roundRect(panel.x, panel.y, panel.width, panel.height, unit / 3);
  context.fill();
  labels.forEach((label, i) => {
    const y = panel.y + size * 0.3 + (i + 0.5) * row;
    const x = panel.x + names + size;
    context.fillStyle = label === face.label ? "#fff" : "#ffffffb8";
    context.fillText(label, panel.x + size / 2, y);
    context.fillStyle = "#ffffff2e";
    context.fillRect(x, y - size / 4, length, size / 2);
    context.fillStyle = colors.get(label);
    context.fillRect(x, y - size / 4, length * (face.probabilities[label] ?? 0), size / 2);
  });
  return panel;
}

function overlap(a, b) {
  return a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;
}

/** Black or white, whichever can be read better. */
function inkOn(color) {
  const [red, green, blue] = [1, 3, 5].map(at => (parseInt(color.slice(at, at + 2), 16) / 255) ** 2.2);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.18 ? "#000" : "#fff";
}

/** The picture with what was found drawn on it, as a PNG. */
export function snapshot(picture, width, height, faces, colors) {
  const canvas = document.createElement("canvas");
  const scale = Math.min(Math.max(1, 1280 / Math.max(width, height)), 4096 / Math.max(width, height));
  [canvas.width, canvas.height] = [Math.round(width * scale), Math.round(height * scale)];
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  const unit = Math.max(14, Math.max(canvas.width, canvas.height) / 75);
  drawFaces(context, faces, { width, scale, mirror: false, unit, colors });
  return new Promise(resolve => canvas.toBlob(resolve, "image/png"));
}
