/**
 * The client of the Hugging Face Hub, npm's `@huggingface/hub`, loaded when it is needed.
 *
 * @module
 */

// A variable, so that importing this module does not load the client.
const PACKAGE: string = "npm:@huggingface/hub@2.17.5";

/** What the package exports. */
export type HubClient = typeof import("npm:@huggingface/hub@2.17.5");

/**
 * Loads the client.
 *
 * @throws {Deno.errors.NotFound} If it is not in Deno's cache and cannot be fetched.
 */
export async function loadHubClient(): Promise<HubClient> {
  try {
    return await import(PACKAGE);
  } catch (cause) {
    throw new Deno.errors.NotFound(
      `The package that talks to the Hub must be in Deno's npm cache or be fetched from npm, and neither worked (${
        (cause as Error).message.split("\n")[0]
      }): run \`deno cache ${PACKAGE}\` once with a network`,
      { cause },
    );
  }
}
