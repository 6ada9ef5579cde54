// Run ONNX files with onnxruntime-web (WebAssembly) in Node.
//
//     node ort_web_client.cjs FOLDER JOBS.json
//
// FOLDER is where npm installed onnxruntime-web. JOBS is a list of {model, type, dims,
// data: base64, little-endian}; printed is a list of {name, dims, data: numbers}.

const fs = require("node:fs");
const path = require("node:path");
const { createRequire } = require("node:module");

async function main() {
  const [folder, jobs] = process.argv.slice(2);
  const load = createRequire(path.join(path.resolve(folder), "package.json"));
  const ort = load("onnxruntime-web");
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = "error";
  const results = [];
  for (const job of JSON.parse(fs.readFileSync(jobs, "utf8"))) {
    const session = await ort.InferenceSession.create(fs.readFileSync(job.model));
    const bytes = new Uint8Array(Buffer.from(job.data, "base64"));
    const values = job.type === "uint8" ? bytes : new Float32Array(bytes.buffer);
    const tensor = new ort.Tensor(job.type, values, job.dims);
    const outputs = await session.run({ [session.inputNames[0]]: tensor });
    const name = session.outputNames[0];
    const { dims, data } = outputs[name];
    results.push({ name, dims, data: Array.from(data) });
  }
  console.log(JSON.stringify(results));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
