import { equal, throws } from "node:assert/strict";
import { storedType, type WideType, withHalfArrays } from "./half_arrays.ts";

const arrays = new Map<string, WideType>([["x", "vec4f"], ["y", "vec4f"], ["s", "f32"], ["pairs", "vec2f"]]);
const rewritten = (statements: string) =>
  withHalfArrays(`fn main(i: u32) { ${statements} }`, arrays).slice("fn main(i: u32) { ".length, -2);

Deno.test("withHalfArrays() converts what is loaded, in indices and components too", () => {
  equal(rewritten("let a = x[i] * 2.0;"), "let a = vec4f(x[i]) * 2.0;");
  equal(rewritten("let a = x [ at(i, 1u) ];"), "let a = vec4f(x [ at(i, 1u) ]);");
  equal(rewritten("let a = x[u32(s[i])].y;"), "let a = vec4f(x[u32(f32(s[i]))]).y;");
  equal(rewritten("let a = x[i][j % 4u] + pairs[i].x;"), "let a = vec4f(x[i])[j % 4u] + vec2f(pairs[i]).x;");
  equal(rewritten("if (s[i] == 1.0 || s[i] <= t) { }"), "if (f32(s[i]) == 1.0 || f32(s[i]) <= t) { }");
});

Deno.test("withHalfArrays() converts what is stored", () => {
  equal(rewritten("y[i] = f(x[i], 1u);"), "y[i] = vec4h(f(vec4f(x[i]), 1u));");
  equal(rewritten("s[i] = 0.0;"), "s[i] = f16(0.0);");
  equal(rewritten("y[i] += a - b;"), "y[i] = vec4h(vec4f(y[i]) + (a - b));");
  equal(rewritten("s[i] /= a + b;"), "s[i] = f16(f32(s[i]) / (a + b));");
  equal(rewritten("pairs[i].x = a;"), "pairs[i].x = f16(a);");
  equal(rewritten("y[i][k] *= s[k];"), "y[i][k] = f16(f32(y[i][k]) * (f32(s[k])));");
  equal(rewritten("y[i] = x[i]; x[i] = a;"), "y[i] = vec4h(vec4f(x[i])); x[i] = vec4h(a);");
});

Deno.test("withHalfArrays() leaves other names, members and comments of such names alone", () => {
  for (const text of ["let a = v.x + max_x[i];", "tile[x_at].y = 1.0;", "let sizes_s = 1u;"]) {
    equal(rewritten(text), text);
  }
  equal(rewritten("let a = 1u; // y[i = \n"), "let a = 1u; \n");
  const own = "fn f(x: vec4f) -> vec4f { return x * x.x; }\n";
  equal(withHalfArrays(own + "fn g() { let a = x[0]; }", arrays), own + "fn g() { let a = vec4f(x[0]); }");
});

Deno.test("withHalfArrays() refuses what it does not understand", () => {
  throws(
    () => rewritten("let p = &x;"),
    /x is stored as f16, so a kernel must use its elements alone, got.*&x;/,
  );
  throws(() => rewritten("for (; a < 1.0; s[i] += 1.0) { }"), /stored in s must end in a semicolon/);
  throws(() => rewritten("let x = 1.0; let b = x[i];"), /must not declare x, an array stored as f16/);
  throws(() => withHalfArrays("fn main() { y[i = 1.0; }", arrays), /must close every bracket/);
  throws(() => storedType("ids", "vec4u"), /ids is stored as f16.*f32, vec2f, vec4f, got vec4u/);
});
