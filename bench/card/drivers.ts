/**
 * The two drivers that `deno task card` needs, each in a process of its own: lavapipe to get SPIR-V, RADV to compile it.
 *
 * @module
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Compiled, Driver } from "./radv.ts";

/** Where distributions keep the descriptions of Vulkan drivers. */
const FOLDERS = ["/usr/share/vulkan/icd.d", "/usr/local/share/vulkan/icd.d", "/etc/vulkan/icd.d"];
/** What to do where one is missing. */
const REMEDY =
  "install Mesa's Vulkan drivers, at least version 25.0 (Debian and Ubuntu: mesa-vulkan-drivers; " +
  "Fedora: mesa-vulkan-drivers; Arch: vulkan-radeon and vulkan-swrast)";

/** The descriptions of both drivers. */
export interface DriverFiles {
  /** Mesa's software adapter. */
  readonly lavapipe: string;
  /** Mesa's driver of AMD's cards. */
  readonly radv: string;
}

/**
 * Finds both drivers.
 *
 * @param folder Where their descriptions are; default where distributions keep them.
 * @throws {Error} If one is missing; the message says which and what to do.
 */
export function findDrivers(folder?: string): DriverFiles {
  if (Deno.build.os !== "linux") {
    throw new Error(`this needs Linux, for Mesa's drivers, got ${Deno.build.os}`);
  }
  const folders = folder === undefined ? FOLDERS : [folder];
  const find = (name: string, prefix: string) => {
    const found = folders.flatMap(filesIn).find((path) =>
      path.includes(`/${prefix}`) && path.endsWith(".json") && !/i[36]86/.test(path)
    );
    if (found === undefined) {
      throw new Error(`this needs ${name}, got no ${prefix}*.json in ${folders.join(", ")}: ${REMEDY}`);
    }
    return found;
  };
  return { lavapipe: find("Mesa's lavapipe", "lvp_icd"), radv: find("Mesa's RADV", "radeon_icd") };
}

function filesIn(folder: string): string[] {
  try {
    return [...Deno.readDirSync(folder)].map(({ name }) => join(folder, name)).sort();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

/**
 * The SPIR-V that Deno makes of kernels.
 *
 * @param drivers The drivers; lavapipe is used.
 * @param kernels WGSL.
 * @returns SPIR-V in base64, as many.
 * @throws {Error} If a kernel is refused, or lavapipe is too old to give SPIR-V away.
 */
export async function toSpirv({ lavapipe }: DriverFiles, kernels: readonly string[]): Promise<string[]> {
  const flags = ["--allow-read", "--allow-write", "--allow-env=MESA_SPIRV_DUMP_PATH"];
  const { lines, failure } = await run("spirv.ts", flags, lavapipe, kernels);
  if (failure !== undefined) throw new Error(failure);
  return JSON.parse(lines[0]);
}

/**
 * Compiles SPIR-V for an AMD card that need not be there.
 *
 * @param drivers The drivers; RADV is used.
 * @param family The card's name in Mesa, such as `navi31`.
 * @param modules SPIR-V in base64.
 * @throws {Error} If the driver does not know the family, or fails; the message says at which module.
 */
export async function compileForCard(
  { radv }: DriverFiles,
  family: string,
  modules: readonly string[],
): Promise<{ driver: Driver; compiled: Compiled[] }> {
  const env = { RADV_FORCE_FAMILY: family };
  const { lines, failure } = await run("radv.ts", ["--allow-ffi"], radv, modules, env);
  const [driver, ...compiled] = lines.map((line) => JSON.parse(line));
  if (compiled.length === modules.length) return { driver, compiled };
  const where = driver === undefined ? `for ${family}` : `kernel ${compiled.length + 1} of ${modules.length}`;
  throw new Error(`RADV did not compile ${where}: ${failure}`);
}

/** Runs a program beside this file with one driver, to its end. */
async function run(
  program: string,
  flags: readonly string[],
  driver: string,
  input: unknown,
  env: Readonly<Record<string, string>> = {},
): Promise<{ lines: string[]; failure: string | undefined }> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", ...flags, fileURLToPath(new URL(program, import.meta.url))],
    // The loader knows the second name since 1.3.234 only. Compiled shaders that Mesa keeps have no statistics.
    env: {
      VK_ICD_FILENAMES: driver,
      VK_DRIVER_FILES: driver,
      MESA_SHADER_CACHE_DISABLE: "true",
      NO_COLOR: "1",
      ...env,
    },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const output = child.output();
  // A process that ends early closes the pipe; how it ended says more.
  await new Blob([JSON.stringify(input)]).stream().pipeTo(child.stdin).catch(() => {});
  const { success, code, signal, stdout, stderr } = await output;
  const text = (bytes: Uint8Array) =>
    new TextDecoder().decode(bytes).split("\n").filter((line) => line !== "");
  const said = text(stderr);
  const failure = said.find((line) => /^error: /.test(line))?.replace(/^error: (Uncaught .*?Error: )?/, "") ??
    said.at(-1);
  const ending = `the process ended with ${signal ?? `exit code ${code}`}`;
  const crash = [ending, ...said.slice(-1)].join(": ");
  return { lines: text(stdout), failure: success ? undefined : signal ? crash : failure ?? ending };
}
