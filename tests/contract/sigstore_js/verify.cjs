// Verifies a sigstore bundle with sigstore-js: `node verify.cjs KEY.pem < BUNDLE`. It ends with 1 and prints why not.
//
// These are the calls that `verify` of npm's `sigstore` makes, except for its first one: that fetches the authorities
// and logs of the public instance, and the key of a decision record is trusted without any.
"use strict";

const { createHash, createPublicKey } = require("node:crypto");
const { readFileSync } = require("node:fs");
const { bundleFromJSON } = require("@sigstore/bundle");
const { toSignedEntity, toTrustMaterial, Verifier } = require("@sigstore/verify");

const key = createPublicKey(readFileSync(process.argv[2])).export({ type: "spki", format: "der" });
const hint = createHash("sha256").update(key).digest("base64");
const nobody = { certificateAuthorities: [], timestampAuthorities: [], tlogs: [], ctlogs: [] };
const trusted = toTrustMaterial(nobody, { [hint]: { rawBytes: key } });
try {
  const bundle = bundleFromJSON(JSON.parse(readFileSync(0, "utf8")));
  new Verifier(trusted, { tlogThreshold: 0 }).verify(toSignedEntity(bundle));
} catch (error) {
  console.log(`${error.name}: ${error.message}`);
  process.exitCode = 1;
}
