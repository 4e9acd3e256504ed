/**
 * Sources as they were given, beside a configuration that has their addresses without what may be secret in them.
 *
 * @module
 */
import type { RunConfig } from "../../training/run/config.ts";

/** The options that name sources; none given: those of the configuration. */
export interface GivenSources {
  /** The text. */
  readonly data: readonly string[];
  /** What is held out. */
  readonly validationData: readonly string[];
}

/**
 * Prepares the data of a configuration from its sources as they were given, where they were.
 *
 * @param config The configuration.
 * @param given The options.
 * @param prepare Prepares the data of the configuration that it gets, which is not to be recorded.
 * @returns What `prepare` gives.
 * @throws {Error} The error of `prepare`. Where an address of which the configuration may lack something is
 * refused or out of reach, it says how to give that.
 */
export async function withGivenSources<T>(
  config: RunConfig,
  { data, validationData }: GivenSources,
  prepare: (config: RunConfig) => Promise<T>,
): Promise<T> {
  try {
    return await prepare({
      ...config,
      ...(data.length > 0 ? { data } : {}),
      ...(validationData.length > 0 ? { validationData } : {}),
    });
  } catch (error) {
    const recorded = [
      ...(data.length > 0 ? [] : config.data),
      ...(validationData.length > 0 ? [] : config.validationData ?? []),
    ];
    // What is in the cache of another address is of no use where there is no network.
    const isOfAddress = error instanceof Error &&
      /: the server answered 4\d\d\b|cannot be reached/.test(error.message);
    if (!(isOfAddress && recorded.some((source) => /^https?:/i.test(source)))) throw error;
    throw new Error(
      `${error.message}. A run records addresses without user name, password and query: if this one needs them, ` +
        "give --data and --validation-data again as they were",
      { cause: error },
    );
  }
}
