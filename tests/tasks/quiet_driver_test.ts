import { equal } from "node:assert/strict";
import { join } from "node:path";
import { startCommand, taskCommand } from "../cli.ts";

/** Runs a command without `XDG_RUNTIME_DIR` in its environment, and gives what it printed. */
async function withoutVariable(command: readonly string[]): Promise<{ stdout: string; driver: string[] }> {
  const { code, stdout, stderr } = await startCommand(["env", "-u", "XDG_RUNTIME_DIR", ...command]).output();
  const errors = new TextDecoder().decode(stderr);
  equal(code, 0, errors);
  return {
    stdout: new TextDecoder().decode(stdout),
    driver: errors.split("\n").filter((line) => line.includes("XDG_RUNTIME_DIR")),
  };
}

const ignore = Deno.build.os !== "linux";

Deno.test("a task shows no error of the driver where there is no XDG_RUNTIME_DIR", { ignore }, async () => {
  const bare = await withoutVariable([Deno.execPath(), "eval", "await navigator.gpu.requestAdapter()"]);
  if (bare.driver.length === 0) {
    console.log("skipped: the driver's error about XDG_RUNTIME_DIR: this driver has none (Mesa 22 has)");
    return;
  }
  equal((await withoutVariable(taskCommand("doctor", []))).driver.join("\n"), "");
});

Deno.test("quietDriver() sets XDG_RUNTIME_DIR where it may and there is none", { ignore }, async () => {
  const dir = await Deno.makeTempDir();
  try {
    const script = join(dir, "script.ts");
    await Deno.writeTextFile(
      script,
      `import { quietDriver } from ${
        JSON.stringify(new URL("../../tasks/command/quiet_driver.ts", import.meta.url))
      };
quietDriver();
if (Deno.args.length > 0) console.log(Deno.env.get("XDG_RUNTIME_DIR"));
else console.log("done");
`,
    );
    const run = [Deno.execPath(), "run", "--no-prompt", "--no-config"];
    const allowed = [...run, "--allow-env=XDG_RUNTIME_DIR", script, "print"];
    equal((await withoutVariable(allowed)).stdout, "/dev/null\n");
    equal((await withoutVariable(["env", "XDG_RUNTIME_DIR=/run/me", ...allowed])).stdout, "/run/me\n");
    equal((await withoutVariable([...run, script])).stdout, "done\n");
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
