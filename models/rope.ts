/**
 * Rotary position embeddings in Hugging Face's config.json: `rope_theta` and `rope_scaling` as transformers 4
 * spells them, and `rope_parameters` as transformers 5 does.
 *
 * @module
 */
import type { RotaryOptions } from "../ops/rotary.ts";

/** A rotary position embedding under the keys of `rope_parameters`. */
export interface RopeParameters {
  /** `llama3` is Llama 3.1's scaling. */
  readonly rope_type: "default" | "llama3";
  /** Base of the frequencies; default 10,000. */
  readonly rope_theta: number;
  /** Of `llama3`: what the slowest frequencies are divided by. */
  readonly factor?: number;
  /** Of `llama3`: frequencies of at most so many turns are divided by the whole factor. */
  readonly low_freq_factor?: number;
  /** Of `llama3`: frequencies of at least so many turns stay. */
  readonly high_freq_factor?: number;
  /** Of `llama3`: the longest sequence of pretraining; default `max_position_embeddings`. */
  readonly original_max_position_embeddings?: number;
}

type Keys = Readonly<Record<string, unknown>>;

/**
 * Reads either spelling, or both where they say the same.
 *
 * @param config The content of config.json.
 * @param maxSeqLen Its `max_position_embeddings`.
 * @throws {RangeError} If a value is impossible, the spellings disagree or a kind is not supported.
 */
export function ropeParameters(config: Keys, maxSeqLen: number): RopeParameters {
  const places: [string, Keys][] = ["rope_parameters", "rope_scaling"].flatMap((place) => {
    const value = config[place];
    if (value === undefined || value === null) return [];
    if (typeof value === "object" && !Array.isArray(value)) return [[`${place}.`, value as Keys]];
    throw new RangeError(`Llama's ${place} must be an object, got ${JSON.stringify(value)}`);
  });
  const type = agreed("rope_type", places.map(([place, keys]) => [place, kindOf(keys)])) ?? "default";
  if (type !== "default" && type !== "llama3") {
    throw new RangeError(
      `Llama's rope_type is supported as default or llama3 only, got ${JSON.stringify(type)}`,
    );
  }
  const everywhere: [string, Keys][] = [["", config], ...places];
  const number = (key: string, fallback?: number) => {
    // transformers reads no scaling beside the objects, so one there would be ignored.
    const from = key === "rope_theta" || key === "original_max_position_embeddings" ? everywhere : places;
    const value = agreed(key, from.map(([place, keys]) => [place, keys[key]])) ?? fallback;
    if (typeof value === "number" && Number.isFinite(value) && value > 0) return value;
    throw new RangeError(`Llama's ${key} must be a positive number, got ${JSON.stringify(value)}`);
  };
  const partial = agreed(
    "partial_rotary_factor",
    everywhere.map(([p, keys]) => [p, keys.partial_rotary_factor]),
  );
  if (partial !== undefined && partial !== 1) {
    throw new RangeError(
      `Llama's partial_rotary_factor is supported as 1 only, got ${JSON.stringify(partial)}`,
    );
  }
  const rope_theta = number("rope_theta", 10_000);
  if (type === "default") return { rope_type: type, rope_theta };
  const factor = number("factor");
  const low_freq_factor = number("low_freq_factor");
  const high_freq_factor = number("high_freq_factor");
  const original_max_position_embeddings = number("original_max_position_embeddings", maxSeqLen);
  if (factor < 1) {
    throw new RangeError(`Llama's factor of rope_type llama3 must be at least 1, got ${factor}`);
  }
  if (low_freq_factor >= high_freq_factor) {
    throw new RangeError(
      `Llama's low_freq_factor must be below high_freq_factor, got ${low_freq_factor} and ${high_freq_factor}`,
    );
  }
  return {
    rope_type: type,
    rope_theta,
    factor,
    low_freq_factor,
    high_freq_factor,
    original_max_position_embeddings,
  };
}

/** Both spellings, so that transformers 4 and 5 read the same from one config.json. */
export function ropeKeys(rope: RopeParameters): Record<string, unknown> {
  const { rope_theta, ...scaling } = rope;
  return {
    rope_parameters: rope,
    rope_theta,
    // transformers 5 prefers rope_scaling where it is not null, and takes rope_theta from beside it.
    rope_scaling: rope.rope_type === "default" ? null : scaling,
  };
}

/** What the op needs of it. */
export function rotaryOptions(rope: RopeParameters): RotaryOptions {
  const theta = rope.rope_theta;
  if (rope.rope_type === "default") return { theta };
  return {
    theta,
    scaling: {
      factor: rope.factor!,
      lowFreqFactor: rope.low_freq_factor!,
      highFreqFactor: rope.high_freq_factor!,
      originalLength: rope.original_max_position_embeddings!,
    },
  };
}

/** Early files say `type` for `rope_type`. */
function kindOf(keys: Keys): unknown {
  return keys.rope_type ?? keys.type ?? (Object.keys(keys).length > 0 ? "default" : undefined);
}

/** The one value that is given, undefined where there is none. */
function agreed(key: string, values: readonly (readonly [string, unknown])[]): unknown {
  const given = values.filter(([, value]) => value !== undefined && value !== null);
  const other = given.find(([, value]) => value !== given[0][1]);
  if (!other) return given[0]?.[1];
  const said = [given[0], other].map(([place, value]) => `${place}${key} ${JSON.stringify(value)}`);
  throw new RangeError(`Llama's ${key} must be the same wherever it is given, got ${said.join(" and ")}`);
}
