import { doesNotThrow, throws } from "node:assert/strict";
import type { Profile } from "./device.ts";
import { type DispatchOptions, Graph } from "./graph.ts";

const guaranteed: Profile = {
  subgroupSize: 0,
  isSoftware: false,
  maxBindingBytes: 128 << 20,
  maxBufferBytes: 256 << 20,
};

/** Records a kernel that binds `inputs` tensors to read and one to write. */
function dispatch(profile: Profile, options: Partial<DispatchOptions>, inputs = 1, bytes = 4): void {
  const g = new Graph({ profile });
  const read = Array.from({ length: inputs }, (_, i) => [`x${i}`, g.input(`x${i}`, [1], "f32")]);
  g.dispatch({
    label: "mine",
    read: Object.fromEntries(read),
    write: { out: g.output("out", [bytes / 4]) },
    body: "@compute @workgroup_size(64) fn main() {}",
    workgroups: [1, 1, 1],
    ...options,
  });
}

const main = (threads: string) => `@compute @workgroup_size(${threads}) fn main() {}`;
const shared = (...types: string[]) =>
  types.map((type, i) => `var<workgroup> shared${i}: ${type};`).join("\n") + main("1");

/** What keeps to WebGPU's guarantees just so, what does not, and a profile that has more. */
const cases = [
  {
    what: "tensors",
    keeps: () => dispatch(guaranteed, {}, 7),
    exceeds: (profile: Profile) => dispatch(profile, {}, 8),
    message: "mine: this adapter has at most 8 storage buffers in a kernel, got 9; bind fewer tensors",
    more: { maxStorageBuffers: 9 },
  },
  {
    what: "bytes of a tensor",
    keeps: () => dispatch(guaranteed, {}, 1, 128 << 20),
    exceeds: (profile: Profile) => dispatch(profile, {}, 1, (128 << 20) + 4),
    message: "mine: out has 134217732 bytes, but this adapter binds at most 134217728; " +
      "use a smaller batch, sequence or vocabulary",
    more: { maxBindingBytes: 256 << 20 },
  },
  {
    what: "threads",
    keeps: () => dispatch(guaranteed, { body: main("16, 4u, 4") }),
    exceeds: (profile: Profile) => dispatch(profile, { body: main("257") }),
    message: "mine: this adapter has at most 256 threads in a workgroup, got 257; use smaller workgroups",
    more: { maxInvocations: 512 },
  },
  {
    what: "workgroup memory",
    keeps: () =>
      dispatch(guaranteed, { body: shared("array<array<f32, 7>, 64>", "array<vec4f, 911>", "u32") }),
    exceeds: (profile: Profile) => dispatch(profile, { body: shared("array<vec4<f32>, 1024>", "f32") }),
    message: "mine: this adapter has at most 16384 bytes of workgroup memory, got 16400; " +
      "use less of var<workgroup>",
    more: { maxWorkgroupBytes: 32_768 },
  },
];

for (const { what, keeps, exceeds, message, more } of cases) {
  Deno.test(`Graph.dispatch() holds ${what} to the adapter's limit`, () => {
    doesNotThrow(keeps);
    throws(() => exceeds(guaranteed), { name: "RangeError", message });
    doesNotThrow(() => exceeds({ ...guaranteed, ...more }));
  });
}

Deno.test("Graph.dispatch() holds workgroups to what a dimension may have", () => {
  doesNotThrow(() => dispatch(guaranteed, { workgroups: [65_535, 65_535, 1] }));
  for (const workgroups of [[65_536, 1, 1], [1, 1, 65_536], [1, 0, 1]] as const) {
    throws(() => dispatch(guaranteed, { workgroups }), /mine: a dispatch has 1 to 65535 workgroups in each/);
  }
});
