/**
 * Kernels over tensors that are stored as f16. A kernel is written for f32; here its accesses to such tensors become
 * conversions, so that it computes in f32 and only what it loads and stores is half as long:
 *
 * x[i] is vec4f(x[i]), y[i] = e is y[i] = vec4h(e), y[i] += e is y[i] = vec4h(vec4f(y[i]) + (e)).
 *
 * What is larger than 65,504 becomes infinite, which a training step sees in its loss or gradient norm.
 *
 * @module
 */

/** Element types that a kernel may be written for, and what is stored for each. */
const STORED = { f32: "f16", vec2f: "vec2h", vec4f: "vec4h" } as const;

/** Element type of an array in a kernel's text of which the values can be stored as f16. */
export type WideType = keyof typeof STORED;

/** The element type that is declared instead. */
export function storedType(name: string, type: string): string {
  const stored = STORED[type as WideType];
  if (stored) return stored;
  const types = Object.keys(STORED).join(", ");
  throw new TypeError(`${name} is stored as f16, so a kernel must see it as one of ${types}, got ${type}`);
}

/**
 * Rewrites a kernel's text.
 *
 * @param body WGSL without binding declarations.
 * @param arrays The element types in the text of the arrays that are stored as f16, by their names.
 * @returns WGSL that needs `enable f16;`.
 * @throws {SyntaxError} If an array is used in another way than by its elements, or a function that declares its name
 * uses elements of that name.
 *
 * @example
 * ```ts
 * import { equal } from "node:assert/strict";
 * const body = "fn main(i: u32) { y[i] += 2.0 * x[i]; }";
 * equal(
 *   withHalfArrays(body, new Map([["y", "f32"]])),
 *   "fn main(i: u32) { y[i] = f16(f32(y[i]) + (2.0 * x[i])); }",
 * );
 * ```
 */
export function withHalfArrays(body: string, arrays: ReadonlyMap<string, WideType>): string {
  const text = body.replaceAll(/\/\/[^\n]*/g, "");
  let result = "";
  let end = 0;
  for (const { index } of text.matchAll(/\bfn\s+\w+\s*\(/g)) {
    const brace = text.indexOf("{", matching(text, text.indexOf("(", index)));
    const close = matching(text, brace);
    const code = text.slice(brace, close + 1);
    const own = ownNames(text.slice(index, brace), code);
    const seen = new Map([...arrays].filter(([name]) => !own.has(name)));
    for (const name of arrays.keys()) {
      if (own.has(name) && new RegExp(`(?<![\\w.])${name}\\s*\\[`).test(code)) {
        throw new SyntaxError(
          `A function must not declare ${name}, an array stored as f16, and use elements of it`,
        );
      }
    }
    result += text.slice(end, brace) + rewrite(code, seen);
    end = close + 1;
  }
  return result + text.slice(end);
}

/** Names that a function declares: parameters and variables. */
function ownNames(head: string, code: string): Set<string> {
  const parameters = head.matchAll(/(\w+)\s*:/g);
  const variables = code.matchAll(/\b(?:let|var|const)\s*(?:<[^>]*>)?\s+(\w+)/g);
  return new Set([...parameters, ...variables].map(([, name]) => name));
}

function rewrite(code: string, arrays: ReadonlyMap<string, WideType>): string {
  let result = "";
  for (let at = 0; at < code.length;) {
    const [word] = /^\.?\w+/.exec(code.slice(at, at + 80)) ?? [];
    const type = word && arrays.get(word);
    if (!type) {
      result += word ?? code[at];
      at += word?.length ?? 1;
      continue;
    }
    const element = elementAt(code, at + word.length);
    if (!element) {
      throw new SyntaxError(
        `${word} is stored as f16, so a kernel must use its elements alone, got ${
          code.slice(at - 10, at + 20)
        }`,
      );
    }
    const place = word + rewrite(code.slice(at + word.length, element.end), arrays);
    const component = rewrite(code.slice(element.end, element.componentEnd), arrays);
    at = element.componentEnd;
    const [assignment, operator] = /^\s*([-+*/]?)=(?!=)/.exec(code.slice(at, at + 20)) ?? [];
    if (assignment === undefined) {
      result += `${type}(${place})${component}`;
      continue;
    }
    const wide = component ? "f32" : type;
    const end = statementEnd(code, at, word);
    const value = rewrite(code.slice(at + assignment.length, end), arrays).trim();
    const sum = operator ? `${wide}(${place}${component}) ${operator} (${value})` : value;
    result += `${place}${component} = ${STORED[wide]}(${sum})`;
    at = end;
  }
  return result;
}

/** Where an index ends, and where a vector's component does that follows it; undefined where there is no index. */
function elementAt(code: string, at: number): { end: number; componentEnd: number } | undefined {
  const space = /^\s*/.exec(code.slice(at, at + 80))![0].length;
  if (code[at + space] !== "[") return undefined;
  const end = matching(code, at + space) + 1;
  const [member] = /^\.\w+/.exec(code.slice(end, end + 8)) ?? [];
  if (member) return { end, componentEnd: end + member.length };
  return { end, componentEnd: code[end] === "[" ? matching(code, end) + 1 : end };
}

/** Where the semicolon of a statement is. */
function statementEnd(code: string, from: number, name: string): number {
  for (let at = from; at < code.length; at++) {
    if ("([{".includes(code[at])) at = matching(code, at);
    else if (code[at] === ";") return at;
    else if (")]}".includes(code[at])) break;
  }
  throw new SyntaxError(`What is stored in ${name} must end in a semicolon`);
}

/** Where the bracket closes that opens at a place. */
function matching(text: string, open: number): number {
  let depth = 0;
  for (let at = open; at >= 0 && at < text.length; at++) {
    if ("([{".includes(text[at])) depth++;
    else if (")]}".includes(text[at]) && --depth === 0) return at;
  }
  throw new SyntaxError(`WGSL must close every bracket, got ${text.slice(Math.max(0, open), open + 40)}`);
}
