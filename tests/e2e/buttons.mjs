// Clicks the pages' buttons in a real browser: what headers a browser sends with a form is for it to
// say, and a test that sets them itself proves nothing. Speaks the DevTools protocol by itself.
//
//     node --experimental-websocket tests/e2e/buttons.mjs BROWSER ADDRESS-OF-THE-PAGE
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const PATIENCE_MS = 60_000;
const [browser, address] = process.argv.slice(2);
const profile = mkdtempSync(join(tmpdir(), "rekindle-browser-"));
const child = spawn(
  browser,
  ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0",
   `--user-data-dir=${profile}`, "about:blank"],
  { stdio: "ignore" },
);
const over = new Promise((done) => child.on("exit", done));

async function until(what, look) {
  const begun = Date.now();
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() - begun > PATIENCE_MS) throw new Error(`not in time: ${what}`);
    await new Promise((next) => setTimeout(next, 50));
  }
}

async function main() {
  const port = await until("the browser listens", () => {
    try {
      return readFileSync(join(profile, "DevToolsActivePort"), "utf8").split("\n")[0];
    } catch {
      return undefined;
    }
  });
  const target = await until("it has a page", async () => {
    const targets = await (await fetch(`http://127.0.0.1:${port}/json/list`)).json();
    return targets.find((one) => one.type === "page");
  });
  const socket = new WebSocket(target.webSocketDebuggerUrl);
  await new Promise((open, fail) => {
    socket.onopen = open;
    socket.onerror = () => fail(new Error("no connection to the browser"));
  });
  const waiting = new Map();
  const answers = [];
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    if (message.id) waiting.get(message.id)(message);
    // The answer to a form that was taken is a redirect; one that was refused is a page of its own.
    const redirect = message.params?.redirectResponse;
    if (message.method === "Network.requestWillBeSent" && redirect) answers.push(redirect);
    const answer = message.params?.response;
    if (message.method === "Network.responseReceived" && answer.status >= 400) answers.push(answer);
  };
  let number = 0;
  const call = (method, params = {}) =>
    new Promise((done) => {
      number += 1;
      waiting.set(number, done);
      socket.send(JSON.stringify({ id: number, method, params }));
    });
  const evaluate = async (expression) =>
    (await call("Runtime.evaluate", { expression, returnByValue: true })).result.result.value;
  await call("Network.enable");
  await call("Page.enable");

  for (const [path, form, fields] of [
    ["/", "/plans/3/approve", {}],
    ["/", "/plans/3/reject", { reason: "not now" }],
    ["/", "/units/catalog/restart", { reason: "a hunch" }],
    ["/incidents/7", "/plans/3/approve", {}],
    ["/", "/pause", { reason: "deploying", minutes: "30" }],
  ]) {
    await call("Page.navigate", { url: address + path });
    const found = `document.querySelector('form[action="${form}"]')`;
    await until(`${path} has a form for ${form}`, () =>
      evaluate(`document.readyState === "complete" && ${found} !== null`));
    answers.length = 0;
    for (const [name, value] of Object.entries(fields)) {
      await evaluate(`${found}.elements["${name}"].value = ${JSON.stringify(value)}`);
    }
    await evaluate(`${found}.closest("details")?.setAttribute("open", ""); ${found}.querySelector("button").click()`);
    const answer = await until(`an answer to ${form}`, () =>
      answers.find((one) => one.url.endsWith(form)));
    console.log(`${path}: ${form} answers ${answer.status}`);
    if (answer.status !== 303) throw new Error(`${form} was refused with ${answer.status}`);
  }
}

try {
  await main();
} catch (error) {
  console.error(String(error));
  process.exitCode = 1;
} finally {
  child.kill("SIGTERM");
  await over;
  rmSync(profile, { recursive: true, force: true });
}
