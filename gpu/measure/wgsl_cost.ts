/**
 * What a kernel's WGSL says of its speed, without a compiler: private values of a thread, and the loop that
 * multiplies most. An estimate, made from the text:
 *
 * - Private values are the floating point numbers of `var` and `let` that are needed at the same time, at most: each
 *   from its declaration to where it is named last in its block, or to the end of the loop that names it last where it was
 *   declared before that loop; and in a call those of the function. A compiler may keep fewer, by computing or loading them again, or more, for addresses.
 * - The hot loop is the one with the most multiply-adds in a turn, without the loops inside of it; the whole kernel
 *   where no loop has any. Calls count as what the function does; a loop within the function counts as one turn.
 *
 * @module
 */
import { type Cost, ExpressionReader, NO_COST, sumCosts, tokens, type WgslType } from "./wgsl_expression.ts";

/** The result of {@linkcode wgslCost}. */
export interface WgslCost {
  /** Floating point numbers that a thread keeps at the same time, at most; two of f16 are one. */
  readonly privateValues: number;
  /** A turn of the hot loop. */
  readonly hotLoop: Cost;
}

interface Loop {
  readonly start: number;
  end: number;
  cost: Cost;
}

interface Private {
  readonly name: string;
  readonly values: number;
  readonly from: number;
  to: number;
}

interface Body {
  readonly type: WgslType;
  readonly cost: Cost;
  readonly hot: Cost;
  readonly privateValues: number;
}

const NOTHING: WgslType = { size: 0, float: false, bytes: 4 };

/** Reads a kernel. */
export function wgslCost(code: string): WgslCost {
  const numbers = new Map(
    [...code.matchAll(/\bconst (\w+) = (\d+)u?;/g)].map(([, name, value]) => [name, value]),
  );
  const all = tokens(code.replaceAll(/\bconst \w+ = \d+u?;/g, "")).map((token) => {
    const number = numbers.get(token);
    return number === undefined ? token : `${number}u`;
  });
  const types = new Map<string, WgslType>();
  const functions = new Map<string, Body>();
  const scope = { type: (name: string) => types.get(name), call: (name: string) => functions.get(name) };
  const reader = new ExpressionReader(all, scope);
  let main: Body = { type: NOTHING, cost: NO_COST, hot: NO_COST, privateValues: 0 };
  while (reader.next !== "") {
    const token = reader.take();
    if (token === "alias" || token === "const") declare(reader, types, token);
    else if (token === "var") declareShared(reader, types);
    else if (token === "fn") {
      const name = reader.take();
      main = readFunction(reader, all, types, functions);
      functions.set(name, main);
    }
  }
  return { privateValues: Math.ceil(main.privateValues), hotLoop: main.hot };
}

/** `alias V = vec4f;` or `const N = 4u;`, after its first word. */
function declare(reader: ExpressionReader, types: Map<string, WgslType>, what: string): void {
  const name = reader.take();
  if (reader.took(":")) reader.type();
  reader.took("=");
  types.set(name, what === "alias" ? reader.type() : reader.expression().type);
}

/** `var<workgroup> tile: array<vec4f, 256>;` after its first word. */
function declareShared(reader: ExpressionReader, types: Map<string, WgslType>): void {
  let space: "workgroup" | "storage" | undefined;
  if (reader.took("<")) {
    while (!reader.took(">") && reader.next !== "") {
      const word = reader.take();
      if (word === "workgroup" || word === "storage") space = word;
    }
  }
  const name = reader.take();
  reader.took(":");
  types.set(name, { ...reader.type(), space });
}

/** From a function's parameters to its end. */
function readFunction(
  reader: ExpressionReader,
  all: readonly string[],
  types: Map<string, WgslType>,
  functions: ReadonlyMap<string, Body>,
): Body {
  const outer = new Map(types);
  let type = NOTHING;
  reader.took("(");
  while (!reader.took(")") && reader.next !== "") {
    const name = reader.take();
    if (name === "@") skipAttribute(reader);
    else if (reader.took(":")) types.set(name, parameterType(reader));
  }
  if (reader.took("->")) type = reader.type();
  const body = new BodyReader(reader, all, types, functions).read();
  types.clear();
  for (const [name, known] of outer) types.set(name, known);
  return { ...body, type };
}

function skipAttribute(reader: ExpressionReader): void {
  reader.take();
  if (!reader.took("(")) return;
  while (!reader.took(")") && reader.next !== "") reader.take();
}

function parameterType(reader: ExpressionReader): WgslType {
  if (!reader.took("ptr")) return reader.type();
  // `ptr<function, array<f32, 4>>`: what it points to is the caller's.
  reader.took("<");
  reader.take();
  reader.took(",");
  const type = reader.type();
  reader.took(">");
  return type;
}

/** Reads the statements of a function. */
class BodyReader {
  readonly #loops: Loop[] = [];
  readonly #open: (Loop | null)[] = [];
  /** Where the innermost open block's private values begin, and those of the blocks around it. */
  readonly #firsts: number[] = [];
  readonly #privates: Private[] = [];
  #cost: Cost = NO_COST;
  #start = 0;

  constructor(
    private readonly reader: ExpressionReader,
    private readonly all: readonly string[],
    private readonly types: Map<string, WgslType>,
    private readonly functions: ReadonlyMap<string, Body>,
  ) {}

  read(): Omit<Body, "type"> {
    const { reader } = this;
    this.#start = reader.at;
    let loop: Loop | null = null;
    do {
      const token = reader.next;
      if (token === "{") {
        this.#open.push(loop);
        this.#firsts.push(this.#privates.length);
        loop = null;
        reader.take();
      } else if (token === "}") {
        const closed = this.#open.pop();
        if (closed) closed.end = reader.at;
        // Those of blocks within have ended before.
        const ended = this.#privates.slice(this.#firsts.pop());
        for (const p of ended) p.to = Math.min(p.to, reader.at);
        reader.take();
      } else if (token === "for" || token === "while" || token === "loop") {
        loop = { start: reader.at, end: Infinity, cost: NO_COST };
        this.#loops.push(loop);
        reader.take();
        if (token === "for") this.#head();
      } else this.#statement();
    } while (this.#open.length > 0 && reader.next !== "");
    const hottest = this.#loops.reduce<Cost>(
      (best, { cost }) => cost.multiplyAdds > best.multiplyAdds ? cost : best,
      NO_COST,
    );
    const hot = hottest.multiplyAdds > 0 ? hottest : this.#cost;
    return { cost: this.#cost, hot, privateValues: this.#mostAtOnce() };
  }

  /** What stands in the parentheses of a `for`: counters, which are no floating point numbers. */
  #head(): void {
    let depth = 0;
    do {
      const token = this.reader.take();
      depth += token === "(" ? 1 : token === ")" ? -1 : 0;
    } while (depth > 0 && this.reader.next !== "");
  }

  #statement(): void {
    const { reader } = this;
    const token = reader.next;
    if (token === "var" || token === "let" || token === "const") return this.#declaration();
    if (/^[;,]$|^(else|return|if|break|continue|continuing|switch|case|default|:)$/.test(token)) {
      reader.take();
      return;
    }
    const before = reader.at;
    const target = reader.expression();
    // A store costs as a load does, but reads nothing.
    const store = { ...target.cost, workgroupBytes: 0 };
    const operator = reader.next;
    if (/^([-+*/%&|^]=|=)$/.test(operator)) {
      reader.take();
      const value = reader.expression();
      const multiplies = operator === "*=" && target.type.float ? target.type.size : 0;
      const reads = operator === "=" ? store : target.cost;
      this.#add(sumCosts(reads, value.cost, { ...NO_COST, multiplyAdds: multiplies }));
    } else this.#add(target.cost);
    if (reader.at === before) reader.take();
  }

  #declaration(): void {
    const { reader } = this;
    const word = reader.take();
    const from = reader.at;
    const name = reader.take();
    let type = reader.took(":") ? reader.type() : undefined;
    if (reader.took("=")) {
      const value = reader.expression();
      this.#add(value.cost);
      type ??= value.type;
    }
    type = { ...(type ?? NOTHING), space: undefined };
    this.types.set(name, type);
    if (word === "const" || !type.float) return;
    const values = type.size * type.bytes / 4;
    this.#privates.push({ name, values, from, to: Infinity });
  }

  #add(cost: Cost): void {
    const loop = this.#open.findLast((open) => open !== null);
    if (loop) loop.cost = sumCosts(loop.cost, cost);
    this.#cost = sumCosts(this.#cost, cost);
  }

  #mostAtOnce(): number {
    const { all, reader, functions } = this;
    const uses = new Map<string, number[]>(this.#privates.map(({ name }) => [name, []]));
    const live: Private[] = [];
    for (let i = this.#start; i < reader.at; i++) {
      uses.get(all[i])?.push(i);
      const values = functions.get(all[i])?.privateValues ?? 0;
      if (values > 0) live.push({ name: all[i], values, from: i, to: i });
    }
    for (const { name, values, from, to } of this.#privates) {
      const last = uses.get(name)!.findLast((use) => use < to) ?? from;
      const around = this.#loops.find((l) => l.start > from && l.start < last && last < l.end);
      live.push({ name, values, from, to: around ? around.end : last });
    }
    const atOnce = live.map(({ from }) =>
      live.reduce((sum, p) => p.from <= from && from <= p.to ? sum + p.values : sum, 0)
    );
    return Math.max(0, ...atOnce);
  }
}
