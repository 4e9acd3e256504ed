/**
 * Which kernels attention takes: on a CPU adapter, where workgroup memory is as slow as any other and barriers are
 * dear, those of `row_kernels.ts`; on a graphics card those of `tiled_kernels.ts`, unless a head is too large.
 *
 * @module
 */
import type { Profile } from "../../gpu/device.ts";
import {
  type AttentionText,
  backwardKeysValuesWgsl,
  backwardQueriesWgsl,
  forwardWgsl,
  type GradientText,
  THREADS,
} from "./row_kernels.ts";
import { tiledBackwardKeysValuesWgsl, tiledBackwardQueriesWgsl, tiledForwardWgsl } from "./tiled_kernels.ts";
import { type Teams, type Tiles, tilesFor } from "./tiles.ts";

/** A kernel's WGSL, and how many queries or keys of a head a workgroup of it owns. */
export interface AttentionKernel {
  readonly body: string;
  readonly block: number;
}

/** The kernels of one attention, by what they compute. */
export interface AttentionKernels {
  /** o and l of the queries. */
  forward(): AttentionKernel;
  /** dq and D of the queries. */
  backwardQueries(dq: GradientText | undefined): AttentionKernel;
  /** dk and dv of the keys and values. */
  backwardKeysValues(dk: GradientText | undefined, dv: GradientText | undefined): AttentionKernel;
}

/** The kernels for an adapter. */
export function attentionKernels(profile: Profile, text: AttentionText): AttentionKernels {
  const kernel = (teams: Teams, byRows: () => string, tiled: (tiles: Tiles) => string): AttentionKernel => {
    const tiles = profile.isSoftware ? undefined : tilesFor(text.row.width * text.row.pieces, teams);
    return tiles ? { body: tiled(tiles), block: tiles.own } : { body: byRows(), block: THREADS };
  };
  return {
    forward: () => kernel("one", () => forwardWgsl(text), (tiles) => tiledForwardWgsl(text, tiles)),
    backwardQueries: (dq) =>
      kernel(
        "shared",
        () => backwardQueriesWgsl(text, dq),
        (tiles) => tiledBackwardQueriesWgsl(text, tiles, dq),
      ),
    backwardKeysValues: (dk, dv) =>
      kernel(
        "apart",
        () => backwardKeysValuesWgsl(text, dk, dv),
        (tiles) => tiledBackwardKeysValuesWgsl(text, tiles, dk, dv),
      ),
  };
}
