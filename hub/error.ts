/**
 * What the failure of a push means, and what to do about it.
 *
 * @module
 */

import { ConnectionError, isPassing } from "./retry.ts";

/** What a push was about. */
export interface HubErrorContext {
  /** The repository, `user/name`. */
  readonly repo: string;
  /** The access token, which must be in no message. */
  readonly token: string;
  /** Address of the hub. */
  readonly endpoint: string;
}

/**
 * Explains an error of `@huggingface/hub` or {@linkcode hubFetch}.
 *
 * @param error What was thrown.
 * @param context What the push was about.
 * @returns An error for people: without the token, and without the queries of addresses, since some hold
 * signatures. An error of another kind is given back as it is, such as that of a missing Deno permission, which
 * names the host.
 */
export function hubError(error: unknown, { repo, token, endpoint }: HubErrorContext): unknown {
  const safe = (text: string) => text.replaceAll(/\?[^\s)]*/g, "").replaceAll(token, "hf_…").slice(0, 300);
  if (isApiError(error)) {
    const words = error.data?.error;
    const quoted = typeof words === "string" ? ` (it says: ${safe(words)})` : "";
    return new Error(refusal(error, repo, endpoint) + quoted);
  }
  if (error instanceof ConnectionError) {
    const check = "check the network, and HF_ENDPOINT if it is set";
    return new Error(`${endpoint} cannot be reached: ${safe(error.message)}; ${check}`);
  }
  if (error instanceof SyntaxError) {
    return new Error(`${endpoint} must answer as the Hugging Face Hub does, but does not; check HF_ENDPOINT`);
  }
  return error;
}

/** The library's error for an answer that is not a success. */
interface ApiError extends Error {
  readonly statusCode: number;
  readonly url: string;
  readonly data?: { readonly error?: unknown };
}

function isApiError(error: unknown): error is ApiError {
  return error instanceof Error && "statusCode" in error && typeof error.statusCode === "number";
}

function refusal({ statusCode: status, url }: ApiError, repo: string, endpoint: string): string {
  const { host } = new URL(URL.canParse(url) ? url : endpoint);
  if (host !== new URL(endpoint).host) return `${host}, which takes the large files, answered ${status}`;
  if (isPassing(status)) {
    return `${endpoint} answered ${status} again and again; wait a while`;
  }
  switch (status) {
    case 401:
      return `the access token must be valid, but ${endpoint} refuses it; make one at ${endpoint}/settings/tokens`;
    case 403:
      return `the access token must be allowed to write to ${repo}, but is not; change that at ` +
        `${endpoint}/settings/tokens, or choose another name`;
    case 404:
      return `${repo} must be on ${endpoint} and visible to the access token, but was not found; check the name`;
    case 409:
      return `${repo} was changed by somebody else meanwhile`;
    default:
      return `${endpoint} answered ${status}`;
  }
}
