// Tile sizes, without the document: how to show n pictures as large as possible in a box.

// A tile wider than its picture cuts off top and bottom, a narrower one the sides. Upright boxes are phones', whose cameras
// are upright too.
const WIDEST = 16 / 9;
const NARROWEST = {upright: 3 / 5, lying: 4 / 3};

// bestGrid returns {columns, width, height} in CSS pixels for count tiles with gap between them in a box of boxWidth
// by boxHeight; the tiles are of one size and their shape stays within the limits above. Never negative.
export function bestGrid(count, boxWidth, boxHeight, gap) {
  const narrowest = boxHeight > boxWidth ? NARROWEST.upright : NARROWEST.lying;
  let best = {columns: 1, width: 0, height: 0};
  let bestScore = -1;
  for (let columns = 1; columns <= count; columns++) {
    const rows = Math.ceil(count / columns);
    let width = Math.max(0, (boxWidth - gap * (columns - 1)) / columns);
    let height = Math.max(0, (boxHeight - gap * (rows - 1)) / rows);
    if (width > height * WIDEST) width = height * WIDEST;
    if (height > width / narrowest) height = width / narrowest;
    // Between equal areas the fuller last row wins.
    const score = width * height - (rows * columns - count);
    if (score > bestScore) {
      bestScore = score;
      best = {columns, width: Math.floor(width), height: Math.floor(height)};
    }
  }
  return best;
}
