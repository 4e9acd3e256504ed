import { deepEqual } from "node:assert/strict";
import { readReport } from "../run.ts";

Deno.test("readReport() counts tests, without their steps, and gathers what was skipped and why", () => {
  const report = `\x1b[0mrunning 3 tests from ./a_test.ts
skipped: no Python: python3 is not there
adds 7 passed | 9 failed ... ok (3ms)
Python agrees ... \x1b[33mignored\x1b[0m (0ms)

\x1b[31mFAILED\x1b[0m | 12 passed (3 steps) | 1 failed | 2 ignored (4 steps) (29ms)

`;
  deepEqual(readReport(report), {
    passed: 12,
    failed: 1,
    skipped: ["no Python: python3 is not there", "test ignored: Python agrees"],
  });
});

Deno.test("readReport() counts nothing when the tests never came to their summary", () => {
  deepEqual(readReport("running 3 tests from ./a_test.ts\nkilled"), { passed: 0, failed: 0, skipped: [] });
});
