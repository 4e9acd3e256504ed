/**
 * `--push-to-hub`: where to, with which token, and what is said meanwhile.
 *
 * @module
 */
import {
  checkRepoName,
  HUB_ENDPOINT,
  type PushProgress,
  type PushResult,
  pushToHub,
} from "../../hub/push.ts";
import type { OptionTable } from "../command/option_table.ts";
import { asTyped } from "../command/commands.ts";
import { explainError, type TaskOutput, usage, UsageError } from "../command/command_line.ts";

const group = "Push to the Hugging Face Hub";

/** The options of a task that can push. */
export const pushOptions = {
  "push-to-hub": {
    type: "string",
    placeholder: "USER/NAME",
    description:
      "then upload the folder there, with the access token in the environment variable HF_TOKEN; " +
      "HF_ENDPOINT names another hub. The repository is made, private, if it does not exist. Without " +
      "--checkpoint, --out is a folder that was exported before: so a push that failed is repeated, and sends " +
      "only the large files that are not there yet. Weights of an earlier push under other names are removed",
    group,
  },
  "public": {
    type: "boolean",
    description: "make the repository for everybody to see; a public one is pushed to only with this option",
    group,
  },
} as const satisfies OptionTable;

/** Where a task pushes to. */
export interface PushTarget {
  /** `user/name`. */
  readonly repo: string;
  /** The access token. */
  readonly token: string;
  /** Address of the hub. */
  readonly endpoint: string;
  /** Whether the repository may be public. */
  readonly isPublic: boolean;
}

/** What is said of a large file. */
const STATES = {
  checking: "computing its SHA-256",
  sending: "sending",
  sent: "sent",
  there: "is there already",
};

/** Seconds between two lines about the bytes that were sent. */
const SECONDS_BETWEEN_LINES = 5;

/**
 * Checks what a push needs. A task that is not to push gives up the network and the environment here: Deno's
 * permissions are per task and not per option, and large files go to hosts that only the hub names.
 *
 * @param values The options.
 * @returns The target, or nothing without `--push-to-hub`.
 * @throws {UsageError} If the name, the token or the address is not right.
 */
export function pushTarget(
  values: { readonly pushToHub?: string; readonly public: boolean },
): PushTarget | undefined {
  const { pushToHub: repo, public: isPublic } = values;
  if (repo === undefined) {
    for (const name of ["net", "env"] as const) Deno.permissions.revokeSync({ name });
    if (isPublic) throw new UsageError("--public must come with --push-to-hub");
    return undefined;
  }
  usage("--push-to-hub", () => checkRepoName(repo));
  const endpoint = (Deno.env.get("HF_ENDPOINT") || HUB_ENDPOINT).replace(/\/+$/, "");
  if (!/^https?:$/.test(URL.parse(endpoint)?.protocol ?? "")) {
    throw new UsageError(
      `HF_ENDPOINT must be the address of a hub, such as ${HUB_ENDPOINT}, got ${endpoint}`,
    );
  }
  const token = Deno.env.get("HF_TOKEN")?.trim() ?? "";
  if (!/^hf_[!-~]+$/.test(token)) {
    throw new UsageError(
      `The environment variable HF_TOKEN must hold an access token that starts with hf_, got ${
        token === "" ? "none" : "something else"
      }; make one that may write at ${endpoint}/settings/tokens`,
    );
  }
  return { repo, token, endpoint, isPublic };
}

/**
 * Pushes an exported folder.
 *
 * @param dir The folder.
 * @param target Where to.
 * @param output Where to say how it goes.
 * @returns What was done.
 * @throws {Error} If it fails, with the command that repeats it.
 */
export async function pushFolder(dir: string, target: PushTarget, output: TaskOutput): Promise<PushResult> {
  let said = performance.now();
  const onProgress = ({ file, sent, total }: PushProgress) => {
    if (!file && performance.now() - said < SECONDS_BETWEEN_LINES * 1000) return;
    output.say(
      file ? `${file.path}: ${STATES[file.state]}` : `${megabytes(sent)} of ${megabytes(total)} sent`,
    );
    said = performance.now();
  };
  const onRetry = (reason: string, seconds: number) => output.say(`${reason}; trying again in ${seconds} s`);
  try {
    const pushed = await pushToHub({ ...target, dir, onProgress, onRetry });
    for (const path of pushed.removed) output.say(`${path}: removed, since it is no part of this model`);
    if (pushed.private && target.isPublic) output.say("it was private before and stays so: see its settings");
    output.say(`${pushed.url} (${pushed.private ? "private" : "public"}), commit ${pushed.commit}`);
    return pushed;
  } catch (error) {
    const args = [
      "--out",
      shellWord(dir),
      "--push-to-hub",
      target.repo,
      ...target.isPublic ? ["--public"] : [],
    ];
    throw new Error(
      `Cannot push ${dir} to ${target.repo}: ${
        explainError(error)
      }; the folder itself is complete: repeat only ` +
        `the push by \`${asTyped("deno task export-hf")} ${args.join(" ")}\``,
      { cause: error },
    );
  }
}

/** A path as it must be typed in a shell. */
function shellWord(path: string): string {
  return /^[\w./~-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`;
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
