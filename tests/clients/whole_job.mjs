// A whole job through the TypeScript SDK: node whole_job.mjs v1|v2 http|sse|stdio TARGET...
// Runs from the folder that has the SDKs. Prints what it found as JSON.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [line, transport, ...target] = process.argv.slice(2);
const require = createRequire(`${process.cwd()}/`);
const load = (name) => import(pathToFileURL(require.resolve(name)).href);

const v1 = async () => ({
  ...(await load("@modelcontextprotocol/sdk/client/index.js")),
  ...(await load("@modelcontextprotocol/sdk/client/streamableHttp.js")),
  ...(await load("@modelcontextprotocol/sdk/client/sse.js")),
  ...(await load("@modelcontextprotocol/sdk/client/stdio.js")),
});
const v2 = async () => ({
  ...(await load("@modelcontextprotocol/client")),
  ...(await load("@modelcontextprotocol/client/stdio")),
});
const sdk = await { v1, v2 }[line]();

const connections = {
  http: () => new sdk.StreamableHTTPClientTransport(new URL(target[0])),
  sse: () => new sdk.SSEClientTransport(new URL(target[0])),
  stdio: () => new sdk.StdioClientTransport({ command: target[0], args: target.slice(1) }),
};
const client = new sdk.Client({ name: "whole-job", version: "1" }, { versionNegotiation: { mode: "auto" } });
await client.connect(connections[transport]());

const call = (name, args, options) =>
  line === "v1"
    ? client.callTool({ name, arguments: args }, undefined, options)
    : client.callTool({ name, arguments: args }, options);

const tools = (await client.listTools()).tools.map((tool) => tool.name);
const wish = { workflow_id: "my_workflow_001", parameters: { steps: 6, seed: 7 } };
const accepted = (await call("submit_job", wish)).structuredContent;
const job_id = accepted.job_id;
const progress = [];
const status = await call(
  "job_status",
  { job_id, wait_seconds: 45 },
  { onprogress: (told) => progress.push(told.progress) },
);
const preview = await call("get_preview", { job_id });
const wrong = await call("submit_job", { workflow: {}, sampler: 1 });
const revision = client.getNegotiatedProtocolVersion?.() ?? null;
await client.close();
console.log(
  JSON.stringify({
    revision,
    tools,
    status: status.structuredContent,
    preview: preview.content.map((block) => block.type),
    progress,
    refused: wrong.isError && wrong.content[0].text,
  }),
);
