/**
 * Node's transform streams, used as functions from one iterable to another.
 *
 * @module
 */

import type { Duplex } from "node:stream";

/**
 * Sends a stream of pieces through a transform. At most a few pieces are waiting at a time.
 *
 * @param source The pieces that go in; read no faster than they are taken.
 * @param transform A transform that was not used before; destroyed in the end.
 * @returns What comes out of it.
 *
 * @throws What the source or the transform throws.
 */
export async function* throughNode(
  source: AsyncIterable<unknown>,
  transform: Duplex,
): AsyncGenerator<unknown> {
  const { pipeline, Readable } = await import("node:stream");
  let failure: unknown;
  const input = Readable.from(source);
  pipeline(input, transform, (error) => failure = error ?? undefined);
  try {
    yield* transform as AsyncIterable<unknown>;
  } catch (error) {
    throw failure ?? error;
  } finally {
    input.destroy();
    transform.destroy();
  }
}
