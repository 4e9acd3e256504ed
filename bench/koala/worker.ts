/**
 * The child process that measures koala-lm itself.
 *
 * @module
 */
import { measureCeilings } from "../../gpu/measure/ceilings.ts";
import { requestGpu } from "../../gpu/device.ts";
import type { Case } from "../protocol.ts";
import { type Prepared, serve } from "../serve.ts";
import { prepareGeneration } from "./generation.ts";
import { prepareMatmul } from "./matmul.ts";
import { prepareStep } from "./step.ts";
import { prepareUpdate } from "./update.ts";

const gpu = await requestGpu();

await serve(gpu.description, (what: Case): Promise<Prepared> => {
  switch (what.kind) {
    case "matmul":
      return prepareMatmul(gpu, what);
    case "step":
      return prepareStep(gpu, what);
    case "update":
      return prepareUpdate(gpu, what);
    case "generation":
      return prepareGeneration(gpu, what);
    case "tokenizer":
      throw new Error("a GPU's process can measure no tokenizer");
  }
}, () => measureCeilings(gpu));
