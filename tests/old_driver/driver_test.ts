/**
 * Beside what else a process tests on Mesa 22.3: that it is Mesa 22.3. Both name themselves alike.
 *
 * @module
 */
import { deepEqual } from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { requestGpu } from "../../gpu/device.ts";

const folder = fileURLToPath(new URL("../../.cache/mesa-22.3/", import.meta.url));

Deno.test("the only software adapter in this process is that of Mesa 22.3", async () => {
  (await requestGpu()).destroy();
  // Deno itself may read this file with all permissions only.
  const { stdout } = await new Deno.Command("cat", { args: [`/proc/${Deno.pid}/maps`] }).output();
  const loaded = new Set(new TextDecoder().decode(stdout).match(/\/[^\n]*\/libvulkan_lvp\.so$/gm));
  deepEqual([...loaded].map((path) => path.replace(/usr\/lib\/[^/]+\//, "")), [`${folder}libvulkan_lvp.so`]);
});
