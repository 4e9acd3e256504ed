/** `doctor`, `--gpu`, and what happens without a Vulkan driver. */
import { deepEqual, doesNotMatch, equal, match, notEqual, ok } from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { exists, filesIn, refused, runTask, startCommand, taskCommand } from "../cli.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const ignore = Deno.build.os !== "linux";
/** A Vulkan driver that is not there. */
const withoutVulkan = { VK_DRIVER_FILES: "/nowhere/lvp_icd.json" };

/** Starts the doctor in a folder. */
function startIn(cwd: string, args: readonly string[], env: Record<string, string> = {}): Deno.ChildProcess {
  const [command, ...words] = taskCommand("doctor", args).map((word) =>
    word === "tasks/doctor.ts" ? join(root, word) : word
  );
  return new Deno.Command(command, {
    args: words,
    cwd,
    env: { NO_COLOR: "1", ...env },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

/** Runs the doctor in a folder, and gives its exit code and what it printed. */
async function doctorIn(...[cwd, args, env]: Parameters<typeof startIn>) {
  const { code, stdout, stderr } = await startIn(cwd, args, env).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

Deno.test("doctor lists the adapters and takes the one that --gpu means", async () => {
  const plain = await runTask("doctor", []);
  equal(plain.code, 0, plain.stderr);
  match(plain.stdout, /^--gpu 0 +\S.*, (Vulkan|Metal|Direct3D 12|OpenGL)/m);
  const { stdout, stderr } = await runTask("doctor", ["--gpu", "0", "--json"]);
  const { adapters, adapter } = JSON.parse(stdout);
  equal(adapter, adapters[0].description);
  equal(stderr, "", "drivers without a card must say nothing");
  refused(
    await runTask("doctor", ["--gpu", "no such card"]),
    2,
    /--gpu must mean one adapter, .* none of 0: /,
  );
});

Deno.test("--gpu chooses between two drivers", { ignore }, async () => {
  const unpacked = await startCommand(["sh", "tests/old_driver/unpack.sh"]).output();
  const said = new TextDecoder().decode(unpacked.success ? unpacked.stdout : unpacked.stderr).trim();
  if (!unpacked.success) return console.log(`skipped: two drivers side by side: ${said.split("\n").at(-1)}`);
  const list = async (files: string) => {
    const { code, stdout, stderr } = await runTask("doctor", ["--json"], { VK_DRIVER_FILES: files });
    equal(code, 0, stderr);
    const { adapters, advice } = JSON.parse(stdout);
    return { adapters, advice: advice.join("\n") } as {
      adapters: { driver_vulkan: string; limits: Record<string, number> }[];
      advice: string;
    };
  };
  const installed = "/usr/share/vulkan/icd.d";
  const system = [...Deno.readDirSync(installed)].find(({ name }) => /^lvp_icd/.test(name))!;
  const drivers = [said, join(installed, system.name)];
  const { adapters } = await list(drivers.join(":"));
  equal(adapters.length, 2);
  const limits = adapters.map(({ limits }) => limits.maxStorageBuffersPerShaderStage);
  if (limits[0] === limits[1]) {
    return console.log("skipped: two drivers side by side: the system's Mesa cannot be told from 22.3");
  }
  match((await list(drivers[0])).advice, /a newer Mesa is faster/);
  if (adapters[1].driver_vulkan.startsWith("1.4")) {
    doesNotMatch((await list(drivers[1])).advice, /a newer Mesa/);
  }
  const dir = await Deno.makeTempDir();
  try {
    const script = join(dir, "script.ts");
    const module = JSON.stringify(new URL("../../tasks/gpu/open_gpu.ts", import.meta.url));
    await Deno.writeTextFile(
      script,
      `import { openGpu } from ${module};
(await openGpu(Deno.args[0])).destroy();
console.log((await navigator.gpu.requestAdapter()).limits.maxStorageBuffersPerShaderStage);
`,
    );
    const permissions = taskCommand("doctor", []).filter((word) => /^--allow-(read|env)/.test(word));
    for (const [i, choice] of ["0", "1"].entries()) {
      const { stdout, stderr } = await startCommand(
        [Deno.execPath(), "run", "--no-prompt", "--no-config", "--no-check", ...permissions, script, choice],
        { VK_DRIVER_FILES: drivers.join(":") },
      ).output();
      const opened = new TextDecoder().decode(stdout).trim();
      equal(opened, String(limits[i]), new TextDecoder().decode(stderr));
    }
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("OpenGL's software renderer is refused unless it was asked for", { ignore }, async () => {
  const gl = await runTask("doctor", ["--json"], { ...withoutVulkan, DENO_WEBGPU_BACKEND: "gl" });
  if (gl.code !== 0) return console.log("skipped: without a Vulkan driver: OpenGL has no adapter here");
  const { adapters, software } = JSON.parse(gl.stdout);
  if (!software) return console.log("skipped: without a Vulkan driver: OpenGL has a graphics card here");
  deepEqual(adapters.map(({ backend }: { backend: string }) => backend), ["OpenGL"]);
  const message = /needs a Vulkan driver and found only OpenGL's software renderer: install/;
  refused(await runTask("doctor", [], withoutVulkan), 1, message);
  refused(await runTask("profile", [], withoutVulkan), 1, message);
});

Deno.test("doctor --report writes what is known of the adapter, and no path", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const { code, stdout, stderr } = await doctorIn(dir, ["--report", "report.json"]);
    equal(code, 0, stderr);
    match(stdout, /^report {5}report\.json$/m);
    deepEqual(await filesIn(dir), ["report.json"]);
    const text = await Deno.readTextFile(join(dir, "report.json"));
    const report = JSON.parse(text);
    equal(report.deno, Deno.version.deno);
    equal(report.self_test, "passed");
    ok(report.adapters[0].limits.maxBufferSize >= 128 << 20);
    for (const { name, losses, known, passed, distance } of report.known_losses) {
      ok(passed && distance <= 1e-3, `${name}: ${losses}`);
      equal(losses.length, 6);
      equal(known.length, 6);
    }
    equal(report.speed.model, "gpt2-nano");
    ok(report.speed.step.tokens_per_second > 0 && report.speed.ceilings.buffer_copy_gb_per_s > 0);
    for (const path of [root, dir, "/usr", "/home", "\\\\"]) ok(!text.includes(path), path);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("doctor --report says why there is no adapter, and refuses places where it cannot write", async () => {
  const dir = await Deno.makeTempDir();
  try {
    refused(
      await doctorIn(dir, ["--report", join(root, "report.json")]),
      2,
      /--report must be a file in the/,
    );
    refused(
      await doctorIn(dir, ["--report", "none/report.json"]),
      2,
      /--report must be a file in a folder that/,
    );
    deepEqual(await filesIn(dir), []);
    const nothing = await doctorIn(dir, ["--report", "report.json"], { DENO_WEBGPU_BACKEND: "nothing" });
    refused({ ...nothing, stdout: "" }, 1, /found none/);
    const { error, adapters, deno } = JSON.parse(await Deno.readTextFile(join(dir, "report.json")));
    match(error, /found none/);
    deepEqual(adapters, []);
    notEqual(deno, undefined);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("doctor --report leaves what it knows where it is killed by what it measures", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const child = startIn(dir, ["--report", "report.json"]);
    const ended = child.output();
    while (!await exists(join(dir, "report.json"))) await new Promise((resolve) => setTimeout(resolve, 5));
    child.kill("SIGKILL");
    await ended;
    const { self_test, known_losses } = JSON.parse(await Deno.readTextFile(join(dir, "report.json")));
    equal(self_test, "passed");
    deepEqual(known_losses, { error: "the command ended here" });
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
