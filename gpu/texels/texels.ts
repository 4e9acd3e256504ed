/**
 * Texels: a copy of a tensor in a texture, for kernels that read it again and again on a CPU.
 *
 * Mesa's software adapter reads a vec4f of a buffer as four values of each lane, every one behind a comparison with the
 * buffer's length: 310 instructions for 8 lanes of Mesa 25.0, and more of 22.3. A texel of a storage texture is one load
 * of a lane behind one comparison for all: 60. The copy is the driver's memcpy.
 *
 * Component c of the texel in column t % 1024 of row t / 1024 is the tensor's value 4 t + c.
 *
 * @module
 */
import { Storage, Tensor } from "../tensor.ts";

/** Texels in a row of a texture. */
const ROW_TEXELS = 1024;
const TEXEL_BYTES = 16;
const ROW_BYTES = ROW_TEXELS * TEXEL_BYTES;
/** What a texture holds at most: every adapter has textures of 8,192 rows. */
export const MOST_TEXEL_BYTES = 8192 * ROW_BYTES;

/** What holds the texels; each component is one f32. */
export const TEXEL_FORMAT: GPUTextureFormat = "rgba32float";

/** Whether an adapter reads texels faster than buffers, as Mesa's software adapter does. */
export function prefersTexels(
  { isSoftware, subgroupSize }: { readonly isSoftware: boolean; readonly subgroupSize: number },
): boolean {
  return isSoftware && subgroupSize === 8;
}

/** Whether a tensor has texels: of f32, with a size that is a multiple of 4, and at most 128 MiB. */
export function hasTexels({ dtype, size, byteLength }: Tensor): boolean {
  return dtype === "f32" && size % 4 === 0 && byteLength <= MOST_TEXEL_BYTES;
}

/**
 * Describes texels of a tensor's shape.
 *
 * @param from A tensor that {@linkcode hasTexels}.
 * @param kind Of their texture: shared as activations are, or kept as an input.
 */
export function texelsOf(from: Tensor, kind: "activation" | "input"): Tensor {
  const label = `${from.label}.texels`;
  const bytes = Math.ceil(from.byteLength / ROW_BYTES) * ROW_BYTES;
  const storage = new Storage(kind, bytes, label, "texture");
  return new Tensor(from.shape, from.dtype, { storage, byteOffset: 0 }, false, label);
}

/** WGSL that declares texels under a name, and the function `NAME_texel(i)` that reads the i-th vec4f of the tensor. */
export function declareTexels(binding: number, name: string): string {
  return `@group(0) @binding(${binding}) var ${name}: texture_storage_2d<${TEXEL_FORMAT}, read>;
fn ${name}_texel(i: u32) -> vec4f { return textureLoad(${name}, vec2u(i % ${ROW_TEXELS}u, i / ${ROW_TEXELS}u)); }`;
}

/** WGSL that reads the i-th vec4f of what is bound under a name: texels, or an array of vec4f. */
export function vectorAt(name: string, inTexels: boolean): (i: string) => string {
  return inTexels ? (i) => `${name}_texel(${i})` : (i) => `${name}[${i}]`;
}

/** Creates a texture for so many bytes of texels. */
export function createTexture(device: GPUDevice, label: string, bytes: number): GPUTexture {
  return device.createTexture({
    label,
    size: [ROW_TEXELS, bytes / ROW_BYTES],
    format: TEXEL_FORMAT,
    usage: GPUTextureUsage.STORAGE_BINDING | GPUTextureUsage.COPY_DST,
  });
}

/** Encodes the copy of `byteLength` bytes of a buffer from `offset` on: whole rows, then what is left. */
export function encodeTexelCopy(
  encoder: GPUCommandEncoder,
  { buffer, offset, byteLength }: {
    readonly buffer: GPUBuffer;
    readonly offset: number;
    readonly byteLength: number;
  },
  texture: GPUTexture,
): void {
  const rows = Math.floor(byteLength / ROW_BYTES);
  const rest = (byteLength - rows * ROW_BYTES) / TEXEL_BYTES;
  const copy = (row: number, width: number, height: number) =>
    encoder.copyBufferToTexture(
      { buffer, offset: offset + row * ROW_BYTES, bytesPerRow: ROW_BYTES },
      { texture, origin: [0, row] },
      [width, height],
    );
  if (rows > 0) copy(0, ROW_TEXELS, rows);
  if (rest > 0) copy(rows, rest, 1);
}

/** How many copies are remembered: those of a layer's products in its backward pass. */
const REMEMBERED = 4;

/**
 * The newest copies that still hold what their tensors hold, so that kernels near each other share one. Older ones are
 * forgotten, since their textures would be kept meanwhile.
 */
export class TexelCopies {
  #copies: { readonly from: Tensor; readonly texels: Tensor }[] = [];

  /** A tensor's texels, if they are remembered. */
  find({ storage, byteOffset, byteLength }: Tensor): Tensor | undefined {
    return this.#copies.find(({ from }) =>
      from.storage === storage && from.byteOffset === byteOffset && from.byteLength === byteLength
    )?.texels;
  }

  /** Remembers a copy. */
  add(from: Tensor, texels: Tensor): void {
    this.#copies = [{ from, texels }, ...this.#copies].slice(0, REMEMBERED);
  }

  /** Forgets copies of a storage that is written. */
  written(storage: Storage): void {
    this.#copies = this.#copies.filter(({ from }) => from.storage !== storage);
  }

  /** Forgets all, where a part of the recording ends that may be recorded again or left out. */
  clear(): void {
    this.#copies = [];
  }
}
