import { deepEqual } from "node:assert/strict";
import { withoutUnusedKernels } from "./dead_kernels.ts";
import type { Access, Kernel } from "./kernel.ts";
import { Storage, type StorageKind, Tensor } from "./tensor.ts";

const tensor = (label: string, kind: StorageKind = "activation") =>
  new Tensor([1], "f32", { storage: new Storage(kind, 4, label), byteOffset: 0 }, false, label);

function kernel(label: string, read: Tensor[], write: Tensor[]): Kernel {
  const bind = (tensors: Tensor[], access: Access) =>
    tensors.map((tensor) => ({ name: tensor.label, access, type: "f32" as const, tensor }));
  return {
    label,
    bindings: [...bind(read, "read"), ...bind(write, "write")],
    code: "",
    workgroups: [1, 1, 1],
    bytes: 0,
  };
}

const labels = (kernels: readonly Kernel[]) => kernels.map(({ label }) => label);

Deno.test("withoutUnusedKernels() leaves out what only leads to unused results", () => {
  const [x, y, z, a, dx] = ["x", "y", "z", "a", "dx"].map((label) => tensor(label));
  const kernels = [
    kernel("a = f(x)", [x], [a]),
    kernel("y = f(a)", [a], [y]),
    kernel("z = f(y)", [y], [z]),
    kernel("dx = f(a)", [a], [dx]),
  ];
  deepEqual(labels(withoutUnusedKernels(kernels, 3)), ["a = f(x)", "dx = f(a)"]);
  deepEqual(labels(withoutUnusedKernels(kernels, 2)), ["a = f(x)", "y = f(a)", "z = f(y)", "dx = f(a)"]);
});

Deno.test("withoutUnusedKernels() keeps a kernel with one used result, one that updates, one with an output", () => {
  const [x, y, statistics, unused] = ["x", "y", "statistics", "unused"].map((label) => tensor(label));
  const kernels = [
    kernel("two results", [x], [unused, statistics]),
    kernel("set", [x], [y]),
    kernel("add", [x], [y]),
    kernel("output", [x], [tensor("o", "output")]),
    kernel("use", [y, statistics], [tensor("g", "gradient")]),
  ];
  deepEqual(labels(withoutUnusedKernels(kernels, 4)), labels(kernels));
});
