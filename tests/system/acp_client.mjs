// Drives an agent by the protocol's own TypeScript client: node acp_client.mjs SDK SCENARIO COMMAND…
// Prints, as one JSON document, all that the agent said and asked.
import { spawn } from "node:child_process";
import { Readable, Writable } from "node:stream";
import { pathToFileURL } from "node:url";

const [sdk, scenario, ...command] = process.argv.slice(2);
const acp = await import(pathToFileURL(sdk).href);
const { cwd, load, prompts } = JSON.parse(scenario);

const agent = spawn(command[0], command.slice(1), { stdio: ["pipe", "pipe", "inherit"] });
const ended = new Promise((resolve) => agent.on("exit", (code, signal) => resolve(signal ?? code)));
const stream = acp.ndJsonStream(Writable.toWeb(agent.stdin), Readable.toWeb(agent.stdout));
const said = { updates: [], asked: [], stops: [] };
let answers = [];
let heard = () => {};

const client = acp
  .client({ name: "tests" })
  .onRequest(acp.methods.client.session.requestPermission, ({ params }) => {
    said.asked.push(params);
    return { outcome: { outcome: "selected", optionId: answers.shift() } };
  })
  .onNotification(acp.methods.client.session.update, ({ params }) => {
    said.updates.push(params.update);
    heard();
  });

await client.connectWith(stream, async (context) => {
  const ask = (method, params) => context.request(method, params);
  const { agent: methods } = acp.methods;
  said.initialized = await ask(methods.initialize, {
    protocolVersion: acp.PROTOCOL_VERSION,
    clientCapabilities: {},
    clientInfo: { name: "tests", version: "1" },
  });
  let sessionId = load;
  if (load) {
    said.listed = await ask(methods.session.list, { cwd });
    said.session = await ask(methods.session.load, { cwd, sessionId, mcpServers: [] });
  } else {
    said.session = await ask(methods.session.new, { cwd, mcpServers: [] });
    ({ sessionId } = said.session);
  }
  for (const { text, answer, mode, cancelAt } of prompts) {
    if (mode) await ask(methods.session.setMode, { sessionId, modeId: mode });
    answers = answer ? [answer] : [];
    heard = () => {
      const update = said.updates.at(-1);
      if (cancelAt && update.content?.text?.includes(cancelAt)) {
        heard = () => {};
        context.notify(methods.session.cancel, { sessionId });
      }
    };
    const done = await ask(methods.session.prompt, { sessionId, prompt: [{ type: "text", text }] });
    said.stops.push(done.stopReason);
  }
});
agent.stdin.end();
said.exit = await ended;
console.log(JSON.stringify(said));
