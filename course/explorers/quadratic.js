// The bowl ½ wᵀ H w of two weights, H being [[a, b], [b, d]] as a list of four.
import { linspace } from "./kit.js";

/** Eigenvalues, the smaller first, and eigenvectors of length 1. */
function eigen([a, b, , d]) {
  const high = (a + d) / 2 + Math.hypot((a - d) / 2, b);
  const low = (a * d - b * b) / high;
  const turn = 0.5 * Math.atan2(2 * b, a - d);
  const [cosine, sine] = [Math.cos(turn), Math.sin(turn)];
  return { values: [low, high], vectors: [[-sine, cosine], [cosine, sine]] };
}

const ANGLES = linspace(0, 2 * Math.PI, 121);
const PARTS = [1, 0.75, 0.5, 0.25]; // of the level line through the start

/**
 * Level lines from the one through w inwards, as [[xs, ys], …], and the zoom that fits them into a panel from −wide to
 * wide and from −1 to 1; they are zoomed already.
 */
function levelLines(hessian, [x, y], wide) {
  const { values, vectors } = eigen(hessian);
  const height = hessian[0] * x * x + 2 * hessian[1] * x * y + hessian[3] * y * y;
  const reach = values.map((value) => Math.sqrt(height / value));
  const line = [0, 1].map((axis) =>
    ANGLES.map((a) => reach[0] * Math.cos(a) * vectors[0][axis] + reach[1] * Math.sin(a) * vectors[1][axis]),
  );
  const zoom = 0.93 * Math.min(...line.map((column, axis) => [wide, 1][axis] / Math.max(...column)));
  return { zoom, lines: PARTS.map((part) => line.map((column) => column.map((each) => zoom * part * each))) };
}

export { eigen, levelLines };
