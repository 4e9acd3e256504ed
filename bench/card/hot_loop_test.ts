import { deepEqual, equal } from "node:assert/strict";
import { hotLoop } from "./hot_loop.ts";

const products = `BB0:
\tv_fma_f32 v9, v9, v9, v9                                    ; d6130009
BB1:
\tv_mul_f32_e32 v1, v1, v1                                    ; 10020301
BB2:
\tds_load_b128 v[4:7], v1                                     ; dbfc0000
\tds_load_2addr_b32 v[8:9], v1 offset1:1                      ; d8dc0000
\tv_fmac_f32_e32 v0, v4, v5                                   ; 56000704
\tv_dual_fmac_f32 v2, v6, v7 :: v_dual_mul_f32 v3, v8, v9     ; c8c60000
\ts_cbranch_scc1 BB4                                          ; bfa20002
BB3:
\tv_nop                                                       ; 7e000000
\ts_branch BB2                                                ; bfa0ffe7
BB4:
\tv_fmac_f32_e32 v0, v0, v0                                   ; 56000000
\ts_cbranch_scc0 BB1                                          ; bfa10000
BB5:
\tbuffer_store_b32 v0, v2, s[0:3], 0 offen                    ; e0680000
`;

Deno.test("hotLoop() counts the inner loop, up to its last branch back, where it multiplies most", () => {
  deepEqual(hotLoop(products), { multiplyAdds: 2, vectorOperations: 3, workgroupBytes: 24 });
});

Deno.test("hotLoop() counts an outer loop without those in it", () => {
  const outer = products.replace(
    "v_mul_f32_e32 v1, v1, v1",
    "v_fmac_f32_e32 v1, v1, v1\n\tv_mac_f32_e32 v1, v1, v1",
  );
  deepEqual(hotLoop(outer), { multiplyAdds: 3, vectorOperations: 3, workgroupBytes: 0 });
});

Deno.test("hotLoop() counts the whole code where no loop multiplies", () => {
  const straight =
    "BB0:\n\tv_mad_f32 v0, v1, v2, v3\n\tds_read2st64_b64 v[0:3], v1\nBB1:\n\ts_nop 0\n\ts_branch BB1\n";
  deepEqual(hotLoop(straight), { multiplyAdds: 1, vectorOperations: 1, workgroupBytes: 16 });
  equal(hotLoop("BB0:\n\tv_add_f32_e32 v0, v1, v2\n"), undefined);
});
