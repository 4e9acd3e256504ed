/**
 * As much of Vulkan as compiling a compute shader takes, by Deno's foreign function interface: neither a C compiler
 * nor headers are needed.
 *
 * @module
 */

/** A field of a C struct: a number is an `uint32_t`; a bigint, or bytes for their address, are as wide as a pointer. */
export type Field = number | bigint | Uint8Array<ArrayBuffer> | null;

/** Everything that an address was given of; the driver keeps addresses longer than we can know. */
const pinned: Uint8Array[] = [];

/** Zeroed memory at an address that stays. */
export function allocate(bytes: number): Uint8Array<ArrayBuffer> {
  // Over a buffer of its own: small typed arrays may otherwise lie where the garbage collector moves them.
  const memory = new Uint8Array(new ArrayBuffer(bytes));
  pinned.push(memory);
  return memory;
}

/** The address of some memory. */
export function addressOf(memory: Uint8Array<ArrayBuffer>): bigint {
  return BigInt(Deno.UnsafePointer.value(Deno.UnsafePointer.of(memory)));
}

/**
 * Lays fields out as a C compiler does on 64-bit machines.
 *
 * @param fields The fields in order; null is a null pointer.
 */
export function struct(...fields: readonly Field[]): Uint8Array<ArrayBuffer> {
  const offsets: number[] = [];
  let end = 0;
  for (const field of fields) {
    const size = typeof field === "number" ? 4 : 8;
    offsets.push(Math.ceil(end / size) * size);
    end = offsets.at(-1)! + size;
  }
  const memory = allocate(Math.ceil(end / 8) * 8);
  const view = new DataView(memory.buffer);
  fields.forEach((field, i) => {
    if (typeof field === "number") return view.setUint32(offsets[i], field, true);
    view.setBigUint64(offsets[i], field instanceof Uint8Array ? addressOf(field) : field ?? 0n, true);
  });
  return memory;
}

/** A null-terminated string. */
export function cString(text: string): Uint8Array<ArrayBuffer> {
  const bytes = new TextEncoder().encode(text + "\0");
  const memory = allocate(bytes.length);
  memory.set(bytes);
  return memory;
}

/** The null-terminated string at an offset. */
export function stringAt(memory: Uint8Array<ArrayBuffer>, offset: number): string {
  return new TextDecoder().decode(memory.subarray(offset, memory.indexOf(0, offset)));
}

/** The `uint32_t` at an offset. */
export function uint32At(memory: Uint8Array<ArrayBuffer>, offset = 0): number {
  return new DataView(memory.buffer).getUint32(offset, true);
}

/** The handle, pointer or `uint64_t` at an offset. */
export function uint64At(memory: Uint8Array<ArrayBuffer>, offset = 0): bigint {
  return new DataView(memory.buffer).getBigUint64(offset, true);
}

const handle = "u64";
const create = { parameters: [handle, "buffer", "pointer", "buffer"], result: "i32" } as const;
const ask = { parameters: [handle, "buffer", "buffer", "pointer"], result: "i32" } as const;
const fill = { parameters: [handle, "buffer"], result: "void" } as const;

/** The loader's functions. */
export type Loader = ReturnType<typeof openLoader>;

/**
 * Opens Vulkan's loader.
 *
 * @throws {Error} If it is not installed.
 */
export function openLoader() {
  return Deno.dlopen("libvulkan.so.1", {
    vkCreateInstance: { parameters: ["buffer", "pointer", "buffer"], result: "i32" },
    vkEnumeratePhysicalDevices: { parameters: [handle, "buffer", "buffer"], result: "i32" },
    vkGetPhysicalDeviceProperties2: fill,
    vkGetPhysicalDeviceFeatures2: fill,
    vkCreateDevice: create,
    vkGetDeviceProcAddr: { parameters: [handle, "buffer"], result: "pointer" },
    vkCreateDescriptorSetLayout: create,
    vkCreatePipelineLayout: create,
    vkCreateShaderModule: create,
    vkCreateComputePipelines: {
      parameters: [handle, handle, "u32", "buffer", "pointer", "buffer"],
      result: "i32",
    },
  }).symbols;
}

/**
 * A function of an extension that tells about a pipeline; the loader has no symbol for it.
 *
 * @param what Its name.
 * @returns The function. Without answers it tells into the count how many there are.
 * @throws {Error} If the driver does not have it.
 */
export function question(
  loader: Loader,
  device: bigint,
  what: string,
): (
  info: Uint8Array<ArrayBuffer>,
  count: Uint8Array<ArrayBuffer>,
  answers?: Uint8Array<ArrayBuffer>,
) => void {
  const address = loader.vkGetDeviceProcAddr(device, cString(what)) as Deno.PointerObject<typeof ask> | null;
  if (address === null) throw new Error(`the driver has no ${what}`);
  const call = new Deno.UnsafeFnPointer(address, ask);
  return (info, count, answers) => {
    const pointer = answers === undefined ? null : Deno.UnsafePointer.of(answers);
    succeeded(what, call.call(device, info, count, pointer));
  };
}

/**
 * Checks what a function of Vulkan returned.
 *
 * @throws {Error} If it failed.
 */
export function succeeded(what: string, result: number): void {
  // Positive results, such as that there is more, are no failures.
  if (result < 0) throw new Error(`${what} failed with ${result}`);
}
