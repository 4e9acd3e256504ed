/**
 * Gaussian error linear unit, y = x Phi(x) (arXiv 1606.08415), exactly (`erf`) or with GPT-2's tanh:
 *
 * y = x/2 (1 + tanh(u)), u = sqrt(2/pi) (x + 0.044715 x^3)
 * dx = dy (Phi(x) + x phi(x)), or its counterpart for tanh.
 *
 * WGSL has no erf: Abramowitz and Stegun 7.1.26 is used, whose error of 1.5e-7 is that of f32.
 *
 * @module
 */
import type { Graph } from "../../gpu/graph.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { elementwise } from "../elementwise.ts";

/** `tanh` is Hugging Face's `gelu_new` and `gelu_pytorch_tanh`, `erf` its `gelu`. */
export type GeluKind = "tanh" | "erf";

const functions: Record<GeluKind, string> = {
  // (1 + tanh(u)) / 2 = 1 / (1 + e), e = exp(-2u): one exponential, where lavapipe computes tanh from two. Past 40
  // nothing changes in f32, and e stays finite.
  tanh: `
fn gelu_exp(x: vec4f) -> vec4f {
  return exp(clamp(-1.5957691216 * x * (1.0 + 0.044715 * x * x), vec4f(-80.0), vec4f(80.0)));
}
fn gelu(x: vec4f) -> vec4f { return x / (1.0 + gelu_exp(x)); }
fn gelu_slope(x: vec4f) -> vec4f {
  let e = gelu_exp(x);
  let s = 1.0 / (1.0 + e);
  return s + x * (s * e) * s * 1.5957691216 * (1.0 + 0.134145 * x * x);
}`,
  erf: `
fn normal_cdf(x: vec4f) -> vec4f {
  let z = abs(x) * 0.70710678118;
  let t = 1.0 / (1.0 + 0.3275911 * z);
  let p = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  let erf = 1.0 - p * exp(-z * z);
  return 0.5 * (1.0 + sign(x) * erf);
}
fn gelu(x: vec4f) -> vec4f { return x * normal_cdf(x); }
fn gelu_slope(x: vec4f) -> vec4f { return normal_cdf(x) + x * 0.3989422804 * exp(-0.5 * x * x); }`,
};

/**
 * Applies GELU to every value.
 *
 * @param g The graph to record in.
 * @param x Any shape.
 * @param kind Default `tanh`.
 * @returns The same shape.
 */
export function gelu(g: Graph, x: Tensor, kind: GeluKind = "tanh"): Tensor {
  const y = g.activation("gelu", x.shape, [x]);
  const shared = { functions: functions[kind] };
  elementwise(g, {
    label: "gelu_forward",
    read: { x },
    out: y,
    ...shared,
    statements: "out[i] = gelu(x[i]);",
  });
  g.tape(() => {
    const dy = g.gradientOf(y);
    const dx = dy && g.gradientTarget(x);
    if (!dx) return;
    elementwise(g, {
      label: "gelu_backward",
      read: { x, dy },
      out: dx.tensor,
      ...shared,
      statements: `out[i] ${dx.accumulate ? "+=" : "="} dy[i] * gelu_slope(x[i]);`,
    });
  });
  return y;
}
