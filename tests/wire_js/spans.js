// Sends one span to the server named by the first argument, with the key in the second if it wants one, by the exporter
// that the SDK uses (OTLP over HTTP, JSON), and tells with what result.

import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { BasicTracerProvider, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base";

const exporter = new OTLPTraceExporter({ url: `${process.argv[2]}/v1/traces/userland`, headers: { Authorization: `Bearer ${process.argv[3] ?? ""}` } });
const results = [];
const telling = {
  export: (spans, done) => exporter.export(spans, (result) => (results.push(result), done(result))),
  forceFlush: () => exporter.forceFlush(),
  shutdown: () => exporter.shutdown(),
};
const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(telling)] });
provider.getTracer("test").startSpan("a span").end();
await provider.forceFlush();
await provider.shutdown();
console.log(JSON.stringify(results.map(({ code, error }) => ({ code, error: error?.message }))));
