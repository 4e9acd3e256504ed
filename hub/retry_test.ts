import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { HttpSource } from "../data/bytes/http_source.ts";
import { joined } from "../data/bytes/byte_source.ts";
import { type ServedFile, serveFiles } from "../tests/file_server.ts";
import { hubFetch } from "./fetch.ts";
import { backoff, isPassing, LONGEST_WAIT, parseRetryAfter, RETRIES } from "./retry.ts";

const content = new TextEncoder().encode("a text\n".repeat(100));

/** Both ways in which an address is read. */
const users: Record<
  string,
  (url: string, onRetry: (reason: string, seconds: number) => void) => Promise<Uint8Array>
> = {
  HttpSource: async (url, onRetry) =>
    joined(await Array.fromAsync(new HttpSource(url, { onRetry }).stream())),
  hubFetch: async (url, onRetry) => {
    const response = await hubFetch({ onRetry })(url);
    if (response.ok) return await response.bytes();
    await response.body?.cancel();
    throw new Error(`answered ${response.status}`);
  },
};

for (const [name, read] of Object.entries(users)) {
  Deno.test(`${name} waits as long as Retry-After says, in seconds or until a date`, async () => {
    const later = new Date(Date.now() + 2000).toUTCString();
    const files: Record<string, ServedFile> = {
      "/now": { content, statuses: [503, 429], statusHeaders: { "retry-after": "0" } },
      "/seconds": { content, statuses: [429], statusHeaders: { "retry-after": "1" } },
      "/date": { content, statuses: [503], statusHeaders: { "retry-after": later } },
      "/past": { content, statuses: [503], statusHeaders: { "retry-after": new Date(0).toUTCString() } },
    };
    await using server = await serveFiles(files);
    const waits = async (path: string) => {
      const seconds: number[] = [];
      deepEqual(await read(server.url + path, (_, wait) => seconds.push(wait)), content, path);
      return seconds;
    };
    deepEqual(await waits("/now"), [0, 0]);
    deepEqual(await waits("/past"), [0]);
    const started = Date.now();
    deepEqual(await waits("/seconds"), [1]);
    ok(Date.now() - started >= 990, "the second passes");
    const [seconds] = await waits("/date");
    ok(seconds <= 2 && Date.now() >= Date.parse(later), `${seconds} s`);
  });

  Deno.test(`${name} does not ask again where Retry-After is longer than all waits may be`, async () => {
    const statusHeaders = { "retry-after": String(LONGEST_WAIT + 1) };
    await using server = await serveFiles({ "/a": { content, statuses: [429], statusHeaders } });
    const unreached = () => ok(false, "must not be tried again");
    await rejects(read(`${server.url}/a`, unreached), /answered 429/);
    equal(server.requests.length, 1);
  });

  Deno.test(`${name} stops after ${RETRIES} tries`, async () => {
    const statuses = Array(RETRIES + 1).fill(503);
    await using server = await serveFiles({
      "/a": { content, statuses, statusHeaders: { "retry-after": "0" } },
    });
    await rejects(read(`${server.url}/a`, () => {}), /answered 503/);
    equal(server.requests.length, RETRIES + 1);
  });
}

Deno.test("HttpSource says for how long a busy server wants to be left alone", async () => {
  const statusHeaders = { "retry-after": "3600" };
  await using server = await serveFiles({ "/a": { content, statuses: [429], statusHeaders } });
  await rejects(
    users.HttpSource(`${server.url}/a`, () => {}),
    /^ConnectionError: .*answered 429 .*; try again in 3600 s$/,
  );
});

Deno.test("hubFetch() waits no longer than its caller does", async () => {
  const statusHeaders = { "retry-after": "500" };
  await using server = await serveFiles({ "/a": { content, statuses: [503], statusHeaders } });
  const ending = new AbortController();
  const send = hubFetch({ onRetry: () => setTimeout(() => ending.abort(new Error("enough")), 1) });
  await rejects(send(`${server.url}/a`, { signal: ending.signal }), { message: "enough" });
});

Deno.test("backoff() doubles, and takes off a random half at most", () => {
  for (const [failures, due] of [0.5, 1, 2, 4, 8].entries()) {
    const [least, most] = [0, 1 - 1e-9].map((random) => backoff(failures, random));
    ok(Math.abs(least - due / 2) <= 0.05001 && Math.abs(most - due) <= 0.05001, `${least} to ${most}`);
    const some = backoff(failures);
    ok(some >= least && some <= most);
  }
});

Deno.test("parseRetryAfter() takes nothing that is neither seconds nor a date", () => {
  for (const value of [null, "", "soon", "-5", "1.5", "2030-01-01"]) {
    equal(parseRetryAfter(value), null, `${value}`);
  }
  equal(parseRetryAfter(" 7 "), 7);
  equal(parseRetryAfter("Sun, 06 Nov 1994 08:49:37 GMT"), 0);
});

Deno.test("isPassing() tells a busy server from one that refuses", () => {
  deepEqual([200, 304, 400, 404, 408, 416, 429, 500, 503].filter(isPassing), [408, 429, 500, 503]);
});
