// @ts-check
/**
 * From logits to the distribution that a token is drawn from, as the service's engine does it: the same steps in the
 * same order, with the same rounding (scores in single precision, sums in double). Golden vectors compare the two.
 */

/** @typedef {import("../engine/types.js").Settings} Settings */

const ID_ROOM = 0x100000;

/**
 * By rank: `ids`, likeliest first, lower id first among equals; `scored`, probabilities after penalties and temperature;
 * `drawn`, those of what the filters keep, 0 for the rest. By token id: `raw`, the model's own.
 * @typedef {{ids: Uint32Array, raw: Float64Array, scored: Float64Array, drawn: Float64Array, numKept: number}} Distribution
 */

/**
 * @param {Float32Array} logits by token id
 * @param {readonly number[]} history tokens of prompt and reply
 * @param {number} numPrompt how many of them are the prompt's
 * @param {Settings} settings what is left out is off
 * @param {number | null} stopId the token that ends a reply
 * @returns {Distribution}
 */
export function distributionOf(logits, history, numPrompt, settings, stopId) {
  const scores = logits.slice();
  penalize(scores, history, numPrompt, settings);
  banRepeats(scores, history, settings.no_repeat_ngram_size ?? 0);
  if (stopId !== null && history.length - numPrompt < (settings.min_new_tokens ?? 0)) scores[stopId] = -Infinity;
  const temperature = Math.fround(settings.temperature ?? 1);
  if (temperature > 0) for (let i = 0; i < scores.length; i += 1) scores[i] /= temperature;
  const ids = ranked(scores);
  const weights = new Float64Array(ids.length);
  const raw = new Float64Array(ids.length);
  // NOTE: plain loops: with callbacks, GPT-2's vocabulary would take five times as long.
  for (let rank = 0; rank < ids.length; rank += 1) {
    weights[rank] = Math.exp(scores[ids[rank]] - scores[ids[0]]);
    raw[rank] = Math.exp(logits[rank] - logits[ids[0]]);
  }
  const scored = shares(weights);
  if (temperature === 0) weights.fill(0, 1);
  else filter(weights, settings);
  let numKept = 0;
  for (let rank = 0; rank < weights.length; rank += 1) if (weights[rank] > 0) numKept += 1;
  return { ids, raw: shares(raw), scored, drawn: shares(weights), numKept };
}

/** In bits: how open the choice is. @param {Float64Array} probabilities */
export function entropyOf(probabilities) {
  let sum = 0;
  for (let i = 0; i < probabilities.length; i += 1) if (probabilities[i] > 0) sum -= probabilities[i] * Math.log2(probabilities[i]);
  return sum;
}

/** @param {Float32Array} scores @param {readonly number[]} history @param {number} numPrompt @param {Settings} settings */
function penalize(scores, history, numPrompt, settings) {
  const repetition = Math.fround(settings.repetition_penalty ?? 1);
  if (repetition !== 1) for (const id of new Set(history)) scores[id] = scores[id] < 0 ? scores[id] * repetition : scores[id] / repetition;
  const presence = Math.fround(settings.presence_penalty ?? 0);
  const frequency = Math.fround(settings.frequency_penalty ?? 0);
  /** @type {Map<number, number>} */ const counts = new Map();
  for (const id of history.slice(numPrompt)) counts.set(id, (counts.get(id) ?? 0) + 1);
  for (const [id, count] of counts) scores[id] -= Math.fround(Math.fround(frequency * count) + presence);
}

/** No run of `size` tokens comes twice. @param {Float32Array} scores @param {readonly number[]} history @param {number} size */
function banRepeats(scores, history, size) {
  if (size === 0) return;
  const recent = history.length - size + 1;
  for (let start = 0; start < recent; start += 1) {
    let same = 0;
    while (same < size - 1 && history[start + same] === history[recent + same]) same += 1;
    if (same === size - 1) scores[history[start + same]] = -Infinity;
  }
}

/** Ids by score, highest first, then by id. @param {Float32Array} scores */
function ranked(scores) {
  const bits = new Uint32Array(scores.buffer);
  // Numbers that sort themselves: a float's bits, turned so that higher scores come first, and its id below them.
  const keys = new Float64Array(bits.length);
  for (let id = 0; id < bits.length; id += 1) keys[id] = (bits[id] >>> 31 ? bits[id] : 0x7fffffff - bits[id]) * ID_ROOM + id;
  keys.sort();
  const ids = new Uint32Array(bits.length);
  for (let rank = 0; rank < ids.length; rank += 1) ids[rank] = keys[rank] % ID_ROOM;
  return ids;
}

/** What filters drop becomes 0. @param {Float64Array} weights by rank, the first is 1 @param {Settings} settings */
function filter(weights, { top_k = 0, top_p = 1, min_p = 0, typical_p = 1 }) {
  const border = top_k > 0 ? weights[Math.min(top_k, weights.length) - 1] : 0;
  for (let rank = weights.length - 1; weights[rank] < border; rank -= 1) weights[rank] = 0;
  const most = top_p < 1 ? top_p * sumOf(weights) : Infinity;
  let above = 0;
  for (let rank = 0; rank < weights.length; rank += 1) {
    const weight = weights[rank];
    if ((above >= most && rank > 0) || weight < min_p) weights[rank] = 0;
    above += weight;
  }
  if (typical_p < 1) keepTypical(weights, typical_p);
}

/** Those whose surprise is nearest to the expected one, up to a probability. @param {Float64Array} weights @param {number} mass */
function keepTypical(weights, mass) {
  const probabilities = shares(weights);
  const expected = entropyOf(probabilities) * Math.LN2;
  const distances = probabilities.map((p) => Math.abs(-Math.log(p) - expected));
  const order = Uint32Array.from(distances.keys()).sort((a, b) => distances[a] - distances[b] || a - b);
  let sum = 0;
  let place = 0;
  while (place < order.length - 1 && (sum += probabilities[order[place]]) < mass) place += 1;
  distances.forEach((each, rank) => each > distances[order[place]] && (weights[rank] = 0));
}

/** @param {Float64Array} values */
function sumOf(values) {
  let sum = 0;
  for (let i = 0; i < values.length; i += 1) sum += values[i];
  return sum;
}

/** @param {Float64Array} weights */
function shares(weights) {
  const total = sumOf(weights);
  const all = new Float64Array(weights.length);
  for (let i = 0; i < all.length; i += 1) all[i] = weights[i] / total;
  return all;
}
