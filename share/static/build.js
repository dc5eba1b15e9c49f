/* A build's page: its phases, progress and log as they happen. */

import "./forms.js";
import { announce, refresh } from "./live.js";
import { LogView } from "./log.js";

const log = new LogView(document.getElementById("log"));
const part = () => document.getElementById("build");

/* As the pages write it: in steps of a thousand. */
function size(bytes) {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let amount = bytes;
  while (amount >= 1000 && units.length > 1) {
    amount /= 1000;
    units.shift();
  }
  const digits = units[0] === "bytes" || amount >= 10 ? 0 : 1;
  return `${amount.toFixed(digits)} ${units[0]}`;
}

function showDownloads(done, total) {
  document.getElementById("downloads").hidden = !total;
  if (total) {
    const bar = document.getElementById("bytes");
    bar.max = total;
    bar.value = done;
    document.getElementById("amount").textContent = `${size(done)} of ${size(total)}`;
  }
}

function showProgress({ phase, done, total, bytes_done, bytes_total }) {
  const bar = document.getElementById("progress");
  if (!bar) {
    return;
  }
  if (phase) {
    document.getElementById("phase").textContent = phase;
  }
  if (total) {
    bar.max = total;
    bar.value = done;
    document.getElementById("count").textContent = `${done} of ${total}`;
  }
  showDownloads(bytes_done, bytes_total);
}

async function showBuild(build) {
  showProgress(build.progress);
  const changed = build.state !== part().dataset.state;
  if (!changed && build.state !== "queued") {
    return;
  }
  await refresh(); // of one that waits, its place in the line
  if (!changed) {
    return;
  }
  const { state, name } = part().dataset;
  document.title = `${state}: ${name} – JupyterHub`;
  announce(state === "ready" ? `${name} is ready to start.` : `${name}: ${state}`);
}

/* One after the other, so that an older page never comes after a newer one. */
let shown = Promise.resolve();

function follow() {
  const address = new URL(log.element.dataset.events, window.location.href);
  address.searchParams.set("position", log.element.dataset.position);
  address.searchParams.set("_xsrf", document.body.dataset.xsrf); // the hub's rule for event streams with a cookie
  const events = new EventSource(address);
  events.addEventListener("log", (event) => log.append(JSON.parse(event.data).text));
  events.addEventListener("build", (event) => {
    const build = JSON.parse(event.data);
    if (["ready", "failed", "cancelled"].includes(build.state)) {
      events.close(); // a finished build is always the last event
    }
    shown = shown.then(() => showBuild(build)).catch(() => window.location.reload());
  });
}

if (!("final" in part().dataset)) {
  follow();
}
