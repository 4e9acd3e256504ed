import { ok } from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { join } from "node:path";

const root = fileURLToPath(new URL("../..", import.meta.url));

Deno.test("the README's library example runs as it stands", async () => {
  const readme = await Deno.readTextFile(join(root, "README.md"));
  const example = readme.match(/```ts\n(import[\s\S]*?)```/)?.[1];
  ok(example, "README.md must hold a ts example that starts with its imports");
  const dir = await Deno.makeTempDir();
  try {
    const mod = new URL("../../mod.ts", import.meta.url).href;
    const script = join(dir, "example.ts");
    await Deno.writeTextFile(script, example.replace('"./mod.ts"', JSON.stringify(mod)));
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-prompt", "--check", "--config", join(root, "deno.json"), script],
    }).output();
    const text = new TextDecoder().decode(stdout);
    ok(code === 0, new TextDecoder().decode(stderr));
    const losses = [...text.matchAll(/loss ([\d.]+)/g)].map((m) => Number(m[1]));
    ok(losses.length >= 2 && losses[losses.length - 1] < losses[0] * 0.7, `the loss must fall, got ${text}`);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
