/* Forms that ask the API as whoever reads the page: what is sent is what a program would send, and what comes is shown as it is. */

/** Most characters of an answer that are shown; a log may be longer than any page. */
const MOST_SHOWN = 200_000;

/** What is under way in each form; to send it again ends that. */
const underWay = new WeakMap();

for (const trial of document.querySelectorAll("details.try")) {
  trial.hidden = false;
}

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!form.matches("details.try form")) {
    return;
  }
  event.preventDefault();
  underWay.get(form)?.abort();
  const control = new AbortController();
  underWay.set(form, control);
  const [summary, shown] = [form.querySelector(".answer"), form.querySelector(".answer-body")];
  summary.hidden = false;
  summary.textContent = "Sent…";
  shown.hidden = true;
  shown.textContent = "";
  try {
    const { address, request } = asked(form);
    const answer = await fetch(address, { ...request, signal: control.signal });
    summary.textContent = `${answer.status} ${answer.statusText}${told(answer.headers)}`;
    await show(answer, shown);
  } catch (error) {
    if (error.name !== "AbortError") {
      summary.textContent = "The service does not answer.";
    }
  }
});

/** Return where what FORM asks goes, and with what. */
function asked(form) {
  const headers = { "X-XSRFToken": document.body.dataset.xsrf };
  const query = new URLSearchParams();
  let path = form.dataset.path;
  for (const field of form.querySelectorAll("[data-in]")) {
    if (field.dataset.in === "path") {
      path = path.replace(`{${field.name}}`, encodeURIComponent(field.value));
    } else if (field.value && field.dataset.in === "query") {
      query.set(field.name, field.value);
    } else if (field.value) {
      headers[field.name] = field.value;
    }
  }
  const request = { method: form.dataset.method, headers, cache: "no-store" };
  const body = form.querySelector("textarea");
  if (body) {
    headers["Content-Type"] = "application/json";
    request.body = body.value;
  }
  return { address: query.size ? `${path}?${query}` : path, request };
}

/** Return what HEADERS say that a program would go on with. */
function told(headers) {
  const named = ["Location", "ETag", "Link", "Retry-After", "Content-Range"].filter((name) => headers.has(name));
  return named.map((name) => ` · ${name}: ${headers.get(name)}`).join("");
}

/** Put what ANSWER holds into SHOWN, as it comes. */
async function show(answer, shown) {
  shown.hidden = answer.body === null || answer.status === 204;
  if (shown.hidden) {
    return;
  }
  if (answer.headers.get("Content-Type")?.startsWith("application/json")) {
    shown.textContent = JSON.stringify(await answer.json(), null, 2).slice(0, MOST_SHOWN);
    return;
  }
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
    shown.append(piece.value);
    if (shown.textContent.length > MOST_SHOWN) {
      await reader.cancel();
      shown.append("\n…");
      return;
    }
  }
}
