/**
 * A part of the bench.
 *
 * @module
 */
import type { Implementation, Runner } from "./implementations.ts";
import type { Heat } from "./table.ts";

/** What a section measures with. */
export interface SectionOptions {
  /** Samples of each contestant. */
  readonly rounds: number;
  /** Says what is being measured. */
  readonly say: (line: string) => void;
}

/** A part of the bench; its processes are started for it and ended after it. */
export interface Section {
  /** What `--only` calls it. */
  readonly name: string;
  /** Whether it is measured only where `--only` names it, since it takes what not every machine has; default false. */
  readonly onRequest?: boolean;
  /** Who takes part; the same implementation twice means two processes. */
  implementations(python: string | undefined): readonly Implementation[];
  /** Measures. The runners are in the order of the implementations. */
  measure(runners: readonly Runner[], options: SectionOptions): Promise<Heat[]>;
}
