/* The pages of environments: brought up to date for as long as something is under way on them. */

import "./forms.js";
import { refresh } from "./live.js";

const PAUSE = 4000; // milliseconds between two looks

async function look() {
  if (document.querySelector("[data-live][data-changing]") && !document.hidden) {
    try {
      await refresh();
    } catch {
      return; // logged out, or the service restarts: what is shown stays, and reloading tells more
    }
  }
  window.setTimeout(look, PAUSE);
}

window.setTimeout(look, PAUSE);
