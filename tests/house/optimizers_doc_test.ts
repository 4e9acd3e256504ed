/** docs/optimizers.md lists the hyper-parameters as the table of optimizers has them. */
import { deepEqual } from "node:assert/strict";
import { allowed, type Option } from "../../tasks/command/option_table.ts";
import { defaultWords } from "../../training/run/hyper_parameters.ts";
import { hyperParameters } from "../../training/run/optimizer.ts";
import { OPTIMIZERS } from "../../training/run/optimizer_table.ts";

const HEADING = "## All hyper-parameters";

Deno.test("docs/optimizers.md has every hyper-parameter, its values, defaults and description", async () => {
  const text = await Deno.readTextFile(new URL("../../docs/optimizers.md", import.meta.url));
  const [section] = text.slice(text.indexOf(HEADING) + HEADING.length).split("\n## ");
  const rows = section.split("\n").filter((line) => line.startsWith("|")).map((line) =>
    line.slice(1, -1).split("|").map((cell) => cell.trim()).join(" | ")
  );
  const expected = Object.keys(OPTIMIZERS).flatMap((optimizer) =>
    hyperParameters(optimizer).filter(({ name }) => name === "adamw.lr" || !name.startsWith("adamw.")).map(
      (p) => {
        const { scratch, tuning, lora } = p.defaults;
        const defaults = [
          `\`${defaultWords(scratch)}\``,
          ...(tuning === undefined ? [] : [`fine-tuning \`${defaultWords(tuning)}\``]),
          ...(lora === undefined ? [] : [`LoRA \`${defaultWords(lora)}\``]),
        ].join(", ");
        const names = `\`${p.name}\`${p.also === undefined ? "" : ` or \`${p.also}\``}`;
        return [`\`${optimizer}\``, names, allowed(p as Option), defaults, p.description].join(" | ");
      },
    )
  );
  // The heading and the line below it go before.
  deepEqual(rows.slice(2), expected);
});
