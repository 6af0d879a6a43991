// Durable endpoints on the official TypeScript SDK.  It tells on standard output, a JSON object a line, which requests it
// got and which step bodies ran.

import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { Inngest, NonRetriableError, step } from "inngest";
import { endpointAdapter } from "inngest/edge";

const tell = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);

// A line on standard input opens it.
const gate = {};
gate.opened = new Promise((resolve) => (gate.open = resolve));
createInterface({ input: process.stdin })
  .on("line", () => gate.open())
  .on("close", () => process.exit(0));

// What the SDK asks of the server.
async function asking(url, init) {
  const answer = await fetch(url, init);
  const body = typeof init?.body === "string" ? JSON.parse(init.body) : null;
  tell({ asked: { method: init?.method ?? "GET", path: new URL(url).pathname, status: answer.status, body } });
  return answer;
}

const client = new Inngest({
  id: "endpoints",
  fetch: asking,
  endpointAdapter,
  logger: { debug() {}, info() {}, warn: console.error, error: console.error },
});

const told = (path, id, body = () => id) =>
  step.run(id, () => {
    tell({ ran: id, path });
    return body();
  });
let failures = 0;

const endpoints = {
  "/plain": async () => ({ hello: "world" }),

  "/steps": async () => [await told("/steps", "one"), await told("/steps", "two")],

  "/nap": async () => {
    const before = await told("/nap", "before");
    await step.sleep("nap", "1s");
    return { before, after: await told("/nap", "after") };
  },

  "/echo": async (request) => {
    const body = await request.json();
    await step.sleep("nap", "1s");
    return { echoed: body };
  },

  "/flaky": async () =>
    told("/flaky", "flaky", () => {
      failures += 1;
      if (failures === 1) throw new Error("not yet");
      return failures;
    }),

  "/doomed": async () => {
    await told("/doomed", "fine");
    throw new NonRetriableError("never");
  },

  "/doomed-later": async () => {
    await step.sleep("nap", "1s");
    throw new NonRetriableError("never");
  },

  "/group": async () => Promise.all(["x", "y", "z"].map((name) => told("/group", name))),

  "/gated": async () => {
    await told("/gated", "first");
    await gate.opened;
    return told("/gated", "second");
  },
};

const handlers = Object.fromEntries(Object.entries(endpoints).map(([path, handler]) => [path, client.endpoint(handler)]));

async function answer(incoming, outgoing) {
  const chunks = [];
  for await (const chunk of incoming) chunks.push(chunk);
  const body = Buffer.concat(chunks);
  const url = new URL(incoming.url, `http://${incoming.headers.host}`);
  tell({ request: { method: incoming.method, path: url.pathname, query: url.search, headers: incoming.headers } });
  const handler = handlers[url.pathname];
  if (!handler) return void outgoing.writeHead(404).end();
  const init = { method: incoming.method, headers: incoming.headers, ...(body.length ? { body } : {}) };
  const request = new Request(url, init);
  // The SDK reads the body with `text`, after which the handler could not.
  request.text = async () => body.toString();
  const response = await handler(request);
  outgoing.writeHead(response.status, Object.fromEntries(response.headers));
  outgoing.end(Buffer.from(await response.arrayBuffer()));
}

const server = createServer((incoming, outgoing) => {
  answer(incoming, outgoing).catch((error) => outgoing.writeHead(500).end(String(error?.stack ?? error)));
});
server.listen(Number(process.env.LISTEN ?? 0), "127.0.0.1", () => tell({ port: server.address().port }));
