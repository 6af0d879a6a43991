"use strict";

const EXAMPLE = `# The newest runs.
query Runs($from: Time!) {
  runs(
    first: 10
    filter: { from: $from }
    orderBy: [{ field: QUEUED_AT, direction: DESC }]
  ) {
    totalCount
    edges {
      node {
        id
        status
        eventName
        function { slug }
        queuedAt
        endedAt
        output
      }
    }
    pageInfo { hasNextPage endCursor }
  }
}
`;

const SCHEMA = `{
  __schema {
    queryType { name }
    mutationType { name }
    types {
      kind name description
      fields { name description type { ...Type } args { name type { ...Type } defaultValue } }
      inputFields { name description type { ...Type } defaultValue }
      enumValues { name description }
      possibleTypes { name }
    }
  }
}
fragment Type on __Type { kind name ofType { kind name ofType { kind name ofType { kind name } } } }`;

const at = (id) => document.getElementById(id);
const [query, variables, token, output, told, search, types] =
  ["query", "variables", "token", "answer", "told", "search", "types"].map(at);

async function ask(text, given) {
  const headers = { "Content-Type": "application/json" };
  if (token.value) headers.Authorization = `Bearer ${token.value}`;
  const response = await fetch("/v0/gql", { method: "POST", headers, body: JSON.stringify({ query: text, variables: given }) });
  return [response.status, await response.json()];
}

async function run() {
  keep();
  const began = performance.now();
  told.textContent = "…";
  try {
    const [status, answer] = await ask(query.value, JSON.parse(variables.value.trim() || "{}"));
    output.textContent = JSON.stringify(answer, null, 2);
    told.textContent = `${status}, ${Math.round(performance.now() - began)} ms`;
    if (status === 200 && !types.childElementCount) show();
  } catch (error) {
    output.textContent = String(error);
    told.textContent = "";
  }
}

function element(name, text, ...below) {
  const made = document.createElement(name);
  if (text) made.textContent = text;
  made.append(...below);
  return made;
}

function typeName(type) {
  if (type.kind === "NON_NULL") return `${typeName(type.ofType)}!`;
  return type.kind === "LIST" ? `[${typeName(type.ofType)}]` : type.name;
}

function line(it) {
  const given = (it.args || []).map((arg) => `${arg.name}: ${typeName(arg.type)}${arg.defaultValue ? ` = ${arg.defaultValue}` : ""}`);
  const text = `${it.name}${given.length ? `(${given.join(", ")})` : ""}${it.type ? `: ${typeName(it.type)}` : ""}`;
  return element("li", text, ...(it.description ? [element("small", it.description)] : []));
}

function entry(type) {
  const lines = [...(type.fields || []), ...(type.inputFields || []), ...(type.enumValues || []), ...(type.possibleTypes || [])];
  const made = element("details", "", element("summary", type.name));
  if (type.description) made.append(element("p", type.description));
  made.append(element("ul", "", ...lines.map(line)));
  made.dataset.words = [type.name, ...lines.map((it) => it.name)].join(" ").toLowerCase();
  return made;
}

async function show() {
  try {
    const [status, answer] = await ask(SCHEMA, {});
    if (status !== 200) {
      told.textContent = answer.error || `${status}`;
      return;
    }
    const { types: found, queryType, mutationType } = answer.data.__schema;
    const first = [queryType.name, mutationType.name];
    const rank = (type) => (first.includes(type.name) ? first.indexOf(type.name) : 2);
    const known = found.filter((type) => !type.name.startsWith("__"));
    known.sort((a, b) => rank(a) - rank(b) || a.name.localeCompare(b.name));
    types.replaceChildren(...known.map(entry));
  } catch (error) {
    told.textContent = String(error);
  }
}

function keep() {
  sessionStorage.setItem("query", query.value);
  sessionStorage.setItem("variables", variables.value);
}

search.addEventListener("input", () => {
  const wanted = search.value.trim().toLowerCase();
  for (const it of types.children) it.hidden = !it.dataset.words.includes(wanted);
});
at("run").addEventListener("click", run);
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) run();
});
query.value = sessionStorage.getItem("query") || EXAMPLE;
variables.value =
  sessionStorage.getItem("variables") || JSON.stringify({ from: new Date(Date.now() - 864e5).toISOString() }, null, 2);
show();
