/**
 * Golden files by way of `fetch`, which pages have, too.
 */
const folders = ["../../shared/golden/", "./golden/"];

/**
 * Reads a golden file: beside the checkout when the whole set is there, else the part kept in it.
 *
 * @param name Its path, such as `gpt2/config.json`.
 * @returns Its bytes, or undefined if neither place has it.
 */
export async function readGolden(name: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
  for (const folder of folders) {
    const url = new URL(folder + name, import.meta.url);
    const response = await fetch(url).catch((error) => {
      if (!/\(os error [23]\)/.test(error.message)) throw error; // no such file or folder
    });
    if (response?.ok) return await response.bytes();
  }
  return undefined;
}
