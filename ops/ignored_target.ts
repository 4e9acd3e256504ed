/**
 * The target that does not count, which losses here and batches in `data/` agree on.
 *
 * @module
 */

/** The target at a position that has none: it does not count, neither in the loss nor in the mean. Any id past the vocabulary acts so. */
export const IGNORED_TARGET = 0xffffffff;
