/**
 * Matrix products, ours beside the peers' and in every layout that layers need.
 *
 * @module
 */
import { jaxWebGpu, koala, type Runner, tensorflow } from "./implementations.ts";
import type { MatmulCase } from "./protocol.ts";
import { type Contestant, race } from "./rounds.ts";
import type { Section } from "./section.ts";
import type { Heat } from "./table.ts";

const SHAPES = [[512, 512, 512], [1024, 1024, 1024], [1024, 256, 8192]] as const; // m, k, n
const ALIGNED = [1024, 256, 768] as const;
const RAGGED = [1000, 250, 777] as const;
const GFLOPS = { unit: "GFLOPS", scale: 1e9 };
const ceiling = "multiplyAddGflops";

/** Measures products. */
export const matmulBench: Section = {
  name: "matmul",
  implementations: () => [koala, jaxWebGpu, tensorflow],
  async measure(runners, { rounds, say }) {
    const [ours, jax, tfjs] = runners;
    const options = { rounds, seconds: 0.3, least: 2 };
    const heats: Heat[] = [];
    for (const [m, k, n] of SHAPES) {
      const title = `matmul ${m}x${k}x${n}`;
      say(title);
      const contestants = [
        contestant(ours, [m, k, n]),
        contestant(ours, [m, k, n], { transposedA: true }, " A as [k, m]"),
        contestant(ours, [m, k, n], { transposedB: true }, " B as [n, k]"),
        contestant(jax, [m, k, n]),
        contestant(tfjs, [m, k, n]),
      ];
      const aims = { [jax.name]: "4.50x", [tfjs.name]: "6.00x" };
      heats.push({ title, rate: GFLOPS, measured: await race(contestants, options), ceiling, aims });
    }
    const title = "matmul, ragged beside aligned";
    say(title);
    const [aligned, ragged] = [ALIGNED, RAGGED].map((size) =>
      contestant(ours, size, {}, ` ${size.join("x")}`)
    );
    const measured = await race([aligned, ragged], options);
    heats.push({ title, rate: GFLOPS, measured, perWork: true, ceiling, aims: { [ragged.name]: "1.25x" } });
    return heats;
  },
};

function contestant(
  runner: Runner,
  [m, k, n]: readonly [number, number, number],
  layout: Pick<MatmulCase, "transposedA" | "transposedB"> = {},
  suffix = "",
): Contestant {
  return {
    name: runner.name + suffix,
    runner,
    what: { kind: "matmul", m, k, n, ...layout },
    work: 2 * m * k * n,
  };
}
