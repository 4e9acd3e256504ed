/**
 * What an expression of WGSL costs and what type it has, read from its text as far as our kernels write it. An
 * estimate for the roofline: a compiler may share, fuse or drop what is counted here.
 *
 * @module
 */

/** A type, as far as costs depend on it. */
export interface WgslType {
  /** Values in it: 4 for vec4f, 16 for mat4x4f; of an array all of them. */
  readonly size: number;
  /** Whether they are floating point numbers; booleans and integers are not. */
  readonly float: boolean;
  /** Of a matrix: its columns. */
  readonly columns?: number;
  /** Of an array: what it holds. */
  readonly element?: WgslType;
  /** Bytes of one value: 2 for f16. */
  readonly bytes: number;
  /** Where an array lies, unless it is private. */
  readonly space?: "workgroup" | "storage";
}

/** What runs in a thread. */
export interface Cost {
  /** Multiply-adds of f32: each product of floating point numbers, of a matrix or dot product each of its products. */
  readonly multiplyAdds: number;
  /**
   * Other vector instructions: three for an access to memory (address, clamp to the bounds, the access itself), four for a
   * transcendental function or a quotient, one for other functions.
   */
  readonly others: number;
  /** Bytes read of workgroup memory. */
  readonly workgroupBytes: number;
}

/** What a name stands for. */
export interface Scope {
  /** The type of a variable, constant or alias. */
  readonly type: (name: string) => WgslType | undefined;
  /** The result and the cost of a function of the kernel. */
  readonly call: (name: string) => { readonly type: WgslType; readonly cost: Cost } | undefined;
}

/** Nothing. */
export const NO_COST: Cost = { multiplyAdds: 0, others: 0, workgroupBytes: 0 };

/** The sum of costs. */
export function sumCosts(...costs: readonly Cost[]): Cost {
  return costs.reduce((a, b) => ({
    multiplyAdds: a.multiplyAdds + b.multiplyAdds,
    others: a.others + b.others,
    workgroupBytes: a.workgroupBytes + b.workgroupBytes,
  }), NO_COST);
}

const INTEGER: WgslType = { size: 1, float: false, bytes: 4 };
const FLOAT: WgslType = { size: 1, float: true, bytes: 4 };
/** Instructions of an access: see {@linkcode Cost.others}. */
const ACCESS = 3;
const SLOW = 4;
const SLOW_FUNCTIONS = /^(exp2?|log2?|tanh|sqrt|inverseSqrt|pow|sin|cos)$/;
const SCALAR_RESULT = /^(dot|length|distance)$/;

/** Cuts WGSL without comments into words, numbers and signs. */
export function tokens(code: string): string[] {
  return code.replaceAll(/\/\/.*$/gm, "").match(
    /[A-Za-z_]\w*|\d[\w.]*(?:e[+-]\d+\w*)?|\.\d\w*|<<=?|>>=|[-+*/%&|^!=<>]=|&&|\|\||\+\+|--|->|\S/g,
  ) ?? [];
}

/** Reads types and expressions from the tokens of a kernel, from a place that moves on. */
export class ExpressionReader {
  /** The next token. */
  at = 0;

  /**
   * @param tokens What {@linkcode tokens} makes of a kernel.
   * @param scope What names stand for.
   */
  constructor(private readonly tokens: readonly string[], private readonly scope: Scope) {}

  /** The next token, without taking it. */
  get next(): string {
    return this.tokens[this.at] ?? "";
  }

  /** Takes a token. */
  take(): string {
    return this.tokens[this.at++] ?? "";
  }

  /** Takes this token if it is the next one. */
  took(token: string): boolean {
    if (this.next !== token) return false;
    this.at++;
    return true;
  }

  /** A type's name, such as `array<vec4f, 16>`. */
  type(): WgslType {
    const name = this.take();
    const inner = this.next === "<" ? this.#template() : [];
    const known = this.scope.type(name);
    if (known) return known;
    if (name === "array") return arrayOf(inner[0]?.type ?? FLOAT, inner[1]?.value ?? 0);
    const [, vector, matrixColumns, rows, letter] =
      /^(?:vec([234])|mat([234])x([234]))([fiuh]?)$/.exec(name) ?? [];
    const scalar = letter ? scalarType({ f: "f32", h: "f16" }[letter] ?? "u32") : inner[0]?.type ?? FLOAT;
    if (vector) return { ...scalar, size: Number(vector) };
    if (matrixColumns) {
      return { ...scalar, size: Number(matrixColumns) * Number(rows), columns: Number(matrixColumns) };
    }
    return name === "bitcast" || name === "atomic" ? inner[0]?.type ?? INTEGER : scalarType(name);
  }

  #template(): { type?: WgslType; value?: number }[] {
    this.take();
    const parts: { type?: WgslType; value?: number }[] = [];
    while (!this.took(">") && this.next !== "") {
      if (/^\d/.test(this.next)) {
        let value = parseInt(this.take());
        while (this.took("*")) value *= parseInt(this.take());
        parts.push({ value });
      } else parts.push({ type: this.type() });
      this.took(",");
    }
    return parts;
  }

  /** An expression up to what does not belong to it. */
  expression(level = 0): { type: WgslType; cost: Cost } {
    let left = this.#unary();
    for (;;) {
      const operator = this.next;
      const precedence = PRECEDENCE[operator];
      if (precedence === undefined || precedence < level) return left;
      // `>` and `>` in a row shift.
      this.take();
      if (operator === ">" && this.next === ">") this.take();
      const right = this.expression(precedence + 1);
      left = combine(operator, left, right);
    }
  }

  #unary(): { type: WgslType; cost: Cost } {
    if (["-", "!", "~", "&", "*"].includes(this.next)) {
      this.take();
      return this.#unary();
    }
    return this.#postfix(this.#primary());
  }

  #primary(): { type: WgslType; cost: Cost } {
    const token = this.next;
    if (token === "(") {
      this.take();
      const inner = this.expression();
      this.took(")");
      return inner;
    }
    if (/^[\d.]/.test(token)) {
      this.take();
      return { type: /[.fh]|^\d+e/.test(token) && !token.startsWith("0x") ? FLOAT : INTEGER, cost: NO_COST };
    }
    if (!/^[A-Za-z_]/.test(token)) return { type: INTEGER, cost: NO_COST };
    const template = /^(array|vec[234]|mat[234]x[234]|bitcast|atomic)$/.test(token);
    if (this.tokens[this.at + 1] !== "(" && !template) {
      this.take();
      return { type: this.scope.type(token) ?? INTEGER, cost: NO_COST };
    }
    return this.#call(token);
  }

  #call(name: string): { type: WgslType; cost: Cost } {
    const own = this.scope.call(name);
    const constructs = own === undefined &&
      (this.scope.type(name) !== undefined ||
        /^(array|vec[234].?|mat[234]x[234].?|bitcast|[fiu]32|f16|bool)$/.test(name));
    let type = FLOAT;
    if (constructs) type = this.type();
    else this.take();
    const parts: { type: WgslType; cost: Cost }[] = [];
    this.took("(");
    while (!this.took(")") && this.next !== "") {
      parts.push(this.expression());
      this.took(",");
    }
    const costs = parts.map((part) => part.cost);
    if (own) return { type: own.type, cost: sumCosts(own.cost, ...costs) };
    if (constructs) return { type, cost: sumCosts(...costs) };
    const widest = parts.map((part) => part.type).reduce((a, b) => b.size > a.size ? b : a, {
      ...INTEGER,
      size: 0,
    });
    return { type: builtinType(name, widest), cost: sumCosts(builtinCost(name, widest), ...costs) };
  }

  #postfix(value: { type: WgslType; cost: Cost }): { type: WgslType; cost: Cost } {
    for (;;) {
      if (this.took("[")) {
        const index = this.expression();
        this.took("]");
        value = indexed(value, index.cost);
      } else if (this.next === "." && /^[xyzwrgba]{1,4}$/.test(this.tokens[this.at + 1])) {
        this.take();
        value = { ...value, type: { ...value.type, size: this.take().length, columns: undefined } };
      } else return value;
    }
  }
}

/** From what binds least; all of a level bind from the left. */
const LEVELS = [["||"], ["&&"], ["|"], ["^"], ["&"], ["==", "!=", "<", ">", "<=", ">="], ["<<"], ["+", "-"], [
  "*",
  "/",
  "%",
]];
const PRECEDENCE: Readonly<Record<string, number>> = Object.fromEntries(
  LEVELS.flatMap((operators, level) => operators.map((operator) => [operator, level])),
);

function scalarType(name: string): WgslType {
  return { size: 1, float: name === "f32" || name === "f16", bytes: name === "f16" ? 2 : 4 };
}

/** An array of so many; 0 where the length is not known. */
function arrayOf(element: WgslType, length: number): WgslType {
  return { size: element.size * length, float: element.float, bytes: element.bytes, element };
}

function indexed(of: { type: WgslType; cost: Cost }, index: Cost): { type: WgslType; cost: Cost } {
  const { element, space, columns, size } = of.type;
  // Of arrays in an array the last index is the access.
  if (element?.element) return { type: { ...element, space }, cost: sumCosts(of.cost, index) };
  const type = element ?? { ...of.type, size: columns ? size / columns : 1, columns: undefined };
  const access = space === undefined ? NO_COST : {
    multiplyAdds: 0,
    others: ACCESS,
    workgroupBytes: space === "workgroup" ? type.size * type.bytes : 0,
  };
  return { type, cost: sumCosts(of.cost, index, access) };
}

function combine(
  operator: string,
  a: { type: WgslType; cost: Cost },
  b: { type: WgslType; cost: Cost },
): { type: WgslType; cost: Cost } {
  const cost = sumCosts(a.cost, b.cost);
  if (/^([=!<>]=|[<>]|&&|\|\|)$/.test(operator)) return { type: INTEGER, cost };
  const wider = b.type.size > a.type.size ? b.type : a.type;
  if (!a.type.float || !b.type.float) return { type: wider, cost };
  if (operator === "/") {
    return { type: wider, cost: sumCosts(cost, { ...NO_COST, others: SLOW * wider.size }) };
  }
  if (operator !== "*") return { type: wider, cost };
  const { type, products } = product(a.type, b.type);
  return { type, cost: sumCosts(cost, { ...NO_COST, multiplyAdds: products }) };
}

function product(a: WgslType, b: WgslType): { type: WgslType; products: number } {
  if (a.columns && b.columns) {
    const rows = a.size / a.columns;
    return { type: { ...b, size: rows * b.columns }, products: a.size * b.columns };
  }
  if (a.columns && b.size > 1) return { type: { ...b, size: a.size / a.columns }, products: a.size };
  if (b.columns && a.size > 1) return { type: { ...a, size: b.columns }, products: b.size };
  const type = b.size > a.size ? b : a;
  return { type, products: type.size };
}

function builtinType(name: string, widest: WgslType): WgslType {
  return SCALAR_RESULT.test(name) ? { ...widest, size: 1 } : widest;
}

function builtinCost(name: string, { size, float }: WgslType): Cost {
  if (name === "fma" || name === "dot") return { ...NO_COST, multiplyAdds: size };
  if (SLOW_FUNCTIONS.test(name)) return { ...NO_COST, others: SLOW * size };
  return float ? { ...NO_COST, others: size } : NO_COST;
}
