/**
 * Preloaded by `deno test --preload`: puts Dawn, the WebGPU of Chrome and Edge, in the place of Deno's own, at WebGPU's
 * default limits.
 *
 * @module
 */
// Not a literal in the import, so that the package, which has 132 MB, is not fetched for users.
const WEBGPU: string = "npm:webgpu@0.6.2";

const { create, globals } = await import(WEBGPU);
Object.assign(globalThis, globals);
Object.defineProperty(navigator, "gpu", { value: create([]), configurable: true });

// While it waits, Dawn asks itself by `setImmediate` whether the GPU is done. In `deno test` that takes ever longer: of
// the 189 seconds of a wait for kernels to be compiled, 182.
Object.defineProperty(globalThis, "setImmediate", { value: (ask: () => void) => setTimeout(ask, 1) });

await import("../default_limits.ts");

if (!await navigator.gpu.requestAdapter()) throw new Error("Dawn finds no graphics adapter");
