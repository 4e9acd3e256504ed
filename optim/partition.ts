/**
 * Several optimizers in one run, each with parameters of its own.
 *
 * @module
 */
import type { Parameter } from "../gpu/parameters.ts";
import type { Optimizer } from "./optimizer.ts";

/** A rule of a {@linkcode partition}. */
export interface PartitionRule {
  /** Which parameters the optimizer owns; default all that are left. */
  readonly owns?: (parameter: Parameter) => boolean;
  /** Their optimizer. */
  readonly optimizer: Optimizer;
}

/** Optimizers and the rules by which they share the parameters. Made by {@linkcode partition}. */
export interface OptimizerPartition {
  /** The optimizers in the order of the rules. */
  readonly optimizers: readonly Optimizer[];
  /**
   * The trainable parameters of each optimizer; each belongs to the first that owns it.
   *
   * @throws {RangeError} If a parameter belongs to none.
   */
  groups(parameters: readonly Parameter[]): Parameter[][];
}

/** True for the weight matrices inside of the blocks: neither embeddings nor head, norms or biases. */
export function hiddenMatrices(parameter: Parameter): boolean {
  return parameter.role === "matrix";
}

/**
 * Gives each parameter to the first optimizer that owns it.
 *
 * @param rules In order; a last rule without `owns` takes the rest.
 * @throws {RangeError} If there are no rules, or two optimizers have the same name.
 *
 * @example KOALA++ on the hidden weight matrices, AdamW on the rest
 * ```ts
 * import { deepEqual } from "node:assert/strict";
 * import { adamw } from "./adamw.ts";
 * import { koalaPlusPlus } from "./koala/koala_plus_plus.ts";
 *
 * const { optimizers } = partition([
 *   { owns: hiddenMatrices, optimizer: koalaPlusPlus({ lr: 0.02 }) },
 *   { optimizer: adamw({ lr: 0.006 }) },
 * ]);
 * deepEqual(optimizers.map((o) => o.name), ["koala_plus_plus", "adamw"]);
 * ```
 */
export function partition(rules: readonly PartitionRule[]): OptimizerPartition {
  const names = rules.map((r) => r.optimizer.name);
  if (rules.length === 0 || new Set(names).size !== names.length) {
    throw new RangeError(
      `A partition needs optimizers of different names, got ${names.join(", ") || "none"}`,
    );
  }
  return {
    optimizers: rules.map((r) => r.optimizer),
    groups(parameters) {
      const groups: Parameter[][] = rules.map(() => []);
      for (const parameter of parameters) {
        if (!parameter.trainable) continue;
        const owner = rules.findIndex(({ owns }) => !owns || owns(parameter));
        if (owner < 0) {
          throw new RangeError(
            `Every parameter needs an optimizer, but none owns ${parameter.name}; add a last rule without owns`,
          );
        }
        groups[owner].push(parameter);
      }
      return groups;
    },
  };
}
