/**
 * TensorFlow.js in a process of its own: `tfjs.mjs SPECIFIER BACKEND_SPECIFIER BACKEND`. It is imported by computed
 * specifiers, so that the library's checks and lock file know nothing of it.
 */
import { serve } from "../serve.ts";
import { tfjsCases } from "./tfjs_cases.mjs";

const [specifier, backendSpecifier, backend] = Deno.args;
const { default: tf } = await import(specifier);
await import(backendSpecifier);
await serve(backend, await tfjsCases(tf, backend));
