/**
 * Tables as text.
 *
 * @module
 */

/**
 * Aligns a table in columns as wide as their widest cell, two spaces apart.
 *
 * @param rows The rows' cells, as many in each.
 * @param left How many columns at the left are aligned to the left; others are to the right.
 * @param leftAgain From which column on they are to the left again. Default: none.
 * @returns A line for each row.
 */
export function align(rows: readonly (readonly string[])[], left: number, leftAgain = Infinity): string[] {
  const widths = rows[0].map((_, c) => Math.max(...rows.map((cells) => cells[c].length)));
  return rows.map((cells) =>
    cells.map((cell, c) => (c < left || c >= leftAgain ? cell.padEnd(widths[c]) : cell.padStart(widths[c])))
      .join("  ").trimEnd()
  );
}
