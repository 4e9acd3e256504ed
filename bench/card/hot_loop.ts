/**
 * What AMD's machine code does where it multiplies most.
 *
 * @module
 */

/** Instructions of one turn of a loop, without those of the loops in it; of one thread. */
export interface HotLoop {
  /** Fused multiply-adds. */
  readonly multiplyAdds: number;
  /** All vector operations, multiply-adds among them; loads, stores and the scalar unit's are none. */
  readonly vectorOperations: number;
  /** Bytes that it reads from workgroup memory. */
  readonly workgroupBytes: number;
}

/**
 * Finds the loop with the most multiply-adds of its own. A loop runs from a label to the last branch back to it; where
 * loops have no multiply-adds, the whole code takes their place. What the disassembler does not know is not counted.
 *
 * @param assembly Machine code in LLVM's words, with ACO's labels: `BB7:`.
 * @returns The loop, or undefined if the code has no multiply-add.
 */
export function hotLoop(assembly: string): HotLoop | undefined {
  const lines = assembly.split("\n").map((line) => line.replace(/;.*/, "").trim()).filter(Boolean);
  const labels = new Map(lines.flatMap((line, i) => line.endsWith(":") ? [[line.slice(0, -1), i]] : []));
  /** Where each loop ends, by where it begins. */
  const ends = new Map<number, number>();
  lines.forEach((line, i) => {
    const begin = labels.get(/^s_c?branch\S* (\w+)$/.exec(line)?.[1] ?? "");
    if (begin !== undefined && begin <= i) ends.set(begin, i);
  });
  const loops = [...ends].map(([begin, end]) => {
    const own = lines.slice(begin, end + 1).filter((_, i) =>
      ![...ends].some(([from, to]) => from > begin && to <= end && from <= begin + i && begin + i <= to)
    );
    return count(own);
  });
  const most = (list: readonly HotLoop[]) =>
    list.reduce<HotLoop | undefined>((a, b) => b.multiplyAdds > (a?.multiplyAdds ?? 0) ? b : a, undefined);
  return most(loops) ?? most([count(lines)]);
}

function count(lines: readonly string[]): HotLoop {
  // RDNA 3 pairs two operations in an instruction: v_dual_fmac_f32 ... :: v_dual_mul_f32 ...
  const names = lines.flatMap((line) => line.split("::")).map((operation) => operation.trim().split(/\s/)[0]);
  return {
    multiplyAdds: names.filter((name) => /^v_(dual_|pk_)?(fma|mad|mac)\w*_f\d+/.test(name)).length,
    vectorOperations: names.filter((name) => name.startsWith("v_") && name !== "v_nop").length,
    workgroupBytes: names.reduce((sum, name) => sum + workgroupBytesRead(name), 0),
  };
}

/** Bytes that a thread reads by `ds_load_b128`, `ds_load_2addr_b32`, or their names before RDNA 3: `ds_read2_b64`. */
function workgroupBytesRead(name: string): number {
  const [, two, bits] = /^ds_(?:load|read)(_2addr|2)?\w*_[biu](\d+)/.exec(name) ?? [];
  return bits === undefined ? 0 : Number(bits) / 8 * (two === undefined ? 1 : 2);
}
