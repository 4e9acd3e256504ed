import { deepEqual, equal } from "node:assert/strict";
import { wgslCost } from "./wgsl_cost.ts";

const MAIN = "@compute @workgroup_size(64) fn main(@builtin(local_invocation_index) lane: u32)";

Deno.test("a product's hot loop has its multiply-adds, its reads of workgroup memory, and three instructions for each", () => {
  const { hotLoop, privateValues } = wgslCost(`
@group(0) @binding(0) var<storage, read_write> out: array<vec4f>;
var<workgroup> a: array<vec4f, 64>;
var<workgroup> b: array<vec4f, 64>;
${MAIN} {
  var sum = vec4f(); // 4 values
  for (var k = 0u; k < 1024u; k += 4u) {
    a[lane] = out[k];
    for (var i = 0u; i < 4u; i++) {
      let y = mat4x4f(b[i], b[i + 1u], b[i + 2u], b[i + 3u]); // 16 values
      sum += y * a[lane + i];
    }
  }
  out[lane] = sum;
}`);
  deepEqual(hotLoop, { multiplyAdds: 16, others: 5 * 3, workgroupBytes: 5 * 16 });
  equal(privateValues, 4 + 16);
});

Deno.test("of arrays in an array of workgroup memory the last index is the access", () => {
  const { hotLoop } = wgslCost(`var<workgroup> lines: array<array<array<vec4f, 16>, 32>, 2>;
${MAIN} { let x = lines[lane & 1u][3u][lane / 4u][lane & 3u] * lines[0u][lane & 7u][0u]; }`);
  deepEqual(hotLoop, { multiplyAdds: 4, others: 2 * 3, workgroupBytes: 2 * 16 });
});

Deno.test("multiply-adds are counted by the types of their factors", () => {
  const count = (statement: string) =>
    wgslCost(`alias V = vec4f;
fn twice(x: V) -> V { return x * 2.0; }
fn half_of(x: f32) -> f32 { return 0.5 * x; }
${MAIN} { let v = V(); let m = mat2x4f(); let n = 4u; let s = 1.0; ${statement} }`).hotLoop.multiplyAdds;
  const cases: [string, number][] = [
    ["let r = v * v;", 4],
    ["let r = s * v + v;", 4],
    ["let r = m * v.xy;", 8],
    ["let r = v * m;", 8],
    ["let r = dot(v, v) * s;", 5],
    ["let r = fma(v, v, v);", 4],
    ["let r = n * n;", 0],
    ["let r = array<V, 2>(v, v)[n * 2u].x * s;", 1],
    ["let r = twice(v);", 4],
    ["let r = half_of(-s);", 1],
    ["let r = f32(n) * 1e-3;", 1],
    ["var r = v; r *= v;", 4],
    ["if (n < 2u) { let r = v * v; } else { let q = s * s; }", 5],
  ];
  for (const [statement, multiplyAdds] of cases) equal(count(statement), multiplyAdds, statement);
});

Deno.test("a kernel may have every statement of WGSL that ours have", () => {
  const { hotLoop, privateValues } = wgslCost(`enable f16, subgroups;
requires unrestricted_pointer_parameters;
struct Pair { a: vec4f, b: f32 }
var<workgroup> shared_values: array<vec4<f16>, 2 * 32>;
fn add(to: ptr<function, array<vec4f, 4>>, x: f32) { (*to)[0] += vec4f(x); }
${MAIN} {
  var sums: array<vec4f, 4>;
  var n = 8u;
  loop {
    if (n == 0u) { break; }
    n--;
    switch (n % 2u) {
      case 0u: { sums[1] = sums[1] + 2.0 * vec4f(shared_values[lane ^ n]); }
      default: { add(&sums, subgroupAdd(1.0)); }
    }
    continuing { n >>= 1u; }
  }
  while (n < 4u) { n += select(1u, 2u, n > 2u && !(n == 3u)); }
  let bits = bitcast<u32>(sums[2].x) << 2u;
}`);
  equal(hotLoop.multiplyAdds, 4);
  equal(hotLoop.workgroupBytes, 4 * 2);
  equal(privateValues, 16);
});

Deno.test("private values are those needed at the same time", () => {
  const values = (statements: string) =>
    wgslCost(`enable f16;
const SIZE = 12u;
@group(0) @binding(0) var<storage, read_write> out: array<vec4f>;
fn kept(x: f32) -> vec4f { let a = x * vec4f(); let b = x * a; return a + b; }
${MAIN} { ${statements} }`).privateValues;
  // One after the other; together; integers; of f16 half.
  equal(values("let a = vec4f(); out[0] = a; let b = vec4f(); out[1] = b;"), 4);
  equal(values("let a = vec4f(); let b = vec4f(); out[0] = a + b;"), 8);
  equal(values("let a = vec4u(); var i = 3u; let b = 1.0; out[a.x] = vec4f(b);"), 1);
  equal(values("var a: array<vec4<f16>, 8>; out[0] = vec4f(a[0]);"), 16);
  // Blocks of their own, sizes that have a name, and what a function keeps.
  equal(values("if (lane < 1u) { let a = vec4f(); out[0] = a; } else { let a = vec4f(); out[1] = a; }"), 4);
  equal(values("var a: array<f32, SIZE>; out[0] = vec4f(a[0]);"), 12);
  equal(values("let a = 1.0; out[0] = kept(a) * a;"), 1 + 8);
  // What a loop names is needed until its end, what it declares is not.
  equal(
    values("var a = vec4f(); for (var i = 0u; i < 4u; i++) { out[i] = a; let b = vec4f(); out[i] = b; }"),
    8,
  );
  equal(
    values("for (var i = 0u; i < 4u; i++) { let b = vec4f(); out[i] = b; } var a = vec4f(); out[0] = a;"),
    4,
  );
});
