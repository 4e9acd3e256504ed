import { throws } from "node:assert/strict";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { findDrivers } from "./drivers.ts";

Deno.test("findDrivers() names the driver that is missing, where it was looked for, and what to install", () => {
  const folder = dirname(fileURLToPath(import.meta.url));
  const expected = Deno.build.os === "linux"
    ? /^Error: this needs Mesa's lavapipe, got no lvp_icd\*\.json in .*card: install /
    : /^Error: this needs Linux/;
  throws(() => findDrivers(folder), expected);
});
