/**
 * `deno task card`, and what AMD's compiler made of our kernels when this was last changed, so that nothing gets worse
 * unseen. Whoever makes a kernel better tightens its line.
 *
 * @module
 */
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { runTask } from "../../tests/cli.ts";
import type { CardRow } from "./card_table.ts";

/** What a kernel may do to registers and waves at most, and what its hot loop must reach. */
interface Limits {
  /** Most vector registers that are spilled; default none. */
  readonly spilledVgprs?: number;
  /** Most scalar registers that are spilled; default none. */
  readonly spilledSgprs?: number;
  /** Most bytes of scratch memory of a wave; default none. */
  readonly scratchBytes?: number;
  /** Fewest waves on a SIMD, counted in 32 threads; default all that it holds: 16, be they of 32 or of 64. */
  readonly waves?: number;
  /** Smallest share of multiply-adds among vector operations of the hot loop; default any. */
  readonly multiplyAdds?: number;
  /** Most bytes of workgroup memory that are read for a multiply-add; default any. */
  readonly workgroupBytes?: number;
}

/** Of GPT-2 124M's step on RDNA 3 by Mesa 25.0, by how a kernel's name begins; the others have the defaults. */
const LIMITS: Readonly<Record<string, Limits>> = {
  // 64 sums and their operands in a thread leave 12 waves, which hide what memory makes them wait for.
  matmul_shared: { waves: 12, multiplyAdds: 0.95, workgroupBytes: 1 },
  // Its products take 96 sums and scores of a thread, and the workgroup memory is all in use at 8 waves.
  attention: { waves: 8, multiplyAdds: 0.87, workgroupBytes: 1 },
};

/**
 * The same on GCN 5, whose waves have 64 threads: 4 waves would leave a thread only the registers of a product's 64 sums,
 * and attention's products leave room for one (see `ops/attention/tiles.ts`).
 */
const GCN_LIMITS: typeof LIMITS = {
  matmul_shared: { waves: 2, multiplyAdds: 0.95, workgroupBytes: 1 },
  attention: { waves: 1, multiplyAdds: 0.87, workgroupBytes: 1 },
};

/** The result of the task; undefined, and said, where this machine lacks something. */
async function card(...args: readonly string[]): Promise<string | undefined> {
  const { code, stdout, stderr } = await runTask("card", args);
  const lacks = /^error: (this needs .*)/m.exec(stderr)?.[1];
  if (lacks === undefined) equal(code, 0, stderr);
  else console.log(`skipped: deno task card: ${lacks}`);
  return lacks === undefined ? stdout : undefined;
}

Deno.test("the table for an older card has a line of numbers for every kernel of a step", async () => {
  const text = await card(
    ...[
      "--model",
      "gpt2-nano",
      "--batch-size",
      "2",
      "--seq-len",
      "32",
      "--vocab-size",
      "512",
      "--family",
      "vega10",
    ],
  );
  if (text === undefined) return;
  const [adapter, step, , head, ...lines] = text.trimEnd().split("\n");
  match(adapter, /VEGA10\), Mesa \d+\./);
  const kernels = Number(/(\d+) kernels in \d+ dispatches/.exec(step)?.[1]);
  ok(kernels > 20, step);
  match(head, /^kernel .* GB$/);
  equal(lines.length, kernels);
  // Where a kernel has no multiply-add, or does not say its operations, cells are empty.
  for (const line of lines) match(line, /^\w+( +\d+){11}( .*)? +\d+\.\d+$/);
});

/** GPT-2's kernels on a card, where this machine can compile them; whether the limits are of this Mesa. */
async function kernelsOn(
  family: string,
  ...args: readonly string[]
): Promise<{ kernels: CardRow[]; limited: boolean } | undefined> {
  const text = await card("--family", family, "--json", ...args);
  if (text === undefined) return undefined;
  const { card: name, driver, kernels }: { card: string; driver: string; kernels: CardRow[] } = JSON.parse(
    text,
  );
  ok(name.includes(family.toUpperCase()), name);
  for (const row of kernels) {
    for (const key of ["vgprs", "instructions", "waves_per_simd", "wave_size", "threads", "bytes"] as const) {
      ok(row[key] > 0, `${row.kernel}: ${key} must be positive, received ${row[key]}`);
    }
  }
  const limited = driver.startsWith("Mesa 25.0.");
  if (!limited) console.log(`skipped: limits of kernels, which are Mesa 25.0's: this is ${driver}`);
  return { kernels, limited };
}

Deno.test("no kernel of GPT-2's step on RDNA 3 is worse than when it was last looked at", async () => {
  const step = await kernelsOn("navi31");
  if (step === undefined) return;
  const { kernels, limited } = step;
  deepEqual(Object.keys(LIMITS).filter((name) => !kernels.some(({ kernel }) => kernel.startsWith(name))), []);
  if (!limited) return;
  deepEqual(kernels.flatMap((row) => worse(row, limitsOf(row, LIMITS))), []);
});

Deno.test("no product or attention of GPT-2's step on GCN 5 is worse than when it was last looked at", async () => {
  const step = await kernelsOn("vega10");
  if (step === undefined) return;
  const limited = step.kernels.filter((row) => limitsOf(row, GCN_LIMITS));
  ok(limited.length > 3);
  if (step.limited) deepEqual(limited.flatMap((row) => worse(row, limitsOf(row, GCN_LIMITS))), []);
});

/** Of products while GPT-2 124M decodes, by the card's family and the number of sequences. */
const DECODE_LIMITS: Readonly<Record<string, Readonly<Record<number, Limits>>>> = {
  // Sums, A and B are 24 values of a thread for one row, and 80 for eight.
  navi31: { 1: {}, 8: { waves: 16, multiplyAdds: 0.8 } },
  vega10: { 1: { waves: 8 }, 8: { waves: 2, multiplyAdds: 0.8 } },
};

for (const [family, limits] of Object.entries(DECODE_LIMITS)) {
  Deno.test(`no product of GPT-2's decoding on ${family} is worse than when it was last looked at`, async () => {
    for (const [batchSize, limit] of Object.entries(limits)) {
      const decoding = await kernelsOn(family, "--decode", "--batch-size", batchSize);
      if (decoding === undefined) return;
      const products = decoding.kernels.filter(({ kernel }) => kernel.startsWith("matmul"));
      deepEqual([...new Set(products.map(({ kernel }) => kernel))], ["matmul_few_rows"]);
      equal(Math.min(...products.map((row) => row.fewest_workgroups)), 768 / 16);
      if (decoding.limited) deepEqual(products.flatMap((row) => worse(row, limit)), []);
    }
  });
}

/** The limits of a kernel among those by how names begin. */
function limitsOf({ kernel }: CardRow, all: typeof LIMITS): Limits | undefined {
  return Object.entries(all).find(([name]) => kernel.startsWith(name))?.[1];
}

/** In what a kernel is beyond its limits. */
function worse(row: CardRow, limits: Limits = {}): string[] {
  const { spilledVgprs = 0, spilledSgprs = 0, scratchBytes = 0, waves = row.wave_size / 2 } = limits;
  const { multiplyAdds = 0, workgroupBytes = Infinity } = limits;
  const hot = row.hot_loop;
  const share = hot ? hot.multiply_adds / hot.vector_operations : 0;
  const read = hot ? hot.workgroup_bytes / hot.multiply_adds : 0;
  const checks: [boolean, string][] = [
    [
      row.spilled_vgprs <= spilledVgprs,
      `${row.spilled_vgprs} vector registers spilled, at most ${spilledVgprs}`,
    ],
    [
      row.spilled_sgprs <= spilledSgprs,
      `${row.spilled_sgprs} scalar registers spilled, at most ${spilledSgprs}`,
    ],
    [row.scratch_bytes <= scratchBytes, `${row.scratch_bytes} bytes of scratch, at most ${scratchBytes}`],
    [row.waves_per_simd >= waves, `${row.waves_per_simd} waves, at least ${waves}`],
    [share >= multiplyAdds, `${share} of the hot loop are multiply-adds, at least ${multiplyAdds}`],
    [
      read <= workgroupBytes,
      `${read} bytes of workgroup memory for a multiply-add, at most ${workgroupBytes}`,
    ],
  ];
  return checks.filter(([holds]) => !holds).map(([, words]) => `${row.kernel}: ${words}`);
}
