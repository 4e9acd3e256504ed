/**
 * The one helper that checks an op: its forward values against a float64 reference, and its gradients
 * against central differences of that reference.
 */
import { ok } from "node:assert/strict";
import { type Gpu, type Profile, requestGpu } from "../gpu/device.ts";
import { Graph } from "../gpu/graph.ts";
import type { Precision } from "../gpu/precision/precision.ts";
import { compileProgram } from "../gpu/program.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { elementwise, passGradient } from "../ops/elementwise.ts";
import { fillNormal } from "../ops/random.ts";

/** Values in float64. */
export type Values = Float64Array;

let shared: Promise<Gpu> | undefined;

/** One device for all tests of a file: opening one takes a while. */
export function testGpu(): Promise<Gpu> {
  return shared ??= requestGpu();
}

/** The adapter's own profile, and those that choose the kernels for adapters of other kinds. */
export async function testProfiles(): Promise<Record<string, Profile>> {
  const { profile } = await testGpu();
  return {
    "this adapter": profile,
    "a GPU without subgroups": { ...profile, subgroupSize: 0, isSoftware: false },
  };
}

/** Names of the calls by which `run` makes GPU objects. */
export async function objectsMade(gpu: Gpu, run: () => void | Promise<void>): Promise<string[]> {
  const device = gpu.device as unknown as Record<string, (...args: unknown[]) => unknown>;
  const made: string[] = [];
  const names = ["createBuffer", "createBindGroup", "createShaderModule", "createComputePipeline"];
  names.push("createComputePipelineAsync", "createBindGroupLayout", "createPipelineLayout");
  for (const name of names) {
    device[name] = (...args) => {
      made.push(name);
      return Object.getPrototypeOf(gpu.device)[name].apply(gpu.device, args);
    };
  }
  try {
    await run();
  } finally {
    for (const name of names) delete device[name];
  }
  return made;
}

/** What {@linkcode checkOp} takes. */
export interface OpCase {
  /** Shapes of the inputs that need gradients. */
  readonly inputs: Readonly<Record<string, readonly number[]>>;
  /** Integer inputs. */
  readonly ids?: Readonly<
    Record<string, { readonly shape: readonly number[]; readonly values: Uint32Array }>
  >;
  /** Records the op. */
  record(g: Graph, t: Record<string, Tensor>): Tensor;
  /** Computes the same in float64. */
  reference(values: Record<string, Values>): Values;
  /** Largest accepted error relative to the largest magnitude; default 2e-5: f32 sums of some hundred terms. */
  readonly tolerance?: number;
  /**
   * The same where inputs, outputs and their gradients are stored as f16; default 1e-3: two roundings, of which each
   * may be off by 2^-11.
   */
  readonly halfTolerance?: number;
  /** Standard deviation of the random inputs; default 1. */
  readonly std?: number;
  /** Whether the kernels of graphics cards are checked too; default true. On a CPU they may take a minute to compile. */
  readonly cards?: boolean;
}

/**
 * Checks forward and backward on every profile, with gradients both set and accumulated, and where the adapter has f16,
 * with that too.
 */
export async function checkOp(op: OpCase): Promise<void> {
  const gpu = await testGpu();
  const expected: Expected = {};
  for (const [name, profile] of Object.entries(await testProfiles())) {
    if (op.cards === false && profile !== gpu.profile) continue;
    for (const accumulate of [false, true]) await checkOn(gpu, profile, accumulate, op, name, expected);
    if (profile.halfPrecision) await checkOn(gpu, profile, true, op, `${name}, f16`, expected, "f16");
  }
}

/** The float64 results, once there are any: the same seeds give all profiles the same inputs. */
interface Expected {
  values?: { readonly forward: Values; readonly gradients: Readonly<Record<string, Values>> };
}

/** The reference at `start`, and its central differences where its result's gradient is `dy`. */
function expectedOf(
  op: OpCase,
  start: Record<string, Values>,
  dy: Float32Array,
): Required<Expected>["values"] {
  const at = () => op.reference(start).reduce((sum, v, i) => sum + v * dy[i], 0);
  const h = 1e-4; // central differences in float64: error about h^2
  const gradients = Object.entries(start).map(([name, values]) => {
    const gradient = new Float64Array(values.length);
    for (let i = 0; i < values.length; i++) {
      const keep = values[i];
      values[i] = keep + h;
      const plus = at();
      values[i] = keep - h;
      const minus = at();
      values[i] = keep;
      gradient[i] = (plus - minus) / (2 * h);
    }
    return [name, gradient];
  });
  return { forward: op.reference(start), gradients: Object.fromEntries(gradients) };
}

async function checkOn(
  gpu: Gpu,
  profile: Profile,
  accumulate: boolean,
  op: OpCase,
  name: string,
  expected: Expected,
  precision: Precision = "f32",
): Promise<void> {
  const tolerance = precision === "f16" ? op.halfTolerance ?? 1e-3 : op.tolerance ?? 2e-5;
  const g = new Graph({ profile, training: true, precision });
  const init = (values: Float32Array, seed: number) => fillNormal(values, seed, op.std ?? 1);
  const tensors: Record<string, Tensor> = {};
  const extra: Tensor[] = [];
  for (const [key, shape] of Object.entries(op.inputs)) {
    const x = copyOf(g, g.parameter(key, shape, { init }));
    // A second use, whose gradient of 1 comes first, makes the op add to it.
    if (accumulate) extra.push(copyOf(g, x));
    tensors[key] = x;
  }
  for (const [key, { shape }] of Object.entries(op.ids ?? {})) tensors[key] = g.input(key, shape, "u32");
  const y = op.record(g, tensors);
  const dy = g.input("dy", y.shape, "f32");
  // Later on the tape is earlier in backward: uses recorded now seed their gradients first.
  const target = g.gradientTarget(y);
  ok(target, "the output must require a gradient");
  elementwise(g, {
    label: "seed",
    read: { dy },
    out: target.tensor,
    statements: `out[i] ${target.accumulate ? "+=" : "="} dy[i];`,
  });
  for (const e of extra) {
    elementwise(g, {
      label: "seed_one",
      out: g.gradientTarget(e)!.tensor,
      statements: "out[i] = vec4f(1.0);",
    });
  }
  g.backward();
  const readable = g.activation("readable", y.shape);
  elementwise(g, { label: "readable", read: { y }, out: readable, statements: "out[i] = y[i];" });
  const [segments] = g.beginUpdate([g.parameters.all]);
  const out = g.collect(readable);
  await g.parameters.allocate(gpu, 7);
  const program = await compileProgram(gpu, g);
  const dyValues = new Float32Array(y.size);
  fillNormal(dyValues, 99, 1);
  program.write("dy", dyValues);
  for (const [key, { values }] of Object.entries(op.ids ?? {})) program.write(key, values);
  program.run();
  const [got] = await program.read(out);
  const start = Object.fromEntries(
    [...await g.parameters.read(gpu)].map(([key, values]) => [key, Float64Array.from(values)]),
  );
  const wanted = expected.values ??= expectedOf(op, start, dyValues);
  closeTo(got, wanted.forward, tolerance, `${name}: forward`);

  for (const segment of segments) {
    const [gradients] = await program.read(segment.gradients);
    for (const { item, start: at, size } of segment.items) {
      const found = gradients.subarray(at, at + size);
      const numeric = wanted.gradients[item.name].map((slope) => slope + (accumulate ? 1 : 0));
      const label = `${name}: gradient of ${item.name}${accumulate ? ", accumulated" : ""}`;
      closeTo(found, numeric, tolerance * 5, label);
    }
  }
  program.destroy();
  g.parameters.destroy();
}

/** Fails unless all values agree within `tolerance` of the largest magnitude. */
export function closeTo(
  got: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: number,
  label: string,
): void {
  ok(got.length === expected.length, `${label}: ${expected.length} values expected, got ${got.length}`);
  let largest = 1e-30;
  for (let i = 0; i < expected.length; i++) largest = Math.max(largest, Math.abs(expected[i]));
  for (let i = 0; i < expected.length; i++) {
    const error = Math.abs(got[i] - expected[i]) / largest;
    ok(error <= tolerance, `${label}: value ${i} must be ${expected[i]}, got ${got[i]} (error ${error})`);
  }
}

/** Relative distance |a - b| / |b| in the Euclidean norm. */
export function relativeDistance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < b.length; i++) {
    difference += (a[i] - b[i]) ** 2;
    norm += b[i] ** 2;
  }
  return Math.sqrt(difference / Math.max(norm, 1e-300));
}

/** y = x as an activation of its own, so that an op's inputs are not parameters. */
function copyOf(g: Graph, x: Tensor): Tensor {
  const y = g.activation("copy", x.shape, [x]);
  elementwise(g, { label: "copy", read: { x }, out: y, statements: "out[i] = x[i];" });
  g.tape(() => {
    const dy = g.gradientOf(y);
    if (dy) passGradient(g, x, dy);
  });
  return y;
}
