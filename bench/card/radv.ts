/**
 * A process of `deno task card`: compiles SPIR-V with the Vulkan driver that the environment chooses, and says what
 * its compiler made of it. Standard input has a JSON array of modules in base64; standard output gets a line of JSON
 * that names the driver, then one {@linkcode Compiled} for each module, so that a crash shows where it was.
 *
 * @module
 */
import {
  addressOf,
  allocate,
  cString,
  type Field,
  type Loader,
  openLoader,
  question,
  stringAt,
  struct,
  succeeded,
  uint32At,
  uint64At,
} from "./vulkan.ts";

/** The driver. */
export interface Driver {
  /** The card that it compiles for, such as `AMD NAVI31 (RADV NAVI31)`. */
  readonly card: string;
  /** The driver's version, such as `Mesa 25.0.7`. */
  readonly version: string;
}

/** What the compiler says of a module. */
export interface Compiled {
  /** Its statistics by the driver's names, such as `VGPRs`. */
  readonly statistics: Readonly<Record<string, number>>;
  /** Threads of a wave. */
  readonly waveSize: number;
  /** The machine code in words; undefined where the driver has no disassembler. */
  readonly assembly?: string;
}

// Structs begin with their type, a number of Vulkan's registry, and a pointer to another one: 16 bytes.

/** `VK_MAX_DESCRIPTION_SIZE`: names and descriptions have this many bytes each. */
const WORDS = 256;
/** 1.3. */
const API_VERSION = 1 << 22 | 3 << 12;
/** More than any kernel has. */
const BINDINGS = 32;
/** The module's entry point: naga keeps the name. */
const ENTRY = "main";
/** `VK_PIPELINE_CREATE_CAPTURE_STATISTICS_BIT_KHR` and `..._INTERNAL_REPRESENTATIONS_BIT_KHR`. */
const CAPTURE = 0x40 | 0x80;
/** `VK_SHADER_STAGE_COMPUTE_BIT`. */
const COMPUTE = 0x20;
/** As wgpu has them enabled where there are any; with them naga leaves bounds of buffers to the driver. */
const EXTENSIONS = ["VK_KHR_pipeline_executable_properties", "VK_EXT_robustness2"];
/** The types of the structs that tell features: 1.1, 1.2, 1.3 and those of {@linkcode EXTENSIONS}. */
const FEATURES = [49, 51, 53, 1000269000, 1000286000];

if (import.meta.main) {
  const modules: string[] = await new Response(Deno.stdin.readable).json();
  const loader = openLoader();
  const { physical, driver } = openCard(loader);
  console.log(JSON.stringify(driver));
  const compile = compiler(loader, openDevice(loader, physical));
  for (const module of modules) console.log(JSON.stringify(compile(Uint8Array.fromBase64(module))));
}

function openCard(loader: Loader): { physical: bigint; driver: Driver } {
  const application = struct(0, null, null, 0, null, 0, API_VERSION);
  const instance = allocate(8);
  const info = struct(1, null, 0, application, 0, null, 0, null);
  succeeded("vkCreateInstance", loader.vkCreateInstance(info, null, instance));
  // There is one: the environment has chosen the driver, and RADV's null device is alone.
  const [count, physical] = [struct(1), allocate(8)];
  succeeded(
    "vkEnumeratePhysicalDevices",
    loader.vkEnumeratePhysicalDevices(uint64At(instance), count, physical),
  );
  if (uint32At(count) === 0) throw new Error("the driver gives no card: it knows no such --family");
  const driver = allocate(1024);
  driver.set(struct(1000196000, null));
  const properties = allocate(1024);
  properties.set(struct(1000059001, driver));
  loader.vkGetPhysicalDeviceProperties2(uint64At(physical), properties);
  return {
    physical: uint64At(physical),
    driver: { card: stringAt(properties, 16 + 20), version: stringAt(driver, 16 + 4 + WORDS) },
  };
}

/** Opens a device with every feature of {@linkcode FEATURES} that there is. */
function openDevice(loader: Loader, physical: bigint): bigint {
  let features: Uint8Array<ArrayBuffer> | null = null;
  for (const type of [...FEATURES, 1000059000]) {
    const next: Uint8Array<ArrayBuffer> = allocate(512);
    next.set(struct(type, features));
    features = next;
  }
  loader.vkGetPhysicalDeviceFeatures2(physical, features!);
  const priority = allocate(4);
  new DataView(priority.buffer).setFloat32(0, 1, true);
  const names = struct(...EXTENSIONS.map(cString));
  const device = allocate(8);
  const queue = struct(2, null, 0, 0, 1, priority);
  const info = struct(3, features, 0, 1, queue, 0, null, EXTENSIONS.length, names, null);
  succeeded("vkCreateDevice", loader.vkCreateDevice(physical, info, null, device));
  return uint64At(device);
}

function compiler(loader: Loader, device: bigint): (module: Uint8Array) => Compiled {
  type Create = "vkCreateDescriptorSetLayout" | "vkCreatePipelineLayout" | "vkCreateShaderModule";
  const make = (what: Create, ...info: readonly Field[]) => {
    const made = allocate(8);
    succeeded(what, loader[what](device, struct(...info), null, made));
    return uint64At(made);
  };
  // Storage buffers, whose type is 7, one at each binding.
  const bindings = struct(...Array.from({ length: BINDINGS }, (_, i) => [i, 7, 1, COMPUTE, null]).flat());
  const set = make("vkCreateDescriptorSetLayout", 32, null, 0, BINDINGS, bindings);
  const layout = make("vkCreatePipelineLayout", 30, null, 0, 1, struct(set), 0, null);
  const describe = describer(loader, device);
  return (module) => {
    const code = allocate(module.length);
    code.set(module);
    const shader = make("vkCreateShaderModule", 16, null, 0, BigInt(code.length), code);
    const stage = [18, null, 0, COMPUTE, shader, cString(ENTRY), null];
    // The zero before the stage keeps it, which is a struct, at a multiple of 8 bytes.
    const info = struct(29, null, CAPTURE, 0, ...stage, layout, 0n, 0);
    const pipeline = allocate(8);
    succeeded(
      "vkCreateComputePipelines",
      loader.vkCreateComputePipelines(device, 0n, 1, info, null, pipeline),
    );
    return describe(uint64At(pipeline));
  };
}

function describer(loader: Loader, device: bigint): (pipeline: bigint) => Compiled {
  const getProperties = question(loader, device, "vkGetPipelineExecutablePropertiesKHR");
  const getStatistics = question(loader, device, "vkGetPipelineExecutableStatisticsKHR");
  const getTexts = question(loader, device, "vkGetPipelineExecutableInternalRepresentationsKHR");
  /** The answers, each a struct of so many bytes that begins with its type. */
  const answers = (get: typeof getTexts, info: Uint8Array<ArrayBuffer>, type: number, size: number) => {
    const count = allocate(4);
    get(info, count);
    const all = allocate(size * uint32At(count));
    const offsets = Array.from({ length: uint32At(count) }, (_, i) => i * size);
    for (const at of offsets) all.set(struct(type, null), at);
    get(info, count, all);
    return { all, offsets, again: () => get(info, count, all) };
  };
  return (pipeline) => {
    const properties = answers(getProperties, struct(1000269001, null, pipeline), 1000269002, 544);
    const info = struct(1000269003, null, pipeline, 0);
    const { all, offsets } = answers(getStatistics, info, 1000269004, 544);
    const statistics = Object.fromEntries(
      offsets.map((at) => [stringAt(all, at + 16), Number(uint64At(all, at + 536))]),
    );
    const texts = answers(getTexts, info, 1000269005, 552);
    // The first answers have lengths alone, the next fill in texts of these lengths.
    const contents = texts.offsets.map((at) => {
      const content = allocate(Number(uint64At(texts.all, at + 536)));
      texts.all.set(struct(addressOf(content)), at + 544);
      return content;
    });
    texts.again();
    const assembly = texts.offsets.findIndex((at) => stringAt(texts.all, at + 16) === "Assembly");
    return {
      statistics,
      waveSize: uint32At(properties.all, 16 + 4 + 2 * WORDS),
      ...(assembly < 0 ? {} : { assembly: stringAt(contents[assembly], 0) }),
    };
  };
}
