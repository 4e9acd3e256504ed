/**
 * jax-js in a process of its own: `jax.mjs SPECIFIER DEVICE`. It is imported by a computed specifier, so that the
 * library's checks and lock file know nothing of it.
 */
import { serve } from "../serve.ts";
import { jaxCases } from "./jax_cases.mjs";

const [specifier, device] = Deno.args;
await serve(device, await jaxCases(await import(specifier), device));
