/**
 * Choosing the next tokens on the GPU, so that four bytes of each sequence come back and not all of its logits, and
 * so that the next token can be computed before they do. What `sampling.ts` says in float64 is done here in f32.
 *
 * A first kernel lays the logits out as [B, V] and applies the repetition penalty. In a second a workgroup owns a
 * sequence. Top-k and top-p are thresholds t, the largest that leave enough of
 *
 *     G(t) = sum of f(v) over the ids v with score(v) >= t
 *     top-k: f = 1, G(t) >= k    top-p: f = weight, G(t) >= p G(-infinity)
 *
 * They are found exactly and without sorting, digit by digit of the scores' bits in the order of the numbers: G never
 * rises with t, even rounded, since terms are added in the same order, and none makes a sum smaller. Of the ids at
 * top-p's threshold only the first stay. The draw goes through what is left in the order of ids, with the host's number
 * u, up to the first id at which the sum of weights passes u times the sum of all.
 *
 * @module
 */
import type { Profile } from "../../gpu/device.ts";
import type { Graph } from "../../gpu/graph.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { opaque, perThread, perWorkgroup } from "../../gpu/wgsl.ts";
import { hash32, hashWgsl } from "../../ops/random.ts";
import type { SamplingOptions } from "./sampling.ts";

/** Stands for a token where a logit is NaN. */
export const NAN_TOKEN = 0xffff_ffff;

/** Stands for a token where the largest logit is infinite. */
export const INFINITE_TOKEN = 0xffff_fffe;

/** What {@linkcode recordTokenChoice} takes. */
export interface TokenChoice {
  /** [B, V] in blocks of columns. */
  readonly logits: readonly Tensor[];
  /** u32 [B]: gets the chosen ids, for the next run. */
  readonly tokens: Tensor;
  /** u32 [B]: positions of the tokens in their sequences; each goes up by one. */
  readonly starts: Tensor;
  /** How many ids of a sequence `chosen` holds, R. */
  readonly kept: number;
}

/** What {@linkcode recordTokenChoice} gives. */
export interface ChosenTokens {
  /** [B, V]: the logits, after the repetition penalty. */
  readonly scores: Tensor;
  /** u32 [R, B]: what was chosen after position p stands in row p % R. */
  readonly chosen: Tensor;
}

/** A sequence as {@linkcode choiceInputs} needs it. */
export interface ChoosingSequence {
  /** How tokens are chosen, and the seed of the draws. */
  readonly options: SamplingOptions & { readonly seed?: number };
  /** All tokens of the sequence. */
  readonly ids: readonly number[];
  /** How many of its tokens were drawn. */
  readonly drawn: number;
  /** Its value in `starts`. */
  readonly start: number;
}

/** u32 values of a sequence in the input `sampling`. */
const OPTIONS = 8;

/**
 * Values of the inputs that {@linkcode recordTokenChoice} adds to a graph, before its first run and wherever a sequence
 * has changed otherwise than by the tokens that were chosen.
 *
 * @param sequences What is at each of the B places.
 * @param vocabSize Number of ids, V.
 * @returns Values by the input's name. `seen` is left out where no sequence needs it.
 */
export function choiceInputs(
  sequences: readonly (ChoosingSequence | undefined)[],
  vocabSize: number,
): Record<string, Uint32Array<ArrayBuffer>> {
  const sampling = new Uint32Array(sequences.length * OPTIONS);
  const floats = new Float32Array(sampling.buffer);
  const words = seenWords(vocabSize);
  const seen = new Uint32Array(sequences.length * words);
  let penalized = false;
  sequences.forEach((sequence, row) => {
    const at = row * OPTIONS;
    floats[at + 4] = 1;
    if (!sequence) return;
    const { options, ids, drawn, start } = sequence;
    const { temperature = 0.8, topK = 0, topP = 1, minP = 0, repetitionPenalty = 1, seed = 0 } = options;
    floats[at] = Math.min(temperature, 3e38);
    sampling[at + 1] = topK < vocabSize ? topK : 0;
    floats[at + 2] = topP;
    floats[at + 3] = minP;
    floats[at + 4] = repetitionPenalty;
    sampling[at + 5] = hash32(seed + 0x9e3779b9);
    sampling[at + 6] = drawn - start; // Counts on with the position, modulo 2^32.
    if (repetitionPenalty === 1) return;
    penalized = true;
    for (const id of ids) seen[row * words + (id >>> 5)] |= 1 << (id & 31);
  });
  return penalized ? { sampling, seen } : { sampling };
}

const seenWords = (vocabSize: number) => Math.ceil(vocabSize / 32);

/**
 * Records the choice of a token for each sequence. The graph gets the inputs `sampling` and `seen`, see
 * {@linkcode choiceInputs}.
 *
 * @param g The graph to record in.
 */
export function recordTokenChoice(
  g: Graph,
  { logits, tokens, starts, kept }: TokenChoice,
): ChosenTokens {
  const batch = tokens.size; // B
  const vocab = logits.reduce((sum, block) => sum + block.size / batch, 0); // V
  const words = seenWords(vocab);
  const sampling = { tensor: g.input("sampling", [batch, OPTIONS], "u32"), type: "vec4u" } as const;
  const seen = g.input("seen", [batch, words], "u32");
  const scores = g.output("scores", [batch, vocab]);
  const chosen = g.output("chosen", [kept, batch], "u32");
  let first = 0;
  for (const block of logits) {
    const width = block.size / batch;
    g.dispatch({
      label: "token_scores",
      read: { logits: block, sampling, seen },
      write: { scores },
      constants: { V: vocab, WORDS: words, FIRST: first, WIDTH: width },
      ...perThread({
        count: block.size,
        statements: `let row = i / WIDTH;
  let v = FIRST + i % WIDTH;
  let penalty = bitcast<f32>(sampling[2u * row + 1u].x);
  var score = logits[i];
  if (penalty != 1.0 && ((seen[row * WORDS + v / 32u] >> (v % 32u)) & 1u) == 1u) {
    score = select(score / penalty, score * penalty, score < 0.0);
  }
  scores[row * V + v] = score;`,
      }),
    });
    first += width;
  }
  const lanes = lanesPerSequence(g.profile);
  g.dispatch({
    label: "choose_tokens",
    read: { scores, sampling },
    write: { tokens, starts, chosen, seen },
    constants: { V: vocab, WORDS: words, B: batch, R: kept, LANES: lanes },
    ...perWorkgroup({ count: batch, index: "row", threads: lanes, functions: functions(lanes), statements }),
  });
  return { scores, chosen };
}

/** Threads that share a sequence: on a CPU adapter the lanes of a vector, since more would take turns. */
function lanesPerSequence(profile: Profile): number {
  return profile.isSoftware ? 8 : 256;
}

/** Terms that are added up before they are added to a sum, so that small ones do not vanish beside it. */
const RUN = 64;

const functions = (lanes: number) => `
${hashWgsl}
const LARGEST = 0xff800000u; // the key of infinity
const SMALLEST = 0x00800000u; // and that of its negative

var<workgroup> keys: array<u32, ${lanes}>;
var<workgroup> ids: array<u32, ${lanes}>;
var<workgroup> sums: array<vec4f, ${lanes}>;

var<private> own: u32; // the lane
var<private> first_score: u32;
var<private> top: f32;
var<private> temperature: f32;
var<private> min_p: f32;
// Only ids with this key or a larger one are left, and of those with this very key only those up to \`last_tie\`.
var<private> least: u32;
var<private> last_tie: u32;

// Bits that are in the order of the numbers. NaN, whatever its sign, is above all.
fn key_of(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  let magnitude = bits & 0x7fffffffu;
  let key = select(0x80000000u + magnitude, 0x80000000u - magnitude, bits > magnitude);
  return select(key, 0xffffffffu, magnitude > 0x7f800000u);
}

fn number_of(key: u32) -> f32 {
  let positive = key >= 0x80000000u;
  return bitcast<f32>(select((0x80000000u - key) | 0x80000000u, key - 0x80000000u, positive));
}

fn score(v: u32) -> f32 { return scores[first_score + v]; }

// exp((score - top) / temperature), which is 1 for the likeliest.
fn weight_of(x: f32) -> f32 {
  let z = (x - top) / temperature;
  return select(exp(max(z, -87.0)), 0.0, z < -87.0);
}

fn weight_if_left(v: u32) -> f32 {
  let x = score(v);
  let key = key_of(x);
  let w = weight_of(x);
  return select(0.0, w, (key > least || (key == least && v <= last_tie)) && w >= min_p);
}

// The largest score's key and the first id that has it.
fn find_top(groups: vec3u) {
  var best = 0u;
  var id = own;
  for (var v = own; v < ${opaque("V")}; v += LANES) {
    let key = key_of(score(v));
    if (key > best) { best = key; id = v; }
  }
  keys[own] = best;
  ids[own] = id;
  workgroupBarrier();
  for (var half = ${opaque("LANES / 2u")}; half > 0u; half >>= 1u) {
    if (own < half) {
      let other = own + half;
      if (keys[other] > keys[own] || (keys[other] == keys[own] && ids[other] < ids[own])) {
        keys[own] = keys[other];
        ids[own] = ids[other];
      }
    }
    workgroupBarrier();
  }
}

fn sum_over_lanes(part: vec4f, groups: vec3u) -> vec4f {
  workgroupBarrier();
  sums[own] = part;
  workgroupBarrier();
  for (var half = ${opaque("LANES / 2u")}; half > 0u; half >>= 1u) {
    if (own < half) { sums[own] += sums[own + half]; }
    workgroupBarrier();
  }
  return sums[0];
}

struct Threshold {
  key: u32,
  // What G must reach, and what it is above the threshold.
  wanted: f32,
  above: f32,
}

// The largest key at which G reaches \`count\` ids or, where that is 0, the share of the weights of all that are left.
fn threshold(count: f32, share: f32, groups: vec3u) -> Threshold {
  var found = Threshold(0u, count, 0.0);
  for (var digit = 0u; digit < ${opaque(16)}; digit++) {
    let step = 0x40000000u >> (2u * digit);
    let candidates = found.key + vec3u(step, 2u * step, 3u * step);
    var part = vec4f();
    for (var run = own; run < ${opaque("V")}; run += ${RUN}u * LANES) {
      var terms = vec4f();
      for (var v = run; v < min(run + ${RUN}u * LANES, V); v += LANES) {
        let x = score(v);
        let key = key_of(x);
        var f = 1.0;
        if (count == 0.0) { f = weight_of(x); }
        f = select(0.0, f, key >= least);
        terms += select(vec4f(), vec4f(f), vec4<bool>(vec3u(key) >= candidates, true));
      }
      part += terms;
    }
    let g = sum_over_lanes(part, groups);
    if (count == 0.0) { found.wanted = share * g.w; }
    let reached = g.xyz >= vec3f(found.wanted);
    if (!reached.x) { found.above = g.x; }
    else if (!reached.y) { found.above = g.y; found.key += step; }
    else if (!reached.z) { found.above = g.z; found.key += 2u * step; }
    else { found.key += 3u * step; }
  }
  return found;
}

// What a lane adds up of the ids that are its own: weights of what is left, or ones of the ids with the key \`least\`.
fn term(v: u32, ties: bool) -> f32 {
  if (ties) { return select(0.0, 1.0, key_of(score(v)) == least); }
  return weight_if_left(v);
}

// In the order of ids, the first of which the sum of terms passes \`target_sum\` (of ties) or that share of their sum.
fn locate(target_sum: f32, ties: bool, groups: vec3u) -> u32 {
  let chunk = (${opaque("V")} + LANES - 1u) / LANES;
  let end = min((own + 1u) * chunk, V);
  var sum = 0.0;
  for (var run = own * chunk; run < end; run += ${RUN}u) {
    var terms = 0.0;
    for (var v = run; v < min(run + ${RUN}u, end); v++) { terms += term(v, ties); }
    sum += terms;
  }
  workgroupBarrier();
  sums[own].x = sum;
  workgroupBarrier();
  var all = 0.0;
  for (var lane = 0u; lane < ${opaque("LANES")}; lane++) { all += sums[lane].x; }
  var left = select(all * target_sum, target_sum, ties);
  var rest = left;
  var owner = 0u;
  var is_found = false;
  for (var lane = 0u; lane < ${opaque("LANES")}; lane++) {
    let part = sums[lane].x;
    // Where rounding lets nobody pass, it is the last that has any.
    if (!is_found && part > 0.0) {
      owner = lane;
      rest = left;
    }
    is_found |= part > left;
    left -= part;
  }
  if (own == owner) {
    var before = 0.0;
    var id = own * chunk;
    var is_passed = false;
    for (var run = own * chunk; run < end && !is_passed; run += ${RUN}u) {
      var terms = 0.0;
      for (var v = run; v < min(run + ${RUN}u, end) && !is_passed; v++) {
        let f = term(v, ties);
        terms += f;
        if (f > 0.0) { id = v; }
        is_passed = before + terms > rest;
      }
      before += terms;
    }
    ids[0] = id;
  }
  workgroupBarrier();
  return ids[0];
}

// Draws one of the ids that the options leave. Calls are text once more to some compilers, hence the loops.
fn draw(top_k: u32, top_p: f32, u: f32, groups: vec3u) -> u32 {
  least = 0u;
  last_tie = V;
  var found: Threshold;
  for (var filter_by = 0u; filter_by < ${opaque(2)}; filter_by++) {
    if (select(top_k == 0u, top_p >= 1.0, filter_by == 1u)) { continue; }
    found = threshold(select(f32(top_k), 0.0, filter_by == 1u), top_p, groups);
    least = found.key;
  }
  let missing = ceil((found.wanted - found.above) / max(weight_of(number_of(least)), 1.0e-37));
  var id = 0u;
  for (var part = 0u; part < ${opaque(2)}; part++) {
    let ties = part == 0u;
    if (ties && top_p >= 1.0) { continue; }
    id = locate(select(u, clamp(missing, 1.0, f32(V)) - 0.5, ties), ties, groups);
    if (ties) { last_tie = id; }
  }
  return id;
}`;

const statements = `own = lane;
  first_score = row * V;
  let options = sampling[2u * row];
  let more = sampling[2u * row + 1u];
  temperature = bitcast<f32>(options.x);
  min_p = bitcast<f32>(options.w);
  let start = starts[row];
  find_top(groups);
  let top_key = keys[0];
  var token = ids[0];
  if (bitcast<f32>(options.x) > 0.0) {
    top = number_of(top_key);
    let hash = hash_combine(more.y, start + more.z);
    token = draw(options.y, bitcast<f32>(options.z), f32(hash >> 8u) / 16777216.0, groups);
  }
  if (lane > 0u) { return; }
  if (top_key > LARGEST) { token = ${NAN_TOKEN}u; }
  else if (top_key == LARGEST || top_key == SMALLEST) { token = ${INFINITE_TOKEN}u; }
  else { seen[row * WORDS + token / 32u] |= 1u << (token % 32u); }
  tokens[row] = token;
  starts[row] = start + 1u;
  chosen[(start % R) * B + row] = token;`;
