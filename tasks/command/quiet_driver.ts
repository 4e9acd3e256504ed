/**
 * Keeps a graphics driver from printing an error that is none.
 *
 * @module
 */

const VARIABLE = "XDG_RUNTIME_DIR";

/**
 * Gives the environment an `XDG_RUNTIME_DIR` where it has none, as in most containers: to choose a device, Mesa 22's
 * Vulkan layer asks Wayland's library for a display, and that prints `error: XDG_RUNTIME_DIR is invalid or not set
 * in the environment.` whenever it is asked. To be called before the first `requestAdapter`.
 *
 * Without Deno's permission for this variable it does nothing.
 */
export function quietDriver(): void {
  if (Deno.build.os !== "linux") return;
  if (Deno.permissions.querySync({ name: "env", variable: VARIABLE }).state !== "granted") return;
  // No folder, so nobody can have put a display there; Wayland's library finds none and says nothing.
  if (!Deno.env.get(VARIABLE)) Deno.env.set(VARIABLE, "/dev/null");
}
