// The functions that the tests run; each listens to the event "<the app's id>/<its id>".

import { NonRetriableError, RetryAfterError, fetch as durableFetch } from "inngest";
import { createDefer } from "inngest/experimental";

export function declare(client, { ran, gate }) {
  const functions = [];
  const define = (id, options, handler) =>
    functions.push(client.createFunction({ id, triggers: [{ event: `${client.id}/${id}` }], ...options }, handler));
  // A step that tells that its body ran.
  const told = ({ step, runId }, id, body = () => id) =>
    step.run(id, () => {
      ran(runId, id);
      return body();
    });
  const fail = (error) => () => {
    throw error;
  };

  define("plain", {}, ({ event }) => ({ hello: event.data.who, id: event.id }));

  define("nothing", {}, () => undefined);

  define("steps_of_nothing", {}, async (ctx) => {
    const nothing = await told(ctx, "nothing", () => undefined);
    return { nothing: nothing === undefined ? "undefined" : nothing };
  });

  define("chain", {}, async (ctx) => {
    let sum = 0;
    for (const name of ["first", "second", "third", "fourth", "fifth"]) {
      sum = await told(ctx, name, () => sum + 1);
    }
    return sum;
  });

  define("order", {}, async (ctx) => {
    const price = await told(ctx, "price", () => 7);
    const [paid, packed] = await Promise.all([
      ctx.step.run("pay", (amount, how) => (ran(ctx.runId, "pay"), { amount, how }), price, "card"),
      told(ctx, "pack"),
    ]);
    return { paid, packed, done: await ctx.step.run("done", (what) => (ran(ctx.runId, "done"), what), "all") };
  });

  define("loop", {}, async (ctx) => {
    let sum = 0;
    for (let round = 0; round < (ctx.event.data.rounds ?? 10); round++) sum += await told(ctx, "round", () => round);
    return sum;
  });

  define("sleeper", {}, async (ctx) => {
    await told(ctx, "before");
    await told(ctx, "before too");
    await ctx.step.sleep("nap", "2 days");
    return told(ctx, "after", () => "woken");
  });

  define("flaky_step", {}, (ctx) =>
    told(ctx, "try", () => {
      if (ctx.attempt < 2) throw new Error(`not yet ${ctx.attempt}`);
      return `attempt ${ctx.attempt}`;
    }),
  );

  define("flaky_function", {}, async (ctx) => {
    await told(ctx, "once");
    await told(ctx, "twice");
    if (ctx.attempt < 1) throw new Error("not yet");
    return `attempt ${ctx.attempt}`;
  });

  define("progress", { retries: 1 }, async (ctx) => {
    await told(ctx, "one");
    const attempts = [];
    for (const name of ["two", "three"]) {
      attempts.push(
        await told(ctx, name, () => {
          if (ctx.attempt < 1) throw new Error(`${name} not yet`);
          return ctx.attempt;
        }),
      );
    }
    await told(ctx, "four");
    return attempts;
  });

  define("caught", { retries: 0 }, async (ctx) => {
    await told(ctx, "good");
    try {
      await told(ctx, "bad", fail(new TypeError("broken")));
    } catch (error) {
      return told(ctx, "mend", () => `${error.name}: ${error.message}`);
    }
  });

  define("uncaught", { retries: 0 }, (ctx) => told(ctx, "bad", fail(new TypeError("broken"))));

  define("final", {}, () => {
    throw new NonRetriableError("never again");
  });

  define("final_step", {}, async (ctx) => {
    await told(ctx, "good");
    await told(ctx, "bad", fail(new NonRetriableError("never again")));
  });

  define("later", {}, ({ attempt }) => {
    if (attempt === 0) throw new RetryAfterError("in a while", "90s");
    return attempt;
  });

  define("later_step", {}, (ctx) =>
    told(ctx, "try", () => {
      if (ctx.attempt === 0) throw new RetryAfterError("in a while", "90s");
      return ctx.attempt;
    }),
  );

  define("parallel", {}, async (ctx) => {
    await told(ctx, "before");
    const all = await Promise.all(["a", "b", "c"].map((name) => told(ctx, name)));
    const last = await told(ctx, "after", () => all.join("+"));
    return told(ctx, "end", () => `${last}!`);
  });

  define("parallel_one_fails", { retries: 0 }, async (ctx) => {
    const all = await Promise.allSettled([
      told(ctx, "a"),
      told(ctx, "b", fail(new Error("b broke"))),
      told(ctx, "c"),
    ]);
    return all.map((one) => one.value ?? one.reason.message);
  });

  define("parallel_chains", {}, (ctx) =>
    Promise.all(
      ["left", "right"].map(async (side) => {
        const first = await told(ctx, `${side} 1`);
        return told(ctx, `${side} 2`, () => `${first}, ${side} 2`);
      }),
    ),
  );

  define("race", {}, async (ctx) => {
    const winner = await ctx.group.parallel(() =>
      Promise.race([
        told(ctx, "quick"),
        told(ctx, "slow", async () => {
          await gate(ctx.runId);
          return "slow";
        }),
      ]),
    );
    return told(ctx, "prize", () => `${winner} wins`);
  });

  define("sender", {}, async (ctx) => {
    const sent = await ctx.step.sendEvent("tell", { name: `${client.id}/chain`, data: { from: ctx.runId } });
    return sent.ids;
  });

  define("large", {}, async (ctx) => {
    const text = await told(ctx, "large", () => "ü".repeat(1_000_000));
    return text + text.length;
  });

  define("large_state", {}, async (ctx) => {
    let sum = 0;
    for (const name of ["a", "b", "c", "d", "e"]) sum += (await told(ctx, name, () => name.repeat(1_000_000))).length;
    await ctx.step.sleep("nap", "1 day");
    return sum;
  });

  define("gated", {}, async (ctx) => {
    await told(ctx, "one");
    await told(ctx, "two", async () => {
      await gate(ctx.runId);
      return "two";
    });
    await told(ctx, "three");
    return "done";
  });

  // What a fetch gives, as data.
  const read = async (response) => ({ status: response.status, type: response.headers.get("content-type"), text: await response.text() });

  define("fetcher", { retries: 0 }, async ({ event, step }) => {
    try {
      return await read(await step.fetch(event.data.url, event.data.init));
    } catch (error) {
      return { failed: error.message };
    }
  });

  define("fetches_within", {}, async (ctx) => {
    await told(ctx, "before");
    const first = await read(await durableFetch(`${ctx.event.data.url}/first`));
    const second = await read(await durableFetch(`${ctx.event.data.url}/second`, { method: "PUT", body: first.text }));
    return told(ctx, "after", () => second.text);
  });

  define("fetches_at_once", {}, async ({ event, step }) => {
    const all = await Promise.all(["a", "b", "c"].map((name) => step.fetch(`${event.data.url}/${name}`)));
    return Promise.all(all.map((one) => one.text()));
  });

  define("fetch_or_nap", {}, async ({ event, step }) =>
    Promise.race([step.fetch(event.data.url).then((one) => one.text()), step.sleep("nap", "1 hour").then(() => "too late")]),
  );

  for (const format of ["openai", "anthropic", "gemini"])
    define(`ask_${format}`, { retries: 0 }, async ({ event, step }) => {
      const baseUrl = event.data.url;
      const options = { openai: {}, anthropic: { defaultParameters: { max_tokens: 9 } }, gemini: {} }[format];
      const model = step.ai.models[format]({ model: "m", apiKey: "sk-secret", baseUrl, ...options });
      return step.ai.infer("ask", { model, body: { messages: [{ role: "user", content: "hi" }] } });
    });

  const later = createDefer(client, { id: "afterwards" }, async ({ event, step, runId }) => {
    await told({ step, runId }, "deferred");
    return event.data;
  });
  functions.push(later);

  define("defers", { retries: 1 }, async (ctx) => {
    const { how, count } = ctx.event.data;
    for (let n = 0; n < (count ?? 1); n++) ctx.defer(`later ${n}`, { function: later, data: { n } });
    await told(ctx, "one");
    if (how === "drop at once") ctx.defer("never", { function: later, data: { n: -1 } }).abort();
    const dropped = ctx.defer("dropped", { function: later, data: { n: -2 } });
    await ctx.step.sleep("nap", "1 hour");
    dropped.abort();
    if (how === "fail") throw new NonRetriableError("no");
    ctx.defer("last", { function: later, data: { n: 99 } });
    if (how === "try again" && ctx.attempt === 0) throw new Error("not yet");
    if (how === "try again") return "two";
    return told(ctx, "two");
  });

  return functions;
}
