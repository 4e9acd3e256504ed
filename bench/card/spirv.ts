/**
 * A process of `deno task card`: makes pipelines of kernels on Mesa's lavapipe, which writes the SPIR-V that Deno's
 * naga gives it, to a folder. Standard input has a JSON array of WGSL; standard output gets one of SPIR-V in base64.
 *
 * @module
 */
import { join } from "node:path";

const NEEDS = "this needs Vulkan's loader (Debian: libvulkan1) and lavapipe of Mesa at least 25.0, " +
  "which writes one file of SPIR-V for each kernel";

if (import.meta.main) {
  const kernels: string[] = await new Response(Deno.stdin.readable).json();
  const folder = Deno.makeTempDirSync({ prefix: "koala_lm_card_" });
  try {
    Deno.env.set("MESA_SPIRV_DUMP_PATH", folder); // read by lavapipe whenever it gets SPIR-V
    console.log(JSON.stringify(await spirvOf(kernels, folder)));
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

async function spirvOf(kernels: readonly string[], folder: string): Promise<string[]> {
  const adapter = await navigator.gpu.requestAdapter();
  if (!adapter) throw new Error(`${NEEDS}: got no adapter`);
  const { limits } = adapter;
  const device = await adapter.requestDevice({
    requiredFeatures: ["shader-f16" as const].filter((name) => adapter.features.has(name)),
    requiredLimits: {
      maxStorageBufferBindingSize: limits.maxStorageBufferBindingSize,
      maxStorageBuffersPerShaderStage: Math.min(limits.maxStorageBuffersPerShaderStage, 16),
      maxComputeWorkgroupStorageSize: limits.maxComputeWorkgroupStorageSize,
      maxComputeInvocationsPerWorkgroup: limits.maxComputeInvocationsPerWorkgroup,
      maxComputeWorkgroupSizeX: limits.maxComputeWorkgroupSizeX,
    },
  });
  const spirv: string[] = [];
  for (const code of kernels) {
    takeFiles(folder); // what is there from before, such as the driver's own shaders
    device.pushErrorScope("validation");
    device.createComputePipeline({
      layout: "auto",
      compute: { module: device.createShaderModule({ code }) },
    });
    const error = await device.popErrorScope();
    if (error) throw new Error(`a kernel is refused: ${error.message}`);
    const files = takeFiles(folder);
    if (files.length !== 1) {
      throw new Error(`${NEEDS}: got ${files.length} files from ${adapter.info.description}`);
    }
    spirv.push(files[0].toBase64());
  }
  device.destroy();
  return spirv;
}

/** The contents of the files in a folder, which is empty then. */
function takeFiles(folder: string): Uint8Array[] {
  return [...Deno.readDirSync(folder)].map(({ name }) => {
    const path = join(folder, name);
    const content = Deno.readFileSync(path);
    Deno.removeSync(path);
    return content;
  });
}
