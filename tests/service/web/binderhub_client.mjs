// BinderHub's own client, as a program: it follows SPEC at the build endpoint ADDRESS to its end and prints each event as a
// line of JSON.  The token is in the variable TOKEN; a third word has it build only.
// What it uses of a browser.
globalThis.window = globalThis;
globalThis.document = Object.assign(new EventTarget(), { cookie: "" });
const { BinderRepository } = await import("@jupyterhub/binderhub-client/client.js");

const [address, spec, buildOnly] = process.argv.slice(2);
const options = { apiToken: process.env.TOKEN, buildOnly: Boolean(buildOnly) };
const repository = new BinderRepository(spec, new URL(address), options);
console.log = console.error; // what the client itself has to say
for await (const event of repository.fetch()) {
  process.stdout.write(`${JSON.stringify(event)}\n`);
  if (event.phase === "ready" || event.phase === "failed") {
    break;
  }
}
repository.close();
