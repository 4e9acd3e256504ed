/**
 * Guesses which name was meant by a misspelt one.
 *
 * @module
 */

/**
 * The name nearest to what was written, if one is near enough to be meant.
 *
 * @param written What was written; case, `-` and `_` don't count.
 * @param names The names there are.
 * @returns The nearest name within a third of its length in edits, else one that begins with what was written or
 * with which that begins, else `undefined`.
 */
export function closest(written: string, names: readonly string[]): string | undefined {
  const plain = (text: string) => text.toLowerCase().replaceAll(/[-_]/g, "");
  const wanted = plain(written);
  const ranked = names.map((name) => ({ name, edits: editDistance(wanted, plain(name)) }))
    .sort((a, b) => a.edits - b.edits);
  const best = ranked[0];
  if (best !== undefined && best.edits <= Math.max(1, Math.floor(best.name.length / 3))) return best.name;
  const related = (name: string) => name.startsWith(wanted) || wanted.startsWith(name);
  return names.find((name) => Math.min(name.length, wanted.length) >= 3 && related(plain(name)));
}

/**
 * The least number of insertions, deletions, replacements and swaps of neighbours between two texts.
 *
 * @param a One text.
 * @param b The other.
 * @returns The number of edits, each letter being part of one at most.
 */
export function editDistance(a: string, b: string): number {
  // rows[i][j]: edits from the first i letters of a to the first j of b.
  const rows = Array.from(
    { length: a.length + 1 },
    (_, i) => Array.from({ length: b.length + 1 }, (_, j) => i + j),
  );
  for (let i = 1; i <= a.length; i++) {
    for (let j = 1; j <= b.length; j++) {
      const replaced = rows[i - 1][j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1);
      rows[i][j] = Math.min(rows[i - 1][j] + 1, rows[i][j - 1] + 1, replaced);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        rows[i][j] = Math.min(rows[i][j], rows[i - 2][j - 2] + 1);
      }
    }
  }
  return rows[a.length][b.length];
}
