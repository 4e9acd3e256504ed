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
    allPassed: false,
  });
});

Deno.test("readReport() counts nothing when the tests never came to their summary", () => {
  const nothing = { passed: 0, failed: 0, skipped: [], allPassed: false };
  deepEqual(readReport("running 3 tests from ./a_test.ts\nkilled"), nothing);
});

Deno.test("readReport() takes what comes after a summary for no failure of the tests, but an error beside them", () => {
  const passed =
    "\n\x1b[32mok\x1b[0m | 9 passed | 0 failed (4s)\n\ncorrupted size vs. prev_size in fastbins\n";
  deepEqual(readReport(passed), { passed: 9, failed: 0, skipped: [], allPassed: true });
  const broken = "FAILED | 9 passed | 0 failed (4s)\n\nerror: Test failed\n";
  deepEqual(readReport(broken), { passed: 9, failed: 0, skipped: [], allPassed: false });
});
