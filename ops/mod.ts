/**
 * Ops the size of a layer. Each is a function that records its forward kernels in a {@linkcode Graph} and pushes how
 * to record the backward ones; shapes are checked at once. {@linkcode elementwise} makes one of your own from a line
 * of WGSL. Nothing here needs Deno.
 *
 * @example A layer on two rows
 * ```ts
 * import { deepEqual } from "node:assert/strict";
 * import { compileProgram, Graph, requestGpu } from "@koala-lm/koala-lm/gpu";
 * import { linear } from "@koala-lm/koala-lm/ops";
 *
 * const gpu = await requestGpu();
 * const g = new Graph({ profile: gpu.profile });
 * const x = g.input("x", [2, 3], "f32");
 * const weight = g.parameter("weight", [3, 1], { init: (values) => void values.fill(2) });
 * const y = g.collect(linear(g, x, weight)); // [1, 2, 1]: one micro-batch
 * await g.parameters.allocate(gpu, 0);
 * const program = await compileProgram(gpu, g);
 * program.write("x", Float32Array.of(1, 2, 3, 4, 5, 6));
 * program.run();
 * deepEqual([...(await program.read(y))[0]], [12, 30]);
 * program.destroy();
 * gpu.destroy();
 * ```
 *
 * @module
 */
export { add } from "./add.ts";
export { attention, type AttentionOptions, packedAttention } from "./attention/attention.ts";
export { type CrossEntropy, headLogits, linearCrossEntropy } from "./cross_entropy/cross_entropy.ts";
export { dropout } from "./dropout.ts";
export { elementwise, type ElementwiseOptions, passGradient } from "./elementwise.ts";
export { addPositions, embedding } from "./embedding.ts";
export { IGNORED_TARGET } from "./ignored_target.ts";
export { gelu, type GeluKind } from "./activation/gelu.ts";
export { KeyValueCache, type LayerCache, type SequenceContext } from "./attention/key_value_cache.ts";
export { layerNorm } from "./norm/layer_norm.ts";
export { linear, type LinearOptions } from "./linear.ts";
export { rmsNorm } from "./norm/rms_norm.ts";
export { rotary, rotaryFrequencies, type RotaryOptions, type RotaryScaling, rotaryTable } from "./rotary.ts";
export { scale } from "./scale.ts";
export { swiglu } from "./activation/swiglu.ts";
