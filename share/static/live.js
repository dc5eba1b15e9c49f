/* Parts of a page that are brought up to date: the server renders them, this puts them in the place of the old ones. */

/** Say TEXT to those who listen to the page. */
export function announce(text) {
  document.getElementById("announcements").textContent = text;
}

/** Fetch this page anew and exchange the parts marked `data-live` that became different. */
export async function refresh() {
  const answer = await fetch(window.location.pathname + window.location.search, {
    headers: { "X-XSRFToken": document.body.dataset.xsrf },
    redirect: "error",
  });
  if (!answer.ok) {
    throw new Error(`The page answers ${answer.status}.`);
  }
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const old of document.querySelectorAll("[data-live]")) {
    const current = page.getElementById(old.id);
    if (!current) {
      old.remove();
    } else if (!inUse(old) && current.outerHTML !== rendered.get(old.id)) {
      rendered.set(old.id, current.outerHTML);
      const focused = old.contains(document.activeElement);
      old.replaceWith(document.adoptNode(current));
      if (focused) {
        document.getElementById("main").focus({ preventScroll: true });
      }
    }
  }
}

/* What the server said last of each part: forms and dialogs change the page's own copy. */
const rendered = new Map([...document.querySelectorAll("[data-live]")].map((part) => [part.id, part.outerHTML]));

function inUse(part) {
  return part.querySelector("dialog[open], form[data-sent]") !== null;
}
