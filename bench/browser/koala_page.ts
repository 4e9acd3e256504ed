/**
 * koala-lm in a page: sets `answer`, by which {@link ./child.ts} asks.
 *
 * @module
 */
import { requestGpu } from "../../gpu/device.ts";
import { answers } from "../answers.ts";
import { prepareStep } from "../koala/step.ts";
import type { ModelCase } from "../protocol.ts";

const gpu = await requestGpu();
Object.assign(globalThis, {
  answer: answers(gpu.description, (what) => prepareStep(gpu, what as ModelCase)),
});
