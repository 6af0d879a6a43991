// An app on the official TypeScript SDK.  It tells on standard output, a JSON object a line, which calls it got, what it
// answered, and which step bodies ran; lines on standard input open the gates that steps
// wait at, and more.

import { createInterface } from "node:readline";
import { Inngest } from "inngest";
import { createServer } from "inngest/node";
import { declare } from "./functions.js";

const setting = (name) => JSON.parse(process.env[name] ?? "null");
const tell = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);

// The clock goes with the server's, which tests move forward: signatures are good for some minutes only.
let skipped = Number(process.env.SKIPPED);
const RealDate = Date;
globalThis.Date = class extends RealDate {
  constructor(...values) {
    values.length ? super(...values) : super(RealDate.now() + skipped);
  }
  static now() {
    return RealDate.now() + skipped;
  }
};

const gates = new Map();
function gate(name) {
  if (!gates.has(name)) {
    const made = {};
    made.opened = new Promise((resolve) => (made.open = resolve));
    gates.set(name, made);
  }
  return gates.get(name);
}
createInterface({ input: process.stdin })
  .on("line", (line) => {
    const [word, value] = line.split(" ");
    if (word === "lose") lost = Number(value);
    else if (word === "skip") skipped += Number(value);
    else gate(value).open();
  })
  .on("close", () => process.exit(0));

// What the SDK asks of the server; the next answers to checkpoints can be lost on their way (see `lose`).
let lost = 0;
async function asking(url, init) {
  const answer = await fetch(url, init);
  const path = new URL(url).pathname;
  tell({ asked: { method: init?.method ?? "GET", path, status: answer.status, body: init?.body ? JSON.parse(init.body) : null } });
  if (path.startsWith("/v1/checkpoint/") && lost > 0) {
    lost--;
    throw new Error("the answer was lost");
  }
  return answer;
}

const client = new Inngest({
  id: process.env.APP_ID,
  checkpointing: setting("CHECKPOINTING") ?? undefined,
  fetch: asking,
  logger: { debug() {}, info() {}, warn: console.error, error: console.error },
});
const ran = (runId, name) => tell({ ran: name, run_id: runId });
const functions = declare(client, { ran, gate: (name) => gate(name).opened });
const server = createServer({ client, functions });

// Before the SDK's own listener, so that a call is told before what it makes run.
server.prependListener("request", (request, response) => {
  const call = { method: request.method, url: request.url, headers: request.headers };
  const chunks = [];
  const { emit } = request;
  // A listener of our own would make the body flow before the SDK listens.
  request.emit = function (name, chunk) {
    if (name === "data") chunks.push(chunk);
    if (name === "end") {
      const text = Buffer.concat(chunks).toString("utf8");
      tell({ call: { ...call, body: text ? JSON.parse(text) : null } });
    }
    return emit.apply(this, arguments);
  };
  const { writeHead, end } = response;
  response.writeHead = function (status, headers) {
    call.status = status;
    call.answered = Object.fromEntries(Object.entries(headers ?? {}).map(([k, v]) => [k.toLowerCase(), v]));
    return writeHead.apply(this, arguments);
  };
  response.end = function (body) {
    tell({ answer: { method: call.method, status: call.status, headers: call.answered, body: String(body ?? "") }, run_id: request.headers["x-run-id"] });
    return end.apply(this, arguments);
  };
});
server.listen(0, "127.0.0.1", () => tell({ port: server.address().port }));
