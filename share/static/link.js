/* The page of a link: its button builds, starts, and goes to the session; without scripts the form does it by itself. */

import { announce } from "./live.js";
import { LogView } from "./log.js";

const PHASES = {
  waiting: "Waiting",
  fetching: "Fetching the repository",
  building: "Downloading and building",
  built: "Built",
  launching: "Starting a session",
};

const form = document.getElementById("link");
const happening = document.getElementById("happening");
const problem = document.getElementById("problem");
const log = new LogView(document.getElementById("log"));

/** Yield the events of the stream ANSWER; comments and what else is in it are nothing to us. */
async function* events(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) {
      return;
    }
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (line.startsWith("data:")) {
        yield JSON.parse(line.slice("data:".length));
      }
    }
  }
}

/** Say what went wrong, and let the visitor try again. */
function fail(message) {
  problem.textContent = message;
  problem.hidden = false;
  happening.querySelector("progress").hidden = true;
  document.getElementById("phase").textContent = "Not started";
  form.hidden = false;
}

function show({ phase, message, url }) {
  log.append(message);
  if (phase === "failed") {
    fail(message);
  } else if (phase === "ready") {
    window.location.assign(url);
  } else if (PHASES[phase] !== document.getElementById("phase").textContent) {
    document.getElementById("phase").textContent = PHASES[phase];
    announce(PHASES[phase]);
  }
  return phase === "failed" || phase === "ready";
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  form.hidden = true;
  problem.hidden = true;
  happening.hidden = false;
  happening.querySelector("progress").hidden = false;
  try {
    const answer = await fetch(form.dataset.stream, {
      headers: { Accept: "text/event-stream", "X-XSRFToken": document.body.dataset.xsrf },
    });
    for await (const each of events(answer)) {
      if (show(each)) {
        return;
      }
    }
    fail("The connection ended. What was begun goes on: try again to see how it stands.");
  } catch {
    fail("The service does not answer. Try again in a moment.");
  }
});
