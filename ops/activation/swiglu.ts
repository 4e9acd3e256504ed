/**
 * The gate of a SwiGLU feed-forward layer (arXiv 2002.05202), with s(x) = 1 / (1 + exp(-x)):
 *
 * y = silu(gate) up, silu(x) = x s(x).
 *
 * Backward: dup = dy silu(gate), dgate = dy up s(gate) (1 + gate (1 - s(gate))).
 *
 * @module
 */
import { type Graph, type Operand, vec4 } from "../../gpu/graph.ts";
import { expectShape, type Tensor } from "../../gpu/tensor.ts";
import { perThread } from "../../gpu/wgsl.ts";
import { elementwise } from "../elementwise.ts";

// exp(-x) leaves f32 below -88; at -80 the sigmoid is 1e-35 already.
const sigmoid = `
fn sigmoid(x: vec4f) -> vec4f { return 1.0 / (1.0 + exp(-max(x, vec4f(-80.0)))); }
`;

/**
 * Multiplies `up` with the SiLU of `gate`.
 *
 * @param g The graph to record in.
 * @param gate Any shape.
 * @param up The same shape.
 * @returns The same shape.
 * @throws {TypeError} If the shapes differ.
 */
export function swiglu(g: Graph, gate: Tensor, up: Tensor): Tensor {
  expectShape("swiglu", "gate", gate, gate.shape);
  expectShape("swiglu", "up", up, gate.shape);
  const y = g.activation("swiglu", gate.shape, [gate, up]);
  elementwise(g, {
    label: "swiglu_forward",
    read: { gate, up },
    out: y,
    functions: sigmoid,
    statements: "out[i] = gate[i] * sigmoid(gate[i]) * up[i];",
  });
  g.tape(() => {
    const dy = g.gradientOf(y);
    if (!dy) return;
    const [dgate, dup] = [g.gradientTarget(gate), g.gradientTarget(up)];
    if (!dgate && !dup) return;
    const write: Record<string, Operand> = {};
    if (dgate) write.dgate = vec4(dgate.tensor);
    if (dup) write.dup = vec4(dup.tensor);
    const assign = (target: { accumulate: boolean }) => (target.accumulate ? "+=" : "=");
    // Both gradients in one kernel: it reads and computes what they share once.
    g.dispatch({
      label: "swiglu_backward",
      read: { gate: vec4(gate), ...(dgate ? { up: vec4(up) } : {}), dy: vec4(dy) },
      write,
      ...perThread({
        count: Math.ceil(gate.size / 4),
        functions: sigmoid,
        statements: `let x = gate[i];
  let s = sigmoid(x);
  let d = dy[i];
  ${dgate ? `dgate[i] ${assign(dgate)} d * up[i] * s * (1.0 + x * (1.0 - s));` : ""}
  ${dup ? `dup[i] ${assign(dup)} d * x * s;` : ""}`,
      }),
    });
  });
  return y;
}
