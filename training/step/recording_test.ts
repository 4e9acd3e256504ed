import { deepEqual } from "node:assert/strict";
import { microWeights, type StepInputs } from "./recording.ts";

const inputs = (...counts: number[]) => counts.map((count) => ({ targets: new Uint32Array(count) }));
const sampleCount = ({ targets }: StepInputs) => targets.length;

Deno.test("microWeights() are shares of all samples, on average 1, and 1 where nothing is known or counts", () => {
  deepEqual(microWeights(inputs(1, 2, 5), sampleCount), [0.375, 0.75, 1.875]);
  // To the last bit, whatever the number: then a step is that of the plain mean.
  deepEqual(microWeights(inputs(7, 7, 7), sampleCount), [1, 1, 1]);
  deepEqual(microWeights(inputs(0, 3), sampleCount), [0, 2]);
  deepEqual(microWeights(inputs(0, 0), sampleCount), [1, 1]);
  deepEqual(microWeights(inputs(1, 2, 5), undefined), [1, 1, 1]);
});
