/**
 * Which graphics adapters there are.
 *
 * WebGPU gives only the first that fits a power preference, and Deno keeps what the system says of cards (`/sys`,
 * `/proc`) from programs without all permissions. But drivers can be asked one by one: Vulkan's loader takes the
 * drivers of `VK_DRIVER_FILES` alone, and Deno the backends of `DENO_WEBGPU_BACKEND`. So two cards of the same driver
 * and kind show as one.
 *
 * @module
 */
import { basename, join } from "node:path";
import type { AdapterFacts } from "./adapter_worker.ts";

/** A way to be given an adapter. */
interface Way {
  /** A word of `DENO_WEBGPU_BACKEND`. */
  readonly backend: Backend;
  /** The JSON file of a Vulkan driver, where the loader takes such files. */
  readonly driverFile?: string;
}

/** An adapter and the way to it. */
export interface FoundAdapter extends AdapterFacts, Way {
  /** The Vulkan version that the driver's file names, such as `1.4.305`; a newer driver names a newer one. */
  readonly driverVulkan?: string;
}

/** Backends by Deno's words for them, and their names. */
export const BACKENDS = { vulkan: "Vulkan", metal: "Metal", dx12: "Direct3D 12", gl: "OpenGL" } as const;

type Backend = keyof typeof BACKENDS;

/** Those of each system, as Deno lists them; OpenGL only where there is nothing else. */
const OF_SYSTEM: Readonly<Record<string, readonly Backend[]>> = {
  linux: ["vulkan"],
  darwin: ["metal"],
  windows: ["dx12", "vulkan"],
};

/** Where Vulkan's loader looks for drivers on Linux, but for folders in the user's home. */
const DRIVER_FOLDERS = ["/etc/vulkan/icd.d", "/usr/local/share/vulkan/icd.d", "/usr/share/vulkan/icd.d"];

/** Drivers for processes of another word size, which the loader passes over. */
const OTHER_PROCESSES = /\.(i[3-6]86|x86|armhf|armv7\w*)\.json$/;
/** Drivers of software adapters. */
const SOFTWARE = /lvp|lavapipe|swiftshader/;

/** The variables that choose drivers; the second is the first's name in loaders before 1.3.207. */
const VARIABLES = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES", "DENO_WEBGPU_BACKEND"] as const;
type Variable = typeof VARIABLES[number];

/**
 * Backends that the user asked for by `DENO_WEBGPU_BACKEND`.
 *
 * @returns Nothing where there is no such variable, or Deno does not allow reading it.
 */
export function askedBackends(): readonly string[] | undefined {
  const variable: Variable = "DENO_WEBGPU_BACKEND";
  if (Deno.permissions.querySync({ name: "env", variable }).state !== "granted") return undefined;
  return Deno.env.get(variable)?.split(",");
}

/**
 * The adapters of this machine, each once, graphics cards before software adapters.
 *
 * @throws {Deno.errors.NotCapable} If Deno does not allow the variables that choose drivers.
 */
export async function listAdapters(): Promise<FoundAdapter[]> {
  const before = VARIABLES.map((name) => [name, Deno.env.get(name)] as const);
  try {
    const asked = askedBackends();
    const backends = (Object.keys(BACKENDS) as Backend[]).filter((backend) =>
      (asked ?? OF_SYSTEM[Deno.build.os] ?? ["vulkan"]).includes(backend)
    );
    const found: FoundAdapter[] = [];
    for (const backend of backends) found.push(...await adaptersOf(backend));
    if (found.length === 0 && asked === undefined) found.push(...await adaptersOf("gl"));
    return found.sort((a, b) => Number(a.software) - Number(b.software));
  } finally {
    for (const [name, value] of before) {
      value === undefined ? Deno.env.delete(name) : Deno.env.set(name, value);
    }
  }
}

/** Chooses the drivers of an adapter for all threads that have not asked for an adapter yet. */
export function useDriversOf({ backend, driverFile }: FoundAdapter): void {
  setDrivers(backend, driverFile === undefined ? undefined : [driverFile]);
}

async function adaptersOf(backend: Backend): Promise<FoundAdapter[]> {
  if (backend !== "vulkan" || Deno.build.os !== "linux") {
    setDrivers(backend);
    return (await ask()).map((facts) => ({ ...facts, backend }));
  }
  const files = driverFiles();
  const software = files.find((file) => SOFTWARE.test(basename(file)));
  const found: FoundAdapter[] = [];
  for (const driverFile of files) {
    const alone = software === undefined || SOFTWARE.test(basename(driverFile));
    // Without any adapter Deno prints an error, so that a driver is asked beside one that always has an adapter.
    setDrivers(backend, alone ? [driverFile] : [driverFile, software]);
    const facts = (await ask()).filter(({ software }) => alone || !software);
    const driverVulkan = readDriver(driverFile)?.api_version;
    found.push(...facts.map((facts) => ({ ...facts, backend, driverFile, driverVulkan })));
  }
  return found;
}

function setDrivers(backend: Backend, files?: readonly string[]): void {
  Deno.env.set("DENO_WEBGPU_BACKEND", backend);
  if (files === undefined) return;
  for (const name of ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"]) Deno.env.set(name, files.join(":"));
}

/** The JSON files of Vulkan's drivers, those that the environment names or else those that are installed. */
function driverFiles(): string[] {
  const named = Deno.env.get("VK_DRIVER_FILES") || Deno.env.get("VK_ICD_FILENAMES");
  const places = named ? named.split(":").filter(Boolean) : DRIVER_FOLDERS;
  const files = places.flatMap((place) => {
    if (place.endsWith(".json")) return [place];
    try {
      return [...Deno.readDirSync(place)].map(({ name }) => join(place, name)).sort();
    } catch {
      return []; // the loader passes over it as well
    }
  });
  return files.filter((file) => file.endsWith(".json") && !OTHER_PROCESSES.test(file) && readDriver(file));
}

function readDriver(file: string): { readonly api_version?: string } | undefined {
  try {
    return JSON.parse(Deno.readTextFileSync(file)).ICD;
  } catch {
    return undefined; // the loader passes over it as well
  }
}

/** What a new thread is given, with the drivers that are chosen now. */
async function ask(): Promise<readonly AdapterFacts[]> {
  const worker = new Worker(new URL("./adapter_worker.ts", import.meta.url), { type: "module" });
  try {
    return await new Promise((resolve, reject) => {
      worker.onmessage = ({ data }: MessageEvent<readonly AdapterFacts[]>) => resolve(data);
      worker.onerror = (event) => {
        event.preventDefault();
        reject(new Error(`Cannot ask for graphics adapters: ${event.message}`));
      };
      worker.postMessage(undefined);
    });
  } finally {
    worker.terminate();
  }
}
